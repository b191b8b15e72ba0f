/** What several semantics files need: widths, addresses and the stack. No instruction is defined here. */
import { type I32, type I64, i32, i64, isConst } from '../../wasm/expr.ts';
import { VECTOR } from '../state.ts';
import type { Bytes, SemanticsContext } from './context.ts';

export const NONE = i64.const(0);
export const OFF = i32.const(0);
export const ON = i32.const(1);
export const RAX = 0;
export const RCX = 1;
export const RDX = 2;
export const RBX = 3;
export const RSP = 4;
export const RBP = 5;
export const RSI = 6;
export const RDI = 7;

export const widthOf = (cx: SemanticsContext, i: number): Bytes => cx.width(i) as Bytes;

export function signExtend(width: number, value: I64): I64 {
  if (width === 8) return value;
  return width === 4 ? i64.extend32S(value) : width === 2 ? i64.extend16S(value) : i64.extend8S(value);
}
export function zeroExtend(width: number, value: I64): I64 {
  if (width === 8) return value;
  return i64.and(value, width === 4 ? i64.halves(-1, 0) : i64.const(width === 2 ? 0xffff : 0xff));
}
/** Bit `index` of `value` as 0/1. */
export function bitAt(value: I64, index: number): I32 {
  if (index === 63) return i64.ltS(value, NONE);
  return i32.and(i32.wrap(i64.shrU(value, i64.const(index))), ON);
}
/** 1 when `value`, sign-extended, is negative. */
export const isNegative = (value: I64): I32 => i64.ltS(value, NONE);

/** Sets a register when `condition` holds; else not even the upper half that a 32-bit write clears is touched. */
export function setGprIf(cx: SemanticsContext, condition: I32, register: number, value: I64, width: Bytes): void {
  if (width === 4) cx.setGpr(register, i64.select(condition, zeroExtend(4, value), cx.gpr(register)));
  else cx.setGpr(register, i64.select(condition, value, cx.gpr(register, width)), width);
}
/** The same for register operand i. A 32-bit one cannot be read whole, so that its write is a branch. */
export function writeIf(cx: SemanticsContext, condition: I32, i: number, value: I64): void {
  if (cx.width(i) === 4) cx.f.if(condition, () => cx.write(i, value));
  else cx.write(i, i64.select(condition, value, cx.read(i)));
}

/** Linear addresses have 32 bits outside 64-bit mode (SDM vol. 3, 3.3.1). */
export const wrapLinear = (cx: SemanticsContext, linear: I64): I64 =>
  cx.facts.mode === 64 ? linear : zeroExtend(4, linear);

/**
 * Linear address of memory operand i moved by `offset` bytes; the offset wraps at the address size. `width` bytes there
 * are checked against the segment.
 */
export function linearAddressPlus(cx: SemanticsContext, i: number, offset: I64, width: number, write: boolean): I64 {
  const { f, facts } = cx;
  if (facts.addressSize === 8) return f.let(i64.add(cx.linearAddress(i), offset));
  const effective = f.let(cx.effectiveAddress(i));
  const base = f.let(i64.sub(cx.linearAddress(i, 'unchecked'), effective));
  const moved = f.let(zeroExtend(facts.addressSize, i64.add(effective, offset)));
  cx.checkOperandSegment(i, moved, width, write);
  return f.let(wrapLinear(cx, i64.add(base, moved)));
}

/**
 * Emits `body` for a memory operand whose segment decides between #SS and #GP: once where the segment is known, twice
 * behind a test where it is not.
 */
export function byStackSegment(cx: SemanticsContext, i: number, body: (stack: boolean) => void): void {
  const inStack = cx.inStackSegment(i);
  if (isConst(inStack)) body(inStack.lo !== 0);
  else
    cx.f.if(
      inStack,
      () => body(true),
      () => body(false),
    );
}

/** Linear address of an offset in the stack segment, for a `width`-byte read or write: #SS(0) beyond the limit. */
export function stackLinear(cx: SemanticsContext, offset: I64, width: number, access: 'read' | 'write'): I64 {
  if (cx.facts.mode === 64) return offset;
  const at = cx.f.let(offset);
  cx.checkSegment(2, at, width, access === 'write');
  return zeroExtend(4, i64.add(cx.segmentBase(2), at));
}
/** The stack pointer `sp` moved by `delta` bytes. */
export const movedStack = (cx: SemanticsContext, sp: I64, delta: number): I64 =>
  zeroExtend(cx.facts.stackSize, i64.add(sp, i64.const(delta)));

/** Pushes `value`; faults before RSP changes. */
export function push(cx: SemanticsContext, width: Bytes, value: I64): void {
  const { stackSize } = cx.facts;
  const sp = cx.f.let(movedStack(cx, cx.gpr(RSP, stackSize), -width));
  cx.store(width, stackLinear(cx, sp, width, 'write'), value, true);
  cx.setGpr(RSP, sp, stackSize);
}

/** Faults if a push would. */
export function probePush(cx: SemanticsContext, width: Bytes): void {
  const sp = movedStack(cx, cx.gpr(RSP, cx.facts.stackSize), -width);
  cx.probeWrite(width, stackLinear(cx, sp, width, 'write'), true);
}

/** What lies on top of the stack, in a local, and RSP before it was taken: `setGpr(RSP, movedStack(...))` completes a pop. */
export function top(cx: SemanticsContext, width: Bytes): { readonly value: I64; readonly sp: I64 } {
  const sp = cx.f.let(cx.gpr(RSP, cx.facts.stackSize));
  return { value: cx.f.let(cx.load(width, stackLinear(cx, sp, width, 'read'), true)), sp };
}

/** Bits of an address above the 48 that every CPU translates. */
const SPARE_BITS = i64.const(16);
/**
 * #GP(0) unless `target` (in a local) is canonical, or outside 64-bit mode within the limit of CS. The reference CPU faults at
 * the branch with nothing changed, as the SDM says (vol. 2, "JMP", "CALL", "RET"). `first` is what may fault before.
 */
export function checkCanonical(cx: SemanticsContext, target: I64, first?: () => void): void {
  if (cx.facts.mode !== 64) {
    cx.checkCodeLimit(target);
    return;
  }
  cx.f.if(
    i64.ne(i64.shrS(i64.shl(target, SPARE_BITS), SPARE_BITS), target),
    () => {
      first?.();
      // with 57-bit addresses it may be all the same
      cx.raiseIf(i32.eqz(cx.call('i32', 'isCanonical', [target])), VECTOR.gp, 0);
    },
    undefined,
    cx.unlikely,
  );
}
