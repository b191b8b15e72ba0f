import { describe, expect, test } from 'vitest';
import { compareTraces } from '../../../scripts/trace-compare.ts';

/** Straight code at an address. */
const code = (from: number, length: number): bigint[] => Array.from({ length }, (_, n) => BigInt(from + n));
const trace = (...parts: bigint[][]): BigUint64Array => BigUint64Array.from(parts.flat());
const NONE = new Set<number>();
const main = code(0x1000, 400);
const after = code(0x2000, 400);

describe('traces', () => {
  test('that are the same', () => {
    expect(compareTraces(trace(main), trace(main), NONE)).toEqual({ same: 400, gaps: [], lost: undefined });
  });

  test('meet again after an interrupt on one side', () => {
    const handler = code(0x9000, 50);
    const { same, gaps, lost } = compareTraces(trace(main, handler, after), trace(main, after), new Set([400]));
    expect(gaps).toEqual([{ at: 400, address: 0x9000n, here: 50, there: 0, event: true }]);
    expect([same, lost]).toEqual([800, undefined]);
  });

  test('meet again after loops of different length', () => {
    const loop = code(0x5000, 10);
    const turns = (n: number): bigint[] => Array.from({ length: n }, () => loop).flat();
    const { gaps, lost } = compareTraces(trace(main, turns(3), after), trace(main, turns(300), after), NONE);
    expect(gaps).toEqual([{ at: 430, address: 0x5000n, here: 0, there: 2970, event: false }]);
    expect(lost).toBeUndefined();
  });

  test('that part for good are said to', () => {
    const elsewhere = Array.from({ length: 5000 }, (_, n) => BigInt(0x10_0000 + n));
    const there = Array.from({ length: 5000 }, (_, n) => BigInt(0x80_0000 + n));
    const { same, lost } = compareTraces(trace(main, elsewhere), trace(main, there), NONE, 4000);
    expect([same, lost]).toEqual([400, { at: 400, here: 0x10_0000n, there: 0x80_0000n }]);
  });
});
