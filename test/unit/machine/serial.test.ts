import { describe, expect, test } from 'vitest';
import { SerialOverflowError } from '../../../src/machine/errors.ts';
import { SerialConsole } from '../../../src/machine/serial-port.ts';
import { SerialText, searchPattern } from '../../../src/machine/serial-text.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (chunks: readonly Uint8Array[]): string => new TextDecoder().decode(Buffer.concat(chunks));

/** A device that takes `room` bytes at a time and asks for more when it is told to. */
class SlowDevice {
  readonly taken: number[] = [];
  room: number;
  onRoom: () => void = () => {};

  constructor(room: number) {
    this.room = room;
  }

  receive(input: Uint8Array): number {
    const part = input.subarray(0, this.room);
    this.taken.push(...part);
    this.room -= part.length;
    // as the 16550 does: room may come back before `receive` has returned
    if (part.length < input.length) this.onRoom();
    return part.length;
  }
}

describe('serial port', () => {
  test('each reader gets everything from its creation on and ends with the machine', async () => {
    const port = new SerialConsole();
    const first = port[Symbol.asyncIterator]();
    port.deliver(bytes('one '));
    const second = port[Symbol.asyncIterator]();
    port.deliver(bytes('two'));
    port.end();
    const collect = async (reader: AsyncIterator<Uint8Array, undefined>): Promise<string> => {
      const chunks: Uint8Array[] = [];
      for (;;) {
        const result = await reader.next();
        if (result.done) return text(chunks);
        chunks.push(result.value);
      }
    };
    expect(await collect(first)).toBe('one two');
    expect(await collect(second)).toBe('two');
    expect(await collect(port[Symbol.asyncIterator]())).toBe('');
  });

  test('a reader that waits gets output when it comes; leaving the loop unsubscribes', async () => {
    const port = new SerialConsole();
    const seen: string[] = [];
    const reading = (async () => {
      for await (const chunk of port) {
        seen.push(text([chunk]));
        if (seen.length === 2) break;
      }
    })();
    port.deliver(bytes('a'));
    port.deliver(bytes('b'));
    port.deliver(bytes('c'));
    await reading;
    expect(seen).toEqual(['a', 'b']);
  });

  test('a reader that never reads fails instead of filling memory', async () => {
    const port = new SerialConsole();
    const reader = port[Symbol.asyncIterator]();
    for (let i = 0; i < 17; i++) port.deliver(new Uint8Array(1 << 20));
    await expect(reader.next()).rejects.toBeInstanceOf(SerialOverflowError);
  });

  test('a write resolves when the device has taken all of it, in order and once', async () => {
    const port = new SerialConsole();
    const device = new SlowDevice(3);
    device.onRoom = () => port.pump();
    let done = false;
    const writing = port.write('abcdefgh').then(() => {
      done = true;
    });
    const next = port.write(bytes('ij'));
    port.connect(device);
    await Promise.resolve();
    expect(done).toBe(false);
    while (device.taken.length < 10) {
      device.room = 2;
      port.pump();
    }
    await Promise.all([writing, next]);
    expect(text([Uint8Array.from(device.taken)])).toBe('abcdefghij');
  });

  test('writes still waiting when the machine ends are let go', async () => {
    const port = new SerialConsole();
    const writing = port.write('never read');
    port.end();
    await writing;
    await port.write('too late');
  });
});

describe('serial text', () => {
  test('finds a pattern spread over pieces, in the middle of a line and of a character', () => {
    const stream = new SerialText();
    const pattern = searchPattern(/grün: (\d+)#/);
    const all = bytes('… boot\r\ngrün: 42# ');
    let match: RegExpExecArray | undefined;
    for (const byte of all) {
      stream.append(Uint8Array.of(byte));
      match ??= stream.find(pattern, 0);
    }
    expect(match?.[1]).toBe('42');
    expect(stream.endOf(match!)).toBe('… boot\r\ngrün: 42#'.length);
  });

  test("searches from a position on, and the caller's expression is left alone", () => {
    const stream = new SerialText();
    stream.append(bytes('login: login: '));
    const expression = /login: /g;
    const first = stream.find(searchPattern(expression), 0)!;
    const second = stream.find(searchPattern(expression), stream.endOf(first))!;
    expect([stream.endOf(first), stream.endOf(second)]).toEqual([7, 14]);
    expect(stream.find(searchPattern(expression), 14)).toBeUndefined();
    expect(expression.lastIndex).toBe(0);
  });

  test('keeps a bounded history, positions count from the start of the stream', () => {
    const stream = new SerialText();
    const line = bytes(`${'x'.repeat(1023)}\n`);
    for (let i = 0; i < 2000; i++) stream.append(line);
    stream.append(bytes('end'));
    expect(stream.end).toBe(2000 * 1024 + 3);
    const match = stream.find(searchPattern(/end$/), 0)!;
    expect(stream.endOf(match)).toBe(2000 * 1024 + 3);
    expect(stream.tail(4)).toBe('\nend');
  });
});
