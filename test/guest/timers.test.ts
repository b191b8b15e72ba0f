import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Machine } from '../../src/index.ts';
import { echoMachine } from './support.ts';

const SOURCE = new URL('../programs/timer.c', import.meta.url).pathname;
/** A host that others use takes the processor away for longer than this from time to time: the median has to do, here. */
const LATE_NS = 100_000;
/** A program that gets less of a processor than this has nothing to say about microseconds. */
const LEAST_SHARE = 0.8;

/** The share of a processor that this program gets: what is left without the gaps in which it stood still. */
function processorShare(): number {
  const start = performance.now();
  let last = start;
  let lost = 0;
  while (last - start < 500) {
    const now = performance.now();
    if (now - last > 0.05) lost += now - last;
    last = now;
  }
  return 1 - lost / (last - start);
}

let directory: string;
let program: Uint8Array;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ukl-emu-timer-'));
  const file = join(directory, 'timer.elf');
  execFileSync('gcc', [
    ...['-O2', '-DDEADLINES=100', '-ffreestanding', '-nostdlib', '-static', '-fno-pic', '-no-pie', '-mno-red-zone'],
    ...['-mgeneral-regs-only', '-fno-stack-protector', '-Wl,-Ttext-segment=0x200000', '-Wl,--build-id=none'],
    ...[SOURCE, '-o', file],
  ]);
  program = readFileSync(file);
});
afterAll(() => rmSync(directory, { recursive: true }));

describe.each(['auto', 'interpreter'] as const)('engine %s', (engine) => {
  test('deadlines of less than a millisecond are met while the guest is busy, whatever it does', async (context) => {
    const share = processorShare();
    context.skip(share < LEAST_SHARE, `the host is busy: ${(share * 100).toFixed()} % of a processor`);
    let output = '';
    await using machine = await Machine.create({
      kernel: { name: 'timer.elf', bytes: program },
      memory: '64M',
      engine,
      debugExit: true,
      timeoutMs: 60_000,
      onDebugConsole: (bytes) => {
        output += Buffer.from(bytes).toString();
      },
    });
    expect((await machine.run()).kind).toBe('debug-exit');
    const medians = [...output.matchAll(/^(\w+) (\d+) /gm)].map(([, kind, median]) => ({ kind, late: Number(median) }));
    expect(medians.map(({ kind }) => kind)).toEqual(['registers', 'memory', 'calls', 'strings', 'mixed']);
    for (const { kind, late } of medians) expect(late, kind).toBeLessThan(LATE_NS);
  });
});

test('an idle guest costs next to nothing', async () => {
  await using machine = await echoMachine('shell');
  void machine.run();
  await machine.waitFor(/ukl# /, 60_000);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const before = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, 4000));
  const { user, system } = process.cpuUsage(before);
  // 3 % of a core is the aim (docs/guests.md has figures); the test program itself is in this
  expect((user + system) / 4e6).toBeLessThan(0.1);
});
