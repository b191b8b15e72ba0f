import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import { runCommand } from '../../../src/cli/main.ts';

const KERNEL = new URL('../../../images/prebuilt/ukl-echo.bzImage', import.meta.url).pathname;
const directory = mkdtempSync(join(tmpdir(), 'ukl-emu-lockstep-'));
afterAll(() => rmSync(directory, { recursive: true }));

async function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const written = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((text) => {
      written[name] += String(text);
      return true;
    }),
  );
  try {
    return { code: await runCommand(args, '1.2.3'), ...written };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

test.each([
  [['--engines', 'jit'], /^ukl-emu: --engines jit: name two engines, .*\n$/],
  [['--engines', 'jit,fast'], /^ukl-emu: --engines jit,fast: "fast" is not one of interpreter, jit\n$/],
  [['--interval', '0'], /^ukl-emu: --interval 0: .*\n$/],
  [['--jit', 'speed=9'], /^ukl-emu: --jit speed=9: "speed" is no option of the translator; there are .*\n$/],
  [['--jit-dump', '/dev/null/x'], /^ukl-emu: --jit-dump \/dev\/null\/x: cannot be written: .*\n$/],
])('lockstep %j ends with code 2 and one line', async (words, message) => {
  const { code, stdout, stderr } = await run('lockstep', KERNEL, ...words);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toMatch(message);
});

test('the start of a boot is the same on both engines, and its regions are dumped', async () => {
  const dump = join(directory, 'dump');
  const words = ['--max', '3000000', '--memory', '64M', '--jit', 'threshold=8', '--jit-dump', dump];
  expect(await run('lockstep', KERNEL, ...words)).toMatchObject({
    code: 0,
    stdout: 'the same for 3000000 instructions: 3000000 instructions were asked for\n',
  });
  const files = readdirSync(dump);
  const region = files.find((name) => name.endsWith('.txt'));
  expect(region).toMatch(/^\d{5}-[0-9a-f]+-[0-9a-f]{3}(-\d+)?\.txt$/);
  const text = readFileSync(join(dump, region!), 'utf8');
  expect(text).toMatch(/^\d+ blocks, \d+ instructions, \d+ bytes of wasm\n/);
  expect(text).toMatch(/\n {2}0x[0-9a-f]{3} {2}\w+.*\n[\s\S]*\nfunc \$r\d+ \(i32\) -> \(i32\)\n/);
  expect(existsSync(join(dump, `${region!.slice(0, 5)}.wasm`))).toBe(true);
});
