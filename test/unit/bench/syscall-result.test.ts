import { describe, expect, test } from 'vitest';
import type { RegionCount } from '../../../src/bench/region-counter.ts';
import { syscallBenchHtml } from '../../../src/bench/syscall-html.ts';
import { mergeTimings, parseBenchLines } from '../../../src/bench/syscall-lines.ts';
import { combineResults, paperRows, type SyscallBench } from '../../../src/bench/syscall-result.ts';
import { syscallBenchText } from '../../../src/bench/syscall-text.ts';

const LINES = [
  'UKL-EMU: app bench-user',
  'UKL-BENCH name=getppid variant=syscall n=21000 ns=200.0 tsc=520.1 min=190.0 q1=195.0 q3=210.5 max=900.9\r',
  '[    1.2] noise UKL-BENCH name=getppid variant=bypass n=21000 ns=50.5 tsc=130.0',
  'UKL-BENCH name=read-1 variant=syscall n=x ns=1.0',
  'UKL-BENCH done',
].join('\n');

describe('lines of syscall-bench', () => {
  test('are read with and without spread; what is damaged is passed over', () => {
    expect(parseBenchLines(LINES)).toEqual([
      { name: 'getppid', variant: 'syscall', n: 21000, ns: { median: 200, min: 190, q1: 195, q3: 210.5, max: 900.9 } },
      { name: 'getppid', variant: 'bypass', n: 21000, ns: { median: 50.5, min: null, q1: null, q3: null, max: null } },
    ]);
  });

  test('several runs become medians and extremes', () => {
    const run = (median: number, min: number, max: number) => [
      { name: 'a', variant: 'call', n: 10, ns: { median, min, q1: median - 1, q3: median + 1, max } },
    ];
    expect(mergeTimings([run(10, 8, 12), run(30, 7, 40), run(20, 9, 30)])).toEqual([
      { name: 'a', variant: 'call', n: 30, ns: { median: 20, min: 7, q1: 19, q3: 21, max: 40 } },
    ]);
    expect(mergeTimings([run(10, 8, 12), run(30, 7, 40)])[0]?.ns.median).toBe(20);
    expect(mergeTimings([])).toEqual([]);
  });
});

function region(name: string, total: number, operations = 1000): RegionCount {
  const parts = { user: 13 * operations, entryExit: 100 * operations, kernel: (total - 113) * operations };
  return {
    name,
    operations,
    instructions: { total: total * operations, ...parts },
    transitions: {
      syscall: operations,
      sysret: operations,
      iret: 0,
      swapgs: 2 * operations,
      cli: 0,
      sti: 0,
      pushf: 0,
      popf: 0,
    },
    events: {
      pageFaults: 0,
      doubleFaults: 0,
      otherExceptions: 0,
      tlbMisses: 1,
      cr3Writes: 0,
      repIterations: 0,
      interrupts: 1,
      interruptInstructions: 1500,
    },
    functions: Array.from({ length: 12 }, (_, n) => ({ name: `f${n}<&>`, instructions: (12 - n) * operations })),
  };
}

const OPERATIONS = combineResults(
  [region('getppid/syscall', 200), region('getppid/bypass', 150), region('fork-wait/call', 90_000, 8)],
  parseBenchLines(LINES),
);

test('counts and times of one operation come together, for one operation, with ratios', () => {
  expect(OPERATIONS.map(({ name }) => name)).toEqual(['getppid', 'fork-wait']);
  const [syscall, bypass] = OPERATIONS[0]!.variants;
  expect(syscall).toMatchObject({
    variant: 'syscall',
    operations: 1000,
    instructions: { total: 200, user: 13, entryExit: 100, kernel: 87 },
    transitions: { swapgs: 2 },
    events: { tlbMisses: 0.001, interruptInstructions: 1.5 },
    ns: { median: 200, n: 21000 },
    ratio: { instructions: 1, ns: 1 },
  });
  expect(bypass?.ratio).toEqual({ instructions: 0.75, ns: 0.253 });
  expect(syscall?.hottest).toHaveLength(10);
  expect(syscall?.hottest[0]).toEqual({ function: 'f0<&>', instructions: 12, share: 0.06 });
  expect(OPERATIONS[1]!.variants[0]).toMatchObject({ ns: null, ratio: { instructions: null, ns: null } });
});

test("the paper's rows stand beside ours", () => {
  const rows = paperRows(OPERATIONS);
  expect(rows.map(({ operation }) => operation)).toEqual(['getppid', 'read', 'write', 'sendto', 'recvfrom']);
  expect(rows[0]).toEqual({
    operation: 'getppid',
    compared: 'getppid',
    paper: { syscall: 342.6, call: 325.3, bypass: 56.6 },
    ours: { syscall: 200, call: null, bypass: 50.5 },
    ourInstructions: { syscall: 200, call: null, bypass: 150 },
  });
});

const BENCH: SyscallBench = {
  schema: 1,
  program: { name: 'ukl-emu', version: '1.2.3' },
  guest: {
    kernel: 'k<1>',
    kernelSha256: 'ab'.repeat(32),
    initrd: 'i',
    initrdSha256: 'cd'.repeat(32),
    symbols: 's',
    cpu: 'x86-64-v2',
    memory: '512M',
    commandLine: 'console=ttyS0 "x"',
  },
  instructionClock: { retired: 5 },
  hostClock: null,
  operations: OPERATIONS,
  paper: paperRows(OPERATIONS),
};

test('as text: a line for each variant', () => {
  const text = syscallBenchText(BENCH);
  expect(text).toMatch(/^getppid +syscall +200\.0 +13\.0 +100\.0 +87\.0 +1\.00 +200\.0 +195\.0\.\.210\.5 +1\.00$/m);
  expect(text).toMatch(/^getppid +342\.6 +325\.3 +56\.6 +getppid +200\.0 +- +50\.5/m);
});

test('as HTML: one page that asks for nothing else, names escaped', () => {
  const html = syscallBenchHtml(BENCH);
  expect(html).not.toMatch(/<script|https?:|<link|src=/);
  expect(html).toContain('kernel k&#60;1&#62;');
  expect(html).toContain('f0&#60;&#38;&#62;');
  expect(html).not.toMatch(/<&>/);
  for (const tag of ['table', 'tr', 'td', 'details']) {
    expect(html.match(new RegExp(`<${tag}[ >]`, 'g'))).toHaveLength(html.match(new RegExp(`</${tag}>`, 'g'))!.length);
  }
});
