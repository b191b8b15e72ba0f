import { describe, expect, it } from 'vitest';
import { compileCompute, runCompute } from '../support/compute.ts';

describe('a bare-metal compute load', () => {
  const program = compileCompute(40);

  it('has the host checksum on the interpreter, and the same on translated code after as many instructions', async () => {
    const interpreted = await runCompute(program.elf, 'interpreter');
    const translated = await runCompute(program.elf, 'auto');
    expect(interpreted.output).toBe(program.expected);
    expect(translated.output).toBe(program.expected);
    expect(translated.instructions).toBe(interpreted.instructions);
    expect(interpreted.jit).toBeUndefined();
    expect(translated.jit?.translated).toBeGreaterThan(5);
  });
});
