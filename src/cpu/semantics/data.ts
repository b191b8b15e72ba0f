/** Moves, exchanges and the stack (SDM vol. 2, one section an instruction). */
import { type I32, type I64, i32, i64, isConst } from '../../wasm/expr.ts';
import { VECTOR } from '../state.ts';
import type { Bytes, Semantics, SemanticsContext } from './context.ts';
import {
  byStackSegment,
  linearAddressPlus,
  movedStack,
  NONE,
  push as pushValue,
  RAX,
  RBP,
  RBX,
  RCX,
  RDX,
  RSP,
  setGprIf,
  signExtend,
  stackLinear,
  top,
  widthOf,
  writeIf,
  zeroExtend,
} from './shared.ts';

const copy: Semantics = (cx) => cx.write(0, cx.read(1));
export const mov: Semantics = copy;
export const movzx: Semantics = copy;
export const movnti: Semantics = copy;
export const movsx: Semantics = (cx) => cx.write(0, cx.readS(1));
export const movsxd: Semantics = movsx;
export const lea: Semantics = (cx) => cx.write(0, cx.effectiveAddress(1));

/** The load happens whatever the condition; a 32-bit destination is zero-extended even when nothing moves. */
export const cmovcc: Semantics = (cx) => {
  const moved = cx.f.let(cx.read(1));
  const holds = cx.condition(cx.facts.condition);
  cx.write(0, i64.select(holds, moved, cx.read(0)));
};
export const setcc: Semantics = (cx) => cx.write(0, i64.extendU(cx.condition(cx.facts.condition)));

/** CBW, CWDE, CDQE. */
export const cbw: Semantics = (cx) => {
  const { operandSize } = cx.facts;
  cx.setGpr(RAX, cx.gprS(RAX, (operandSize / 2) as Bytes), operandSize);
};
/** CWD, CDQ, CQO. */
export const cwd: Semantics = (cx) => {
  const { operandSize } = cx.facts;
  cx.setGpr(RDX, i64.shrS(cx.gprS(RAX, operandSize), i64.const(63)), operandSize);
};

function swapBytes32(value: I32): I32 {
  const odd = i32.and(i32.rotl(value, i32.const(8)), i32.const(0x00ff00ff));
  return i32.or(odd, i32.and(i32.rotr(value, i32.const(8)), i32.const(0xff00ff00 | 0)));
}
/** Bytes of `value` (in a local) in reverse order, zero-extended. */
function swapBytes(cx: SemanticsContext, width: number, value: I64): I64 {
  const low = cx.f.let(i32.wrap(value));
  if (width === 2) return i64.extendU(i32.shrU(swapBytes32(low), i32.const(16)));
  if (width === 4) return i64.extendU(swapBytes32(low));
  const high = cx.f.let(i32.wrap(i64.shrU(value, i64.const(32))));
  return i64.or(i64.shl(i64.extendU(swapBytes32(low)), i64.const(32)), i64.extendU(swapBytes32(high)));
}
/** Undefined for 16 bits: the reference CPU gives 0. */
export const bswap: Semantics = (cx) => {
  const width = cx.width(0);
  if (width === 2) cx.write(0, NONE);
  else cx.write(0, swapBytes(cx, width, cx.f.let(cx.read(0))));
};
export const movbe: Semantics = (cx) => cx.write(0, swapBytes(cx, cx.width(0), cx.f.let(cx.read(1))));

export const xchg: Semantics = (cx) => {
  const { f } = cx;
  const a = f.let(cx.modify(0));
  const b = f.let(cx.read(1));
  cx.commit(0, b);
  cx.write(1, a);
};

/** The second operand is written first: XADD EAX, EAX leaves the sum. */
export const xadd: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(0);
  const a = f.let(cx.modify(0));
  const b = f.let(cx.readS(1));
  const sum = f.let(i64.add(a, b));
  cx.write(1, a);
  cx.commit(0, sum);
  cx.flagsAdd(width, a, b, signExtend(width, sum));
};

/**
 * Memory is written in any case. A register that is not to change is not even zero-extended by the 32-bit form
 * (reference CPU; the SDM's pseudocode does not tell).
 */
