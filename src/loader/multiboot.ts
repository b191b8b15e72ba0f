/** Multiboot 1 kernels: Multiboot Specification 0.6.96, sections 3.1.2 and 3.1.3. */

import { type ElfFile, parseElf, type Segment } from './elf.ts';
import { hex, LoadError } from './load-error.ts';
import { findMultibootHeader, type MultibootHeader } from './multiboot-header.ts';

/** Bits 0-15 must be understood by the loader. Known: page-aligned modules, memory information, video mode (a wish). */
const KNOWN_REQUIREMENTS = 0x7;
const MULTIBOOT_HAS_ADDRESSES = 0x1_0000;

/** Segments and entry of the Multiboot kernel `bytes`: by its address fields if it has them, else as the ELF it is. */
export function loadMultiboot(
  bytes: Uint8Array,
  file: string,
  elf?: ElfFile,
): { readonly entry: number; readonly segments: readonly Segment[] } {
  const header = findMultibootHeader(bytes);
  if (header === undefined) {
    throw new LoadError({
      file,
      field: 'Multiboot header',
      problem: 'there is none with a valid checksum in the first 8192 bytes',
      remedy: 'link the header (4-byte aligned) to the front of the kernel',
    });
  }
  const unknown = header.flags & 0xffff & ~KNOWN_REQUIREMENTS;
  if (unknown !== 0) {
    throw new LoadError({
      file,
      field: 'Multiboot flags',
      problem: `require features ${hex(unknown)}, which are not known`,
      remedy: 'the kernel needs another loader',
    });
  }
  if ((header.flags & MULTIBOOT_HAS_ADDRESSES) !== 0) return loadByAddresses(bytes, header, file);
  const { physicalEntry, segments } = elf ?? parseElf(bytes, file);
  return { entry: physicalEntry, segments };
}

function loadByAddresses(
  bytes: Uint8Array,
  { offset, addresses }: MultibootHeader,
  file: string,
): { readonly entry: number; readonly segments: readonly Segment[] } {
  const inconsistent = (field: string, problem: string): LoadError =>
    new LoadError({ file, field, problem, remedy: 'correct the address fields of the Multiboot header' });
  if (addresses === undefined)
    throw inconsistent('Multiboot flags', 'bit 16 is set, but the file ends before the address fields');
  const { header, load, loadEnd, bssEnd, entry } = addresses;
  const start = offset - (header - load);
  if (load > header || start < 0) {
    throw inconsistent(
      'load_addr',
      `${hex(load)} does not fit header_addr ${hex(header)} at file offset ${hex(offset)}`,
    );
  }
  const size = loadEnd === 0 ? bytes.length - start : loadEnd - load;
  if (size <= 0 || start + size > bytes.length) {
    throw inconsistent('load_end_addr', `${hex(loadEnd)} lies outside the ${bytes.length} bytes of the file`);
  }
  if (bssEnd !== 0 && bssEnd < load + size) {
    throw inconsistent('bss_end_addr', `${hex(bssEnd)} lies before the end of the data at ${hex(load + size)}`);
  }
  const memorySize = bssEnd === 0 ? size : bssEnd - load;
  if (entry < load || entry >= load + memorySize) {
    throw inconsistent('entry_addr', `${hex(entry)} lies outside [${hex(load)}, +${hex(memorySize)})`);
  }
  return { entry, segments: [{ address: load, data: bytes.subarray(start, start + size), memorySize }] };
}
