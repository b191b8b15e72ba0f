/** The ACPI tables of the machine: ACPI 6.5 chapter 5. */

import { SMI_ACPI_DISABLE, SMI_ACPI_ENABLE } from '../../devices/acpi-pm.ts';
import {
  ACPI_SMI_COMMAND_PORT,
  HPET_BASE,
  IOAPIC_BASE,
  IOAPIC_ID,
  LAPIC_BASE,
  PCI_IRQS,
  PIT_IOAPIC_PIN,
  PIT_IRQ,
  PM_TIMER_PORT,
  PM1A_CONTROL_PORT,
  PM1A_EVENT_PORT,
  RESET_PORT,
  RESET_VALUE,
  SCI_IRQ,
} from '../../layout.ts';
import { ascii, checksumOf, concat, u8, u16, u32, u64, zeros } from '../bytes.ts';
import { buildDsdtBody } from './dsdt.ts';

export interface AcpiOptions {
  /** Number of CPUs; their local APIC ids count from 0. */
  readonly cpus: number;
  /** Whether the machine has an HPET to announce. */
  readonly hpet: boolean;
}

export interface AcpiTables {
  /** All tables but the RSDP, for the address they were built for. */
  readonly bytes: Uint8Array;
  /** The root pointer, which a guest scans for or is told of. */
  readonly rsdp: Uint8Array;
}

const OEM_ID = 'UKLEMU';
const OEM_TABLE_ID = 'UKL-EMU';
const CREATOR_ID = 'UKLE';
const TABLE_ALIGN = 64;
const HEADER_CHECKSUM_OFFSET = 9;

/** MPS INTI flags (table 5.26): active high or low, edge or level. */
const LEVEL_HIGH = 0x0d;
const LEVEL_LOW = 0x0f;

const ADDRESS_SPACE_MEMORY = 0;
const ADDRESS_SPACE_IO = 1;

/** IA-PC boot architecture flags (table 5.11): legacy devices on an ISA bus; no VGA. The 8042 is there for reset only. */
const LEGACY_DEVICES = 0x01;
const VGA_NOT_PRESENT = 0x04;

/** Fixed feature flags (table 5.10): WBINVD works, C1 everywhere, no fixed sleep button, reset register. */
const FADT_FLAGS = 0x01 | 0x04 | 0x20 | 0x400;

/** C2 and C3 latencies this large mean that the states are not there. */
const NO_C2 = 0x0fff;
const NO_C3 = 0x0fff;
const RTC_CENTURY_REGISTER = 0x32;

/** Builds the tables for guest-physical `base` (64-byte aligned, below 4 GiB). */
export function buildAcpiTables(base: number, options: AcpiOptions): AcpiTables {
  const parts: Uint8Array[] = [];
  let next = base;
  const add = (table: Uint8Array): number => {
    const address = next;
    const padding = (TABLE_ALIGN - (table.length % TABLE_ALIGN)) % TABLE_ALIGN;
    parts.push(table, zeros(padding));
    next += table.length + padding;
    return address;
  };
  const facs = add(buildFacs());
  const dsdt = add(table('DSDT', 2, buildDsdtBody(options)));
  const entries = [add(buildFadt(facs, dsdt)), add(buildMadt(options.cpus))];
  if (options.hpet) entries.push(add(buildHpet()));
  const rsdt = add(table('RSDT', 1, concat(...entries.map(u32))));
  const xsdt = add(table('XSDT', 1, concat(...entries.map(u64))));
  return { bytes: concat(...parts), rsdp: buildRsdp(rsdt, xsdt) };
}

/** A table with its header (section 5.2.6) and checksum. */
function table(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const bytes = concat(
    ascii(signature, 4),
    u32(36 + body.length),
    u8(revision, 0),
    ascii(OEM_ID, 6),
    ascii(OEM_TABLE_ID, 8),
    u32(1),
    ascii(CREATOR_ID, 4),
    u32(1),
    body,
  );
  bytes[HEADER_CHECKSUM_OFFSET] = checksumOf(bytes);
  return bytes;
}

