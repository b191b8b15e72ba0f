/**
 * String instructions (SDM vol. 2, "MOVS", "STOS", "LODS", "CMPS", "SCAS", "REP/REPE/REPNE"). The source is DS:rSI with
 * the segment overridable, given as a memory operand; the destination is always ES:rDI. Repetition runs in helper
 * functions (helpers/string.ts), which tell how many iterations they did: registers then hold exactly that, whether the
 * count, a comparison, a fault or the instruction budget ended it.
 */
import { type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import { FLAG } from '../decode/types.ts';
import { STRING_RESULT } from '../helpers/string.ts';
import { STATE } from '../state.ts';
import type { Bytes, Semantics, SemanticsContext } from './context.ts';
import { NONE, OFF, ON, RAX, RCX, RDI, RSI, setGprIf, signExtend, widthOf, wrapLinear } from './shared.ts';

/** +width or -width by DF: twice the width is a power of two, so it is DF's bit shifted down. */
function stepOf(cx: SemanticsContext, width: Bytes): I32 {
  const direction = i32.and(cx.state32(STATE.eflags), i32.const(FLAG.df));
  return cx.f.let(i32.sub(i32.const(width), i32.shrU(direction, i32.const(10 - Math.log2(2 * width)))));
}

function advance(cx: SemanticsContext, register: number, delta: I64): void {
  const size = cx.facts.addressSize;
  cx.setGpr(register, i64.add(cx.gpr(register, size), delta), size);
}
const advanceOne = (cx: SemanticsContext, width: Bytes, ...registers: readonly number[]): void => {
  const delta = cx.f.let(i64.extendS(stepOf(cx, width)));
  for (const register of registers) advance(cx, register, delta);
};

/** Linear address of ES:rDI for one element. */
function destination(cx: SemanticsContext, width: Bytes, write: boolean): I64 {
  const offset = cx.f.let(cx.gpr(RDI, cx.facts.addressSize));
  cx.checkSegment(0, offset, width, write);
  return wrapLinear(cx, i64.add(cx.segmentBase(0), offset));
}

/** Segment base of source operand i, modulo the width of linear addresses. */
const sourceBase = (cx: SemanticsContext, i: number): I64 =>
  cx.f.let(i64.sub(cx.linearAddress(i, 'unchecked'), cx.gpr(RSI, cx.facts.addressSize)));

/** Flags of the slow paths for source operand i. */
const sourceFlags = (cx: SemanticsContext, i: number, width: Bytes): I32 => cx.slowFlags(width, cx.inStackSegment(i));

const fullMask = (bytes: number): I64 => i64.const(bytes === 8 ? -1n : (1n << BigInt(bytes * 8)) - 1n);

/** Which memory a repeated instruction uses: source operand and what it does to ES:rDI. */
interface Touched {
  readonly source?: number;
  readonly destination?: 'read' | 'write';
}
/**
 * Outside 64-bit mode, where a segment must be asked about every access: checks the next element and allows no more than
 * that one. Yields the iterations allowed.
 */
function checkElement(cx: SemanticsContext, width: Bytes, touched: Touched, wanted: I64, allowed: I32): I32 {
  const { f } = cx;
  if (cx.facts.mode === 64) return allowed;
  const limited = f.newLocal('i32');
  f.set(limited, allowed);
  const { source, destination } = touched;
  const sourceCheck = source === undefined ? OFF : cx.operandSegmentNeedsCheck(source);
  const destinationCheck = destination === undefined ? OFF : cx.segmentNeedsCheck(0);
  f.if(
    i32.and(i32.or(sourceCheck, destinationCheck), i64.ne(wanted, NONE)),
    () => {
      const size = cx.facts.addressSize;
      if (source !== undefined) cx.checkOperandSegment(source, cx.gpr(RSI, size), width, false);
      if (destination !== undefined) cx.checkSegment(0, cx.gpr(RDI, size), width, destination === 'write');
      f.set(limited, ON);
    },
    undefined,
    cx.unlikely,
  );
  return f.get('i32', limited);
}

/** What a repeated instruction's helper needs beside its own operands: address wrap, iterations allowed, step. */
function repeatArguments(cx: SemanticsContext, width: Bytes, touched: Touched): readonly [I64, I64, I32, I32] {
  const { addressSize, mode } = cx.facts;
  const wanted = cx.f.let(cx.gpr(RCX, addressSize));
  const allowed = checkElement(cx, width, touched, wanted, cx.f.let(cx.budget.available()));
  const count = i32.select(i64.ltU(wanted, i64.extendU(allowed)), i32.wrap(wanted), allowed);
  return [fullMask(addressSize), fullMask(mode === 64 ? 8 : 4), count, stepOf(cx, width)];
}

/** Moves `register` by `delta`, unless no iteration was done. */
function settleRegister(cx: SemanticsContext, register: number, delta: I64, done: I32): void {
  const { addressSize, mode } = cx.facts;
  if (mode !== 64 || addressSize === 8) advance(cx, register, delta);
  else setGprIf(cx, done, register, i64.add(cx.gpr(register), delta), addressSize);
}

/**
 * Registers, flags and clock after `done` iterations, then the fault if one ended them. Without one the first iteration
 * is the instruction itself; a faulting instruction does not retire, so all its iterations count as repetitions.
 */
function settle(cx: SemanticsContext, done: I32, step: I32, registers: readonly number[], flags?: () => void): void {
  const { f } = cx;
  const delta = f.let(i64.extendS(i32.mul(done, step)));
  for (const register of registers) settleRegister(cx, register, delta, done);
  settleRegister(cx, RCX, i64.sub(NONE, i64.extendU(done)), done);
  if (flags !== undefined) cx.flagsIf(done, flags);
  const notOwn = i32.or(i32.eqz(done), i32.ne(cx.state32(STATE.fault), OFF));
  cx.budget.spend(f.let(i32.add(done, notOwn)));
  cx.checkFault();
}
/** Comes back to this instruction when iterations are left (and `goesOn` holds). */
function repeatIfLeft(cx: SemanticsContext, goesOn?: I32): void {
  const left = i64.ne(cx.gpr(RCX, cx.facts.addressSize), NONE);
  cx.f.if(goesOn === undefined ? left : i32.and(left, goesOn), () => cx.budget.repeat(), undefined, cx.unlikely);
}

export const movs: Semantics = (cx) => {
  const { f } = cx;
  const width = widthOf(cx, 0);
  if (cx.facts.rep === 'none') {
    const value = f.let(cx.read(1));
    cx.store(width, destination(cx, width, true), value);
    advanceOne(cx, width, RSI, RDI);
    return;
  }
  const size = cx.facts.addressSize;
  const base = sourceBase(cx, 1);
  const [mask, linearMask, count, step] = repeatArguments(cx, width, { source: 1, destination: 'write' });
  const spans = [cx.gpr(RSI, size), base, cx.gpr(RDI, size), cx.segmentBase(0)];
  const done = f.let(
    cx.call('i32', `repeatMovs${width}`, [...spans, mask, linearMask, count, step, sourceFlags(cx, 1, width)]),
  );
  settle(cx, done, step, [RSI, RDI]);
  repeatIfLeft(cx);
};

export const stos: Semantics = (cx) => {
  const { f } = cx;
  const width = widthOf(cx, 0);
  if (cx.facts.rep === 'none') {
    cx.store(width, destination(cx, width, true), cx.gpr(RAX, width));
    advanceOne(cx, width, RDI);
    return;
  }
  const [mask, linearMask, count, step] = repeatArguments(cx, width, { destination: 'write' });
  const span = [cx.gpr(RDI, cx.facts.addressSize), cx.segmentBase(0), cx.gpr(RAX, width)];
  const common = [mask, linearMask, count, step, cx.slowFlags(width, OFF)];
  const done = f.let(cx.call('i32', `repeatStos${width}`, [...span, ...common]));
  settle(cx, done, step, [RDI]);
  repeatIfLeft(cx);
};

export const lods: Semantics = (cx) => {
  const { f } = cx;
  const width = widthOf(cx, 0);
  if (cx.facts.rep === 'none') {
    const value = f.let(cx.read(1));
    advanceOne(cx, width, RSI);
    cx.setGpr(RAX, value, width);
    return;
  }
  const base = sourceBase(cx, 1);
  const [mask, linearMask, count, step] = repeatArguments(cx, width, { source: 1 });
  const span = [cx.gpr(RSI, cx.facts.addressSize), base];
  const done = f.let(
    cx.call('i32', `repeatLods${width}`, [...span, mask, linearMask, count, step, sourceFlags(cx, 1, width)]),
  );
  setGprIf(cx, done, RAX, cx.state64(STRING_RESULT.b), width);
  settle(cx, done, step, [RSI]);
  repeatIfLeft(cx);
};

/**
 * Ends a repeated comparison. The flags are those of the last one, even when a fault follows it: so does the reference
 * CPU, where the SDM (vol. 2, "REP") has them restored.
 */
function settleComparison(
  cx: SemanticsContext,
  width: Bytes,
  done: I32,
  step: I32,
  registers: readonly number[],
): void {
  const { f } = cx;
  const a = f.let(cx.state64(STRING_RESULT.a));
  const b = f.let(cx.state64(STRING_RESULT.b));
  settle(cx, done, step, registers, () => cx.flagsSub(width, a, b, signExtend(width, i64.sub(a, b))));
  const equal = i64.eq(a, b);
  repeatIfLeft(cx, cx.facts.rep === 'rep' ? equal : i32.eqz(equal));
}
/** Whether the repetition goes on while the elements are equal. */
const whileEqual = (cx: SemanticsContext): I32 => (cx.facts.rep === 'rep' ? ON : OFF);

export const cmps: Semantics = (cx) => {
  const { f } = cx;
  const width = widthOf(cx, 0);
  if (cx.facts.rep === 'none') {
    // when both would fault the reference CPU reports the destination's
    const b = f.let(cx.loadS(width, destination(cx, width, false)));
    const a = f.let(cx.readS(0));
    advanceOne(cx, width, RSI, RDI);
    cx.flagsSub(width, a, b, signExtend(width, i64.sub(a, b)));
    return;
  }
  const size = cx.facts.addressSize;
  const base = sourceBase(cx, 0);
  const [mask, linearMask, count, step] = repeatArguments(cx, width, { source: 0, destination: 'read' });
  const spans = [cx.gpr(RSI, size), base, cx.gpr(RDI, size), cx.segmentBase(0)];
  const common = [mask, linearMask, count, step, sourceFlags(cx, 0, width), whileEqual(cx)];
  const done = f.let(cx.call('i32', `repeatCmps${width}`, [...spans, ...common]));
  settleComparison(cx, width, done, step, [RSI, RDI]);
};

export const scas: Semantics = (cx) => {
  const { f } = cx;
  const width = widthOf(cx, 0);
  if (cx.facts.rep === 'none') {
    const a = f.let(cx.gprS(RAX, width));
    const b = f.let(cx.loadS(width, destination(cx, width, false)));
    advanceOne(cx, width, RDI);
    cx.flagsSub(width, a, b, signExtend(width, i64.sub(a, b)));
    return;
  }
  const [mask, linearMask, count, step] = repeatArguments(cx, width, { destination: 'read' });
  const span = [cx.gpr(RDI, cx.facts.addressSize), cx.segmentBase(0)];
  const common = [cx.gprS(RAX, width), mask, linearMask, count, step, cx.slowFlags(width, OFF), whileEqual(cx)];
  const done = f.let(cx.call('i32', `repeatScas${width}`, [...span, ...common]));
  settleComparison(cx, width, done, step, [RDI]);
};
