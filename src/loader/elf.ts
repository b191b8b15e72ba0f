/**
 * ELF executables for x86: the segments to load, the notes and the entry point (System V ABI, generic part, chapters 4
 * and 5). The headers are read by npm `elfy`; what it cannot do is done here, with the reason beside it.
 */

import elfy, { type ElfHeader } from 'elfy';
import { type ElfNote, parseNotes } from './elf-notes.ts';
import { hex, LoadError } from './load-error.ts';

/** Bytes that belong at a guest-physical address, followed by zeros up to `memorySize`. */
export interface Segment {
  readonly address: number;
  readonly data: Uint8Array;
  readonly memorySize: number;
}

export interface ElfFile {
  readonly class: 32 | 64;
  /** e_entry as it stands. */
  readonly entry: bigint;
  /** Guest-physical address of the entry point: e_entry itself if a segment holds it, else translated through p_vaddr. */
  readonly physicalEntry: number;
  /** What to load, by p_paddr, in ascending order, without overlaps. */
  readonly segments: readonly Segment[];
  readonly notes: readonly ElfNote[];
}

interface HeaderLayout {
  readonly headerSize: number;
  readonly phoffAt: number;
  readonly shoffAt: number;
  /** Offset of e_phentsize; e_phnum, e_shentsize, e_shnum, e_shstrndx follow it. */
  readonly phentsizeAt: number;
  readonly programSize: number;
  readonly sectionSize: number;
  readonly wordSize: 4 | 8;
}

const ELF32: HeaderLayout = {
  headerSize: 52,
  phoffAt: 28,
  shoffAt: 32,
  phentsizeAt: 42,
  programSize: 32,
  sectionSize: 40,
  wordSize: 4,
};
const ELF64: HeaderLayout = {
  headerSize: 64,
  phoffAt: 32,
  shoffAt: 40,
  phentsizeAt: 54,
  programSize: 56,
  sectionSize: 64,
  wordSize: 8,
};

const PN_XNUM = 0xffff;
const SHT_STRTAB = 3;

/** Parses and checks the ELF file `bytes` named `file`. Throws LoadError. */
export function parseElf(bytes: Uint8Array, file: string): ElfFile {
  const layout = checkIdentification(bytes, file);
  const { phoff, phnum } = checkProgramTable(bytes, layout, file);
  const header = elfy.parse(headersForElfy(bytes, layout, phoff, phnum));
  checkType(header, file);
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const notes: ElfNote[] = [];
  const loads: LoadSegment[] = [];
  const tls: LoadSegment[] = [];
  header.body.programs.forEach((program, index) => {
    const name = `program header ${index}`;
    const { type, offset, filesz, memsz, paddr, align } = program;
    if (type === 'interp') {
      throw new LoadError({
        file,
        field: 'PT_INTERP',
        problem: 'is a program for an operating system, linked dynamically',
        remedy: 'name a kernel',
      });
    }
    if (type !== 'load' && type !== 'note' && type !== 'tls') return;
    if (offset + filesz > bytes.length) {
      throw new LoadError({
        file,
        field: `${name} p_filesz`,
        problem: `[${hex(offset)}, +${hex(filesz)}) reaches beyond the ${bytes.length} bytes of the file`,
        remedy: 'the file is damaged or cut short: copy it again',
      });
    }
    const contents = bytes.subarray(offset, offset + filesz);
    if (type === 'note') {
      notes.push(...parseNotes(contents, align, `${file}: ${name}`));
      return;
    }
    if (type === 'load' && filesz > memsz) {
      throw new LoadError({
        file,
        field: `${name} p_memsz`,
        problem: `${hex(memsz)} is less than p_filesz ${hex(filesz)}`,
        remedy: 'the file is damaged: link it again',
      });
    }
    if (!Number.isSafeInteger(paddr + memsz)) {
      throw new LoadError({
        file,
        field: `${name} p_paddr`,
        problem: `[${hex(paddr)}, +${hex(memsz)}) is no physical address`,
        remedy: 'link the file with load addresses (AT) inside guest RAM',
      });
    }
    // elfy rounds 64-bit fields to doubles: exact for physical addresses, not for kernel virtual ones.
    const vaddrAt = phoff + index * layout.programSize + (layout.wordSize === 8 ? 16 : 8);
    const vaddr = readWord(data, vaddrAt, layout);
    // Thread-local zeros (.tbss) take no room in memory: only the initialised part of PT_TLS is loaded.
    if (type === 'tls') tls.push({ address: paddr, data: contents, memorySize: filesz, vaddr });
    else if (memsz > 0) loads.push({ address: paddr, data: contents, memorySize: memsz, vaddr });
  });
  // A PT_TLS usually lies inside a PT_LOAD; Unikernel Linux has one of its own, which has to be loaded too.
  const loose = tls.filter((segment) => segment.memorySize > 0 && !loads.some((load) => overlap(load, segment)));
  const segments = [...loads, ...loose].sort((a, b) => a.address - b.address);
  checkSegments(segments, file);
  const entry = readWord(data, 24, layout);
  return {
    class: layout.wordSize === 8 ? 64 : 32,
    entry,
    physicalEntry: findEntry(entry, segments, file),
    segments: segments.map(({ address, data: contents, memorySize }) => ({ address, data: contents, memorySize })),
    notes,
  };
}

