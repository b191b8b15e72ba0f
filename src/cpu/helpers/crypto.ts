/** Functions behind AES, PCLMULQDQ and the SHA extensions (FIPS 197, FIPS 180-4, SDM vol. 2). */
import type { FunctionBuilder } from '../../wasm/builder.ts';
import { type I32, i32, type V128 } from '../../wasm/expr.ts';
import { i8x16, i32x4, i64x2, v128 } from '../../wasm/simd.ts';
import type { HelperDefinition } from './definition.ts';

const c32 = i32.const;
const constant = (values: ArrayLike<number>): V128 => v128.const(Uint8Array.from(values));
const lanes16 = (value: (i: number) => number): number[] => Array.from({ length: 16 }, (_, i) => value(i));
const rearranged = (a: V128, lanes: readonly number[]): V128 => v128.shuffle(a, a, lanes);
const xorAll = (...terms: V128[]): V128 => terms.reduce((x, y) => v128.xor(x, y));

// ---- AES: column i of the state is in bytes 4i..4i+3
/** Product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1 (FIPS 197, 4.2). */
function product(a: number, b: number): number {
  let result = 0;
  let power = a;
  for (let bits = b; bits !== 0; bits >>= 1) {
    if (bits & 1) result ^= power;
    power = power & 0x80 ? (power << 1) ^ 0x11b : power << 1;
  }
  return result;
}
const rotatedByte = (a: number, count: number): number => ((a << count) | (a >> (8 - count))) & 0xff;
/** The S-box: inverse, then an affine map (FIPS 197, 5.1.1). */
function substitution(): Uint8Array {
  const box = new Uint8Array(256);
  for (let a = 0; a < 256; a++) {
    let inverse = 0;
    for (let b = 1; b < 256 && inverse === 0; b++) if (product(a, b) === 1) inverse = b;
    box[a] = [1, 2, 3, 4].reduce((sum, count) => sum ^ rotatedByte(inverse, count), inverse ^ 0x63);
  }
  return box;
}
const S_BOX = substitution();
const INVERSE_S_BOX = Uint8Array.from({ length: 256 }, (_, a) => S_BOX.indexOf(a));
const SHIFT_ROWS = lanes16((i) => (i + 4 * (i & 3)) & 15);
const INVERSE_SHIFT_ROWS = lanes16((i) => (i - 4 * (i & 3)) & 15);
/** Every byte from `count` rows further down its column. */
const fromRow = (count: number): number[] => lanes16((i) => (i & ~3) | ((i + count) & 3));

/** Each byte through a table: one swizzle for 16 entries, which yields 0 for bytes outside of them. */
function substituted(f: FunctionBuilder, a: V128, box: Uint8Array): V128 {
  const index = f.let(a);
  const pieces = Array.from({ length: 16 }, (_, k) =>
    i8x16.swizzle(
      constant(box.subarray(16 * k, 16 * k + 16)),
      k === 0 ? index : i8x16.sub(index, constant(lanes16(() => 16 * k))),
    ),
  );
  return pieces.reduce((x, y) => v128.or(x, y));
}
/** Every byte times x. */
const doubled = (a: V128): V128 =>
  v128.xor(i8x16.add(a, a), v128.and(i8x16.shrS(a, c32(7)), constant(lanes16(() => 0x1b))));
function mixed(f: FunctionBuilder, state: V128): V128 {
  const a = f.let(state);
  const next = f.let(rearranged(a, fromRow(1)));
  return xorAll(doubled(f.let(v128.xor(a, next))), next, rearranged(a, fromRow(2)), rearranged(a, fromRow(3)));
}
/** The inverse matrix is the matrix times the circulant of 5, 0, 4, 0. */
function unmixed(f: FunctionBuilder, state: V128): V128 {
  const a = f.let(state);
  const opposite = f.let(v128.xor(a, rearranged(a, fromRow(2))));
  return mixed(f, v128.xor(a, doubled(f.let(doubled(opposite)))));
}

