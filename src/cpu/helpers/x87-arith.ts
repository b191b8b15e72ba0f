/** x87 arithmetic and comparison (SDM vol. 1, 8.3.5, 8.3.6 and 8.5). */
import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type I32, i32, i64 } from '../../wasm/expr.ts';
import { STATE } from '../state.ts';
import type { HelperDefinition } from './definition.ts';
import { args, c32, cell32, cell64, FLAG, N0, raiseFlags, SOFT, TOP } from './float-core.ts';
import {
  begin,
  exponentField,
  FSW,
  indefinite,
  isDenormal80,
  isEmpty,
  isInfinite80,
  isMasked,
  isNan80,
  isSignaling80,
  isUnsupported,
  isZero80,
  KEEP_C1,
  type Lookup,
  OPERATION,
  popTimes,
  precisionControl,
  QUIET,
  SOURCE,
  STACK_FAULT,
  selected,
  setResult80,
  signOf80,
  snapshot,
  stack,
  unpack80,
  type Value,
  value,
} from './x87-core.ts';
import { quickArith } from './x87-quick.ts';

export function invalid(f: FunctionBuilder): void {
  raiseFlags(f, FLAG.invalid);
  indefinite(f);
  f.return();
}
/** Ends the function when an operand is a NaN or unsupported. */
export function refuseNans(f: FunctionBuilder, a: Value, b: Value): void {
  f.if(i32.or(isUnsupported(a), isUnsupported(b)), () => invalid(f));
  f.if(i32.or(isNan80(a), isNan80(b)), () => {
    f.if(i32.or(isSignaling80(a), isSignaling80(b)), () => raiseFlags(f, FLAG.invalid));
    // the larger mantissa, of equal ones the positive
    const larger = i32.or(
      i64.gtU(a.mantissa, b.mantissa),
      i32.and(i64.eq(a.mantissa, b.mantissa), i32.eqz(signOf80(a))),
    );
    const chosen = selected(f.let(i32.and(isNan80(a), i32.or(i32.eqz(isNan80(b)), larger))), a, b);
    setResult80(f, chosen.top, i64.or(chosen.mantissa, QUIET));
    f.return();
  });
}
/** Reports denormal operands; ends the function when that is unmasked. */
export function reportDenormals(f: FunctionBuilder, denormal: I32): void {
  f.if(denormal, () => {
    raiseFlags(f, FLAG.denormal);
    f.if(i32.eqz(isMasked(FLAG.denormal)), () => f.return());
  });
}

