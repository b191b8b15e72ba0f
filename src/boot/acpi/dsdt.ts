/** The DSDT's definition block: S5, the PCI root with its windows and interrupt routing, and the ISA devices. */

import {
  ACPI_S5_SLEEP_TYPE,
  COM1_IRQ,
  COM1_PORT,
  HPET_BASE,
  PCI_CONFIG_ADDRESS_PORT,
  PCI_MMIO_BASE,
  PCI_MMIO_END,
  pciInterruptLine,
  RTC_IRQ,
  RTC_PORT,
} from '../../layout.ts';
import { concat } from '../bytes.ts';
import * as aml from './aml.ts';

const PCI_SLOTS = 32;
const PCI_PINS = 4;
const HPET_SIZE = 0x400;

export function buildDsdtBody({ hpet }: { readonly hpet: boolean }): Uint8Array {
  const sleepType = aml.integer(ACPI_S5_SLEEP_TYPE);
  const zero = aml.integer(0);
  return concat(
    // Sleep types for PM1a and PM1b, then two reserved elements (ACPI 6.5 section 7.4.2).
    aml.name('\\_S5_', aml.packageOf(sleepType, sleepType, zero, zero)),
    aml.scope('\\_SB_', pciRoot(), serialPort(), clock(), ...(hpet ? [eventTimer()] : [])),
  );
}

function pciRoot(): Uint8Array {
  return aml.device(
    'PCI0',
    aml.name('_HID', aml.eisaId('PNP0A03')),
    aml.name('_UID', aml.integer(0)),
    aml.name('_BBN', aml.integer(0)),
    aml.name(
      '_CRS',
      aml.resources(
        aml.busNumbers(0, 0xff),
        aml.ioPorts(PCI_CONFIG_ADDRESS_PORT, 8),
        aml.portWindow(0, PCI_CONFIG_ADDRESS_PORT - 1),
        aml.portWindow(0x0d00, 0xffff),
        aml.memoryWindow(PCI_MMIO_BASE, PCI_MMIO_END - 1),
      ),
    ),
    aml.name('_PRT', aml.packageOf(...interruptRoutes())),
  );
}

/** One route for each slot and pin: straight to a global interrupt, no link device (ACPI 6.5 section 6.2.13). */
function interruptRoutes(): Uint8Array[] {
  const routes: Uint8Array[] = [];
  for (let slot = 0; slot < PCI_SLOTS; slot++) {
    for (let pin = 0; pin < PCI_PINS; pin++) {
      const anyFunction = slot * 0x1_0000 + 0xffff;
      routes.push(
        aml.packageOf(
          aml.integer(anyFunction),
          aml.integer(pin),
          aml.integer(0),
          aml.integer(pciInterruptLine(slot, pin)),
        ),
      );
    }
  }
  return routes;
}

function serialPort(): Uint8Array {
  return aml.device(
    'COM1',
    aml.name('_HID', aml.eisaId('PNP0501')),
    aml.name('_UID', aml.integer(1)),
    aml.name('_CRS', aml.resources(aml.ioPorts(COM1_PORT, 8), aml.irq(COM1_IRQ))),
  );
}

function clock(): Uint8Array {
  return aml.device(
    'RTC',
    aml.name('_HID', aml.eisaId('PNP0B00')),
    aml.name('_CRS', aml.resources(aml.ioPorts(RTC_PORT, 2), aml.irq(RTC_IRQ))),
  );
}

function eventTimer(): Uint8Array {
  return aml.device(
    'HPET',
    aml.name('_HID', aml.eisaId('PNP0103')),
    aml.name('_UID', aml.integer(0)),
    aml.name('_CRS', aml.resources(aml.fixedMemory(HPET_BASE, HPET_SIZE))),
  );
}
