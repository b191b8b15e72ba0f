/** Arithmetic too long to emit in place: 128-bit products and quotients, CRC32C, bit scattering. */
import type { FunctionBuilder } from '../../wasm/builder.ts';
import { type I64, i32, i64 } from '../../wasm/expr.ts';
import type { HelperDefinition } from './definition.ts';

const HALF = i64.const(32);
const LOW_HALF = i64.halves(-1, 0);
const ONE = i64.const(1);
const low = (value: I64): I64 => i64.and(value, LOW_HALF);
const high = (value: I64): I64 => i64.shrU(value, HALF);

/** Upper 64 bits of the unsigned product of a and b, from four 32 x 32 products. */
function highOfProduct(f: FunctionBuilder, a: I64, b: I64): I64 {
  const lowLow = i64.mul(low(a), low(b));
  const cross = f.let(i64.add(i64.mul(high(a), low(b)), high(lowLow)));
  const other = f.let(i64.add(i64.mul(low(a), high(b)), low(cross)));
  return i64.add(i64.add(i64.mul(high(a), high(b)), high(cross)), high(other));
}

const multiplyHigh: HelperDefinition = {
  name: 'multiplyHigh',
  params: ['i64', 'i64'],
  results: ['i64'],
  build: (f) => f.result(highOfProduct(f, f.param('i64', 0), f.param('i64', 1))),
};

/** A negative factor counts 2^64 too much in the unsigned product: the other factor is taken off the upper half. */
function highOfSignedProduct(f: FunctionBuilder, a: I64, b: I64): I64 {
  const sign = i64.const(63);
  const excess = i64.add(i64.and(i64.shrS(a, sign), b), i64.and(i64.shrS(b, sign), a));
  return i64.sub(highOfProduct(f, a, b), excess);
}

const multiplyHighSigned: HelperDefinition = {
  name: 'multiplyHighSigned',
  params: ['i64', 'i64'],
  results: ['i64'],
  build: (f) => f.result(highOfSignedProduct(f, f.param('i64', 0), f.param('i64', 1))),
};

/** 1 when the signed product of a and b does not fit 64 bits. */
const multiplyOverflows: HelperDefinition = {
  name: 'multiplyOverflows',
  params: ['i64', 'i64'],
  results: ['i32'],
  build(f) {
    const a = f.param('i64', 0);
    const b = f.param('i64', 1);
    const wide = (value: I64): I64 => i64.xor(value, i64.extend32S(value));
    f.if(i64.eqz(i64.or(wide(a), wide(b))), () => f.return(i32.const(0)), undefined, 'likely');
    const sign = i64.shrS(i64.mul(a, b), i64.const(63));
    f.result(i64.ne(highOfSignedProduct(f, a, b), sign));
  },
};

/**
 * Quotient of (upper:lower) by divisor, unsigned, where upper < divisor: schoolbook division with two 32-bit digits
 * (Knuth, TAOCP vol. 2, 4.3.1, algorithm D).
 */
const divide128: HelperDefinition = {
  name: 'divide128',
  params: ['i64', 'i64', 'i64'],
  results: ['i64'],
  build(f) {
    const shift = f.let(i64.clz(f.param('i64', 2)));
    // normalized: the divisor's top bit is set, so that each estimated digit is at most 2 too large
    const divisor = f.let(i64.shl(f.param('i64', 2), shift));
    const lower = f.param('i64', 1);
    const spill = i64.shrU(i64.shrU(lower, ONE), i64.xor(shift, i64.const(63)));
    const upper = f.let(i64.or(i64.shl(f.param('i64', 0), shift), spill));
    const rest = f.let(i64.shl(lower, shift));
    const first = quotientDigit(f, upper, high(rest), divisor);
    const partial = f.let(i64.sub(i64.or(i64.shl(upper, HALF), high(rest)), i64.mul(first, divisor)));
    const second = quotientDigit(f, partial, low(rest), divisor);
    f.result(i64.or(i64.shl(first, HALF), second));
  },
};

