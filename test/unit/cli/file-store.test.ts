import { mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DriveError, FileBlockStore } from '../../../src/cli/file-store.ts';

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ukl-emu-store-'));
  path = join(directory, 'disk.img');
});

afterEach(() => rm(directory, { recursive: true }));

describe('a disk in a file', () => {
  test('reads and writes at offsets, and a tail of less than a sector is left out', async () => {
    await writeFile(path, new Uint8Array(4096 + 100).fill(1));
    const store = await FileBlockStore.open(path);
    expect(store).toMatchObject({ size: 4096, readonly: false, canDiscard: false });
    await store.writeAt(512, new Uint8Array(512).fill(9));
    const bytes = new Uint8Array(1024);
    await store.readAt(256 * 2, bytes);
    expect([bytes[0], bytes[511], bytes[512]]).toEqual([9, 9, 1]);
    await store.flush();
    await store.close();
    const content = await readFile(path);
    expect([content.length, content[511], content[512], content[1023], content[1024]]).toEqual([4196, 1, 9, 9, 1]);
  });

  test('a file that has been shortened reads as zeroes', async () => {
    await writeFile(path, new Uint8Array(1024).fill(1));
    const store = await FileBlockStore.open(path);
    await truncate(path, 600);
    const bytes = new Uint8Array(1024).fill(7);
    await store.readAt(0, bytes);
    expect([bytes[599], bytes[600], bytes[1023]]).toEqual([1, 0, 0]);
    await store.close();
  });

  test('read-only: the file is opened for reading, and a write fails', async () => {
    await writeFile(path, new Uint8Array(512));
    const store = await FileBlockStore.open(path, { readonly: true });
    expect(store.readonly).toBe(true);
    await expect(store.writeAt(0, new Uint8Array(512))).rejects.toThrow();
    await store.flush();
    await store.close();
  });

  test('discard gives space back to the file system', async () => {
    await writeFile(path, new Uint8Array(1 << 20).fill(1));
    const store = await FileBlockStore.open(path, { discard: true });
    expect(store.canDiscard).toBe(true);
    await store.flush();
    const before = (await stat(path)).blocks;
    await store.discard(0, 1 << 19);
    await store.flush();
    expect((await stat(path)).blocks).toBeLessThan(before);
    const bytes = new Uint8Array(512);
    await store.readAt(0, bytes);
    expect(bytes.every((byte) => byte === 0)).toBe(true);
    await store.readAt(1 << 19, bytes);
    expect(bytes.every((byte) => byte === 1)).toBe(true);
    expect((await stat(path)).size).toBe(1 << 20);
    await store.close();
  });

  test.each([
    ['missing', 'no-such-file', /^drive .*no-such-file: no such file/],
    ['a directory', '.', /^drive .*: is a directory/],
    ['empty', 'empty', /^drive .*empty: is not a regular file of at least 512 bytes$/],
  ])('%s: one clear line', async (_name, name, pattern) => {
    await writeFile(join(directory, 'empty'), '');
    const failure = await FileBlockStore.open(join(directory, name), { readonly: true }).catch((error) => error);
    expect(failure).toBeInstanceOf(DriveError);
    expect(failure.message).toMatch(pattern);
    expect(failure.message).not.toContain('\n');
  });
});
