/** LZMA-alone (".lzma"): properties byte, dictionary size, uncompressed size or all ones, then one LZMA stream. */

import { compressionOf } from '../detect.ts';
import { DecompressError, type Decompressor, outputTooLarge } from './decompressor.ts';
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
    // One byte more than allowed, since only a step beyond the last byte shows an end marker, or that there is no end.
    const room = options.maxOutput + 1;
    const output = new OutputBuffer({ ...options, maxOutput: room }, bytes.length);
    const decoder = new LzmaDecoder(bytes, HEADER_SIZE, output);
    decoder.setProperties(bytes[0]!);
    decoder.startRangeCoder(bytes.length);
    let ended = false;
    while (!ended && output.length < size) {
      const limit = Math.min(output.length + STEP, size, room);
      output.reserve(limit - output.length);
      ended = decoder.decode(limit) === 'end';
      if (output.length > options.maxOutput) throw outputTooLarge(options.maxOutput);
      options.onProgress?.(decoder.offset, output.length);
    }
    // A stream whose size is known may have an end marker all the same.
    if (!ended && !decoder.rangeCoderFinished) {
      output.reserve(1);
      if (decoder.decode(size + 1) !== 'end') throw new DecompressError('the LZMA data is longer than its header says');
    }
    return { output: output.finish(), consumed: decoder.offset };
  },
};
