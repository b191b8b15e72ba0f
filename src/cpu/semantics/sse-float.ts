/** Floating-point arithmetic and comparison of SSE to SSE4.1 and AVX (SDM vol. 2). */
import {
  type Expr,
  f32,
  f64,
  type I32,
  type I64,
  i32,
  i64,
  isConst,
  type V128,
  type ValType,
} from '../../wasm/expr.ts';
import { f32x4, i32x4, i64x2, v128 } from '../../wasm/simd.ts';
import { FLOAT_OP, RELATION } from '../helpers/float.ts';
import { type Format, isDenormal, isNan } from '../helpers/float-core.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import {
  ADD,
  ADD_SUBTRACT,
  type Arithmetic,
  DIVIDE,
  denormalLanes,
  either,
  exactly,
  fastState,
  type LaneSet,
  MULTIPLY,
  noDaz,
  PD,
  PS,
  packed,
  packedResults,
  SQUARE_ROOT,
  SUBTRACT,
  scalar,
  scalarSources,
  sizeOf,
  sources,
  writeScalar,
} from './float-shape.ts';
import { firstSource, immediate, vector, words32, writeParts } from './vector.ts';

export const addps: Semantics = packed(PS, ADD);
export const addpd: Semantics = packed(PD, ADD);
export const addss: Semantics = scalar(PS, ADD);
export const addsd: Semantics = scalar(PD, ADD);
export const subps: Semantics = packed(PS, SUBTRACT);
export const subpd: Semantics = packed(PD, SUBTRACT);
export const subss: Semantics = scalar(PS, SUBTRACT);
export const subsd: Semantics = scalar(PD, SUBTRACT);
export const mulps: Semantics = packed(PS, MULTIPLY);
export const mulpd: Semantics = packed(PD, MULTIPLY);
export const mulss: Semantics = scalar(PS, MULTIPLY);
export const mulsd: Semantics = scalar(PD, MULTIPLY);
export const divps: Semantics = packed(PS, DIVIDE);
export const divpd: Semantics = packed(PD, DIVIDE);
export const divss: Semantics = scalar(PS, DIVIDE);
export const divsd: Semantics = scalar(PD, DIVIDE);
export const sqrtps: Semantics = packed(PS, SQUARE_ROOT);
export const sqrtpd: Semantics = packed(PD, SQUARE_ROOT);
export const sqrtss: Semantics = scalar(PS, SQUARE_ROOT);
export const sqrtsd: Semantics = scalar(PD, SQUARE_ROOT);
export const addsubps: Semantics = packed(PS, ADD_SUBTRACT);
export const addsubpd: Semantics = packed(PD, ADD_SUBTRACT);

const EVEN32 = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
const EVEN64 = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
/** Neighbours of a, then neighbours of b. */
const horizontal = (set: LaneSet, operation: Arithmetic): Semantics =>
  vector((cx) => {
    const even = set === PS ? EVEN32 : EVEN64;
    const odd = even.map((lane) => lane + sizeOf(set.fmt));
    const pairs = sources(cx, false).map(({ a, b }) => ({
      a: cx.f.let(v128.shuffle(a, b, even)),
      b: cx.f.let(v128.shuffle(a, b, odd)),
    }));
    writeParts(cx, packedResults(cx, set, operation, pairs));
  });
export const haddps: Semantics = horizontal(PS, ADD);
export const haddpd: Semantics = horizontal(PD, ADD);
export const hsubps: Semantics = horizontal(PS, SUBTRACT);
export const hsubpd: Semantics = horizontal(PD, SUBTRACT);

