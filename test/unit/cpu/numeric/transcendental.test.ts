import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  angle,
  cosine,
  type Extended,
  exponential,
  logarithm,
  logarithmPlusOne,
  sine,
  tangent,
  type Wide,
} from '../../../../src/cpu/numeric/transcendental.ts';

/** Sign, exponent field and mantissa of an extended real, as FSTP m80 stores it. */
const real = (top: number, mantissa: bigint): Extended => ({
  sign: top >> 15,
  exponent: (top & 0x7fff) - 16383,
  mantissa,
});
/** Rounded to nearest: what the register then holds. */
function rounded({ sign, exponent, mantissa }: Wide): string {
  const half = 1n << 63n;
  const low = mantissa & ((1n << 64n) - 1n);
  let high = mantissa >> 64n;
  if (low > half || (low === half && high & 1n)) high++;
  const carry = high >> 64n !== 0n;
  const top = (exponent + 16383 + (carry ? 1 : 0)) | (sign << 15);
  return `${top.toString(16)}:${(carry ? 1n << 63n : high).toString(16)}`;
}
const ONE = real(0x3fff, 1n << 63n);
const PI_64 = real(0x4000, 0xc90fdaa22168c235n);
const fromNumber = (x: number): Extended => {
  const exponent = Math.floor(Math.log2(Math.abs(x)));
  const scaled = BigInt(Math.round(Math.abs(x) * 2 ** (52 - exponent))) << 11n;
  return { sign: x < 0 ? 1 : 0, exponent, mantissa: scaled };
};
const toNumber = (w: Wide): number => (w.sign ? -1 : 1) * (Number(w.mantissa) / 2 ** 127) * 2 ** w.exponent;
const double = (min: number, max: number): fc.Arbitrary<number> =>
  fc.double({ min, max, noNaN: true }).filter((x) => Math.abs(x) > 1e-200);
/** Expected values near the denormals of the host's doubles have lost digits themselves. */
const close = (w: Wide, expected: number): void => {
  if (Math.abs(expected) > 1e-300) expect(Math.abs(toNumber(w) / expected - 1)).toBeLessThan(1e-12);
};

describe('transcendental functions of the x87', () => {
  // results of the reference CPU (AMD EPYC, family 25 model 17), where it is known to be right to the last bit
  it.each([
    ['sin of the 64-bit pi, by the 66-bit pi', sine(PI_64), 'bfbf:8000000000000000'],
    ['cos of its half', cosine(real(0x3fff, 0xc90fdaa22168c235n)), 'bfbe:8000000000000000'],
    ['tan of its half', tangent(real(0x3fff, 0xc90fdaa22168c235n)), 'c040:8000000000000000'],
    ['sin just below 2^63', sine(real(0x403d, (1n << 64n) - 1n)), '3ffe:e0ab9300da6d2684'],
    ['tan 3 * 2^61', tangent(real(0x403d, 0xc000000000000000n)), 'bffd:d40b486d574b6507'],
    ['log2 of 1.5', logarithmPlusOne(real(0x3ffe, 1n << 63n), ONE), '3ffe:95c01a39fbd687a0'],
    ['log2(1 + 2^-255)', logarithmPlusOne(real(0x3f00, 1n << 63n), ONE), '3f00:b8aa3b295c17f0bc'],
    ['atan 1', angle(ONE, ONE), '3ffe:c90fdaa22168c235'],
    ['atan2(1, -1)', angle(ONE, { ...ONE, sign: 1 }), '4000:96cbe3f9990e91a8'],
    ['2^-1 - 1', exponential({ ...ONE, sign: 1 }), 'bffe:8000000000000000'],
    ['3 * log2(8)', logarithm(real(0x4002, 1n << 63n), real(0x4000, 3n << 62n)), '4002:9000000000000000'],
  ])('%s', (_name, result, expected) => {
    expect(rounded(result)).toBe(expected);
  });
  it('agrees with the host’s library', () => {
    fc.assert(
      fc.property(double(-1, 1), double(0.001, 1000), double(-1e9, 1e9), (small, positive, any) => {
        close(exponential(fromNumber(small)), Math.expm1(small * Math.LN2));
        close(logarithm(fromNumber(positive), fromNumber(any)), Math.log2(positive) * any);
        if (small > -0.29)
          close(logarithmPlusOne(fromNumber(small), fromNumber(any)), Math.log1p(small) * Math.LOG2E * any);
        close(angle(fromNumber(any), fromNumber(small)), Math.atan2(any, small));
        close(angle(fromNumber(small), fromNumber(any)), Math.atan2(small, any));
      }),
    );
  });
  it('keeps sin² + cos² = 1 and tan = sin / cos over the whole range', () => {
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.integer({ min: -90, max: 62 }),
        fc.bigInt(1n << 63n, (1n << 64n) - 1n),
        (s, e, m) => {
          const x = { sign: s ? 1 : 0, exponent: e, mantissa: m };
          const [a, b, t] = [toNumber(sine(x)), toNumber(cosine(x)), toNumber(tangent(x))];
          expect(Math.abs(a * a + b * b - 1)).toBeLessThan(1e-14);
          expect(Math.abs(t / (a / b) - 1)).toBeLessThan(1e-14);
        },
      ),
    );
  });
});
