/**
 * The transcendental functions of the x87 (SDM vol. 1, 8.3.6 to 8.3.10). Stack faults, NaNs, infinities and zeros are
 * settled here; what is left, finite and not zero, goes to JavaScript, which returns 128 bits to be rounded.
 */
import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type I32, i32, i64 } from '../../wasm/expr.ts';
import { type Extended, TRANSCENDENTALS, transcendentalNumber, type Wide } from '../numeric/transcendental.ts';
import { STATE } from '../state.ts';
import type { StateMemory } from '../state-memory.ts';
import type { HelperDefinition } from './definition.ts';
import { c32, cell32, cell64, FLAG, N0, raiseFlags, SOFT, TOP, type Unpacked } from './float-core.ts';
import { invalid, refuseNans, reportDenormals } from './x87-arith.ts';
import {
  BIAS,
  begin,
  exponentField,
  FSW,
  isDenormal80,
  isEmpty,
  isInfinite80,
  isZero80,
  type Lookup,
  push,
  RESULT,
  setResult80,
  setStack,
  signOf80,
  stack,
  unpack80,
  type Value,
  value,
} from './x87-core.ts';
import { refuseToPushBeside } from './x87-function.ts';

/** Operands for JavaScript: mantissa, exponent, sign; the second one 16 bytes on. */
const OPERAND = { mantissa: SOFT.lanes, exponent: SOFT.lanes + 8, sign: SOFT.lanes + 12, size: 16 } as const;

/** The host function: operands in OPERAND, the result in SOFT's cells. */
export function transcendental(memory: StateMemory, number: number): void {
  const operand = (i: number): Extended => ({
    mantissa: memory.get64(OPERAND.mantissa + i * OPERAND.size),
    exponent: memory.get32(OPERAND.exponent + i * OPERAND.size) | 0,
    sign: memory.get32(OPERAND.sign + i * OPERAND.size),
  });
  const { sign, exponent, mantissa }: Wide = TRANSCENDENTALS[number]!(operand(0), operand(1));
  memory.set32(SOFT.sign, sign);
  memory.set32(SOFT.exponent, exponent);
  memory.set64(SOFT.high, mantissa >> 64n);
  memory.set64(SOFT.low, BigInt.asUintN(64, mantissa));
}

type Name = Parameters<typeof transcendentalNumber>[0];
const LEAST_FIELD = 0x7fff;

/** Result of a function of finite operands into RESULT: never exact as far as the flags tell. */
function evaluate(f: FunctionBuilder, h: Lookup, name: Name, operands: readonly Unpacked[]): void {
  operands.forEach((v, i) => {
    f.store64(ZERO, v.mantissa, OPERAND.mantissa + i * OPERAND.size);
    f.store32(ZERO, v.exponent, OPERAND.exponent + i * OPERAND.size);
    f.store32(ZERO, v.sign, OPERAND.sign + i * OPERAND.size);
  });
  f.callVoid(h('transcendental'), [c32(transcendentalNumber(name))]);
  f.if(i64.eqz(cell64(SOFT.high)), () => {
    setResult80(f, i32.shl(cell32(SOFT.sign), c32(15)), N0);
    f.return();
  });
  f.callVoid(h('x87Round'), [c32(64)]);
  const tiny = i32.eqz(i32.and(cell32(RESULT.top), c32(LEAST_FIELD)));
  raiseFlags(f, i32.select(tiny, c32(FLAG.inexact | FLAG.underflow), c32(FLAG.inexact)));
}
const done = (f: FunctionBuilder, sign: I32, field: number): void => {
  setResult80(f, i32.or(i32.shl(sign, c32(15)), c32(field)), field === 0 ? N0 : TOP);
  f.return();
};

