import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HostClock, InstructionClock } from '../../../src/devices/clock.ts';
import { ticksAt, timeOfTick } from '../../../src/devices/ticks.ts';
import { TestClock } from './fuzz.ts';

describe('AlarmClock', () => {
  test('fires in order of time, then of creation, each once', () => {
    const clock = new TestClock();
    const log: string[] = [];
    const c = clock.alarm('c', () => log.push('c'));
    const a = clock.alarm('a', () => log.push('a'));
    const b = clock.alarm('b', () => log.push('b'));
    b.set(10);
    a.set(10);
    c.set(20);
    expect(clock.next).toBe(10);
    clock.jumpTo(9);
    expect(log).toEqual([]);
    clock.jumpTo(30);
    expect(log).toEqual(['a', 'b', 'c']);
    clock.jumpTo(40);
    expect(log).toHaveLength(3);
    expect(clock.next).toBe(Number.POSITIVE_INFINITY);
  });

  test('an alarm set again replaces its time; a cancelled one never comes', () => {
    const clock = new TestClock();
    const log: number[] = [];
    const a = clock.alarm('a', (now) => log.push(now));
    a.set(100);
    a.set(50);
    expect(a.at).toBe(50);
    clock.moveTo(200);
    a.set(300);
    a.cancel();
    expect(a.at).toBeUndefined();
    clock.moveTo(400);
    expect(log).toEqual([50]);
  });

  test('a callback that arms itself for the past cannot hang: it waits for the next check', () => {
    const clock = new TestClock();
    let fired = 0;
    const a = clock.alarm('a', () => {
      fired++;
      a.set(0);
    });
    a.set(5);
    clock.jumpTo(10);
    expect([fired, clock.next]).toEqual([1, 0]);
    clock.fire();
    expect(fired).toBe(2);
  });

  test('a callback that arms itself again comes at each of its exact times', () => {
    const clock = new TestClock();
    const seen: number[] = [];
    const a = clock.alarm('a', () => {
      seen.push(clock.now());
      if (seen.length < 3) a.set(clock.now() + 10);
    });
    a.set(10);
    clock.moveTo(100);
    expect(seen).toEqual([10, 20, 30]);
  });

  test('tells when the earliest deadline moves', () => {
    const clock = new TestClock();
    const seen: number[] = [];
    clock.onNextChanged = () => seen.push(clock.next);
    const a = clock.alarm('a', () => {});
    const b = clock.alarm('b', () => {});
    a.set(10);
    b.set(20);
    a.set(15);
    clock.jumpTo(16);
    b.cancel();
    expect(seen).toEqual([10, 15, 20, Number.POSITIVE_INFINITY]);
  });
});

describe('HostClock', () => {
  test('stands still while paused, and begins paused at 0', () => {
    let host = 1000;
    const clock = new HostClock(() => host, 123);
    host += 500;
    expect([clock.now(), clock.startOfDay, clock.paused]).toEqual([0, 123, true]);
    clock.resume();
    host += 70.9;
    expect(clock.now()).toBe(70);
    clock.pause();
    host += 1e9;
    expect(clock.now()).toBe(70);
    clock.resume();
    clock.resume();
    host += 5;
    expect(clock.now()).toBe(75);
    clock.setNow(1e6);
    host += 1;
    expect(clock.now()).toBe(1_000_001);
  });

  test('never goes back, even if the host does', () => {
    let host = 0;
    const clock = new HostClock(() => host, 0);
    clock.resume();
    host = 100;
    expect(clock.now()).toBe(100);
    host = 50;
    expect(clock.now()).toBe(100);
    clock.pause();
    expect(clock.now()).toBe(100);
  });
});

describe('InstructionClock', () => {
  test('one instruction is one nanosecond, and idle time is skipped to the next alarm', () => {
    let count = 0;
    const clock = new InstructionClock(() => count);
    const times: number[] = [];
    clock.alarm('a', () => times.push(clock.now())).set(1000);
    count = 400;
    clock.fire();
    expect([clock.now(), times]).toEqual([400, []]);
    clock.skipTo(clock.next);
    clock.fire();
    expect([clock.now(), clock.skipped, times]).toEqual([1000, 600, [1000]]);
    clock.skipTo(Number.POSITIVE_INFINITY);
    clock.skipTo(10);
    count = 401;
    expect(clock.now()).toBe(1001);
    expect(new Date(clock.startOfDay).toISOString()).toBe('2000-01-01T00:00:00.000Z');
  });
});

describe('ticks', () => {
  test('are exact against integers of any size, and timeOfTick is the first nanosecond of its tick', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 52 }),
        fc.constantFrom(1, 32_768, 1_193_182, 3_579_545, 9_000_000),
        (ns, hz) => {
          const ticks = ticksAt(ns, hz);
          expect(BigInt(ticks)).toBe((BigInt(ns) * BigInt(hz)) / 1_000_000_000n);
          const first = timeOfTick(ticks, hz);
          expect(first).toBeLessThanOrEqual(ns);
          expect(ticksAt(first, hz)).toBe(ticks);
          if (first > 0) expect(ticksAt(first - 1, hz)).toBe(ticks - 1);
        },
      ),
      { numRuns: 2000 },
    );
  });
});