const vectors = (
  name: string,
  count: number,
  body: (f: FunctionBuilder, ...operands: V128[]) => V128,
): HelperDefinition => ({
  name,
  params: Array.from({ length: count }, () => 'v128' as const),
  results: ['v128'],
  build(f) {
    f.result(body(f, ...Array.from({ length: count }, (_, i) => f.param('v128', i))));
  },
});
/** (state, round key) -> state. */
const round = (name: string, body: (f: FunctionBuilder, state: V128) => V128): HelperDefinition =>
  vectors(name, 2, (f, state, key) => v128.xor(body(f, state!), key!));
const AES: readonly HelperDefinition[] = [
  round('aesEncrypt', (f, a) => mixed(f, substituted(f, rearranged(a, SHIFT_ROWS), S_BOX))),
  round('aesEncryptLast', (f, a) => substituted(f, rearranged(a, SHIFT_ROWS), S_BOX)),
  round('aesDecrypt', (f, a) => unmixed(f, substituted(f, rearranged(a, INVERSE_SHIFT_ROWS), INVERSE_S_BOX))),
  round('aesDecryptLast', (f, a) => substituted(f, rearranged(a, INVERSE_SHIFT_ROWS), INVERSE_S_BOX)),
  vectors('aesUnmix', 1, (f, a) => unmixed(f, a!)),
  vectors('aesSubstitute', 1, (f, a) => substituted(f, a!, S_BOX)),
];

// ---- PCLMULQDQ
const splat32 = (bits: number): V128 => v128.const(new Uint8Array(Int32Array.of(bits, bits, bits, bits).buffer));
const splat64 = (bits: bigint): V128 => v128.const(new Uint8Array(BigUint64Array.of(bits, bits).buffer));
const STRIDES = [0, 1, 2, 3] as const;
/** Doublewords: the factors' halves so that products of low lanes are low and high ones, of high lanes the mixed ones. */
const LOW_HIGH_LOW_HIGH = [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7];
const LOW_HIGH_HIGH_LOW = [0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7, 0, 1, 2, 3];
/**
 * Carry-less product of the low halves of a and b. With only every fourth bit of 32 set, sums of an ordinary product do
 * not exceed 8, so no carry reaches the next such bit, and the parity is in place.
 */
const carrylessMultiply = vectors('carrylessMultiply', 2, (f, first, second) => {
  const factors = (a: V128, lanes: readonly number[]): V128[] => {
    const spread = f.let(rearranged(a, lanes));
    return STRIDES.map((k) => f.let(v128.and(spread, splat32((0x11111111 << k) | 0))));
  };
  const x = factors(first!, LOW_HIGH_LOW_HIGH);
  const y = factors(second!, LOW_HIGH_HIGH_LOW);
  const sum = (multiply: (a: V128, b: V128) => V128): V128 =>
    f.let(
      STRIDES.map((k) => {
        const terms = STRIDES.map((i) => multiply(x[i]!, y[(k - i) & 3]!));
        return v128.and(xorAll(...terms), splat64(0x1111111111111111n << BigInt(k)));
      }).reduce((p, q) => v128.or(p, q)),
    );
  const straight = sum(i64x2.extmulLowI32U);
  const crossed = sum(i64x2.extmulHighI32U);
  const middle = f.let(
    v128.xor(
      crossed,
      rearranged(
        crossed,
        lanes16((i) => (i + 8) & 15),
      ),
    ),
  );
  // 32 zero bits below the middle, 32 above
  const placed = v128.shuffle(middle, v128.zero(), [16, 16, 16, 16, 0, 1, 2, 3, 4, 5, 6, 7, 16, 16, 16, 16]);
  return v128.xor(straight, placed);
});

// ---- SHA: element 3 of a vector is the first word of a group (SHA-1), or the last (message words of SHA-256)
const word = (f: FunctionBuilder, a: V128, index: number): I32 => f.let(i32x4.extract(a, index));
const add = (...terms: I32[]): I32 => terms.reduce((x, y) => i32.add(x, y));
const xor = (...terms: I32[]): I32 => terms.reduce((x, y) => i32.xor(x, y));
/** A vector of words, element 3 first. */
const gathered = (...words: readonly [I32, I32, I32, I32]): V128 =>
  words.reduce((v, value, i) => i32x4.replace(v, 3 - i, value), v128.zero());
