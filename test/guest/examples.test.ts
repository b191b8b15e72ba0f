import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = async (name: string): Promise<string> => {
  const path = fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));
  return (await promisify(execFile)(process.execPath, [path])).stdout;
};

test('examples/shell.ts', async () => {
  expect(await run('shell.ts')).toMatch(/^Linux \S+ 6\.1\..* x86_64 GNU\/Linux\n\{ kind: 'power-off' \}\n$/);
});

test('examples/deterministic.ts', async () => {
  const [first, second] = (await run('deterministic.ts')).trim().split('\n');
  expect(first).toMatch(/^run 1: power-off after \d+ instructions, output [\da-f]{64}$/);
  expect(second).toBe(first!.replace('run 1', 'run 2'));
});
