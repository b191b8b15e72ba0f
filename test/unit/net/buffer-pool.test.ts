import { expect, test } from 'vitest';
import { releaseBuffer, takeBuffer } from '../../../src/net/user/buffer-pool.ts';

test('buffers in use are different ones, bounded in number, and used again', () => {
  const taken: Buffer[] = [];
  for (let buffer = takeBuffer(65536); buffer !== undefined; buffer = takeBuffer(1000)) taken.push(buffer);
  expect(taken.length).toBeGreaterThan(8);
  expect(new Set(taken.map((buffer) => buffer.buffer)).size).toBe(taken.length);
  expect(takeBuffer(1000)).toBeUndefined();
  releaseBuffer(taken[3]!);
  expect(takeBuffer(1000)).toBe(taken[3]);
  for (const buffer of taken) releaseBuffer(buffer);
});

test('neither what is small nor what does not fit', () => {
  expect(takeBuffer(60)).toBeUndefined();
  expect(takeBuffer(65537)).toBeUndefined();
});
