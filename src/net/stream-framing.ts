/** QEMU's framing of Ethernet frames on a byte stream (`-netdev stream`): a 32-bit big-endian length, then the frame. */

export const LENGTH_PREFIX = 4;
/** Longest frame QEMU sends or takes. */
export const MAX_STREAM_FRAME = 4096 + 65536;

/** Cuts a byte stream into frames. */
export class FrameReader {
  #chunks: Uint8Array[] = [];
  #length = 0;

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    // Not a Buffer, whose `slice` does not copy.
    this.#chunks.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length));
    this.#length += chunk.length;
  }

  /** The next whole frame, which stays next until `shift`; undefined if it is not all there; throws RangeError for a length out of range. */
  peek(): Uint8Array | undefined {
    if (this.#length < LENGTH_PREFIX) return undefined;
    const prefix = this.#gather(LENGTH_PREFIX);
    const length = new DataView(prefix.buffer, prefix.byteOffset).getUint32(0);
    if (length > MAX_STREAM_FRAME) throw new RangeError(`a frame of ${length} bytes`);
    if (this.#length < LENGTH_PREFIX + length) return undefined;
    return this.#gather(LENGTH_PREFIX + length).subarray(LENGTH_PREFIX, LENGTH_PREFIX + length);
  }

  /** Drops the frame that `peek` gave. */
  shift(): void {
    const first = this.#chunks[0]!;
    const length = LENGTH_PREFIX + new DataView(first.buffer, first.byteOffset).getUint32(0);
    this.#length -= length;
    if (first.length === length) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(length);
  }

  /** Joins chunks until the first holds `size` bytes. */
  #gather(size: number): Uint8Array {
    const first = this.#chunks[0]!;
    if (first.length >= size) return first;
    let count = 0;
    let length = 0;
    while (length < size) length += this.#chunks[count++]!.length;
    const joined = new Uint8Array(length);
    let at = 0;
    for (const chunk of this.#chunks.splice(0, count)) {
      joined.set(chunk, at);
      at += chunk.length;
    }
    this.#chunks.unshift(joined);
    return joined;
  }
}
