/** Fused multiply-add: names are built from operation, operand order and format (SDM vol. 2, VFMADD132PD and the like). */
import { ZERO } from '../../wasm/builder.ts';
import { type Float, type I64, i32, i64, type V128 } from '../../wasm/expr.ts';
import { fusesMultiplyAdd, multiplyAdd } from '../../wasm/fused.ts';
import { v128 } from '../../wasm/simd.ts';
import { FUSED } from '../helpers/float.ts';
import { SOFT } from '../helpers/float-core.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import {
  allLanes,
  beyondLeast,
  either,
  exactly,
  fastState,
  type LaneSet,
  notSmall,
  PD,
  PS,
  sizeOf,
} from './float-shape.ts';
import { parts, source, vector, words32, words64, writeParts } from './vector.ts';

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

/** The host's result, rounded once, and whether it says all there is: all numbers are normal, and inexact is known already. */
function quick(
  cx: SemanticsContext,
  set: LaneSet,
  signs: Signs,
  [a, b, c]: readonly [V128, V128, V128],
): { readonly result: V128; readonly safe: V128 } {
  const { f } = cx;
  const negated = (x: V128, flag: number): V128 => {
    const [even, odd] = [signs.even & flag, signs.odd & flag];
    return even || odd ? v128.xor(x, signBits(set, even !== 0, odd !== 0)) : x;
  };
  const multiply = set === PD ? multiplyAdd.f64x2 : multiplyAdd.f32x4;
  const result = f.let(multiply(negated(a, negateProduct), b, negated(c, negateAddend)));
  const normal = v128.and(notSmall(set, a, b), notSmall(set, c, c));
  return { result, safe: v128.and(normal, beyondLeast(set, result)) };
}
function signBits(set: LaneSet, even: boolean, odd: boolean): V128 {
  const sign = 1n << 63n;
  return set === PD ? words64(even ? sign : 0n, odd ? sign : 0n) : words32(even ? 1 << 31 : 0, odd ? 1 << 31 : 0);
}

const packed = (set: LaneSet, signs: Signs, order: readonly [number, number, number]): Semantics =>
  vector((cx) => {
    const operands = parts(cx).map((p) => {
      const [a, b, c] = order.map((operand) => source(cx, operand, p));
      return [a!, b!, c!] as const;
    });
    const exact = (): V128[] => operands.map((values) => laneByLane(cx, set, signs, values));
    if (!fusesMultiplyAdd()) {
      let results: V128[] = [];
      exactly(cx, () => {
        results = exact();
      });
      writeParts(cx, results);
      return;
    }
    const tried = operands.map((values) => quick(cx, set, signs, values));
    const safe = tried.map((t) => t.safe).reduce((x, y) => v128.and(x, y));
    writeParts(
      cx,
      either(
        cx,
        i32.and(fastState(cx), allLanes(safe)),
        tried.map((t) => t.result),
        exact,
      ),
    );
  });
function laneByLane(cx: SemanticsContext, set: LaneSet, signs: Signs, values: readonly [V128, V128, V128]): V128 {
  const { f } = cx;
  const size = sizeOf(set.fmt);
  values.forEach((value, n) => {
    f.storeV128(ZERO, value, SOFT.lanes + 16 * n);
  });
  const element = (n: number, at: number): I64 =>
    size === 4 ? i64.load32U(ZERO, SOFT.lanes + 16 * n + at) : i64.load(ZERO, SOFT.lanes + 16 * n + at);
  for (let at = 0; at < 16; at += size) {
    const sign = (at / size) % 2 === 0 ? signs.even : signs.odd;
    const value = fuse(cx, set, sign, element(0, at), element(1, at), element(2, at));
    if (size === 4) f.store32(ZERO, i32.wrap(value), SOFT.lanes + 48 + at);
    else f.store64(ZERO, value, SOFT.lanes + 48 + at);
  }
  return f.let(v128.load(ZERO, SOFT.lanes + 48));
}
const fuse = (cx: SemanticsContext, set: LaneSet, signs: number, a: I64, b: I64, c: I64): I64 =>
  cx.call('i64', helperOf(set), [i32.const(signs), a, b, c]);
const scalar = (set: LaneSet, signs: Signs, order: readonly [number, number, number]): Semantics =>
  vector((cx) => {
    const { f } = cx;
    const size = sizeOf(set.fmt);
    const { bits, ofBits, splat, first } = set.numbers;
    const numbers = order.map((operand) => f.let(cx.readFloat(operand, size)));
    const exact = (): Float => {
      const [a, b, c] = numbers.map(bits);
      return ofBits(fuse(cx, set, signs.even, a!, b!, c!));
    };
    let result: Float | undefined;
    if (fusesMultiplyAdd()) {
      const [a, b, c] = numbers.map((n) => f.let(splat(n)));
      const tried = quick(cx, set, signs, [a!, b!, c!]);
      const safe = i32.and(fastState(cx), allLanes(tried.safe));
      [result] = either(cx, safe, [first(tried.result)], () => [exact()]);
    } else {
      exactly(cx, () => {
        result = f.let(exact());
      });
    }
    // the rest of the destination stays, not that of the second operand
    cx.writeFloat(0, size, result!);
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
