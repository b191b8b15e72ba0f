/** The .xz container with LZMA2 and the x86 branch filter: xz-file-format.txt 1.2.0. */

import { undoX86Branches } from './bcj-x86.ts';
import { crc32, crc64 } from './checksums.ts';
import { DecompressError, type DecompressOptions, type Decompressor } from './decompressor.ts';
import { LzmaDecoder } from './lzma-decoder.ts';
import { OutputBuffer } from './output.ts';

const STREAM_MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00];
const STREAM_HEADER_SIZE = 12;
const STREAM_FOOTER_SIZE = 12;
const FILTER_LZMA2 = 0x21;
const FILTER_X86 = 0x04;
/** Bytes of the check field by check type (section 2.1.1.2). */
const CHECK_SIZES = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];
const CHECK_CRC32 = 1;
const CHECK_CRC64 = 4;

export const xz: Decompressor = {
  name: 'xz',
  detect: (bytes) => STREAM_MAGIC.every((byte, index) => bytes[index] === byte),
  async decompress(bytes, options) {
    const output = new OutputBuffer(options, bytes.length);
    if (bytes.length < STREAM_HEADER_SIZE) throw endsEarly();
    checkCrc32(bytes, 6, 2);
    const check = bytes[7]! & 0x0f;
    let offset = STREAM_HEADER_SIZE;
    while (bytes[offset] !== 0) {
      if (offset >= bytes.length) throw endsEarly();
      offset = unpackBlock(bytes, offset, check, output, options);
    }
    offset += indexSize(bytes, offset) + STREAM_FOOTER_SIZE;
    if (offset > bytes.length) throw endsEarly();
    return { output: output.finish(), consumed: offset };
  },
};

/** Unpacks the block at `offset`; returns the offset after it. */
function unpackBlock(
  bytes: Uint8Array,
  offset: number,
  check: number,
  output: OutputBuffer,
  options: DecompressOptions,
): number {
  const headerSize = (bytes[offset]! + 1) * 4;
  if (offset + headerSize > bytes.length) throw endsEarly();
  checkCrc32(bytes, offset, headerSize - 4);
  const branchStart = readFilters(bytes.subarray(offset + 1, offset + headerSize - 4));
  const start = output.length;
  const dataStart = offset + headerSize;
  const dataEnd = unpackLzma2(bytes, dataStart, output, options);
  if (branchStart !== undefined) undoX86Branches(output.bytes.subarray(start, output.length), branchStart);
  // Blocks are padded with zeros to a multiple of four bytes, counted from the block's start.
  const checkAt = dataEnd + ((4 - ((dataEnd - offset) & 3)) & 3);
  const end = checkAt + CHECK_SIZES[check]!;
  if (end > bytes.length) throw endsEarly();
  verifyCheck(bytes, checkAt, check, output.bytes.subarray(start, output.length));
  return end;
}

/** Start offset of the x86 filter if the block has one; other filters than it and LZMA2 are refused. */
function readFilters(header: Uint8Array): number | undefined {
  const reader = { bytes: header, offset: 1 };
  const flags = header[0]!;
  if ((flags & 0x3c) !== 0) throw damaged();
  if ((flags & 0x40) !== 0) readVarint(reader);
  if ((flags & 0x80) !== 0) readVarint(reader);
  const count = (flags & 3) + 1;
  let branchStart: number | undefined;
  for (let index = 0; index < count; index++) {
    const id = readVarint(reader);
    const size = readVarint(reader);
    const properties = header.subarray(reader.offset, reader.offset + size);
    if (properties.length !== size) throw damaged();
    reader.offset += size;
    const last = index === count - 1;
    if (last && id === FILTER_LZMA2 && size === 1) return branchStart;
    if (last || id !== FILTER_X86 || branchStart !== undefined) {
      throw new DecompressError(`the xz data uses filter 0x${id.toString(16)}, which is not supported`);
    }
    branchStart =
      size === 4 ? new DataView(properties.buffer, properties.byteOffset, properties.length).getUint32(0, true) : 0;
  }
  throw damaged();
}

