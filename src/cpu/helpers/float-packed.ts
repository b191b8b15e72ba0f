/** Packed floating-point arithmetic with its flags: what FLOAT_HELPERS do for one number, for a vector of them. */
import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { f32, f64, type I32, type I64, i32, i64, type V128 } from '../../wasm/expr.ts';
import { f32x4, f64x2, v128 } from '../../wasm/simd.ts';
import type { HelperDefinition } from './definition.ts';
import { FLOAT_OP, isPlainControl } from './float.ts';
import { c32, DOUBLE, FLAG, type Format, raiseFlags, SINGLE, SOFT } from './float-core.ts';

const HIGH_HALF = [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15];
const every = (lanes: V128): I32 => i32.eqz(v128.anyTrue(v128.not(lanes)));
const splat = (fmt: Format, value: number): V128 =>
  fmt.bits === 64 ? f64x2.splat(f64.const(value)) : f32x4.splat(f32.const(value));

/**
 * Sums and products of numbers that are zero or normal, rounded to nearest, with all exceptions masked. What rounding took away is
 * calculated too: it tells whether the result is inexact.
 */
function native(f: FunctionBuilder, fmt: Format): void {
  const [op, a, b] = [f.param('i32', 0), f.param('v128', 1), f.param('v128', 2)];
  const lanes = fmt.bits === 64 ? f64x2 : f32x4;
  const zero = v128.zero();
  const leastNormal = splat(fmt, 2 ** fmt.least);
  const isZeroOr = (x: V128, least: V128): V128 => v128.or(lanes.ge(lanes.abs(x), least), lanes.eq(x, zero));
  const done = (result: V128, isExact: V128): void => {
    f.if(i32.eqz(every(isExact)), () => raiseFlags(f, FLAG.inexact));
    f.return(result);
  };
  f.if(i32.and(isPlainControl(), i32.leU(op, c32(FLOAT_OP.multiply))), () => {
    f.if(every(v128.and(isZeroOr(a, leastNormal), isZeroOr(b, leastNormal))), () => {
      f.if(
        i32.eq(op, c32(FLOAT_OP.multiply)),
        () => {
          const product = f.let(lanes.mul(a, b));
          if (fmt.bits === 64) multiplied64(f, a, b, product, done);
          else multiplied32(f, a, b, product, leastNormal, done);
        },
        () => {
          const addend = f.let(v128.select(op, lanes.neg(b), b));
          const sum = f.let(lanes.add(a, addend));
          // a sum is exact when it is denormal
          f.if(every(lanes.lt(lanes.abs(sum), splat(fmt, Infinity))), () => {
            const part = f.let(lanes.sub(sum, a));
            const lost = lanes.add(lanes.sub(a, lanes.sub(sum, part)), lanes.sub(addend, part));
            done(sum, lanes.eq(lost, zero));
          });
        },
      );
    });
  });
}
type Done = (result: V128, isExact: V128) => void;
/** Twice as many digits hold every product. */
function multiplied32(f: FunctionBuilder, a: V128, b: V128, product: V128, leastNormal: V128, done: Done): void {
  const size = f32x4.abs(product);
  const fromZero = v128.or(f32x4.eq(a, v128.zero()), f32x4.eq(b, v128.zero()));
  const inRange = v128.and(f32x4.gt(size, leastNormal), f32x4.lt(size, splat(SINGLE, Infinity)));
  f.if(every(v128.or(inRange, v128.and(fromZero, f32x4.eq(product, v128.zero())))), () => {
    const exact = [(x: V128) => x, (x: V128) => v128.shuffle(x, x, HIGH_HALF)].map((half) => {
      const [x, y, r] = [a, b, product].map((v) => f64x2.promoteLowF32(half(v)));
      return f64x2.eq(f64x2.mul(x!, y!), r!);
    });
    done(product, v128.and(exact[0]!, exact[1]!));
  });
}
/** Far enough from the ends of the range that none of the partial products below is rounded. */
const LARGEST_FACTOR = 2 ** 500;
const LEAST_PRODUCT = 2 ** -900;
/** 2^27 + 1 splits 53 bits into twice 26 (T. J. Dekker, "A floating-point technique for extending the available precision", 1971). */
const SPLITTER = 2 ** 27 + 1;
function multiplied64(f: FunctionBuilder, a: V128, b: V128, product: V128, done: Done): void {
  const { abs, add, eq, ge, lt, mul, sub } = f64x2;
  const fromZero = v128.or(eq(a, v128.zero()), eq(b, v128.zero()));
  const small = (x: V128): V128 => lt(abs(x), splat(DOUBLE, LARGEST_FACTOR));
  const inRange = v128.and(
    v128.and(small(a), small(b)),
    v128.or(ge(abs(product), splat(DOUBLE, LEAST_PRODUCT)), fromZero),
  );
  f.if(every(inRange), () => {
    const split = (x: V128): { high: V128; low: V128 } => {
      const scaled = f.let(mul(x, splat(DOUBLE, SPLITTER)));
      const high = f.let(sub(scaled, sub(scaled, x)));
      return { high, low: f.let(sub(x, high)) };
    };
    const [x, y] = [split(a), split(b)];
    const middle = add(add(sub(mul(x.high, y.high), product), mul(x.high, y.low)), mul(x.low, y.high));
    done(product, eq(add(middle, mul(x.low, y.low)), v128.zero()));
  });
}

/** (operation, a, b): all lanes at once where `native` can, else one by one. */
const packed = (name: string, fmt: Format, lane: string): HelperDefinition => ({
  name,
  params: ['i32', 'v128', 'v128'],
  results: ['v128'],
  build(f, h) {
    const op = f.param('i32', 0);
    native(f, fmt);
    const size = fmt.bits / 8;
    f.storeV128(ZERO, f.param('v128', 1), SOFT.lanes);
    f.storeV128(ZERO, f.param('v128', 2), SOFT.lanes + 16);
    const at = f.newLocal('i32');
    f.set(at, c32(0));
    const load = (offset: number): I64 =>
      size === 4 ? i64.load32U(f.get('i32', at), offset) : i64.load(f.get('i32', at), offset);
    f.loop((again) => {
      const odd = i32.and(i32.shrU(f.get('i32', at), c32(Math.log2(size))), c32(1));
      const alternating = i32.select(odd, c32(FLOAT_OP.add), c32(FLOAT_OP.subtract));
      const code = f.let(i32.select(i32.eq(op, c32(FLOAT_OP.addSubtract)), alternating, op));
      const result = f.let(f.call('i64', h(lane), [code, load(SOFT.lanes), load(SOFT.lanes + 16)]));
      if (size === 4) f.store32(f.get('i32', at), i32.wrap(result), SOFT.lanes + 32);
      else f.store64(f.get('i32', at), result, SOFT.lanes + 32);
      f.set(at, i32.add(f.get('i32', at), c32(size)));
      f.brIf(again, i32.ltU(f.get('i32', at), c32(16)));
    });
    f.result(v128.load(ZERO, SOFT.lanes + 32));
  },
});

export const PACKED_FLOAT_HELPERS: readonly HelperDefinition[] = [
  packed('packed32', SINGLE, 'float32'),
  packed('packed64', DOUBLE, 'float64'),
];
