/** The amount of guest RAM as a user writes it: "64M", "4G", or a number of bytes. */

import { GUEST_PAGE_SIZE } from './guest-memory.ts';

const MIB = 0x10_0000;
export const MIN_MEMORY_SIZE = 16 * MIB;
/** A 32-bit wasm memory ends here. */
export const MAX_MEMORY_SIZE = 4096 * MIB;

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 1024, M: MIB, G: 1024 * MIB };

/** A memory size that cannot be used; `message` is one line for the user. */
export class MemorySizeError extends Error {
  override readonly name = 'MemorySizeError';
}

/** Bytes meant by `text`. Throws MemorySizeError on anything that is not a whole number of pages from 16M to 4G. */
export function parseMemorySize(text: string | number): number {
  const match = /^(\d+)([KMG]?)$/i.exec(String(text).trim());
  if (match === null) {
    throw new MemorySizeError(`memory size '${text}' is not a whole number of bytes, or one with K, M or G; try 512M`);
  }
  const bytes = Number(match[1]) * UNITS[(match[2] ?? '').toUpperCase()]!;
  if (bytes < MIN_MEMORY_SIZE) {
    throw new MemorySizeError(`memory size '${text}' is ${bytes} bytes, the least is 16M; try 64M`);
  }
  if (bytes > MAX_MEMORY_SIZE) {
    throw new MemorySizeError(`memory size '${text}' is beyond the limit of 4G (a 32-bit wasm memory)`);
  }
  if (bytes % GUEST_PAGE_SIZE !== 0) {
    throw new MemorySizeError(`memory size '${text}' is not a multiple of the 4096-byte page; round it, or use M`);
  }
  return bytes;
}
