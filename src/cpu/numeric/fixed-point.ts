/**
 * Elementary functions on fixed-point numbers: integers that count units of 2^-FRACTION. Absolute errors stay below
 * 2^-(FRACTION - 8), by series whose terms are summed until they vanish.
 */
export const FRACTION = 256;
const SHIFT = BigInt(FRACTION);
export const ONE = 1n << SHIFT;

const multiply = (a: bigint, b: bigint): bigint => (a * b) >> SHIFT;
const divide = (a: bigint, b: bigint): bigint => (a << SHIFT) / b;

/** t - t^3/3 + t^5/5 - ... (atan), or with `sign` 1 the same without alternation (atanh); |t| well below 1. */
function oddSeries(t: bigint, sign: 1n | -1n): bigint {
  const square = multiply(t, t) * sign;
  let power = t;
  let sum = t;
  for (let n = 3n; power !== 0n && power !== -1n; n += 2n) {
    power = multiply(power, square);
    sum += power / n;
  }
  return sum;
}
const arctangentSeries = (t: bigint): bigint => oddSeries(t, -1n);
/** pi by Machin's formula, ln 2 as 2 atanh(1/3). */
export const PI = 4n * (4n * arctangentSeries(ONE / 5n) - arctangentSeries(ONE / 239n));
export const LN2 = 2n * oddSeries(ONE / 3n, 1n);
export const LOG2_E = divide(ONE, LN2);
const SQRT2 = 0x16a09e667f3bcc908n << (SHIFT - 64n);

/** e^t - 1 for |t| <= 1. */
export function exponentialMinusOne(t: bigint): bigint {
  let term = t;
  let sum = t;
  for (let n = 2n; term !== 0n && term !== -1n; n++) {
    term = multiply(term, t) / n;
    sum += term;
  }
  return sum;
}

/** sin t and cos t for |t| <= 1. */
export function sineAndCosine(t: bigint): { sine: bigint; cosine: bigint } {
  const sums = [0n, 0n, 0n, 0n];
  let term = ONE;
  for (let n = 0; term !== 0n && term !== -1n; n++) {
    sums[n & 3] = sums[n & 3]! + term;
    term = multiply(term, t) / BigInt(n + 1);
  }
  return { sine: sums[1]! - sums[3]!, cosine: sums[0]! - sums[2]! };
}

/** Bits of a positive integer. */
export function bitLength(n: bigint): number {
  const hex = n.toString(16);
  return 4 * hex.length - Math.clz32(Number.parseInt(hex[0]!, 16)) + 28;
}

/** log2 t for t > 0; exact for powers of two. */
export function logarithm2(t: bigint): bigint {
  let exponent = bitLength(t) - 1 - FRACTION;
  let m = exponent < 0 ? t << BigInt(-exponent) : t >> BigInt(exponent);
  // between sqrt(1/2) and sqrt(2), so that nothing cancels near 1
  if (m > SQRT2) {
    exponent++;
    m = exponent <= 0 ? t << BigInt(-exponent) : t >> BigInt(exponent);
  }
  const ln = 2n * oddSeries(divide(m - ONE, m + ONE), 1n);
  return (BigInt(exponent) << SHIFT) + multiply(ln, LOG2_E);
}

/** atan of the multiples of 1/4 up to 1. */
const QUARTERS = [0n];
for (let k = 1n; k <= 4n; k++) {
  // atan(a) - atan(b) = atan((a - b) / (1 + ab))
  const step = (4n * ONE) / (16n + k * (k - 1n));
  QUARTERS.push(QUARTERS.at(-1)! + arctangentSeries(step));
}
/** atan t for 0 <= t <= 1. */
export function arctangent(t: bigint): bigint {
  const nearest = (4n * t + ONE / 2n) >> SHIFT;
  const base = (nearest * ONE) / 4n;
  return QUARTERS[Number(nearest)]! + arctangentSeries(divide(t - base, ONE + multiply(t, base)));
}
