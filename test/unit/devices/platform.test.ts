import { expect, test } from 'vitest';
import { AcpiPm, PM_TIMER_HZ } from '../../../src/devices/acpi-pm.ts';
import { MmioBus, PortBus } from '../../../src/devices/bus.ts';
import { InstructionClock } from '../../../src/devices/clock.ts';
import { GatedLine, Hpet } from '../../../src/devices/hpet.ts';
import { Interrupts } from '../../../src/devices/interrupts.ts';
import { PIT_HZ, Pit } from '../../../src/devices/pit.ts';
import { Rtc } from '../../../src/devices/rtc.ts';
import {
  HPET_BASE,
  IOAPIC_BASE,
  LAPIC_BASE,
  PIT_IRQ,
  PIT_PORT,
  PM1A_EVENT_PORT,
  RTC_IRQ,
  SCI_IRQ,
  SYSTEM_CONTROL_PORT_B,
} from '../../../src/layout.ts';

/** The timers of a machine on their buses; every port access costs the guest 100 instructions. */
function build() {
  let instructions = 0;
  const clock = new InstructionClock(() => instructions);
  const interrupts = new Interrupts({ clock });
  const bus = new PortBus();
  const mmio = new MmioBus();
  const pitLine = new GatedLine(interrupts.line(PIT_IRQ));
  const rtcLine = new GatedLine(interrupts.line(RTC_IRQ));
  const pit = new Pit({ clock, irq: pitLine });
  new Rtc({ clock, irq: rtcLine, lowMemory: 64 << 20 });
  bus.register(pit, PIT_PORT, 4);
  bus.register(pit, SYSTEM_CONTROL_PORT_B, 1, 4);
  bus.register(new AcpiPm({ clock, irq: interrupts.line(SCI_IRQ), onPowerOff: () => {} }), PM1A_EVENT_PORT, 12);
  const apic = interrupts.localApics[0]!;
  mmio.register(apic, LAPIC_BASE, 0x1000);
  mmio.register(interrupts.ioApic, IOAPIC_BASE, 0x1000);
  const hpet = new Hpet({
    clock,
    legacyIrqs: [interrupts.line(PIT_IRQ), interrupts.line(RTC_IRQ)],
    pin: (pin) => interrupts.pin(pin),
    onLegacyReplacement: (on) => {
      pitLine.setOpen(!on);
      rtcLine.setOpen(!on);
    },
  });
  mmio.register(hpet, HPET_BASE, 0x400);
  const run = (count: number) => {
    instructions += count;
    clock.fire();
  };
  return {
    clock,
    apic,
    run,
    inb: (port: number) => {
      run(100);
      return bus.read(port, 1);
    },
    inl: (port: number) => {
      run(100);
      return bus.read(port, 4);
    },
    outb: (port: number, value: number) => {
      run(100);
      bus.write(port, 1, value);
    },
    readl: (address: number) => mmio.read(address, 4),
    writel: (address: number, value: number) => mmio.write(address, 4, value),
  };
}

test('a guest that calibrates by the PIT finds TSC, LAPIC timer, PM timer and HPET in agreement', () => {
  const m = build();
  m.writel(HPET_BASE + 0x10, 1);
  m.writel(LAPIC_BASE + 0xf0, 0x1ff);
  m.writel(LAPIC_BASE + 0x3e0, 0x3);
  m.writel(LAPIC_BASE + 0x320, 0x10030);
  // As pit_calibrate_tsc of Linux: channel 2, mode 0, 50 ms, wait for OUT2.
  m.outb(0x61, (m.inb(0x61) & ~0x02) | 0x01);
  m.outb(0x43, 0xb0);
  const latch = Math.floor(PIT_HZ / 20);
  m.outb(0x42, latch & 0xff);
  m.outb(0x42, latch >> 8);
  m.writel(LAPIC_BASE + 0x380, 0xffffffff);
  const tsc = m.clock.now();
  const pm = m.inl(0x608);
  const hpet = m.readl(HPET_BASE + 0xf0);
  let reads = 0;
  while ((m.inb(0x61) & 0x20) === 0) reads++;
  const ns = m.clock.now() - tsc;
  expect(reads).toBeGreaterThan(100_000);
  expect(ns / 50e6).toBeCloseTo(1, 4);
  expect((0xffffffff - m.readl(LAPIC_BASE + 0x390)) * 16).toBeGreaterThan(ns - 16 - 100);
  expect((0xffffffff - m.readl(LAPIC_BASE + 0x390)) * 16).toBeLessThanOrEqual(ns);
  expect(((m.inl(0x608) - pm) / PM_TIMER_HZ) * 1e9).toBeCloseTo(ns, -3);
  expect((m.readl(HPET_BASE + 0xf0) - hpet) * 10).toBeCloseTo(ns, -3);
});

test('the timer interrupt arrives through IOAPIC pin 2, HZ times a second of guest time, idle time skipped', () => {
  const m = build();
  m.writel(LAPIC_BASE + 0xf0, 0x1ff);
  m.writel(IOAPIC_BASE, 0x14);
  m.writel(IOAPIC_BASE + 0x10, 0x30);
  m.outb(0x43, 0x34);
  m.outb(0x40, 4773 & 0xff);
  m.outb(0x40, 4773 >> 8);
  let interrupts = 0;
  const start = m.clock.now();
  while (m.clock.now() < start + 10e9) {
    m.clock.skipTo(m.clock.next);
    m.run(10);
    while (m.apic.pendingVector >= 0) {
      expect(m.apic.acknowledge()).toBe(0x30);
      m.writel(LAPIC_BASE + 0xb0, 0);
      interrupts++;
    }
  }
  expect(interrupts).toBe(Math.floor((10 * PIT_HZ) / 4773) + 1);
});

test('legacy replacement: the HPET takes the timer line from the PIT, and gives it back', () => {
  const m = build();
  m.writel(LAPIC_BASE + 0xf0, 0x1ff);
  m.writel(IOAPIC_BASE, 0x14);
  m.writel(IOAPIC_BASE + 0x10, 0x30);
  const count = (ns: number) => {
    let interrupts = 0;
    const end = m.clock.now() + ns;
    while (m.clock.next <= end) {
      m.clock.skipTo(m.clock.next);
      m.run(1);
      if (m.apic.acknowledge() >= 0) {
        m.writel(LAPIC_BASE + 0xb0, 0);
        interrupts++;
      }
    }
    m.clock.skipTo(end);
    return interrupts;
  };
  expect(count(1e9)).toBe(18);
  m.writel(HPET_BASE + 0x10, 3);
  expect(count(1e9)).toBe(0);
  m.writel(HPET_BASE + 0x100, 0x14c);
  m.writel(HPET_BASE + 0x108, m.readl(HPET_BASE + 0xf0) + 1_000_000);
  m.writel(HPET_BASE + 0x108, 1_000_000);
  expect(count(1e9)).toBe(100);
  m.writel(HPET_BASE + 0x10, 0);
  expect(count(1e9)).toBeGreaterThan(17);
});
