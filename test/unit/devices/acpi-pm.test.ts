import { beforeEach, describe, expect, test } from 'vitest';
import { AcpiPm, PM_TIMER_HZ } from '../../../src/devices/acpi-pm.ts';
import { timeOfTick } from '../../../src/devices/ticks.ts';
import { hammer, TestClock, TestLine } from './fuzz.ts';

const STATUS = 0;
const ENABLE = 2;
const CONTROL = 4;
const TIMER = 8;
const SMI = 16;
let clock: TestClock;
let irq: TestLine;
let off: number;
let pm: AcpiPm;

beforeEach(() => {
  clock = new TestClock();
  irq = new TestLine();
  off = 0;
  pm = new AcpiPm({ clock, irq, onPowerOff: () => off++ });
});

describe('PM timer', () => {
  test('3.579545 MHz, 24 bits, by any width', () => {
    clock.moveTo(1e9);
    expect(pm.read(TIMER, 4)).toBe(3_579_545);
    expect([pm.read(TIMER, 2), pm.read(TIMER + 2, 1), pm.read(TIMER + 1, 2)]).toEqual([
      3_579_545 & 0xffff,
      3_579_545 >> 16,
      (3_579_545 >> 8) & 0xffff,
    ]);
    clock.moveTo(timeOfTick(2 ** 24, PM_TIMER_HZ) - 1);
    expect(pm.read(TIMER, 4)).toBe(0xffffff);
    clock.moveTo(timeOfTick(2 ** 24, PM_TIMER_HZ));
    expect(pm.read(TIMER, 4)).toBe(0);
  });

  test('32 bits', () => {
    const wide = new AcpiPm({ clock, irq, onPowerOff: () => {}, timerBits: 32 });
    clock.moveTo(timeOfTick(2 ** 32 + 5, PM_TIMER_HZ));
    expect(wide.read(TIMER, 4)).toBe(5);
    clock.moveTo(timeOfTick(2 ** 32 + 2 ** 31, PM_TIMER_HZ));
    expect(wide.read(TIMER, 4)).toBe(0x8000_0000);
  });

  test('its highest bit sets TMR_STS, and the SCI exactly then if enabled', () => {
    pm.write(SMI, 1, 0xf1);
    pm.write(ENABLE, 2, 0x0001);
    const half = timeOfTick(2 ** 23, PM_TIMER_HZ);
    expect(clock.next).toBe(half);
    clock.moveTo(half);
    expect([irq.level, pm.read(STATUS, 2)]).toEqual([true, 1]);
    pm.write(STATUS, 2, 0x0001);
    expect([irq.level, pm.read(STATUS, 2)]).toEqual([false, 0]);
    expect(clock.next).toBe(timeOfTick(2 ** 24, PM_TIMER_HZ));
    pm.write(ENABLE, 2, 0);
    clock.moveTo(10e9);
    expect([irq.level, pm.read(STATUS, 2)]).toEqual([false, 1]);
  });
});

describe('events', () => {
  test('the power button interrupts only in ACPI mode', () => {
    pm.write(ENABLE, 2, 0x0100);
    pm.pressPowerButton();
    expect([irq.level, pm.read(STATUS, 2)]).toEqual([false, 0x100]);
    pm.write(SMI, 1, 0xf1);
    expect([irq.level, pm.read(CONTROL, 2)]).toEqual([true, 1]);
    pm.write(STATUS + 1, 1, 0x01);
    expect([irq.level, pm.read(STATUS, 2)]).toEqual([false, 0]);
    pm.write(SMI, 1, 0xf0);
    expect([pm.read(CONTROL, 2), pm.read(SMI, 1)]).toEqual([0, 0xf0]);
    pm.write(SMI + 1, 1, 0x42);
    expect(pm.read(SMI + 1, 1)).toBe(0x42);
  });

  test('one 4-byte write reaches status and enable', () => {
    pm.pressPowerButton();
    pm.write(STATUS, 4, 0x0521_0100);
    expect([pm.read(STATUS, 2), pm.read(ENABLE, 2), pm.read(STATUS, 4)]).toEqual([0, 0x0521, 0x0521_0000]);
  });
});

describe('power-off', () => {
  test('S5 with the configured sleep type', () => {
    pm.write(CONTROL, 2, 0x2000);
    expect(off).toBe(1);
    pm.write(CONTROL, 2, 0x2400);
    expect(off).toBe(1);
    expect(pm.read(CONTROL, 2)).toBe(0x0400);
    pm.write(CONTROL + 1, 1, 0x20);
    expect(off).toBe(2);
    const other = new AcpiPm({ clock, irq, onPowerOff: () => off++, s5SleepType: 5 });
    other.write(CONTROL, 2, 0x2000);
    expect(off).toBe(2);
    other.write(CONTROL, 2, 0x3400);
    expect(off).toBe(3);
  });

  test('the sleep type without SLP_EN does nothing', () => {
    pm.write(CONTROL, 2, 0x0001);
    expect(off).toBe(0);
  });
});

test('100,000 random accesses', () => {
  hammer(pm, clock, [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 16, 17, 18], {
    also: (random) => random() % 64 === 0 && pm.pressPowerButton(),
  });
});
