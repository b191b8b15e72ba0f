/** ELF notes (System V ABI, "Note Section") and the one that makes a kernel bootable by PVH. */

import { LoadError } from './load-error.ts';

export interface ElfNote {
  readonly owner: string;
  readonly type: number;
  readonly descriptor: Uint8Array;
}

/** Xen public headers, elfnote.h: physical address of the 32-bit PVH entry point. */
const XEN_ELFNOTE_PHYS32_ENTRY = 18;
const NOTE_HEADER_SIZE = 12;

/** The notes of one PT_NOTE segment whose p_align is `align`. `where` names the segment in errors. Throws LoadError. */
export function parseNotes(bytes: Uint8Array, align: number, where: string): ElfNote[] {
  // 0 and 1 mean "no constraint"; notes are then aligned to words of 4 bytes all the same.
  const unit = align <= 1 ? 4 : align;
  if (unit !== 4 && unit !== 8) {
    throw new LoadError({
      file: where,
      field: 'p_align',
      problem: `is ${align}, notes are aligned to 4 or 8`,
      remedy: 'the file is damaged: link it again',
    });
  }
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const notes: ElfNote[] = [];
  let offset = 0;
  while (offset + NOTE_HEADER_SIZE <= bytes.length) {
    const nameSize = data.getUint32(offset, true);
    const descriptorSize = data.getUint32(offset + 4, true);
    const nameAt = offset + NOTE_HEADER_SIZE;
    const descriptorAt = roundUp(nameAt + nameSize, unit);
    if (descriptorAt + descriptorSize > bytes.length) {
      throw new LoadError({
        file: where,
        field: 'PT_NOTE',
        problem: `a note with namesz ${nameSize} and descsz ${descriptorSize} reaches beyond its segment`,
        remedy: 'the file is damaged: link or copy it again',
      });
    }
    notes.push({
      owner: new TextDecoder('latin1').decode(bytes.subarray(nameAt, nameAt + Math.max(0, nameSize - 1))),
      type: data.getUint32(offset + 8, true),
      descriptor: bytes.subarray(descriptorAt, descriptorAt + descriptorSize),
    });
    offset = roundUp(descriptorAt + descriptorSize, unit);
  }
  return notes;
}

/** Physical address of the PVH entry point, if a note names one. Throws LoadError if the note is malformed. */
export function findPvhEntry(notes: readonly ElfNote[], file: string): number | undefined {
  const note = notes.find(({ owner, type }) => owner === 'Xen' && type === XEN_ELFNOTE_PHYS32_ENTRY);
  if (note === undefined) return undefined;
  const { descriptor } = note;
  const data = new DataView(descriptor.buffer, descriptor.byteOffset, descriptor.byteLength);
  const address =
    descriptor.length === 4
      ? BigInt(data.getUint32(0, true))
      : descriptor.length === 8
        ? data.getBigUint64(0, true)
        : -1n;
  if (address < 0n || address > 0xffff_ffffn) {
    throw new LoadError({
      file,
      field: 'XEN_ELFNOTE_PHYS32_ENTRY',
      problem: `holds ${descriptor.length} bytes that are no 32-bit address`,
      remedy: 'the note is damaged: link the file again',
    });
  }
  return Number(address);
}

/** True for vmlinux files: Linux marks itself with notes of the owner "Linux". */
export function isLinux(notes: readonly ElfNote[]): boolean {
  return notes.some(({ owner }) => owner === 'Linux');
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
