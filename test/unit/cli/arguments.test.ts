import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { markBareOptions, parsePattern, parseSeconds, parseWhole } from '../../../src/cli/arguments.ts';
import { parseDrive } from '../../../src/cli/drives.ts';
import { UsageError } from '../../../src/cli/errors.ts';
import { EscapeFilter } from '../../../src/cli/escape.ts';
import { exitCode } from '../../../src/cli/exit-codes.ts';
import { parseSerial } from '../../../src/cli/serial.ts';

describe('values', () => {
  test('options with an optional value never take the next word', () => {
    expect(markBareOptions(['boot', '--stats', 'k', '--debug-exit', '--stats=f', '--', '--stats'])).toEqual([
      'boot',
      '--stats=',
      'k',
      '--debug-exit=',
      '--stats=f',
      '--',
      '--stats',
    ]);
  });

  test('whole numbers', () => {
    fc.assert(fc.property(fc.maxSafeNat(), (n) => parseWhole('seed', String(n), Number.MAX_SAFE_INTEGER) === n));
    expect(parseWhole('debug-exit', '0xF4', 0xffff)).toBe(0xf4);
    for (const text of ['', ' ', '-1', '1.5', '1e3', 'seven', '0x', '99999999999999999999', 'NaN', '+1']) {
      expect(() => parseWhole('seed', text, Number.MAX_SAFE_INTEGER)).toThrow(UsageError);
    }
    expect(() => parseWhole('debug-exit', '65533', 0xfffc)).toThrow(/from 0 to 65532/);
  });

  test('seconds', () => {
    expect([parseSeconds('timeout', '1.5'), parseSeconds('timeout', '0.0001')]).toEqual([1500, 1]);
    for (const text of ['', '0', '-3', '1s', 'Infinity', '3000000', '1e3']) {
      expect(() => parseSeconds('timeout', text)).toThrow(UsageError);
    }
  });

  test('patterns', () => {
    expect(parsePattern('exit-on', 'login: $')).toEqual(/login: $/);
    expect(parsePattern('exit-on', '/Login:/i')).toEqual(/Login:/i);
    expect(parsePattern('exit-on', '/dev/sda')).toEqual(/\/dev\/sda/);
    for (const text of ['(', '[', '*', '/(/i', '']) expect(() => parsePattern('exit-on', text)).toThrow(UsageError);
  });

  test('serial consoles', () => {
    expect(parseSerial('stdio')).toEqual({ kind: 'stdio' });
    expect(parseSerial('null')).toEqual({ kind: 'null' });
    expect(parseSerial('file:a,b:c')).toEqual({ kind: 'file', path: 'a,b:c' });
    expect(parseSerial('tcp::0')).toEqual({ kind: 'tcp', host: '127.0.0.1', port: 0 });
    expect(parseSerial('tcp:[::1]:4444')).toEqual({ kind: 'tcp', host: '::1', port: 4444 });
    for (const spec of ['', 'file:', 'tcp:', 'tcp:host', 'tcp:h:65536', 'tcp:h:x', 'tcp:1:2:3', 'pty', 'stdio:']) {
      expect(() => parseSerial(spec)).toThrow(UsageError);
    }
  });

  test('drives', () => {
    expect(parseDrive('disk.img')).toEqual({ path: 'disk.img', readonly: false, discard: false });
    expect(parseDrive('a,,b.img,readonly,discard')).toEqual({ path: 'a,b.img', readonly: true, discard: true });
    expect(parseDrive('x,transport=modern,readonly')).toMatchObject({ transport: 'modern', readonly: true });
    const wrong = [
      '',
      ',readonly',
      'x,rw',
      'x,',
      'x,transport',
      'x,transport=isa',
      'x,transport=mmio,transport=legacy',
    ];
    for (const spec of wrong) expect(() => parseDrive(spec)).toThrow(UsageError);
  });
});

describe('exit codes', () => {
  test.each([
    [{ kind: 'power-off' }, false, 0],
    [{ kind: 'power-off' }, true, 1],
    [{ kind: 'matched', match: 'x' }, true, 0],
    [{ kind: 'reset' }, true, 3],
    [{ kind: 'triple-fault', vector: 14, ip: 0n }, false, 3],
    [{ kind: 'halted', ip: 0n }, false, 3],
    [{ kind: 'debug-exit', code: 33 }, true, 33],
    [{ kind: 'timeout', timeoutMs: 1 }, true, 4],
    [{ kind: 'stopped' }, false, 0],
  ] as const)('%o, match expected: %s -> %i', (exit, expectsMatch, code) => {
    expect(exitCode(exit, expectsMatch)).toBe(code);
  });
});

describe('terminal escapes', () => {
  function run(...inputs: number[][]): { guest: number[]; commands: string[] } {
    const filter = new EscapeFilter();
    const commands: string[] = [];
    const guest = inputs.flatMap((input) => [...filter.filter(Uint8Array.from(input), (c) => commands.push(c))]);
    return { guest, commands };
  }

  test('commands, also divided over two reads; Ctrl-A twice sends one', () => {
    expect(run([0x61, 1], [0x78, 0x62])).toEqual({ guest: [0x61, 0x62], commands: ['quit'] });
    expect(run([1, 0x68, 1, 0x3f])).toEqual({ guest: [], commands: ['help', 'help'] });
    expect(run([1, 1, 0x78])).toEqual({ guest: [1, 0x78], commands: [] });
    expect(run([1, 0x7a, 0x63])).toEqual({ guest: [0x63], commands: ['unknown'] });
  });

  test('without Ctrl-A every byte reaches the guest', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const plain = [...bytes].filter((byte) => byte !== 1);
        expect(run(plain)).toEqual({ guest: plain, commands: [] });
      }),
    );
  });
});