// ---- without rounding: only NaNs and denormals need the helper
const quietLanes = (set: LaneSet, a: V128, b: V128): I32 => {
  const ordered = v128.and(set.lanes.eq(a, a), set.lanes.eq(b, b));
  const denormal = v128.or(denormalLanes(set, a), denormalLanes(set, b));
  return i32.eqz(v128.anyTrue(v128.not(v128.andnot(ordered, denormal))));
};
const quietScalars = (fmt: Format, a: I64, b: I64): I32 => {
  const special = (x: I64): I32 => i32.or(isNan(fmt, x), isDenormal(fmt, x));
  return i32.eqz(i32.or(special(a), special(b)));
};
const comparing = (
  set: LaneSet,
  op: (cx: SemanticsContext) => I32,
  fast: (cx: SemanticsContext, a: V128, b: V128) => V128 | undefined,
): Semantics =>
  vector((cx) => {
    const { f } = cx;
    const code = f.let(op(cx));
    const pairs = sources(cx, false);
    const exact = (): V128[] => pairs.map(({ a, b }) => cx.call('v128', set.helper, [code, a, b]));
    const quick = pairs.map(({ a, b }) => fast(cx, a, b)).filter((v) => v !== undefined);
    if (quick.length < pairs.length) {
      let results: V128[] = [];
      exactly(cx, () => {
        results = exact().map((r) => f.let(r));
      });
      writeParts(cx, results);
      return;
    }
    const quiet = pairs.map(({ a, b }) => quietLanes(set, a, b)).reduce((x, y) => i32.and(x, y));
    writeParts(cx, either(cx, i32.and(noDaz(cx), quiet), quick, exact));
  });
const comparingScalar = (
  set: LaneSet,
  op: (cx: SemanticsContext) => I32,
  fast: (cx: SemanticsContext, a: I64, b: I64) => I64 | undefined,
): Semantics =>
  vector((cx) => {
    const { f } = cx;
    const code = f.let(op(cx));
    const { a, b } = scalarSources(cx, sizeOf(set.fmt));
    const exact = (): I64 => cx.call('i64', set.scalarHelper, [code, a, b]);
    const quick = fast(cx, a, b);
    if (quick === undefined) {
      const result = f.newLocal('i64');
      exactly(cx, () => f.set(result, exact()));
      writeScalar(cx, sizeOf(set.fmt), f.get('i64', result));
      return;
    }
    const safe = i32.and(noDaz(cx), quietScalars(set.fmt, a, b));
    writeScalar(cx, sizeOf(set.fmt), either(cx, safe, [quick], () => [exact()])[0]!);
  });
const less = ({ numbers }: LaneSet, a: I64, b: I64): I32 => numbers.lt(numbers.ofBits(a), numbers.ofBits(b));
const minimum = (set: LaneSet): Semantics =>
  comparing(
    set,
    () => i32.const(FLOAT_OP.minimum),
    (_cx, a, b) => set.lanes.pmin(b, a),
  );
const maximum = (set: LaneSet): Semantics =>
  comparing(
    set,
    () => i32.const(FLOAT_OP.maximum),
    (_cx, a, b) => set.lanes.pmax(b, a),
  );
const minimumScalar = (set: LaneSet): Semantics =>
  comparingScalar(
    set,
    () => i32.const(FLOAT_OP.minimum),
    (_cx, a, b) => i64.select(less(set, a, b), a, b),
  );
const maximumScalar = (set: LaneSet): Semantics =>
  comparingScalar(
    set,
    () => i32.const(FLOAT_OP.maximum),
    (_cx, a, b) => i64.select(less(set, b, a), a, b),
  );
export const minps: Semantics = minimum(PS);
export const minpd: Semantics = minimum(PD);
export const minss: Semantics = minimumScalar(PS);
export const minsd: Semantics = minimumScalar(PD);
export const maxps: Semantics = maximum(PS);
export const maxpd: Semantics = maximum(PD);
export const maxss: Semantics = maximumScalar(PS);
export const maxsd: Semantics = maximumScalar(PD);

/** VEX has 32 predicates, legacy encodings eight. */
const predicate = (cx: SemanticsContext): I32 => {
  const first = firstSource(cx);
  return i32.and(immediate(cx, first + 2), i32.const(first === 1 ? 31 : 7));
};
const compareCode = (cx: SemanticsContext): I32 =>
  i32.or(i32.shl(predicate(cx), i32.const(8)), i32.const(FLOAT_OP.compare));
