import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { flowControlled } from '../../../src/cli/output.ts';

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

function open() {
  const stream = new PassThrough();
  const calls: string[] = [];
  const write = flowControlled(stream, { hold: () => calls.push('hold'), release: () => calls.push('release') });
  return { stream, calls, write };
}

test('the guest is held while the reader is a mebibyte behind, and released when it has caught up', async () => {
  const { stream, calls, write } = open();
  for (let n = 0; n < 20; n++) write(new Uint8Array(1 << 16));
  expect(calls).toEqual(['hold']);
  stream.resume();
  await settle();
  expect(calls).toEqual(['hold', 'release']);
  write(new Uint8Array(1000));
  expect(calls).toEqual(['hold', 'release']);
});

test('a reader that goes away releases it', async () => {
  const { stream, calls, write } = open();
  for (let n = 0; n < 20; n++) write(new Uint8Array(1 << 16));
  stream.destroy();
  await settle();
  expect(calls).toEqual(['hold', 'release']);
});