/** (operation, a, b): a op b into RESULT. */
const x87Arith: HelperDefinition = {
  name: 'x87Arith',
  params: ['i32', 'i32', 'i64', 'i32', 'i64'],
  results: [],
  build(f, h: Lookup) {
    const operation = f.param('i32', 0);
    const is = (op: number): I32 => i32.eq(operation, c32(op));
    const [a, b] = [value(f, 1), value(f, 3)];
    refuseNans(f, a, b);
    const signA = f.let(signOf80(a));
    const signB = f.let(i32.xor(signOf80(b), is(OPERATION.subtract)));
    const product = f.let(i32.xor(signA, signB));
    const [infiniteA, infiniteB] = [f.let(isInfinite80(a)), f.let(isInfinite80(b))];
    const [zeroA, zeroB] = [f.let(isZero80(a)), f.let(isZero80(b))];
    const denormal = f.let(i32.or(isDenormal80(a), isDenormal80(b)));
    const finish = (sign: I32, field: number): void => {
      setResult80(f, i32.or(i32.shl(sign, c32(15)), c32(field)), field === 0 ? N0 : TOP);
      f.return();
    };
    f.if(is(OPERATION.divide), () => {
      f.if(i32.or(i32.and(infiniteA, infiniteB), i32.and(zeroA, zeroB)), () => invalid(f));
      f.if(i32.and(zeroB, i32.eqz(infiniteA)), () => {
        raiseFlags(f, FLAG.divide);
        finish(product, 0x7fff);
      });
    });
    f.if(i32.and(is(OPERATION.multiply), i32.or(i32.and(infiniteA, zeroB), i32.and(zeroA, infiniteB))), () =>
      invalid(f),
    );
    const sum = i32.eqz(i32.and(operation, c32(1)));
    f.if(i32.and(sum, i32.and(i32.and(infiniteA, infiniteB), product)), () => invalid(f));
    reportDenormals(f, denormal);
    f.if(i32.or(infiniteA, infiniteB), () => {
      f.if(sum, () => finish(i32.select(infiniteA, signA, signB), 0x7fff));
      f.if(i32.and(is(OPERATION.divide), infiniteB), () => finish(product, 0));
      finish(product, 0x7fff);
    });
    const x = unpack80(f, a);
    const y = { ...unpack80(f, b), sign: signB };
    f.if(
      sum,
      () => f.callVoid(h('softAdd'), [x.sign, x.exponent, x.mantissa, N0, y.sign, y.exponent, y.mantissa]),
      () =>
        f.if(
          is(OPERATION.multiply),
          () => f.callVoid(h('softMultiply'), [signA, ...args(x).slice(1), signB, ...args(y).slice(1)]),
          () => f.callVoid(h('softDivide'), [signA, ...args(x).slice(1), signB, ...args(y).slice(1)]),
        ),
    );
    f.callVoid(h('x87Round'), [precisionControl(f)]);
  },
};
/** (operation, destination, a, b, pops) of register numbers. */
const x87ArithStack: HelperDefinition = {
  name: 'x87ArithStack',
  params: ['i32', 'i32', 'i32', 'i32', 'i32'],
  results: [],
  build(f, h) {
    const [to, i, j, pops] = [f.param('i32', 1), f.param('i32', 2), f.param('i32', 3), f.param('i32', 4)];
    const registers = snapshot(f);
    f.if(i32.eqz(i32.and(registers.uses(i), registers.uses(j))), () => {
      f.callVoid(h('x87Underflow'), [to, pops]);
      f.return();
    });
    const [a, b] = [registers.read(i), registers.read(j)];
    quickArith(f, h, f.param('i32', 0), a, b, (result) => {
      registers.replace(to, result, pops);
      f.return();
    });
    begin(f);
    f.callVoid(h('x87Arith'), [f.param('i32', 0), a.top, a.mantissa, b.top, b.mantissa]);
    f.callVoid(h('x87Apply'), [to, pops]);
  },
};
/** (operation, reversed): ST(0) and SOURCE into ST(0). */
const x87ArithSource: HelperDefinition = {
  name: 'x87ArithSource',
  params: ['i32', 'i32'],
  results: [],
  build(f, h) {
    const registers = snapshot(f);
    f.if(i32.eqz(registers.uses(c32(0))), () => {
      f.callVoid(h('x87Underflow'), [c32(0), c32(0)]);
      f.return();
    });
    const a = registers.read(c32(0));
    const b: Value = { top: f.let(cell32(SOURCE.top)), mantissa: f.let(cell64(SOURCE.mantissa)) };
    const reversed = f.param('i32', 1);
    const kept = (v: Value): Value => ({ top: f.let(v.top), mantissa: f.let(v.mantissa) });
    const [x, y] = [kept(selected(reversed, b, a)), kept(selected(reversed, a, b))];
    quickArith(f, h, f.param('i32', 0), x, y, (result) => {
      registers.replace(c32(0), result, c32(0));
      f.return();
    });
    begin(f);
    f.callVoid(h('x87Arith'), [f.param('i32', 0), x.top, x.mantissa, y.top, y.mantissa]);
    f.callVoid(h('x87Apply'), [c32(0), c32(0)]);
  },
};

