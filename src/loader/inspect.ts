/** What `ukl-emu inspect` shows of a kernel: plain data, ready for JSON. */

import { hasEntry64, parseBzImage, type SetupHeader, versionText } from './bzimage.ts';
import { findDecompressor } from './decompress.ts';
import { detectKind, type FileKind } from './detect.ts';
import { parseElf } from './elf.ts';
import { findPvhEntry, isLinux } from './elf-notes.ts';
import { findMultibootHeader } from './multiboot-header.ts';

export interface KernelReport {
  readonly file: string;
  readonly kind: FileKind;
  readonly size: number;
  readonly bzImage?: {
    readonly protocol: string;
    readonly kernelVersion: string | null;
    readonly entry64: boolean;
    /** Addresses as hexadecimal text. */
    readonly entry: string;
    readonly loadAddress: string;
    readonly payload: { readonly format: string; readonly size: number } | null;
    /** All fields the version defines, under the names of boot.rst in camel case. */
    readonly header: Readonly<Record<string, number | string | boolean>>;
  };
  readonly elf?: {
    readonly class: 32 | 64;
    readonly entry: string;
    readonly physicalEntry: string;
    readonly linux: boolean;
    readonly pvhEntry: string | null;
    readonly segments: readonly { readonly address: string; readonly fileSize: number; readonly memorySize: number }[];
    readonly notes: readonly { readonly owner: string; readonly type: number; readonly size: number }[];
  };
  readonly multiboot?: { readonly offset: number; readonly flags: string; readonly hasAddresses: boolean };
}

/** Describes the kernel `bytes` of the file `file`. Throws LoadError if it claims a format it does not keep to. */
export function inspectKernel(bytes: Uint8Array, file: string): KernelReport {
  const kind = detectKind(bytes);
  const multiboot = findMultibootHeader(bytes);
  return {
    file,
    kind,
    size: bytes.length,
    ...(kind === 'bzimage' && { bzImage: describeBzImage(bytes, file) }),
    ...((kind === 'elf64' || kind === 'elf32') && { elf: describeElf(bytes, file) }),
    ...(multiboot !== undefined && {
      multiboot: {
        offset: multiboot.offset,
        flags: text(multiboot.flags),
        hasAddresses: multiboot.addresses !== undefined,
      },
    }),
  };
}

function describeBzImage(bytes: Uint8Array, file: string): NonNullable<KernelReport['bzImage']> {
  const { header, entry, loadAddress, payload } = parseBzImage(bytes, file);
  const format = payload === undefined ? undefined : (findDecompressor(payload)?.name ?? 'unknown');
  return {
    protocol: versionText(header.version),
    kernelVersion: header.kernelVersion ?? null,
    entry64: hasEntry64(header),
    entry: text(entry.address),
    loadAddress: text(loadAddress),
    payload: format === undefined ? null : { format, size: payload!.length },
    header: definedFields(header),
  };
}

function definedFields(header: SetupHeader): Record<string, number | string | boolean> {
  const fields: Record<string, number | string | boolean> = {};
  for (const [name, value] of Object.entries(header)) if (value !== undefined) fields[name] = value;
  return fields;
}

function describeElf(bytes: Uint8Array, file: string): NonNullable<KernelReport['elf']> {
  const elf = parseElf(bytes, file);
  const pvh = findPvhEntry(elf.notes, file);
  return {
    class: elf.class,
    entry: text(elf.entry),
    physicalEntry: text(elf.physicalEntry),
    linux: isLinux(elf.notes),
    pvhEntry: pvh === undefined ? null : text(pvh),
    segments: elf.segments.map(({ address, data, memorySize }) => ({
      address: text(address),
      fileSize: data.length,
      memorySize,
    })),
    notes: elf.notes.map(({ owner, type, descriptor }) => ({ owner, type, size: descriptor.length })),
  };
}

function text(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
