/** Kernels made for tests: bzImages and ELF files of which every field can be set. */

export interface BzImageFields {
  readonly setupSects?: number;
  readonly bootFlag?: number;
  readonly magic?: string;
  readonly version?: number;
  readonly loadflags?: number;
  readonly code32Start?: number;
  readonly xloadflags?: number;
  readonly prefAddress?: bigint;
  readonly initSize?: number;
  readonly alignment?: number;
  readonly relocatable?: number;
  readonly initrdAddrMax?: number;
  readonly cmdlineSize?: number;
  readonly syssize?: number;
  readonly payload?: Uint8Array;
  readonly payloadOffset?: number;
  readonly payloadLength?: number;
  readonly setupData?: bigint;
  /** End of the header minus 0x202. */
  readonly headerLength?: number;
  /** Bytes of protected-mode code. */
  readonly codeSize?: number;
}

const PAYLOAD_AT = 0x300;

/** A bzImage of protocol 2.15 with a 64-bit entry, unless `fields` say otherwise. */
export function makeBzImage(fields: BzImageFields = {}): Uint8Array {
  const payload = fields.payload ?? new Uint8Array(0);
  const codeSize = fields.codeSize ?? Math.ceil((PAYLOAD_AT + payload.length) / 16) * 16;
  const setupSects = fields.setupSects ?? 1;
  const setupLength = ((setupSects || 4) + 1) * 512;
  const file = new Uint8Array(setupLength + codeSize);
  const data = new DataView(file.buffer);
  file[0x1f1] = setupSects;
  data.setUint32(0x1f4, fields.syssize ?? codeSize / 16, true);
  data.setUint16(0x1fe, fields.bootFlag ?? 0xaa55, true);
  file[0x200] = 0xeb;
  file[0x201] = fields.headerLength ?? 0x6a;
  file.set(new TextEncoder().encode(fields.magic ?? 'HdrS'), 0x202);
  data.setUint16(0x206, fields.version ?? 0x020f, true);
  data.setUint16(0x20e, 0x80, true);
  file[0x211] = fields.loadflags ?? 1;
  data.setUint32(0x214, fields.code32Start ?? 0x10_0000, true);
  data.setUint32(0x22c, fields.initrdAddrMax ?? 0x7fff_ffff, true);
  data.setUint32(0x230, fields.alignment ?? 0x20_0000, true);
  file[0x234] = fields.relocatable ?? 1;
  data.setUint16(0x236, fields.xloadflags ?? 1, true);
  data.setUint32(0x238, fields.cmdlineSize ?? 2047, true);
  data.setUint32(0x248, fields.payloadOffset ?? (payload.length > 0 ? PAYLOAD_AT : 0), true);
  data.setUint32(0x24c, fields.payloadLength ?? payload.length, true);
  data.setBigUint64(0x250, fields.setupData ?? 0n, true);
  data.setBigUint64(0x258, fields.prefAddress ?? 0x100_0000n, true);
  data.setUint32(0x260, fields.initSize ?? 0x10_0000, true);
  file.set(new TextEncoder().encode('6.1.0-test (me@here)\0'), 0x280);
  file.set(payload, setupLength + PAYLOAD_AT);
  return file;
}

export interface ProgramHeader {
  readonly type?: number;
  readonly offset?: number;
  readonly vaddr?: bigint;
  readonly paddr?: bigint;
  readonly filesz?: number;
  readonly memsz?: bigint;
  readonly align?: bigint;
  /** Bytes put into the file for this segment; sets offset and filesz unless given. */
  readonly data?: Uint8Array;
}

export interface ElfFields {
  readonly bits?: 32 | 64;
  readonly encoding?: number;
  readonly type?: number;
  readonly machine?: number;
  readonly entry?: bigint;
  readonly phoff?: number;
  readonly phentsize?: number;
  readonly phnum?: number;
  readonly programs?: readonly ProgramHeader[];
  /** Put right after the program headers (a Multiboot header, say). */
  readonly front?: Uint8Array;
}

export const PT_LOAD = 1;
export const PT_INTERP = 3;
export const PT_NOTE = 4;
export const PT_TLS = 7;

/** A segment of 64 bytes of 0x90 at 16 MiB. */
const DEFAULT_PROGRAM: ProgramHeader = {
  type: PT_LOAD,
  vaddr: 0xffff_ffff_8100_0000n,
  paddr: 0x100_0000n,
  memsz: 0x1000n,
  data: new Uint8Array(64).fill(0x90),
};

