import { STATE, VECTOR } from '../state.ts';
import { EFER, type GuestFault, type Processor } from './processor.ts';

/** Model-specific registers (SDM vol. 4). Reading or writing one that is not here raises #GP(0), as kernels expect. */
export const MSR = {
  tsc: 0x10,
  platformId: 0x17,
  apicBase: 0x1b,
  tscAdjust: 0x3b,
  biosSignature: 0x8b,
  mtrrCap: 0xfe,
  archCapabilities: 0x10a,
  sysenterCs: 0x174,
  sysenterEsp: 0x175,
  sysenterEip: 0x176,
  mcgCap: 0x179,
  mcgStatus: 0x17a,
  miscEnable: 0x1a0,
  mtrrPhysBase0: 0x200,
  mtrrFix64K: 0x250,
  mtrrFix16K: 0x258,
  mtrrFix4K: 0x268,
  pat: 0x277,
  mtrrDefType: 0x2ff,
  tscDeadline: 0x6e0,
  x2apic: 0x800,
  xss: 0xda0,
  hypervisor: 0x4b56_4d00,
  efer: 0xc000_0080,
  star: 0xc000_0081,
  lstar: 0xc000_0082,
  cstar: 0xc000_0083,
  sfmask: 0xc000_0084,
  fsBase: 0xc000_0100,
  gsBase: 0xc000_0101,
  kernelGsBase: 0xc000_0102,
  tscAux: 0xc000_0103,
} as const;

/** What the local APIC and the clock offer to MSR accesses. */
export interface MsrDevices {
  apicBase: bigint;
  /** Returns whether the base was acceptable. */
  writeApicBase(value: bigint): boolean;
  readTsc(): bigint;
  writeTsc(value: bigint): void;
  readTscDeadline(): bigint;
  writeTscDeadline(value: bigint): void;
  /** x2APIC registers by MSR number - 0x800; undefined = #GP. */
  readX2apic(register: number): bigint | undefined;
  writeX2apic(register: number, value: bigint): boolean;
  /** Registers of the hypervisor, 0x4b56_4d00 and up; undefined or false: there is no such register. */
  readHypervisor?(index: number): bigint | undefined;
  writeHypervisor?(index: number, value: bigint): boolean;
}

/**
 * IA32_ARCH_CAPABILITIES (SDM vol. 4, table 2-2): RDCL_NO, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, IF_PSCHANGE_MC_NO, TAA_NO,
 * SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO: this processor has no such buffers and reads
 * nothing ahead of its permission checks, so kernels need not pay for working around them.
 */
const ARCH_CAPABILITIES = [0, 3, 4, 5, 6, 8, 13, 14, 15, 20, 24, 26, 27, 62].reduce(
  (all, n) => all | (1n << BigInt(n)),
  0n,
);
const GP: GuestFault = { vector: VECTOR.gp, error: 0 };
const MTRR_VARIABLE = 8;
const MTRR_FIXED = new Set([0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f]);
const MEMORY_TYPES = new Set([0, 1, 4, 5, 6]);
const PAT_TYPES = new Set([0, 1, 4, 5, 6, 7]);
const bytesOf = (value: bigint): number[] =>
  Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(i * 8)) & 0xffn));

/** State that only MSRs show; plain data. */
export interface MsrState {
  pat: bigint;
  mtrrDefType: bigint;
  miscEnable: bigint;
  tscAdjust: bigint;
  mcgStatus: bigint;
  mtrr: Record<number, bigint>;
}
export const initialMsrs = (): MsrState => ({
  pat: 0x0007_0406_0007_0406n,
  mtrrDefType: 0xc06n, // enabled, write-back by default: RAM needs no range
  miscEnable: 1n,
  tscAdjust: 0n,
  mcgStatus: 0n,
  mtrr: {},
});

export class ModelSpecificRegisters {
  readonly #p: Processor;
  readonly #devices: MsrDevices;
  readonly #features: ReadonlySet<string>;
  state: MsrState = initialMsrs();

  constructor(p: Processor, devices: MsrDevices, features: ReadonlySet<string>) {
    this.#p = p;
    this.#devices = devices;
    this.#features = features;
  }