const UNORDERED = FSW.c0 | FSW.c2 | FSW.c3;
/** (quiet, a, b): condition code bits of a compared with b; exceptions in SOFT.flags. */
const x87Compare: HelperDefinition = {
  name: 'x87Compare',
  params: ['i32', 'i32', 'i64', 'i32', 'i64'],
  results: ['i32'],
  build(f) {
    const [a, b] = [value(f, 1), value(f, 3)];
    const unsupported = i32.or(isUnsupported(a), isUnsupported(b));
    const signaling = i32.or(isSignaling80(a), isSignaling80(b));
    const nan = f.let(i32.or(isNan80(a), isNan80(b)));
    const refused = f.let(i32.or(i32.or(unsupported, signaling), i32.and(nan, i32.eqz(f.param('i32', 0)))));
    f.if(refused, () => raiseFlags(f, FLAG.invalid));
    f.if(i32.or(refused, nan), () => f.return(c32(UNORDERED)));
    f.if(i32.or(isDenormal80(a), isDenormal80(b)), () => raiseFlags(f, FLAG.denormal));
    const [x, y] = [unpack80(f, a), unpack80(f, b)];
    f.if(i64.eqz(i64.or(x.mantissa, y.mantissa)), () => f.return(c32(FSW.c3)));
    f.if(i32.or(i64.eqz(x.mantissa), i64.eqz(y.mantissa)), () => {
      const less = i32.select(i64.eqz(x.mantissa), i32.eqz(y.sign), x.sign);
      f.return(i32.select(less, c32(FSW.c0), c32(0)));
    });
    f.if(i32.ne(x.sign, y.sign), () => f.return(i32.select(x.sign, c32(FSW.c0), c32(0))));
    const same = f.let(i32.eq(x.exponent, y.exponent));
    f.if(i32.and(same, i64.eq(x.mantissa, y.mantissa)), () => f.return(c32(FSW.c3)));
    const smaller = i32.select(same, i64.ltU(x.mantissa, y.mantissa), i32.ltS(x.exponent, y.exponent));
    f.result(i32.select(i32.xor(smaller, x.sign), c32(FSW.c0), c32(0)));
  },
};
/** After a comparison: (condition code, exceptions, pops, into the status word) -> the code. */
const x87Compared: HelperDefinition = {
  name: 'x87Compared',
  params: ['i32', 'i32', 'i32', 'i32'],
  results: ['i32'],
  build(f, h) {
    const code = f.param('i32', 0);
    const pops = f.param('i32', 2);
    const fault = i32.and(f.param('i32', 1), c32(FSW.stackFault));
    // FCOMI clears C1 for a stack fault only
    const c1 = i32.select(i32.or(fault, f.param('i32', 3)), c32(0), KEEP_C1);
    const proceeds = f.let(f.call('i32', h('x87Finish'), [f.param('i32', 1), c1]));
    f.if(f.param('i32', 3), () => {
      const kept = i32.and(cell32(STATE.fpuStatus), c32(~UNORDERED));
      f.store32(ZERO, i32.or(kept, code), STATE.fpuStatus);
    });
    // the reference CPU sets the condition code even where an unmasked exception keeps it from popping
    f.if(proceeds, () => popTimes(f, pops));
    f.result(code);
  },
};
/** (quiet, register, pops, into the status word): ST(0) compared with ST(i). */
const x87CompareStack: HelperDefinition = {
  name: 'x87CompareStack',
  params: ['i32', 'i32', 'i32', 'i32'],
  results: ['i32'],
  build(f, h) {
    const [i, pops, status] = [f.param('i32', 1), f.param('i32', 2), f.param('i32', 3)];
    f.if(i32.or(isEmpty(c32(0)), isEmpty(i)), () =>
      f.return(f.call('i32', h('x87Compared'), [c32(UNORDERED), c32(STACK_FAULT), pops, status])),
    );
    begin(f);
    const [a, b] = [stack(f, c32(0)), stack(f, i)];
    const code = f.let(f.call('i32', h('x87Compare'), [f.param('i32', 0), a.top, a.mantissa, b.top, b.mantissa]));
    f.result(f.call('i32', h('x87Compared'), [code, cell32(SOFT.flags), pops, status]));
  },
};
/** (pops): ST(0) compared with SOURCE. */
const x87CompareSource: HelperDefinition = {
  name: 'x87CompareSource',
  params: ['i32'],
  results: [],
  build(f, h) {
    const pops = f.param('i32', 0);
    f.if(isEmpty(c32(0)), () => {
      f.drop(f.call('i32', h('x87Compared'), [c32(UNORDERED), c32(STACK_FAULT), pops, c32(1)]));
      f.return();
    });
    begin(f);
    const a = stack(f, c32(0));
    const code = f.let(
      f.call('i32', h('x87Compare'), [c32(0), a.top, a.mantissa, cell32(SOURCE.top), cell64(SOURCE.mantissa)]),
    );
    f.drop(f.call('i32', h('x87Compared'), [code, cell32(SOFT.flags), pops, c32(1)]));
  },
};
/** FXAM: class and sign of ST(0), whatever its tag says of it. */
const x87Examine: HelperDefinition = {
  name: 'x87Examine',
  params: [],
  results: [],
  build(f) {
    const v = stack(f, c32(0));
    const { c0, c2, c3 } = FSW;
    const pick = (condition: I32, bits: number, otherwise: I32): I32 => i32.select(condition, c32(bits), otherwise);
    const normal = pick(exponentField(v), c2, c32(c3 | c2));
    const numbers = pick(isZero80(v), c3, pick(isInfinite80(v), c2 | c0, normal));
    const kind = pick(isEmpty(c32(0)), c3 | c0, pick(isUnsupported(v), 0, pick(isNan80(v), c0, numbers)));
    const kept = i32.and(cell32(STATE.fpuStatus), c32(~(UNORDERED | FSW.c1)));
    const sign = i32.mul(signOf80(v), c32(FSW.c1));
    f.store32(ZERO, i32.or(i32.or(kept, sign), kind), STATE.fpuStatus);
  },
};

export const X87_ARITH_HELPERS: readonly HelperDefinition[] = [
  x87Arith,
  x87ArithStack,
  x87ArithSource,
  x87Compare,
  x87Compared,
  x87CompareStack,
  x87CompareSource,
  x87Examine,
];
