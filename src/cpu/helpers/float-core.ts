/**
 * Exact floating-point arithmetic on integers, shared by SSE, FMA and x87. A finite value is (sign, exponent, mantissa):
 * (-1)^sign * mantissa / 2^63 * 2^exponent with bit 63 of the mantissa set, or mantissa 0 for zero. Results of the core
 * operations carry 64 more bits and a sticky bit below the mantissa; packing rounds them once. Exceptions gather in
 * SOFT.flags, in MXCSR's order (IE DE ZE OE UE PE).
 */
import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type Callable, type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import { STATE } from '../state.ts';
import type { HelperDefinition } from './definition.ts';

/** Working cells. `control` has MXCSR's layout: RC in bits 14:13, masks in 12:7, FTZ 15, DAZ 6. */
export const SOFT = {
  flags: STATE.softFloat,
  control: STATE.softFloat + 4,
  sign: STATE.softFloat + 8,
  exponent: STATE.softFloat + 12,
  high: STATE.softFloat + 16,
  low: STATE.softFloat + 24,
  /** 1 when the last rounding increased the magnitude (C1 of the x87). */
  up: STATE.softFloat + 32,
  /** Second result, or exponent and sign of an x87 result. */
  extra: STATE.softFloat + 40,
  /** Lanes of packed operands: three times 16 bytes. */
  lanes: STATE.softFloat + 64,
} as const;
export const FLAG = { invalid: 1, denormal: 2, divide: 4, overflow: 8, underflow: 16, inexact: 32 } as const;
export const CONTROL = { daz: 0x40, underflowMask: 0x800, overflowMask: 0x400, ftz: 0x8000, rc: 0x6000 } as const;

export const N0 = i64.const(0);
export const N1 = i64.const(1);
export const TOP = i64.const(1n << 63n);
export const c32 = i32.const;
export const c64 = i64.const;
export const cell32 = (cell: number): I32 => i32.load(ZERO, cell);
export const cell64 = (cell: number): I64 => i64.load(ZERO, cell);
/** 1 when any bit of `value` is set, as an i64 to be ORed in. */
export const sticky = (value: I64): I64 => i64.extendU(i64.ne(value, N0));
export const raiseFlags = (f: FunctionBuilder, flags: I32 | number): void =>
  f.store32(ZERO, i32.or(cell32(SOFT.flags), typeof flags === 'number' ? c32(flags) : flags), SOFT.flags);
export const roundingMode = (): I32 => i32.and(i32.shrU(cell32(SOFT.control), c32(13)), c32(3));

/** A format with a hidden bit: precision with it, exponent bias, and where the sign lies. */
export interface Format {
  readonly bits: 16 | 32 | 64;
  readonly precision: number;
  readonly bias: number;
  /** Smallest and largest exponent of a normal number. */
  readonly least: number;
  readonly most: number;
  readonly infinity: bigint;
  readonly quiet: bigint;
  readonly signBit: bigint;
  /** The "real indefinite": what invalid operations yield. */
  readonly defaultNan: bigint;
}
const format = (bits: 16 | 32 | 64, precision: number): Format => {
  const bias = (1 << (bits - precision - 1)) - 1;
  const infinity = BigInt(2 * bias + 1) << BigInt(precision - 1);
  const quiet = 1n << BigInt(precision - 2);
  const signBit = 1n << BigInt(bits - 1);
  const defaultNan = signBit | infinity | quiet;
  return { bits, precision, bias, least: 1 - bias, most: bias, infinity, quiet, signBit, defaultNan };
};
export const HALF: Format = format(16, 11);
export const SINGLE: Format = format(32, 24);
export const DOUBLE: Format = format(64, 53);

export const magnitude = (fmt: Format, a: I64): I64 => i64.and(a, c64(fmt.signBit - 1n));
export const signOf = (fmt: Format, a: I64): I32 => i32.wrap(i64.and(i64.shrU(a, c64(fmt.bits - 1)), N1));
export const isNan = (fmt: Format, a: I64): I32 => i64.gtU(magnitude(fmt, a), c64(fmt.infinity));
export const isInfinite = (fmt: Format, a: I64): I32 => i64.eq(magnitude(fmt, a), c64(fmt.infinity));
export const isZeroValue = (fmt: Format, a: I64): I32 => i64.eqz(magnitude(fmt, a));
/** 0 < |a| < least normal. */
export const isDenormal = (fmt: Format, a: I64): I32 =>
  i64.ltU(i64.sub(magnitude(fmt, a), N1), c64((1n << BigInt(fmt.precision - 1)) - 1n));
