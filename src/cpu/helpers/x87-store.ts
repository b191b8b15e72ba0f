/** Conversion of ST(0) to what memory holds (SDM vol. 1, 8.5.1 and 4.8.4). Exceptions gather in SOFT.flags. */
import type { FunctionBuilder } from '../../wasm/builder.ts';
import { ZERO } from '../../wasm/builder.ts';
import { type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import type { HelperDefinition } from './definition.ts';
import {
  c32,
  c64,
  cell32,
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
  type Unpacked,
} from './float-core.ts';
import {
  begin,
  indefinite,
  isEmpty,
  isInfinite80,
  isNan80,
  isSignaling80,
  isUnsupported,
  SOURCE,
  STACK_FAULT,
  setResult80,
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
/** The magnitude of a finite nonzero value, rounded to an integer, and what was cut off; its exponent is at most 63. */
function roundedMagnitude(f: FunctionBuilder, v: Unpacked, mode: I32): { magnitude: I64; up: I32; fraction: I64 } {
  const [high, low] = [f.newLocal('i64'), f.newLocal('i64')];
  f.set(high, v.mantissa);
  f.set(low, N0);
  shiftRightSticky(f, high, low, i32.sub(c32(63), v.exponent));
  const fraction = f.get('i64', low);
  const up = f.let(increment(f.get('i64', high), fraction, v.sign, mode));
  return { magnitude: f.let(i64.add(f.get('i64', high), i64.extendU(up))), up, fraction };
}
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
    const parts = unpack80(f, v);
    const { sign } = parts;
    f.if(i64.eqz(parts.mantissa), () => f.return(N0));
    f.if(i32.gtS(parts.exponent, c32(63)), refuse);
    const mode = i32.select(f.param('i32', 1), c32(3), roundingMode());
    const { magnitude, up, fraction } = roundedMagnitude(f, parts, mode);
    f.if(i64.geU(magnitude, i64.add(limit, i64.extendU(sign))), refuse);
    f.if(i64.ne(fraction, N0), () => raiseFlags(f, FLAG.inexact));
    f.store32(ZERO, up, SOFT.up);
    f.result(i64.select(sign, i64.sub(N0, magnitude), magnitude));
  },
};

/** Packed decimal (SDM vol. 1, 4.7): 18 digits of four bits, then a byte with the sign in its top bit. */
const DIGITS = { low: 16, all: 18, least: 10n ** 18n } as const;
/** () ST(0) into RESULT as packed decimal; its indefinite is that of the extended format. */
const toDecimal: HelperDefinition = {
  name: 'x87ToDecimal',
  params: [],
  results: [],
  build(f) {
    begin(f);
    const refuse = (flags: number): void => {
      raiseFlags(f, flags);
      indefinite(f);
      f.return();
    };
    f.if(isEmpty(c32(0)), () => refuse(STACK_FAULT));
    const v = stack(f, c32(0));
    f.if(i32.or(isUnsupported(v), i32.or(isNan80(v), isInfinite80(v))), () => refuse(FLAG.invalid));
    const parts = unpack80(f, v);
    f.if(i32.gtS(parts.exponent, c32(63)), () => refuse(FLAG.invalid));
    const { magnitude, up, fraction } = roundedMagnitude(f, parts, roundingMode());
    f.if(i64.geU(magnitude, c64(DIGITS.least)), () => refuse(FLAG.invalid));
    f.if(i64.ne(fraction, N0), () => raiseFlags(f, FLAG.inexact));
    f.store32(ZERO, up, SOFT.up);
    const [rest, digits] = [f.newLocal('i64'), f.newLocal('i64')];
    f.set(rest, magnitude);
    const take = (count: number): I64 => {
      f.set(digits, N0);
      for (let i = 0; i < count; i++) {
        const digit = i64.shl(i64.remU(f.get('i64', rest), c64(10)), c64(4 * i));
        f.set(digits, i64.or(f.get('i64', digits), digit));
        f.set(rest, i64.divU(f.get('i64', rest), c64(10)));
      }
      return f.get('i64', digits);
    };
    const low = f.let(take(DIGITS.low));
    const high = i32.wrap(take(DIGITS.all - DIGITS.low));
    setResult80(f, i32.or(i32.shl(parts.sign, c32(15)), high), low);
  },
};
/** (sign and two digits, sixteen digits) of packed decimal into SOURCE. Digits above 9, undefined, count as what they are. */
const fromDecimal: HelperDefinition = {
  name: 'x87FromDecimal',
  params: ['i32', 'i64'],
  results: [],
  build(f, h) {
    const high = f.param('i32', 0);
    const total = f.newLocal('i64');
    f.set(total, N0);
    const add = (digits: I64, count: number): void => {
      for (let i = count - 1; i >= 0; i--) {
        const digit = i64.and(i64.shrU(digits, c64(4 * i)), c64(15));
        f.set(total, i64.add(i64.mul(f.get('i64', total), c64(10)), digit));
      }
    };
    add(i64.extendU(high), DIGITS.all - DIGITS.low);
    add(f.param('i64', 1), DIGITS.low);
    f.callVoid(h('x87FromInteger'), [f.get('i64', total)]);
    f.store32(ZERO, i32.or(cell32(SOURCE.top), i32.and(high, c32(0x8000))), SOURCE.top);
  },
};

export const X87_STORE_HELPERS: readonly HelperDefinition[] = [
  toFloat('x87ToSingle', SINGLE, 'pack32'),
  toFloat('x87ToDouble', DOUBLE, 'pack64'),
  toInteger,
  toDecimal,
  fromDecimal,
];
