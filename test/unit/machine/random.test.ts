import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createDefaultHost } from '../../../src/machine/host.ts';
import { hostRandom, type RandomSource, seededRandom } from '../../../src/machine/random.ts';

const take = (source: RandomSource, count: number): bigint[] => Array.from({ length: count }, () => source.next64());

describe('seeded random numbers', () => {
  test('the same seed and stream give the same numbers, other ones do not', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.nat(1000), (seed, stream) => {
        const numbers = take(seededRandom(seed, stream), 4);
        expect(take(seededRandom(seed, stream), 4)).toEqual(numbers);
        expect(take(seededRandom(seed, stream + 1), 4)).not.toEqual(numbers);
        expect(take(seededRandom(seed === Number.MAX_SAFE_INTEGER ? 0 : seed + 1, stream), 4)).not.toEqual(numbers);
      }),
    );
  });

  test('every bit is set about half of the time', () => {
    for (const source of [seededRandom(0, 1), hostRandom(createDefaultHost())]) {
      const ones = new Array<number>(64).fill(0);
      for (const value of take(source, 4000)) {
        for (let bit = 0; bit < 64; bit++) ones[bit]! += Number((value >> BigInt(bit)) & 1n);
      }
      for (const count of ones) expect(Math.abs(count - 2000)).toBeLessThan(250);
    }
  });

  test('fills arrays of any length', () => {
    for (const length of [0, 1, 3, 4, 7, 4096]) {
      const a = new Uint8Array(length);
      const b = new Uint8Array(length);
      seededRandom(5, 2).fill(a);
      seededRandom(5, 2).fill(b);
      expect(a).toEqual(b);
      if (length === 4096) expect(new Set(a).size).toBe(256);
    }
  });
});
