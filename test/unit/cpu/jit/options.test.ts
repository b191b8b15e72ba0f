import { describe, expect, it } from 'vitest';
import { DEFAULT_JIT, JIT_OPTION_NAMES, parseJitOptions } from '../../../../src/cpu/jit/options.ts';

describe('--jit', () => {
  it('takes one or several settings', () => {
    expect(parseJitOptions('threshold=16')).toEqual({ threshold: 16 });
    expect(parseJitOptions('maxBlocks=300,growth=1')).toEqual({ maxBlocks: 300, growth: 1 });
  });

  it('takes every default', () => {
    for (const name of JIT_OPTION_NAMES) {
      const value = DEFAULT_JIT[name as 'threshold'];
      expect(parseJitOptions(`${name}=${value}`)).toEqual({ [name]: value });
    }
  });

  it.each([
    ['thresold=4', /"thresold" is no option of the translator; there are threshold, /],
    ['', /"" is no option/],
    ['onModule=1', /is no option/],
    ['threshold', /threshold: "" is not a whole number from 1 to /],
    ['threshold=0', /"0" is not a whole number/],
    ['threshold=-3', /"-3" is not/],
    ['threshold=1e3', /"1e3" is not/],
    ['maxBlocks=301', /"301" is not a whole number from 1 to 300/],
    ['growth=2,growth=3', /growth is given twice/],
  ])('refuses %s in one line', (text, message) => {
    expect(() => parseJitOptions(text)).toThrow(message);
  });
});
