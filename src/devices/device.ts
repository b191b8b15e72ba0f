/** What a device may know of the machine: nothing but the three things below. */

/** An interrupt line into an interrupt controller; level semantics, edges are made by the receiver. */
export interface IrqLine {
  set(level: boolean): void;
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