export const cmpxchg: Semantics = (cx) => {
  const { f } = cx;
  const width = widthOf(cx, 0);
  const old = f.let(cx.modify(0));
  const expected = f.let(cx.gprS(RAX, width));
  const replacement = f.let(cx.read(1));
  const same = f.let(i64.eq(old, expected));
  if (cx.kind(0) === 'mem') cx.commit(0, i64.select(same, replacement, old));
  else writeIf(cx, same, 0, replacement);
  setGprIf(cx, i32.eqz(same), RAX, old, width);
  cx.flagsSub(width, expected, old, signExtend(width, i64.sub(expected, old)));
};

const join32 = (high: I64, low: I64): I64 => i64.or(i64.shl(high, i64.const(32)), low);

export const cmpxchg8b: Semantics = (cx) => {
  const { f } = cx;
  const old = f.let(cx.modify(0));
  const same = f.let(i64.eq(old, join32(cx.gpr(RDX, 4), cx.gpr(RAX, 4))));
  cx.commit(0, i64.select(same, join32(cx.gpr(RCX, 4), cx.gpr(RBX, 4)), old));
  const differs = f.let(i32.eqz(same));
  setGprIf(cx, differs, RAX, old, 4);
  setGprIf(cx, differs, RDX, i64.shrU(old, i64.const(32)), 4);
  cx.flagsSet({ zf: same });
};

export const cmpxchg16b: Semantics = (cx) => {
  const { f } = cx;
  const linear = cx.linearAddress(0);
  cx.raiseIf(i64.ne(i64.and(linear, i64.const(15)), NONE), VECTOR.gp, 0);
  byStackSegment(cx, 0, (stack) => cx.probeWrite(16, linear, stack));
  const second = f.let(i64.add(linear, i64.const(8)));
  const low = f.let(cx.load(8, linear));
  const high = f.let(cx.load(8, second));
  const same = f.let(i32.and(i64.eq(low, cx.gpr(RAX)), i64.eq(high, cx.gpr(RDX))));
  cx.store(8, linear, i64.select(same, cx.gpr(RBX), low));
  cx.store(8, second, i64.select(same, cx.gpr(RCX), high));
  cx.setGpr(RAX, low);
  cx.setGpr(RDX, high);
  cx.flagsSet({ zf: same });
};

/** AL from the table at the operand's base. */
export const xlat: Semantics = (cx) => {
  const linear = linearAddressPlus(cx, 0, cx.gpr(RAX, 1), 1, false);
  const value = cx.f.newLocal('i64');
  byStackSegment(cx, 0, (stack) => cx.f.set(value, cx.load(1, linear, stack)));
  cx.setGpr(RAX, cx.f.get('i64', value), 1);
};

/** Immediates are sign-extended to the operand size. */
export const push: Semantics = (cx) => pushValue(cx, cx.facts.operandSize, cx.readS(0));

/** A memory operand is addressed with RSP already raised (SDM vol. 2, "POP"), yet a fault must find it as it was. */
export const pop: Semantics = (cx) => {
  const { operandSize, stackSize } = cx.facts;
  const { value, sp } = top(cx, operandSize);
  const after = movedStack(cx, sp, operandSize);
  if (cx.kind(0) !== 'mem') {
    cx.setGpr(RSP, after, stackSize);
    cx.write(0, value);
    return;
  }
  const raised = cx.f.let(after);
  cx.setGpr(RSP, raised, stackSize);
  cx.linearAddress(0, 'unchecked');
  cx.setGpr(RSP, sp, stackSize);
  cx.write(0, value);
  cx.setGpr(RSP, raised, stackSize);
};

/** Registers in PUSHA's order: AX CX DX BX, the original SP, BP SI DI. */
export const pusha: Semantics = (cx) => {
  const { f } = cx;
  const { operandSize, stackSize } = cx.facts;
  const sp = f.let(cx.gpr(RSP, stackSize));
  for (let index = 0; index < 8; index++) {
    const at = movedStack(cx, sp, -operandSize * (index + 1));
    cx.store(operandSize, stackLinear(cx, at, operandSize, 'write'), cx.gpr(index, operandSize), true);
  }
  cx.setGpr(RSP, movedStack(cx, sp, -8 * operandSize), stackSize);
};

/**
 * The saved SP is read but not used. Registers change one by one, as in the reference CPU: a fault leaves those already
 * popped, while SP, from which the instruction starts again, changes last.
 */