/** The first eight predicates on operands that are no NaN: EQ LT LE UNORD NEQ NLT NLE ORD. */
const compareLanes = (set: LaneSet): Semantics =>
  comparing(set, compareCode, (cx, a, b) => {
    const known = predicate(cx);
    if (!isConst(known) || known.lo > 7) return undefined;
    const { eq, lt, le, ne, gt, ge } = set.lanes;
    const never = (): V128 => v128.zero();
    return [eq, lt, le, never, ne, ge, gt, () => v128.not(v128.zero())][known.lo]!(a, b);
  });
const compareScalar = (set: LaneSet): Semantics => comparingScalar(set, compareCode, () => undefined);
export const cmpps: Semantics = compareLanes(PS);
export const cmppd: Semantics = compareLanes(PD);
export const cmpss: Semantics = compareScalar(PS);
export const cmpsd_sse: Semantics = compareScalar(PD);

/** ZF, PF, CF from a relation; OF, SF and AF become 0. */
function relationFlags(relation: I32): I32 {
  const bit = (mask: number, flag: number): I32 =>
    i32.select(i32.and(relation, i32.const(mask)), i32.const(flag), i32.const(0));
  const below = RELATION.less | RELATION.unordered;
  const equal = RELATION.equal | RELATION.unordered;
  return i32.or(i32.or(bit(below, 1), bit(equal, 0x40)), bit(RELATION.unordered, 4));
}
const comparison = (set: LaneSet, op: number): Semantics =>
  vector((cx) => {
    const { f } = cx;
    const { fmt, numbers } = set;
    const { bits } = numbers;
    const a = f.let(cx.readFloat(0, sizeOf(fmt)));
    const b = f.let(cx.readFloat(1, sizeOf(fmt)));
    const other = i32.select(numbers.eq(a, b), i32.const(RELATION.equal), i32.const(RELATION.greater));
    const fast = i32.select(numbers.lt(a, b), i32.const(RELATION.less), other);
    const safe = i32.and(noDaz(cx), quietScalars(fmt, bits(a), bits(b)));
    const [relation] = either(cx, safe, [fast], () => [
      i32.wrap(cx.call('i64', set.scalarHelper, [i32.const(op), bits(a), bits(b)])),
    ]);
    cx.flagsFromWord(relationFlags(relation!));
  });
export const ucomiss: Semantics = comparison(PS, FLOAT_OP.unordered);
export const ucomisd: Semantics = comparison(PD, FLOAT_OP.unordered);
export const comiss: Semantics = comparison(PS, FLOAT_OP.ordered);
export const comisd: Semantics = comparison(PD, FLOAT_OP.ordered);

// ---- rounding to integral values
const splatControl = (set: LaneSet, control: I32): V128 =>
  set === PS ? i32x4.splat(control) : i64x2.splat(i64.extendU(control));
/** Bits of the immediate: the rounding mode, MXCSR's instead, no inexact flag (SDM vol. 2, ROUNDPS). */
const ROUND = { mode: 3, current: 4, silent: 8 } as const;
/** 1 when only a NaN needs more than the rounding itself. */
const roundsFast = (cx: SemanticsContext, control: I32): I32 =>
  isConst(control) && (control.lo & (ROUND.current | ROUND.silent)) === ROUND.silent ? noDaz(cx) : fastState(cx);
/** Picks the rounding that `control` asks for where MXCSR's is to nearest. */
function roundedBy<T extends ValType>(
  control: I32,
  select: (condition: I32, a: Expr<T>, b: Expr<T>) => Expr<T>,
  modes: readonly [nearest: Expr<T>, floor: Expr<T>, ceil: Expr<T>, trunc: Expr<T>],
): Expr<T> {
  if (isConst(control)) return modes[control.lo & ROUND.current ? 0 : ((control.lo & ROUND.mode) as 0 | 1 | 2 | 3)];
  const own = i32.and(control, i32.const(ROUND.mode));
  const mode = i32.select(i32.and(control, i32.const(ROUND.current)), i32.const(0), own);
  const is = (n: number): I32 => i32.eq(mode, i32.const(n));
  return select(is(0), modes[0], select(is(1), modes[1], select(is(2), modes[2], modes[3])));
}
const rounding = (set: LaneSet): Semantics =>
  vector((cx) => {
    const { f } = cx;
    const { lanes } = set;
    const control = f.let(immediate(cx, 2));
    const pairs = sources(cx, true);
    const fast = pairs.map(({ b }) =>
      f.let(roundedBy(control, v128.select, [lanes.nearest(b), lanes.floor(b), lanes.ceil(b), lanes.trunc(b)])),
    );
    const numbers = pairs.map(({ b }) => lanes.eq(b, b)).reduce((x, y) => v128.and(x, y));
    const safe = i32.and(roundsFast(cx, control), i32.eqz(v128.anyTrue(v128.not(numbers))));
    const results = either(cx, safe, fast, () => {
      const splat = f.let(splatControl(set, control));
      return pairs.map(({ b }) => cx.call('v128', set.helper, [i32.const(FLOAT_OP.round), splat, b]));
    });
    writeParts(cx, results);
  });
