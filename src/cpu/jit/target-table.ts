import type { StateMemory } from '../state-memory.ts';

/** Fewer targets than this are compared one after the other. */
export const TABLE_MINIMUM = 5;
export const TARGET_ENTRY = { size: 16, offset: 0, number: 8 } as const;

/** A perfect hash of where a region's indirect branches go: ((offset >> shift) & mask) tells the one entry to compare. */
export interface TargetTable {
  /** In memory 0: an i64 offset from the region's base, and an i32 number of the target, for each slot. */
  readonly address: number;
  readonly shift: number;
  readonly mask: number;
  /** Targets in the order of their numbers. */
  readonly targets: readonly number[];
}
/** No region offset: it has a bit that offsets within reach of a direct branch do not have. */
const NOWHERE = 1n << 62n;
const MAX_SLOTS = 1024;

/** Smallest table in which no two offsets share a slot; undefined when even a large one has collisions. */
export function planTable(offsets: readonly number[]): Omit<TargetTable, 'address'> | undefined {
  for (let slots = 8; slots <= MAX_SLOTS; slots *= 2) {
    if (slots < offsets.length) continue;
    for (let shift = 0; shift < 8; shift++) {
      const used = new Set(offsets.map((offset) => (offset >> shift) & (slots - 1)));
      if (used.size === offsets.length) return { shift, mask: slots - 1, targets: offsets };
    }
  }
  return undefined;
}
export const tableBytes = (plan: Pick<TargetTable, 'mask'>): number => (plan.mask + 1) * TARGET_ENTRY.size;

export function writeTable(memory: StateMemory, table: TargetTable): void {
  for (let slot = 0; slot <= table.mask; slot++) memory.set64(table.address + slot * TARGET_ENTRY.size, NOWHERE);
  table.targets.forEach((offset, number) => {
    const at = table.address + ((offset >> table.shift) & table.mask) * TARGET_ENTRY.size;
    memory.i64[(at + TARGET_ENTRY.offset) >> 3] = BigInt(offset);
    memory.set32(at + TARGET_ENTRY.number, number);
  });
}