export const isSignaling = (fmt: Format, a: I64): I32 => i32.and(isNan(fmt, a), i64.eqz(i64.and(a, c64(fmt.quiet))));
/** A sign (0/1) in place. */
export const signed = (fmt: Format, sign: I32): I64 => i64.shl(i64.extendU(sign), c64(fmt.bits - 1));

export interface Unpacked {
  readonly sign: I32;
  readonly exponent: I32;
  readonly mantissa: I64;
}
/** Parts of a finite value, in locals. */
export function unpack(f: FunctionBuilder, fmt: Format, a: I64): Unpacked {
  const exponent = f.newLocal('i32');
  const mantissa = f.newLocal('i64');
  const pad = 64 - fmt.precision;
  const fraction = f.let(i64.and(a, c64((1n << BigInt(fmt.precision - 1)) - 1n)));
  const field = f.let(i32.wrap(i64.shrU(magnitude(fmt, a), c64(fmt.precision - 1))));
  f.if(
    field,
    () => {
      f.set(exponent, i32.sub(field, c32(fmt.bias)));
      f.set(mantissa, i64.or(TOP, i64.shl(fraction, c64(pad))));
    },
    () => {
      // zero shifts out nothing: clz is 64 and the shift count wraps to 0
      const shift = f.let(i64.clz(fraction));
      f.set(exponent, i32.sub(c32(fmt.least + pad), i32.wrap(shift)));
      f.set(mantissa, i64.shl(fraction, shift));
    },
  );
  return { sign: f.let(signOf(fmt, a)), exponent: f.get('i32', exponent), mantissa: f.get('i64', mantissa) };
}

/** The increment (0/1) that the rounding mode asks for: `fraction` is what is cut off, its top bit worth one half. */
export function increment(kept: I64, fraction: I64, sign: I32, mode: I32): I32 {
  const half = TOP;
  const inexact = i64.ne(fraction, N0);
  const nearest = i32.or(i64.gtU(fraction, half), i32.and(i64.eq(fraction, half), i32.wrap(i64.and(kept, N1))));
  // 1 = down, 2 = up: away from zero when the direction is the sign's
  const away = i32.and(inexact, i32.eq(mode, i32.sub(c32(2), sign)));
  return i32.select(i32.eqz(mode), nearest, away);
}

/** Shifts (high:low) right by count >= 0, keeping what falls off as a sticky bit. High and low are local numbers. */
export function shiftRightSticky(f: FunctionBuilder, high: number, low: number, count: I32): void {
  const n = f.let(count);
  const h = f.get('i64', high);
  const l = f.get('i64', low);
  f.if(
    i32.ltU(n, c32(64)),
    () =>
      f.if(n, () => {
        const by = f.let(i64.extendU(n));
        const back = f.let(i64.sub(c64(64), by));
        const lost = sticky(i64.shl(l, back));
        f.set(low, i64.or(i64.or(i64.shrU(l, by), i64.shl(h, back)), lost));
        f.set(high, i64.shrU(h, by));
      }),
    () => {
      f.if(
        i32.ltU(n, c32(128)),
        () => {
          const by = f.let(i64.extendU(i32.and(n, c32(63))));
          const lost = sticky(i64.or(l, i64.select(i64.eqz(by), N0, i64.shl(h, i64.sub(c64(64), by)))));
          f.set(low, i64.or(i64.shrU(h, by), lost));
        },
        () => f.set(low, sticky(i64.or(h, l))),
      );
      f.set(high, N0);
    },
  );
}

