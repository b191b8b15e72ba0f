import { createCipheriv, createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CRYPTO_HELPERS } from '../../../../src/cpu/helpers/crypto.ts';
import { compileVectorHelpers } from './vector-module.ts';

const compiled = compileVectorHelpers(CRYPTO_HELPERS);
const call = (name: string, vectors: readonly Uint8Array[], numbers?: readonly number[]): Uint8Array =>
  compiled(name, vectors, numbers) as Uint8Array;
const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const hex = (v: Uint8Array): string => Buffer.from(v).toString('hex');
/** A vector of four words, element 0 first. */
const words = (...w: number[]): Uint8Array => new Uint8Array(Uint32Array.from(w).buffer);
const elements = (v: Uint8Array): Uint32Array => new Uint32Array(v.buffer);
const block = fc.uint8Array({ minLength: 16, maxLength: 16 });
const rotl = (x: number, n: number): number => (x << n) | (x >>> (32 - n));

/** Round keys of AES-128 (FIPS 197, 5.2), by the S-box of the helper under test. */
function roundKeys(key: Uint8Array): Uint8Array[] {
  const keys = [key];
  let constant = 1;
  for (let round = 1; round <= 10; round++) {
    const last = keys.at(-1)!;
    const substituted = call('aesSubstitute', [last]);
    const next = new Uint8Array(16);
    for (let i = 0; i < 4; i++) next[i] = last[i]! ^ substituted[12 + ((i + 1) & 3)]! ^ (i === 0 ? constant : 0);
    for (let i = 4; i < 16; i++) next[i] = last[i]! ^ next[i - 4]!;
    keys.push(next);
    constant = constant & 0x80 ? (constant << 1) ^ 0x11b : constant << 1;
  }
  return keys;
}
const xor = (a: Uint8Array, b: Uint8Array): Uint8Array => a.map((x, i) => x ^ b[i]!);

describe('AES', () => {
  it('encrypts the example of FIPS 197, appendix B', () => {
    const keys = roundKeys(bytes('2b7e151628aed2a6abf7158809cf4f3c'));
    expect(hex(keys[10]!)).toBe('d014f9a8c9ee2589e13f0cc8b6630ca6');
    let state = xor(bytes('3243f6a8885a308d313198a2e0370734'), keys[0]!);
    for (let round = 1; round < 10; round++) state = call('aesEncrypt', [state, keys[round]!]);
    expect(hex(call('aesEncryptLast', [state, keys[10]!]))).toBe('3925841d02dc09fbdc118597196a0b32');
  });

  it("encrypts as the host's library does and decrypts by the equivalent inverse cipher", () => {
    fc.assert(
      fc.property(block, block, (key, plain) => {
        const keys = roundKeys(key);
        let state = xor(plain, keys[0]!);
        for (let round = 1; round < 10; round++) state = call('aesEncrypt', [state, keys[round]!]);
        const encrypted = call('aesEncryptLast', [state, keys[10]!]);
        expect(hex(encrypted)).toBe(createCipheriv('aes-128-ecb', key, null).update(plain).toString('hex'));
        state = xor(encrypted, keys[10]!);
        for (let round = 9; round > 0; round--) state = call('aesDecrypt', [state, call('aesUnmix', [keys[round]!])]);
        expect(hex(call('aesDecryptLast', [state, keys[0]!]))).toBe(hex(plain));
      }),
    );
  });
});

it('multiplies without carries', () => {
  const half = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
  fc.assert(
    fc.property(half, half, (a, b) => {
      let product = 0n;
      for (let i = 0n; i < 64n; i++) if ((b >> i) & 1n) product ^= a << i;
      const result = call(
        'carrylessMultiply',
        [a, b].map((x) => new Uint8Array(BigUint64Array.of(x, ~x).buffer)),
      );
      expect([...new BigUint64Array(result.buffer)]).toEqual([product & ((1n << 64n) - 1n), product >> 64n]);
    }),
    { numRuns: 1000 },
  );
});