/** (top, mantissa): 2^x - 1. */
const exponential: HelperDefinition = {
  name: 'x87Exponential',
  params: ['i32', 'i64'],
  results: [],
  build(f, h) {
    const x = value(f, 0);
    refuseNans(f, x, x);
    f.if(isInfinite80(x), () => {
      f.if(signOf80(x), () => done(f, c32(1), BIAS));
      done(f, c32(0), 0x7fff);
    });
    f.if(isZero80(x), () => done(f, signOf80(x), 0));
    reportDenormals(f, isDenormal80(x));
    evaluate(f, h, 'exponential', [unpack80(f, x)]);
  },
};
/** (top, mantissa) with an exponent below 63. */
const circular = (name: string, operation: 'sine' | 'cosine' | 'tangent'): HelperDefinition => ({
  name,
  params: ['i32', 'i64'],
  results: [],
  build(f, h) {
    const x = value(f, 0);
    refuseNans(f, x, x);
    f.if(isInfinite80(x), () => invalid(f));
    f.if(isZero80(x), () => (operation === 'cosine' ? done(f, c32(0), BIAS) : done(f, signOf80(x), 0)));
    reportDenormals(f, isDenormal80(x));
    evaluate(f, h, operation, [unpack80(f, x)]);
  },
});
const isOne = (v: Value): I32 => i32.and(i32.eq(v.top, c32(BIAS)), i64.eq(v.mantissa, TOP));
/** (x, y): y * log2(x). */
const logarithm: HelperDefinition = {
  name: 'x87Logarithm',
  params: ['i32', 'i64', 'i32', 'i64'],
  results: [],
  build(f, h) {
    const [x, y] = [value(f, 0), value(f, 2)];
    refuseNans(f, x, y);
    const signY = f.let(signOf80(y));
    f.if(isZero80(x), () => {
      f.if(isZero80(y), () => invalid(f));
      f.if(i32.eqz(isInfinite80(y)), () => raiseFlags(f, FLAG.divide));
      done(f, i32.xor(signY, c32(1)), 0x7fff);
    });
    f.if(signOf80(x), () => invalid(f));
    f.if(i32.and(isInfinite80(x), isZero80(y)), () => invalid(f));
    f.if(i32.and(isInfinite80(y), isOne(x)), () => invalid(f));
    reportDenormals(f, i32.or(isDenormal80(x), isDenormal80(y)));
    const sign = f.let(i32.xor(signY, i32.ltU(exponentField(x), c32(BIAS))));
    f.if(i32.or(isInfinite80(x), isInfinite80(y)), () => done(f, sign, 0x7fff));
    f.if(isZero80(y), () => done(f, sign, 0));
    evaluate(f, h, 'logarithm', [unpack80(f, x), unpack80(f, y)]);
  },
};
/** (x, y): y * log2(x + 1). */
const logarithmPlusOne: HelperDefinition = {
  name: 'x87LogarithmPlusOne',
  params: ['i32', 'i64', 'i32', 'i64'],
  results: [],
  build(f, h) {
    const [x, y] = [value(f, 0), value(f, 2)];
    refuseNans(f, x, y);
    f.if(i32.and(isInfinite80(x), i32.or(signOf80(x), isZero80(y))), () => invalid(f));
    f.if(i32.and(isInfinite80(y), isZero80(x)), () => invalid(f));
    reportDenormals(f, i32.or(isDenormal80(x), isDenormal80(y)));
    const sign = f.let(i32.xor(signOf80(x), signOf80(y)));
    f.if(i32.or(isInfinite80(x), isInfinite80(y)), () => done(f, sign, 0x7fff));
    f.if(i32.or(isZero80(x), isZero80(y)), () => done(f, sign, 0));
    evaluate(f, h, 'logarithmPlusOne', [unpack80(f, x), unpack80(f, y)]);
  },
};
/** Exponents that stand for a zero x, a zero y and an infinity: the quotients are then what the angles ask for. */
const STAND_IN = { zeroX: -40_000, zeroY: -60_000, infinity: 40_000 } as const;
/** (x, y): the angle of (x, y). */
const angle: HelperDefinition = {
  name: 'x87Angle',
  params: ['i32', 'i64', 'i32', 'i64'],
  results: [],
  build(f, h) {
    const [x, y] = [value(f, 0), value(f, 2)];
    refuseNans(f, x, y);
    reportDenormals(f, i32.or(isDenormal80(x), isDenormal80(y)));
    const flat = i32.or(isZero80(y), i32.and(isInfinite80(x), i32.eqz(isInfinite80(y))));
    f.if(i32.and(flat, i32.eqz(signOf80(x))), () => done(f, signOf80(y), 0));
    const part = (v: Value, zero: number): Unpacked => {
      const plain = unpack80(f, v);
      const exponent = i32.select(isInfinite80(v), c32(STAND_IN.infinity), plain.exponent);
      return {
        sign: plain.sign,
        exponent: f.let(i32.select(isZero80(v), c32(zero), exponent)),
        mantissa: f.let(i64.or(plain.mantissa, TOP)),
      };
    };
    evaluate(f, h, 'angle', [part(y, STAND_IN.zeroY), part(x, STAND_IN.zeroX)]);
  },
};

