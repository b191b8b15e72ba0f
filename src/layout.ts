/** Every guest-physical address, port and interrupt line of the machine, each with its source. */

/** RAM below the PCI hole ends here at the latest; RAM beyond it appears from HIGH_RAM_BASE. */
export const LOW_RAM_LIMIT = 0xc000_0000;
export const HIGH_RAM_BASE = 0x1_0000_0000;

/** BARs live here, below the IOAPIC; the DSDT offers the same window to the guest. */
export const PCI_MMIO_BASE = 0xe000_0000;
export const PCI_MMIO_END = 0xfec0_0000;

/** Where every PC has them: Intel 82093AA section 3.0, SDM volume 3 section 11.4.1, IA-PC HPET 1.0a section 3.2.4. */
export const IOAPIC_BASE = 0xfec0_0000;
export const HPET_BASE = 0xfed0_0000;
export const LAPIC_BASE = 0xfee0_0000;

/** ACPI PM block (ACPI 6.5 section 4.8.3): PM1a event (4 bytes), PM1a control (2), PM timer (4). The base is PIIX4's in QEMU. */
export const PM1A_EVENT_PORT = 0x600;
export const PM1A_CONTROL_PORT = 0x604;
export const PM_TIMER_PORT = 0x608;
/** Value of SLP_TYP that means S5 in PM1a control: writing 0x2000 (SLP_EN) powers off. */
export const ACPI_S5_SLEEP_TYPE = 0;
/** Reset control register of PCI chipsets (Intel ICH, section "RST_CNT"): RESET_VALUE resets the machine. */
export const RESET_PORT = 0xcf9;
export const RESET_VALUE = 0x06;

/** PCI configuration mechanism 1 (PCI 3.0 section 3.2.2.3.2). */
export const PCI_CONFIG_ADDRESS_PORT = 0xcf8;
export const PCI_CONFIG_DATA_PORT = 0xcfc;

/** ISA ports as on every PC/AT (IBM PC AT Technical Reference, "I/O Address Map"); ELCR: Intel 82371SB section 2.5.5. */
export const PIC_MASTER_PORT = 0x20;
export const PIC_SLAVE_PORT = 0xa0;
export const PIC_ELCR_PORT = 0x4d0;
export const PIT_PORT = 0x40;
export const I8042_DATA_PORT = 0x60;
export const SYSTEM_CONTROL_PORT_B = 0x61;
export const I8042_COMMAND_PORT = 0x64;
export const RTC_PORT = 0x70;
export const POST_PORT = 0x80;
export const SYSTEM_CONTROL_PORT_A = 0x92;
export const COM1_PORT = 0x3f8;

/** SMI command port (Intel ICH, "APM_CNT"): what the FADT calls SMI_CMD, with 0xB3 as its status. */
export const ACPI_SMI_COMMAND_PORT = 0xb2;
/** Bochs' debug console, and QEMU's default for isa-debug-exit. */
export const DEBUG_CONSOLE_PORT = 0xe9;
export const DEBUG_EXIT_PORT = 0xf4;
/** QEMU's firmware configuration: selector, data (QEMU docs/specs/fw_cfg). */
export const FW_CFG_PORT = 0x510;

/** ISA interrupt lines as on every PC/AT; the PIT reaches the IOAPIC on pin 2. */
export const PIT_IRQ = 0;
export const PIT_IOAPIC_PIN = 2;
export const KEYBOARD_IRQ = 1;
export const COM1_IRQ = 4;
export const RTC_IRQ = 8;
export const SCI_IRQ = 9;
export const AUXILIARY_IRQ = 12;
/** PCI INTx lines: ISA lines, so that they work through the PIC as well as through the IOAPIC pins of the same number. */
export const PCI_IRQS = [10, 11] as const;
export const IOAPIC_PINS = 24;
/** Reset value of the IOAPIC's ID register. */
export const IOAPIC_ID = 0;

/** Interrupt line of INTA..INTD (`pin` 0..3) of the device in `slot` (0..31), the usual swizzle over PCI_IRQS. */
export function pciInterruptLine(slot: number, pin: number): number {
  return (slot + pin) % PCI_IRQS.length === 0 ? PCI_IRQS[0] : PCI_IRQS[1];
}

/** BIOS data area and extended BIOS data area (1 KiB below 640 KiB), which hold what guests scan for. */
export const BIOS_DATA_AREA = 0x400;
export const EBDA_BASE = 0x9_fc00;
export const EBDA_SIZE = 0x400;

/** virtio-mmio windows, for virtio_mmio.device= on the command line: 512 bytes each from 0xd0000000, lines 5 to 7. */
export const VIRTIO_MMIO_LENGTH = 0x200;
export function virtioMmio(index: number): { base: number; irq: number } {
  return { base: 0xd000_0000 + index * VIRTIO_MMIO_LENGTH, irq: 5 + (index % 3) };
}
