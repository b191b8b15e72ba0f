/** Zstandard frames: RFC 8878, by node:zlib or fzstd. */

import { DecompressError, type Decompressed, type DecompressOptions, type Decompressor } from './decompressor.ts';
import { nativeZstd } from './native.ts';
import { OutputBuffer } from './output.ts';

const INPUT_SLICE = 0x4_0000;

export const zstd: Decompressor = {
  name: 'zstd',
  detect: (bytes) => bytes[0] === 0x28 && bytes[1] === 0xb5 && bytes[2] === 0x2f && bytes[3] === 0xfd,
  decompress: nativeZstd ?? portableZstd,
};

/** zstd by fzstd, for hosts without node:zlib; takes all of `bytes` to be one stream. */
export async function portableZstd(bytes: Uint8Array, options: DecompressOptions): Promise<Decompressed> {
  const { Decompress } = await import('fzstd');
  const output = new OutputBuffer(options, bytes.length);
  const stream = new Decompress((chunk) => output.append(chunk));
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
  return { output: output.finish(), consumed: bytes.length };
}
