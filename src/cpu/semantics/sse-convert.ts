/** Conversions between integer and floating-point formats (SDM vol. 2, CVT*). */
import { f32, f64, type I32, type I64, i32, i64, type V128 } from '../../wasm/expr.ts';
import { f32x4, f64x2, i32x4, i64x2, v128 } from '../../wasm/simd.ts';
import { FLOAT_OP } from '../helpers/float.ts';
import { DOUBLE, isDenormal, isNan, isZeroValue, magnitude, SINGLE } from '../helpers/float-core.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import { denormalLanes, either, fastState, type LaneSet, PD, PS, plain, sizeOf, writeScalar } from './float-shape.ts';
import { firstSource, highHalf, isVex, parts, vector, writeParts } from './vector.ts';

/** MXCSR's rounding mode, and truncation, as the helpers number them. */
const CURRENT = 4;
const TRUNCATE = 3;

// ---- scalars
/** An integer of 4 or 8 bytes, sign-extended, into a float. */
const fromInteger = (set: LaneSet): Semantics =>
  vector((cx) => {
    const from = firstSource(cx) + 1;
    const value = cx.f.let(cx.readS(from));
    const fast =
      set === PD ? i64.reinterpretF64(f64.convertI64S(value)) : i64.extendU(i32.reinterpretF32(f32.convertI64S(value)));
    const safe = set === PD && cx.width(from) === 4 ? i32.const(1) : fastState(cx);
    const [result] = either(cx, safe, [fast], () => [
      cx.call('i64', set === PD ? 'integerTo64' : 'integerTo32', [value]),
    ]);
    writeScalar(cx, sizeOf(set.fmt), result!);
  });
export const cvtsi2ss: Semantics = fromInteger(PS);
export const cvtsi2sd: Semantics = fromInteger(PD);

/** A float into a general register; out of range gives the integer indefinite. */
const toInteger = (set: LaneSet, mode: number): Semantics =>
  vector((cx) => {
    const { f } = cx;
    const { fmt } = set;
    const value = f.let(cx.readLow(1, sizeOf(fmt)));
    const wide = cx.width(0) === 8;
    const x = set === PD ? f64.reinterpret(value) : f64.promote(f32.reinterpret(i32.wrap(value)));
    const limit =
      set === PD ? (wide ? 0x43e0_0000_0000_0000n : 0x41e0_0000_0000_0000n) : wide ? 0x5f00_0000n : 0x4f00_0000n;
    const rounded = mode === TRUNCATE ? x : f64.nearest(x);
    // one binade below the limit, so that rounding cannot leave the range
    const small = i64.ltU(magnitude(fmt, value), i64.const(limit - (1n << BigInt(fmt.precision - 1))));
    const fast = i64.truncF64S(rounded);
    const op = wide ? FLOAT_OP.toInt64 : FLOAT_OP.toInt32;
    const [result] = either(cx, i32.and(fastState(cx), small), [fast], () => [
      cx.call('i64', set.scalarHelper, [i32.const(op), i64.const(mode), value]),
    ]);
    cx.write(0, result!);
  });
export const cvtss2si: Semantics = toInteger(PS, CURRENT);
export const cvtsd2si: Semantics = toInteger(PD, CURRENT);
export const cvttss2si: Semantics = toInteger(PS, TRUNCATE);
export const cvttsd2si: Semantics = toInteger(PD, TRUNCATE);

const convertBits = (cx: SemanticsContext, set: LaneSet, value: I64): I64 =>
  cx.call('i64', set.scalarHelper, [i32.const(FLOAT_OP.convert), i64.const(0), value]);
/** To the other format: `fast` where `safe` holds. */
const otherFormat = (
  from: LaneSet,
  to: LaneSet,
  fast: (value: I64) => I64,
  safe: (cx: SemanticsContext, value: I64, result: I64) => I32,
): Semantics =>
  vector((cx) => {
    const { f } = cx;
    const value = f.let(cx.readLow(firstSource(cx) + 1, sizeOf(from.fmt)));
    const quick = f.let(fast(value));
    const [result] = either(cx, safe(cx, value, quick), [quick], () => [convertBits(cx, from, value)]);
    writeScalar(cx, sizeOf(to.fmt), result!);
  });
