/** Floating-point forms: the wasm operation where it is exact and sets no new flag, the helper otherwise. No instruction is defined here. */
import { ZERO } from '../../wasm/builder.ts';
import {
  type Expr,
  type F32,
  type F64,
  type Float,
  f32,
  f64,
  type I32,
  type I64,
  i32,
  i64,
  type V128,
  type ValType,
} from '../../wasm/expr.ts';
import { f32x4, f64x2, i32x4, i64x2, v128, withLow } from '../../wasm/simd.ts';
import { FLOAT_OP } from '../helpers/float.ts';
import { DOUBLE, type Format, magnitude, SINGLE, SOFT } from '../helpers/float-core.ts';
import { STATE } from '../state.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import { firstSource, isVex, parts, source, vector, words32, words64, writeParts } from './vector.ts';

/** MXCSR without flags other than inexact: round to nearest, all masked, no DAZ or FTZ, inexact already set. */
const FAST_MASK = 0xffe0;
const FAST = 0x1fa0;
const DAZ = 0x40;

export const sizeOf = (fmt: Format): 4 | 8 => (fmt.bits === 32 ? 4 : 8);
/** 1 when a wasm operation with a normal result does all there is to do. */
export const fastState = (cx: SemanticsContext): I32 =>
  i32.eq(i32.and(cx.state32(STATE.mxcsr), i32.const(FAST_MASK)), i32.const(FAST));
/** 1 when operands are taken as they are: comparisons and the like, which never round. */
export const noDaz = (cx: SemanticsContext): I32 => i32.eqz(i32.and(cx.state32(STATE.mxcsr), i32.const(DAZ)));

/** Runs `body`, which calls float helpers, and delivers their exceptions: flags into MXCSR, then #XM if one is unmasked. */
export function exactly(cx: SemanticsContext, body: () => void): void {
  const { f } = cx;
  f.store32(ZERO, i32.const(0), SOFT.flags);
  f.store32(ZERO, cx.state32(STATE.mxcsr), SOFT.control);
  body();
  f.if(i32.load(ZERO, SOFT.flags), () => {
    f.callVoid(cx.helper('commitFloat'), []);
    cx.checkFault();
  });
}
/** `fast` values where `safe` holds, else those of `slow`; all in locals. */
export function either<T extends ValType>(
  cx: SemanticsContext,
  safe: I32,
  fast: readonly Expr<T>[],
  slow: () => readonly Expr<T>[],
): Expr<T>[] {
  const { f } = cx;
  const locals = fast.map((value) => {
    const local = f.newLocal(value.type);
    f.set(local, value);
    return local;
  });
  f.if(
    i32.eqz(safe),
    () =>
      exactly(cx, () => {
        slow().forEach((value, i) => {
          f.set(locals[i]!, value);
        });
      }),
    undefined,
    cx.unlikely,
  );
  return locals.map((local, i) => f.get(fast[i]!.type, local));
}

/** What there is for numbers of either format. */
interface Numbers {
  add(a: Float, b: Float): Float;
  sub(a: Float, b: Float): Float;
  mul(a: Float, b: Float): Float;
  div(a: Float, b: Float): Float;
  sqrt(a: Float): Float;
  lt(a: Float, b: Float): I32;
  eq(a: Float, b: Float): I32;
  bits(a: Float): I64;
  ofBits(a: I64): Float;
  splat(a: Float): V128;
  /** The lowest lane. */
  first(a: V128): Float;
}
/** One format: its numbers, and vectors of them. */
export interface LaneSet {
  readonly fmt: Format;
  readonly numbers: Numbers;
  readonly lanes: typeof f32x4 | typeof f64x2;
  readonly helper: 'packed32' | 'packed64';
  readonly scalarHelper: 'float32' | 'float64';
}
const singles: Numbers = {
  ...f32,
  bits: (a: F32) => i64.extendU(i32.reinterpretF32(a)),
  ofBits: (a) => f32.reinterpret(i32.wrap(a)),
  splat: (a: F32) => f32x4.splat(a),
  first: (a) => f32x4.extract(a, 0),
};
const doubles: Numbers = {
  ...f64,
  bits: (a: F64) => i64.reinterpretF64(a),
  ofBits: (a) => f64.reinterpret(a),
  splat: (a: F64) => f64x2.splat(a),
  first: (a) => f64x2.extract(a, 0),
};
export const PS: LaneSet = { fmt: SINGLE, numbers: singles, lanes: f32x4, helper: 'packed32', scalarHelper: 'float32' };
export const PD: LaneSet = { fmt: DOUBLE, numbers: doubles, lanes: f64x2, helper: 'packed64', scalarHelper: 'float64' };

