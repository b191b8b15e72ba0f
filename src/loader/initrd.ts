/**
 * Initial RAM file systems. The kernel's unpacker takes a chain of members: cpio archives, plain or compressed, with zeros
 * between them (Documentation/driver-api/early-userspace/buffer-format.rst). Unpacked here, they become one plain chain.
 */

import { DecompressError } from './decompress/decompressor.ts';
import { findDecompressor } from './decompress.ts';
import { compressionOf } from './detect.ts';
import type { NamedBytes, UnpackSide } from './load.ts';
import { hex, LoadError } from './load-error.ts';

const CPIO_HEADER_SIZE = 110;
const CPIO_ALIGN = 4;
const TRAILER_NAME = 'TRAILER!!!';

export interface InitrdOptions {
  readonly unpack: UnpackSide;
  /** Most bytes of the result: the size of guest RAM. */
  readonly maxOutput: number;
  readonly onProgress?: (what: string, produced: number) => void;
}

/**
 * The bytes to hand to the guest: the file as it is for "guest", the unpacked chain for "host". What is no initramfs at all
 * (a file system image, say) passes unchanged. Rejects with LoadError when it is empty or a compressed member is damaged.
 */
export async function loadInitrd({ name, bytes, unpacked }: NamedBytes, options: InitrdOptions): Promise<Uint8Array> {
  if (bytes.length === 0) {
    throw new LoadError({ file: name, field: 'initrd', problem: 'the file is empty', remedy: 'leave --initrd out' });
  }
  if (options.unpack === 'guest' || compressionOf(bytes, skipZeros(bytes, 0)) === undefined) return bytes;
  const ready = await unpacked;
  if (ready !== undefined && ready.length <= options.maxOutput) return ready;
  const parts: Uint8Array[] = [];
  let produced = 0;
  let offset = 0;
  while (offset < bytes.length) {
    const start = skipZeros(bytes, offset);
    if (start === bytes.length) break;
    const kind = compressionOf(bytes, start);
    if (kind === 'cpio') {
      offset = endOfArchive(bytes, start);
      parts.push(bytes.subarray(start, offset));
    } else {
      const member = await unpackMember(bytes, start, name, { ...options, maxOutput: options.maxOutput - produced });
      if (member === undefined) {
        // Neither archive nor known compression: the guest is to say what it thinks of it.
        parts.push(bytes.subarray(start));
        offset = bytes.length;
      } else {
        parts.push(member.output);
        offset = start + member.consumed;
      }
    }
    produced += paddedLength(parts.at(-1)!);
  }
  return parts.length === 1 ? parts[0]! : join(parts, produced);
}

async function unpackMember(
  bytes: Uint8Array,
  start: number,
  file: string,
  options: InitrdOptions,
): Promise<{ readonly output: Uint8Array; readonly consumed: number } | undefined> {
  const stream = bytes.subarray(start);
  const decompressor = findDecompressor(stream);
  if (decompressor === undefined) return undefined;
  try {
    return await decompressor.decompress(stream, {
      maxOutput: options.maxOutput,
      onProgress: (_consumed, produced) => options.onProgress?.(file, produced),
    });
  } catch (error) {
    if (!(error instanceof DecompressError)) throw error;
    throw new LoadError({
      file,
      field: start === 0 ? 'initrd' : `initrd member at ${hex(start)}`,
      problem: `the ${decompressor.name} data cannot be unpacked: ${error.message}`,
      remedy: error.tooLarge
        ? 'give the guest more --memory'
        : 'copy or pack the file again, or leave it to the guest with --unpack guest',
    });
  }
}

/**
 * Offset after the newc archive at `start`: beyond its trailer, or where its headers stop making sense (the kernel then
 * starts over with the next member, as we do).
 */
function endOfArchive(bytes: Uint8Array, start: number): number {
  let offset = start;
  while (compressionOf(bytes, offset) === 'cpio' && offset + CPIO_HEADER_SIZE <= bytes.length) {
    const fileSize = hexField(bytes, offset + 54);
    const nameSize = hexField(bytes, offset + 94);
    const nameAt = offset + CPIO_HEADER_SIZE;
    const dataAt = align(nameAt + nameSize - start) + start;
    const next = align(dataAt + fileSize - start) + start;
    if (!Number.isSafeInteger(next) || next > bytes.length + CPIO_ALIGN) return bytes.length;
    const name = new TextDecoder('latin1').decode(bytes.subarray(nameAt, nameAt + nameSize - 1));
    offset = Math.min(next, bytes.length);
    if (name === TRAILER_NAME) return offset;
  }
  return offset === start ? bytes.length : offset;
}

/** Eight hexadecimal digits, NaN if they are not. */
function hexField(bytes: Uint8Array, offset: number): number {
  const text = new TextDecoder('latin1').decode(bytes.subarray(offset, offset + 8));
  return /^[0-9a-f]{8}$/i.test(text) ? Number.parseInt(text, 16) : Number.NaN;
}

function skipZeros(bytes: Uint8Array, offset: number): number {
  let at = offset;
  while (at < bytes.length && bytes[at] === 0) at++;
  return at;
}

/** The parts one after the other, each on a 4-byte boundary, as the kernel wants archives. */
function join(parts: readonly Uint8Array[], size: number): Uint8Array {
  const joined = new Uint8Array(size);
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += paddedLength(part);
  }
  return joined;
}

function paddedLength(part: Uint8Array): number {
  return align(part.length);
}

function align(value: number): number {
  return Math.ceil(value / CPIO_ALIGN) * CPIO_ALIGN;
}
