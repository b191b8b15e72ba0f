import { describe, expect, it } from 'vitest';
import { MemorySizeError, parseMemorySize } from '../../../src/memory/memory-size.ts';

describe('parseMemorySize', () => {
  it.each([
    ['64M', 64 * 2 ** 20],
    ['512m', 512 * 2 ** 20],
    ['4G', 2 ** 32],
    ['16M', 2 ** 24],
    ['65536K', 2 ** 26],
    ['134217728', 2 ** 27],
    [2 ** 27, 2 ** 27],
  ])('%s', (text, bytes) => {
    expect(parseMemorySize(text)).toBe(bytes);
  });

  it.each([
    ['0', 'the least is 16M'],
    ['512', 'the least is 16M'],
    ['15M', 'the least is 16M'],
    ['5G', 'limit of 4G'],
    ['4294967297', 'limit of 4G'],
    ['99999999999999999999G', 'limit of 4G'],
    ['16777217', 'page'],
    ['20001K', 'page'],
    ['1e9', 'whole number'],
    ['-64M', 'whole number'],
    ['1.5G', 'whole number'],
    ['', 'whole number'],
    ['NaN', 'whole number'],
    [Number.NaN, 'whole number'],
    ['64T', 'whole number'],
    ['64 M', 'whole number'],
  ])('refuses %s', (text, reason) => {
    expect(() => parseMemorySize(text)).toThrow(MemorySizeError);
    expect(() => parseMemorySize(text)).toThrow(reason);
  });
});