const splatBits = (set: LaneSet, bits: bigint): V128 =>
  set.fmt.bits === 32 ? words32(Number(BigInt.asIntN(32, bits))) : words64(bits);
const leastNormal = (set: LaneSet): V128 => splatBits(set, 1n << BigInt(set.fmt.precision - 1));
const infinity = (set: LaneSet): V128 => splatBits(set, set.fmt.infinity);
/** Lanes with 0 < |a| < least normal. */
export const denormalLanes = (set: LaneSet, a: V128): V128 =>
  v128.and(set.lanes.lt(set.lanes.abs(a), leastNormal(set)), set.lanes.ne(a, v128.zero()));
const finiteLanes = (set: LaneSet, a: V128): V128 => set.lanes.lt(set.lanes.abs(a), infinity(set));
/** Lanes with least normal < |a| < infinity. */
export const beyondLeast = (set: LaneSet, a: V128): V128 =>
  v128.and(finiteLanes(set, a), set.lanes.gt(set.lanes.abs(a), leastNormal(set)));
/** Lanes with least normal <= |a| and <= |b|, or a NaN. */
export const notSmall = (set: LaneSet, a: V128, b: V128): V128 => {
  const { abs, ge, pmin } = set.lanes;
  return ge(a === b ? abs(a) : pmin(abs(a), abs(b)), leastNormal(set));
};
export const allLanes = (a: V128): I32 => i32.eq(i32x4.bitmask(a), i32.const(15));

/**
 * One operation: its lane function, its number for the helpers, and a cheap test that the wasm result is all there is. The test
 * may refuse more than it must, zero operands above all: the helper looks more closely before it calculates bit by bit.
 */
export interface Arithmetic {
  readonly op: number;
  readonly packed: (set: LaneSet, a: V128, b: V128) => V128;
  readonly scalar: (set: LaneSet, a: Float, b: Float) => Float;
  /** Lanes (all ones) whose result is exact enough. */
  readonly safe: (set: LaneSet, a: V128, b: V128, r: V128) => V128;
  readonly safeScalar: (fmt: Format, a: I64, b: I64, r: I64) => I32;
  readonly unary?: true;
}
const finite = (fmt: Format, r: I64): I32 => i64.ltU(magnitude(fmt, r), i64.const(fmt.infinity));
const least = (fmt: Format): bigint => 1n << BigInt(fmt.precision - 1);
const isNormal = (fmt: Format, a: I64): I32 =>
  i64.ltU(i64.sub(magnitude(fmt, a), i64.const(least(fmt))), i64.const(fmt.infinity - least(fmt)));
/** Least normal < |r| < infinity: a rounded result that cannot hide underflow. */
export const plain = (fmt: Format, r: I64): I32 =>
  i64.ltU(i64.sub(magnitude(fmt, r), i64.const(least(fmt) + 1n)), i64.const(fmt.infinity - least(fmt) - 1n));

type Kind = 'add' | 'sub' | 'mul' | 'div';
const arithmetic = (kind: Kind, op: number): Arithmetic => ({
  op,
  packed: (set, a, b) => set.lanes[kind](a, b),
  scalar: (set, a, b) => set.numbers[kind](a, b),
  // sums are exact when they are denormal
  safe: (set, a, b, r) =>
    v128.and(notSmall(set, a, b), kind === 'add' || kind === 'sub' ? finiteLanes(set, r) : beyondLeast(set, r)),
  safeScalar: (fmt, a, b, r) =>
    i32.and(
      i32.and(isNormal(fmt, a), isNormal(fmt, b)),
      kind === 'add' || kind === 'sub' ? finite(fmt, r) : plain(fmt, r),
    ),
});
export const ADD = arithmetic('add', FLOAT_OP.add);
export const SUBTRACT = arithmetic('sub', FLOAT_OP.subtract);
export const MULTIPLY = arithmetic('mul', FLOAT_OP.multiply);
export const DIVIDE = arithmetic('div', FLOAT_OP.divide);
export const SQUARE_ROOT: Arithmetic = {
  op: FLOAT_OP.squareRoot,
  packed: (set, _a, b) => set.lanes.sqrt(b),
  scalar: (set, _a, b) => set.numbers.sqrt(b),
  safe: (set, _a, b, r) => v128.and(notSmall(set, b, b), finiteLanes(set, r)),
  safeScalar: (fmt, _a, b, r) => i32.and(isNormal(fmt, b), finite(fmt, r)),
  unary: true,
};
export const ADD_SUBTRACT: Arithmetic = {
  ...ADD,
  op: FLOAT_OP.addSubtract,
  packed: (set, a, b) => {
    const odd = set.fmt.bits === 32 ? words32(0, -1) : words64(0n, -1n);
    return v128.bitselect(set.lanes.add(a, b), set.lanes.sub(a, b), odd);
  },
};

