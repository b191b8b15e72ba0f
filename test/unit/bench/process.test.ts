import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { measure } from '../../../bench/process.ts';

const directory = mkdtempSync(join(tmpdir(), 'ukl-emu-process-'));
afterAll(() => rmSync(directory, { recursive: true }));
const shell = (script: string) => ({ command: 'sh', args: ['-c', script], timeoutSeconds: 20 });

describe.runIf(process.platform === 'linux')('measure', () => {
  it('notes lines of standard output up to the awaited one', async () => {
    const run = shell('echo line 1; echo other; echo line 2; echo end; exec sleep 30');
    const { marks, stopped } = await measure({ ...run, until: /end/, lines: /line/ });
    expect(marks.map(({ line }) => line)).toEqual(['line 1', 'line 2']);
    expect(stopped).toBe(false);
  });

  it('counts what the program has used of the processor', async () => {
    const run = shell('n=0; while [ $n -lt 200000 ]; do n=$((n + 1)); done; echo end; exec sleep 30');
    const { cpuSeconds, wallMs, peakBytes } = await measure({ ...run, until: /end/ });
    expect(cpuSeconds).toBeGreaterThan(0.02);
    expect(cpuSeconds).toBeLessThan(wallMs / 1000 + 0.02);
    expect(peakBytes).toBeGreaterThan(100_000);
  });

  it('takes the last words of a program that has ended meanwhile', async () => {
    const { marks } = await measure({ ...shell('echo end'), until: /end/, lines: /end/ });
    expect(marks).toHaveLength(1);
  });

  it('reads a FIFO instead, through which the guest writes later', async () => {
    const console = join(directory, 'console');
    execFileSync('mkfifo', [console]);
    const run = shell(`echo end; sleep 0.1; (echo line 1; echo end) > ${console}; exec sleep 30`);
    const { marks, wallMs } = await measure({ ...run, console, until: /end/, lines: /line/ });
    expect(marks.map(({ line }) => line)).toEqual(['line 1']);
    expect(wallMs).toBeGreaterThanOrEqual(100);
  });

  it('gives what there is at its limit of processor time', async () => {
    const run = { ...shell('echo line 1; while :; do :; done'), until: /end/, lines: /line/, cpuLimitSeconds: 0.1 };
    const { marks, stopped, cpuSeconds } = await measure(run);
    expect(marks).toHaveLength(1);
    expect(stopped).toBe(true);
    expect(cpuSeconds).toBeGreaterThanOrEqual(0.1);
  });

  it('fails at its limit of wall time, with what was said last', async () => {
    const run = { ...shell('echo line 1; exec sleep 30'), until: /end/, timeoutSeconds: 0.3 };
    await expect(measure(run)).rejects.toThrow(/did not get to .*end.* in 0.3 s; its last words: line 1/);
  });
});