/** Rounds the value in the cells to `fmt` under SOFT.control: its bits. */
const pack = (name: string, fmt: Format): HelperDefinition => ({
  name,
  params: [],
  results: ['i64'],
  build(f) {
    const { precision } = fmt;
    const sign = f.let(cell32(SOFT.sign));
    const exponent = f.let(cell32(SOFT.exponent));
    const high = f.newLocal('i64');
    const low = f.newLocal('i64');
    f.set(high, cell64(SOFT.high));
    f.set(low, cell64(SOFT.low));
    const h = f.get('i64', high);
    const l = f.get('i64', low);
    const signBits = f.let(signed(fmt, sign));
    const mode = f.let(roundingMode());
    f.store32(ZERO, c32(0), SOFT.up);
    f.if(i64.eqz(i64.or(h, l)), () => f.return(signBits));
    const rounded = (): { result: I64; fraction: I64 } => {
      const kept = f.let(i64.shrU(h, c64(64 - precision)));
      const fraction = f.let(i64.or(i64.shl(h, c64(precision)), sticky(l)));
      const up = f.let(increment(kept, fraction, sign, mode));
      f.store32(ZERO, up, SOFT.up);
      return { result: f.let(i64.add(kept, i64.extendU(up))), fraction };
    };
    const { result, fraction } = rounded();
    const carried = i32.wrap(i64.shrU(result, c64(precision)));
    const final = f.let(i32.add(exponent, carried));
    f.if(i32.geS(final, c32(fmt.least)), () => {
      f.if(i32.gtS(final, c32(fmt.most)), () => {
        // withheld by an unmasked overflow, a result is inexact only if its digits are (SDM vol. 1, 4.9.1.4)
        const infinite = i32.and(cell32(SOFT.control), c32(CONTROL.overflowMask));
        const inexact = i32.or(i32.ne(infinite, c32(0)), i64.ne(fraction, N0));
        raiseFlags(f, i32.select(inexact, c32(FLAG.overflow | FLAG.inexact), c32(FLAG.overflow)));
        // to infinity unless rounding goes toward zero for this sign
        const inward = i32.or(i32.eq(mode, c32(3)), i32.eq(mode, i32.add(sign, c32(1))));
        f.store32(ZERO, i32.eqz(inward), SOFT.up);
        f.return(i64.or(signBits, i64.select(inward, c64(fmt.infinity - 1n), c64(fmt.infinity))));
      });
      f.if(i64.ne(fraction, N0), () => raiseFlags(f, FLAG.inexact));
      const biased = i64.extendS(i32.add(exponent, c32(fmt.bias - 1)));
      f.return(i64.or(signBits, i64.add(i64.shl(biased, c64(precision - 1)), result)));
    });
    const masked = f.let(i32.and(cell32(SOFT.control), c32(CONTROL.underflowMask)));
    f.if(i32.and(i32.ne(masked, c32(0)), i32.shrU(i32.and(cell32(SOFT.control), c32(CONTROL.ftz)), c32(15))), () => {
      raiseFlags(f, FLAG.underflow | FLAG.inexact);
      f.return(signBits);
    });
    f.if(i32.eqz(masked), () => {
      raiseFlags(f, i32.select(i64.ne(fraction, N0), c32(FLAG.underflow | FLAG.inexact), c32(FLAG.underflow)));
      f.return(signBits);
    });
    shiftRightSticky(f, high, low, i32.sub(c32(fmt.least), exponent));
    const tiny = rounded();
    const inexact = f.let(i64.ne(tiny.fraction, N0));
    f.if(inexact, () => raiseFlags(f, FLAG.underflow | FLAG.inexact));
    f.result(i64.or(signBits, tiny.result));
  },
});

export function setResult(f: FunctionBuilder, sign: I32, exponent: I32, high: I64, low: I64): void {
  f.store32(ZERO, sign, SOFT.sign);
  f.store32(ZERO, exponent, SOFT.exponent);
  f.store64(ZERO, high, SOFT.high);
  f.store64(ZERO, low, SOFT.low);
}
/** The value a core operation's parameters start at. */
const param = (f: FunctionBuilder, at: number): Unpacked => ({
  sign: f.param('i32', at),
  exponent: f.param('i32', at + 1),
  mantissa: f.param('i64', at + 2),
});
export const args = (...values: readonly Unpacked[]): (I32 | I64)[] =>
  values.flatMap((v) => [v.sign, v.exponent, v.mantissa]);

