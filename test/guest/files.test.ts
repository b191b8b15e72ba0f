import { readFileSync } from 'node:fs';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { beforeAll, describe, expect, test } from 'vitest';
import { loadInitrd } from '../../src/loader/initrd.ts';
import { echoMachine, INITRD, recordSerial } from './support.ts';

let cpio: Uint8Array;

beforeAll(async () => {
  const packed = { name: 'initrd.cpio.xz', bytes: readFileSync(INITRD) };
  cpio = await loadInitrd(packed, { unpack: 'host', maxOutput: 64 << 20 });
});

/** Boots to the shell script in the initrd and off again. */
async function boots(initrd: Uint8Array, unpack: 'host' | 'guest'): Promise<string> {
  await using machine = await echoMachine('poweroff', { initrd, unpack });
  const output = recordSerial(machine);
  expect(await machine.run()).toEqual({ kind: 'power-off' });
  expect(output()).toContain('UKL-EMU: app poweroff');
  return output();
}

describe('initrd, unpacked on the host', () => {
  test('plain', () => boots(cpio, 'host'));
  test('gzip', () => boots(gzipSync(cpio), 'host'));
  test('zstd', () => boots(zstdCompressSync(cpio), 'host'));
  test('two archives, one packed', () => boots(Buffer.concat([cpio, gzipSync(cpio)]), 'host'));
});

test('kernel and initrd unpacked by the guest', async () => {
  expect(await boots(gzipSync(cpio), 'guest')).toContain('Unpacking initramfs');
});
