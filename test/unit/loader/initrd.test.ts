import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { loadInitrd } from '../../../src/loader/initrd.ts';
import type { UnpackSide } from '../../../src/loader/load.ts';
import { join, makeCpio } from './kernels.ts';
import { makeSample, PACKED, unbase64 } from './packed-sample.ts';

const first = makeCpio('kernel/x86/microcode', new Uint8Array(50).fill(1));
const second = makeCpio('init', new Uint8Array(3001).fill(2));

const open = (bytes: Uint8Array, unpack: UnpackSide = 'host', maxOutput = 1 << 20) =>
  loadInitrd({ name: 'initrd', bytes }, { unpack, maxOutput });

describe('loadInitrd', () => {
  it('hands a plain archive over as it is', async () => {
    expect(Buffer.compare(await open(second), second)).toBe(0);
    expect(await open(gzipSync(second), 'guest')).toEqual(gzipSync(second));
  });

  it.each(Object.keys(PACKED) as (keyof typeof PACKED)[])('unpacks %s', async (format) => {
    expect(Buffer.compare(await open(unbase64(PACKED[format])), makeSample())).toBe(0);
  });

  it('takes what has been unpacked meanwhile, unless it failed, is too large or is not wanted', async () => {
    const packed = gzipSync(second);
    const unpacked = Promise.resolve(first);
    const load = (ready: Promise<Uint8Array | undefined>, maxOutput: number, unpack: UnpackSide = 'host') =>
      loadInitrd({ name: 'initrd', bytes: packed, unpacked: ready }, { unpack, maxOutput });
    expect(await load(unpacked, 1 << 20)).toBe(first);
    expect(await load(unpacked, 1 << 20, 'guest')).toBe(packed);
    expect(Buffer.compare(await load(Promise.resolve(undefined), 1 << 20), second)).toBe(0);
    await expect(load(unpacked, first.length - 1)).rejects.toThrow(/unpack/);
  });

  it('joins a plain archive (early microcode) and a compressed one', async () => {
    const result = await open(join(first, zstdCompressSync(second)));
    expect(Buffer.compare(result, join(first, second))).toBe(0);
  });

  it('joins members in any order, with zeros between and behind them', async () => {
    const zeros = new Uint8Array(512);
    const packed = gzipSync(first);
    const result = await open(join(zeros, packed, zeros, second, zeros, unbase64(PACKED.xz), gzipSync(second), zeros));
    const sample = makeSample();
    const padding = new Uint8Array((4 - (sample.length % 4)) % 4);
    expect(Buffer.compare(result, join(first, second, sample, padding, second))).toBe(0);
  });

  it('goes on after a gzip member that a plain archive follows at once', async () => {
    let packed: Uint8Array = gzipSync(first);
    // The kernel wants the archive on a 4-byte boundary; zeros may fill the gap.
    packed = join(packed, new Uint8Array((4 - (packed.length % 4)) % 4));
    expect(Buffer.compare(await open(join(packed, second)), join(first, second))).toBe(0);
  });

  it('leaves what it does not know to the guest', async () => {
    const strange = new TextEncoder().encode('no archive at all');
    expect(await open(strange)).toBe(strange);
    const tail = join(gzipSync(first), strange);
    expect(Buffer.compare(await open(tail), join(first, strange, new Uint8Array(3)))).toBe(0);
  });

  it('leaves a truncated or damaged plain archive to the guest', async () => {
    const cut = second.subarray(0, 300);
    expect(Buffer.compare(await open(join(gzipSync(first), cut)), join(first, cut))).toBe(0);
    const bad = second.slice();
    bad.set(new TextEncoder().encode('zzzzzzzz'), 54);
    expect(await open(bad)).toHaveLength(second.length);
  });

  it('refuses an empty file, damaged data on the host, and what unpacks to more than guest RAM', async () => {
    await expect(open(new Uint8Array(0))).rejects.toMatchObject({ field: 'initrd' });
    const cut = gzipSync(second).subarray(0, 40);
    await expect(open(cut)).rejects.toThrow(/^initrd: initrd: the gzip data cannot be unpacked: .*--unpack guest$/);
    expect(await open(cut, 'guest')).toBe(cut);
    await expect(open(gzipSync(new Uint8Array(1 << 21)))).rejects.toThrow('--memory');
    const late = join(first, cut);
    await expect(open(late)).rejects.toMatchObject({ field: `initrd member at 0x${first.length.toString(16)}` });
  });
});
