import type { Device } from '../device.ts';
import type { PciBus } from './bus.ts';
import { PciFunction } from './function.ts';

/** Ports of configuration mechanism 1 (PCI 3.0, 3.2.2.3.2). */
export const CONFIG_PORTS = { base: 0xcf8, size: 8 } as const;

const ENABLE = 0x8000_0000;
const RESET_CONTROL = 1;
const RESET_CPU = 4;

/** The Intel 82441FX (i440FX) host bridge, 8086:1237: nothing but its identity. */
export function createHostBridge(): PciFunction {
  return new PciFunction('pci-host-bridge', { vendor: 0x8086, device: 0x1237, revision: 2, classCode: 0x060000 });
}

/**
 * CONFIG_ADDRESS (0xcf8, dword accesses only) and CONFIG_DATA (0xcfc to 0xcff, any width), and between them the reset
 * control register at 0xcf9 (82371SB data sheet, 4.1.2.4), which answers byte accesses only.
 */
export class PciConfigPorts implements Device {
  readonly name = 'pci-config';
  readonly #bus: PciBus;
  readonly #onReset: () => void;
  #address = 0;
  #resetControl = 0;

  /** `onReset`: the guest asked for a reset of the machine through port 0xcf9. */
  constructor(bus: PciBus, onReset: () => void) {
    this.#bus = bus;
    this.#onReset = onReset;
  }

  read(offset: number, width: 1 | 2 | 4): number {
    if (offset >= 4) {
      const target = this.#target();
      if (target === undefined || offset + width > 8) return width === 4 ? 0xffff_ffff : width === 2 ? 0xffff : 0xff;
      return target.readConfig((this.#address & 0xfc) + offset - 4, width);
    }
    if (offset === 0 && width === 4) return this.#address;
    if (offset === RESET_CONTROL && width === 1) return this.#resetControl;
    return width === 4 ? 0xffff_ffff : width === 2 ? 0xffff : 0xff;
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    if (offset >= 4) {
      if (offset + width <= 8) this.#target()?.writeConfig((this.#address & 0xfc) + offset - 4, width, value);
    } else if (offset === 0 && width === 4) {
      this.#address = (value & 0x80ff_fffc) >>> 0;
    } else if (offset === RESET_CONTROL && width === 1) {
      const rises = (value & ~this.#resetControl & RESET_CPU) !== 0;
      this.#resetControl = value & 2;
      if (rises) this.#onReset();
    }
  }

  reset(): void {
    this.#address = 0;
    this.#resetControl = 0;
  }

  save(): { address: number; resetControl: number } {
    return { address: this.#address, resetControl: this.#resetControl };
  }

  load(state: { address: number; resetControl: number }): void {
    this.#address = (state.address & 0x80ff_fffc) >>> 0;
    this.#resetControl = state.resetControl & 2;
  }

  #target(): PciFunction | undefined {
    const address = this.#address;
    // Bus 0, function 0 only: other buses and functions do not exist.
    if ((address & ENABLE) === 0 || (address & 0x00ff_0700) !== 0) return undefined;
    return this.#bus.at((address >>> 11) & 0x1f);
  }
}
