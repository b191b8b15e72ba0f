/** LZMA-alone (".lzma"): properties byte, dictionary size, uncompressed size or all ones, then one LZMA stream. */

import { compressionOf } from '../detect.ts';
import type { Decompressor } from './decompressor.ts';
import { LzmaDecoder } from './lzma-decoder.ts';
import { OutputBuffer } from './output.ts';

const HEADER_SIZE = 13;
/** Output is decoded in steps of this many bytes, so that a false size costs no memory and progress shows. */
const STEP = 0x10_0000;

export const lzma: Decompressor = {
  name: 'lzma',
  detect: (bytes) => compressionOf(bytes) === 'lzma',
  async decompress(bytes, options) {
    const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const announced = data.getBigUint64(5, true);
    const size = announced === 0xffff_ffff_ffff_ffffn ? Number.POSITIVE_INFINITY : Number(announced);
    const output = new OutputBuffer(options, bytes.length);
    const decoder = new LzmaDecoder(bytes, HEADER_SIZE, output);
    decoder.setProperties(bytes[0]!);
    decoder.startRangeCoder(bytes.length);
    while (output.length < size) {
      const step = Math.min(STEP, size - output.length);
      output.reserve(Math.min(step, Math.max(1, options.maxOutput - output.length)));
      const limit = Math.min(output.length + step, output.bytes.length);
      if (decoder.decode(limit) === 'end') break;
      options.onProgress?.(decoder.offset, output.length);
    }
    return { output: output.finish(), consumed: decoder.offset };
  },
};