  read(index: number): bigint | GuestFault {
    const { state } = this.#p;
    const d = this.#devices;
    switch (index) {
      case MSR.tsc:
        return d.readTsc();
      case MSR.platformId:
        return 0n;
      case MSR.apicBase:
        return d.apicBase;
      case MSR.tscAdjust:
        return GP;
      case MSR.biosSignature:
        return 0n;
      case MSR.mtrrCap:
        return BigInt(MTRR_VARIABLE) | 0x500n;
      case MSR.archCapabilities:
        return this.#features.has('arch_capabilities') ? ARCH_CAPABILITIES : GP;
      case MSR.sysenterCs:
        return state.get64(STATE.sysenterCs);
      case MSR.sysenterEsp:
        return state.get64(STATE.sysenterEsp);
      case MSR.sysenterEip:
        return state.get64(STATE.sysenterEip);
      case MSR.mcgCap:
        return 0n;
      case MSR.mcgStatus:
        return this.state.mcgStatus;
      case MSR.miscEnable:
        return this.state.miscEnable;
      case MSR.pat:
        return this.state.pat;
      case MSR.mtrrDefType:
        return this.state.mtrrDefType;
      case MSR.tscDeadline:
        return this.#features.has('tsc_deadline') ? d.readTscDeadline() : GP;
      case MSR.efer:
        return state.get64(STATE.efer);
      case MSR.star:
        return state.get64(STATE.star);
      case MSR.lstar:
        return state.get64(STATE.lstar);
      case MSR.cstar:
        return state.get64(STATE.cstar);
      case MSR.sfmask:
        return state.get64(STATE.sfmask);
      case MSR.fsBase:
        return this.#p.base(4);
      case MSR.gsBase:
        return this.#p.base(5);
      case MSR.kernelGsBase:
        return state.get64(STATE.kernelGsBase);
      case MSR.tscAux:
        return this.#features.has('rdtscp') || this.#features.has('rdpid') ? state.get64(STATE.tscAux) : GP;
      case MSR.xss:
        return this.#features.has('xsaves') ? 0n : GP;
      default:
        if (this.#isMtrr(index)) return this.state.mtrr[index] ?? 0n;
        if (this.#isX2apic(index)) return d.readX2apic(index - MSR.x2apic) ?? GP;
        if (this.#isHypervisor(index)) return d.readHypervisor?.(index) ?? GP;
        return GP;
    }
  }

  write(index: number, value: bigint): GuestFault | undefined {
    const p = this.#p;
    const { state } = p;
    const d = this.#devices;
    const canonical = (cell: number): GuestFault | undefined => {
      if (!p.canonical(value)) return GP;
      state.set64(cell, value);
      return undefined;
    };
    switch (index) {
      case MSR.tsc:
        d.writeTsc(value);
        return undefined;
      case MSR.apicBase:
        return d.writeApicBase(value) ? undefined : GP;
      case MSR.biosSignature:
        return undefined;
      case MSR.sysenterCs:
        state.set64(STATE.sysenterCs, value & 0xffff_ffffn);
        return undefined;
      case MSR.sysenterEsp:
        return canonical(STATE.sysenterEsp);
      case MSR.sysenterEip:
        return canonical(STATE.sysenterEip);
      case MSR.mcgStatus:
        if (value & ~7n) return GP;
        this.state.mcgStatus = value;
        return undefined;
      case MSR.miscEnable:
        this.state.miscEnable = value;
        return undefined;
      case MSR.pat:
        if (!bytesOf(value).every((t) => PAT_TYPES.has(t))) return GP;
        this.state.pat = value;
        return undefined;
      case MSR.mtrrDefType:
        if (value & ~0xcffn || !MEMORY_TYPES.has(Number(value & 0xffn))) return GP;
        this.state.mtrrDefType = value;
        return undefined;
      case MSR.tscDeadline:
        if (!this.#features.has('tsc_deadline')) return GP;
        d.writeTscDeadline(value);
        return undefined;
      case MSR.efer:
        return this.#writeEfer(value);
      case MSR.star:
        state.set64(STATE.star, value);
        return undefined;
      case MSR.lstar:
        return canonical(STATE.lstar);
      case MSR.cstar:
        return canonical(STATE.cstar);
      case MSR.sfmask:
        state.set64(STATE.sfmask, value & 0xffff_ffffn);
        return undefined;
      case MSR.fsBase:
        return canonical(STATE.segBase + 4 * 8);
      case MSR.gsBase:
        return canonical(STATE.segBase + 5 * 8);
      case MSR.kernelGsBase:
        return canonical(STATE.kernelGsBase);
      case MSR.tscAux:
        if (!(this.#features.has('rdtscp') || this.#features.has('rdpid')) || value >> 32n) return GP;
        state.set64(STATE.tscAux, value);
        return undefined;
      case MSR.xss:
        // no supervisor state component is offered
        return this.#features.has('xsaves') && value === 0n ? undefined : GP;
      default:
        if (this.#isMtrr(index)) return this.#writeMtrr(index, value);
        if (this.#isX2apic(index)) return d.writeX2apic(index - MSR.x2apic, value) ? undefined : GP;
        if (this.#isHypervisor(index)) return d.writeHypervisor?.(index, value) ? undefined : GP;
        return GP;
    }
  }

  #isX2apic(index: number): boolean {
    return this.#features.has('x2apic') && index >= MSR.x2apic && index < MSR.x2apic + 0x100;
  }
  #isHypervisor(index: number): boolean {
    return this.#features.has('kvmclock') && index >= MSR.hypervisor && index < MSR.hypervisor + 0x100;
  }
  #isMtrr(index: number): boolean {
    return (index >= MSR.mtrrPhysBase0 && index < MSR.mtrrPhysBase0 + 2 * MTRR_VARIABLE) || MTRR_FIXED.has(index);
  }
  #writeMtrr(index: number, value: bigint): GuestFault | undefined {
    const fixed = MTRR_FIXED.has(index);
    const types = fixed ? bytesOf(value) : index % 2 === 0 ? [Number(value & 0xffn)] : [];
    if (!types.every((t) => MEMORY_TYPES.has(t))) return GP;
    const reserved = fixed
      ? 0n
      : (index % 2 === 0 ? 0xf00n : 0x7ffn) | (~this.#p.state.get64(STATE.physMask) & 0xffff_ffff_ffff_f000n);
    if (value & reserved) return GP;
    this.state.mtrr[index] = value;
    return undefined;
  }
  #writeEfer(value: bigint): GuestFault | undefined {
    const { state } = this.#p;
    let allowed = EFER.sce | EFER.lma;
    if (this.#features.has('lm')) allowed |= EFER.lme;
    if (this.#features.has('nx')) allowed |= EFER.nxe;
    if (value & ~allowed) return GP;
    const old = state.get64(STATE.efer);
    const paging = (state.get64(STATE.cr0) & 0x8000_0000n) !== 0n;
    if (paging && (value & EFER.lme) !== (old & EFER.lme)) return GP;
    // LMA follows CR0.PG, whatever is written
    state.set64(STATE.efer, (value & ~EFER.lma) | (old & EFER.lma));
    this.#p.core.flushTlb();
    return undefined;
  }
}
