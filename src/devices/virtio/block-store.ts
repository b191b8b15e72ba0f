/**
 * What a disk keeps its bytes in. Operations may finish at once or later (a Promise); a failure is a throw or rejection
 * and becomes an I/O error for the guest. Offsets and lengths are whole multiples of 512 inside `size`.
 */
export interface BlockStore {
  /** Bytes, a multiple of 512. */
  readonly size: number;
  readonly readonly: boolean;
  /** Whether `discard` gives space back; without it the disk does not offer it. */
  readonly canDiscard: boolean;
  /** Fills `into` from `offset` on. */
  readAt(offset: number, into: Uint8Array): void | Promise<void>;
  /** `bytes` is not changed until the write has finished. */
  writeAt(offset: number, bytes: Uint8Array): void | Promise<void>;
  /** Makes all finished writes durable. */
  flush(): void | Promise<void>;
  /** The range's contents no longer matter. */
  discard(offset: number, length: number): void | Promise<void>;
}

/** A disk in memory; `bytes` is used in place and its length rounded down to whole sectors. */
export class MemoryBlockStore implements BlockStore {
  readonly size: number;
  readonly readonly: boolean;
  readonly canDiscard = true;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, readonly = false) {
    this.#bytes = bytes;
    this.size = bytes.length - (bytes.length % 512);
    this.readonly = readonly;
  }

  readAt(offset: number, into: Uint8Array): void {
    into.set(this.#bytes.subarray(offset, offset + into.length));
  }

  writeAt(offset: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, offset);
  }

  flush(): void {}

  discard(offset: number, length: number): void {
    this.#bytes.fill(0, offset, offset + length);
  }
}
