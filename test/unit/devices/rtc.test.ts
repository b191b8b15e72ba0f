import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { Rtc } from '../../../src/devices/rtc.ts';
import { hammer, TestClock, TestLine } from './fuzz.ts';

const SECOND = 1e9;
let clock: TestClock;
let irq: TestLine;
let rtc: Rtc;

function build(startOfDay: number): void {
  clock = new TestClock(startOfDay);
  irq = new TestLine();
  rtc = new Rtc({ clock, irq, lowMemory: 0xc000_0000, highMemory: 0x4000_0000 });
}
const read = (index: number) => {
  rtc.write(0, 1, index);
  return rtc.read(1, 1);
};
const write = (index: number, value: number) => {
  rtc.write(0, 1, index);
  rtc.write(1, 1, value);
};
/** Century, year, month, day, hour, minute, second as the registers show them. */
const time = () => [0x32, 9, 8, 7, 4, 2, 0].map(read);
const setTime = (...values: number[]) => {
  [0x32, 9, 8, 7, 4, 2, 0].forEach((index, i) => {
    write(index, values[i]!);
  });
};

beforeEach(() => build(Date.UTC(2000, 0, 1)));

describe('date', () => {
  test('starts at the clock’s start of day, in BCD and 24 hours', () => {
    expect(time()).toEqual([0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00]);
    expect([read(6), read(0x0d), read(0x0a), read(0x0b)]).toEqual([7, 0x80, 0x26, 0x02]);
    clock.moveTo(((11 * 60 + 59) * 60 + 58) * SECOND);
    expect(time()).toEqual([0x20, 0x00, 0x01, 0x01, 0x11, 0x59, 0x58]);
  });

  test('12 hours and binary', () => {
    clock.moveTo(13 * 3600 * SECOND + 45 * SECOND);
    write(0x0b, 0x00);
    expect([read(4), read(0)]).toEqual([0x81, 0x45]);
    write(0x0b, 0x04);
    expect([read(4), read(0)]).toEqual([0x81, 45]);
    write(0x0b, 0x06);
    expect(read(4)).toBe(13);
    clock.moveTo(24 * 3600 * SECOND);
    write(0x0b, 0x04);
    expect(read(4)).toBe(12);
    clock.moveTo(36 * 3600 * SECOND);
    expect(read(4)).toBe(0x8c);
  });

  test('leap day, year and century', () => {
    build(Date.UTC(2000, 1, 28, 23, 59, 59));
    clock.moveTo(SECOND);
    expect(time()).toEqual([0x20, 0x00, 0x02, 0x29, 0, 0, 0]);
    build(Date.UTC(2099, 11, 31, 23, 59, 59));
    clock.moveTo(SECOND);
    expect(time()).toEqual([0x21, 0x00, 0x01, 0x01, 0, 0, 0]);
  });

  test('the seconds change with the wall clock’s', () => {
    build(Date.UTC(2026, 5, 1, 12, 0, 0) + 250);
    clock.moveTo(0.75 * SECOND - 1);
    expect(read(0)).toBe(0);
    clock.moveTo(0.75 * SECOND);
    expect(read(0)).toBe(1);
  });

  test('UIP is up for 244 us before each update and not while SET', () => {
    clock.moveTo(SECOND - 244_001);
    expect(read(0x0a)).toBe(0x26);
    clock.moveTo(SECOND - 244_000);
    expect(read(0x0a)).toBe(0xa6);
    clock.moveTo(SECOND);
    expect(read(0x0a)).toBe(0x26);
    write(0x0b, 0x82);
    clock.moveTo(2 * SECOND - 1000);
    expect(read(0x0a)).toBe(0x26);
  });
});