/** a (128 bits) + b: (sign, exponent, high, low, sign, exponent, mantissa). */
const softAdd: HelperDefinition = {
  name: 'softAdd',
  params: ['i32', 'i32', 'i64', 'i64', 'i32', 'i32', 'i64'],
  results: [],
  build(f) {
    const [signA, expA, highA, lowA] = [f.param('i32', 0), f.param('i32', 1), f.param('i64', 2), f.param('i64', 3)];
    const [signB, expB, mantB] = [f.param('i32', 4), f.param('i32', 5), f.param('i64', 6)];
    const down = (): I32 => i32.eq(roundingMode(), c32(1));
    f.if(i64.eqz(mantB), () => {
      const zeroSign = i32.select(i32.eq(signA, signB), signA, down());
      f.if(
        i64.eqz(highA),
        () => setResult(f, zeroSign, c32(0), N0, N0),
        () => setResult(f, signA, expA, highA, lowA),
      );
      f.return();
    });
    f.if(i64.eqz(highA), () => {
      setResult(f, signB, expB, mantB, N0);
      f.return();
    });
    // x is the one with the larger exponent
    const [xh, xl, yh, yl] = [f.newLocal('i64'), f.newLocal('i64'), f.newLocal('i64'), f.newLocal('i64')];
    const [sign, exponent] = [f.newLocal('i32'), f.newLocal('i32')];
    const swap = f.let(i32.or(i32.gtS(expB, expA), i32.and(i32.eq(expB, expA), i64.gtU(mantB, highA))));
    f.set(xh, i64.select(swap, mantB, highA));
    f.set(xl, i64.select(swap, N0, lowA));
    f.set(yh, i64.select(swap, highA, mantB));
    f.set(yl, i64.select(swap, lowA, N0));
    f.set(sign, i32.select(swap, signB, signA));
    f.set(exponent, i32.select(swap, expB, expA));
    const distance = i32.select(swap, i32.sub(expB, expA), i32.sub(expA, expB));
    shiftRightSticky(f, yh, yl, distance);
    const x = { high: f.get('i64', xh), low: f.get('i64', xl) };
    const y = { high: f.get('i64', yh), low: f.get('i64', yl) };
    const exp = f.get('i32', exponent);
    f.if(
      i32.eq(signA, signB),
      () => {
        const low = f.let(i64.add(x.low, y.low));
        const carryLow = f.let(i64.extendU(i64.ltU(low, x.low)));
        const partial = f.let(i64.add(x.high, y.high));
        const high = f.let(i64.add(partial, carryLow));
        const carry = i32.or(i64.ltU(partial, x.high), i64.ltU(high, carryLow));
        f.if(
          carry,
          () => {
            const shifted = i64.or(i64.or(i64.shrU(low, N1), i64.shl(high, c64(63))), i64.and(low, N1));
            setResult(f, f.get('i32', sign), i32.add(exp, c32(1)), i64.or(i64.shrU(high, N1), TOP), shifted);
          },
          () => setResult(f, f.get('i32', sign), exp, high, low),
        );
      },
      () => {
        const low = f.let(i64.sub(x.low, y.low));
        const borrow = i64.extendU(i64.ltU(x.low, y.low));
        const high = f.let(i64.sub(i64.sub(x.high, y.high), borrow));
        f.if(i64.eqz(i64.or(high, low)), () => {
          setResult(f, down(), c32(0), N0, N0);
          f.return();
        });
        f.if(
          i64.ltS(i64.sub(i64.sub(x.high, y.high), i64.extendU(i64.ltU(x.low, y.low))), N0),
          () => setResult(f, f.get('i32', sign), exp, high, low),
          () => normalizeInto(f, f.get('i32', sign), exp, high, low),
        );
      },
    );
  },
};
/** Stores a nonzero 128-bit value whose top bits may be clear. */
function normalizeInto(f: FunctionBuilder, sign: I32, exponent: I32, high: I64, low: I64): void {
  const h = f.newLocal('i64');
  const l = f.newLocal('i64');
  const e = f.newLocal('i32');
  f.set(h, high);
  f.set(l, low);
  f.set(e, exponent);
  f.if(i64.eqz(f.get('i64', h)), () => {
    f.set(h, f.get('i64', l));
    f.set(l, N0);
    f.set(e, i32.sub(f.get('i32', e), c32(64)));
  });
  const shift = f.let(i64.clz(f.get('i64', h)));
  f.if(i64.ne(shift, N0), () => {
    const spill = i64.shrU(f.get('i64', l), i64.sub(c64(64), shift));
    f.set(h, i64.or(i64.shl(f.get('i64', h), shift), spill));
    f.set(l, i64.shl(f.get('i64', l), shift));
    f.set(e, i32.sub(f.get('i32', e), i32.wrap(shift)));
  });
  setResult(f, sign, f.get('i32', e), f.get('i64', h), f.get('i64', l));
}

/** Product, exact in 128 bits. */
const softMultiply: HelperDefinition = {
  name: 'softMultiply',
  params: ['i32', 'i32', 'i64', 'i32', 'i32', 'i64'],
  results: [],
  build(f, h) {
    const [a, b] = [param(f, 0), param(f, 3)];
    const sign = f.let(i32.xor(a.sign, b.sign));
    f.if(i32.or(i64.eqz(a.mantissa), i64.eqz(b.mantissa)), () => {
      setResult(f, sign, c32(0), N0, N0);
      f.return();
    });
    const high = f.let(f.call('i64', h('multiplyHigh'), [a.mantissa, b.mantissa]));
    const low = f.let(i64.mul(a.mantissa, b.mantissa));
    const exponent = f.let(i32.add(a.exponent, b.exponent));
    f.if(
      i64.ltS(high, N0),
      () => setResult(f, sign, i32.add(exponent, c32(1)), high, low),
      () => setResult(f, sign, exponent, i64.or(i64.shl(high, N1), i64.shrU(low, c64(63))), i64.shl(low, N1)),
    );
  },
};

