/**
 * Guest RAM: a WebAssembly memory of its own, whose index is the RAM offset. Guest-physical addresses and RAM offsets
 * differ only above the PCI hole: RAM beyond 3 GiB appears at 4 GiB and up.
 */

import { HIGH_RAM_BASE, LOW_RAM_LIMIT } from '../layout.ts';
import type { DmaMemory } from './dma-memory.ts';

/** Bytes in a WebAssembly page. */
const WASM_PAGE_SIZE = 0x1_0000;

/** Size of the pages the guest's memory is counted in. */
export const GUEST_PAGE_SIZE = 0x1000;

/** Guest RAM by guest-physical address (a non-negative integer below 2^53); values are little-endian. */
export class GuestMemory implements DmaMemory {
  /** The wasm memory that holds RAM; it never grows, so views stay valid. */
  readonly memory: WebAssembly.Memory;
  /** Bytes of RAM. */
  readonly size: number;
  /** Bytes of RAM below the hole: RAM is [0, lowSize) and [4 GiB, 4 GiB + highSize). */
  readonly lowSize: number;
  readonly highSize: number;
  /** Called with a RAM offset and a length in bytes before a bus master changes those bytes; the CPU drops its translations. */
  onDmaWrite: (offset: number, length: number) => void = () => {};

  readonly #bytes: Uint8Array;
  readonly #data: DataView;

  /** RAM of `size` bytes over `memory`, which must be at least that large. */
  constructor(memory: WebAssembly.Memory, size: number) {
    if (!Number.isSafeInteger(size) || size <= 0 || size > memory.buffer.byteLength) {
      throw new RangeError(`guest RAM of ${size} bytes does not fit a memory of ${memory.buffer.byteLength} bytes`);
    }
    this.memory = memory;
    this.size = size;
    this.lowSize = Math.min(size, LOW_RAM_LIMIT);
    this.highSize = size - this.lowSize;
    this.#bytes = new Uint8Array(memory.buffer, 0, size);
    this.#data = new DataView(memory.buffer, 0, size);
  }

  /** RAM of `size` bytes in a fresh, non-shared wasm memory. */
  static allocate(size: number): GuestMemory {
    const pages = Math.ceil(size / WASM_PAGE_SIZE);
    return new GuestMemory(new WebAssembly.Memory({ initial: pages, maximum: pages }), size);
  }

  /** RAM offset of [address, address + length), or -1 unless every byte lies in one piece of RAM. */
  toOffset(address: number, length: number): number {
    if (!(address >= 0 && length >= 0)) return -1;
    const end = address + length;
    if (end <= this.lowSize) return address;
    if (address >= HIGH_RAM_BASE && end <= HIGH_RAM_BASE + this.highSize) {
      return address - HIGH_RAM_BASE + LOW_RAM_LIMIT;
    }
    return -1;
  }

  contains(address: number, length: number): boolean {
    return this.toOffset(address, length) >= 0;
  }

  view(address: number, length: number): Uint8Array | undefined {
    const offset = this.toOffset(address, length);
    return offset < 0 ? undefined : this.#bytes.subarray(offset, offset + length);
  }

  writable(address: number, length: number): Uint8Array | undefined {
    const offset = this.toOffset(address, length);
    if (offset < 0) return undefined;
    if (length > 0) this.onDmaWrite(offset, length);
    return this.#bytes.subarray(offset, offset + length);
  }

  read8(address: number): number {
    return this.#data.getUint8(this.#offset(address, 1));
  }

  read16(address: number): number {
    return this.#data.getUint16(this.#offset(address, 2), true);
  }

  read32(address: number): number {
    return this.#data.getUint32(this.#offset(address, 4), true);
  }

  read64(address: number): bigint {
    return this.#data.getBigUint64(this.#offset(address, 8), true);
  }

  write8(address: number, value: number): void {
    const offset = this.#offset(address, 1);
    this.onDmaWrite(offset, 1);
    this.#data.setUint8(offset, value);
  }

  write16(address: number, value: number): void {
    const offset = this.#offset(address, 2);
    this.onDmaWrite(offset, 2);
    this.#data.setUint16(offset, value, true);
  }

  write32(address: number, value: number): void {
    const offset = this.#offset(address, 4);
    this.onDmaWrite(offset, 4);
    this.#data.setUint32(offset, value, true);
  }

  write64(address: number, value: bigint): void {
    const offset = this.#offset(address, 8);
    this.onDmaWrite(offset, 8);
    this.#data.setBigUint64(offset, value, true);
  }

  /** Copies `bytes` to `address`. */
  copyIn(address: number, bytes: Uint8Array): void {
    const offset = this.#offset(address, bytes.length);
    if (bytes.length > 0) this.onDmaWrite(offset, bytes.length);
    this.#bytes.set(bytes, offset);
  }

  /** Sets `length` bytes from `address` to `value`. */
  fill(address: number, length: number, value = 0): void {
    const offset = this.#offset(address, length);
    if (length > 0) this.onDmaWrite(offset, length);
    this.#bytes.fill(value, offset, offset + length);
  }

  /** A copy of `length` bytes from `address`. */
  readBytes(address: number, length: number): Uint8Array {
    const offset = this.#offset(address, length);
    return this.#bytes.slice(offset, offset + length);
  }

  /** Offset for the accessors of loaders, which check placement first: a miss is a defect of the caller, so it throws. */
  #offset(address: number, length: number): number {
    const offset = this.toOffset(address, length);
    if (offset < 0) throw new RangeError(`[0x${address.toString(16)}, +${length}) is not guest RAM`);
    return offset;
  }
}