describe('setting', () => {
  test('SET freezes the registers, and clearing it goes on from what was written, in phase', () => {
    clock.moveTo(5.25 * SECOND);
    write(0x0b, 0x82);
    clock.moveTo(8 * SECOND);
    expect(read(0)).toBe(0x05);
    setTime(0x20, 0x26, 0x07, 0x14, 0x15, 0x30, 0x59);
    write(0x0b, 0x02);
    expect(time()).toEqual([0x20, 0x26, 0x07, 0x14, 0x15, 0x30, 0x59]);
    expect(read(6)).toBe(3); // a Tuesday
    clock.moveTo(9 * SECOND - 1);
    expect(read(0)).toBe(0x59);
    clock.moveTo(9 * SECOND);
    expect(time()).toEqual([0x20, 0x26, 0x07, 0x14, 0x15, 0x31, 0x00]);
  });

  test('releasing the divider makes the first update come half a second later, as Linux counts on', () => {
    clock.moveTo(3.1 * SECOND);
    write(0x0b, 0x82);
    write(0x0a, 0x76);
    setTime(0x20, 0x26, 0x07, 0x14, 0x15, 0x30, 0x10);
    write(0x0b, 0x02);
    clock.moveTo(7.3 * SECOND);
    expect(read(0)).toBe(0x10);
    write(0x0a, 0x26);
    clock.moveTo(7.8 * SECOND - 1);
    expect(read(0)).toBe(0x10);
    clock.moveTo(7.8 * SECOND);
    expect(read(0)).toBe(0x11);
  });

  test('a write without SET changes that field at once', () => {
    clock.moveTo(10 * SECOND);
    write(4, 0x23);
    write(9, 0x30);
    expect(time()).toEqual([0x20, 0x30, 0x01, 0x01, 0x23, 0x00, 0x10]);
  });

  test('any date a guest sets reads back, in each format', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: Date.UTC(2199, 11, 31) / 1000 }),
        fc.constantFrom(0x00, 0x02, 0x04, 0x06),
        (seconds, format) => {
          const date = new Date(seconds * 1000);
          const code = (v: number) => ((format & 4) !== 0 ? v : (Math.floor(v / 10) << 4) | (v % 10));
          const h = date.getUTCHours();
          const hour = (format & 2) !== 0 ? code(h) : code(((h + 11) % 12) + 1) | (h >= 12 ? 0x80 : 0);
          const values = [
            code(Math.floor(date.getUTCFullYear() / 100)),
            code(date.getUTCFullYear() % 100),
            code(date.getUTCMonth() + 1),
            code(date.getUTCDate()),
            hour,
            code(date.getUTCMinutes()),
            code(date.getUTCSeconds()),
          ];
          write(0x0b, 0x80 | format);
          setTime(...values);
          write(0x0b, format);
          expect(time()).toEqual(values);
          expect(read(6)).toBe(date.getUTCDay() + 1);
        },
      ),
    );
  });
});

