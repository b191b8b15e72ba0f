import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { Machine, MachineOptions } from '../../src/index.ts';
import { cmdline, echoMachine, prebuilt, recordSerial } from './support.ts';

/** Runs a machine with the instruction clock to its end: everything that must be the same in every run. */
async function run(options: Partial<MachineOptions>, prepare: (machine: Machine) => void = () => {}) {
  await using machine = await echoMachine('poweroff', { clock: 'instructions', seed: 5, ...options });
  const output = recordSerial(machine);
  prepare(machine);
  const exit = await machine.run();
  const { instructions, repIterations, interrupts, exceptions, guestNs, serial, mmioAccesses } = machine.stats();
  return { exit, output: output(), instructions, repIterations, interrupts, exceptions, guestNs, serial, mmioAccesses };
}

const ENGINES = ['auto', 'interpreter'] as const;

describe('with the instruction clock', () => {
  test('two runs are the same to the byte and the instruction, and so are both engines', async () => {
    const first = await run({ engine: 'auto' });
    expect(first.exit).toEqual({ kind: 'power-off' });
    expect(first.output).toContain('UKL-EMU: app poweroff');
    expect(await run({ engine: 'auto' })).toEqual(first);
    expect(await run({ engine: 'interpreter' })).toEqual(first);
    // the seed reaches the guest by RDRAND and virtio-rng
    expect((await run({ engine: 'auto', seed: 6 })).output).not.toBe(first.output);
  });

  test('an --exit-on match ends a run at the same instruction', async () => {
    const options: Partial<MachineOptions> = { exitOn: /Freeing unused/ };
    const first = await run({ ...options, engine: 'auto' });
    expect(first.exit.kind).toBe('matched');
    expect(await run({ ...options, engine: 'interpreter' })).toEqual(first);
  });

  test('the benchmark measures the same times on both engines', async () => {
    const options: Partial<MachineOptions> = {
      kernel: readFileSync(prebuilt('ukl-bench.bzImage')),
      cmdline: cmdline('ukl'),
      exitOn: /UKL-BENCH done/,
    };
    const runs = [];
    for (const engine of ENGINES) runs.push(await run({ ...options, engine }));
    expect(runs[0]!.exit.kind).toBe('matched');
    expect(runs[0]!.output).toMatch(/UKL-BENCH name=\S+ .*ns=\d/);
    expect(runs[1]).toEqual(runs[0]);
  });

  test('commands answered at the prompt, whatever the engine', async () => {
    const commands = [
      'cat /proc/cpuinfo',
      'ls -lR /bin /dev /etc | sort | sha256sum',
      'dd if=/dev/urandom bs=64k count=2 | sha256sum',
      'for i in 1 2 3; do sleep 0.0$i & done; wait; cat /proc/interrupts /proc/uptime',
      'poweroff -f',
    ];
    // output is handed on at moments that are the same in every run; what is written in these is, too
    const type = (machine: Machine): void => {
      const waiting = commands.values();
      let seen = '';
      machine.serial.onData((bytes) => {
        seen += Buffer.from(bytes).toString('latin1');
        if (!seen.includes('ukl# ')) return;
        seen = '';
        void machine.serial.write(`${waiting.next().value}\n`);
      });
    };
    const options: Partial<MachineOptions> = { cmdline: cmdline('shell') };
    const first = await run({ ...options, engine: 'auto' }, type);
    expect(first.exit.kind).toBe('power-off');
    expect(first.output.match(/[\da-f]{64} {2}-/g)).toHaveLength(2);
    expect(await run({ ...options, engine: 'interpreter' }, type)).toEqual(first);
  });
});
