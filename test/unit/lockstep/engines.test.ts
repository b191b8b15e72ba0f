import { describe, expect, it } from 'vitest';
import { lockstepEngines, lockstepRecipes } from '../../../src/lockstep/engines.ts';
import { prepare } from '../../../src/lockstep/stepper.ts';
import type { MachineOptions } from '../../../src/machine/options.ts';
import { makeElf, makePvhNote, PT_LOAD, PT_NOTE } from '../loader/kernels.ts';

const ENTRY = 0x10_0000;
const bytes = (hex: string): number[] => (hex.match(/[0-9a-f]{2}/g) ?? []).map((pair) => Number.parseInt(pair, 16));
const ROUNDS = 10_000;
/** mov ecx, ROUNDS; 1: imul ebx, ebx, 0x41c64e6d; add ebx, 12345; dec ecx; jnz 1b */
const LOOP = `b9${ROUNDS.toString(16).padStart(8, '0').match(/../g)!.reverse().join('')}69db6d4ec64181c33930000049${'75f1'}`;
const LOOP_INSTRUCTIONS = 1 + 4 * ROUNDS;
const HALT = 'faf4';

/** A PVH kernel of this 32-bit code. */
function machine(code: string, more: Partial<MachineOptions> = {}): MachineOptions {
  const program = Uint8Array.from(bytes(code));
  const kernel = makeElf({
    bits: 32,
    entry: BigInt(ENTRY),
    programs: [
      { type: PT_LOAD, vaddr: BigInt(ENTRY), paddr: BigInt(ENTRY), memsz: BigInt(program.length), data: program },
      { type: PT_NOTE, data: makePvhNote(ENTRY) },
    ],
  });
  return { kernel: { name: 'test.elf', bytes: kernel }, memory: '16M', jit: { threshold: 1 }, ...more };
}
const options = { interval: 1000, memoryInterval: 10_000, maxInstructions: 1e9, progress: () => {} };

/** The same guest with other random numbers in the second engine. */
async function different(code: string) {
  const recipes = [await prepare(machine(code, { seed: 1 })), await prepare(machine(code, { seed: 2 }))] as const;
  const result = lockstepRecipes(recipes, ['interpreter', 'jit'], options);
  if (result.kind === 'same') throw new Error('no difference found');
  return result;
}

describe('lockstep of two engines', () => {
  it('finds nothing in a loop that becomes a region, and says how the guest ended', async () => {
    expect(await lockstepEngines(machine(LOOP + HALT), ['interpreter', 'jit'], options)).toEqual({
      kind: 'same',
      instructions: LOOP_INSTRUCTIONS + 2,
      end: 'the guest has halted with interrupts off',
    });
  });

  it('stops after as many instructions as it was told', async () => {
    const result = await lockstepEngines(machine(LOOP + HALT), ['jit', 'interpreter'], {
      ...options,
      maxInstructions: 4321,
    });
    expect(result).toEqual({ kind: 'same', instructions: 4321, end: '4321 instructions were asked for' });
  });

  it('names the first instruction whose registers differ', async () => {
    // rdrand edi between two loops
    const { instructions, report } = await different(`${LOOP}0fc7f7${LOOP}${HALT}`);
    expect(instructions).toBe(LOOP_INSTRUCTIONS + 1);
    expect(report).toMatch(
      new RegExp(`^\\* +${LOOP_INSTRUCTIONS + 1}  0{10}10[0-9a-f]{4}  0f c7 f7 +rdrand edi$`, 'm'),
    );
    expect(report).toMatch(/^rdi +[0-9a-f]{16} +[0-9a-f]{16} +[0-9a-f]{16}$/m);
  });

  it('finds a difference that is left in memory only', async () => {
    // rdrand eax; mov [0x200000], eax; mov eax, 0; and a comparison that sets the flags alike
    const { instructions, report } = await different(`${LOOP}0fc7f0a300002000b80000000085c0${LOOP}${HALT}`);
    expect(instructions).toBe(LOOP_INSTRUCTIONS + 1);
    expect(report).toContain('rdrand eax');
  });
});