interface LoadSegment extends Segment {
  readonly vaddr: bigint;
}

function overlap(a: Segment, b: Segment): boolean {
  return a.address < b.address + b.memorySize && b.address < a.address + a.memorySize;
}

function checkIdentification(bytes: Uint8Array, file: string): HeaderLayout {
  const layout = bytes[4] === 2 ? ELF64 : ELF32;
  const remedy = 'name an x86-64 or i386 ELF executable';
  if (bytes.length < layout.headerSize) {
    throw new LoadError({
      file,
      field: 'ELF header',
      problem: `the file has only ${bytes.length} bytes`,
      remedy: 'the file is cut short: copy it again',
    });
  }
  if (bytes[0] !== 0x7f || bytes[1] !== 0x45 || bytes[2] !== 0x4c || bytes[3] !== 0x46) {
    throw new LoadError({ file, field: 'e_ident', problem: 'the ELF magic is missing', remedy });
  }
  if (bytes[4] !== 1 && bytes[4] !== 2) {
    throw new LoadError({ file, field: 'EI_CLASS', problem: `is ${bytes[4]}, neither 32 nor 64 bit`, remedy });
  }
  if (bytes[5] !== 1) {
    throw new LoadError({ file, field: 'EI_DATA', problem: 'the file is not little-endian', remedy });
  }
  return layout;
}

function checkType(header: ElfHeader, file: string): void {
  if (header.machine !== 'amd64' && header.machine !== '386') {
    throw new LoadError({
      file,
      field: 'e_machine',
      problem: `is for ${header.machine ?? 'another machine'}, not x86`,
      remedy: 'name an x86-64 or i386 ELF executable',
    });
  }
  if (header.type !== 'exec' && header.type !== 'dyn') {
    throw new LoadError({
      file,
      field: 'e_type',
      problem: `is ${header.type ?? 'unknown'}, not an executable`,
      remedy: 'name the linked kernel (vmlinux), not an object file, module or core dump',
    });
  }
}

