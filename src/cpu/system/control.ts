import { STATE, VECTOR } from '../state.ts';
import { ATTRIBUTE, EFER, type GuestFault, type Processor, SEG } from './processor.ts';

/** Control registers (SDM vol. 3, 2.5). */
export const CR0 = {
  pe: 1n,
  mp: 2n,
  em: 4n,
  ts: 8n,
  et: 0x10n,
  ne: 0x20n,
  wp: 0x1_0000n,
  am: 0x4_0000n,
  nw: 0x2000_0000n,
  cd: 0x4000_0000n,
  pg: 0x8000_0000n,
} as const;
export const CR4 = {
  tsd: 4n,
  de: 8n,
  pse: 0x10n,
  pae: 0x20n,
  mce: 0x40n,
  pge: 0x80n,
  pce: 0x100n,
  osfxsr: 0x200n,
  osxmmexcpt: 0x400n,
  umip: 0x800n,
  la57: 0x1000n,
  fsgsbase: 0x1_0000n,
  pcide: 0x2_0000n,
  osxsave: 0x4_0000n,
  smep: 0x10_0000n,
  smap: 0x20_0000n,
  pke: 0x40_0000n,
} as const;

/** Bit 63 of a value for CR3. */
const CR3_KEEP = 1n << 63n;
const GP: GuestFault = { vector: VECTOR.gp, error: 0 };

/** CR4 bits that a set of CPU features allows. */
export function allowedCr4(features: ReadonlySet<string>): bigint {
  let mask = CR4.tsd | CR4.de | CR4.pse | CR4.pae | CR4.mce | CR4.pge | CR4.pce | CR4.osfxsr | CR4.osxmmexcpt;
  const add = (feature: string, bit: bigint): void => {
    if (features.has(feature)) mask |= bit;
  };
  add('umip', CR4.umip);
  add('la57', CR4.la57);
  add('fsgsbase', CR4.fsgsbase);
  add('pcid', CR4.pcide);
  add('xsave', CR4.osxsave);
  add('smep', CR4.smep);
  add('smap', CR4.smap);
  add('pku', CR4.pke);
  return mask;
}

/** Whether floating-point and vector instructions may run now: 0, or vector + 1 of the exception (SDM vol. 3, 2.5). */
export function updateUnits(p: Processor): void {
  const { state } = p;
  const cr0 = state.get64(STATE.cr0);
  const cr4 = state.get64(STATE.cr4);
  const nm = VECTOR.nm + 1;
  const ud = VECTOR.ud + 1;
  state.set32(STATE.fpuFault, cr0 & (CR0.em | CR0.ts) ? nm : 0);
  const sse = cr0 & CR0.em || !(cr4 & CR4.osfxsr) ? ud : cr0 & CR0.ts ? nm : 0;
  state.set32(STATE.sseFault, sse);
  const avxEnabled = cr4 & CR4.osxsave && (state.get64(STATE.xcr0) & 6n) === 6n;
  state.set32(STATE.avxFault, !avxEnabled ? ud : cr0 & CR0.ts ? nm : 0);
}

/** Reserved bits of a PAE page-directory-pointer entry (SDM vol. 3, 4.4.1), apart from the width of addresses. */
const PDPTE_RESERVED = 0xfff0_0000_0000_01e6n;
/** PAE paging loads its four entries when CR3, CR0 or CR4 is written, and refuses reserved bits in them (SDM vol. 3, 4.4.1). */
function checkPdptes(p: Processor, cr0: bigint, cr3: bigint, cr4: bigint): GuestFault | undefined {
  if (!(cr0 & CR0.pg) || !(cr4 & CR4.pae) || p.state.get64(STATE.efer) & EFER.lme) return undefined;
  const reserved = PDPTE_RESERVED | BigInt.asUintN(64, ~(p.state.get64(STATE.physMask) | 0xfffn));
  for (let i = 0n; i < 4n; i++) {
    const entry = BigInt.asUintN(64, p.core.physLoad((cr3 & 0xffff_ffe0n) + i * 8n, 8));
    if (entry & 1n && entry & reserved) return GP;
  }
  return undefined;
}
const TSS16_BUSY = 3;

export function writeCr0(p: Processor, value: bigint): GuestFault | undefined {
  const { state } = p;
  if (value >> 32n) return GP;
  const old = state.get64(STATE.cr0);
  const next = (value & 0xe005_002fn) | CR0.et;
  if (next & CR0.pg && !(next & CR0.pe)) return GP;
  if (next & CR0.nw && !(next & CR0.cd)) return GP;
  const efer = state.get64(STATE.efer);
  if (next & CR0.pg && !(old & CR0.pg) && efer & EFER.lme) {
    if (!(state.get64(STATE.cr4) & CR4.pae) || p.attributes(SEG.cs) & ATTRIBUTE.long) return GP;
    if ((p.attributes(SEG.tr) & 0x1f) === TSS16_BUSY) return GP;
    state.set64(STATE.efer, efer | EFER.lma);
  } else if (!(next & CR0.pg) && old & CR0.pg) {
    if (p.code64 || state.get64(STATE.cr4) & CR4.pcide) return GP;
    state.set64(STATE.efer, efer & ~EFER.lma);
  }
  if ((old ^ next) & (CR0.pg | CR0.cd | CR0.nw)) {
    const fault = checkPdptes(p, next, state.get64(STATE.cr3), state.get64(STATE.cr4));
    if (fault) return fault;
  }
  state.set64(STATE.cr0, next);
  if ((old ^ next) & (CR0.pg | CR0.wp | CR0.pe)) p.core.flushTlb();
  updateUnits(p);
  p.modeChanged();
  return undefined;
}

export function writeCr3(p: Processor, value: bigint): GuestFault | undefined {
  const { state } = p;
  const cr4 = state.get64(STATE.cr4);
  // with process-context identifiers bit 63 asks to keep what is cached: allowed, and not done
  const cr3 = cr4 & CR4.pcide ? value & ~CR3_KEEP : value;
  if (p.longMode && cr3 & ~(state.get64(STATE.physMask) | 0xfffn)) return GP;
  const fault = checkPdptes(p, state.get64(STATE.cr0), cr3, cr4);
  if (fault) return fault;
  state.set64(STATE.cr3, cr3);
  p.core.flushTlb();
  return undefined;
}

export function writeCr4(p: Processor, value: bigint, allowed: bigint): GuestFault | undefined {
  const { state } = p;
  if (value & ~allowed) return GP;
  const old = state.get64(STATE.cr4);
  if (p.longMode && (!(value & CR4.pae) || (value ^ old) & CR4.la57)) return GP;
  if (value & ~old & CR4.pcide && (!p.longMode || state.get64(STATE.cr3) & 0xfffn)) return GP;
  if ((value ^ old) & (CR4.pae | CR4.pge | CR4.pse | CR4.smep)) {
    const fault = checkPdptes(p, state.get64(STATE.cr0), state.get64(STATE.cr3), value);
    if (fault) return fault;
  }
  state.set64(STATE.cr4, value);
  if ((old ^ value) & (CR4.pae | CR4.pse | CR4.pge | CR4.la57 | CR4.smep | CR4.smap | CR4.pcide | CR4.pke))
    p.core.flushTlb();
  updateUnits(p);
  p.modeChanged();
  return undefined;
}
