/** Conversions between integer and floating-point formats (SDM vol. 2, CVT*). */
import { f32, f64, type I64, i32, i64, type V128 } from '../../wasm/expr.ts';
import { i32x4, i64x2, v128 } from '../../wasm/simd.ts';
import { FLOAT_OP } from '../helpers/float.ts';
import { magnitude } from '../helpers/float-core.ts';
import type { Bytes, Semantics, SemanticsContext } from './context.ts';
import { either, exactly, fastState, type LaneSet, PD, PS, sizeOf, writeScalar } from './float-shape.ts';
import { firstSource, isVex, parts, vector, writeParts } from './vector.ts';

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
const otherFormat = (from: LaneSet, to: LaneSet): Semantics =>
  vector((cx) => {
    const { f } = cx;
    const value = f.let(cx.readLow(firstSource(cx) + 1, sizeOf(from.fmt)));
    const result = f.newLocal('i64');
    exactly(cx, () => f.set(result, convertBits(cx, from, value)));
    writeScalar(cx, sizeOf(to.fmt), f.get('i64', result));
  });
export const cvtss2sd: Semantics = otherFormat(PS, PD);
export const cvtsd2ss: Semantics = otherFormat(PD, PS);

// ---- packed: elements one by one, written when all are known
/** Elements of `size` bytes of source operand 1 as integers; `count` of them. */
function elements(cx: SemanticsContext, size: 4 | 8, count: number, signed: boolean): I64[] {
  const { f } = cx;
  const operand = 1;
  const total = count * size;
  if (cx.kind(operand) === 'mmx' || total === 8) {
    const all = f.let(cx.readLow(operand, 8 as Bytes));
    if (size === 8) return [all];
    return [0, 32].map((shift) => {
      const half = i64.shrU(all, i64.const(shift));
      return f.let(signed ? i64.extend32S(half) : i64.and(half, i64.halves(-1, 0)));
    });
  }
  const values: I64[] = [];
  for (let p = 0; p < total / 16; p++) {
    const v = f.let(cx.readV(operand, p as 0 | 1, !isVex(cx)));
    for (let i = 0; i < 16 / size; i++) {
      const word =
        size === 8 ? i64x2.extract(v, i) : signed ? i64.extendS(i32x4.extract(v, i)) : i64.extendU(i32x4.extract(v, i));
      values.push(f.let(word));
    }
  }
  return values;
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
function writeConverted(cx: SemanticsContext, size: 4 | 8, values: readonly I64[], keepUpper: boolean): void {
  if (cx.kind(0) === 'mmx' || keepUpper) {
    const low = cx.f.let(i64x2.extract(assemble(cx, size, values)[0]!, 0));
    if (keepUpper) cx.writeLow(0, 8, low);
    else writeParts(cx, [cx.f.let(i64x2.splat(low))]);
    return;
  }
  writeParts(cx, assemble(cx, size, values));
  if (isVex(cx) && cx.facts.vexL === 1 && values.length * size === 16) cx.zeroUpper(0);
}
/** `each` turns one element of `from` bytes into one of `to` bytes. The vector length counts the wider ones. */
const converting = (
  from: 4 | 8,
  to: 4 | 8,
  signed: boolean,
  each: (cx: SemanticsContext, value: I64) => I64,
  mmx = false,
  keepUpper = false,
): Semantics =>
  vector((cx) => {
    const count = mmx ? 2 : (16 * parts(cx).length) / Math.max(from, to);
    const values = elements(cx, from, count, signed);
    let results: I64[] = [];
    exactly(cx, () => {
      results = values.map((value) => cx.f.let(each(cx, value)));
    });
    writeConverted(cx, to, results, keepUpper);
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

export const cvtdq2ps: Semantics = converting(4, 4, true, integerTo(PS));
export const cvtdq2pd: Semantics = converting(4, 8, true, integerTo(PD));
export const cvtps2dq: Semantics = converting(4, 4, false, toInt32(PS, CURRENT));
export const cvttps2dq: Semantics = converting(4, 4, false, toInt32(PS, TRUNCATE));
export const cvtpd2dq: Semantics = converting(8, 4, false, toInt32(PD, CURRENT));
export const cvttpd2dq: Semantics = converting(8, 4, false, toInt32(PD, TRUNCATE));
export const cvtps2pd: Semantics = converting(4, 8, false, toOther(PS));
export const cvtpd2ps: Semantics = converting(8, 4, false, toOther(PD));
export const cvtpi2ps: Semantics = converting(4, 4, true, integerTo(PS), true, true);
export const cvtpi2pd: Semantics = converting(4, 8, true, integerTo(PD), true);
export const cvtps2pi: Semantics = converting(4, 4, false, toInt32(PS, CURRENT), true);
export const cvttps2pi: Semantics = converting(4, 4, false, toInt32(PS, TRUNCATE), true);
export const cvtpd2pi: Semantics = converting(8, 4, false, toInt32(PD, CURRENT), true);
export const cvttpd2pi: Semantics = converting(8, 4, false, toInt32(PD, TRUNCATE), true);