const roundingScalar = (set: LaneSet): Semantics =>
  vector((cx) => {
    const { f } = cx;
    const { fmt } = set;
    const control = f.let(immediate(cx, firstSource(cx) + 2));
    const { b } = scalarSources(cx, sizeOf(fmt));
    const x = f.let(fmt.bits === 64 ? f64.reinterpret(b) : f64.promote(f32.reinterpret(i32.wrap(b))));
    const rounded = roundedBy(control, f64.select, [f64.nearest(x), f64.floor(x), f64.ceil(x), f64.trunc(x)]);
    const fast = fmt.bits === 64 ? i64.reinterpretF64(rounded) : i64.extendU(i32.reinterpretF32(f32.demote(rounded)));
    const safe = i32.and(roundsFast(cx, control), i32.eqz(isNan(fmt, b)));
    const [result] = either(cx, safe, [fast], () => [
      cx.call('i64', set.scalarHelper, [i32.const(FLOAT_OP.round), i64.extendU(control), b]),
    ]);
    writeScalar(cx, sizeOf(fmt), result!);
  });
export const roundps: Semantics = rounding(PS);
export const roundpd: Semantics = rounding(PD);
export const roundss: Semantics = roundingScalar(PS);
export const roundsd: Semantics = roundingScalar(PD);

// ---- approximations: full precision is within their bounds; no flags, denormals count as zero (SDM vol. 2, RCPPS)
const approximate =
  (inverse: (x: V128) => V128, invalidBelowZero: boolean) =>
  (cx: SemanticsContext, a: V128): V128 => {
    const { f } = cx;
    const { lanes } = PS;
    const sign = words32(1 << 31);
    const flushed = (x: V128): V128 => v128.bitselect(v128.and(x, sign), x, denormalLanes(PS, x));
    const x = f.let(flushed(a));
    const result = f.let(flushed(f.let(inverse(x))));
    const quieted = v128.or(a, words32(1 << 22));
    const number = v128.bitselect(result, quieted, lanes.eq(a, a));
    if (!invalidBelowZero) return f.let(number);
    return f.let(v128.bitselect(words32(0xffc00000 | 0), number, lanes.lt(x, v128.zero())));
  };
const ONE = f32x4.splat(f32.const(1));
const reciprocal = approximate((x) => f32x4.div(ONE, x), false);
const reciprocalRoot = approximate((x) => f32x4.div(ONE, f32x4.sqrt(x)), true);
type Approximation = (cx: SemanticsContext, a: V128) => V128;
const approximating = (operation: Approximation): Semantics =>
  vector((cx) => {
    const pairs = sources(cx, true);
    writeParts(
      cx,
      pairs.map(({ b }) => operation(cx, b)),
    );
  });
const approximatingScalar = (operation: Approximation): Semantics =>
  vector((cx) => {
    const { b } = scalarSources(cx, 4);
    const result = operation(cx, cx.f.let(i32x4.splat(i32.wrap(b))));
    writeScalar(cx, 4, cx.f.let(i64.extendU(i32x4.extract(result, 0))));
  });
export const rcpps: Semantics = approximating(reciprocal);
export const rcpss: Semantics = approximatingScalar(reciprocal);
export const rsqrtps: Semantics = approximating(reciprocalRoot);
export const rsqrtss: Semantics = approximatingScalar(reciprocalRoot);
