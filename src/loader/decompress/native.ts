/** node:zlib where there is one: several times the speed of the portable unpackers. Absent in browsers. */

import type { Inflate, InflateRaw, ZstdDecompress } from 'node:zlib';
import { DecompressError, type Decompressed, type DecompressOptions, outputTooLarge } from './decompressor.ts';
import { OutputBuffer } from './output.ts';

type Zlib = typeof import('node:zlib');
type ZlibStream = Inflate | InflateRaw | ZstdDecompress;

const INPUT_SLICE = 0x10_0000;
const CHUNK_SIZE = 0x10_0000;

/** The module, found at run time so that the loader can be bundled for a browser. */
const zlib: Zlib | undefined = globalThis.process?.getBuiltinModule?.('node:zlib');

/** Unpacks a raw deflate stream (RFC 1951), or undefined without node:zlib. */
export const nativeInflateRaw = runnerOf(zlib?.createInflateRaw);

/** Unpacks zstd frames, or undefined without node:zlib or when it is older than Node 22.15. */
export const nativeZstd = runnerOf(zlib?.createZstdDecompress);

type Run = (bytes: Uint8Array, options: DecompressOptions) => Promise<Decompressed>;

function runnerOf(create: ((options: { chunkSize: number }) => ZlibStream) | undefined): Run | undefined {
  if (create === undefined) return undefined;
  return (bytes, options) => runStream(create({ chunkSize: CHUNK_SIZE }), bytes, options);
}

/** Feeds `bytes` slice by slice, so that the event loop breathes and the output's bound holds. */
function runStream(stream: ZlibStream, bytes: Uint8Array, options: DecompressOptions): Promise<Decompressed> {
  const output = new OutputBuffer(options, bytes.length);
  return new Promise((resolve, reject) => {
    let fed = 0;
    const feed = (): void => {
      if (stream.destroyed || stream.readableEnded) return;
      if (fed >= bytes.length) {
        stream.end();
        return;
      }
      const slice = bytes.subarray(fed, fed + INPUT_SLICE);
      fed += slice.length;
      stream.write(slice, feed);
    };
    stream.on('data', (chunk: Uint8Array) => {
      if (output.length + chunk.length > options.maxOutput) {
        stream.destroy(outputTooLarge(options.maxOutput));
        return;
      }
      output.append(chunk);
      options.onProgress?.(stream.bytesWritten, output.length);
    });
    stream.on('end', () => resolve({ output: output.finish(), consumed: stream.bytesWritten }));
    stream.on('error', (error: Error) =>
      reject(error instanceof DecompressError ? error : new DecompressError(error.message)),
    );
    feed();
  });
}
