/** The identity map for 64-bit entry: 4-level or 5-level paging with 2 MiB pages (SDM volume 3, section 4.5). */

import { HIGH_RAM_BASE } from '../layout.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';

const TABLE_SIZE = 0x1000;
const ENTRIES = 512;
const LARGE_PAGE = 0x20_0000;
const GIB = 0x4000_0000;

const PRESENT_WRITABLE = 0x3n;
const LARGE = 0x80n;

/** GiB to map: the first four (RAM, devices, the hole), and all RAM above. */
function mappedGib(memory: GuestMemory): number {
  return HIGH_RAM_BASE / GIB + Math.ceil(memory.highSize / GIB);
}

/** Bytes the tables take: PML5 if there are five levels, PML4, one PDPT, a page directory for each GiB. */
export function pageTablesSize(memory: GuestMemory, levels: 4 | 5): number {
  return (levels - 2 + mappedGib(memory)) * TABLE_SIZE;
}

/** Writes the tables at `address` (page aligned, pageTablesSize bytes); the highest comes first. */
export function writePageTables(memory: GuestMemory, address: number, levels: 4 | 5): void {
  const pdpt = address + (levels - 3) * TABLE_SIZE;
  const directories = pdpt + TABLE_SIZE;
  memory.fill(address, pageTablesSize(memory, levels));
  for (let table = address; table < pdpt; table += TABLE_SIZE) {
    memory.write64(table, BigInt(table + TABLE_SIZE) | PRESENT_WRITABLE);
  }
  for (let gib = 0; gib < mappedGib(memory); gib++) {
    const directory = directories + gib * TABLE_SIZE;
    memory.write64(pdpt + gib * 8, BigInt(directory) | PRESENT_WRITABLE);
    for (let index = 0; index < ENTRIES; index++) {
      const page = BigInt(gib * GIB + index * LARGE_PAGE);
      memory.write64(directory + index * 8, page | LARGE | PRESENT_WRITABLE);
    }
  }
}
