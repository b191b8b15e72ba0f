/**
 * The setup header of a Linux bzImage: Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header". A field is read
 * only if the file's protocol version defines it.
 */

import { hex, LoadError } from './load-error.ts';

/** Byte offset of setup_sects, where the header that boot_params copies begins. */
export const SETUP_HEADER_OFFSET = 0x1f1;
/** The 64-bit entry point lies this far into the protected-mode code. */
export const ENTRY_64_OFFSET = 0x200;

const BOOT_FLAG_OFFSET = 0x1fe;
const MAGIC_OFFSET = 0x202;
const BOOT_FLAG = 0xaa55;
const HDRS = 0x53726448;
const SECTOR = 512;

/** loadflags bit 0: the protected-mode code belongs at 1 MiB, not 64 KiB. */
const LOADED_HIGH = 0x01;
/** xloadflags bit 0: the kernel has the 64-bit entry point. */
const XLF_KERNEL_64 = 0x01;

const LOWEST_LOAD_ADDRESS = 0x10_0000;

/** The header's fields under the names of boot.rst; undefined where the protocol version does not define one. */
export interface SetupHeader {
  readonly setupSects: number;
  readonly rootFlags: number;
  readonly syssize: number;
  readonly vidMode: number;
  readonly rootDev: number;
  readonly bootFlag: number;
  /** Protocol version: major in the high byte. */
  readonly version: number;
  readonly kernelVersion: string | undefined;
  readonly loadflags: number;
  readonly code32Start: number;
  readonly initrdAddrMax: number | undefined;
  readonly kernelAlignment: number | undefined;
  readonly relocatableKernel: boolean | undefined;
  readonly minAlignment: number | undefined;
  readonly xloadflags: number | undefined;
  readonly cmdlineSize: number | undefined;
  readonly hardwareSubarch: number | undefined;
  readonly payloadOffset: number | undefined;
  readonly payloadLength: number | undefined;
  readonly prefAddress: number | undefined;
  readonly initSize: number | undefined;
  readonly handoverOffset: number | undefined;
  readonly kernelInfoOffset: number | undefined;
  /** End of the header in the file: 0x202 plus the byte at 0x201. */
  readonly end: number;
}

export interface BzImage {
  readonly header: SetupHeader;
  /** The header's bytes, from SETUP_HEADER_OFFSET to `header.end`, for boot_params. */
  readonly headerBytes: Uint8Array;
  /** The protected-mode code (all that follows the setup sectors). */
  readonly protectedMode: Uint8Array;
  /** The compressed kernel inside `protectedMode`; undefined when the version has no such field or it is empty. */
  readonly payload: Uint8Array | undefined;
  /** Where the protected-mode code is to be loaded. */
  readonly loadAddress: number;
  /** Bytes from `loadAddress` that the kernel needs until it reads its memory map. */
  readonly runtimeSize: number;
  readonly entry: { readonly mode: 'linux64' | 'linux32'; readonly address: number };
}

/** Parses and checks the bzImage `bytes` of the file named `file`. Throws LoadError. */
export function parseBzImage(bytes: Uint8Array, file: string): BzImage {
  const header = parseSetupHeader(bytes, file);
  const setupLength = (header.setupSects + 1) * SECTOR;
  if (bytes.length <= setupLength) {
    throw new LoadError({
      file,
      field: 'setup_sects',
      problem: `the setup code is ${setupLength} bytes, the file only ${bytes.length}`,
      remedy: 'the file is cut short: copy it again',
    });
  }
  const protectedMode = bytes.subarray(setupLength);
  const least = header.syssize * 16 - 15;
  if (protectedMode.length < least) {
    throw new LoadError({
      file,
      field: 'syssize',
      problem: `${least} bytes of protected-mode code announced, ${protectedMode.length} present`,
      remedy: 'the file is cut short: copy it again',
    });
  }
  const loadAddress = chooseLoadAddress(header, file);
  return {
    header,
    headerBytes: bytes.subarray(SETUP_HEADER_OFFSET, Math.min(header.end, bytes.length)),
    protectedMode,
    payload: findPayload(header, protectedMode, file),
    loadAddress,
    runtimeSize: Math.max(header.initSize ?? 0, protectedMode.length),
    entry: chooseEntry(header, loadAddress, file),
  };
}