/** Root system description pointer, section 5.2.5.3. */
function buildRsdp(rsdt: number, xsdt: number): Uint8Array {
  const first = concat(ascii('RSD PTR ', 8), u8(0), ascii(OEM_ID, 6), u8(2), u32(rsdt));
  first[8] = checksumOf(first);
  const bytes = concat(first, u32(36), u64(xsdt), u8(0), zeros(3));
  bytes[32] = checksumOf(bytes);
  return bytes;
}

/** Firmware ACPI control structure, section 5.2.10; it has no checksum. */
function buildFacs(): Uint8Array {
  return concat(ascii('FACS', 4), u32(64), zeros(24), u8(2), zeros(31));
}

/** Generic address structure, section 5.2.3.2. */
function genericAddress(space: number, bits: number, accessSize: number, address: number): Uint8Array {
  return concat(u8(space, bits, 0, accessSize), u64(address));
}

const NO_ADDRESS = zeros(12);

/** Fixed ACPI description table, section 5.2.9. */
function buildFadt(facs: number, dsdt: number): Uint8Array {
  return table(
    'FACP',
    4,
    concat(
      u32(facs),
      u32(dsdt),
      u8(0, 0),
      u16(SCI_IRQ),
      u32(ACPI_SMI_COMMAND_PORT),
      u8(SMI_ACPI_ENABLE, SMI_ACPI_DISABLE, 0, 0),
      // PM1a event, PM1b event, PM1a control, PM1b control, PM2 control, PM timer, GPE0, GPE1
      ...[PM1A_EVENT_PORT, 0, PM1A_CONTROL_PORT, 0, 0, PM_TIMER_PORT, 0, 0].map(u32),
      // Their lengths, the GPE1 base and _CST support
      u8(4, 2, 0, 4, 0, 0, 0, 0),
      u16(NO_C2),
      u16(NO_C3),
      // Cache flush size and stride, duty cycle, alarm registers
      zeros(8),
      u8(RTC_CENTURY_REGISTER),
      u16(LEGACY_DEVICES | VGA_NOT_PRESENT),
      u8(0),
      u32(FADT_FLAGS),
      genericAddress(ADDRESS_SPACE_IO, 8, 1, RESET_PORT),
      u8(RESET_VALUE),
      zeros(3),
      // Only one of the two FACS addresses may be set.
      u64(0),
      u64(dsdt),
      genericAddress(ADDRESS_SPACE_IO, 32, 2, PM1A_EVENT_PORT),
      NO_ADDRESS,
      genericAddress(ADDRESS_SPACE_IO, 16, 2, PM1A_CONTROL_PORT),
      NO_ADDRESS,
      NO_ADDRESS,
      genericAddress(ADDRESS_SPACE_IO, 32, 3, PM_TIMER_PORT),
      NO_ADDRESS,
      NO_ADDRESS,
    ),
  );
}

/** Multiple APIC description table, section 5.2.12. */
function buildMadt(cpus: number): Uint8Array {
  const enabled = 1;
  const dualPic = 1;
  const localApics = Array.from({ length: cpus }, (_, id) => concat(u8(0, 8, id, id), u32(enabled)));
  const ioApic = concat(u8(1, 12, IOAPIC_ID, 0), u32(IOAPIC_BASE), u32(0));
  const override = (source: number, target: number, flags: number) =>
    concat(u8(2, 10, 0, source), u32(target), u16(flags));
  // Local APIC NMI of every CPU on LINT1.
  const nmi = concat(u8(4, 6, 0xff), u16(0), u8(1));
  return table(
    'APIC',
    4,
    concat(
      u32(LAPIC_BASE),
      u32(dualPic),
      ...localApics,
      ioApic,
      override(PIT_IRQ, PIT_IOAPIC_PIN, 0),
      override(SCI_IRQ, SCI_IRQ, LEVEL_HIGH),
      ...PCI_IRQS.map((line) => override(line, line, LEVEL_LOW)),
      nmi,
    ),
  );
}

/** HPET description table: IA-PC HPET specification 1.0a, section 3.2.4. Three comparators, 64 bits, legacy routing. */
function buildHpet(): Uint8Array {
  const eventTimerBlock = 0x8086_a201;
  return table(
    'HPET',
    1,
    concat(u32(eventTimerBlock), genericAddress(ADDRESS_SPACE_MEMORY, 64, 0, HPET_BASE), u8(0), u16(0), u8(0)),
  );
}
