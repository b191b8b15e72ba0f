import { describe, expect, test } from 'vitest';
import { MachineEndedError, WaitTimeoutError } from '../../src/index.ts';
import { echoMachine, recordSerial } from './support.ts';

const PROMPT = /ukl# /;

describe('a shell on the serial console', () => {
  test('takes commands, sleeps while idle, pauses, reboots and powers off', async () => {
    await using machine = await echoMachine('shell', { allowReboot: true });
    const output = recordSerial(machine);
    const running = machine.run();
    await machine.waitFor(PROMPT, 60_000);

    await machine.serial.write('echo $((6 * 7)) done\n');
    expect((await machine.waitFor(/^(\d+) done/m, 20_000))[1]).toBe('42');
    await machine.waitFor(PROMPT, 20_000);
    await expect(machine.waitFor(/never printed/, 50)).rejects.toBeInstanceOf(WaitTimeoutError);

    const { instructions, milliseconds } = machine.stats();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const later = machine.stats();
    expect(later.instructions - instructions).toBeLessThan(5e6);
    expect(later.milliseconds.idle - milliseconds.idle).toBeGreaterThan(700);

    machine.pause();
    const { guestNs } = machine.stats();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(machine.stats().guestNs).toBe(guestNs);
    machine.resume();

    const longInput = `echo ${'x'.repeat(900)} end\n`;
    await machine.serial.write(longInput);
    await machine.waitFor(/^x{900} end/m, 20_000);

    const before = output().length;
    await machine.serial.write('reboot -f\n');
    await machine.waitFor(/Linux version/, 20_000);
    await machine.waitFor(PROMPT, 60_000);
    expect(machine.stats().reboots).toBe(1);
    expect(output().slice(before)).toContain('UKL-EMU: app shell');

    await machine.serial.write('poweroff -f\n');
    await expect(machine.waitFor(/never printed/, 20_000)).rejects.toBeInstanceOf(MachineEndedError);
    expect(await running).toEqual({ kind: 'power-off' });
  });

  test('a reset without leave ends the run', async () => {
    await using machine = await echoMachine('shell');
    const running = machine.run();
    await machine.waitFor(PROMPT, 60_000);
    await machine.serial.write('reboot -f\n');
    expect(await running).toEqual({ kind: 'reset' });
  });
});

test('a machine that is stopped before it runs has ended', async () => {
  const machine = await echoMachine('ukl');
  expect(await machine.stop()).toEqual({ kind: 'stopped' });
  await expect(machine.waitFor(/x/, 10)).rejects.toBeInstanceOf(MachineEndedError);
  for await (const bytes of machine.serial) expect.unreachable(`got ${bytes.length} bytes`);
});