/** Reads and checks the setup header alone. Throws LoadError. */
export function parseSetupHeader(bytes: Uint8Array, file: string): SetupHeader {
  if (bytes.length < MAGIC_OFFSET + 6) {
    throw new LoadError({
      file,
      field: 'setup header',
      problem: bytes.length === 0 ? 'the file is empty' : `the file has only ${bytes.length} bytes`,
      remedy: 'name a Linux bzImage, an ELF vmlinux or a Multiboot kernel',
    });
  }
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const bootFlag = data.getUint16(BOOT_FLAG_OFFSET, true);
  if (bootFlag !== BOOT_FLAG) {
    throw notLinux(file, 'boot_flag', `is ${hex(bootFlag)}, not 0xaa55`);
  }
  if (data.getUint32(MAGIC_OFFSET, true) !== HDRS) {
    throw notLinux(file, 'header', "the magic 'HdrS' is missing");
  }
  const version = data.getUint16(0x206, true);
  if (version < 0x0202) {
    throw new LoadError({
      file,
      field: 'version',
      problem: `boot protocol ${versionText(version)} is older than 2.02, the first with a 32-bit command line pointer`,
      remedy: 'use a kernel newer than Linux 2.4.0',
    });
  }
  const end = MAGIC_OFFSET + bytes[0x201]!;
  const has = (since: number, offset: number, length: number): boolean =>
    version >= since && offset + length <= end && offset + length <= bytes.length;
  const u8 = (since: number, offset: number) => (has(since, offset, 1) ? data.getUint8(offset) : undefined);
  const u16 = (since: number, offset: number) => (has(since, offset, 2) ? data.getUint16(offset, true) : undefined);
  const u32 = (since: number, offset: number) => (has(since, offset, 4) ? data.getUint32(offset, true) : undefined);
  const u64 = (since: number, offset: number) =>
    has(since, offset, 8) ? Number(data.getBigUint64(offset, true)) : undefined;
  const loadflags = required(u8(0x0200, 0x211), file, 'loadflags');
  if ((loadflags & LOADED_HIGH) === 0) {
    throw new LoadError({
      file,
      field: 'loadflags',
      problem: 'LOADED_HIGH is clear: a zImage for low memory',
      remedy: 'build the kernel as a bzImage',
    });
  }
  const relocatable = u8(0x0205, 0x234);
  return {
    // Zero means four, for compatibility with the oldest boot sectors.
    setupSects: bytes[SETUP_HEADER_OFFSET] === 0 ? 4 : bytes[SETUP_HEADER_OFFSET]!,
    rootFlags: data.getUint16(0x1f2, true),
    syssize: version >= 0x0204 ? data.getUint32(0x1f4, true) : data.getUint16(0x1f4, true),
    vidMode: data.getUint16(0x1fa, true),
    rootDev: data.getUint16(0x1fc, true),
    bootFlag,
    version,
    kernelVersion: kernelVersionText(bytes, u16(0x0200, 0x20e)),
    loadflags,
    code32Start: required(u32(0x0200, 0x214), file, 'code32_start'),
    initrdAddrMax: u32(0x0203, 0x22c),
    kernelAlignment: u32(0x0205, 0x230),
    relocatableKernel: relocatable === undefined ? undefined : relocatable !== 0,
    minAlignment: u8(0x020a, 0x235),
    xloadflags: u16(0x020c, 0x236),
    cmdlineSize: u32(0x0206, 0x238),
    hardwareSubarch: u32(0x0207, 0x23c),
    payloadOffset: u32(0x0208, 0x248),
    payloadLength: u32(0x0208, 0x24c),
    prefAddress: u64(0x020a, 0x258),
    initSize: u32(0x020a, 0x260),
    handoverOffset: u32(0x020b, 0x264),
    kernelInfoOffset: u32(0x020f, 0x268),
    end,
  };
}