/** Quotient: 64 bits, and below them the half bit and a sticky bit. The divisor is not zero. */
const softDivide: HelperDefinition = {
  name: 'softDivide',
  params: ['i32', 'i32', 'i64', 'i32', 'i32', 'i64'],
  results: [],
  build(f, h: (name: string) => Callable) {
    const [a, b] = [param(f, 0), param(f, 3)];
    const sign = f.let(i32.xor(a.sign, b.sign));
    f.if(i64.eqz(a.mantissa), () => {
      setResult(f, sign, c32(0), N0, N0);
      f.return();
    });
    const below = f.let(i64.ltU(a.mantissa, b.mantissa));
    const upper = f.let(i64.select(below, a.mantissa, i64.shrU(a.mantissa, N1)));
    const lower = f.let(i64.select(below, N0, i64.shl(a.mantissa, c64(63))));
    const quotient = f.let(f.call('i64', h('divide128'), [upper, lower, b.mantissa]));
    const rest = f.let(i64.sub(lower, i64.mul(quotient, b.mantissa)));
    const twice = f.let(i64.sub(b.mantissa, rest));
    const half = i64.select(i64.geU(rest, twice), TOP, N0);
    const beyond = i64.extendU(i32.and(i64.ne(rest, N0), i64.ne(rest, twice)));
    const exponent = i32.sub(i32.sub(a.exponent, b.exponent), below);
    setResult(f, sign, exponent, quotient, i64.or(half, beyond));
  },
};

/** Square root of a positive value, bit by bit: 64 bits, half bit and sticky. */
const softSquareRoot: HelperDefinition = {
  name: 'softSquareRoot',
  params: ['i32', 'i64'],
  results: [],
  build(f) {
    const exponent = f.param('i32', 0);
    const mantissa = f.param('i64', 1);
    const odd = f.let(i32.and(exponent, c32(1)));
    // N = mantissa * 2^63 or 2^64 is fed in two bits at a time
    const [inHigh, inLow] = [f.newLocal('i64'), f.newLocal('i64')];
    f.set(inHigh, i64.select(odd, mantissa, i64.shrU(mantissa, N1)));
    f.set(inLow, i64.select(odd, N0, i64.shl(mantissa, c64(63))));
    const [root, rest, over, count] = [f.newLocal('i64'), f.newLocal('i64'), f.newLocal('i64'), f.newLocal('i32')];
    f.set(root, N0);
    f.set(rest, N0);
    f.set(over, N0);
    f.set(count, c32(64));
    const get = (local: number): I64 => f.get('i64', local);
    f.loop((again) => {
      // (over:rest) = (over:rest) * 4 + next two bits; trial = root * 4 + 1 in 66 bits
      f.set(over, i64.or(i64.shl(get(over), c64(2)), i64.shrU(get(rest), c64(62))));
      f.set(rest, i64.or(i64.shl(get(rest), c64(2)), i64.shrU(get(inHigh), c64(62))));
      f.set(inHigh, i64.or(i64.shl(get(inHigh), c64(2)), i64.shrU(get(inLow), c64(62))));
      f.set(inLow, i64.shl(get(inLow), c64(2)));
      const trial = f.let(i64.or(i64.shl(get(root), c64(2)), N1));
      const trialOver = f.let(i64.shrU(get(root), c64(62)));
      const fits = i32.or(
        i64.gtU(get(over), trialOver),
        i32.and(i64.eq(get(over), trialOver), i64.geU(get(rest), trial)),
      );
      f.set(root, i64.shl(get(root), N1));
      f.if(fits, () => {
        f.set(over, i64.sub(i64.sub(get(over), trialOver), i64.extendU(i64.ltU(get(rest), trial))));
        f.set(rest, i64.sub(get(rest), trial));
        f.set(root, i64.or(get(root), N1));
      });
      f.set(count, i32.sub(f.get('i32', count), c32(1)));
      f.brIf(again, f.get('i32', count));
    });
    // the next bit of the root is set when the remainder exceeds the root; it is never exactly one half
    const above = i32.or(i64.ne(get(over), N0), i64.gtU(get(rest), get(root)));
    const low = i64.or(i64.select(above, TOP, N0), sticky(i64.or(get(rest), get(over))));
    setResult(f, c32(0), i32.shrS(i32.sub(exponent, odd), c32(1)), get(root), low);
  },
};

export const FLOAT_CORE_HELPERS: readonly HelperDefinition[] = [
  pack('pack16', HALF),
  pack('pack32', SINGLE),
  pack('pack64', DOUBLE),
  softAdd,
  softMultiply,
  softDivide,
  softSquareRoot,
];
