import type { Device } from '../device.ts';
import type { MsiSink } from './address-space.ts';

/** MSI-X (PCI 3.0, 6.8.2): table and pending bits in one BAR, the table first. */

export const MSIX_CAPABILITY = 0x11;
const ENTRY_SIZE = 16;
const CONTROL_WORD = 3;
const MASKED = 1;
const CONTROL_ENABLE = 0x8000;
const CONTROL_FUNCTION_MASK = 0x4000;

export interface MsixState {
  table: number[];
  pending: number[];
}

/** The BAR of a function's MSI-X table; offset 0 is the table, `pendingOffset` the pending bit array. */
export class MsixTable implements Device {
  readonly name: string;
  readonly vectors: number;
  readonly pendingOffset: number;
  /** Size of the BAR that holds both, a power of two of at least one page. */
  readonly size: number;

  readonly #deliver: MsiSink;
  /** Four words an entry: address low, address high, data, vector control. */
  readonly #table: Uint32Array;
  readonly #pending: Uint32Array;
  #control = 0;

  constructor(name: string, vectors: number, deliver: MsiSink) {
    this.name = name;
    this.vectors = vectors;
    this.#deliver = deliver;
    this.#table = new Uint32Array(4 * vectors);
    this.#pending = new Uint32Array(2 * Math.ceil(vectors / 64));
    let half = 0x800;
    while (half < vectors * ENTRY_SIZE) half *= 2;
    this.pendingOffset = half;
    this.size = 2 * half;
    this.reset();
  }

  get enabled(): boolean {
    return (this.#control & CONTROL_ENABLE) !== 0;
  }

  /** Message control register of the capability, whenever the guest wrote it. */
  set control(value: number) {
    this.#control = value;
    this.#deliverPending();
  }

  /** Sends the vector's message, or remembers it while the vector is masked. */
  trigger(vector: number): void {
    if (!this.enabled || vector >= this.vectors) return;
    if (this.#isMasked(vector)) {
      this.#pending[vector >> 5] = (this.#pending[vector >> 5]! | (1 << (vector & 31))) >>> 0;
      return;
    }
    const entry = 4 * vector;
    this.#deliver(this.#table[entry]! + this.#table[entry + 1]! * 0x1_0000_0000, this.#table[entry + 2]!);
  }

  read(offset: number, width: 1 | 2 | 4): number {
    const word =
      offset < this.pendingOffset ? this.#table[offset >> 2] : this.#pending[(offset - this.pendingOffset) >> 2];
    const value = (word ?? 0) >>> (8 * (offset & 3));
    return width === 4 ? value : value & (width === 2 ? 0xffff : 0xff);
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    // Software must use aligned dword accesses (6.8.2); the pending bits are read-only.
    if (width !== 4 || (offset & 3) !== 0 || offset >= this.#table.length * 4) return;
    const index = offset >> 2;
    const isControl = (index & 3) === CONTROL_WORD;
    this.#table[index] = isControl ? value & MASKED : value;
    if (isControl) this.#deliverPending();
  }

  reset(): void {
    this.#table.fill(0);
    for (let i = CONTROL_WORD; i < this.#table.length; i += 4) this.#table[i] = MASKED;
    this.#pending.fill(0);
    this.#control = 0;
  }

  save(): MsixState {
    return { table: [...this.#table], pending: [...this.#pending] };
  }

  /** The control register is the configuration space's to restore; nothing is delivered here. */
  load(state: MsixState, control: number): void {
    this.#table.set(state.table.slice(0, this.#table.length));
    this.#pending.set(state.pending.slice(0, this.#pending.length));
    this.#control = control;
  }

  #isMasked(vector: number): boolean {
    return (this.#control & CONTROL_FUNCTION_MASK) !== 0 || (this.#table[4 * vector + CONTROL_WORD]! & MASKED) !== 0;
  }

  #deliverPending(): void {
    if (!this.enabled) return;
    for (let vector = 0; vector < this.vectors; vector++) {
      const bit = 1 << (vector & 31);
      if ((this.#pending[vector >> 5]! & bit) === 0 || this.#isMasked(vector)) continue;
      this.#pending[vector >> 5] = (this.#pending[vector >> 5]! & ~bit) >>> 0;
      this.trigger(vector);
    }
  }
}
