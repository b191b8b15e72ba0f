import type { CoreExports } from '../core.ts';
import { ACCESS, FAULT, SEGMENT_ACCESS, STATE, TLB } from '../state.ts';
import type { StateMemory } from '../state-memory.ts';

/** An architectural fault: a value, never a JavaScript exception. */
export interface GuestFault {
  readonly vector: number;
  /** Error code, for the vectors that push one. */
  readonly error?: number | undefined;
  /** New CR2, for #PF. */
  readonly address?: bigint | undefined;
}
export const isFault = (x: unknown): x is GuestFault => typeof x === 'object' && x !== null && 'vector' in x;

export const GPR = { rax: 0, rcx: 1, rdx: 2, rbx: 3, rsp: 4, rbp: 5, rsi: 6, rdi: 7, r11: 11 } as const;
export const EFLAGS = {
  tf: 0x100,
  if: 0x200,
  df: 0x400,
  iopl: 0x3000,
  nt: 0x4000,
  rf: 0x1_0000,
  vm: 0x2_0000,
  ac: 0x4_0000,
  vif: 0x8_0000,
  vip: 0x10_0000,
  id: 0x20_0000,
  /** What STATE.eflags holds; bit 1 reads as one. */
  system: 0x3f_7700,
  status: 0x8d5,
} as const;
export const EFER = { sce: 1n, lme: 0x100n, lma: 0x400n, nxe: 0x800n } as const;
export const SEG = { es: 0, cs: 1, ss: 2, ds: 3, fs: 4, gs: 5, ldtr: 6, tr: 7 } as const;

/** Descriptor attributes as STATE.segAccess keeps them: access byte, and G D/B L AVL in bits 15:12. */
export const ATTRIBUTE = {
  accessed: 1,
  writable: 2,
  conforming: 4,
  code: 8,
  notSystem: 0x10,
  present: 0x80,
  long: 0x2000,
  big: 0x4000,
  granular: 0x8000,
} as const;
export const dplOf = (attributes: number): number => (attributes >> 5) & 3;

/**
 * The processor's registers and its own (supervisor) accesses to guest memory, as the TypeScript side of the privileged
 * architecture sees them.
 */
export class Processor {
  readonly state: StateMemory;
  readonly core: CoreExports;

  constructor(state: StateMemory, core: CoreExports) {
    this.state = state;
    this.core = core;
  }

  gpr(index: number): bigint {
    return this.state.get64(STATE.gpr + index * 8);
  }
  setGpr(index: number, value: bigint): void {
    this.state.set64(STATE.gpr + index * 8, value);
  }
  get cpl(): number {
    return this.state.get32(STATE.cpl);
  }
  get eflags(): number {
    return this.core.readFlags();
  }
  /** All of RFLAGS; call `modeChanged` afterwards when AC may have changed. */
  setEflags(value: number): void {
    this.state.set32(STATE.eflags, (value & EFLAGS.system) | 2);
    this.core.writeStatusFlags(value);
  }
  get longMode(): boolean {
    return (this.state.get64(STATE.efer) & EFER.lma) !== 0n;
  }
  get code64(): boolean {
    return (this.state.get32(STATE.codeMode) & 3) === 0;
  }
  get protectedMode(): boolean {
    return (this.state.get64(STATE.cr0) & 1n) !== 0n;
  }

  selector(seg: number): number {
    return this.state.get32(STATE.selector + seg * 4);
  }
  base(seg: number): bigint {
    return this.state.get64(
      seg === SEG.tr ? STATE.trBase : seg === SEG.ldtr ? STATE.ldtrBase : STATE.segBase + seg * 8,
    );
  }
  limit(seg: number): number {
    return this.state.get32(STATE.segLimit + seg * 4);
  }
  attributes(seg: number): number {
    return this.state.get32(STATE.segAccess + seg * 4);
  }
  setSegment(seg: number, selector: number, base: bigint, limit: number, attributes: number): void {
    const { state } = this;
    state.set32(STATE.selector + seg * 4, selector);
    state.set64(seg === SEG.tr ? STATE.trBase : seg === SEG.ldtr ? STATE.ldtrBase : STATE.segBase + seg * 8, base);
    state.set32(STATE.segLimit + seg * 4, limit);
    state.set32(STATE.segAccess + seg * 4, attributes);
    if (seg < SEG.ldtr) {
      const flatData = ATTRIBUTE.present | ATTRIBUTE.notSystem | ATTRIBUTE.writable;
      const flat =
        limit === 0xffff_ffff && (attributes & (flatData | ATTRIBUTE.code | ATTRIBUTE.conforming)) === flatData;
      state.set32(STATE.segmentCheck + seg * 4, flat ? 0 : 1);
    }
  }

