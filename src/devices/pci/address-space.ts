import type { Device } from '../device.ts';

/** A window that can move; the first one registered answers where several overlap. `Mapping` of bus.ts fits. */
export interface PciWindow {
  map(base: number): void;
  unmap(): void;
}

export interface WindowSpace {
  /** A window of `length` bytes, closed while `base` is undefined. */
  register(device: Device, base: undefined, length: number): PciWindow;
}

/** Where BARs appear; the machine's PortBus and MmioBus fit. */
export interface PciAddressSpace {
  readonly ports: WindowSpace;
  readonly mmio: WindowSpace;
}

/** Delivers a message-signalled interrupt: a 4-byte write of `data` to `address` (SDM vol. 3, 11.11). */
export type MsiSink = (address: number, data: number) => void;
