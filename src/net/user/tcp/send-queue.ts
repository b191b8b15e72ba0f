/** A chunk counts as at least this many bytes against limits, so that single bytes cannot pile up as objects. */
const MIN_CHUNK_COST = 256;

/** Bytes for the guest that it has not acknowledged: the chunks they came in, never joined. */
export class SendQueue {
  #chunks: Uint8Array[] = [];
  /** Index of the first chunk in use, and bytes of it already released. */
  #first = 0;
  #skip = 0;
  #length = 0;
  #cost = 0;

  /** Bytes held. */
  get length(): number {
    return this.#length;
  }

  /** What they cost in memory, roughly. */
  get cost(): number {
    return this.#cost;
  }

  /** Appends a chunk, which is not to be changed any more. */
  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    this.#cost += Math.max(MIN_CHUNK_COST, chunk.length);
  }

  /** Copies `length` bytes from `offset` on (both within the queue) to `into` at `at`. */
  copy(offset: number, length: number, into: Uint8Array, at: number): void {
    let index = this.#first;
    let start = this.#skip + offset;
    while (start >= this.#chunks[index]!.length) start -= this.#chunks[index++]!.length;
    let done = 0;
    while (done < length) {
      const chunk = this.#chunks[index++]!;
      const size = Math.min(chunk.length - start, length - done);
      into.set(start === 0 && size === chunk.length ? chunk : chunk.subarray(start, start + size), at + done);
      done += size;
      start = 0;
    }
  }

  /** Releases `length` bytes from the front. */
  release(length: number): void {
    this.#length -= length;
    let rest = this.#skip + length;
    while (this.#first < this.#chunks.length && rest >= this.#chunks[this.#first]!.length) {
      const size = this.#chunks[this.#first]!.length;
      rest -= size;
      this.#cost -= Math.max(MIN_CHUNK_COST, size);
      this.#first++;
    }
    this.#skip = rest;
    if (this.#first === this.#chunks.length) {
      this.#chunks = [];
      this.#first = 0;
    } else if (this.#first > 64 && this.#first * 2 > this.#chunks.length) {
      this.#chunks = this.#chunks.slice(this.#first);
      this.#first = 0;
    }
  }

  clear(): void {
    this.#chunks = [];
    this.#first = 0;
    this.#skip = 0;
    this.#length = 0;
    this.#cost = 0;
  }
}
