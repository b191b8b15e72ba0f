import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { runCommand } from '../../../src/cli/main.ts';
import { findSymbolFile, readSymbolFile, readSymbolsIfElf } from '../../../src/cli/symbol-files.ts';

const KERNEL = new URL('../../../images/prebuilt/ukl-echo.bzImage', import.meta.url).pathname;
const directory = mkdtempSync(join(tmpdir(), 'ukl-emu-profile-'));
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

/** The exit code, and standard error. */
async function run(...args: string[]): Promise<[number, string]> {
  let stderr = '';
  const spies = [
    vi.spyOn(process.stdout, 'write').mockReturnValue(true),
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      stderr += String(text);
      return true;
    }),
  ];
  try {
    return [await runCommand(args, '1.2.3'), stderr];
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

test.each([
  [['bench'], 'name what to measure'],
  [['bench', 'syscall', '--runs', '0'], '--runs 0: at least one run is needed'],
  [['bench', 'syscall', '--clock', 'wall'], 'Invalid values'],
  [['bench', 'syscall', '--warm-up', 'x'], '--warm-up x: is not a whole number from 0 to 60000'],
  [['bench', 'syscall', '--json', '/nowhere/at/all'], '--json /nowhere/at/all: cannot be written'],
  [
    ['bench', 'syscall', '--kernel', '/nowhere'],
    '--kernel /nowhere: no symbols lie beside it; name them with --symbols',
  ],
  [['bench', 'syscall', '--json', 'a', '--json', 'b'], '--json is given 2 times'],
  [['profile', KERNEL, '--interval', '0'], '--interval 0: is not a number of instructions'],
  [['profile', KERNEL, '--top', '-1'], '--top -1'],
  [['profile', KERNEL, '--symbols', '/nowhere'], '--symbols /nowhere: cannot be read (ENOENT)'],
  [['profile', KERNEL, '--svg', '/nowhere/x.svg'], '--svg /nowhere/x.svg: cannot be written'],
  [['profile', '/nowhere'], 'nowhere'],
])('%j is refused in one line', async (args, text) => {
  const [code, stderr] = await run(...args);
  expect(stderr).toContain(text);
  expect(
    stderr
      .trim()
      .split('\n')
      .filter((line) => !line.includes('no symbols found')),
  ).toHaveLength(1);
  expect(code).toBe(2);
});

describe('symbol files', () => {
  const MAP = 'ffffffff81000000 T _text\nffffffff81000100 T do_one\n0000000000000000 A fixed\n';

  test('System.map and kallsyms, gzipped or not', async () => {
    for (const path of [
      file('System.map', MAP),
      file('map.gz', gzipSync(MAP)),
      file('kallsyms', `${MAP}ffffffffc0000000 t init [m]\n`),
    ]) {
      expect((await readSymbolFile(path)).find('do_one')?.address).toBe(0xffff_ffff_8100_0100n);
    }
  });

  test('what holds none is refused by name', async () => {
    await expect(readSymbolFile(file('empty', 'nothing\n'))).rejects.toThrow(/empty: holds no symbols/);
    await expect(readSymbolFile(file('bad.gz', gzipSync(MAP).subarray(0, 30)))).rejects.toThrow(/bad\.gz: is damaged/);
    expect(await readSymbolsIfElf(KERNEL)).toBeUndefined();
  });

  test('are found beside the kernel', async () => {
    expect(await findSymbolFile(KERNEL)).toBe(KERNEL.replace('.bzImage', '.System.map.gz'));
    file('System.map-6.1.0-9', MAP);
    expect(await findSymbolFile(join(directory, 'vmlinuz-6.1.0-9'))).toBe(join(directory, 'System.map-6.1.0-9'));
    expect(await findSymbolFile('/nowhere/bzImage')).toBeUndefined();
  });
});
