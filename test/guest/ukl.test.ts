import { describe, expect, test } from 'vitest';
import { cmdline, echoMachine, recordSerial } from './support.ts';

describe('Unikernel Linux', () => {
  test('boots to its application and says what it did', async () => {
    await using machine = await echoMachine('ukl');
    const output = recordSerial(machine);
    const running = machine.run();
    await machine.waitFor(/UKL-EMU: app (\w+)/, 60_000);
    await machine.waitFor(/UKL-EMU: ready/, 60_000);
    expect(output()).toContain('Linux version 6.1');
    expect(await machine.stop()).toEqual({ kind: 'stopped' });
    expect(await running).toEqual({ kind: 'stopped' });
    const stats = machine.stats();
    expect(stats.instructions).toBeGreaterThan(20e6);
    expect(stats.serial.sent).toBe(output().length);
    expect(stats.unimplemented).toEqual({});
    const { firstInstruction, firstSerialByte, exit } = stats.milliseconds;
    expect(firstSerialByte).toBeGreaterThan(firstInstruction!);
    expect(exit).toBeGreaterThan(firstSerialByte!);
  });

  test('on a CPU with SMAP and no clearcpuid the application faults in its first push', async () => {
    await using machine = await echoMachine('ukl', {
      cmdline: cmdline('ukl', 'panic=-1'),
      exitOn: /RIP: 00c3:\S+/,
    });
    expect(await machine.run()).toEqual({ kind: 'matched', match: expect.stringMatching(/^RIP: 00c3:/) });
  });

  test('on a CPU without SMAP and SMEP it needs no clearcpuid', async () => {
    await using machine = await echoMachine('ukl', {
      cmdline: cmdline('ukl', ''),
      cpu: 'x86-64-v2,-smap,-smep',
      exitOn: /UKL-EMU: ready/,
    });
    expect((await machine.run()).kind).toBe('matched');
  });

  test.each(['64M', '4G'])('has the %s of memory it was given', async (memory) => {
    await using machine = await echoMachine('poweroff', { memory });
    const output = recordSerial(machine);
    expect(await machine.run()).toEqual({ kind: 'power-off' });
    const total = /Memory: \d+K\/(\d+)K available/.exec(output());
    const mebibytes = Number(total?.[1]) / 1024;
    expect(mebibytes).toBeGreaterThan(memory === '4G' ? 4090 : 60);
    expect(mebibytes).toBeLessThanOrEqual(memory === '4G' ? 4096 : 64);
  });
});
