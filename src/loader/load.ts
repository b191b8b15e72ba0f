/**
 * From a kernel file's bytes to what has to be put into memory, and how it is to be entered. Nothing is placed here:
 * that is boot/place.ts. Reading files is the caller's job.
 */

import { type BzImage, parseBzImage, type SetupHeader } from './bzimage.ts';
import { DecompressError, type Decompressor } from './decompress/decompressor.ts';
import { findDecompressor } from './decompress.ts';
import { detectKind, type FileKind } from './detect.ts';
import { parseElf, type Segment } from './elf.ts';
import { findPvhEntry, isLinux } from './elf-notes.ts';
import { LoadError } from './load-error.ts';
import { loadMultiboot } from './multiboot.ts';
import { findMultibootHeader } from './multiboot-header.ts';

/** How a kernel is entered: Linux's 64-bit and 32-bit boot protocols, PVH, Multiboot 1. */
export type BootProtocol = 'linux64' | 'linux32' | 'pvh' | 'multiboot';

/** Who unpacks the kernel's payload: the host (faster), or the guest's own decompressor, as a bootloader would have it. */
export type UnpackSide = 'host' | 'guest';

export interface NamedBytes {
  /** As the user gave it; for messages. */
  readonly name: string;
  readonly bytes: Uint8Array;
  /** An initrd's bytes unpacked, if somebody is at that already; undefined where the loader is to do it. */
  readonly unpacked?: Promise<Uint8Array | undefined>;
}

export interface LoadOptions {
  readonly unpack: UnpackSide;
  /** Most bytes a payload may unpack to: the size of guest RAM. */
  readonly maxOutput: number;
  /** How to enter an ELF that can be entered in several ways; chosen by the file's content when absent. */
  readonly protocol?: BootProtocol;
  /** The bytes were packed, as bootloaders accept it, and have been unpacked: no second time. */
  readonly packed?: boolean;
  /** Bytes of output made so far, for what takes long. */
  readonly onProgress?: (what: string, produced: number) => void;
}

export interface LoadedKernel {
  /** Name of the file, for messages. */
  readonly file: string;
  readonly kind: FileKind;
  readonly protocol: BootProtocol;
  /** Guest-physical address of the first instruction. */
  readonly entry: number;
  readonly segments: readonly Segment[];
  /** Memory the kernel uses from its first instruction on, beyond its segments (init_size); undefined if none. */
  readonly workspace: { readonly start: number; readonly end: number } | undefined;
  /** bzImage only. */
  readonly setup: { readonly header: SetupHeader; readonly headerBytes: Uint8Array } | undefined;
  /** Compression of the payload that the host has unpacked, or undefined if nothing was. */
  readonly unpacked: Decompressor['name'] | undefined;
}

/** Parses, and unpacks where asked. Rejects with LoadError. */
export async function loadKernel(kernel: NamedBytes, options: LoadOptions): Promise<LoadedKernel> {
  const kind = detectKind(kernel.bytes);
  switch (kind) {
    case 'bzimage':
      return loadBzImage(kernel, options);
    case 'elf64':
    case 'elf32':
      return loadElf(kernel, kind, options.protocol);
    case 'multiboot':
      return {
        file: kernel.name,
        kind,
        protocol: 'multiboot',
        ...loadMultiboot(kernel.bytes, kernel.name),
        ...PLAIN,
      };
    default: {
      const decompressor = findDecompressor(kernel.bytes);
      if (decompressor === undefined || options.packed === true)
        throw notAKernel(kernel, kind, options.packed === true);
      const { name } = kernel;
      const bytes = await unpackStream(decompressor, kernel.bytes, { file: name, field: 'kernel' }, options);
      return await loadKernel({ name, bytes }, { ...options, packed: true });
    }
  }
}

/** What only a bzImage has. */
const PLAIN = { workspace: undefined, setup: undefined, unpacked: undefined } as const;

async function loadBzImage({ name, bytes }: NamedBytes, options: LoadOptions): Promise<LoadedKernel> {
  const image = parseBzImage(bytes, name);
  const setup = { header: image.header, headerBytes: image.headerBytes };
  const unpacked = options.unpack === 'host' ? await unpackPayload(image, name, options) : undefined;
  if (unpacked !== undefined) {
    const elf = parseElf(unpacked.elf, `${name} (payload)`);
    return {
      file: name,
      kind: 'bzimage',
      protocol: elf.class === 64 ? 'linux64' : 'linux32',
      entry: elf.physicalEntry,
      segments: elf.segments,
      workspace: undefined,
      setup,
      unpacked: unpacked.format,
    };
  }
  return {
    file: name,
    kind: 'bzimage',
    protocol: image.entry.mode,
    entry: image.entry.address,
    segments: [{ address: image.loadAddress, data: image.protectedMode, memorySize: image.protectedMode.length }],
    workspace: { start: image.loadAddress, end: image.loadAddress + image.runtimeSize },
    setup,
    unpacked: undefined,
  };
}