/** floor((upper * 2^32 + digit) / divisor) for upper < divisor. */
function quotientDigit(f: FunctionBuilder, upper: I64, digit: I64, divisor: I64): I64 {
  const top = f.let(high(divisor));
  const next = f.let(digit);
  const estimate = f.newLocal('i64');
  const remainder = f.newLocal('i64');
  f.set(estimate, i64.divU(upper, top));
  f.set(remainder, i64.remU(upper, top));
  const q = f.get('i64', estimate);
  const r = f.get('i64', remainder);
  f.block((done) =>
    f.loop((again) => {
      const product = i64.mul(q, low(divisor));
      const tooLarge = i32.or(i64.ne(high(q), i64.const(0)), i64.gtU(product, i64.or(i64.shl(r, HALF), next)));
      f.brIf(done, i32.eqz(tooLarge));
      f.set(estimate, i64.sub(q, ONE));
      f.set(remainder, i64.add(r, top));
      f.brIf(again, i64.eqz(high(r)));
    }),
  );
  return q;
}

/** CRC32 instruction: reflected polynomial 11EDC6F41h over the low `width` bytes of data. */
const crc32c: HelperDefinition = {
  name: 'crc32c',
  params: ['i32', 'i64', 'i32'],
  results: ['i32'],
  build(f) {
    const crc = f.newLocal('i64');
    const left = f.newLocal('i32');
    // bits shift out at the bottom of a 64-bit remainder, so that all input bytes can be mixed in at once
    f.set(crc, i64.xor(i64.extendU(f.param('i32', 0)), f.param('i64', 1)));
    f.set(left, i32.shl(f.param('i32', 2), i32.const(3)));
    const value = f.get('i64', crc);
    f.loop((again) => {
      const taken = i64.sub(i64.const(0), i64.and(value, ONE));
      f.set(crc, i64.xor(i64.shrU(value, ONE), i64.and(taken, i64.halves(0x82f63b78 | 0, 0))));
      f.set(left, i32.sub(f.get('i32', left), i32.const(1)));
      f.brIf(again, f.get('i32', left));
    });
    f.result(i32.wrap(value));
  },
};

/** Runs `body` for each set bit of parameter 1, lowest first; `bit` is that bit alone, `place` counts up as 1, 2, 4... */
function eachMaskBit(f: FunctionBuilder, body: (bit: I64, place: I64) => void): void {
  const mask = f.newLocal('i64');
  const place = f.newLocal('i64');
  f.set(mask, f.param('i64', 1));
  f.set(place, ONE);
  const left = f.get('i64', mask);
  f.block((done) =>
    f.loop((again) => {
      f.brIf(done, i64.eqz(left));
      body(f.let(i64.and(left, i64.sub(i64.const(0), left))), f.get('i64', place));
      f.set(mask, i64.and(left, i64.sub(left, ONE)));
      f.set(place, i64.shl(f.get('i64', place), ONE));
      f.br(again);
    }),
  );
}

/** PDEP and PEXT: bits of parameter 0 to or from the places that mask (parameter 1) names. */
const scatter = (name: string, deposit: boolean): HelperDefinition => ({
  name,
  params: ['i64', 'i64'],
  results: ['i64'],
  build(f) {
    const source = f.param('i64', 0);
    const result = f.newLocal('i64');
    f.set(result, i64.const(0));
    eachMaskBit(f, (bit, place) => {
      const [from, to] = deposit ? [place, bit] : [bit, place];
      const taken = i64.select(i64.eqz(i64.and(source, from)), i64.const(0), to);
      f.set(result, i64.or(f.get('i64', result), taken));
    });
    f.result(f.get('i64', result));
  },
});

export const HELPERS: readonly HelperDefinition[] = [
  multiplyHigh,
  multiplyHighSigned,
  multiplyOverflows,
  divide128,
  crc32c,
  scatter('depositBits', true),
  scatter('extractBits', false),
];