/** Place and number of the program headers, checked against the file. */
function checkProgramTable(
  bytes: Uint8Array,
  layout: HeaderLayout,
  file: string,
): { readonly phoff: number; readonly phnum: number } {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const phoff = Number(readWord(data, layout.phoffAt, layout));
  const phentsize = data.getUint16(layout.phentsizeAt, true);
  const phnum = data.getUint16(layout.phentsizeAt + 2, true);
  if (phnum === 0 || phnum === PN_XNUM) {
    throw new LoadError({
      file,
      field: 'e_phnum',
      problem: phnum === 0 ? 'there are no program headers, so nothing to load' : 'is PN_XNUM, which no kernel needs',
      remedy: 'name the linked kernel (vmlinux), not an object file or module',
    });
  }
  if (phentsize !== layout.programSize) {
    throw new LoadError({
      file,
      field: 'e_phentsize',
      problem: `is ${phentsize}, not ${layout.programSize}`,
      remedy: 'the file is damaged: link or copy it again',
    });
  }
  if (phoff < layout.headerSize || phoff + phnum * phentsize > bytes.length) {
    throw new LoadError({
      file,
      field: 'e_phoff',
      problem: `${phnum} program headers at ${hex(phoff)} do not fit between the ELF header and the end of the file`,
      remedy: 'the file is damaged or cut short: copy it again',
    });
  }
  return { phoff, phnum };
}

/**
 * The headers of `bytes` as a small file of their own: ELF header, program headers and one empty string table. elfy insists
 * on a section string table (stripped kernels have none), reads section alignments from the wrong offsets, and would
 * convert every section of a kernel with debug information; none of that is wanted here.
 */
function headersForElfy(bytes: Uint8Array, layout: HeaderLayout, phoff: number, phnum: number): Buffer {
  const tableSize = phnum * layout.programSize;
  const sectionAt = layout.headerSize + tableSize;
  const image = Buffer.alloc(sectionAt + layout.sectionSize);
  const data = new DataView(image.buffer, image.byteOffset, image.byteLength);
  image.set(bytes.subarray(0, layout.headerSize));
  image.set(bytes.subarray(phoff, phoff + tableSize), layout.headerSize);
  writeWord(data, layout.phoffAt, layout.headerSize, layout);
  writeWord(data, layout.shoffAt, sectionAt, layout);
  data.setUint16(layout.phentsizeAt + 4, layout.sectionSize, true);
  data.setUint16(layout.phentsizeAt + 6, 1, true);
  data.setUint16(layout.phentsizeAt + 8, 0, true);
  data.setUint32(sectionAt + 4, SHT_STRTAB, true);
  return image;
}

function checkSegments(segments: readonly LoadSegment[], file: string): void {
  if (segments.length === 0) {
    throw new LoadError({
      file,
      field: 'PT_LOAD',
      problem: 'there is no segment to load',
      remedy: 'name the linked kernel (vmlinux)',
    });
  }
  segments.forEach((segment, index) => {
    const previous = segments[index - 1];
    if (previous !== undefined && overlap(previous, segment)) {
      throw new LoadError({
        file,
        field: 'PT_LOAD',
        problem: `the segments at ${hex(previous.address)} and ${hex(segment.address)} overlap in physical memory`,
        remedy: 'link the file with load addresses (AT) of their own',
      });
    }
  });
}

function findEntry(entry: bigint, segments: readonly LoadSegment[], file: string): number {
  for (const { address, memorySize } of segments) {
    if (entry >= BigInt(address) && entry < BigInt(address + memorySize)) return Number(entry);
  }
  for (const { address, memorySize, vaddr } of segments) {
    if (entry >= vaddr && entry < vaddr + BigInt(memorySize)) return Number(entry - vaddr) + address;
  }
  throw new LoadError({
    file,
    field: 'e_entry',
    problem: `${hex(entry)} lies in no loaded segment`,
    remedy: 'link the file with an entry point (ENTRY) inside its code',
  });
}

function readWord(data: DataView, offset: number, layout: HeaderLayout): bigint {
  return layout.wordSize === 8 ? data.getBigUint64(offset, true) : BigInt(data.getUint32(offset, true));
}

function writeWord(data: DataView, offset: number, value: number, layout: HeaderLayout): void {
  if (layout.wordSize === 8) data.setBigUint64(offset, BigInt(value), true);
  else data.setUint32(offset, value, true);
}