/** Unpacks LZMA2 chunks from `offset`; returns the offset after the end marker. */
function unpackLzma2(bytes: Uint8Array, offset: number, output: OutputBuffer, options: DecompressOptions): number {
  const decoder = new LzmaDecoder(bytes, offset, output);
  decoder.dictionaryStart = output.length;
  let at = offset;
  let needDictionary = true;
  let needProperties = true;
  for (;;) {
    const control = bytes[at];
    if (control === undefined || at + 6 > bytes.length) throw endsEarly();
    if (control === 0) return at + 1;
    if (control === 1 || control >= 0xe0) {
      needDictionary = false;
      decoder.dictionaryStart = output.length;
    } else if (needDictionary) throw damaged();
    if (control < 0x80) {
      if (control > 2) throw damaged();
      const size = ((bytes[at + 1]! << 8) | bytes[at + 2]!) + 1;
      at += 3;
      if (at + size > bytes.length) throw endsEarly();
      output.append(bytes.subarray(at, at + size));
      at += size;
      // A stored chunk after a dictionary reset leaves the LZMA state to be set by the next chunk.
      if (control === 1) needProperties = true;
    } else {
      const size = ((control & 0x1f) << 16) + ((bytes[at + 1]! << 8) | bytes[at + 2]!) + 1;
      const packed = ((bytes[at + 3]! << 8) | bytes[at + 4]!) + 1;
      at += 5;
      if (control >= 0xc0) {
        needProperties = false;
        decoder.setProperties(bytes[at++]!);
      } else if (needProperties) throw damaged();
      else if (control >= 0xa0) decoder.resetState();
      output.reserve(size);
      decoder.offset = at;
      decoder.startRangeCoder(at + packed);
      const limit = output.length + size;
      if (decoder.decode(limit) === 'end' || decoder.offset !== at + packed || !decoder.rangeCoderFinished) {
        throw damaged();
      }
      at += packed;
    }
    options.onProgress?.(at, output.length);
  }
}

/** Bytes of the index at `offset`, checksum included (section 4). */
function indexSize(bytes: Uint8Array, offset: number): number {
  const reader = { bytes, offset: offset + 1 };
  const records = readVarint(reader);
  for (let record = 0; record < records; record++) {
    readVarint(reader);
    readVarint(reader);
  }
  const size = reader.offset - offset;
  const padded = size + ((4 - (size & 3)) & 3);
  checkCrc32(bytes, offset, padded);
  return padded + 4;
}

/** A multibyte integer of section 1.2; at most 2^53 here. */
function readVarint(reader: { readonly bytes: Uint8Array; offset: number }): number {
  let value = 0;
  for (let scale = 1; scale <= 2 ** 49; scale *= 128) {
    const byte = reader.bytes[reader.offset++];
    if (byte === undefined) throw endsEarly();
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value;
  }
  throw damaged();
}

/** Compares the CRC-32 that follows bytes[offset, offset + length). */
function checkCrc32(bytes: Uint8Array, offset: number, length: number): void {
  const at = offset + length;
  if (at + 4 > bytes.length) throw endsEarly();
  const stored = new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0, true);
  if (stored !== crc32(bytes.subarray(offset, at))) throw new DecompressError('an xz header checksum does not match');
}

/** Checks CRC-32 and CRC-64; SHA-256 and unknown checks are passed over, as the format allows. */
function verifyCheck(bytes: Uint8Array, at: number, check: number, output: Uint8Array): void {
  const data = new DataView(bytes.buffer, bytes.byteOffset + at);
  const matches =
    check === CHECK_CRC32
      ? data.getUint32(0, true) === crc32(output)
      : check === CHECK_CRC64
        ? data.getBigUint64(0, true) === crc64(output)
        : true;
  if (!matches) throw new DecompressError('the xz checksum does not match');
}

function damaged(): DecompressError {
  return new DecompressError('the xz data is damaged');
}

function endsEarly(): DecompressError {
  return new DecompressError('the xz data ends early');
}
