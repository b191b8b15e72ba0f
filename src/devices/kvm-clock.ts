import type { DmaMemory } from '../memory/dma-memory.ts';
import type { Clock } from './clock.ts';
import type { Saveable } from './saveable.ts';

/**
 * The paravirtual clock of KVM (Linux Documentation/virt/kvm/x86/msr.rst): a guest names a structure in its memory, and computes the
 * time from it and the time-stamp counter without leaving the processor. The counter runs at 1 GHz, so the structure changes only when
 * the guest writes the counter.
 */
export const KVM_WALL_CLOCK_MSR = 0x4b56_4d00;
export const KVM_SYSTEM_TIME_MSR = 0x4b56_4d01;

const SYSTEM_TIME_SIZE = 32;
const WALL_CLOCK_SIZE = 12;
const ENABLED = 1n;
/** Nanoseconds = ((tsc << SHIFT) * MULTIPLIER) >> 32: one for each tick. */
const SHIFT = 1;
const MULTIPLIER = 0x8000_0000;
/** The counters of all processors agree. */
const TSC_STABLE = 1;
/** Addresses beyond this are no RAM, and no numbers either. */
const ADDRESS_BITS = 52n;

export interface KvmClockState {
  systemTime: bigint;
  wallClock: bigint;
  version: number;
}
export interface KvmClockOptions {
  readonly clock: Clock;
  readonly memory: DmaMemory;
  /** The guest's time-stamp counter. */
  readonly tsc: () => number;
}

export class KvmClock implements Saveable<KvmClockState> {
  readonly #clock: Clock;
  readonly #memory: DmaMemory;
  readonly #tsc: () => number;
  #state: KvmClockState = { systemTime: 0n, wallClock: 0n, version: 0 };

  constructor({ clock, memory, tsc }: KvmClockOptions) {
    this.#clock = clock;
    this.#memory = memory;
    this.#tsc = tsc;
  }

  /** Undefined for any other MSR. */
  readMsr(index: number): bigint | undefined {
    if (index === KVM_SYSTEM_TIME_MSR) return this.#state.systemTime;
    return index === KVM_WALL_CLOCK_MSR ? this.#state.wallClock : undefined;
  }

  /** False for any other MSR. A structure that is not wholly in RAM is not written. */
  writeMsr(index: number, value: bigint): boolean {
    if (index === KVM_SYSTEM_TIME_MSR) {
      this.#state.systemTime = value;
      this.tscChanged();
      return true;
    }
    if (index !== KVM_WALL_CLOCK_MSR) return false;
    this.#state.wallClock = value;
    const bytes = this.#structure(value, WALL_CLOCK_SIZE);
    if (bytes) {
      const { startOfDay } = this.#clock;
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      view.setUint32(0, this.#nextVersion(), true);
      view.setUint32(4, Math.floor(startOfDay / 1000), true);
      view.setUint32(8, Math.floor((startOfDay % 1000) * 1e6), true);
    }
    return true;
  }

  /** Writes the system time anew, if the guest has asked for it: the counter was written. */
  tscChanged(): void {
    const { systemTime } = this.#state;
    const bytes = systemTime & ENABLED ? this.#structure(systemTime & ~ENABLED, SYSTEM_TIME_SIZE) : undefined;
    if (!bytes) return;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    view.setUint32(0, this.#nextVersion(), true);
    view.setUint32(4, 0, true);
    view.setBigUint64(8, BigInt.asUintN(64, BigInt(this.#tsc())), true);
    view.setBigUint64(16, BigInt(this.#clock.now()), true);
    view.setUint32(24, MULTIPLIER, true);
    view.setInt8(28, SHIFT);
    view.setUint8(29, TSC_STABLE);
    view.setUint16(30, 0, true);
  }

  #structure(address: bigint, size: number): Uint8Array | undefined {
    return address >> ADDRESS_BITS ? undefined : this.#memory.writable(Number(address), size);
  }

  /** Even: the structure is complete. */
  #nextVersion(): number {
    this.#state.version = (this.#state.version + 2) >>> 0;
    return this.#state.version;
  }

  save(): KvmClockState {
    return { ...this.#state };
  }

  /** Memory is restored with the machine: nothing is written. */
  load(state: KvmClockState): void {
    this.#state = { ...state };
  }
}
