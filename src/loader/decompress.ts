/** Finds the unpacker for a stream by its first bytes. */

import { bzip2 } from './decompress/bzip2.ts';
import type { Decompressor } from './decompress/decompressor.ts';
import { gzip } from './decompress/gzip.ts';
import { lz4 } from './decompress/lz4.ts';
import { lzma } from './decompress/lzma.ts';
import { xz } from './decompress/xz.ts';
import { zstd } from './decompress/zstd.ts';

/** LZMA-alone comes last: it has no real magic number. */
const DECOMPRESSORS: readonly Decompressor[] = [gzip, zstd, xz, lz4, bzip2, lzma];

/** The unpacker for the stream at the start of `bytes`; undefined when it is in no known format. */
export function findDecompressor(bytes: Uint8Array): Decompressor | undefined {
  return DECOMPRESSORS.find((decompressor) => decompressor.detect(bytes));
}
