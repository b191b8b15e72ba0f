/** Decimal adjustment (SDM vol. 2, "AAA", "AAD", "AAM", "AAS", "DAA", "DAS"); none exists in 64-bit mode. */
import { type I32, i32, i64 } from '../../wasm/expr.ts';
import { VECTOR } from '../state.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import { OFF, RAX } from './shared.ts';

const LOW_DIGIT = i32.const(15);
const accumulator = (cx: SemanticsContext, width: 1 | 2): I32 => cx.f.let(i32.wrap(cx.gpr(RAX, width)));
const beyondNine = (digit: I32): I32 => i32.gtU(i32.and(digit, LOW_DIGIT), i32.const(9));

/** After an addition or subtraction of packed digits: each digit that carried is moved by 6. */
function adjustPacked(cx: SemanticsContext, subtract: boolean): void {
  const { f } = cx;
  const al = accumulator(cx, 1);
  const carryIn = f.let(cx.flag('cf'));
  const low = f.let(i32.or(beyondNine(al), cx.flag('af')));
  const high = f.let(i32.or(i32.gtU(al, i32.const(0x99)), carryIn));
  const amount = i32.or(i32.mul(low, i32.const(6)), i32.mul(high, i32.const(0x60)));
  const result = f.let(i64.extendU(subtract ? i32.sub(al, amount) : i32.add(al, amount)));
  cx.setGpr(RAX, result, 1);
  // DAS reports the borrow of its first step even when no second one follows
  const borrowed = i32.and(low, i32.ltU(al, i32.const(6)));
  cx.flagsResult(1, i64.extend8S(result), subtract ? i32.or(high, borrowed) : high, OFF, low);
}
export const daa: Semantics = (cx) => adjustPacked(cx, false);
export const das: Semantics = (cx) => adjustPacked(cx, true);

/** After an operation on one unpacked digit: a carry moves into AH. */
function adjustUnpacked(cx: SemanticsContext, subtract: boolean): void {
  const { f } = cx;
  const ax = accumulator(cx, 2);
  const carry = f.let(i32.or(beyondNine(ax), cx.flag('af')));
  const amount = i32.mul(carry, i32.const(0x106));
  const moved = subtract ? i32.sub(ax, amount) : i32.add(ax, amount);
  const result = f.let(i32.and(moved, i32.const(0xff0f)));
  cx.setGpr(RAX, i64.extendU(result), 2);
  cx.flagsResult(1, i64.extendS(i32.extend8S(result)), carry, OFF, carry);
}
export const aaa: Semantics = (cx) => adjustUnpacked(cx, false);
export const aas: Semantics = (cx) => adjustUnpacked(cx, true);

export const aam: Semantics = (cx) => {
  const { f } = cx;
  const base = f.let(i32.wrap(cx.read(0)));
  cx.raiseIf(i32.eqz(base), VECTOR.de);
  const al = accumulator(cx, 1);
  const low = f.let(i32.remU(al, base));
  cx.setGpr(RAX, i64.extendU(i32.or(i32.shl(i32.divU(al, base), i32.const(8)), low)), 2);
  cx.flagsLogic(1, i64.extendS(i32.extend8S(low)));
};

export const aad: Semantics = (cx) => {
  const { f } = cx;
  const base = f.let(i32.wrap(cx.read(0)));
  const ax = accumulator(cx, 2);
  const sum = i32.add(ax, i32.mul(i32.shrU(ax, i32.const(8)), base));
  const result = f.let(i32.and(sum, i32.const(0xff)));
  cx.setGpr(RAX, i64.extendU(result), 2);
  cx.flagsLogic(1, i64.extendS(i32.extend8S(result)));
};