/** "2.15" for 0x020f. */
export function versionText(version: number): string {
  return `${version >> 8}.${String(version & 0xff).padStart(2, '0')}`;
}

/** True when the header offers the 64-bit entry point: protocol 2.12 with XLF_KERNEL_64. */
export function hasEntry64(header: SetupHeader): boolean {
  return header.xloadflags !== undefined && (header.xloadflags & XLF_KERNEL_64) !== 0;
}

function required(value: number | undefined, file: string, field: string): number {
  if (value !== undefined) return value;
  throw new LoadError({
    file,
    field,
    problem: 'lies beyond the end of the setup header',
    remedy: 'the header is damaged: build or copy the kernel again',
  });
}

function notLinux(file: string, field: string, problem: string): LoadError {
  return new LoadError({ file, field, problem, remedy: 'name a Linux bzImage, an ELF vmlinux or a Multiboot kernel' });
}

/** The text kernel_version points to: an offset from 0x200 into the setup code; 0 means none. */
function kernelVersionText(bytes: Uint8Array, pointer: number | undefined): string | undefined {
  if (pointer === undefined || pointer === 0) return undefined;
  const start = pointer + 0x200;
  const end = bytes.indexOf(0, start);
  if (start >= bytes.length || end < 0 || end - start > 255) return undefined;
  return new TextDecoder('latin1').decode(bytes.subarray(start, end));
}

/** pref_address where the version has it, else code32_start's default of 1 MiB. */
function chooseLoadAddress(header: SetupHeader, file: string): number {
  if (header.relocatableKernel === true) {
    const alignment = header.kernelAlignment ?? 0;
    if (alignment === 0 || !Number.isInteger(Math.log2(alignment))) {
      throw new LoadError({
        file,
        field: 'kernel_alignment',
        problem: `is ${hex(alignment)}, not a power of two, though the kernel says it is relocatable`,
        remedy: 'the header is damaged: build or copy the kernel again',
      });
    }
  }
  const address = header.prefAddress ?? LOWEST_LOAD_ADDRESS;
  if (address < LOWEST_LOAD_ADDRESS) {
    throw new LoadError({
      file,
      field: 'pref_address',
      problem: `is ${hex(address)}, below 1 MiB`,
      remedy: 'the header is damaged: build or copy the kernel again',
    });
  }
  return address;
}

/** The 64-bit entry where there is one, else the 32-bit entry, which moves with the load address when relocatable. */
function chooseEntry(header: SetupHeader, loadAddress: number, file: string): BzImage['entry'] {
  if (hasEntry64(header)) return { mode: 'linux64', address: loadAddress + ENTRY_64_OFFSET };
  if (header.code32Start < LOWEST_LOAD_ADDRESS) {
    throw new LoadError({
      file,
      field: 'code32_start',
      problem: `is ${hex(header.code32Start)}, below 1 MiB, and there is no 64-bit entry point`,
      remedy: 'this image needs a BIOS; use a kernel with a 32-bit or 64-bit entry',
    });
  }
  return { mode: 'linux32', address: header.code32Start - LOWEST_LOAD_ADDRESS + loadAddress };
}

function findPayload(header: SetupHeader, protectedMode: Uint8Array, file: string): Uint8Array | undefined {
  const { payloadOffset: offset, payloadLength: length } = header;
  if (offset === undefined || length === undefined || length === 0) return undefined;
  if (offset + length > protectedMode.length) {
    throw new LoadError({
      file,
      field: offset > protectedMode.length ? 'payload_offset' : 'payload_length',
      problem: `the payload [${hex(offset)}, +${hex(length)}) lies outside the ${protectedMode.length} bytes of code`,
      remedy: 'the file is damaged or cut short: copy it again',
    });
  }
  return protectedMode.subarray(offset, offset + length);
}
