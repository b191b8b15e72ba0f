/**
 * What single instructions need to do something interesting: counts, dividends that fit, stacks, string pointers.
 * 'before' runs before the memory operand is chosen, 'after' when its contents are known.
 */
import { METHOD, WIDTH } from '../../src/cpu/decode/operands.ts';
import { awkwardOffset, branchTarget, selectorValue, targetAddress, wholeAddress } from './addresses.ts';
import type { Form } from './forms.ts';
import type { Random } from './random.ts';
import type { CaseState } from './state.ts';
import { CODE_BASE, CODE_SIZE, DATA_BASE } from './types.ts';
import { fillStyled } from './values.ts';

export interface Arrangement {
  readonly form: Form;
  readonly state: CaseState;
  readonly r: Random;
  readonly operandSize: number;
  readonly addressSize: number;
  /** FS or GS (4, 5) when overridden, else -1 (or a flat segment). */
  readonly segment: number;
  readonly immediate: number;
  readonly reg: number;
  readonly rm: number;
  readonly memorySize: number;
  /** Linear address of the memory operand and the registers that give it ('after' only). */
  readonly target?: bigint;
  readonly addressRegisters?: readonly number[];
}

const COUNTS = [0, 1, 2, 7, 8, 9, 15, 16, 17, 18, 31, 32, 33, 63, 64, 65, 127, 128, 255];
const [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI] = [0, 1, 2, 3, 4, 5, 6, 7];
const POPS = /^(pop|ret|popf|popa|leave|pop_seg|ret_far|iret)$/;
const PUSHES = /^(push|call|call_far|pushf|push_seg|pusha|enter)$/;

/** Returns the bytes of a moffs operand, if the form has one. */
export function arrange(a: Arrangement, when: 'before' | 'after'): number[] | undefined {
  const { form, r, state } = a;
  const { mnemonic } = form.row;
  if (when === 'after') {
    arrangeContents(a);
    return undefined;
  }
  if (form.row.operands.includes('CL') && !r.oneIn(6)) state.setLow(RCX, 1, BigInt(r.pick(COUNTS)));
  if (POPS.test(mnemonic) || PUSHES.test(mnemonic)) arrangeStack(a);
  if (form.row.repeats || mnemonic === 'xlat' || form.operands.some((o) => o.method === METHOD.source))
    arrangeString(a);
  if (/^(loop|jcxz)/.test(mnemonic) && !r.oneIn(4)) state.set(RCX, BigInt(r.below(3)) | (r.oneIn(4) ? 1n << 32n : 0n));
  if (/^bt[src]?$/.test(mnemonic) && form.kind === 'mem' && r.percent(80)) {
    state.set(a.reg, BigInt(r.below(512) - 128));
  }
  if (/^(mov_seg|lar|lsl|verr|verw|lldt|ltr)$/.test(mnemonic) && form.kind === 'reg') {
    state.setLow(a.rm, 2, BigInt(selectorValue(r)));
  }
  if (/^(jmp|call)$/.test(mnemonic) && form.kind === 'reg') state.set(a.rm, branchTarget(r, form.mode));
  if (/^maskmov(q|dqu)$/.test(mnemonic) || form.operands.some((o) => o.method === METHOD.implicit && o.fixed === RDI)) {
    // What a masked store does at the end of the canonical addresses is AMD's own.
    const target = targetAddress(r, 16, form.mode);
    const base = state.segmentBase(a.segment);
    const awkward = target >= 0x7fff_0000_0000n || awkwardOffset(target, 16, base, form.mode);
    state.set(RDI, (awkward ? BigInt(DATA_BASE + 0x1000) : target) - base);
  }
  if (XSAVES.test(mnemonic)) {
    state.set(RAX, BigInt(r.below(8)) | (r.oneIn(4) ? BigInt(r.u32()) & ~(FOREIGN_STATE | 7n) : 0n));
    state.set(RDX, r.oneIn(4) ? BigInt(r.u32() >>> 2) : 0n);
  }
  if (/pcmpestr/.test(mnemonic)) {
    state.set(RAX, BigInt(r.below(40) - 20));
    state.set(RDX, BigInt(r.below(40) - 20));
  }
  if (form.kind === 'reg') arrangeDivision(a, state.get(a.rm));
  if (form.operands.some((o) => o.method === METHOD.offset)) {
    const base = state.segmentBase(a.segment);
    let target = targetAddress(r, a.operandSize, form.mode);
    if (awkwardOffset(target, a.operandSize, base, form.mode)) target = BigInt(DATA_BASE + 0x1000);
    state.patchStyled(target, 8);
    const offset = target - base;
    return Array.from({ length: a.addressSize }, (_, i) => Number((offset >> BigInt(8 * i)) & 255n));
  }
  return undefined;
}

export const XSAVES = /^(xsave|xrstor)/;
/** Bits of XCR0 that one or the other CPU may have and this one does not. */
export const FOREIGN_STATE = 0x6_03f8n;

