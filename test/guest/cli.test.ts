import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { MachineStats } from '../../src/index.ts';
import { cmdline, ECHO_KERNEL, ENGINE, INITRD, runCli, startCli } from './support.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ukl-emu-'));
});
afterAll(() => rm(directory, { recursive: true }));

const bootArgs = (app: string, ...more: string[]): string[] => [
  ...['boot', ECHO_KERNEL, '--initrd', INITRD, '--append', cmdline(app), '--memory', '256M'],
  ...['--engine', ENGINE, '--timeout', '100'],
  ...more,
];

describe('ukl-emu boot', () => {
  test('ends with 0 when the output matches, and writes figures as documented', async () => {
    const path = join(directory, 'stats.json');
    const result = await runCli(bootArgs('ukl', '--exit-on', 'UKL-EMU: re[a-z]+', `--stats=${path}`));
    expect(result.code).toBe(0);
    expect(result.stdout).toContain('UKL-EMU: ready');
    const stats: MachineStats = JSON.parse(await readFile(path, 'utf8'));
    const documented = await readFile(new URL('../../docs/cli.md', import.meta.url), 'utf8');
    for (const name of [stats, stats.milliseconds, stats.tiers, stats.jit].flatMap((part) => Object.keys(part))) {
      expect(documented).toContain(`\`${name}\``);
    }
    const tiers = Object.values(stats.tiers).reduce((sum, n) => sum + n, 0);
    expect(tiers).toBe(stats.instructions);
  });

  test('ends with 0 when the guest powers off, with 1 if a match was expected', async () => {
    const serial = join(directory, 'serial.log');
    const quiet = await runCli(bootArgs('poweroff', '--serial', `file:${serial}`, '--stats'));
    expect(quiet).toMatchObject({ code: 0, stdout: '' });
    expect(quiet.stderr).toMatch(/^ukl-emu: instructions: [\d,]+ /m);
    expect(await readFile(serial, 'utf8')).toContain('reboot: Power down');
    const expecting = await runCli(bootArgs('poweroff', '--exit-on', 'never printed'));
    expect(expecting.code).toBe(1);
    expect(expecting.stderr).toMatch(/^ukl-emu: the guest powered off without the --exit-on match\n$/m);
  });

  test('ends with 3 when the guest dies, with 4 after the timeout', async () => {
    // no root file system: the kernel panics and, told so, resets at once
    const panic = await runCli([
      'boot',
      ECHO_KERNEL,
      '--append',
      'console=ttyS0 panic=-1',
      '--engine',
      ENGINE,
      '--timeout',
      '60',
    ]);
    expect(panic).toMatchObject({ code: 3, stderr: 'ukl-emu: the guest asked for a reset\n' });
    const serial = join(directory, 'timeout.log');
    const timeout = await runCli(
      bootArgs('ukl', '--timeout=0.5', '--serial', `file:${serial}`).filter(
        (arg) => !['--timeout', '100'].includes(arg),
      ),
    );
    expect(timeout.code).toBe(4);
    expect(timeout.stderr).toMatch(/^ukl-emu: the guest was still running after 0\.5 s$/m);
  });

  test('end of standard input does not stop the guest; a signal does', async () => {
    const run = startCli(bootArgs('shell'));
    await run.output(/ukl# /);
    run.child.stdin!.write('echo $((40 + 2)) here\n');
    await run.output(/^42 here/m);
    run.child.stdin!.end('sleep 1; echo still $((1 + 1)) here\n');
    await run.output(/^still 2 here/m);
    run.child.kill('SIGTERM');
    expect((await run.result).code).toBe(143);
  });

  test('the console over TCP', async () => {
    const run = startCli(bootArgs('shell', '--serial', 'tcp:127.0.0.1:0'));
    const [, port] = await run.output(/listens on 127\.0\.0\.1 port (\d+)/);
    const socket = connect(Number(port), '127.0.0.1');
    let text = '';
    socket.on('data', (bytes) => {
      text += bytes.toString();
      if (/ukl# /.test(text)) socket.write('poweroff -f\n');
    });
    await new Promise((resolve) => socket.on('close', resolve));
    expect(text).toContain('Linux version');
    expect(text).toContain('Power down');
    expect(await run.result).toMatchObject({ code: 0, stdout: '' });
  });
});
