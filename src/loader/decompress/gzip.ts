/** gzip members: RFC 1952. The framing is ours; deflate is node:zlib's or fflate's. */

import { DecompressError, type Decompressed, type DecompressOptions, type Decompressor } from './decompressor.ts';
import { crc32, nativeInflateRaw } from './native.ts';
import { OutputBuffer } from './output.ts';

const FHCRC = 0x02;
const FEXTRA = 0x04;
const FNAME = 0x08;
const FCOMMENT = 0x10;
const TRAILER_SIZE = 8;
const INPUT_SLICE = 0x4_0000;

export const gzip: Decompressor = {
  name: 'gzip',
  detect: (bytes) => bytes[0] === 0x1f && (bytes[1] === 0x8b || bytes[1] === 0x9e),
  async decompress(bytes, options) {
    const start = headerLength(bytes);
    const body = bytes.subarray(start);
    const inflate = nativeInflateRaw ?? portableInflateRaw;
    const { output, consumed } = await inflate(body, options);
    const trailerEnd = start + consumed + TRAILER_SIZE;
    if (trailerEnd > bytes.length) throw new DecompressError('the gzip data ends early');
    const trailer = new DataView(bytes.buffer, bytes.byteOffset + start + consumed, TRAILER_SIZE);
    if (trailer.getUint32(0, true) !== crc32(output)) throw new DecompressError('the gzip checksum does not match');
    if (trailer.getUint32(4, true) !== output.length) throw new DecompressError('the gzip length does not match');
    return { output, consumed: trailerEnd };
  },
};

/** Bytes before the deflate stream (RFC 1952 section 2.3). */
function headerLength(bytes: Uint8Array): number {
  const flags = bytes[3] ?? 0;
  if (bytes.length < 18 || bytes[2] !== 8) throw new DecompressError('the gzip header is damaged');
  let offset = 10;
  if (flags & FEXTRA) offset += 2 + (bytes[offset]! | (bytes[offset + 1]! << 8));
  for (const flag of [FNAME, FCOMMENT]) {
    if ((flags & flag) === 0) continue;
    const end = bytes.indexOf(0, offset);
    if (end < 0) throw new DecompressError('the gzip header is damaged');
    offset = end + 1;
  }
  if (flags & FHCRC) offset += 2;
  if (offset + TRAILER_SIZE > bytes.length) throw new DecompressError('the gzip data ends early');
  return offset;
}

/** Deflate by fflate, for hosts without node:zlib. */
export async function portableInflateRaw(bytes: Uint8Array, options: DecompressOptions): Promise<Decompressed> {
  const { Inflate } = await import('fflate');
  const output = new OutputBuffer(options, bytes.length);
  const stream = new Inflate((chunk) => output.append(chunk));
  try {
    for (let offset = 0; offset < bytes.length; offset += INPUT_SLICE) {
      const end = Math.min(offset + INPUT_SLICE, bytes.length);
      stream.push(bytes.subarray(offset, end), end === bytes.length);
      options.onProgress?.(end, output.length);
    }
  } catch (error) {
    if (error instanceof DecompressError) throw error;
    throw new DecompressError(error instanceof Error ? error.message : String(error));
  }
  return { output: output.finish(), consumed: findTrailer(bytes, output.finish()) };
}

/** fflate does not tell where the stream ended: the trailer that follows (CRC-32 and length of the output) shows it. */
function findTrailer(bytes: Uint8Array, output: Uint8Array): number {
  const trailer = new Uint8Array(TRAILER_SIZE);
  const data = new DataView(trailer.buffer);
  data.setUint32(0, crc32(output), true);
  data.setUint32(4, output.length, true);
  for (let at = bytes.indexOf(trailer[0]!); at >= 0; at = bytes.indexOf(trailer[0]!, at + 1)) {
    if (trailer.every((byte, index) => bytes[at + index] === byte)) return at;
  }
  throw new DecompressError('the gzip checksum does not match');
}