describe('interrupts', () => {
  test('periodic at 1024 Hz: exact, once per read of C', () => {
    read(0x0c);
    write(0x0b, 0x42);
    for (let i = 1; i <= 2048; i++) {
      const due = Math.ceil((i * 1e9) / 1024);
      expect(clock.next).toBe(due);
      clock.moveTo(due);
      expect(irq.level).toBe(true);
      expect(read(0x0c)).toBe(i % 1024 === 0 ? 0xd0 : 0xc0);
      expect(irq.level).toBe(false);
    }
    write(0x0b, 0x02);
    clock.advance(SECOND);
    expect(irq.level).toBe(false);
  });

  test('no alarm while the interrupt waits to be read', () => {
    write(0x0b, 0x42);
    clock.advance(SECOND);
    expect([irq.edges, clock.next]).toEqual([1, Number.POSITIVE_INFINITY]);
  });

  test('update: at each second', () => {
    clock.moveTo(0.3 * SECOND);
    write(0x0b, 0x12);
    expect(clock.next).toBe(SECOND);
    clock.moveTo(SECOND);
    expect([irq.level, read(0x0c) & 0x90, irq.level]).toEqual([true, 0x90, false]);
    expect(clock.next).toBe(2 * SECOND);
  });

  test('alarm: at its time of day, tomorrow if past, with wildcards', () => {
    clock.moveTo((12 * 3600 + 30) * SECOND);
    write(5, 0x13);
    write(3, 0x15);
    write(1, 0x20);
    write(0x0b, 0x22);
    expect(clock.next).toBe((13 * 3600 + 15 * 60 + 20) * SECOND);
    write(5, 0x12);
    write(3, 0x00);
    expect(clock.next).toBe((36 * 3600 + 20) * SECOND);
    write(5, 0xff);
    expect(clock.next).toBe((13 * 3600 + 20) * SECOND);
    write(3, 0xc0);
    expect(clock.next).toBe((12 * 3600 + 60 + 20) * SECOND);
    write(1, 0xc0);
    expect(clock.next).toBe((12 * 3600 + 31) * SECOND);
    write(1, 0x61); // never
    expect(clock.next).toBe(Number.POSITIVE_INFINITY);
    write(1, 0x20);
    clock.moveTo(clock.next);
    expect([irq.level, read(0x0c) & 0xa0]).toEqual([true, 0xa0]);
  });

  test('flags come up without being enabled, and enabling one that is up interrupts at once', () => {
    write(1, 0x30);
    write(3, 0x00);
    write(5, 0x00);
    clock.moveTo(29 * SECOND);
    expect(read(0x0c)).toBe(0x50);
    expect(read(0x0c)).toBe(0);
    clock.moveTo(31 * SECOND);
    write(0x0b, 0x22);
    expect([irq.level, read(0x0c)]).toEqual([true, 0xf0]);
  });

  test('every alarm is found where stepping by seconds finds it', () => {
    const field = (limit: number) => fc.oneof(fc.integer({ min: 0, max: limit - 1 }), fc.constant(0xff));
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 86399 }),
        field(24),
        field(60),
        field(60),
        (start, hour, minute, second) => {
          build(Date.UTC(2000, 0, 1));
          clock.moveTo(start * SECOND + 1);
          write(0x0b, 0x06);
          write(5, hour);
          write(3, minute);
          write(1, second);
          write(0x0b, 0x26);
          let t = start + 1;
          while (
            !(
              (hour === 0xff || Math.floor(t / 3600) % 24 === hour) &&
              (minute === 0xff || Math.floor(t / 60) % 60 === minute) &&
              (second === 0xff || t % 60 === second)
            )
          ) {
            t++;
          }
          expect(clock.next).toBe(t * SECOND);
        },
      ),
    );
  });

  test('SET holds update interrupts back and clears their enable', () => {
    write(0x0b, 0x92);
    expect(read(0x0b)).toBe(0x82);
    clock.moveTo(5 * SECOND);
    expect(read(0x0c) & 0x10).toBe(0);
  });
});

describe('memory', () => {
  test('sizes, scratch bytes, the NMI bit', () => {
    const word = (index: number) => read(index) | (read(index + 1) << 8);
    expect([word(0x15), word(0x17), word(0x30)]).toEqual([640, 0xffff, 0xffff]);
    expect(word(0x34)).toBe(0xbf00);
    expect(word(0x5b) | (read(0x5d) << 16)).toBe(0x4000);
    write(0x0f, 0x0a);
    expect(read(0x0f)).toBe(0x0a);
    rtc.write(0, 1, 0x8f);
    expect([rtc.nmiMasked, rtc.read(1, 1), rtc.read(0, 1)]).toEqual([true, 0x0a, 0xff]);
    write(0x0d, 0);
    write(0x0c, 0xff);
    expect([read(0x0d), read(0x0c) & 0x8f]).toEqual([0x80, 0]);
    rtc.setCmos(0x3d, 5);
    rtc.setCmos(0x0b, 5);
    expect([read(0x3d), read(0x0b)]).toEqual([5, 0x02]);
  });

  test('small machines', () => {
    rtc = new Rtc({ clock, irq, lowMemory: 16 << 20 });
    const word = (index: number) => read(index) | (read(index + 1) << 8);
    expect([word(0x30), word(0x34), word(0x5b)]).toEqual([15 * 1024, 0, 0]);
  });
});

test('reset keeps the date and the memory', () => {
  clock.moveTo(65 * SECOND);
  write(0x20, 7);
  write(0x0b, 0x72);
  rtc.reset();
  expect([read(2), read(0), read(0x20), read(0x0b), irq.level]).toEqual([1, 5, 7, 0x02, false]);
});

test('100,000 random accesses', () => {
  hammer(rtc, clock, [0, 1, 1], { also: (random) => (random() & 3) === 0 && rtc.write(0, 1, random() & 0x0f) });
});
