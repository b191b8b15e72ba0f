/**
 * The transcendental functions of the x87 (SDM vol. 1, 8.3.6 to 8.3.8 and 8.3.10) for finite operands that are not zero:
 * results to 128 bits, which the caller rounds once.
 */
import {
  arctangent,
  bitLength,
  exponentialMinusOne,
  FRACTION,
  LN2,
  LOG2_E,
  logarithm2,
  ONE,
  PI,
  sineAndCosine,
} from './fixed-point.ts';

/** (-1)^sign * mantissa / 2^63 * 2^exponent, bit 63 of the mantissa set. */
export interface Extended {
  readonly sign: number;
  readonly exponent: number;
  readonly mantissa: bigint;
}
/** (-1)^sign * mantissa / 2^127 * 2^exponent: 128 bits, bit 127 set unless it is zero; an inexact value has bit 0 set. */
export type Wide = Extended;

/** Below 2^-TINY the first term of each series says all that fits in 128 bits, but for the side it errs to. */
const TINY = 100;
/** Range reduction uses a pi of 66 bits, as the CPUs do (SDM vol. 1, 8.3.8): half of it. */
const HALF_PI_66 = 0x3243f6a8885a308d3n << BigInt(FRACTION - 65);

/** `value` units of 2^unit. */
function wide(value: bigint, unit: number, exact = false): Wide {
  const magnitude = value < 0n ? -value : value;
  const length = bitLength(magnitude);
  const shift = BigInt(length - 128);
  const bits = shift > 0n ? magnitude >> shift : magnitude << -shift;
  return { sign: value < 0n ? 1 : 0, exponent: unit + length - 1, mantissa: exact ? bits : bits | 1n };
}
const negated = (x: Wide, sign: number): Wide => ({ ...x, sign: x.sign ^ sign });
const unchanged = (x: Extended): Wide => ({ ...x, mantissa: x.mantissa << 64n });
const signed = (x: Extended, magnitude: bigint): bigint => (x.sign ? -magnitude : magnitude);
/** In fixed point; exact from 2^-TINY up. */
const fixed = (x: Extended): bigint => signed(x, x.mantissa << BigInt(FRACTION - 63 + x.exponent));

/** F2XM1: 2^x - 1. Beyond [-1, 1], where the result is undefined, the reference CPU returns x. */
export function exponential(x: Extended): Wide {
  if (x.exponent > 0 || (x.exponent === 0 && x.mantissa !== 1n << 63n)) return unchanged(x);
  if (x.exponent === 0) return wide(x.sign ? -1n : 2n, -1, true);
  if (x.exponent < -TINY) return wide(signed(x, x.mantissa * LN2), x.exponent - 63 - FRACTION);
  return wide(exponentialMinusOne((fixed(x) * LN2) >> BigInt(FRACTION)), -FRACTION);
}

/** log * y, with log in fixed point; a log of 0 is positive. */
function timesLogarithm(log: bigint, y: Extended): Wide {
  if (log === 0n) return { sign: y.sign, exponent: 0, mantissa: 0n };
  return wide(signed(y, log * y.mantissa), y.exponent - 63 - FRACTION, (log & (ONE - 1n)) === 0n);
}
const ownLogarithm = (x: Extended): bigint =>
  logarithm2(x.mantissa << BigInt(FRACTION - 63)) + BigInt(x.exponent) * ONE;
/** log2 of a positive normalised value, without losing what is near 1. */
function logarithmOf(x: Extended): bigint {
  return x.exponent === -1 ? logarithm2(fixed(x)) : ownLogarithm(x);
}
/** FYL2X: y * log2(x), x > 0. */
export const logarithm = (x: Extended, y: Extended): Wide => timesLogarithm(logarithmOf(x), y);
/** FYL2XP1: y * log2(x + 1). Where that is undefined, x <= -1, the reference CPU returns x. */
export function logarithmPlusOne(x: Extended, y: Extended): Wide {
  if (x.sign && x.exponent >= 0) return unchanged(x);
  if (x.exponent < -TINY)
    return wide(signed(x, signed(y, x.mantissa * LOG2_E * y.mantissa)), x.exponent + y.exponent - 126 - FRACTION);
  return timesLogarithm(x.exponent > 2 * TINY ? logarithmOf(x) : logarithm2(ONE + fixed(x)), y);
}

/** x = quadrant * pi/2 + rest, |rest| <= pi/4, for |x| < 2^63. */
function reduced(x: Extended): { quadrant: number; rest: bigint } {
  const value = fixed({ ...x, sign: 0 });
  const turns = (2n * value + HALF_PI_66) / (2n * HALF_PI_66);
  return { quadrant: Number(turns & 3n), rest: value - turns * HALF_PI_66 };
}
const sineOf = (quadrant: number, rest: bigint): bigint => {
  const { sine, cosine } = sineAndCosine(rest);
  const magnitude = quadrant & 1 ? cosine : sine;
  return quadrant & 2 ? -magnitude : magnitude;
};
/** x, a little more or less in magnitude. */
const beside = (x: Extended, by: 1n | -1n): Wide => wide(signed(x, (x.mantissa << 128n) + by), x.exponent - 63 - 128);
export function sine(x: Extended): Wide {
  if (x.exponent < -TINY) return beside(x, -1n);
  const { quadrant, rest } = reduced(x);
  return negated(wide(sineOf(quadrant, rest), -FRACTION), x.sign);
}
export function cosine(x: Extended): Wide {
  if (x.exponent < -TINY) return wide(ONE - 1n, -FRACTION);
  const { quadrant, rest } = reduced(x);
  return wide(sineOf(quadrant + 1, rest), -FRACTION);
}
export function tangent(x: Extended): Wide {
  if (x.exponent < -TINY) return beside(x, 1n);
  const { quadrant, rest } = reduced(x);
  const { sine, cosine } = sineAndCosine(rest);
  const [over, under] = quadrant & 1 ? [-cosine, sine] : [sine, cosine];
  return negated(wide((over << BigInt(FRACTION)) / under, -FRACTION), x.sign);
}

/** FPATAN: the angle of the point (x, y), between -pi and pi. */
export function angle(y: Extended, x: Extended): Wide {
  const steep = y.exponent > x.exponent || (y.exponent === x.exponent && y.mantissa > x.mantissa);
  const [over, under] = steep ? [x, y] : [y, x];
  const distance = over.exponent - under.exponent;
  const quotient = (over.mantissa << 192n) / under.mantissa;
  if (distance < -TINY) {
    if (!steep && !x.sign) return negated(wide(quotient - 1n, distance - 192), y.sign);
    return negated(wide(steep ? PI / 2n : PI, -FRACTION), y.sign);
  }
  const shift = BigInt(FRACTION - 192 + distance);
  const atan = arctangent(shift < 0n ? quotient >> -shift : quotient << shift);
  if (steep) return negated(wide(PI / 2n + (x.sign ? atan : -atan), -FRACTION), y.sign);
  return negated(wide(x.sign ? PI - atan : atan, -FRACTION), y.sign);
}

export const TRANSCENDENTAL = { exponential, logarithm, logarithmPlusOne, sine, cosine, tangent, angle } as const;
/** The functions by number, as wasm asks for them. */
export const TRANSCENDENTALS: readonly ((a: Extended, b: Extended) => Wide)[] = Object.values(TRANSCENDENTAL);
export const transcendentalNumber = (name: keyof typeof TRANSCENDENTAL): number =>
  Object.keys(TRANSCENDENTAL).indexOf(name);
