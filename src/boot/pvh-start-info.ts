/** hvm_start_info: Xen public headers, arch-x86/hvm/start_info.h, version 1. */

import { asciiz, concat, u32, u64 } from './bytes.ts';
import type { E820Entry } from './e820.ts';

const START_MAGIC = 0x336e_c578;
const VERSION = 1;
const START_INFO_SIZE = 56;
const MODULE_SIZE = 32;
const MEMORY_ENTRY_SIZE = 24;

export interface PvhStartInfoInput {
  readonly cmdlineAddress: number;
  readonly modules: readonly { readonly name: string; readonly address: number; readonly size: number }[];
  readonly rsdpAddress: number;
  readonly e820: readonly E820Entry[];
}

/** The structure for guest-physical `address`, followed by module list, memory map and the modules' command lines. */
export function buildPvhStartInfo(address: number, input: PvhStartInfoInput): Uint8Array {
  const { modules, e820 } = input;
  const moduleList = address + START_INFO_SIZE;
  const memoryMap = moduleList + modules.length * MODULE_SIZE;
  const names = modules.map(({ name }) => asciiz(name));
  let nameAt = memoryMap + e820.length * MEMORY_ENTRY_SIZE;
  const moduleEntries = modules.map((module, index) => {
    const entry = concat(u64(module.address), u64(module.size), u64(nameAt), u64(0));
    nameAt += names[index]!.length;
    return entry;
  });
  return concat(
    u32(START_MAGIC),
    u32(VERSION),
    u32(0),
    u32(modules.length),
    u64(modules.length === 0 ? 0 : moduleList),
    u64(input.cmdlineAddress),
    u64(input.rsdpAddress),
    u64(memoryMap),
    u32(e820.length),
    u32(0),
    ...moduleEntries,
    ...e820.map((entry) => concat(u64(entry.address), u64(entry.size), u32(entry.type), u32(0))),
    ...names,
  );
}
