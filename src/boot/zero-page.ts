/** boot_params, the "zero page": Documentation/arch/x86/zero-page.rst and boot.rst. */

import { SETUP_HEADER_OFFSET } from '../loader/bzimage.ts';
import type { E820Entry } from './e820.ts';

export const ZERO_PAGE_SIZE = 0x1000;

const ACPI_RSDP_ADDR = 0x070;
const EXT_RAMDISK_IMAGE = 0x0c0;
const EXT_RAMDISK_SIZE = 0x0c4;
const EXT_CMD_LINE_PTR = 0x0c8;
const ALT_MEM_K = 0x1e0;
const E820_ENTRIES = 0x1e8;
const SENTINEL = 0x1ef;
const BOOT_FLAG = 0x1fe;
const MAGIC = 0x202;
const VERSION = 0x206;
const TYPE_OF_LOADER = 0x210;
const LOADFLAGS = 0x211;
const CODE32_START = 0x214;
const RAMDISK_IMAGE = 0x218;
const RAMDISK_SIZE = 0x21c;
const CMD_LINE_PTR = 0x228;
const INITRD_ADDR_MAX = 0x22c;
const KERNEL_ALIGNMENT = 0x230;
const RELOCATABLE_KERNEL = 0x234;
const XLOADFLAGS = 0x236;
const CMDLINE_SIZE = 0x238;
const SETUP_DATA = 0x250;
/** boot_params goes on with the EDD signatures here, whatever length the header claims. */
const SETUP_HEADER_LIMIT = 0x290;
const E820_TABLE = 0x2d0;
const E820_ENTRY_SIZE = 20;
const E820_MAX_ENTRIES = 128;

/** vid_mode "normal"; there is no display. */
const VIDEO_MODE_NORMAL = 0xffff;
const VID_MODE = 0x1fa;

/** Loader id for loaders without an assigned number. */
const LOADER_UNDEFINED = 0xff;
const LOADED_HIGH = 0x01;
const KEEP_SEGMENTS = 0x40;
const CAN_USE_HEAP = 0x80;
/** Protocol 2.14 gave boot_params acpi_rsdp_addr. */
const VERSION_WITH_RSDP = 0x020e;

/** Fields of a header for a bare vmlinux, which brings none: protocol 2.15, 64-bit entry. */
const OWN_HEADER = { version: 0x020f, xloadflags: 0x1, kernelAlignment: 0x20_0000, cmdlineSize: 2047 } as const;

export interface ZeroPageInput {
  /** The kernel's setup header from 0x1f1 to its end; undefined for a bare vmlinux. */
  readonly headerBytes: Uint8Array | undefined;
  readonly cmdlineAddress: number;
  /** Physical address and bytes of the initrd, or undefined without one. */
  readonly initrd: { readonly address: number; readonly size: number } | undefined;
  readonly e820: readonly E820Entry[];
  readonly rsdpAddress: number | undefined;
  /** Where the protected-mode code was loaded. */
  readonly loadAddress: number;
}

/** The 4096 bytes of boot_params. Addresses are guest-physical. */
export function buildZeroPage(input: ZeroPageInput): Uint8Array {
  const page = new Uint8Array(ZERO_PAGE_SIZE);
  const data = new DataView(page.buffer);
  if (input.headerBytes === undefined) writeOwnHeader(data);
  else page.set(input.headerBytes.subarray(0, SETUP_HEADER_LIMIT - SETUP_HEADER_OFFSET), SETUP_HEADER_OFFSET);
  const version = data.getUint16(VERSION, true);

  // screen_info stays zero: orig_video_isVGA 0 tells the kernel that there is no text screen.
  page[SENTINEL] = 0;
  data.setUint16(VID_MODE, VIDEO_MODE_NORMAL, true);
  page[TYPE_OF_LOADER] = LOADER_UNDEFINED;
  page[LOADFLAGS] = (page[LOADFLAGS]! | LOADED_HIGH) & ~(KEEP_SEGMENTS | CAN_USE_HEAP);
  data.setUint32(CODE32_START, input.loadAddress, true);
  data.setUint32(CMD_LINE_PTR, input.cmdlineAddress, true);
  if (version >= 0x0209) data.setBigUint64(SETUP_DATA, 0n, true);

  const { address, size } = input.initrd ?? { address: 0, size: 0 };
  writeSplit(data, RAMDISK_IMAGE, EXT_RAMDISK_IMAGE, address);
  writeSplit(data, RAMDISK_SIZE, EXT_RAMDISK_SIZE, size);
  writeSplit(data, CMD_LINE_PTR, EXT_CMD_LINE_PTR, input.cmdlineAddress);
  if (version >= VERSION_WITH_RSDP && input.rsdpAddress !== undefined) {
    data.setBigUint64(ACPI_RSDP_ADDR, BigInt(input.rsdpAddress), true);
  }
  writeMemoryMap(data, input.e820);
  return page;
}

function writeOwnHeader(data: DataView): void {
  data.setUint16(BOOT_FLAG, 0xaa55, true);
  data.setUint32(MAGIC, 0x53726448, true);
  data.setUint16(VERSION, OWN_HEADER.version, true);
  data.setUint32(INITRD_ADDR_MAX, 0x7fff_ffff, true);
  data.setUint32(KERNEL_ALIGNMENT, OWN_HEADER.kernelAlignment, true);
  data.setUint8(RELOCATABLE_KERNEL, 0);
  data.setUint16(XLOADFLAGS, OWN_HEADER.xloadflags, true);
  data.setUint32(CMDLINE_SIZE, OWN_HEADER.cmdlineSize, true);
}

function writeMemoryMap(data: DataView, map: readonly E820Entry[]): void {
  const entries = map.slice(0, E820_MAX_ENTRIES);
  data.setUint8(E820_ENTRIES, entries.length);
  entries.forEach((entry, index) => {
    const at = E820_TABLE + index * E820_ENTRY_SIZE;
    data.setBigUint64(at, BigInt(entry.address), true);
    data.setBigUint64(at + 8, BigInt(entry.size), true);
    data.setUint32(at + 16, entry.type, true);
  });
  // The oldest kernels read the memory above 1 MiB in KiB instead of the map.
  const extended = entries.find(({ address, type }) => address === 0x10_0000 && type === 1);
  data.setUint32(ALT_MEM_K, Math.floor((extended?.size ?? 0) / 1024), true);
}

/** Low half at `low`, high half at `high`. */
function writeSplit(data: DataView, low: number, high: number, value: number): void {
  data.setUint32(low, value % 0x1_0000_0000, true);
  data.setUint32(high, Math.floor(value / 0x1_0000_0000), true);
}
