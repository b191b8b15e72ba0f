/** The Multiboot 1 information structure: Multiboot Specification 0.6.96, section 3.3. */

import { asciiz, concat, u32, u64, zeros } from './bytes.ts';
import type { E820Entry } from './e820.ts';

const HAS_MEMORY = 1 << 0;
const HAS_CMDLINE = 1 << 2;
const HAS_MODULES = 1 << 3;
const HAS_MEMORY_MAP = 1 << 6;
const HAS_LOADER_NAME = 1 << 9;

const INFO_SIZE = 116;
const MODULE_SIZE = 16;
/** Size of a memory map entry without its own size field. */
const MAP_ENTRY_SIZE = 20;
const LOADER_NAME = 'ukl-emu';

export interface MultibootInfoInput {
  /** Name of the kernel: the first word of its command line. */
  readonly file: string;
  /** NUL-terminated. */
  readonly cmdline: Uint8Array;
  readonly modules: readonly { readonly name: string; readonly address: number; readonly size: number }[];
  readonly e820: readonly E820Entry[];
}

/** The structure for guest-physical `address`, followed by all it points to. */
export function buildMultibootInfo(address: number, input: MultibootInfoInput): Uint8Array {
  const { modules, e820 } = input;
  const moduleList = address + INFO_SIZE;
  const memoryMap = moduleList + modules.length * MODULE_SIZE;
  const map = concat(
    ...e820.map((entry) => concat(u32(MAP_ENTRY_SIZE), u64(entry.address), u64(entry.size), u32(entry.type))),
  );
  const strings = memoryMap + map.length;
  const cmdline = concat(asciiz(`${input.file} `).subarray(0, -1), input.cmdline);
  const loaderName = asciiz(LOADER_NAME);
  const moduleNames = modules.map(({ name }) => asciiz(name));
  const loaderNameAt = strings + cmdline.length;
  let moduleNameAt = loaderNameAt + loaderName.length;
  const moduleEntries = modules.map((module, index) => {
    const entry = concat(u32(module.address), u32(module.address + module.size), u32(moduleNameAt), u32(0));
    moduleNameAt += moduleNames[index]!.length;
    return entry;
  });
  const flags = HAS_MEMORY | HAS_CMDLINE | HAS_MODULES | HAS_MEMORY_MAP | HAS_LOADER_NAME;
  const info = concat(
    u32(flags),
    u32(kibibytes(e820, 0)),
    u32(kibibytes(e820, 0x10_0000)),
    u32(0),
    u32(strings),
    u32(modules.length),
    u32(moduleList),
    zeros(16),
    u32(map.length),
    u32(memoryMap),
    zeros(12),
    u32(loaderNameAt),
  );
  return concat(info, zeros(INFO_SIZE - info.length), ...moduleEntries, map, cmdline, loaderName, ...moduleNames);
}

/** KiB of the RAM that starts at `address`. */
function kibibytes(e820: readonly E820Entry[], address: number): number {
  const entry = e820.find((candidate) => candidate.address === address && candidate.type === 1);
  return Math.floor((entry?.size ?? 0) / 1024);
}
