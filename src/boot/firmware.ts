/** What a guest finds in memory as if a BIOS had run: interrupt vectors, BIOS data area, EBDA, ACPI and MP tables. */

import { BIOS_DATA_AREA, COM1_PORT, EBDA_BASE, EBDA_SIZE } from '../layout.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { type AcpiOptions, buildAcpiTables } from './acpi/tables.ts';
import { writeBiosVectors } from './bios-vectors.ts';
import { buildMpPointer, buildMpTable } from './mptable.ts';

const PAGE = 0x1000;
/** Inside the EBDA, whose first byte is its size; guests scan it in steps of 16 bytes. */
const RSDP_OFFSET = 0x10;
const MP_POINTER_OFFSET = 0x40;
const BIOS_HANDLERS_OFFSET = 0x80;

/** Fields of the BIOS data area (IBM PS/2 and PC BIOS Interface Technical Reference, section 3). */
const BDA_COM1 = 0x00;
const BDA_EBDA_SEGMENT = 0x0e;
const BDA_EQUIPMENT = 0x10;
const BDA_BASE_MEMORY = 0x13;
/** One serial port; the video bits 0 say that there is no display of the old kinds. */
const EQUIPMENT_ONE_SERIAL_PORT = 1 << 9;

/** Guest-physical address of the ACPI root pointer. */
export const RSDP_ADDRESS = EBDA_BASE + RSDP_OFFSET;

/** Bytes, in whole pages, that the tables take at the top of low memory. */
export function firmwareTablesSize(options: AcpiOptions): number {
  const size = buildAcpiTables(0, options).bytes.length + buildMpTable(options.cpus).length;
  return Math.ceil(size / PAGE) * PAGE;
}

/** Writes everything; the tables go to `tables`, which has firmwareTablesSize bytes. Returns the root pointer's bytes. */
export function writeFirmware(memory: GuestMemory, tables: number, options: AcpiOptions): Uint8Array {
  const acpi = buildAcpiTables(tables, options);
  const mpTable = tables + acpi.bytes.length;
  memory.copyIn(tables, acpi.bytes);
  memory.copyIn(mpTable, buildMpTable(options.cpus));
  memory.fill(EBDA_BASE, EBDA_SIZE);
  memory.write8(EBDA_BASE, EBDA_SIZE / 1024);
  memory.copyIn(RSDP_ADDRESS, acpi.rsdp);
  memory.copyIn(EBDA_BASE + MP_POINTER_OFFSET, buildMpPointer(mpTable));
  writeBiosVectors(memory, EBDA_BASE + BIOS_HANDLERS_OFFSET);
  memory.write16(BIOS_DATA_AREA + BDA_COM1, COM1_PORT);
  memory.write16(BIOS_DATA_AREA + BDA_EBDA_SEGMENT, EBDA_BASE >> 4);
  memory.write16(BIOS_DATA_AREA + BDA_EQUIPMENT, EQUIPMENT_ONE_SERIAL_PORT);
  memory.write16(BIOS_DATA_AREA + BDA_BASE_MEMORY, EBDA_BASE / 1024);
  return acpi.rsdp;
}