/** Instructions that read a selector and more; CPUs differ in the order, and in the width of a popped selector. */
export const SEVERAL_ACCESSES = /^(xsave\w*|pop_seg|ret_far|iret|call_far|jmp_far|l[defgs]s)$/;

/** Operands on the stack, where there are several. */
const STACK_ITEMS: Readonly<Record<string, number>> = { popa: 8, pusha: 8, call_far: 2, ret_far: 2, iret: 5 };

function arrangeStack({ form, state, r, operandSize, immediate }: Arrangement): void {
  /** Offset and selector to return to; flags, stack pointer and stack segment for IRET. */
  const arrangeFrame = (at: bigint) => {
    const selector = r.oneIn(2) ? (form.mode === 64 ? 0x33 : 0x23) : selectorValue(r);
    const item = BigInt(operandSize);
    const frame = new Uint8Array(5 * operandSize);
    const put = (index: number, value: bigint) => {
      for (let i = 0; i < operandSize; i++) frame[index * operandSize + i] = Number((value >> BigInt(8 * i)) & 255n);
    };
    put(0, branchTarget(r, form.mode));
    put(1, BigInt(selector));
    // TF stays set, or the single step behind the instruction would be lost.
    put(2, BigInt(r.u32() | 0x100) & 0xffff_ffffn);
    put(3, BigInt(r.u32()));
    put(4, BigInt(r.oneIn(2) ? 0x2b : selectorValue(r)));
    state.patch(at, form.row.mnemonic === 'iret' ? frame : frame.subarray(0, 2 * Number(item)));
  };
  const { mnemonic } = form.row;
  const size = STACK_ITEMS[mnemonic] === undefined ? operandSize : STACK_ITEMS[mnemonic] * operandSize;
  const several = SEVERAL_ACCESSES.test(mnemonic);
  // AMD's far return reads the outer stack pointer before it finds that there is no return to an inner level.
  const beyond = mnemonic === 'ret_far' ? 0x180 : 0;
  let target = several ? wholeAddress(r, size + beyond, form.mode) : targetAddress(r, size, form.mode);
  // A far call into 32-bit code pushes by ESP or by RSP: which, is nowhere written down.
  if (mnemonic === 'call_far' && target > 0xffff_ffffn) target = BigInt(DATA_BASE + 0x100);
  state.set(RSP, PUSHES.test(mnemonic) ? target + BigInt(size) : target);
  if (mnemonic === 'ret') state.patchNumber(target, branchTarget(r, form.mode), operandSize);
  else if (mnemonic === 'popf') state.patchNumber(target, BigInt(r.u32()), operandSize);
  else if (mnemonic === 'pop_seg') state.patchNumber(target, BigInt(selectorValue(r)), operandSize);
  else if (mnemonic === 'ret_far' || mnemonic === 'iret') arrangeFrame(target);
  else if (mnemonic === 'leave') {
    state.set(RBP, target);
    state.set(RSP, BigInt(r.u32()));
    state.patchStyled(target, operandSize);
  } else if (mnemonic === 'enter') {
    state.set(RBP, targetAddress(r, 8 * (immediate & 31), form.mode) + BigInt(operandSize * (immediate & 31)));
  } else if (POPS.test(mnemonic)) state.patchStyled(target, size);
}

function arrangeString(a: Arrangement): void {
  const { form, state, r } = a;
  const { mnemonic } = form.row;
  if (mnemonic === 'xlat') {
    const target = targetAddress(r, 1, form.mode);
    state.set(RBX, target - state.segmentBase(a.segment) - (state.get(RAX) & 255n));
    return;
  }
  const element = form.operands.some((o) => o.width === 1) ? 1 : a.operandSize;
  const count = r.oneIn(12) ? 1 + r.below(2000) : r.below(12);
  const base = state.segmentBase(a.segment);
  const source = stringAddress(a, element * Math.min(count, 16), base);
  const destination = r.oneIn(4) ? source + BigInt(r.below(40) - 20) : stringAddress(a, element, 0n);
  const set = (register: number, value: bigint) => {
    // Upper halves must not matter with short addresses.
    if (a.addressSize === 4 && form.mode === 64) state.set(register, (value & 0xffff_ffffn) | (BigInt(r.u32()) << 32n));
    else state.set(register, value);
  };
  set(RSI, source - base);
  set(RDI, destination);
  if (form.prefix !== '') set(RCX, BigInt(count));
  if (mnemonic === 'cmps' || mnemonic === 'scas') {
    const same = new Uint8Array(64).fill(r.u32());
    if (r.oneIn(2)) same[r.below(64)]! ^= 1 << r.below(8);
    state.patch(destination - (r.oneIn(2) ? 32n : 0n), same);
    if (mnemonic === 'scas') {
      const word = BigInt(same[0]!) * 0x0101_0101_0101_0101n;
      if (!r.oneIn(3)) state.setLow(RAX, 8, word);
    } else {
      state.patch(source - (r.oneIn(2) ? 32n : 0n), same);
    }
  }
}

