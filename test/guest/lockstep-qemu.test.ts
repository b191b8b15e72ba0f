import { spawnSync } from 'node:child_process';
import { afterAll, describe, expect, test } from 'vitest';
import { KernelDirectory } from '../support/bare-kernels.ts';
import { runCli } from './support.ts';

const kernels = new KernelDirectory();
afterAll(() => kernels.remove());

const installed = spawnSync('qemu-system-x86_64', ['--version']).status === 0;
const lockstep = (kernel: string, max: number) =>
  runCli(['lockstep', kernel, '--against', 'qemu', '--memory', '64M', '--append', 'poweroff', '--max', String(max)]);

describe.skipIf(!installed)('ukl-emu lockstep --against qemu', () => {
  test('a kernel of ours is the same on both, ports and devices included', async () => {
    const kernel = kernels.build('multiboot.elf', { source: 'multiboot.c', bits: 32, base: 0x10_0000 });
    const { code, stdout } = await lockstep(kernel, 20_000);
    expect(stdout).toMatch(/^the same for 200\d\d instructions: \d+ blocks and 0 interruptions compared with QEMU\n$/);
    expect(code).toBe(0);
  });

  test('finds where QEMU 7.2 takes a non-canonical base from WRMSR', async () => {
    const build = { source: 'modes.S', bits: 64, container: 32, base: 0xa000, defines: ['QEMU'] } as const;
    const { code, stdout } = await lockstep(kernels.build('modes.elf', build), 1_000_000);
    expect(stdout).toContain('we raise an exception at the last instruction, QEMU does not');
    expect(stdout).toMatch(/wrmsr\n$/);
    expect(code).toBe(1);
  });
});