/** Values of a packed operation on halves of the two sources. */
export function packedResults(
  cx: SemanticsContext,
  set: LaneSet,
  operation: Arithmetic,
  pairs: readonly { readonly a: V128; readonly b: V128 }[],
): V128[] {
  const { f } = cx;
  const fast = pairs.map(({ a, b }) => f.let(operation.packed(set, a, b)));
  const checks = pairs.map(({ a, b }, i) => operation.safe(set, a, b, fast[i]!));
  const safe = i32.and(fastState(cx), allLanes(checks.length === 1 ? checks[0]! : v128.and(checks[0]!, checks[1]!)));
  return either(cx, safe, fast, () =>
    pairs.map(({ a, b }) => cx.call('v128', set.helper, [i32.const(operation.op), a, b])),
  );
}
/** Sources of a packed instruction, in locals; with one source, a stands for b. */
export function sources(cx: SemanticsContext, single: boolean): { readonly a: V128; readonly b: V128 }[] {
  const first = firstSource(cx);
  return parts(cx).map((p) => {
    if (single) {
      const b = source(cx, 1, p);
      return { a: b, b };
    }
    const a = source(cx, first, p);
    return { a, b: source(cx, first + 1, p) };
  });
}
export const packed = (set: LaneSet, operation: Arithmetic): Semantics =>
  vector((cx) => writeParts(cx, packedResults(cx, set, operation, sources(cx, operation.unary === true))));

/** Writes the low element; what lies above comes from the first source. */
export function writeScalar(cx: SemanticsContext, size: 4 | 8, value: I64): void {
  if (!isVex(cx)) {
    cx.writeLow(0, size, value);
    return;
  }
  const rest = cx.readV(1);
  const merged = size === 8 ? i64x2.replace(rest, 0, value) : i32x4.replace(rest, 0, i32.wrap(value));
  writeParts(cx, [cx.f.let(merged)]);
}
function writeNumber(cx: SemanticsContext, size: 4 | 8, value: Float): void {
  if (isVex(cx)) writeParts(cx, [cx.f.let(withLow(cx.readV(1), size, value))]);
  else cx.writeFloat(0, size, value);
}
/** Low elements of the two sources, in locals. */
export function scalarSources(cx: SemanticsContext, size: 4 | 8): { readonly a: I64; readonly b: I64 } {
  const first = firstSource(cx);
  const a = cx.f.let(cx.readLow(first, size));
  return { a, b: cx.f.let(cx.readLow(first + 1, size)) };
}
export const scalar = (set: LaneSet, operation: Arithmetic): Semantics =>
  vector((cx) => {
    const { f } = cx;
    const { fmt } = set;
    const { bits, ofBits } = set.numbers;
    const first = firstSource(cx);
    const a = f.let(cx.readFloat(first, sizeOf(fmt)));
    const b = f.let(cx.readFloat(first + 1, sizeOf(fmt)));
    const fast = f.let(operation.scalar(set, a, b));
    const exact = operation.safeScalar(fmt, bits(a), bits(b), bits(fast));
    const [result] = either(cx, i32.and(fastState(cx), exact), [fast], () => [
      ofBits(cx.call('i64', set.scalarHelper, [i32.const(operation.op), bits(a), bits(b)])),
    ]);
    writeNumber(cx, sizeOf(fmt), result!);
  });
