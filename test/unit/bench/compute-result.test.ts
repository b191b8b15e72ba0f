import { describe, expect, it } from 'vitest';
import { type ComputeSample, parseCompute, summarise } from '../../../bench/compute-set.ts';
import type { Measured } from '../../../bench/process.ts';
import { bootChart, bootTable, computeChart, computeTable } from '../../../bench/report.ts';

/** Lines a tenth of a processor second apart. */
function measured(lines: readonly string[], stopped = false): Measured {
  const marks = lines.map((line, n) => ({ line, wallMs: 100 * n, cpuSeconds: 2 + n / 10 }));
  return { marks, wallMs: 9000, cpuSeconds: 9, peakBytes: 1e8, stopped };
}
const test = (name: string, rounds: number): string[] => [
  `BENCH-BEGIN ${name}`,
  ...Array.from({ length: rounds }, (_, round) => `BENCH ${name} ${round} 700 5000 4000`),
];
const whole = (flags = 'fpu sse2'): ComputeSample =>
  parseCompute(measured([`BENCH-CPU ${flags}`, ...test('fib', 5), ...test('sieve', 5), 'BENCH done']), false);
const cut = (): ComputeSample =>
  parseCompute(measured(['BENCH-CPU fpu avx', ...test('fib', 5), ...test('sieve', 3)], true), false);

describe('parseCompute', () => {
  it('takes the processor time of a round from outside, and the boot up to the first test', () => {
    const { tests, flags, bootCpuSeconds } = whole();
    expect(Object.keys(tests)).toEqual(['fib', 'sieve']);
    expect(tests['fib']!.cpuSeconds).toHaveLength(5);
    for (const value of tests['fib']!.cpuSeconds) expect(value).toBeCloseTo(0.1);
    expect(flags).toEqual(['fpu', 'sse2']);
    expect(bootCpuSeconds).toBeCloseTo(2.1);
  });

  it("takes a native program's own figures", () => {
    expect(parseCompute(measured(test('fib', 5)), true).tests['fib']!.cpuSeconds).toEqual(Array(5).fill(4e-6));
  });

  it('drops the test during which an engine was stopped', () => {
    expect(Object.keys(cut().tests)).toEqual(['fib']);
  });
});

describe('an engine that was stopped', () => {
  const result = summarise('sha', 64, { 'ukl-emu': [whole(), whole()], bochs: [cut()], native: [whole('')] }, [1, 2]);

  it('has no figure for what it did not finish', () => {
    expect(result.rows.map(({ cpuSeconds }) => 'bochs' in cpuSeconds)).toEqual([true, false]);
    expect(result.stoppedAfter).toEqual({ bochs: 9 });
    expect(result.flagDifferences['bochs']).toEqual({ missing: ['sse2'], more: ['avx'] });
  });

  it('is said to have been stopped in the table, and has no bar', () => {
    const table = computeTable(result);
    expect(table).toMatch(/^\| sieve \| 0\.5 \| stopped \| 0\.5 \|/m);
    expect(table).toContain('Bochs was stopped after 9 CPU s');
    expect(table).toContain("Bochs takes 1x ukl-emu's time (geometric mean over 1 of 2 tests, cold)");
    expect(computeChart(result)).not.toContain('NaN');
  });

  it('has a lower bound in the table of boots, and no bar', () => {
    const figures = { 'ukl-emu': 1, bochs: 45 };
    const row = { name: 'a', title: 'A', runs: 1, wallSeconds: figures, cpuSeconds: figures, peakBytes: figures };
    const boots = { engines: ['ukl-emu', 'bochs'], rows: [{ ...row, stopped: ['bochs'] }], skipped: [] };
    expect(bootTable(boots)).toMatch(/^\| {2}\| CPU s \| 1 \| > 45 \|$/m);
    expect(bootChart(boots)).not.toContain('>45<');
  });
});

describe('a 32-bit set', () => {
  it('does without native figures and a null run', () => {
    const result = summarise('sha', 32, { 'ukl-emu': [whole()], v86: [whole()] }, []);
    const table = computeTable(result);
    expect(table).toContain('| test | ukl-emu, CPU s | v86, CPU s |');
    expect(table).toContain('32-bit program');
    expect(table).not.toContain('Null run');
    expect(computeChart(result)).toContain('Compute set, 32-bit');
  });
});
