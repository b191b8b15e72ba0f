/** Fused multiply-add: names are built from operation, operand order and format (SDM vol. 2, VFMADD132PD and the like). */
import { ZERO } from '../../wasm/builder.ts';
import { type I64, i32, i64, type V128 } from '../../wasm/expr.ts';
import { v128 } from '../../wasm/simd.ts';
import { FUSED } from '../helpers/float.ts';
import { SOFT } from '../helpers/float-core.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import { exactly, type LaneSet, PD, PS, sizeOf } from './float-shape.ts';
import { parts, source, vector, writeParts } from './vector.ts';

/** Signs of even and odd elements (the same but for FMADDSUB and FMSUBADD). */
interface Signs {
  readonly even: number;
  readonly odd: number;
}
const same = (signs: number): Signs => ({ even: signs, odd: signs });
const { negateAddend, negateProduct } = FUSED;
const SCALAR_OPERATIONS: Readonly<Record<string, Signs>> = {
  fmadd: same(0),
  fmsub: same(negateAddend),
  fnmadd: same(negateProduct),
  fnmsub: same(negateProduct | negateAddend),
};
const PACKED_OPERATIONS: Readonly<Record<string, Signs>> = {
  ...SCALAR_OPERATIONS,
  fmaddsub: { even: negateAddend, odd: 0 },
  fmsubadd: { even: 0, odd: negateAddend },
};
/** Operands multiplied, and the one added, by the digits of the name. */
const ORDERS: Readonly<Record<string, readonly [number, number, number]>> = {
  '132': [0, 2, 1],
  '213': [1, 0, 2],
  '231': [1, 2, 0],
};
const helperOf = (set: LaneSet): string => (set === PD ? 'fused64' : 'fused32');

const packed = (set: LaneSet, signs: Signs, order: readonly [number, number, number]): Semantics =>
  vector((cx) => {
    const { f } = cx;
    const size = sizeOf(set.fmt);
    const results: V128[] = [];
    exactly(cx, () => {
      for (const p of parts(cx)) {
        order.forEach((operand, n) => {
          f.storeV128(ZERO, source(cx, operand, p), SOFT.lanes + 16 * n);
        });
        const element = (n: number, at: number): I64 =>
          size === 4 ? i64.load32U(ZERO, SOFT.lanes + 16 * n + at) : i64.load(ZERO, SOFT.lanes + 16 * n + at);
        for (let at = 0; at < 16; at += size) {
          const sign = (at / size) % 2 === 0 ? signs.even : signs.odd;
          const value = fuse(cx, set, sign, element(0, at), element(1, at), element(2, at));
          if (size === 4) f.store32(ZERO, i32.wrap(value), SOFT.lanes + 48 + at);
          else f.store64(ZERO, value, SOFT.lanes + 48 + at);
        }
        results.push(f.let(v128.load(ZERO, SOFT.lanes + 48)));
      }
    });
    writeParts(cx, results);
  });
const fuse = (cx: SemanticsContext, set: LaneSet, signs: number, a: I64, b: I64, c: I64): I64 =>
  cx.call('i64', helperOf(set), [i32.const(signs), a, b, c]);
const scalar = (set: LaneSet, signs: Signs, order: readonly [number, number, number]): Semantics =>
  vector((cx) => {
    const { f } = cx;
    const size = sizeOf(set.fmt);
    const [a, b, c] = order.map((operand) => f.let(cx.readLow(operand, size))) as [I64, I64, I64];
    const result = f.newLocal('i64');
    exactly(cx, () => f.set(result, fuse(cx, set, signs.even, a, b, c)));
    const value = f.get('i64', result);
    // the rest of the destination stays, not that of the second operand
    cx.writeLow(0, size, value);
    cx.zeroUpper(0);
  });

function collect(): Record<string, Semantics> {
  const all: Record<string, Semantics> = {};
  for (const [order, operands] of Object.entries(ORDERS))
    for (const [suffix, set] of [
      ['s', PS],
      ['d', PD],
    ] as const) {
      for (const [name, signs] of Object.entries(PACKED_OPERATIONS))
        all[`v${name}${order}p${suffix}`] = packed(set, signs, operands);
      for (const [name, signs] of Object.entries(SCALAR_OPERATIONS))
        all[`v${name}${order}s${suffix}`] = scalar(set, signs, operands);
    }
  return all;
}
/** All of them by mnemonic. */
export const FMA: Readonly<Record<string, Semantics>> = collect();
