import type { GuestMemory } from '../memory/guest-memory.ts';
import { STATE } from './state.ts';
import type { StateMemory } from './state-memory.ts';

const CR0_PG = 0x8000_0000;
const CR4_PSE = 0x10;
const CR4_PAE = 0x20;
const CR4_LA57 = 0x1000;
const EFER_LMA = 0x400;
const PRESENT = 1;
const LARGE = 0x80;
const PAGE = 0x1000;
/** Bits 51:32 of a physical address, within the high half of an entry. */
const HIGH_ADDRESS = 0x000f_ffff;
const BITS_32 = 0x1_0000_0000;

/**
 * Guest memory by linear address, for those who look on: nothing the guest or the emulator's counters could tell changes (no
 * accessed bits, no TLB fills, no faults), permissions do not matter, and what is not there reads as nothing.
 * Linear addresses are signed: numbers, exact for 48-bit canonical addresses (kernel addresses are negative).
 */
export class LinearView {
  readonly #state: StateMemory;
  readonly #memory: GuestMemory;

  constructor(state: StateMemory, memory: GuestMemory) {
    this.#state = state;
    this.#memory = memory;
  }

  /** Guest-physical address for a linear one, by the present paging mode and CR3 (SDM vol. 3, chapter 4); -1 if not mapped. */
  translate(linear: number): number {
    const cr0 = this.#state.get32(STATE.cr0);
    const cr3 = this.#state.get32(STATE.cr3);
    if (!(cr0 & CR0_PG)) return low32(linear);
    const cr4 = this.#state.get32(STATE.cr4);
    if (this.#state.get32(STATE.efer) & EFER_LMA) {
      return this.#walk(linear, address(cr3, this.#state.get32(STATE.cr3 + 4)), cr4 & CR4_LA57 ? 5 : 4);
    }
    return cr4 & CR4_PAE ? this.#walkPae(low32(linear), cr3) : this.#walk32(low32(linear), cr3, (cr4 & CR4_PSE) !== 0);
  }

  /** Long mode: `table` is the physical address of the top table. */
  #walk(linear: number, table: number, levels: number): number {
    // bits 47:12 as two halves of 18 bits, and bits 56:48
    const page = Math.floor(linear / PAGE);
    const low = modulo(page, 0x4_0000);
    const high = modulo(Math.floor(page / 0x4_0000), 0x4_0000);
    const top = modulo(Math.floor(linear / 2 ** 48), 0x200);
    const indices = [low & 0x1ff, low >> 9, high & 0x1ff, high >> 9, top];
    let at = table;
    for (let level = levels - 1; level >= 0; level--) {
      const entry = at + indices[level]! * 8;
      if (!this.#memory.contains(entry, 8)) return -1;
      const value = this.#memory.read32(entry);
      if (!(value & PRESENT)) return -1;
      const base = address(value, this.#memory.read32(entry + 4));
      if (level === 0) return base + modulo(linear, PAGE);
      if (level <= 2 && value & LARGE) {
        const size = PAGE * 512 ** level;
        return base - (base % size) + modulo(linear, size);
      }
      at = base;
    }
    return -1;
  }

  #walkPae(linear: number, cr3: number): number {
    const pointer = ((cr3 & ~0x1f) >>> 0) + (linear >>> 30) * 8;
    if (!this.#memory.contains(pointer, 8)) return -1;
    const value = this.#memory.read32(pointer);
    return value & PRESENT ? this.#walk(linear, address(value, this.#memory.read32(pointer + 4)), 2) : -1;
  }

  #walk32(linear: number, cr3: number, largePages: boolean): number {
    let at = (cr3 & -PAGE) >>> 0;
    for (const shift of [22, 12]) {
      const entry = at + ((linear >>> shift) & 0x3ff) * 4;
      if (!this.#memory.contains(entry, 4)) return -1;
      const value = this.#memory.read32(entry);
      if (!(value & PRESENT)) return -1;
      if (shift === 22 && value & LARGE && largePages) {
        return ((value >>> 13) & 0xff) * BITS_32 + ((value & 0xffc0_0000) >>> 0) + (linear & 0x3f_ffff);
      }
      at = (value & -PAGE) >>> 0;
    }
    return at + (linear & 0xfff);
  }

  /** The bytes of [linear, linear + length) up to the first that is not in RAM. */
  read(linear: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const part = Math.min(length - done, PAGE - modulo(linear + done, PAGE));
      const physical = this.translate(linear + done);
      const bytes = physical < 0 ? undefined : this.#memory.view(physical, part);
      if (bytes === undefined) return out.subarray(0, done);
      out.set(bytes, done);
      done += part;
    }
    return out;
  }

  /** An aligned quadword as a signed number (exact if it is a canonical address); undefined if it is not there. */
  quad(linear: number): number | undefined {
    const physical = this.translate(linear);
    if (physical < 0 || !this.#memory.contains(physical, 8)) return undefined;
    return (this.#memory.read32(physical + 4) | 0) * BITS_32 + this.#memory.read32(physical);
  }

  /** The zero-terminated text at an address, at most `limit` bytes of it. */
  text(linear: number, limit: number): string {
    const bytes = this.read(linear, limit);
    const end = bytes.indexOf(0);
    return new TextDecoder('latin1').decode(end < 0 ? bytes : bytes.subarray(0, end));
  }
}

/** A 64-bit register as a signed linear address. */
export function signedAddress(state: StateMemory, offset: number): number {
  return state.i32[(offset >> 2) + 1]! * BITS_32 + state.u32[offset >> 2]!;
}

/** A signed linear address as people write it: 64 bits, unsigned. */
export function unsignedAddress(linear: number): bigint {
  return BigInt.asUintN(64, BigInt(linear));
}

const modulo = (value: number, size: number): number => value - Math.floor(value / size) * size;
const low32 = (value: number): number => modulo(value, BITS_32);
const address = (low: number, high: number): number => (high & HIGH_ADDRESS) * BITS_32 + ((low & -PAGE) >>> 0);