/** Exact, whatever MXCSR says, but for signaling NaNs and denormals. */
export const cvtss2sd: Semantics = otherFormat(
  PS,
  PD,
  (value) => i64.reinterpretF64(f64.promote(f32.reinterpret(i32.wrap(value)))),
  (_cx, value) => i32.eqz(i32.or(isNan(SINGLE, value), isDenormal(SINGLE, value))),
);
export const cvtsd2ss: Semantics = otherFormat(
  PD,
  PS,
  (value) => i64.extendU(i32.reinterpretF32(f32.demote(f64.reinterpret(value)))),
  (cx, value, result) => i32.and(fastState(cx), i32.or(plain(SINGLE, result), isZeroValue(DOUBLE, value))),
);

// ---- packed: a wasm operation where that is all there is to it, else element by element
/** The `total` bytes of source operand 1 that are converted, in locals. */
function inputs(cx: SemanticsContext, total: number): V128[] {
  const { f } = cx;
  if (cx.kind(1) === 'mmx' || total === 8) return [f.let(i64x2.splat(cx.readLow(1, 8)))];
  return Array.from({ length: total / 16 }, (_, p) => f.let(cx.readV(1, p as 0 | 1, !isVex(cx))));
}
/** Element i of `size` bytes. */
function element(vectors: readonly V128[], i: number, size: 4 | 8, signed: boolean): I64 {
  const perVector = 16 / size;
  const v = vectors[Math.floor(i / perVector)]!;
  const lane = i % perVector;
  if (size === 8) return i64x2.extract(v, lane);
  const word = i32x4.extract(v, lane);
  return signed ? i64.extendS(word) : i64.extendU(word);
}
/** Elements side by side in as many vectors as they fill; the rest is zero. */
function assemble(cx: SemanticsContext, size: 4 | 8, values: readonly I64[]): V128[] {
  const vectors: V128[] = [];
  const perVector = 16 / size;
  for (let at = 0; at < values.length; at += perVector) {
    let v = v128.zero();
    values.slice(at, at + perVector).forEach((value, i) => {
      v = size === 8 ? i64x2.replace(v, i, value) : i32x4.replace(v, i, i32.wrap(value));
    });
    vectors.push(cx.f.let(v));
  }
  return vectors;
}
/** Writes the low result of an instruction that keeps the destination's upper half (CVTPI2PS), or all of it. */
function writeConverted(cx: SemanticsContext, total: number, results: readonly V128[], keepUpper: boolean): void {
  if (cx.kind(0) === 'mmx' || keepUpper) {
    const low = cx.f.let(i64x2.extract(results[0]!, 0));
    if (keepUpper) cx.writeLow(0, 8, low);
    else writeParts(cx, [cx.f.let(i64x2.splat(low))]);
    return;
  }
  writeParts(cx, results);
  if (isVex(cx) && cx.facts.vexL === 1 && total === 16) cx.zeroUpper(0);
}
/** The low quadwords of two vectors. */
const lowHalves = (a: V128, b: V128): V128 =>
  v128.shuffle(a, b, [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]);

interface Conversion {
  readonly from: 4 | 8;
  readonly to: 4 | 8;
  /** Are 4-byte elements signed numbers? */
  readonly signed?: true;
  /** Operands of 8 bytes, one of them an MMX register. */
  readonly mmx?: true;
  readonly keepUpper?: true;
  /** One element, with its flags. */
  readonly each: (cx: SemanticsContext, value: I64) => I64;
  /** One vector: of elements of one size all, of narrower ones the low half; narrower results lie in the low half. */
  readonly fast: (v: V128) => V128;
  /** Lanes (all ones) of the wider size that `fast` gets right; left out where it always does. */
  readonly safe?: (v: V128) => V128;
  /** Does that depend on MXCSR? */
  readonly rounds?: true;
}
/** The vector length counts the wider elements. */
const converting = (c: Conversion): Semantics =>
  vector((cx) => {
    const { f } = cx;
    const { from, to } = c;
    const count = c.mmx ? 2 : (16 * parts(cx).length) / Math.max(from, to);
    const sources = inputs(cx, count * from);
    // widening takes a vector's halves one after the other
    const pieces = from < to && count === 4 ? [sources[0]!, f.let(highHalf(sources[0]!))] : sources;
    const converted = pieces.map((v) => f.let(c.fast(v)));
    const narrowed = from > to && converted.length === 2;
    const fast = narrowed ? [f.let(lowHalves(converted[0]!, converted[1]!))] : converted;
    const checks: I32[] = c.rounds ? [fastState(cx)] : [];
    for (const v of c.safe ? pieces : []) checks.push(i32.eqz(v128.anyTrue(v128.not(c.safe!(v)))));
    const slow = (): V128[] => {
      const values = Array.from({ length: count }, (_, i) => element(sources, i, from, c.signed === true));
      return assemble(
        cx,
        to,
        values.map((value) => f.let(c.each(cx, value))),
      );
    };
    const results =
      checks.length === 0
        ? fast
        : either(
            cx,
            checks.reduce((a, b) => i32.and(a, b)),
            fast,
            slow,
          );
    writeConverted(cx, count * to, results, c.keepUpper === true);
  });