const choice = (x: I32, y: I32, z: I32): I32 => i32.xor(z, i32.and(x, i32.xor(y, z)));
const majority = (x: I32, y: I32, z: I32): I32 => i32.or(i32.and(x, y), i32.and(z, i32.or(x, y)));
const parity = (x: I32, y: I32, z: I32): I32 => xor(x, y, z);

/** (a b c d, words with e added to the first, group of 20 rounds 0..3) -> a b c d after four rounds. */
const sha1Rounds: HelperDefinition = {
  name: 'sha1Rounds',
  params: ['v128', 'v128', 'i32'],
  results: ['v128'],
  build(f) {
    const state = f.param('v128', 0);
    const message = f.param('v128', 1);
    const group = f.param('i32', 2);
    const rounds = (mix: typeof choice, k: number): V128 => {
      let [a, b, c, d] = [3, 2, 1, 0].map((i) => word(f, state, i)) as [I32, I32, I32, I32];
      let e: I32 = c32(0);
      for (let i = 0; i < 4; i++) {
        const next = f.let(add(mix(b, c, d), i32.rotl(a, c32(5)), i32x4.extract(message, 3 - i), e, c32(k | 0)));
        [a, b, c, d, e] = [next, a, f.let(i32.rotl(b, c32(30))), c, d];
      }
      return gathered(a, b, c, d);
    };
    f.if(i32.eqz(group), () => f.return(rounds(choice, 0x5a827999)));
    f.if(i32.eq(group, c32(2)), () => f.return(rounds(majority, 0x8f1bbcdc)));
    f.if(i32.eq(group, c32(1)), () => f.return(rounds(parity, 0x6ed9eba1)));
    f.result(rounds(parity, 0xca62c1d6));
  },
};
/** (c d g h, a b e f, words plus constants in elements 0 and 1) -> a b e f after two rounds. */
const sha256Rounds = vectors('sha256Rounds', 3, (f, cdgh, abef, message) => {
  let [c, d, g, h] = [3, 2, 1, 0].map((i) => word(f, cdgh!, i)) as [I32, I32, I32, I32];
  let [a, b, e, g0] = [3, 2, 1, 0].map((i) => word(f, abef!, i)) as [I32, I32, I32, I32];
  for (let i = 0; i < 2; i++) {
    const sum1 = xor(i32.rotr(e, c32(6)), i32.rotr(e, c32(11)), i32.rotr(e, c32(25)));
    const t1 = f.let(add(choice(e, g0, g), sum1, i32x4.extract(message!, i), h));
    const sum0 = xor(i32.rotr(a, c32(2)), i32.rotr(a, c32(13)), i32.rotr(a, c32(22)));
    const top = f.let(add(t1, majority(a, b, c), sum0));
    const middle = f.let(i32.add(t1, d));
    [a, b, c, d, e, g0, g, h] = [top, a, b, c, middle, e, g0, g];
  }
  return gathered(a, b, e, g0);
});
const sigma1 = (a: I32): I32 => xor(i32.rotr(a, c32(17)), i32.rotr(a, c32(19)), i32.shrU(a, c32(10)));
/** (sums so far, words 12..15) -> words 16..19. */
const sha256Message = vectors('sha256Message', 2, (f, sums, words) => {
  const next = (i: number, earlier: I32): I32 => f.let(i32.add(word(f, sums!, i), sigma1(earlier)));
  const w16 = next(0, word(f, words!, 2));
  const w17 = next(1, word(f, words!, 3));
  const w18 = next(2, w16);
  return gathered(next(3, w17), w18, w17, w16);
});
/** (words xored so far, words 12..15) -> words 16..19. */
const sha1Message = vectors('sha1Message', 2, (f, sums, words) => {
  const next = (i: number, earlier: I32): I32 => f.let(i32.rotl(i32.xor(word(f, sums!, i), earlier), c32(1)));
  const w16 = next(3, word(f, words!, 2));
  const w17 = next(2, word(f, words!, 1));
  const w18 = next(1, word(f, words!, 0));
  return gathered(w16, w17, w18, next(0, w16));
});

export const CRYPTO_HELPERS: readonly HelperDefinition[] = [
  ...AES,
  carrylessMultiply,
  sha1Rounds,
  sha1Message,
  sha256Rounds,
  sha256Message,
];
