/** node:zlib where there is one: several times the speed of the portable unpackers. Absent in browsers. */

import type { Inflate, InflateRaw, ZstdDecompress } from 'node:zlib';
import { crc32 as portableCrc32 } from './checksums.ts';
import { DecompressError, type Decompressed, type DecompressOptions, outputTooLarge } from './decompressor.ts';

type Zlib = typeof import('node:zlib');
type ZlibStream = Inflate | InflateRaw | ZstdDecompress;

const INPUT_SLICE = 0x100_0000;
const CHUNK_SIZE = 0x10_0000;
/** What fits into one chunk is unpacked in one go, on another thread, while the machine is being built on this one. */
const MAX_CHUNK_SIZE = 0x400_0000;

/** The module, found at run time so that the loader can be bundled for a browser. */
const zlib: Zlib | undefined = globalThis.process?.getBuiltinModule?.('node:zlib');

/** Unpacks a raw deflate stream (RFC 1951), or undefined without node:zlib. */
export const nativeInflateRaw = runnerOf(zlib?.createInflateRaw);

/** Unpacks zstd frames, or undefined without node:zlib or when it is older than Node 22.15. */
export const nativeZstd = runnerOf(zlib?.createZstdDecompress);

/** CRC-32 of `bytes` as an unsigned number. */
export const crc32: (bytes: Uint8Array) => number = zlib?.crc32 ?? portableCrc32;

type Run = (bytes: Uint8Array, options: DecompressOptions) => Promise<Decompressed>;

function runnerOf(create: ((options: { chunkSize: number }) => ZlibStream) | undefined): Run | undefined {
  if (create === undefined) return undefined;
  return (bytes, options) => runStream(create({ chunkSize: chunkSize(options) }), bytes, options);
}

function chunkSize({ sizeHint = 0, maxOutput }: DecompressOptions): number {
  return Math.max(CHUNK_SIZE, Math.min(sizeHint + 1, maxOutput, MAX_CHUNK_SIZE));
}

/** Feeds `bytes` slice by slice, so that the event loop breathes and the output's bound holds. */
function runStream(stream: ZlibStream, bytes: Uint8Array, options: DecompressOptions): Promise<Decompressed> {
  const chunks: Uint8Array[] = [];
  let produced = 0;
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
      if (produced + chunk.length > options.maxOutput) {
        stream.destroy(outputTooLarge(options.maxOutput));
        return;
      }
      chunks.push(chunk);
      produced += chunk.length;
      options.onProgress?.(stream.bytesWritten, produced);
    });
    stream.on('end', () => resolve({ output: joined(chunks, produced), consumed: stream.bytesWritten }));
    stream.on('error', (error: Error) =>
      reject(error instanceof DecompressError ? error : new DecompressError(error.message)),
    );
    feed();
  });
}

function joined(chunks: readonly Uint8Array[], length: number): Uint8Array {
  if (chunks.length === 1) return chunks[0]!;
  const output = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    output.set(chunk, offset);
    offset += chunk.length;
  }
  return output;
}
