import { beforeEach, describe, expect, test } from 'vitest';
import { GatedLine, HPET_ROUTES, Hpet } from '../../../src/devices/hpet.ts';
import { hammer, TestClock, TestLine } from './fuzz.ts';

const CONFIG = 0x10;
const STATUS = 0x20;
const COUNTER = 0xf0;
const T0 = 0x100;
const T1 = 0x120;
const T2 = 0x140;
const CMP = 8;
let clock: TestClock;
let legacy: [TestLine, TestLine];
let pins: TestLine[][];
let replacements: boolean[];
let hpet: Hpet;
const read = (offset: number) => hpet.read(offset, 4);
const write = (offset: number, value: number) => hpet.write(offset, 4, value);

beforeEach(() => {
  clock = new TestClock();
  legacy = [new TestLine(), new TestLine()];
  pins = Array.from({ length: 24 }, () => []);
  replacements = [];
  hpet = new Hpet({
    clock,
    legacyIrqs: legacy,
    pin: (pin) => {
      const line = new TestLine();
      pins[pin]!.push(line);
      return line;
    },
    onLegacyReplacement: (on) => replacements.push(on),
  });
});
/** The line of timer `n` on `pin`. */
const line = (pin: number, timer: number) => pins[pin]![timer]!;

describe('main counter', () => {
  test('capabilities: 10 ns, three timers, 64 bits, legacy routing', () => {
    expect([read(0), read(4)]).toEqual([0x8086a201, 10_000_000]);
    expect([hpet.read(0, 1), hpet.read(2, 2), hpet.read(3, 4)]).toEqual([0x01, 0x8086, 0]);
    expect([read(T0), read(T0 + 4), read(0x160), read(0x3fc)]).toEqual([0x30, HPET_ROUTES, 0, 0]);
  });

  test('counts only while enabled, keeps its value, and carries into the high half', () => {
    clock.moveTo(1000);
    expect(read(COUNTER)).toBe(0);
    write(CONFIG, 1);
    clock.advance(12_349);
    expect(read(COUNTER)).toBe(1234);
    write(CONFIG, 0);
    clock.advance(1e6);
    expect(read(COUNTER)).toBe(1234);
    write(COUNTER, 0xfffffff0);
    write(COUNTER + 4, 7);
    write(CONFIG, 1);
    clock.advance(160);
    expect([read(COUNTER), read(COUNTER + 4)]).toEqual([0, 8]);
    clock.advance(2 ** 32 * 10);
    expect([read(COUNTER), read(COUNTER + 4)]).toEqual([0, 9]);
  });
});

describe('one-shot', () => {
  test('64 bits, on a pin, at the exact time, once', () => {
    write(CONFIG, 1);
    clock.moveTo(500);
    write(T2, 0x04 | (20 << 9));
    write(T2 + CMP, 1000);
    write(T2 + CMP + 4, 0);
    expect(clock.next).toBe(10_000);
    clock.moveTo(9_999);
    expect(line(20, 2).edges).toBe(0);
    clock.moveTo(10_000);
    expect([line(20, 2).edges, line(20, 2).level]).toEqual([1, false]);
    expect(clock.next).toBe(Number.POSITIVE_INFINITY);
  });

  test('32 bits comes round again after 2^32 ticks; a comparator behind the counter waits for that', () => {
    write(CONFIG, 1);
    clock.moveTo(10_000);
    write(T0, 0x104 | (2 << 9));
    write(T0 + CMP, 999);
    expect(clock.next).toBe((2 ** 32 + 999) * 10);
    clock.moveTo(clock.next);
    expect([line(2, 0).edges, clock.next]).toEqual([1, (2 ** 33 + 999) * 10]);
  });

  test('without its enable bit it raises nothing, and no alarm', () => {
    write(CONFIG, 1);
    write(T0, 2 << 9);
    write(T0 + CMP, 100);
    write(T0 + CMP + 4, 0);
    expect(clock.next).toBe(Number.POSITIVE_INFINITY);
  });

  test('stopping the counter stops the timer; it goes on where it was', () => {
    write(CONFIG, 1);
    write(T0, 0x04 | (2 << 9));
    write(T0 + CMP + 4, 0);
    write(T0 + CMP, 100);
    clock.moveTo(400);
    write(CONFIG, 0);
    clock.moveTo(1e6);
    expect(line(2, 0).edges).toBe(0);
    write(CONFIG, 1);
    expect(clock.next).toBe(1e6 + 600);
  });
});

