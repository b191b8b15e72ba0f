/** FPREM and FPREM1 (SDM vol. 2): exact remainders, by long division of the mantissas. */
import { ZERO } from '../../wasm/builder.ts';
import { type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import { STATE } from '../state.ts';
import type { HelperDefinition } from './definition.ts';
import { c32, c64, cell32, N0, N1, SOFT, setResult } from './float-core.ts';
import { invalid, refuseNans, reportDenormals } from './x87-arith.ts';
import {
  begin,
  FSW,
  isDenormal80,
  isEmpty,
  isInfinite80,
  isZero80,
  setResult80,
  stack,
  unpack80,
  value,
} from './x87-core.ts';

/** Condition code that goes with the result in RESULT; SOFT.lanes is free here. */
const CODE = SOFT.lanes + 16;
/** In CODE when an operand was refused: C2 is cleared, C0 and C3 stay. */
const REFUSED = -1;
const CONDITION = FSW.c0 | FSW.c2 | FSW.c3;

/** (to nearest, a, b): the remainder into RESULT, the quotient's low bits or C2 into CODE. */
const remainder: HelperDefinition = {
  name: 'x87Remainder',
  params: ['i32', 'i32', 'i64', 'i32', 'i64'],
  results: [],
  build(f, h) {
    const nearest = f.param('i32', 0);
    const [a, b] = [value(f, 1), value(f, 3)];
    f.store32(ZERO, c32(REFUSED), CODE);
    refuseNans(f, a, b);
    f.if(i32.or(isInfinite80(a), isZero80(b)), () => invalid(f));
    reportDenormals(f, i32.or(isDenormal80(a), isDenormal80(b)));
    f.store32(ZERO, c32(0), CODE);
    const x = unpack80(f, a);
    const finish = (sign: I32, exponent: I32, mantissa: I64): void => {
      const shift = f.let(i64.clz(mantissa));
      const normalized = i32.sub(exponent, i32.wrap(i64.and(shift, c64(63))));
      setResult(f, sign, normalized, i64.shl(mantissa, shift), N0);
      f.callVoid(h('x87Round'), [c32(64)]);
    };
    f.if(isZero80(a), () => {
      setResult80(f, a.top, a.mantissa);
      f.return();
    });
    f.if(isInfinite80(b), () => {
      finish(x.sign, x.exponent, x.mantissa);
      f.return();
    });
    const y = unpack80(f, b);
    const distance = f.let(i32.sub(x.exponent, y.exponent));
    f.if(i32.ltS(distance, i32.sub(c32(0), nearest)), () => {
      finish(x.sign, x.exponent, x.mantissa);
      f.return();
    });
    const [rest, quotient, steps, carry] = [f.newLocal('i64'), f.newLocal('i64'), f.newLocal('i32'), f.newLocal('i32')];
    const [r, q] = [f.get('i64', rest), f.get('i64', quotient)];
    f.set(rest, x.mantissa);
    f.set(quotient, N0);
    f.if(i32.ltS(distance, c32(0)), () => {
      // half the divisor or more, but less than the divisor
      f.if(
        i64.gtU(r, y.mantissa),
        () => {
          f.store32(ZERO, c32(FSW.c1), CODE);
          const left = f.let(i64.sub(y.mantissa, i64.sub(r, y.mantissa)));
          finish(i32.xor(x.sign, c32(1)), x.exponent, left);
        },
        () => finish(x.sign, x.exponent, r),
      );
      f.return();
    });
    const partial = f.let(i32.geS(distance, c32(64)));
    const reduced = i32.or(i32.and(distance, c32(31)), c32(32));
    const count = f.let(i32.select(partial, reduced, distance));
    f.set(steps, count);
    f.set(carry, c32(0));
    f.block((done) =>
      f.loop((again) => {
        const fits = f.let(i32.or(f.get('i32', carry), i64.geU(r, y.mantissa)));
        f.set(rest, i64.sub(r, i64.select(fits, y.mantissa, N0)));
        f.set(quotient, i64.or(i64.shl(q, N1), i64.extendU(fits)));
        f.brIf(done, i32.eqz(f.get('i32', steps)));
        f.set(carry, i64.ltS(r, N0));
        f.set(rest, i64.shl(r, N1));
        f.set(steps, i32.sub(f.get('i32', steps), c32(1)));
        f.br(again);
      }),
    );
    const sign = f.newLocal('i32');
    f.set(sign, x.sign);
    f.if(
      partial,
      () => f.store32(ZERO, c32(FSW.c2), CODE),
      () => {
        f.if(nearest, () => {
          const other = f.let(i64.sub(y.mantissa, r));
          const tie = i32.and(i64.eq(r, other), i32.wrap(i64.and(q, N1)));
          f.if(i32.or(i64.gtU(r, other), tie), () => {
            f.set(rest, other);
            f.set(quotient, i64.add(q, N1));
            f.set(sign, i32.xor(x.sign, c32(1)));
          });
        });
        const low = f.let(i32.wrap(q));
        const bit = (from: number, to: number): I32 => i32.mul(i32.and(i32.shrU(low, c32(from)), c32(1)), c32(to));
        f.store32(ZERO, i32.or(bit(2, FSW.c0), i32.or(bit(1, FSW.c3), bit(0, FSW.c1))), CODE);
      },
    );
    f.if(i64.eqz(r), () => {
      setResult80(f, i32.shl(x.sign, c32(15)), N0);
      f.return();
    });
    finish(f.get('i32', sign), i32.add(y.exponent, i32.sub(distance, count)), r);
  },
};
/** (to nearest): ST(0) = remainder of ST(0) by ST(1). */
const onStack: HelperDefinition = {
  name: 'x87RemainderStack',
  params: ['i32'],
  results: [],
  build(f, h) {
    f.if(i32.or(isEmpty(c32(0)), isEmpty(c32(1))), () => {
      f.store32(ZERO, i32.and(cell32(STATE.fpuStatus), c32(~FSW.c2)), STATE.fpuStatus);
      f.callVoid(h('x87Underflow'), [c32(0), c32(0)]);
      f.return();
    });
    begin(f);
    const [a, b] = [stack(f, c32(0)), stack(f, c32(1))];
    f.callVoid(h('x87Remainder'), [f.param('i32', 0), a.top, a.mantissa, b.top, b.mantissa]);
    const refused = f.let(i32.eq(cell32(CODE), c32(REFUSED)));
    const code = f.let(i32.select(refused, c32(0), cell32(CODE)));
    f.store32(ZERO, i32.and(i32.shrU(code, c32(9)), c32(1)), SOFT.up);
    f.callVoid(h('x87Apply'), [c32(0), c32(0)]);
    const kept = i32.and(cell32(STATE.fpuStatus), i32.select(refused, c32(~FSW.c2), c32(~CONDITION)));
    f.store32(ZERO, i32.or(kept, i32.and(code, c32(CONDITION))), STATE.fpuStatus);
  },
};

export const X87_REMAINDER_HELPERS: readonly HelperDefinition[] = [remainder, onStack];