const clearC2 = (f: FunctionBuilder): void =>
  f.store32(ZERO, i32.and(cell32(STATE.fpuStatus), c32(~FSW.c2)), STATE.fpuStatus);
/** Ends the function, with C2 set and nothing else done, for an operand of 2^63 or more. */
function refuseLarge(f: FunctionBuilder, h: Lookup, v: Value): void {
  const field = exponentField(v);
  const large = i32.and(i32.geU(field, c32(BIAS + 63)), i32.ne(field, c32(0x7fff)));
  f.if(i32.and(large, i64.ltS(v.mantissa, N0)), () => {
    f.drop(f.call('i32', h('x87Finish'), [c32(0), c32(0)]));
    f.store32(ZERO, i32.or(cell32(STATE.fpuStatus), c32(FSW.c2)), STATE.fpuStatus);
    f.return();
  });
}
/** ST(0) = operation(ST(0)), or C2. */
const circularStack = (name: string, operation: string): HelperDefinition => ({
  name,
  params: [],
  results: [],
  build(f, h) {
    clearC2(f);
    f.if(isEmpty(c32(0)), () => {
      f.callVoid(h('x87Underflow'), [c32(0), c32(0)]);
      f.return();
    });
    begin(f);
    const v = stack(f, c32(0));
    refuseLarge(f, h, v);
    f.callVoid(h(operation), [v.top, v.mantissa]);
    f.callVoid(h('x87Apply'), [c32(0), c32(0)]);
  },
});
/** Two results: `first` replaces ST(0), `second` (the number 1 without one) is pushed; or C2. */
const twoResults = (name: string, first: string, second: string | undefined): HelperDefinition => ({
  name,
  params: [],
  results: [],
  build(f, h) {
    clearC2(f);
    refuseToPushBeside(f, h);
    begin(f);
    const v = stack(f, c32(0));
    refuseLarge(f, h, v);
    f.callVoid(h(first), [v.top, v.mantissa]);
    const top = f.let(cell32(RESULT.top));
    const mantissa = f.let(cell64(RESULT.mantissa));
    if (second !== undefined) f.callVoid(h(second), [v.top, v.mantissa]);
    else
      f.if(i32.eqz(i32.and(cell32(SOFT.flags), c32(FLAG.invalid))), () =>
        f.if(i32.ne(exponentField({ top, mantissa }), c32(0x7fff)), () => setResult80(f, c32(BIAS), TOP)),
      );
    f.if(f.call('i32', h('x87Finish'), [cell32(SOFT.flags), cell32(SOFT.up)]), () => {
      setStack(f, c32(0), top, mantissa);
      push(f, cell32(RESULT.top), cell64(RESULT.mantissa));
    });
  },
});
/** ST(1) = operation(ST(0), ST(1)), then a pop. */
const popping = (name: string, operation: string): HelperDefinition => ({
  name,
  params: [],
  results: [],
  build(f, h) {
    f.if(i32.or(isEmpty(c32(0)), isEmpty(c32(1))), () => {
      f.callVoid(h('x87Underflow'), [c32(1), c32(1)]);
      f.return();
    });
    begin(f);
    const [x, y] = [stack(f, c32(0)), stack(f, c32(1))];
    f.callVoid(h(operation), [x.top, x.mantissa, y.top, y.mantissa]);
    f.callVoid(h('x87Apply'), [c32(1), c32(1)]);
  },
});

export const X87_TRANSCENDENTAL_HELPERS: readonly HelperDefinition[] = [
  exponential,
  circular('x87Sine', 'sine'),
  circular('x87Cosine', 'cosine'),
  circular('x87Tangent', 'tangent'),
  logarithm,
  logarithmPlusOne,
  angle,
  circularStack('x87SineStack', 'x87Sine'),
  circularStack('x87CosineStack', 'x87Cosine'),
  twoResults('x87SineCosineStack', 'x87Sine', 'x87Cosine'),
  twoResults('x87TangentStack', 'x87Tangent', undefined),
  popping('x87LogarithmStack', 'x87Logarithm'),
  popping('x87LogarithmPlusOneStack', 'x87LogarithmPlusOne'),
  popping('x87AngleStack', 'x87Angle'),
];