/** Not in the code pages, where a long repeat would reach the case itself; with a segment base, not at an awkward offset. */
function stringAddress({ form, r }: Arrangement, size: number, base: bigint): bigint {
  for (;;) {
    const address = targetAddress(r, size, form.mode);
    const inCode = address >= CODE_BASE && address < CODE_BASE + CODE_SIZE;
    // Far enough from the ends of the segment for a long repeat in either direction.
    const from = address - 0x4000n;
    if (!inCode && !awkwardOffset(from, 0x8000, base, form.mode)) return address;
  }
}

function arrangeContents(a: Arrangement): void {
  const { form, state, r, operandSize } = a;
  const { mnemonic } = form.row;
  if (a.target === undefined || form.kind !== 'mem') return;
  const size = a.memorySize;
  if (form.operands.some(({ memoryWidth }) => memoryWidth === WIDTH.p)) {
    const offset = BigInt.asUintN(8 * (size - 2), branchTarget(r, 32));
    state.repatch(a.target, offset | (BigInt(selectorValue(r)) << BigInt(8 * (size - 2))), size);
    return;
  }
  if (XSAVES.test(mnemonic)) arrangeXsaveArea(a.target, a);
  if (/^(mov_seg|lar|lsl|verr|verw|lldt|ltr)$/.test(mnemonic)) state.repatch(a.target, BigInt(selectorValue(r)), 2);
  // Bit 17 is reserved by the SDM, misaligned SSE on AMD (so in FXRSTOR, XRSTOR); the other reserved bits only now and then.
  if (/ldmxcsr$/.test(mnemonic))
    state.repatch(a.target, BigInt(r.u32() & (r.oneIn(4) ? ~0x2_0000 : 0xffff)) & 0xffff_ffffn, 4);
  if (mnemonic === 'fxrstor') {
    const mxcsr = state.patched(a.target + 24n, 4);
    if (mxcsr !== undefined) state.repatch(a.target + 24n, mxcsr & ~0x2_0000n, 4);
  }
  const content = size > 0 && size <= 16 ? state.patched(a.target, size) : undefined;
  if (content === undefined) return;
  if (a.addressRegisters?.some((register) => register === RAX || register === RDX)) return;
  if (mnemonic === 'cmpxchg' && r.oneIn(2)) state.setLow(RAX, size, content);
  if (/^cmpxchg(8|16)b$/.test(mnemonic) && r.percent(60)) {
    const half = size / 2;
    state.setLow(RAX, half, content);
    state.setLow(RDX, half, content >> BigInt(8 * half));
  }
  arrangeDivision({ ...a, operandSize }, content);
}

/** MXCSR, the header and the AVX component of an XSAVE area: mostly such that XRSTOR takes them. */
function arrangeXsaveArea(target: bigint, { state, r }: Arrangement): void {
  state.repatch(target + 24n, BigInt(r.oneIn(12) ? r.u32() & ~0x2_0000 : r.u32() & 0xffff) & 0xffff_ffffn, 4);
  const header = new Uint8Array(64);
  const present = r.below(8);
  header[0] = present;
  if (r.oneIn(3)) {
    header[8] = r.oneIn(3) ? r.below(8) : present | r.below(8);
    header[15] = 0x80;
  }
  if (r.oneIn(10)) header[r.below(64)]! |= 1 << r.below(8);
  // neither AVX-512 nor another component of the host
  header[0]! &= 7;
  header[1] = header[2] = 0;
  header[8]! &= 7;
  header[9] = header[10] = 0;
  state.patch(target + 512n, header);
  const vectors = new Uint8Array(256);
  fillStyled(vectors, 'integer', r);
  state.patch(target + 576n, vectors);
}

/** Gives DIV and IDIV a dividend whose quotient fits, most of the time. */
function arrangeDivision({ form, state, r, operandSize }: Arrangement, raw: bigint): void {
  const { mnemonic } = form.row;
  if ((mnemonic !== 'div' && mnemonic !== 'idiv') || r.oneIn(4)) return;
  const bytes = form.row.operands[0] === 'Eb' ? 1 : operandSize;
  const bits = bytes * 8;
  const signed = mnemonic === 'idiv';
  const divisor = signed ? BigInt.asIntN(bits, raw) : BigInt.asUintN(bits, raw);
  const random = (BigInt(r.u32()) << 32n) | BigInt(r.u32());
  let quotient = signed ? BigInt.asIntN(bits, random) : BigInt.asUintN(bits, random);
  if (r.oneIn(3))
    quotient = signed ? -(1n << BigInt(bits - 1)) + BigInt(r.below(3) - 1) : (1n << BigInt(bits)) - BigInt(r.below(3));
  const magnitude = divisor < 0n ? -divisor : divisor;
  const remainder = magnitude === 0n ? 0n : (BigInt(r.u32()) * BigInt(r.u32())) % magnitude;
  const dividend = divisor * quotient + (quotient * divisor < 0n ? -remainder : remainder);
  if (bytes === 1) {
    state.setLow(RAX, 2, dividend);
  } else {
    state.setLow(RAX, bytes, dividend);
    state.setLow(RDX, bytes, dividend >> BigInt(bits));
  }
}
