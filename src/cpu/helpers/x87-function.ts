/** x87 operations on ST(0) that are exact or correctly rounded (SDM vol. 1, 8.3.5). */
import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type Callable, type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import type { HelperDefinition } from './definition.ts';
import {
  c32,
  c64,
  cell32,
  cell64,
  FLAG,
  increment,
  N0,
  raiseFlags,
  roundingMode,
  SOFT,
  shiftRightSticky,
  TOP,
} from './float-core.ts';
import { invalid, refuseNans, reportDenormals } from './x87-arith.ts';
import {
  BIAS,
  begin,
  INDEFINITE,
  isDenormal80,
  isEmpty,
  isInfinite80,
  isNan80,
  isUnsupported,
  isZero80,
  precisionControl,
  push,
  QUIET,
  RESULT,
  SOURCE,
  STACK_FAULT,
  setResult80,
  setStack,
  signOf80,
  stack,
  unpack80,
  value,
} from './x87-core.ts';

/** (top, mantissa): the square root into RESULT. */
const squareRoot: HelperDefinition = {
  name: 'x87SquareRoot',
  params: ['i32', 'i64'],
  results: [],
  build(f, h) {
    const v = value(f, 0);
    refuseNans(f, v, v);
    f.if(isZero80(v), () => {
      setResult80(f, v.top, v.mantissa);
      f.return();
    });
    f.if(signOf80(v), () => invalid(f));
    f.if(isInfinite80(v), () => {
      setResult80(f, v.top, v.mantissa);
      f.return();
    });
    reportDenormals(f, isDenormal80(v));
    const { exponent, mantissa } = unpack80(f, v);
    f.callVoid(h('softSquareRoot'), [exponent, mantissa]);
    f.callVoid(h('x87Round'), [precisionControl(f)]);
  },
};
/** (top, mantissa): rounded to an integer as the control word says. */
const roundToInteger: HelperDefinition = {
  name: 'x87RoundToInteger',
  params: ['i32', 'i64'],
  results: [],
  build(f) {
    const v = value(f, 0);
    refuseNans(f, v, v);
    setResult80(f, v.top, v.mantissa);
    f.if(i32.or(isInfinite80(v), isZero80(v)), () => f.return());
    reportDenormals(f, isDenormal80(v));
    const { sign, exponent, mantissa } = unpack80(f, v);
    f.if(i32.geS(exponent, c32(63)), () => f.return());
    const [high, low] = [f.newLocal('i64'), f.newLocal('i64')];
    f.set(high, mantissa);
    f.set(low, N0);
    shiftRightSticky(f, high, low, i32.sub(c32(63), exponent));
    const up = f.let(increment(f.get('i64', high), f.get('i64', low), sign, roundingMode()));
    f.if(i64.ne(f.get('i64', low), N0), () => raiseFlags(f, FLAG.inexact));
    f.store32(ZERO, up, SOFT.up);
    const whole = f.let(i64.add(f.get('i64', high), i64.extendU(up)));
    const signBit = f.let(i32.shl(sign, c32(15)));
    f.if(i64.eqz(whole), () => {
      setResult80(f, signBit, N0);
      f.return();
    });
    const shift = f.let(i64.clz(whole));
    setResult80(f, i32.or(signBit, i32.sub(c32(BIAS + 63), i32.wrap(shift))), i64.shl(whole, shift));
  },
};
/** (a, b): a * 2^trunc(b), rounded to 64 bits. */
const scale: HelperDefinition = {
  name: 'x87Scale',
  params: ['i32', 'i64', 'i32', 'i64'],
  results: [],
  build(f, h) {
    const [a, b] = [value(f, 0), value(f, 2)];
    refuseNans(f, a, b);
    f.if(isInfinite80(b), () => {
      f.if(signOf80(b), () => {
        f.if(isInfinite80(a), () => invalid(f));
        f.if(i32.eqz(isZero80(a)), () => reportDenormals(f, isDenormal80(a)));
        setResult80(f, i32.and(a.top, c32(0x8000)), N0);
        f.return();
      });
      f.if(isZero80(a), () => invalid(f));
      reportDenormals(f, isDenormal80(a));
      setResult80(f, i32.or(a.top, c32(0x7fff)), TOP);
      f.return();
    });
    setResult80(f, a.top, a.mantissa);
    reportDenormals(f, i32.or(isDenormal80(a), isDenormal80(b)));
    f.if(i32.or(isInfinite80(a), isZero80(a)), () => f.return());
    const by = unpack80(f, b);
    const amount = f.newLocal('i32');
    f.set(amount, c32(0));
    f.if(i32.and(i32.geS(by.exponent, c32(0)), i64.ne(by.mantissa, N0)), () => {
      // beyond 2^16 every result overflows or underflows
      const size = i64.shrU(by.mantissa, i64.extendU(i32.sub(c32(63), by.exponent)));
      f.set(amount, i32.select(i32.gtS(by.exponent, c32(15)), c32(0x1_0000), i32.wrap(size)));
      f.if(by.sign, () => f.set(amount, i32.sub(c32(0), f.get('i32', amount))));
    });
    const x = unpack80(f, a);
    f.store32(ZERO, x.sign, SOFT.sign);
    f.store32(ZERO, i32.add(x.exponent, f.get('i32', amount)), SOFT.exponent);
    f.store64(ZERO, x.mantissa, SOFT.high);
    f.store64(ZERO, N0, SOFT.low);
    f.callVoid(h('x87Round'), [c32(64)]);
  },
};
/** (top, mantissa): the significand into RESULT, the exponent as a number into SOURCE. */
const extract: HelperDefinition = {
  name: 'x87Extract',
  params: ['i32', 'i64'],
  results: [],
  build(f, h) {
    const v = value(f, 0);
    const both = (top: I32, mantissa: I64): void => {
      f.store32(ZERO, top, SOURCE.top);
      f.store64(ZERO, mantissa, SOURCE.mantissa);
    };
    // what an invalid operand, or a NaN, puts into both registers
    both(c32(INDEFINITE.top), c64(INDEFINITE.mantissa));
    f.if(i32.and(isNan80(v), i32.eqz(isUnsupported(v))), () => both(v.top, i64.or(v.mantissa, QUIET)));
    refuseNans(f, v, v);
    setResult80(f, v.top, v.mantissa);
    f.if(isInfinite80(v), () => {
      both(c32(0x7fff), TOP);
      f.return();
    });
    f.if(isZero80(v), () => {
      raiseFlags(f, FLAG.divide);
      both(c32(0xffff), TOP);
      f.return();
    });
    reportDenormals(f, isDenormal80(v));
    const { sign, exponent, mantissa } = unpack80(f, v);
    setResult80(f, i32.or(i32.shl(sign, c32(15)), c32(BIAS)), mantissa);
    f.callVoid(h('x87FromInteger'), [i64.extendS(exponent)]);
  },
};
/** Ends an instruction that replaces ST(0) and pushes beside it, when ST(0) is empty or there is no room: two indefinites. */
export function refuseToPushBeside(f: FunctionBuilder, h: (name: string) => Callable): void {
  const empty = f.let(isEmpty(c32(0)));
  f.if(i32.or(empty, i32.eqz(isEmpty(c32(7)))), () => {
    f.if(f.call('i32', h('x87Finish'), [c32(STACK_FAULT), i32.eqz(empty)]), () => {
      setStack(f, c32(0), c32(INDEFINITE.top), c64(INDEFINITE.mantissa));
      push(f, c32(INDEFINITE.top), c64(INDEFINITE.mantissa));
    });
    f.return();
  });
}
const extractStack: HelperDefinition = {
  name: 'x87ExtractStack',
  params: [],
  results: [],
  build(f, h) {
    refuseToPushBeside(f, h);
    begin(f);
    const v = stack(f, c32(0));
    f.callVoid(h('x87Extract'), [v.top, v.mantissa]);
    f.if(f.call('i32', h('x87Finish'), [cell32(SOFT.flags), c32(0)]), () => {
      setStack(f, c32(0), cell32(SOURCE.top), cell64(SOURCE.mantissa));
      push(f, cell32(RESULT.top), cell64(RESULT.mantissa));
    });
  },
};
/** ST(0) = name(ST(0)), or name(ST(0), ST(1)). */
const onStack = (name: string, operation: string, two: boolean): HelperDefinition => ({
  name,
  params: [],
  results: [],
  build(f, h) {
    const empty = two ? i32.or(isEmpty(c32(0)), isEmpty(c32(1))) : isEmpty(c32(0));
    f.if(empty, () => {
      f.callVoid(h('x87Underflow'), [c32(0), c32(0)]);
      f.return();
    });
    begin(f);
    const operands = (two ? [0, 1] : [0]).map((i) => stack(f, c32(i)));
    f.callVoid(
      h(operation),
      operands.flatMap((v) => [v.top, v.mantissa]),
    );
    f.callVoid(h('x87Apply'), [c32(0), c32(0)]);
  },
});
export const X87_FUNCTION_HELPERS: readonly HelperDefinition[] = [
  squareRoot,
  roundToInteger,
  scale,
  extract,
  extractStack,
  onStack('x87SquareRootStack', 'x87SquareRoot', false),
  onStack('x87ExponentialStack', 'x87Exponential', false),
  onStack('x87RoundStack', 'x87RoundToInteger', false),
  onStack('x87ScaleStack', 'x87Scale', true),
];