  /** CPL, EFLAGS.AC, CR4, CS or SS changed: derives the code mode and what memory accesses and lookups depend on. */
  modeChanged(): void {
    const cs = this.attributes(SEG.cs);
    let mode: number;
    if (this.longMode && (cs & ATTRIBUTE.long) !== 0) mode = 0;
    else mode = (cs & ATTRIBUTE.big ? 1 : 2) | (this.attributes(SEG.ss) & ATTRIBUTE.big ? 4 : 0);
    this.state.set32(STATE.codeMode, mode);
    this.core.updatePrivilege();
  }

  /** The fault that a wasm helper has left in the state, taken out of it. */
  takeFault(): GuestFault | undefined {
    const { state } = this;
    const fault = state.get32(STATE.fault);
    if (fault === 0) return undefined;
    state.set32(STATE.fault, 0);
    const vector = fault & 0xff;
    return {
      vector,
      error: fault & FAULT.hasError ? state.get32(STATE.faultError) : undefined,
      address: vector === 14 ? state.get64(STATE.faultAddress) : undefined,
    };
  }

  /** Runs `body` with the processor's own privilege: supervisor whatever CPL is, no access to user pages under SMAP. */
  #asSupervisor<T>(body: () => T): T {
    const { state } = this;
    const saved = [state.get32(STATE.tlbRead), state.get32(STATE.tlbWrite), state.get32(STATE.dataAccess)] as const;
    const smap = (state.get64(STATE.cr4) & 0x20_0000n) !== 0n;
    const table = TLB.base + (smap ? 0 : 2 * TLB.tableSize);
    state.set32(STATE.tlbRead, table);
    state.set32(STATE.tlbWrite, table + TLB.tableSize);
    state.set32(STATE.dataAccess, smap ? 0 : ACCESS.userPages);
    const result = body();
    state.set32(STATE.tlbRead, saved[0]);
    state.set32(STATE.tlbWrite, saved[1]);
    state.set32(STATE.dataAccess, saved[2]);
    return result;
  }
  /** Reads descriptor tables and task segments: `width` bytes at a linear address. */
  readSystem(linear: bigint, width: 1 | 2 | 4 | 8): bigint | GuestFault {
    return this.#asSupervisor(() => {
      const value = this.core.loadSlow(BigInt.asIntN(64, linear), width);
      return this.takeFault() ?? BigInt.asUintN(64, value);
    });
  }
  writeSystem(linear: bigint, value: bigint, width: 1 | 2 | 4 | 8, stack = false): GuestFault | undefined {
    return this.#asSupervisor(() => {
      this.core.storeSlow(BigInt.asIntN(64, linear), BigInt.asIntN(64, value), width | (stack ? 0x100 : 0));
      return this.takeFault();
    });
  }
  /** An ordinary data access at the current privilege; `stack` chooses #SS over #GP. */
  read(linear: bigint, width: 1 | 2 | 4 | 8, stack = false): bigint | GuestFault {
    const value = this.core.loadSlow(BigInt.asIntN(64, linear), width | (stack ? 0x100 : 0));
    return this.takeFault() ?? BigInt.asUintN(64, value);
  }
  write(linear: bigint, value: bigint, width: 1 | 2 | 4 | 8, stack = false): GuestFault | undefined {
    this.core.storeSlow(BigInt.asIntN(64, linear), BigInt.asIntN(64, value), width | (stack ? 0x100 : 0));
    return this.takeFault();
  }
  /** The limit and type checks of a loaded segment outside 64-bit mode. */
  checkSegment(seg: number, offset: bigint, width: number, write: boolean): GuestFault | undefined {
    if (this.code64 || this.state.get32(STATE.segmentCheck + seg * 4) === 0) return undefined;
    this.core.checkSegment(seg, BigInt.asIntN(64, offset), width | (write ? SEGMENT_ACCESS.write : 0));
    return this.takeFault();
  }
  canonical(linear: bigint): boolean {
    return this.core.isCanonical(BigInt.asIntN(64, linear)) !== 0;
  }
}