/**
 * The ELF inside a bzImage. Undefined when there is nothing the host can unpack (no payload, or LZO): the guest does it then.
 */
async function unpackPayload(
  image: BzImage,
  file: string,
  options: LoadOptions,
): Promise<{ readonly elf: Uint8Array; readonly format: Decompressor['name'] } | undefined> {
  const { payload } = image;
  const decompressor = payload === undefined ? undefined : findDecompressor(payload);
  if (payload === undefined || decompressor === undefined) return undefined;
  // The build appends the unpacked size as four bytes to all formats but gzip, which ends with the same number itself.
  const sizeAt = payload.length - 4;
  const announced = new DataView(payload.buffer, payload.byteOffset + sizeAt, 4).getUint32(0, true);
  const stream = decompressor.name === 'gzip' ? payload : payload.subarray(0, sizeAt);
  const elf = await unpackStream(decompressor, stream, { file, field: 'payload', sizeHint: announced }, options);
  return { elf, format: decompressor.name };
}

async function unpackStream(
  decompressor: Decompressor,
  stream: Uint8Array,
  { file, field, sizeHint }: { readonly file: string; readonly field: string; readonly sizeHint?: number },
  options: LoadOptions,
): Promise<Uint8Array> {
  try {
    const { output } = await decompressor.decompress(stream, {
      maxOutput: options.maxOutput,
      ...(sizeHint !== undefined && { sizeHint }),
      onProgress: (_consumed, produced) => options.onProgress?.(file, produced),
    });
    return output;
  } catch (error) {
    if (!(error instanceof DecompressError)) throw error;
    throw new LoadError({
      file,
      field,
      problem: `the ${decompressor.name} ${field} cannot be unpacked: ${error.message}`,
      remedy: error.tooLarge ? 'give the guest more --memory' : 'the file is damaged: copy it again',
    });
  }
}

function loadElf({ name, bytes }: NamedBytes, kind: FileKind, wanted: BootProtocol | undefined): LoadedKernel {
  const elf = parseElf(bytes, name);
  const pvh = findPvhEntry(elf.notes, name);
  const multiboot = findMultibootHeader(bytes);
  const offered: Partial<Record<BootProtocol, () => Pick<LoadedKernel, 'entry' | 'segments'>>> = {
    ...(elf.class === 64 && { linux64: () => ({ entry: elf.physicalEntry, segments: elf.segments }) }),
    ...(multiboot !== undefined && { multiboot: () => loadMultiboot(bytes, name, elf) }),
    ...(pvh !== undefined && { pvh: () => ({ entry: pvh, segments: elf.segments }) }),
  };
  const protocol = wanted ?? preferred(isLinux(elf.notes), offered);
  const load = protocol === undefined ? undefined : offered[protocol];
  if (protocol === undefined || load === undefined) {
    throw new LoadError({
      file: name,
      field: protocol ?? 'boot protocol',
      problem: `this ${elf.class}-bit ELF offers ${Object.keys(offered).join(', ') || 'neither a Multiboot header nor a PVH note'}`,
      remedy: 'build it with one, or name a 64-bit vmlinux',
    });
  }
  return { file: name, kind, protocol, ...load(), ...PLAIN };
}

/** Linux by its own protocol; others by the contract their authors put into the file; a bare ELF64 as if it were Linux. */
function preferred(linux: boolean, offered: Partial<Record<BootProtocol, unknown>>): BootProtocol | undefined {
  const order: readonly BootProtocol[] = linux ? ['linux64', 'pvh', 'multiboot'] : ['multiboot', 'pvh', 'linux64'];
  return order.find((protocol) => offered[protocol] !== undefined);
}

function notAKernel({ name, bytes }: NamedBytes, kind: FileKind, packed: boolean): LoadError {
  const known: Partial<Record<FileKind, readonly [string, string]>> = {
    empty: ['the file is empty', 'name a kernel'],
    pe: ['is a PE file without a Linux setup header', 'UEFI programs cannot be booted; name a Linux bzImage'],
    cpio: ['is a cpio archive', 'pass it as --initrd and name a kernel'],
    'elf-other': ['is an ELF file, but not little-endian x86', 'name an x86-64 or i386 kernel'],
  };
  const [problem, remedy] = known[kind] ?? [
    kind === 'unknown' ? `is no kernel (${bytes.length} bytes of unknown kind)` : `is a ${kind} stream, not a kernel`,
    kind === 'lzop' ? 'unpack it first' : 'name a Linux bzImage, an ELF vmlinux or a Multiboot kernel',
  ];
  return new LoadError({
    file: name,
    field: 'kind of file',
    problem: packed ? `unpacked it ${problem}` : problem,
    remedy,
  });
}
