import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { connectStdio } from '../../../src/cli/stdio.ts';
import { SerialConsole } from '../../../src/machine/serial-port.ts';

/** Standard input and output as `connectStdio` sees them, a terminal or not. */
function open(isTTY: boolean) {
  const input = Object.assign(new PassThrough(), {
    isTTY,
    modes: [] as boolean[],
    setRawMode(mode: boolean) {
      input.modes.push(mode);
      return input;
    },
  });
  const output = new PassThrough();
  let written = '';
  output.on('data', (bytes) => {
    written += String(bytes);
  });
  const calls: string[] = [];
  const backend = connectStdio(input as unknown as NodeJS.ReadStream, output as unknown as NodeJS.WriteStream, {
    quit: () => calls.push('quit'),
    outputClosed: () => calls.push('closed'),
    hold: () => calls.push('hold'),
    release: () => calls.push('release'),
    note: () => {},
  });
  const port = new SerialConsole();
  const received: number[] = [];
  port.connect({
    receive(bytes) {
      received.push(...bytes);
      return bytes.length;
    },
  });
  backend.connect(port);
  return { input, output, backend, port, calls, written: () => written, guest: () => String.fromCharCode(...received) };
}

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

test('a terminal is raw while the guest has it, and is put back', async () => {
  const { input, backend, port, calls, written, guest } = open(true);
  expect(input.modes).toEqual([true]);
  port.deliver(new TextEncoder().encode('login: '));
  input.write('root\x03\x01h\x01x');
  await settle();
  expect(guest()).toBe('root\x03');
  expect(calls).toEqual(['quit']);
  expect(written()).toMatch(/^login: /);
  expect(written()).toContain('Ctrl-A x       quit');
  await backend.close();
  expect(input.modes).toEqual([true, false]);
  port.deliver(new TextEncoder().encode('late'));
  await settle();
  expect(written()).not.toContain('late');
});

test('what is no terminal is passed on as it is, and may end', async () => {
  const { input, backend, calls, guest } = open(false);
  input.end('a\x01xb');
  await settle();
  expect(guest()).toBe('a\x01xb');
  expect(calls).toEqual([]);
  expect(input.modes).toEqual([]);
  await backend.close();
});

test('the reader of the output going away is reported', async () => {
  const { output, backend, calls } = open(false);
  output.emit('error', new Error('EPIPE'));
  expect(calls).toEqual(['closed']);
  await backend.close();
});