/** The only block of a short message, as 16 big-endian words. */
function paddedBlock(message: string): number[] {
  const padded = Buffer.alloc(64);
  const length = padded.write(message, 'latin1');
  padded[length] = 0x80;
  padded.writeUInt32BE(8 * length, 60);
  return Array.from({ length: 16 }, (_, i) => padded.readUInt32BE(4 * i));
}
const digest = (state: readonly number[]): string => state.map((w) => (w >>> 0).toString(16).padStart(8, '0')).join('');

describe('SHA', () => {
  const short = fc.string({ unit: 'binary-ascii', maxLength: 55 });

  it('computes SHA-1', () => {
    fc.assert(
      fc.property(short, (message) => {
        const initial = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];
        const w = paddedBlock(message);
        for (let t = 16; t < 80; t += 4) {
          const [x0, x1, x2, x3] = [0, 1, 2, 3].map((i) => w[t + i - 16]! ^ w[t + i - 14]! ^ w[t + i - 8]!);
          const recent = words(w[t - 1]!, w[t - 2]!, w[t - 3]!, w[t - 4]!);
          w.push(...elements(call('sha1Message', [words(x3!, x2!, x1!, x0!), recent])).toReversed());
        }
        let state = words(...initial.slice(0, 4).toReversed());
        let e = initial[4]!;
        for (let t = 0; t < 80; t += 4) {
          const message4 = words(w[t + 3]!, w[t + 2]!, w[t + 1]!, w[t]! + e);
          e = rotl(elements(state)[3]!, 30);
          state = call('sha1Rounds', [state, message4], [Math.floor(t / 20)]);
        }
        const final = [...elements(state).toReversed(), e];
        expect(digest(final.map((x, i) => x + initial[i]!))).toBe(
          createHash('sha1').update(message, 'latin1').digest('hex'),
        );
      }),
    );
  });

  it('computes SHA-256', () => {
    const primes = Array.from({ length: 312 }, (_, n) => n).filter(
      (n) => n > 1 && Array.from({ length: n }, (_, d) => d).every((d) => d < 2 || n % d !== 0),
    );
    const fraction = (x: number): number => Math.floor((x - Math.floor(x)) * 2 ** 32);
    const constants = primes.slice(0, 64).map((p) => fraction(Math.cbrt(p)));
    const initial = primes.slice(0, 8).map((p) => fraction(Math.sqrt(p)));
    const rotr = (x: number, n: number): number => rotl(x, 32 - n);
    const sigma0 = (x: number): number => rotr(x, 7) ^ rotr(x, 18) ^ (x >>> 3);
    fc.assert(
      fc.property(short, (message) => {
        const w = paddedBlock(message);
        for (let t = 16; t < 64; t += 4) {
          const sums = [0, 1, 2, 3].map((i) => w[t + i - 16]! + sigma0(w[t + i - 15]!) + w[t + i - 7]!);
          w.push(...elements(call('sha256Message', [words(...sums), words(...w.slice(t - 4, t))])));
        }
        const [a, b, c, d, e, f, g, h] = initial as [number, number, number, number, number, number, number, number];
        let abef = words(f, e, b, a);
        let cdgh = words(h, g, d, c);
        for (let t = 0; t < 64; t += 2) {
          const known = words(w[t]! + constants[t]!, w[t + 1]! + constants[t + 1]!, 0, 0);
          [abef, cdgh] = [call('sha256Rounds', [cdgh, abef, known]), abef];
        }
        const [F, E, B, A] = elements(abef);
        const [H, G, D, C] = elements(cdgh);
        const final = [A, B, C, D, E, F, G, H].map((x, i) => x! + initial[i]!);
        expect(digest(final)).toBe(createHash('sha256').update(message, 'latin1').digest('hex'));
      }),
    );
  });
});
