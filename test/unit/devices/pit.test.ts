import { beforeEach, describe, expect, test } from 'vitest';
import { PIT_HZ, Pit } from '../../../src/devices/pit.ts';
import { ticksAt, timeOfTick } from '../../../src/devices/ticks.ts';
import { hammer, TestClock, TestLine } from './fuzz.ts';

const CONTROL = 3;
const PORT_61 = 4;
let clock: TestClock;
let irq: TestLine;
let pit: Pit;
const read = (offset: number) => pit.read(offset, 1);
const write = (offset: number, ...values: number[]) => {
  for (const value of values) pit.write(offset, 1, value);
};
const count = (channel: number) => read(channel) | (read(channel) << 8);
/** Moves to the first nanosecond of the tick `n` ticks after the present one. */
const ticks = (n: number) => clock.moveTo(timeOfTick(ticksAt(clock.now(), PIT_HZ) + n, PIT_HZ));
const status = (channel: number) => {
  write(CONTROL, 0xe0 | (2 << channel));
  return read(channel);
};
const out2 = () => (read(PORT_61) & 0x20) !== 0;

beforeEach(() => {
  clock = new TestClock();
  irq = new TestLine();
  pit = new Pit({ clock, irq });
  clock.moveTo(12_345_678);
});

describe('channel 2 and port 0x61, as Linux calibrates', () => {
  test('mode 0: OUT rises N + 1 ticks after the count', () => {
    write(PORT_61, 0x01);
    write(CONTROL, 0xb0);
    expect(out2()).toBe(false);
    ticks(1);
    write(2, 0x34, 0x12);
    ticks(0x1234);
    expect(out2()).toBe(false);
    ticks(1);
    expect(out2()).toBe(true);
  });

  test('mode 0 counts on below zero, and can be read on the fly, latched or not', () => {
    write(PORT_61, 0x01);
    write(CONTROL, 0xb0);
    write(2, 0xff, 0xff);
    ticks(1 + 1000);
    expect(count(2)).toBe(0xffff - 1000);
    write(CONTROL, 0x80);
    ticks(500);
    write(CONTROL, 0x80); // already latched: keeps the first
    expect(count(2)).toBe(0xffff - 1000);
    expect(count(2)).toBe(0xffff - 1500);
    ticks(0xffff - 1500 + 2);
    expect([count(2), out2()]).toEqual([0xfffe, true]);
  });

  test('the gate stops and continues mode 0', () => {
    write(PORT_61, 0x01);
    write(CONTROL, 0xb0);
    write(2, 100, 0);
    ticks(1 + 40);
    write(PORT_61, 0x00);
    ticks(1000);
    expect([count(2), out2()]).toEqual([60, false]);
    write(PORT_61, 0x01);
    ticks(59);
    expect(out2()).toBe(false);
    ticks(1);
    expect(out2()).toBe(true);
  });

  test('a count loaded while the gate is low waits for it', () => {
    write(CONTROL, 0xb0);
    write(2, 10, 0);
    ticks(100);
    expect([count(2), out2()]).toEqual([10, false]);
    write(PORT_61, 0x01);
    ticks(10);
    expect(out2()).toBe(true);
  });

  test('the first byte of a new count takes OUT low', () => {
    write(PORT_61, 0x01);
    write(CONTROL, 0xb0);
    write(2, 1, 0);
    ticks(2);
    expect(out2()).toBe(true);
    write(2, 5);
    expect(out2()).toBe(false);
    ticks(100);
    expect(out2()).toBe(false);
    write(2, 0);
    ticks(6);
    expect(out2()).toBe(true);
  });

  test('port 0x61 keeps its low four bits and toggles refresh every 18 ticks', () => {
    write(PORT_61, 0xff);
    expect(read(PORT_61) & 0xcf).toBe(0x0f);
    const seen = new Set<number>();
    let toggles = 0;
    let last = read(PORT_61) & 0x10;
    for (let i = 0; i < 180; i++) {
      ticks(1);
      const now = read(PORT_61) & 0x10;
      seen.add(now);
      if (now !== last) toggles++;
      last = now;
    }
    expect([seen.size, toggles]).toEqual([2, 10]);
  });

  test('mode 1 is started by the gate, and started again', () => {
    write(CONTROL, 0xb2);
    write(2, 10, 0);
    ticks(50);
    expect(out2()).toBe(true);
    write(PORT_61, 0x01);
    ticks(1);
    expect(out2()).toBe(false);
    ticks(5);
    write(PORT_61, 0x00);
    write(PORT_61, 0x01);
    ticks(10);
    expect(out2()).toBe(false);
    ticks(1);
    expect(out2()).toBe(true);
  });

  test('mode 5 strobes once after a trigger', () => {
    write(CONTROL, 0xba);
    write(2, 10, 0);
    write(PORT_61, 0x01);
    const low: number[] = [];
    for (let i = 1; i < 30; i++) {
      ticks(1);
      if (!out2()) low.push(i);
    }
    expect(low).toEqual([11]);
  });

  test('mode 3 halves: high the longer one, counting down by two in each', () => {
    write(PORT_61, 0x01);
    write(CONTROL, 0xb6);
    write(2, 7, 0);
    ticks(1);
    const levels: number[] = [];
    const counts: number[] = [];
    for (let i = 0; i < 7; i++) {
      levels.push(out2() ? 1 : 0);
      counts.push(count(2));
      ticks(1);
    }
    expect(levels).toEqual([1, 1, 1, 1, 0, 0, 0]);
    expect(counts).toEqual([6, 4, 2, 0, 6, 4, 2]);
  });

  test('mode 2 is high but for the last tick; a low gate stops it high and reloads', () => {
    write(PORT_61, 0x01);
    write(CONTROL, 0xb4);
    write(2, 5, 0);
    ticks(1);
    const levels: number[] = [];
    const counts: number[] = [];
    for (let i = 0; i < 10; i++) {
      levels.push(out2() ? 1 : 0);
      counts.push(count(2));
      ticks(1);
    }
    expect(levels).toEqual([1, 1, 1, 1, 0, 1, 1, 1, 1, 0]);
    expect(counts).toEqual([5, 4, 3, 2, 1, 5, 4, 3, 2, 1]);
    ticks(4);
    expect(out2()).toBe(false);
    write(PORT_61, 0x00);
    expect(out2()).toBe(true);
    write(PORT_61, 0x01);
    ticks(1);
    expect(count(2)).toBe(5);
  });

  test('BCD counts', () => {
    write(PORT_61, 0x01);
    write(CONTROL, 0xb1);
    write(2, 0x00, 0x10);
    ticks(1 + 1);
    expect(count(2)).toBe(0x0999);
    ticks(1000);
    expect(count(2)).toBe(0x9999);
  });

  test('low byte only and high byte only', () => {
    write(PORT_61, 0x01);
    write(CONTROL, 0x90);
    write(2, 200);
    ticks(1 + 50);
    expect([read(2), read(2)]).toEqual([150, 150]);
    write(CONTROL, 0xa0);
    write(2, 2);
    ticks(1 + 256);
    expect(read(2)).toBe(1);
  });
});

