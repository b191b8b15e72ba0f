/** A growing output buffer with a bound. */

import { type DecompressOptions, outputTooLarge } from './decompressor.ts';

const FIRST_CAPACITY = 0x4_0000;

export class OutputBuffer {
  /** The storage; longer than `length`. Replaced when it grows. */
  bytes: Uint8Array;
  /** Bytes written so far. */
  length = 0;
  readonly #limit: number;

  constructor(options: DecompressOptions, inputLength: number) {
    this.#limit = options.maxOutput;
    const first = options.sizeHint ?? Math.max(FIRST_CAPACITY, inputLength * 4);
    this.bytes = new Uint8Array(Math.min(first, options.maxOutput));
  }

  /** Makes room for `count` more bytes. Throws DecompressError beyond the limit. */
  reserve(count: number): void {
    const needed = this.length + count;
    if (needed <= this.bytes.length) return;
    if (needed > this.#limit) throw outputTooLarge(this.#limit);
    const grown = new Uint8Array(Math.min(this.#limit, Math.max(needed, this.bytes.length * 2)));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }

  append(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  finish(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}
