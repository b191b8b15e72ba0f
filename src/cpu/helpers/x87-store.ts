/** Conversion of ST(0) to what memory holds (SDM vol. 1, 8.5.1 and 4.8.4). Exceptions gather in SOFT.flags. */
import type { FunctionBuilder } from '../../wasm/builder.ts';
import { ZERO } from '../../wasm/builder.ts';
import { type I64, i32, i64 } from '../../wasm/expr.ts';
import type { HelperDefinition } from './definition.ts';
import {
  c32,
  c64,
  DOUBLE,
  FLAG,
  type Format,
  increment,
  N0,
  raiseFlags,
  roundingMode,
  SINGLE,
  SOFT,
  setResult,
  shiftRightSticky,
  signed,
} from './float-core.ts';
import {
  begin,
  isEmpty,
  isInfinite80,
  isNan80,
  isSignaling80,
  isUnsupported,
  STACK_FAULT,
  signOf80,
  stack,
  unpack80,
} from './x87-core.ts';

/** Starts a conversion; an empty ST(0) gives `indefinite`. */
function start(f: FunctionBuilder, indefinite: I64): void {
  begin(f);
  f.if(isEmpty(c32(0)), () => {
    raiseFlags(f, STACK_FAULT);
    f.return(indefinite);
  });
}
const toFloat = (name: string, fmt: Format, pack: string): HelperDefinition => ({
  name,
  params: [],
  results: ['i64'],
  build(f, h) {
    start(f, c64(fmt.defaultNan));
    const v = stack(f, c32(0));
    const sign = f.let(signed(fmt, signOf80(v)));
    f.if(isUnsupported(v), () => {
      raiseFlags(f, FLAG.invalid);
      f.return(c64(fmt.defaultNan));
    });
    f.if(isNan80(v), () => {
      f.if(isSignaling80(v), () => raiseFlags(f, FLAG.invalid));
      const fraction = i64.shrU(i64.shl(v.mantissa, c64(1)), c64(65 - fmt.precision));
      f.return(i64.or(i64.or(sign, c64(fmt.infinity | fmt.quiet)), fraction));
    });
    f.if(isInfinite80(v), () => f.return(i64.or(sign, c64(fmt.infinity))));
    const parts = unpack80(f, v);
    setResult(f, parts.sign, parts.exponent, parts.mantissa, N0);
    f.result(f.call('i64', h(pack), []));
  },
});
/** (bits, truncate): ST(0) as an integer; what does not fit is invalid. */
const toInteger: HelperDefinition = {
  name: 'x87ToInteger',
  params: ['i32', 'i32'],
  results: ['i64'],
  build(f) {
    const limit = f.let(i64.shl(c64(1), i64.extendU(i32.sub(f.param('i32', 0), c32(1)))));
    start(f, limit);
    const refuse = (): void => {
      raiseFlags(f, FLAG.invalid);
      f.return(limit);
    };
    const v = stack(f, c32(0));
    f.if(i32.or(isUnsupported(v), i32.or(isNan80(v), isInfinite80(v))), refuse);
    const { sign, exponent, mantissa } = unpack80(f, v);
    f.if(i64.eqz(mantissa), () => f.return(N0));
    f.if(i32.gtS(exponent, c32(63)), refuse);
    const [high, low] = [f.newLocal('i64'), f.newLocal('i64')];
    f.set(high, mantissa);
    f.set(low, N0);
    shiftRightSticky(f, high, low, i32.sub(c32(63), exponent));
    const mode = i32.select(f.param('i32', 1), c32(3), roundingMode());
    const fraction = f.get('i64', low);
    const up = f.let(increment(f.get('i64', high), fraction, sign, mode));
    const magnitude = f.let(i64.add(f.get('i64', high), i64.extendU(up)));
    f.if(i64.geU(magnitude, i64.add(limit, i64.extendU(sign))), refuse);
    f.if(i64.ne(fraction, N0), () => raiseFlags(f, FLAG.inexact));
    f.store32(ZERO, up, SOFT.up);
    f.result(i64.select(sign, i64.sub(N0, magnitude), magnitude));
  },
};

export const X87_STORE_HELPERS: readonly HelperDefinition[] = [
  toFloat('x87ToSingle', SINGLE, 'pack32'),
  toFloat('x87ToDouble', DOUBLE, 'pack64'),
  toInteger,
];
