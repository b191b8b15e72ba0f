/** Stores and loads of chosen elements (MASKMOV*, VMASKMOV*, VPMASKMOV*): elements not chosen are not touched and never fault. */
import { ZERO } from '../../wasm/builder.ts';
import { type I32, i32, type V128 } from '../../wasm/expr.ts';
import { v128 } from '../../wasm/simd.ts';
import { SLOW, STATE } from '../state.ts';
import type { SemanticsContext } from './context.ts';

/** Masked moves are never checked for alignment (SDM vol. 2, VMASKMOV: "No AC# reported for any mask bit combinations"). */
const flagsOf = (cx: SemanticsContext, i: number): I32 =>
  i32.or(i32.mul(cx.inStackSegment(i), i32.const(SLOW.stack)), i32.const(SLOW.anyAlignment));

/** Stores the elements of `size` bytes whose bit in `chosen` is set to memory operand i. */
export function maskedStore(cx: SemanticsContext, i: number, size: number, values: readonly V128[], chosen: I32): void {
  const { f } = cx;
  values.forEach((value, p) => {
    f.storeV128(ZERO, value, STATE.image + 16 * p);
  });
  f.callVoid(cx.helper('maskedStore'), [cx.linearAddress(i), i32.const(size), chosen, flagsOf(cx, i)]);
  cx.checkFault();
}

/** The elements of memory operand i whose bit in `chosen` is set, zero elsewhere; `count` halves. */
export function maskedLoad(cx: SemanticsContext, i: number, size: number, chosen: I32, count: number): V128[] {
  const { f } = cx;
  for (let p = 0; p < count; p++) f.storeV128(ZERO, v128.zero(), STATE.image + 16 * p);
  f.callVoid(cx.helper('maskedLoad'), [cx.linearAddress(i), i32.const(size), chosen, flagsOf(cx, i)]);
  cx.checkFault();
  return Array.from({ length: count }, (_, p) => f.let(v128.load(ZERO, STATE.image + 16 * p)));
}