describe('periodic', () => {
  test('as Linux programs it: set value, then period; no drift though served late', () => {
    write(CONFIG, 3);
    write(T0, 0x14c); // periodic, 32 bits, set value, interrupt
    write(T0 + CMP, 100_000);
    write(T0 + CMP, 100_000);
    for (let i = 1; i <= 1000; i++) {
      expect(clock.next).toBe(i * 1_000_000);
      clock.jumpTo(i * 1_000_000 + ((i * 7919) % 90_000));
      expect(legacy[0].edges).toBe(i);
      expect(read(T0 + CMP)).toBe((i + 1) * 100_000);
    }
  });

  test('missed periods merge, and the comparator moves past all of them', () => {
    write(CONFIG, 3);
    write(T0, 0x14c);
    write(T0 + CMP, 1000);
    write(T0 + CMP, 1000);
    clock.jumpTo(55_000);
    expect([legacy[0].edges, read(T0 + CMP), clock.next]).toEqual([1, 6000, 60_000]);
  });

  test('64 bits: the high half follows the set-value write of the low half', () => {
    write(CONFIG, 0);
    write(T1, 0x4c | (8 << 9));
    write(T1 + CMP, 0x10);
    write(T1 + CMP + 4, 0x1);
    expect([read(T1 + CMP), read(T1 + CMP + 4)]).toEqual([0x10, 1]);
    write(T1 + CMP, 0x200);
    write(T1 + CMP + 4, 0x0);
    expect([read(T1 + CMP), read(T1 + CMP + 4)]).toEqual([0x10, 1]);
    write(CONFIG, 1);
    clock.moveTo((2 ** 32 + 0x10) * 10);
    expect([line(8, 1).edges, read(T1 + CMP), read(T1 + CMP + 4)]).toEqual([1, 0x210, 1]);
  });

  test('a period of one tick neither hangs nor floods', () => {
    write(CONFIG, 3);
    write(T0, 0x14c);
    write(T0 + CMP, 1);
    write(T0 + CMP, 1);
    clock.moveTo(1_000_000);
    expect(legacy[0].edges).toBeGreaterThan(900);
    expect(legacy[0].edges).toBeLessThan(1100);
  });
});

describe('routing', () => {
  test('legacy replacement takes lines 0 and 8, and says so', () => {
    write(CONFIG, 3);
    write(T1, 0x104);
    write(T1 + CMP, 50);
    clock.moveTo(500);
    expect([legacy[1].edges, replacements]).toEqual([1, [true]]);
    hpet.reset();
    expect(replacements).toEqual([true, false]);
  });

  test('a pin that is not offered does not stick', () => {
    write(T0, 16 << 9);
    write(T0, 5 << 9);
    expect(read(T0)).toBe(0x30 | (16 << 9));
  });

  test('level-triggered: the line is held until the status bit is cleared', () => {
    write(CONFIG, 1);
    write(T0, 0x106 | (17 << 9));
    write(T0 + CMP, 10);
    clock.moveTo(100);
    expect([line(17, 0).level, read(STATUS)]).toEqual([true, 1]);
    write(STATUS, 2);
    expect(line(17, 0).level).toBe(true);
    write(STATUS, 1);
    expect([line(17, 0).level, read(STATUS)]).toEqual([false, 0]);
  });

  test('a gated line forgets nothing while closed', () => {
    const inner = new TestLine();
    const gate = new GatedLine(inner);
    gate.set(true);
    gate.setOpen(false);
    expect(inner.level).toBe(false);
    gate.setOpen(true);
    expect(inner.level).toBe(true);
    gate.setOpen(false);
    gate.set(false);
    gate.setOpen(true);
    expect(inner.level).toBe(false);
  });
});

test('a saved timer goes on', () => {
  write(CONFIG, 3);
  write(T0, 0x14c);
  write(T0 + CMP, 1000);
  write(T0 + CMP, 1000);
  clock.moveTo(12_345);
  const saved = hpet.save();
  hpet.reset();
  hpet.load(saved);
  expect([clock.next, hpet.save(), replacements]).toEqual([20_000, saved, [true, false, true]]);
});

test('100,000 random accesses', () => {
  const offsets = [0, 4, 0x10, 0x20, 0xf0, 0xf4];
  for (const timer of [T0, T1, T2]) offsets.push(timer, timer + 4, timer + 8, timer + 12, timer + 16);
  hammer(hpet, clock, [...offsets, 0x11, 0x103, 0x160, 0x3fc, 0x3ff], {
    also: (random) => random() % 32 === 0 && write(CONFIG, 1),
  });
});
