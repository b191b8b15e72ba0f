import { describe, expect, test } from 'vitest';
import { OptionError } from '../../../src/machine/errors.ts';
import { checkOptions, type MachineOptions } from '../../../src/machine/options.ts';

const kernel = new Uint8Array(1);

describe('machine options', () => {
  test('defaults', () => {
    const checked = checkOptions({ kernel });
    expect(checked).toMatchObject({ memory: 512 << 20, clock: 'host', seed: undefined, debugExitPort: undefined });
    expect(checked.kernel).toEqual({ name: 'kernel', bytes: kernel });
    expect(checked.features.has('sse4_2')).toBe(true);
  });

  test('the instruction clock has a seed', () => {
    expect(checkOptions({ kernel, clock: 'instructions' }).seed).toBe(0);
    expect(checkOptions({ kernel, clock: 'instructions', seed: 9 }).seed).toBe(9);
    expect(checkOptions({ kernel, seed: 9 }).seed).toBe(9);
  });

  test('debug exit port', () => {
    expect(checkOptions({ kernel, debugExit: true }).debugExitPort).toBe(0xf4);
    expect(checkOptions({ kernel, debugExit: 0x501 }).debugExitPort).toBe(0x501);
  });

  const bad: [string, Partial<MachineOptions>][] = [
    ['memory', { memory: '1K' }],
    ['memory', { memory: 'lots' }],
    ['memory', { memory: '5G' }],
    ['memory', { memory: (64 << 20) + 1 }],
    ['cpu', { cpu: '486' }],
    ['cpu', { cpu: 'x86-64-v2,+frobnicate' }],
    ['cpu', { cpu: 'x86-64-v2,smap' }],
    ['seed', { seed: -1 }],
    ['seed', { seed: 0.5 }],
    ['seed', { seed: Number.NaN }],
    ['timeout', { timeoutMs: 0 }],
    ['timeout', { timeoutMs: Number.POSITIVE_INFINITY }],
    ['debug-exit', { debugExit: 0x1_0000 }],
    ['debug-exit', { debugExit: -1 }],
    ['clock', { clock: 'sun' as 'host' }],
    ['engine', { engine: 'steam' as 'auto' }],
    ['unpack', { unpack: 'nobody' as 'host' }],
  ];
  test.each(bad)('%s: %o is refused in one line that names the option', (option, options) => {
    try {
      checkOptions({ kernel, ...options });
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(OptionError);
      expect((error as OptionError).option).toBe(option);
      expect((error as OptionError).message).toMatch(new RegExp(`^${option}: \\S.{10,}$`));
    }
  });
});
