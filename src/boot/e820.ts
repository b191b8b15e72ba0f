/** The guest's memory map: ACPI 6.5 section 15 ("System Address Map Interfaces"). */

import { EBDA_BASE, HIGH_RAM_BASE } from '../layout.ts';

export const E820_RAM = 1;
export const E820_RESERVED = 2;

export interface E820Entry {
  readonly address: number;
  readonly size: number;
  /** AddressRangeMemory 1, AddressRangeReserved 2. */
  readonly type: number;
}

const CONVENTIONAL_END = 0xa_0000;
const BIOS_BASE = 0xf_0000;
const ONE_MIB = 0x10_0000;

/**
 * The map for RAM of `lowSize` bytes below the hole and `highSize` at 4 GiB. `tables` (firmware tables at the top of low
 * memory) are reserved, as are the EBDA and the BIOS area.
 */
export function buildE820(
  lowSize: number,
  highSize: number,
  tables: { readonly start: number; readonly end: number },
): E820Entry[] {
  const map: E820Entry[] = [
    range(0, EBDA_BASE, E820_RAM),
    range(EBDA_BASE, CONVENTIONAL_END, E820_RESERVED),
    range(BIOS_BASE, ONE_MIB, E820_RESERVED),
    range(ONE_MIB, tables.start, E820_RAM),
    range(tables.start, tables.end, E820_RESERVED),
    range(tables.end, lowSize, E820_RAM),
    range(HIGH_RAM_BASE, HIGH_RAM_BASE + highSize, E820_RAM),
  ];
  return map.filter(({ size }) => size > 0);
}

function range(start: number, end: number, type: number): E820Entry {
  return { address: start, size: end - start, type };
}