describe('read-back', () => {
  test('status: OUT, null count, access, mode, BCD', () => {
    write(CONTROL, 0xb5);
    expect(status(2)).toBe(0x80 | 0x40 | 0x30 | (2 << 1) | 1);
    write(CONTROL, 0xbe); // mode 7 is mode 3
    write(PORT_61, 0x01);
    write(2, 100, 0);
    expect(status(2)).toBe(0x80 | 0x40 | 0x30 | (3 << 1));
    ticks(1);
    expect(status(2)).toBe(0x80 | 0x30 | (3 << 1));
    ticks(50);
    expect(status(2)).toBe(0x30 | (3 << 1));
  });

  test('count and status of several channels at once, status first', () => {
    write(PORT_61, 0x01);
    write(CONTROL, 0xb0);
    write(2, 0, 2);
    ticks(1 + 12);
    write(CONTROL, 0xc0 | 0x0e);
    ticks(100);
    expect(read(2)).toBe(0x30);
    expect(count(2)).toBe(0x200 - 12);
    expect(read(0) & 0x3f).toBe(0x36);
  });
});

describe('channel 0', () => {
  test('runs at 18.2 Hz after reset, as firmware leaves it', () => {
    const start = irq.edges;
    clock.moveTo(10e9);
    expect(irq.edges - start).toBe(Math.floor((10 * PIT_HZ) / 65536));
  });

  test('mode 2 at HZ=250: every edge on its tick, for a minute, without drift', () => {
    write(CONTROL, 0x34);
    const base = ticksAt(clock.now(), PIT_HZ);
    write(0, 4773 & 0xff, 4773 >> 8);
    irq.edges = 0;
    for (let i = 1; i <= 15_000; i++) {
      const due = timeOfTick(base + 1 + i * 4773, PIT_HZ);
      expect(clock.next).toBe(due);
      clock.moveTo(due);
      expect(irq.edges).toBe(i);
    }
  });

  test('edges missed by a busy host merge, and the phase stays', () => {
    write(CONTROL, 0x34);
    const base = ticksAt(clock.now(), PIT_HZ);
    write(0, 0xa9, 0x04); // 1193: 1 ms
    irq.edges = 0;
    clock.jumpTo(clock.now() + 10_400_000);
    expect(irq.edges).toBe(1);
    expect(clock.next).toBe(timeOfTick(base + 1 + 11 * 1193, PIT_HZ));
  });

  test('mode 0 interrupts once; OUT then stays high', () => {
    write(CONTROL, 0x30);
    expect(irq.level).toBe(false);
    write(0, 0xe8, 0x03);
    const due = timeOfTick(ticksAt(clock.now(), PIT_HZ) + 1001, PIT_HZ);
    irq.edges = 0;
    clock.moveTo(due - 1);
    expect(irq.level).toBe(false);
    clock.moveTo(due);
    expect(irq.level).toBe(true);
    clock.moveTo(5e9);
    expect([irq.edges, clock.next]).toEqual([1, Number.POSITIVE_INFINITY]);
  });

  test('mode 4 strobes once per count, as a one-shot clock event uses it', () => {
    write(CONTROL, 0x38);
    for (let round = 0; round < 3; round++) {
      irq.edges = 0;
      write(0, 0xe8, 0x03);
      const due = timeOfTick(ticksAt(clock.now(), PIT_HZ) + 1002, PIT_HZ);
      expect(clock.next).toBe(due);
      clock.moveTo(due + 1e9);
      expect(irq.edges).toBe(1);
    }
  });

  test('a new count without control word waits for the end of the period', () => {
    write(CONTROL, 0x34);
    const base = ticksAt(clock.now(), PIT_HZ) + 1;
    write(0, 0xe8, 0x03);
    ticks(501);
    write(0, 0xd0, 0x07);
    expect(status(0) & 0x40).toBe(0x40);
    expect(clock.next).toBe(timeOfTick(base + 1000, PIT_HZ));
    clock.moveTo(clock.next);
    expect([clock.next, count(0)]).toEqual([timeOfTick(base + 3000, PIT_HZ), 2000]);
  });

  test('a count of one neither hangs nor floods', () => {
    write(CONTROL, 0x34);
    write(0, 1, 0);
    irq.edges = 0;
    clock.advance(1_000_000);
    expect(irq.edges).toBeGreaterThan(500);
    expect(irq.edges).toBeLessThan(700);
  });

  test('shut down by Linux: mode 0 and no count', () => {
    write(CONTROL, 0x30);
    expect(clock.next).toBe(Number.POSITIVE_INFINITY);
  });
});

test('a saved timer goes on', () => {
  write(CONTROL, 0x34);
  write(0, 0xe8, 0x03);
  const saved = pit.save();
  const next = clock.next;
  write(CONTROL, 0x30);
  pit.load(saved);
  expect([clock.next, pit.save()]).toEqual([next, saved]);
});

test('100,000 random accesses', () => {
  hammer(pit, clock, [0, 1, 2, 3, 3, 4, 5]);
});
