import { describe, expect, test } from 'vitest';
import { statsText } from '../../../src/cli/stats-text.ts';
import { type BoardStats, machineStats, sumStats } from '../../../src/machine/stats.ts';

function boot(n: number): BoardStats {
  return {
    instructions: 1000 * n,
    repIterations: 100 * n,
    tiers: { interpreter: 250 * n, translated: 750 * n },
    tlb: { misses: n, pageWalks: n, flushes: n },
    exits: { halt: n, ...(n === 2 && { fault: 1 }) },
    interrupts: n,
    exceptions: n,
    halts: n,
    mmioAccesses: n,
    jit: { regions: n, compileMs: 0.5 * n, exits: { side: n } },
    blocks: { decodedInstructions: n, forms: n, lookups: n },
    invalidations: n,
    unimplemented: {},
    serial: { sent: n, received: n },
    guestNs: 1000 * n,
  };
}

describe('figures', () => {
  test('of several boots are added up, name by name; guest time is the last one’s', () => {
    const sum = sumStats([boot(1), boot(2)]);
    expect(sum.tiers).toEqual({ interpreter: 750, translated: 2250 });
    expect(sum.exits).toEqual({ halt: 3, fault: 1 });
    expect(sum.jit).toEqual({ regions: 3, compileMs: 1.5, exits: { side: 3 } });
    expect(sum.guestNs).toBe(2000);
  });

  test('the rate leaves out idle time and REP iterations', () => {
    const milestones = { origin: 0, firstInstruction: 1e6, firstSerialByte: undefined, exit: 4e6 };
    const stats = machineStats([boot(1)], milestones, 9e9, 1e6);
    expect(stats.milliseconds).toEqual({ firstInstruction: 1, firstSerialByte: null, exit: 4, busy: 2, idle: 1 });
    // 900 instructions in 2 ms
    expect(stats.mips).toBe(0.5);
  });

  test('as text: one line each, tiers with their share', () => {
    const milestones = { origin: 0, firstInstruction: 1e6, firstSerialByte: 2e6, exit: 4e6 };
    const lines = statsText(machineStats([boot(1)], milestones, 0, 0))
      .trimEnd()
      .split('\n');
    expect(lines.every((line) => line.startsWith('ukl-emu: '))).toBe(true);
    expect(lines).toContain('ukl-emu: tiers: interpreter 250 (25.0 %), translated 750 (75.0 %)');
    expect(lines).toContain('ukl-emu: translator: regions 1, compileMs 0.5, exits.side 1');
    expect(lines).toContain('ukl-emu: unimplemented: none');
  });
});
