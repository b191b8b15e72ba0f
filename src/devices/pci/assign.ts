import { PCI_MMIO_BASE, PCI_MMIO_END } from '../../layout.ts';
import type { PciBus } from './bus.ts';
import { type BarKind, PciCommand, PciRegister } from './function.ts';

/** Where firmware puts BARs: I/O above the ISA devices, memory in the hole below the IOAPIC. */
const START: Record<BarKind, number> = { io: 0xc000, memory: PCI_MMIO_BASE };
const END: Record<BarKind, number> = { io: 0x1_0000, memory: PCI_MMIO_END };

/**
 * Does what firmware does before an operating system starts, since no firmware runs here: gives every BAR an address
 * of its own, aligned to its size, turns the decoders on and writes the interrupt line registers.
 * Throws a RangeError when the windows are exhausted.
 */
export function assignBars(bus: PciBus): void {
  const next = { ...START };
  for (const [slot, pciFunction] of bus.functions()) {
    let command = pciFunction.readConfig(PciRegister.command, 2);
    for (const { index, kind, size } of pciFunction.bars) {
      const base = Math.ceil(next[kind] / size) * size;
      if (base + size > END[kind]) throw new RangeError(`${pciFunction.name}: no ${kind} space left for BAR ${index}`);
      next[kind] = base + size;
      pciFunction.writeConfig(PciRegister.bar0 + 4 * index, 4, base);
      command |= kind === 'io' ? PciCommand.io : PciCommand.memory;
    }
    const irq = bus.irq(slot);
    if (irq !== undefined) pciFunction.writeConfig(PciRegister.interruptLine, 1, irq);
    pciFunction.writeConfig(PciRegister.command, 2, command);
  }
}
