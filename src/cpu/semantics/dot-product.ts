/** DPPS and DPPD: chosen products, their sum, chosen places for it (SDM vol. 2). */
import { type I32, i32, i64, type V128 } from '../../wasm/expr.ts';
import { i32x4, i64x2, v128 } from '../../wasm/simd.ts';
import { FLOAT_OP } from '../helpers/float.ts';
import type { Semantics } from './context.ts';
import { exactly, type LaneSet, PD, PS, sources } from './float-shape.ts';
import { element, firstSource, immediate, vector, words32, words64, writeParts } from './vector.ts';

/** Lanes (all ones) whose bit is set in `bits`. */
function chosenLanes(set: LaneSet, bits: I32): V128 {
  if (set === PS) {
    const each = words32(1, 2, 4, 8);
    return i32x4.eq(v128.and(i32x4.splat(bits), each), each);
  }
  const each = words64(1n, 2n);
  return i64x2.eq(v128.and(i64x2.splat(i64.extendU(bits)), each), each);
}
const EVEN = { 4: [0, 2, 0, 2], 8: [0, 0] } as const;
const ODD = { 4: [1, 3, 1, 3], 8: [1, 1] } as const;
const lanes = (a: V128, from: readonly number[], size: number): V128 =>
  v128.shuffle(
    a,
    a,
    from.flatMap((lane) => element(lane, size)),
  );

/**
 * Every product and every sum is rounded on its own; what is not chosen raises nothing. Exceptions are delivered step by
 * step: an unmasked one of the products leaves no flags of the sums (not in the manual; the reference CPU does so).
 */
const dotProduct = (set: LaneSet): Semantics =>
  vector((cx) => {
    const { f } = cx;
    const control = f.let(immediate(cx, firstSource(cx) + 2));
    const size = set === PS ? 4 : 8;
    const factors = f.let(chosenLanes(set, i32.shrU(control, i32.const(4))));
    const places = f.let(chosenLanes(set, control));
    const step = (op: number, pairs: readonly { readonly a: V128; readonly b: V128 }[]): V128[] => {
      let results: V128[] = [];
      exactly(cx, () => {
        results = pairs.map(({ a, b }) => f.let(cx.call('v128', set.helper, [i32.const(op), a, b])));
      });
      return results;
    };
    const sums = (values: readonly V128[]): V128[] =>
      step(
        FLOAT_OP.add,
        values.map((value) => ({ a: lanes(value, EVEN[size], size), b: lanes(value, ODD[size], size) })),
      );
    const chosen = sources(cx, false).map(({ a, b }) => ({ a: v128.and(a, factors), b: v128.and(b, factors) }));
    const once = sums(step(FLOAT_OP.multiply, chosen));
    const all = set === PS ? sums(once) : once;
    writeParts(
      cx,
      all.map((sum) => f.let(v128.and(sum, places))),
    );
  });
export const dpps: Semantics = dotProduct(PS);
export const dppd: Semantics = dotProduct(PD);
