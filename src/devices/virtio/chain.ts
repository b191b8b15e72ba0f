import type { DmaMemory } from '../../memory/dma-memory.ts';

/** Most buffers one chain may have, indirect ones included; Linux and QEMU stop at the same number. */
export const MAX_CHAIN = 1024;

const MAX_BYTES = 0xffff_ffff;

/** A chain as plain data: address and length of each buffer, the readable ones first. */
export interface ChainState {
  head: number;
  readableCount: number;
  buffers: [number, number][];
}

/**
 * A popped descriptor chain: buffers the device may read, then buffers it may write (virtio 1.2, 2.7.4).
 * The object is filled again by each `pop`, so the hot path allocates nothing; zero-length buffers are left out.
 */
export class DescriptorChain {
  /** Descriptor index by which the chain is returned. */
  head = 0;
  /** Buffers in all, and how many of them (the first ones) are for reading. */
  count = 0;
  readableCount = 0;
  /** Bytes in the readable and in the writable part. */
  readableLength = 0;
  writableLength = 0;
  /** A buffer lies outside RAM or the sizes add up to 2^32 or more: return the chain with 0 bytes, touch nothing. */
  malformed = false;

  readonly #memory: DmaMemory;
  readonly #addresses = new Float64Array(MAX_CHAIN);
  readonly #lengths = new Uint32Array(MAX_CHAIN);

  constructor(memory: DmaMemory) {
    this.#memory = memory;
  }

  get full(): boolean {
    return this.count === MAX_CHAIN;
  }

  address(index: number): number {
    return this.#addresses[index]!;
  }

  length(index: number): number {
    return this.#lengths[index]!;
  }

  begin(head: number): void {
    this.head = head;
    this.count = 0;
    this.readableCount = 0;
    this.readableLength = 0;
    this.writableLength = 0;
    this.malformed = false;
  }

  /** Appends a buffer; false when the chain is full or a readable buffer follows a writable one. */
  add(address: number, length: number, writable: boolean): boolean {
    const index = this.count;
    if (index === MAX_CHAIN) return false;
    if (writable) {
      this.writableLength += length;
    } else {
      if (index !== this.readableCount) return false;
      this.readableCount++;
      this.readableLength += length;
    }
    this.#addresses[index] = address;
    this.#lengths[index] = length;
    this.count = index + 1;
    if (this.readableLength + this.writableLength > MAX_BYTES || !this.#memory.contains(address, length)) {
      this.malformed = true;
    }
    return true;
  }

  /** Copies readable bytes from `offset` on into `target`; returns how many there were. */
  gather(offset: number, target: Uint8Array): number {
    let copied = 0;
    let skip = offset;
    for (let i = 0; i < this.readableCount && copied < target.length; i++) {
      const length = this.#lengths[i]!;
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const part = Math.min(length - skip, target.length - copied);
      const bytes = this.#memory.view(this.#addresses[i]! + skip, part);
      if (bytes === undefined) return copied;
      target.set(bytes, copied);
      copied += part;
      skip = 0;
    }
    return copied;
  }

  /** The `length` readable bytes from `offset` on as guest memory itself, if they lie in one buffer. */
  readableView(offset: number, length: number): Uint8Array | undefined {
    let skip = offset;
    for (let i = 0; i < this.readableCount; i++) {
      const size = this.#lengths[i]!;
      if (skip < size) return size - skip >= length ? this.#memory.view(this.#addresses[i]! + skip, length) : undefined;
      skip -= size;
    }
    return undefined;
  }

  /** Copies `source` into the writable part from `offset` on; returns how many bytes fitted. */
  scatter(offset: number, source: Uint8Array): number {
    let copied = 0;
    let skip = offset;
    for (let i = this.readableCount; i < this.count && copied < source.length; i++) {
      const length = this.#lengths[i]!;
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const part = Math.min(length - skip, source.length - copied);
      const bytes = this.#memory.writable(this.#addresses[i]! + skip, part);
      if (bytes === undefined) return copied;
      bytes.set(part === source.length ? source : source.subarray(copied, copied + part));
      copied += part;
      skip = 0;
    }
    return copied;
  }

  save(): ChainState {
    const buffers: [number, number][] = [];
    for (let i = 0; i < this.count; i++) buffers.push([this.#addresses[i]!, this.#lengths[i]!]);
    return { head: this.head, readableCount: this.readableCount, buffers };
  }

  load(state: ChainState): void {
    this.begin(state.head);
    state.buffers.forEach(([address, length], index) => {
      this.add(address, length, index >= state.readableCount);
    });
  }
}