export const popa: Semantics = (cx) => {
  const { f } = cx;
  const { operandSize, stackSize } = cx.facts;
  const sp = f.let(cx.gpr(RSP, stackSize));
  for (let position = 0; position < 8; position++) {
    const index = 7 - position;
    const at = movedStack(cx, sp, operandSize * position);
    const value = f.let(cx.load(operandSize, stackLinear(cx, at, operandSize, 'read'), true));
    if (index !== RSP) cx.setGpr(index, value, operandSize);
  }
  cx.setGpr(RSP, movedStack(cx, sp, 8 * operandSize), stackSize);
};

/** Copies the enclosing frames' pointers for `level` > 0 and pushes the new one; yields the stack pointer after it. */
function copyFramePointers(cx: SemanticsContext, level: I32, frame: I64): I64 {
  const { f } = cx;
  const { operandSize, stackSize } = cx.facts;
  const sp = f.newLocal('i64');
  const from = f.newLocal('i64');
  const left = f.newLocal('i32');
  const lower = (local: number, access: 'read' | 'write'): I64 => {
    f.set(local, movedStack(cx, f.get('i64', local), -operandSize));
    return stackLinear(cx, f.get('i64', local), operandSize, access);
  };
  f.set(sp, frame);
  f.if(level, () => {
    f.set(from, cx.gpr(RBP, stackSize));
    f.set(left, i32.sub(level, i32.const(1)));
    f.block((done) =>
      f.loop((again) => {
        f.brIf(done, i32.eqz(f.get('i32', left)));
        const pointer = f.let(cx.load(operandSize, lower(from, 'read'), true));
        cx.store(operandSize, lower(sp, 'write'), pointer, true);
        f.set(left, i32.sub(f.get('i32', left), i32.const(1)));
        f.br(again);
      }),
    );
    cx.store(operandSize, lower(sp, 'write'), frame, true);
  });
  return f.get('i64', sp);
}

/** ENTER checks in the end that the new top of the stack could be written, without writing. */
export const enter: Semantics = (cx) => {
  const { f } = cx;
  const { operandSize, stackSize } = cx.facts;
  const size = cx.read(0);
  const level = f.let(i32.and(i32.wrap(cx.read(1)), i32.const(31)));
  const frame = f.let(movedStack(cx, cx.gpr(RSP, stackSize), -operandSize));
  cx.store(operandSize, stackLinear(cx, frame, operandSize, 'write'), cx.gpr(RBP, operandSize), true);
  const below = isConst(level) && level.lo === 0 ? frame : copyFramePointers(cx, level, frame);
  const sp = f.let(zeroExtend(stackSize, i64.sub(below, size)));
  cx.probeWrite(operandSize, stackLinear(cx, sp, operandSize, 'write'), true);
  cx.setGpr(RBP, frame, operandSize);
  cx.setGpr(RSP, sp, stackSize);
};

export const leave: Semantics = (cx) => {
  const { f } = cx;
  const { operandSize, stackSize } = cx.facts;
  const frame = f.let(cx.gpr(RBP, stackSize));
  const outer = f.let(cx.load(operandSize, stackLinear(cx, frame, operandSize, 'read'), true));
  cx.setGpr(RSP, movedStack(cx, frame, operandSize), stackSize);
  cx.setGpr(RBP, outer, operandSize);
};

/** Hints and ordering: one vCPU sees its own memory in order, and there is no cache to prefetch into. */
const nothing: Semantics = () => {};
export const nop: Semantics = nothing;
export const pause: Semantics = nothing;
export const endbr32: Semantics = nothing;
export const endbr64: Semantics = nothing;
export const prefetch: Semantics = nothing;
export const prefetchw: Semantics = nothing;
export const prefetchwt1: Semantics = nothing;
export const prefetchnta: Semantics = nothing;
export const prefetcht0: Semantics = nothing;
export const prefetcht1: Semantics = nothing;
export const prefetcht2: Semantics = nothing;
export const lfence: Semantics = nothing;
export const mfence: Semantics = nothing;
export const sfence: Semantics = nothing;

/** Cache-line writes faults like a load of one byte (SDM vol. 2, "CLFLUSH"). */
const flushLine: Semantics = (cx) => {
  cx.f.let(cx.read(0));
};
export const clflush: Semantics = flushLine;
export const clflushopt: Semantics = flushLine;
export const clwb: Semantics = flushLine;

/** Undocumented but universal: AL = CF ? FF : 0. */
export const salc: Semantics = (cx) => cx.setGpr(RAX, i64.sub(NONE, i64.extendU(cx.flag('cf'))), 1);