/** An ELF executable for x86 without sections. */
export function makeElf(fields: ElfFields = {}): Uint8Array {
  const wide = (fields.bits ?? 64) === 64;
  const programs = fields.programs ?? [DEFAULT_PROGRAM];
  const headerSize = wide ? 64 : 52;
  const entrySize = wide ? 56 : 32;
  const front = fields.front ?? new Uint8Array(0);
  const frontAt = Math.ceil((headerSize + programs.length * entrySize) / 4) * 4;
  let size = frontAt + front.length;
  const offsets = programs.map(({ data }) => {
    const at = size;
    size += Math.ceil((data?.length ?? 0) / 8) * 8;
    return at;
  });
  const file = new Uint8Array(size);
  const view = new DataView(file.buffer);
  const word = (at: number, value: bigint): void => {
    if (wide) view.setBigUint64(at, value, true);
    else view.setUint32(at, Number(value & 0xffff_ffffn), true);
  };
  file.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, fields.encoding ?? 1, 1]);
  view.setUint16(16, fields.type ?? 2, true);
  view.setUint16(18, fields.machine ?? (wide ? 62 : 3), true);
  view.setUint32(20, 1, true);
  word(24, fields.entry ?? 0x100_0000n);
  word(wide ? 32 : 28, BigInt(fields.phoff ?? headerSize));
  const halves = wide ? 52 : 40;
  view.setUint16(halves, headerSize, true);
  view.setUint16(halves + 2, fields.phentsize ?? entrySize, true);
  view.setUint16(halves + 4, fields.phnum ?? programs.length, true);
  file.set(front, frontAt);
  programs.forEach((program, index) => {
    const at = headerSize + index * entrySize;
    const values = {
      offset: BigInt(program.offset ?? offsets[index]!),
      vaddr: program.vaddr ?? program.paddr ?? 0n,
      paddr: program.paddr ?? 0n,
      filesz: BigInt(program.filesz ?? program.data?.length ?? 0),
      memsz: program.memsz ?? BigInt(program.data?.length ?? 0),
      align: program.align ?? 0n,
    };
    view.setUint32(at, program.type ?? PT_LOAD, true);
    const order = [values.offset, values.vaddr, values.paddr, values.filesz, values.memsz];
    if (wide) {
      view.setUint32(at + 4, 5, true);
      for (const [field, value] of order.entries()) word(at + 8 + field * 8, value);
      word(at + 48, values.align);
    } else {
      for (const [field, value] of order.entries()) word(at + 4 + field * 4, value);
      view.setUint32(at + 24, 5, true);
      word(at + 28, values.align);
    }
    if (program.data !== undefined) file.set(program.data, offsets[index]!);
  });
  return file;
}

/** One ELF note; `sizes` overrides namesz and descsz. */
export function makeNote(
  owner: string,
  type: number,
  descriptor: Uint8Array,
  sizes: { readonly name?: number; readonly descriptor?: number } = {},
): Uint8Array {
  const nameSize = owner.length + 1;
  const padded = Math.ceil(nameSize / 4) * 4;
  const note = new Uint8Array(12 + padded + Math.ceil(descriptor.length / 4) * 4);
  const data = new DataView(note.buffer);
  data.setUint32(0, sizes.name ?? nameSize, true);
  data.setUint32(4, sizes.descriptor ?? descriptor.length, true);
  data.setUint32(8, type, true);
  note.set(new TextEncoder().encode(owner), 12);
  note.set(descriptor, 12 + padded);
  return note;
}

/** The note of a PVH entry point at `address`, 4 or 8 bytes wide. */
export function makePvhNote(address: number, width: 4 | 8 = 4): Uint8Array {
  const descriptor = new Uint8Array(width);
  new DataView(descriptor.buffer).setUint32(0, address, true);
  return makeNote('Xen', 18, descriptor);
}

/** A Multiboot 1 header with a right checksum, unless `checksumError` is added to it. */
export function makeMultibootHeader(flags: number, addresses: readonly number[] = [], checksumError = 0): Uint8Array {
  const words = [0x1bad_b002, flags, -(0x1bad_b002 + flags) + checksumError, ...addresses];
  const bytes = new Uint8Array(words.length * 4);
  const data = new DataView(bytes.buffer);
  for (const [index, word] of words.entries()) data.setUint32(index * 4, word >>> 0, true);
  return bytes;
}

/** A newc cpio archive with one file and a trailer. */
export function makeCpio(name: string, contents: Uint8Array): Uint8Array {
  const entry = (entryName: string, body: Uint8Array): Uint8Array => {
    const fields = [1, 0o100644, 0, 0, 1, 0, body.length, 0, 0, 0, 0, entryName.length + 1, 0];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${entryName}\0`;
    const dataAt = Math.ceil(header.length / 4) * 4;
    const bytes = new Uint8Array(dataAt + Math.ceil(body.length / 4) * 4);
    bytes.set(new TextEncoder().encode(header));
    bytes.set(body, dataAt);
    return bytes;
  };
  return join(entry(name, contents), entry('TRAILER!!!', new Uint8Array(0)));
}

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
