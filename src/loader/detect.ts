/** The kind of a file, told by its content alone. */

import { findMultibootHeader } from './multiboot-header.ts';

export type FileKind =
  | 'empty'
  | 'bzimage'
  | 'elf64'
  | 'elf32'
  | 'elf-other'
  | 'multiboot'
  | 'pe'
  | 'gzip'
  | 'xz'
  | 'zstd'
  | 'bzip2'
  | 'lz4'
  | 'lzma'
  | 'lzop'
  | 'cpio'
  | 'unknown';

const EM_386 = 3;
const EM_X86_64 = 62;

/** Magic numbers of compressed streams, by kind. */
const MAGICS: readonly (readonly [FileKind, readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b]],
  ['gzip', [0x1f, 0x9e]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['lz4', [0x02, 0x21, 0x4c, 0x18]],
  ['lz4', [0x04, 0x22, 0x4d, 0x18]],
  ['lzop', [0x89, 0x4c, 0x5a, 0x4f]],
  ['cpio', [0x30, 0x37, 0x30, 0x37, 0x30, 0x31]],
  ['cpio', [0x30, 0x37, 0x30, 0x37, 0x30, 0x32]],
];

/** What `bytes` hold. A Linux bzImage that is a PE file too counts as bzImage. */
export function detectKind(bytes: Uint8Array): FileKind {
  if (bytes.length === 0) return 'empty';
  if (hasPrefix(bytes, [0x7f, 0x45, 0x4c, 0x46])) return elfKind(bytes);
  if (hasSetupHeader(bytes)) return 'bzimage';
  const compressed = compressionOf(bytes);
  if (compressed !== undefined) return compressed;
  if (findMultibootHeader(bytes) !== undefined) return 'multiboot';
  if (hasPrefix(bytes, [0x4d, 0x5a])) return 'pe';
  return 'unknown';
}

/** Kind of the compressed stream or archive at `offset`, if its magic number is known. */
export function compressionOf(bytes: Uint8Array, offset = 0): FileKind | undefined {
  for (const [kind, magic] of MAGICS) if (hasPrefix(bytes, magic, offset)) return kind;
  return isLzmaAlone(bytes, offset) ? 'lzma' : undefined;
}

/** 'HdrS' at 0x202 (Linux boot protocol, "The Real-Mode Kernel Header"); the boot flag is checked by the parser. */
function hasSetupHeader(bytes: Uint8Array): boolean {
  return hasPrefix(bytes, [0x48, 0x64, 0x72, 0x53], 0x202);
}

function elfKind(bytes: Uint8Array): FileKind {
  const littleEndian = bytes[5] === 1;
  const machine = (bytes[18] ?? 0) | ((bytes[19] ?? 0) << 8);
  if (littleEndian && bytes[4] === 2 && machine === EM_X86_64) return 'elf64';
  if (littleEndian && bytes[4] === 1 && (machine === EM_386 || machine === EM_X86_64)) return 'elf32';
  return 'elf-other';
}

/**
 * LZMA-alone has no magic number: properties byte, dictionary size, uncompressed size. As the kernel does, only the usual
 * properties 0x5d are accepted, and the size must be unknown (all ones) or below 2^40.
 */
function isLzmaAlone(bytes: Uint8Array, offset: number): boolean {
  if (bytes.length < offset + 13 || bytes[offset] !== 0x5d) return false;
  if (bytes[offset + 1] !== 0 || bytes[offset + 2] !== 0) return false;
  const size = bytes.subarray(offset + 5, offset + 13);
  return size.every((byte) => byte === 0xff) || size.subarray(5).every((byte) => byte === 0);
}

function hasPrefix(bytes: Uint8Array, prefix: readonly number[], offset = 0): boolean {
  return bytes.length >= offset + prefix.length && prefix.every((byte, index) => bytes[offset + index] === byte);
}
