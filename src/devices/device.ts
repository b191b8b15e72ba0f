/** What a device may know of the machine: nothing but the three things below. */

/** An interrupt line into an interrupt controller; level semantics, edges are made by the receiver. */
export interface IrqLine {
  set(level: boolean): void;
}

/** Guest RAM as a bus master sees it: guest-physical addresses, bounds-checked, never touching emulator state. */
export interface DmaMemory {
  /** True when [address, address + length) lies wholly in guest RAM. */
  contains(address: number, length: number): boolean;
  /**
   * The bytes of [address, address + length) as a view of guest RAM (no copy), or undefined if any byte is outside RAM.
   * The view is valid until control returns to the guest.
   */
  view(address: number, length: number): Uint8Array | undefined;
  /** As `view`, and tells the CPU that those bytes are about to change (translated code on those pages is dropped). */
  writable(address: number, length: number): Uint8Array | undefined;
}

/**
 * A piece of hardware behind ports or MMIO. Offsets are relative to where the machine put the device.
 * A device never throws, whatever the guest does, and never reads host time: it has a Clock.
 */
export interface Device {
  readonly name: string;
  /** Value of `width` bytes (1, 2, 4; 8 on MMIO as two 4-byte accesses) at `offset`, zero-extended. */
  read(offset: number, width: 1 | 2 | 4): number;
  write(offset: number, width: 1 | 2 | 4, value: number): void;
  reset(): void;
}
