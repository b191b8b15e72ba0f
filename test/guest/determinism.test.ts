import { expect, test } from 'vitest';
import type { MachineOptions } from '../../src/index.ts';
import { echoMachine, recordSerial } from './support.ts';

async function run(options: Partial<MachineOptions>) {
  await using machine = await echoMachine('poweroff', { clock: 'instructions', ...options });
  const output = recordSerial(machine);
  const exit = await machine.run();
  const { instructions, repIterations, interrupts, exceptions, guestNs } = machine.stats();
  return { exit, output: output(), instructions, repIterations, interrupts, exceptions, guestNs };
}

test('with the instruction clock two runs are the same to the byte and the instruction', async () => {
  const first = await run({ seed: 5 });
  expect(first.exit).toEqual({ kind: 'power-off' });
  expect(first.output).toContain('UKL-EMU: app poweroff');
  expect(await run({ seed: 5 })).toEqual(first);
});

test('an --exit-on match ends a deterministic run at the same instruction', async () => {
  const options = { exitOn: /Freeing unused/, seed: 5 };
  const first = await run(options);
  expect(first.exit.kind).toBe('matched');
  expect(await run(options)).toEqual(first);
});
