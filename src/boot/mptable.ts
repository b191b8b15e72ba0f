/** The MP table, for guests without ACPI: Intel MultiProcessor Specification 1.4, chapter 4. Same routing as the DSDT. */

import { IOAPIC_BASE, IOAPIC_ID, LAPIC_BASE, PCI_IRQS, PIT_IOAPIC_PIN, PIT_IRQ, pciInterruptLine } from '../layout.ts';
import { ascii, checksumOf, concat, u8, u16, u32, zeros } from './bytes.ts';

const SPEC_REVISION = 4;
const PCI_BUS = 0;
const ISA_BUS = 1;
const ISA_LINES = 16;
/** The line through which the second PIC is cascaded: never a device's. */
const CASCADE_IRQ = 2;
const PCI_SLOTS = 32;
const PCI_PINS = 4;

/** Interrupt types and flags of tables 4-10 and 4-11. */
const INT = 0;
const NMI = 1;
const EXTINT = 3;
const CONFORMING = 0;
const LEVEL_LOW = 0x0f;
const ALL_LOCAL_APICS = 0xff;

const CPU_ENABLED = 1;
const CPU_BOOTSTRAP = 2;
const LAPIC_VERSION = 0x14;
const IOAPIC_VERSION = 0x11;
/** Family 6; feature bits FPU and APIC: all that this table's readers look at. */
const CPU_SIGNATURE = 0x600;
const CPU_FEATURES = 0x201;

/** The MP configuration table for `cpus` CPUs with local APIC ids from 0. */
export function buildMpTable(cpus: number): Uint8Array {
  const entries = [
    ...Array.from({ length: cpus }, (_, id) => processor(id)),
    concat(u8(1, PCI_BUS), ascii('PCI', 6)),
    concat(u8(1, ISA_BUS), ascii('ISA', 6)),
    concat(u8(2, IOAPIC_ID, IOAPIC_VERSION, 1), u32(IOAPIC_BASE)),
    ...isaInterrupts(),
    ...pciInterrupts(),
    localInterrupt(EXTINT, 0, 0),
    localInterrupt(NMI, ALL_LOCAL_APICS, 1),
  ];
  const body = concat(...entries);
  const bytes = concat(
    ascii('PCMP', 4),
    u16(44 + body.length),
    u8(SPEC_REVISION, 0),
    ascii('UKLEMU', 8),
    ascii('UKL-EMU', 12),
    u32(0),
    u16(0),
    u16(entries.length),
    u32(LAPIC_BASE),
    u32(0),
    body,
  );
  bytes[7] = checksumOf(bytes);
  return bytes;
}

/** The floating pointer structure that a guest scans for. `table` is the configuration table's physical address. */
export function buildMpPointer(table: number): Uint8Array {
  const bytes = concat(ascii('_MP_', 4), u32(table), u8(1, SPEC_REVISION, 0), zeros(5));
  bytes[10] = checksumOf(bytes);
  return bytes;
}

function processor(id: number): Uint8Array {
  const flags = CPU_ENABLED | (id === 0 ? CPU_BOOTSTRAP : 0);
  return concat(u8(0, id, LAPIC_VERSION, flags), u32(CPU_SIGNATURE), u32(CPU_FEATURES), zeros(8));
}

function ioInterrupt(type: number, flags: number, bus: number, source: number, pin: number): Uint8Array {
  return concat(u8(3, type), u16(flags), u8(bus, source, IOAPIC_ID, pin));
}

function localInterrupt(type: number, lapic: number, pin: number): Uint8Array {
  return concat(u8(4, type), u16(CONFORMING), u8(ISA_BUS, 0, lapic, pin));
}

function isaInterrupts(): Uint8Array[] {
  // The PICs' output arrives at pin 0.
  const entries = [ioInterrupt(EXTINT, CONFORMING, ISA_BUS, 0, 0)];
  for (let line = 0; line < ISA_LINES; line++) {
    if (line === CASCADE_IRQ || PCI_IRQS.some((pci) => pci === line)) continue;
    entries.push(ioInterrupt(INT, CONFORMING, ISA_BUS, line, line === PIT_IRQ ? PIT_IOAPIC_PIN : line));
  }
  return entries;
}

function pciInterrupts(): Uint8Array[] {
  const entries: Uint8Array[] = [];
  for (let slot = 0; slot < PCI_SLOTS; slot++) {
    for (let pin = 0; pin < PCI_PINS; pin++) {
      entries.push(ioInterrupt(INT, LEVEL_LOW, PCI_BUS, (slot << 2) | pin, pciInterruptLine(slot, pin)));
    }
  }
  return entries;
}
