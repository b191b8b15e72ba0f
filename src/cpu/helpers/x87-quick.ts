/**
 * x87 addition, subtraction and multiplication where there is nothing to report but rounding: normal operands and result, 64 bits of
 * precision, rounding to nearest, all exceptions masked. Everything else is left to `x87Arith`, which gives the same.
 */
import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import { STATE } from '../state.ts';
import { c32, c64, cell32, FLAG, increment, N0, N1, TOP } from './float-core.ts';
import { BIAS, exponentField, FSW, type Lookup, OPERATION, signOf80, type Value } from './x87-core.ts';

/** Control word: precision, rounding and masks. */
const QUICK_MASK = 0xf3f;
const QUICK = 0x33f;
/** Largest exponent field of a finite number. */
const LARGEST_FIELD = 0x7ffe;

const isNormalField = (field: I32): I32 => i32.ltU(i32.sub(field, c32(1)), c32(LARGEST_FIELD));
/** A normal number as it stands in a register; one that came from a denormal number in memory has another bit set. */
const isNormal = (v: Value, field: I32): I32 =>
  i32.and(i32.and(isNormalField(field), i32.ltU(v.top, c32(0x1_0000))), i64.ltS(v.mantissa, N0));

/**
 * Where a op b can be had quickly it is given to `deliver`, and the status word is what it is afterwards; runs on with nothing
 * changed where not. Operands in locals.
 */
export function quickArith(
  f: FunctionBuilder,
  h: Lookup,
  operation: I32,
  a: Value,
  b: Value,
  deliver: (result: Value) => void,
): void {
  const [fieldA, fieldB] = [f.let(exponentField(a)), f.let(exponentField(b))];
  const both = i32.and(isNormal(a, fieldA), isNormal(b, fieldB));
  const plain = i32.eq(i32.and(cell32(STATE.fpuControl), c32(QUICK_MASK)), c32(QUICK));
  /** Rounds a value with bit 63 of `high` set, and delivers it unless its exponent does not fit. */
  const finish = (sign: I32, field: I32, high: I64, low: I64): void => {
    const up = f.let(increment(high, low, c32(0), c32(0)));
    const sum = f.let(i64.add(high, i64.extendU(up)));
    const carried = f.let(i64.eqz(sum));
    const rounded = f.let(i32.add(field, carried));
    f.if(isNormalField(rounded), () => {
      const kept = i32.and(cell32(STATE.fpuStatus), c32(~(FSW.c1 | FSW.summary)));
      const inexact = i32.select(i64.ne(low, N0), c32(FLAG.inexact), c32(0));
      f.store32(ZERO, i32.or(i32.or(kept, inexact), i32.shl(up, c32(9))), STATE.fpuStatus);
      deliver({ top: i32.or(i32.shl(sign, c32(15)), rounded), mantissa: i64.select(carried, TOP, sum) });
    });
  };
  f.if(i32.and(plain, both), () => {
    f.if(
      i32.eq(operation, c32(OPERATION.multiply)),
      () => {
        const high = f.let(f.call('i64', h('multiplyHigh'), [a.mantissa, b.mantissa]));
        const low = f.let(i64.mul(a.mantissa, b.mantissa));
        // 0 or 1
        const shift = f.let(i64.clz(high));
        const first = f.let(i64.or(i64.shl(high, shift), i64.and(i64.shrU(low, c64(63)), shift)));
        const field = f.let(i32.sub(i32.add(fieldA, fieldB), i32.add(c32(BIAS - 1), i32.wrap(shift))));
        finish(f.let(i32.xor(signOf80(a), signOf80(b))), field, first, f.let(i64.shl(low, shift)));
      },
      () => f.if(i32.ne(operation, c32(OPERATION.divide)), () => quickSum(f, operation, a, b, finish)),
    );
  });
}

type Finish = (sign: I32, field: I32, high: I64, low: I64) => void;
function quickSum(f: FunctionBuilder, operation: I32, a: Value, b: Value, finish: Finish): void {
  const [fieldA, fieldB] = [exponentField(a), exponentField(b)];
  const signA = f.let(signOf80(a));
  const signB = f.let(i32.xor(signOf80(b), i32.eq(operation, c32(OPERATION.subtract))));
  // x is the larger one
  const swap = f.let(i32.or(i32.gtU(fieldB, fieldA), i32.and(i32.eq(fieldB, fieldA), i64.gtU(b.mantissa, a.mantissa))));
  const x = f.let(i64.select(swap, b.mantissa, a.mantissa));
  const y = f.let(i64.select(swap, a.mantissa, b.mantissa));
  const field = f.let(i32.select(swap, fieldB, fieldA));
  const sign = f.let(i32.select(swap, signB, signA));
  const distance = f.let(i64.extendU(i32.sub(field, i32.select(swap, fieldA, fieldB))));
  f.if(i64.ltU(distance, c64(64)), () => {
    const above = f.let(i64.shrU(y, distance));
    const below = f.let(i64.select(i64.eqz(distance), N0, i64.shl(y, i64.sub(c64(64), distance))));
    f.if(
      i32.eq(signA, signB),
      () => {
        const sum = f.let(i64.add(x, above));
        const carry = f.let(i64.extendU(i64.ltU(sum, x)));
        const shifted = i64.or(i64.or(i64.shrU(below, N1), i64.shl(sum, c64(63))), i64.and(below, N1));
        const low = f.let(i64.select(i64.eqz(carry), below, shifted));
        const high = f.let(i64.or(i64.shrU(sum, carry), i64.shl(carry, c64(63))));
        finish(sign, f.let(i32.add(field, i32.wrap(carry))), high, low);
      },
      () => {
        const low = f.let(i64.sub(N0, below));
        const high = f.let(i64.sub(i64.sub(x, above), i64.extendU(i64.ne(below, N0))));
        // nothing left: zero, or far below what is left
        f.if(i64.ne(high, N0), () => {
          const shift = f.let(i64.clz(high));
          const spilled = i64.select(i64.eqz(shift), N0, i64.shrU(low, i64.sub(c64(64), shift)));
          const first = f.let(i64.or(i64.shl(high, shift), spilled));
          finish(sign, f.let(i32.sub(field, i32.wrap(shift))), first, f.let(i64.shl(low, shift)));
        });
      },
    );
  });
}
