import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseElf } from '../../../src/loader/elf.ts';
import { findPvhEntry, isLinux, parseNotes } from '../../../src/loader/elf-notes.ts';
import { LoadError } from '../../../src/loader/load-error.ts';
import { type ElfFields, makeElf, makeNote, makePvhNote, PT_INTERP, PT_LOAD, PT_NOTE, PT_TLS } from './kernels.ts';

function failure(bytes: Uint8Array): LoadError | undefined {
  try {
    findPvhEntry(parseElf(bytes, 'vmlinux').notes, 'vmlinux');
    return undefined;
  } catch (error) {
    if (error instanceof LoadError) return error;
    throw error;
  }
}

const code = new Uint8Array(32).fill(0x90);

describe('parseElf', () => {
  it('places segments by p_paddr and keeps the physical entry point', () => {
    const elf = parseElf(makeElf(), 'vmlinux');
    expect(elf.class).toBe(64);
    expect(elf.physicalEntry).toBe(0x100_0000);
    expect(elf.segments).toHaveLength(1);
    expect(elf.segments[0]).toMatchObject({ address: 0x100_0000, memorySize: 0x1000 });
    expect(elf.segments[0]!.data).toHaveLength(64);
  });

  it('translates a virtual entry point exactly, beyond 2^53', () => {
    const vaddr = 0xffff_ffff_8100_0000n;
    const programs = [{ vaddr, paddr: 0x100_0000n, data: code }];
    expect(parseElf(makeElf({ entry: vaddr + 7n, programs }), 'k').physicalEntry).toBe(0x100_0007);
  });

  it('sorts segments, keeps one at virtual address 0 (percpu) where p_paddr says, drops empty ones', () => {
    const programs = [
      { vaddr: 0n, paddr: 0x200_0000n, data: code, memsz: 0x3000n },
      { paddr: 0x100_0000n, data: code },
      { paddr: 0x300_0000n, memsz: 0n },
    ];
    const { segments } = parseElf(makeElf({ programs }), 'k');
    expect(segments.map(({ address }) => address)).toEqual([0x100_0000, 0x200_0000]);
  });

  it('loads a PT_TLS of its own, and not one that lies inside a PT_LOAD', () => {
    const own = { type: PT_TLS, paddr: 0x180_0000n, data: code, memsz: 0x4000n };
    const inside = { type: PT_TLS, paddr: 0x100_0010n, data: code.subarray(0, 8) };
    const { segments } = parseElf(makeElf({ programs: [{ paddr: 0x100_0000n, data: code }, own, inside] }), 'k');
    expect(segments.map(({ address, memorySize }) => [address, memorySize])).toEqual([
      [0x100_0000, 32],
      [0x180_0000, 32],
    ]);
  });

  it('reads 32-bit files', () => {
    const elf = parseElf(makeElf({ bits: 32, programs: [{ paddr: 0x10_0000n, data: code }], entry: 0x10_0004n }), 'k');
    expect(elf).toMatchObject({ class: 32, physicalEntry: 0x10_0004 });
  });

  const load = { type: PT_LOAD, paddr: 0x100_0000n, data: code };
  it.each<[string, ElfFields, string]>([
    ['big endian', { encoding: 2 }, 'EI_DATA'],
    ['another machine', { machine: 183 }, 'e_machine'],
    ['a relocatable object', { type: 1 }, 'e_type'],
    ['a core dump', { type: 4 }, 'e_type'],
    ['no program headers', { phnum: 0 }, 'e_phnum'],
    ['PN_XNUM', { phnum: 0xffff }, 'e_phnum'],
    ['program header size', { phentsize: 32 }, 'e_phentsize'],
    ['program headers inside the ELF header', { phoff: 16 }, 'e_phoff'],
    ['program headers beyond the file', { phoff: 0x10_0000 }, 'e_phoff'],
    [
      'segment beyond the file',
      { programs: [{ ...load, filesz: 0x1000, memsz: 0x1000n }] },
      'program header 0 p_filesz',
    ],
    ['segment offset beyond the file', { programs: [{ ...load, offset: 0x9999 }] }, 'program header 0 p_filesz'],
    ['p_filesz above p_memsz', { programs: [{ ...load, memsz: 8n }] }, 'program header 0 p_memsz'],
    ['p_paddr overflow', { programs: [{ ...load, paddr: 0xffff_ffff_ffff_f000n }] }, 'program header 0 p_paddr'],
    ['p_memsz overflow', { programs: [{ ...load, memsz: 0xffff_ffff_ffff_ffffn }] }, 'program header 0 p_paddr'],
    ['a dynamically linked program', { programs: [load, { type: PT_INTERP }] }, 'PT_INTERP'],
    ['no PT_LOAD', { programs: [{ type: PT_NOTE }] }, 'PT_LOAD'],
    ['overlap', { programs: [load, { ...load, paddr: 0x100_0010n }] }, 'PT_LOAD'],
    ['entry outside', { entry: 0x42n }, 'e_entry'],
  ])('refuses %s', (_name, fields, field) => {
    const error = failure(makeElf(fields));
    expect(error?.field).toBe(field);
    expect(error!.message).toMatch(/^vmlinux: [^\n]+; [^\n]+$/);
  });

  it('refuses truncated headers and wrong classes', () => {
    expect(failure(makeElf().subarray(0, 40))?.field).toBe('ELF header');
    const odd = makeElf().slice();
    odd[4] = 7;
    expect(failure(odd)?.field).toBe('EI_CLASS');
  });

  it('fails by LoadError only, whatever the headers hold', () => {
    const programs = [load, { type: PT_NOTE, data: makePvhNote(0x100_0000) }];
    const base = makeElf({ programs });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 4, max: base.length - 1 }), fc.integer({ min: 0, max: 255 })), {
          minLength: 1,
          maxLength: 8,
        }),
        (changes) => {
          const bytes = base.slice();
          for (const [at, value] of changes) bytes[at] = value;
          expect(failure(bytes)?.message ?? '').not.toContain('\n');
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('ELF notes', () => {
  it('finds the PVH entry point in 4 and 8 bytes, after other notes', () => {
    for (const width of [4, 8] as const) {
      const notes = parseNotes(
        Uint8Array.from([...makeNote('GNU', 3, new Uint8Array(20)), ...makePvhNote(0x123_4560, width)]),
        4,
        'k',
      );
      expect(notes.map(({ owner }) => owner)).toEqual(['GNU', 'Xen']);
      expect(findPvhEntry(notes, 'k')).toBe(0x123_4560);
    }
  });

  it('takes other notes of Xen and other owners for what they are', () => {
    expect(findPvhEntry(parseNotes(makeNote('Xen', 6, Uint8Array.of(1)), 4, 'k'), 'k')).toBeUndefined();
    expect(findPvhEntry(parseNotes(makeNote('Xan', 18, new Uint8Array(4)), 4, 'k'), 'k')).toBeUndefined();
    expect(isLinux(parseNotes(makeNote('Linux', 0x100, new Uint8Array(4)), 4, 'k'))).toBe(true);
  });

  it('reads notes aligned to 8', () => {
    const first = makeNote('GNU', 5, new Uint8Array(4));
    const padded = new Uint8Array(Math.ceil(first.length / 8) * 8);
    padded.set(first);
    const notes = parseNotes(Uint8Array.from([...padded, ...makeNote('Xen', 18, new Uint8Array(8))]), 8, 'k');
    expect(notes.map(({ type }) => type)).toEqual([5, 18]);
  });

  it.each<[string, Uint8Array, bigint]>([
    ['namesz beyond the segment', makeNote('Xen', 18, new Uint8Array(4), { name: 0xffff_fff0 }), 4n],
    ['descsz beyond the segment', makeNote('Xen', 18, new Uint8Array(4), { descriptor: 0xffff_fff0 }), 4n],
    ['alignment 3', makePvhNote(1), 3n],
    ['descriptor of 2 bytes', makeNote('Xen', 18, new Uint8Array(2)), 4n],
    ['an entry beyond 4 GiB', makeNote('Xen', 18, new Uint8Array(8).fill(1)), 4n],
  ])('refuses %s', (_name, data, align) => {
    const bytes = makeElf({
      programs: [
        { paddr: 0x100_0000n, data: code },
        { type: PT_NOTE, data, align },
      ],
    });
    expect(failure(bytes)).toBeInstanceOf(LoadError);
  });
});
