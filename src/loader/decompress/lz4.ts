/** LZ4: the legacy frame that kernels use, and the modern frame (lz4_Frame_format.md, lz4_Block_format.md). */

import { DecompressError, type Decompressed, type DecompressOptions, type Decompressor } from './decompressor.ts';
import { OutputBuffer } from './output.ts';

const LEGACY_MAGIC = 0x184c_2102;
const FRAME_MAGIC = 0x184d_2204;
/** Legacy blocks unpack to this much, the last one to less. */
const LEGACY_BLOCK_SIZE = 8 << 20;
const MIN_MATCH = 4;
const UNCOMPRESSED_BLOCK = 0x8000_0000;
const FRAME_BLOCK_SIZES: Readonly<Record<number, number>> = { 4: 64 << 10, 5: 256 << 10, 6: 1 << 20, 7: 4 << 20 };

export const lz4: Decompressor = {
  name: 'lz4',
  detect: (bytes) => [LEGACY_MAGIC, FRAME_MAGIC].includes(word(bytes, 0)),
  async decompress(bytes, options) {
    return word(bytes, 0) === LEGACY_MAGIC ? unpackLegacy(bytes, options) : unpackFrame(bytes, options);
  },
};

function unpackLegacy(bytes: Uint8Array, options: DecompressOptions): Decompressed {
  const output = new OutputBuffer(options, bytes.length);
  let offset = 4;
  while (offset + 4 <= bytes.length) {
    const size = word(bytes, offset);
    // Concatenated frames repeat the magic; zeros are padding.
    if (size === LEGACY_MAGIC) {
      offset += 4;
      continue;
    }
    if (size === 0 || offset + 4 + size > bytes.length) {
      if (size === 0 || output.length > 0) break;
      throw new DecompressError('the lz4 data ends early');
    }
    offset += 4;
    const before = output.length;
    unpackBlock(bytes, offset, offset + size, output, before, LEGACY_BLOCK_SIZE);
    offset += size;
    options.onProgress?.(offset, output.length);
    if (output.length - before < LEGACY_BLOCK_SIZE && word(bytes, offset) !== LEGACY_MAGIC) break;
  }
  return { output: output.finish(), consumed: offset };
}

function unpackFrame(bytes: Uint8Array, options: DecompressOptions): Decompressed {
  const output = new OutputBuffer(options, bytes.length);
  const flags = bytes[4] ?? 0;
  const blockSize = FRAME_BLOCK_SIZES[((bytes[5] ?? 0) >> 4) & 7];
  if (flags >> 6 !== 1 || blockSize === undefined) throw new DecompressError('the lz4 frame header is damaged');
  const independent = (flags & 0x20) !== 0;
  const blockChecksum = (flags & 0x10) !== 0 ? 4 : 0;
  const contentSize = (flags & 0x08) !== 0 ? 8 : 0;
  const contentChecksum = (flags & 0x04) !== 0 ? 4 : 0;
  if ((flags & 0x01) !== 0) throw new DecompressError('the lz4 frame needs a dictionary');
  let offset = 7 + contentSize;
  for (;;) {
    if (offset + 4 > bytes.length) throw new DecompressError('the lz4 data ends early');
    const size = word(bytes, offset);
    offset += 4;
    if (size === 0) break;
    const length = size % UNCOMPRESSED_BLOCK;
    if (offset + length + blockChecksum > bytes.length) throw new DecompressError('the lz4 data ends early');
    if (size >= UNCOMPRESSED_BLOCK) output.append(bytes.subarray(offset, offset + length));
    else unpackBlock(bytes, offset, offset + length, output, independent ? output.length : 0, blockSize);
    offset += length + blockChecksum;
    options.onProgress?.(offset, output.length);
  }
  return { output: output.finish(), consumed: Math.min(offset + contentChecksum, bytes.length) };
}

/** Appends the block bytes[offset..end) to `output`; matches reach back to `start` at most. */
function unpackBlock(
  bytes: Uint8Array,
  offset: number,
  end: number,
  output: OutputBuffer,
  start: number,
  blockSize: number,
): void {
  let at = offset;
  const limit = output.length + blockSize;
  while (at < end) {
    const token = bytes[at++]!;
    let literals = token >> 4;
    if (literals === 15) {
      let more = 255;
      while (more === 255 && at < end) {
        more = bytes[at++]!;
        literals += more;
      }
    }
    if (at + literals > end || output.length + literals > limit) throw damaged();
    output.reserve(literals);
    copyLiterals(bytes, at, output.bytes, output.length, literals);
    output.length += literals;
    at += literals;
    if (at >= end) return;
    if (at + 2 > end) throw damaged();
    const distance = bytes[at]! | (bytes[at + 1]! << 8);
    at += 2;
    let length = (token & 15) + MIN_MATCH;
    if ((token & 15) === 15) {
      let more = 255;
      while (more === 255 && at < end) {
        more = bytes[at++]!;
        length += more;
      }
    }
    if (distance === 0 || distance > output.length - start || output.length + length > limit) throw damaged();
    output.reserve(length);
    copyMatch(output.bytes, output.length, distance, length);
    output.length += length;
  }
}

/** A call for a block of memory costs more than this many bytes one by one. */
const LONG = 32;

function copyLiterals(from: Uint8Array, at: number, bytes: Uint8Array, to: number, length: number): void {
  if (length > LONG) bytes.set(from.subarray(at, at + length), to);
  else for (let n = 0; n < length; n++) bytes[to + n] = from[at + n]!;
}

/** Copies `length` bytes from `distance` back, byte by byte where source and target overlap. */
function copyMatch(bytes: Uint8Array, to: number, distance: number, length: number): void {
  if (length > LONG && distance >= length) bytes.copyWithin(to, to - distance, to - distance + length);
  else for (let index = to; index < to + length; index++) bytes[index] = bytes[index - distance]!;
}

function damaged(): DecompressError {
  return new DecompressError('the lz4 data is damaged');
}

/** Little-endian word at `offset`, 0 beyond the end. */
function word(bytes: Uint8Array, offset: number): number {
  if (offset + 4 > bytes.length) return 0;
  return (bytes[offset]! | (bytes[offset + 1]! << 8) | (bytes[offset + 2]! << 16) | (bytes[offset + 3]! << 24)) >>> 0;
}
