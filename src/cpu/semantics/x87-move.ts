/** x87 loads and stack management that cannot raise numeric exceptions (SDM vol. 2). */
import { type I32, i32, i64 } from '../../wasm/expr.ts';
import { STATE } from '../state.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import { quiet, waiting } from './x87-state.ts';

const BIAS = 0x3fff;
const C1 = 0x200;
const clearC1 = (cx: SemanticsContext): void =>
  cx.setState32(STATE.fpuStatus, i32.and(cx.state32(STATE.fpuStatus), i32.const(~C1)));

/** An integer of 2, 4 or 8 bytes: always exact. */
export const fild: Semantics = waiting((cx) => {
  const { f } = cx;
  const value = f.let(cx.readS(0));
  const negative = f.let(i64.ltS(value, i64.const(0)));
  const size = f.let(i64.select(negative, i64.sub(i64.const(0), value), value));
  const shift = f.let(i64.clz(size));
  const exponent = i32.sub(i32.const(BIAS + 63), i32.wrap(shift));
  const signed = i32.or(exponent, i32.shl(negative, i32.const(15)));
  // zero: the shift count wraps, the mantissa stays 0
  const field = i32.select(i64.eqz(size), i32.const(0), signed);
  f.callVoid(cx.helper('x87Push'), [field, i64.shl(size, shift)]);
});
const constant = (exponent: number, mantissa: bigint): Semantics =>
  waiting((cx) => cx.f.callVoid(cx.helper('x87Push'), [i32.const(exponent), i64.const(mantissa)]));
export const fld1: Semantics = constant(BIAS, 1n << 63n);
export const fldz: Semantics = constant(0, 0n);

const moveTop = (by: number): Semantics =>
  waiting((cx) => {
    clearC1(cx);
    const top = i32.add(cx.state32(STATE.fpuTop), i32.const(by));
    cx.setState32(STATE.fpuTop, i32.and(top, i32.const(7)));
  });
export const fincstp: Semantics = moveTop(1);
export const fdecstp: Semantics = moveTop(-1);
export const fnop: Semantics = waiting(() => undefined);
/** Obsolete controls of the 8087 and 80287: no operation, and they do not wait. */
export const fneni: Semantics = quiet(() => undefined);
export const fndisi: Semantics = fneni;
export const fnsetpm: Semantics = fneni;

const physical = (cx: SemanticsContext, i: number): I32 =>
  cx.f.let(i32.and(i32.add(cx.state32(STATE.fpuTop), cx.registerNumber(i)), i32.const(7)));
/** C1 is undefined: the reference CPU clears it. */
export const ffree: Semantics = waiting((cx) => {
  clearC1(cx);
  markEmpty(cx, physical(cx, 0));
});
function markEmpty(cx: SemanticsContext, register: I32): void {
  const bit = i32.shl(i32.const(1), register);
  cx.setState32(STATE.fpuTag, i32.and(cx.state32(STATE.fpuTag), i32.xor(bit, i32.const(-1))));
}
export const ffreep: Semantics = (cx) => {
  ffree(cx);
  markEmpty(cx, cx.state32(STATE.fpuTop));
  const top = i32.add(cx.state32(STATE.fpuTop), i32.const(1));
  cx.setState32(STATE.fpuTop, i32.and(top, i32.const(7)));
};
