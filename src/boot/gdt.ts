/** The descriptor table a guest starts with (SDM volume 3, section 3.4.5). */

import type { GuestMemory } from '../memory/guest-memory.ts';
import { BOOT_CS, BOOT_TSS, type DescriptorTableState, type EntryState, type SegmentState } from './entry-state.ts';

/** Selectors 0x00-0x27: null, unused, code, data, TSS. */
export const GDT_SIZE = BOOT_TSS + 8;

/** The 8-byte descriptor whose hidden form is `segment`. */
export function encodeDescriptor(segment: SegmentState): bigint {
  const granular = (segment.attributes & 0x8000) !== 0;
  const limit = BigInt(granular ? Math.floor(segment.limit / 0x1000) : segment.limit);
  const base = BigInt(segment.base);
  return (
    (limit & 0xffffn) |
    ((base & 0xff_ffffn) << 16n) |
    (BigInt(segment.attributes & 0xf0ff) << 40n) |
    (((limit >> 16n) & 0xfn) << 48n) |
    (((base >> 24n) & 0xffn) << 56n)
  );
}

/** Writes the table for `segments` at `address`. */
export function writeGdt(
  memory: GuestMemory,
  address: number,
  segments: Pick<EntryState['segments'], 'cs' | 'ds' | 'tr'>,
): void {
  memory.fill(address, BOOT_CS);
  for (const segment of [segments.cs, segments.ds, segments.tr]) {
    memory.write64(address + segment.selector, encodeDescriptor(segment));
  }
}

/** GDTR for the table at `address`. */
export function gdtRegister(address: number): DescriptorTableState {
  return { base: address, limit: GDT_SIZE - 1 };
}