const integerTo =
  (set: LaneSet) =>
  (cx: SemanticsContext, value: I64): I64 =>
    cx.call('i64', set === PD ? 'integerTo64' : 'integerTo32', [value]);
const toInt32 =
  (set: LaneSet, mode: number) =>
  (cx: SemanticsContext, value: I64): I64 =>
    cx.call('i64', set.scalarHelper, [i32.const(FLOAT_OP.toInt32), i64.const(mode), value]);
const toOther =
  (set: LaneSet) =>
  (cx: SemanticsContext, value: I64): I64 =>
    convertBits(cx, set, value);

const single = (x: number): V128 => f32x4.splat(f32.const(x));
const double = (x: number): V128 => f64x2.splat(f64.const(x));
const INT_LIMIT = 2 ** 31;
const LEAST_SINGLE = 2 ** -126;
const LARGEST_SINGLE = (2 - 2 ** -23) * 2 ** 127;
const DQ_TO_PS = { from: 4, to: 4, signed: true, each: integerTo(PS), fast: f32x4.convertI32S, rounds: true } as const;
const DQ_TO_PD = { from: 4, to: 8, signed: true, each: integerTo(PD), fast: f64x2.convertLowI32S } as const;
const psToDq = (mode: number) =>
  ({
    from: 4,
    to: 4,
    each: toInt32(PS, mode),
    fast: (v) => i32x4.truncSatF32S(mode === TRUNCATE ? v : f32x4.nearest(v)),
    safe: (v) => f32x4.lt(f32x4.abs(v), single(INT_LIMIT)),
    rounds: true,
  }) as const satisfies Conversion;
const pdToDq = (mode: number) =>
  ({
    from: 8,
    to: 4,
    each: toInt32(PD, mode),
    fast: (v) => i32x4.truncSatF64SZero(mode === TRUNCATE ? v : f64x2.nearest(v)),
    safe: (v) => f64x2.lt(f64x2.abs(v), double(INT_LIMIT - 1)),
    rounds: true,
  }) as const satisfies Conversion;

export const cvtdq2ps: Semantics = converting(DQ_TO_PS);
export const cvtdq2pd: Semantics = converting(DQ_TO_PD);
export const cvtps2dq: Semantics = converting(psToDq(CURRENT));
export const cvttps2dq: Semantics = converting(psToDq(TRUNCATE));
export const cvtpd2dq: Semantics = converting(pdToDq(CURRENT));
export const cvttpd2dq: Semantics = converting(pdToDq(TRUNCATE));
export const cvtps2pd: Semantics = converting({
  from: 4,
  to: 8,
  each: toOther(PS),
  fast: f64x2.promoteLowF32,
  safe: (v) => v128.andnot(f32x4.eq(v, v), denormalLanes(PS, v)),
});
export const cvtpd2ps: Semantics = converting({
  from: 8,
  to: 4,
  each: toOther(PD),
  fast: f32x4.demoteF64Zero,
  safe: (v) => {
    const size = f64x2.abs(v);
    const normal = v128.and(f64x2.ge(size, double(LEAST_SINGLE)), f64x2.le(size, double(LARGEST_SINGLE)));
    return v128.or(normal, f64x2.eq(v, v128.zero()));
  },
  rounds: true,
});
export const cvtpi2ps: Semantics = converting({ ...DQ_TO_PS, mmx: true, keepUpper: true });
export const cvtpi2pd: Semantics = converting({ ...DQ_TO_PD, mmx: true });
export const cvtps2pi: Semantics = converting({ ...psToDq(CURRENT), mmx: true });
export const cvttps2pi: Semantics = converting({ ...psToDq(TRUNCATE), mmx: true });
export const cvtpd2pi: Semantics = converting({ ...pdToDq(CURRENT), mmx: true });
export const cvttpd2pi: Semantics = converting({ ...pdToDq(TRUNCATE), mmx: true });
