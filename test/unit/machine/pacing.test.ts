import { describe, expect, test } from 'vitest';
import type { Host } from '../../../src/machine/host.ts';
import { HostPacing, InstructionPacing } from '../../../src/machine/pacing.ts';

function fakeHost(): Host & { ns: number } {
  const host = {
    ns: 0,
    monotonicNs: () => host.ns,
    wallClockMs: () => 1_700_000_000_000,
    defer: (callback: () => void) => callback(),
    delay: () => () => {},
    entropy: () => {},
  };
  return host;
}

describe('host time', () => {
  /** Runs a guest of `speed` instructions per nanosecond until `ns`; returns the longest time between two looks at the clock. */
  function longestChunk(pacing: HostPacing, host: { ns: number }, ns: number, speed: (at: number) => number): number {
    let longest = 0;
    const end = host.ns + ns;
    while (host.ns < end) {
      const budget = pacing.budget();
      const before = host.ns;
      host.ns += budget / speed(host.ns);
      pacing.ran(budget, 0);
      longest = Math.max(longest, host.ns - before);
    }
    return longest;
  }

  test('the clock is looked at every 30 us near an alarm, every 250 us far from one', () => {
    const host = fakeHost();
    const pacing = new HostPacing(host);
    pacing.resume();
    longestChunk(pacing, host, 1e6, () => 0.5);
    expect(longestChunk(pacing, host, 1e7, () => 0.5)).toBeLessThan(251_000);
    const alarm = pacing.clock.alarm('test', () => {});
    alarm.set(pacing.clock.now() + 1_240_000);
    expect(longestChunk(pacing, host, 1e6, () => 0.5)).toBeGreaterThan(100_000);
    alarm.set(pacing.clock.now() + 240_000);
    expect(longestChunk(pacing, host, 200_000, () => 0.5)).toBeLessThan(31_000);
  });

  test('a guest that becomes three times slower meets its alarms within 100 us, far or near', () => {
    const host = fakeHost();
    const pacing = new HostPacing(host);
    pacing.resume();
    longestChunk(pacing, host, 1e6, () => 0.9);
    const phases = (at: number): number => (Math.floor(at / 1e6) % 2 === 0 ? 0.9 : 0.3);
    let due = 0;
    let latest = 0;
    const alarm = pacing.clock.alarm('test', () => {
      latest = Math.max(latest, pacing.clock.now() - due);
      due = 0;
    });
    for (let round = 0; round < 2000; round++) {
      due = pacing.clock.now() + 10_000 + ((round * 7919) % 1_500_000);
      alarm.set(due);
      while (due !== 0) {
        longestChunk(pacing, host, 1, phases);
        pacing.clock.fire();
      }
    }
    expect(latest).toBeGreaterThan(0);
    expect(latest).toBeLessThan(100_000);
  });

  test('an alarm in the middle of a chunk shortens it', () => {
    const host = fakeHost();
    const pacing = new HostPacing(host);
    pacing.resume();
    longestChunk(pacing, host, 1e6, () => 1);
    let firedAt = 0;
    const alarm = pacing.clock.alarm('test', () => {
      firedAt = pacing.clock.now();
    });
    const due = pacing.clock.now() + 200_000;
    alarm.set(due);
    while (firedAt === 0) {
      const budget = pacing.budget();
      host.ns += budget;
      pacing.ran(budget, 0);
      pacing.clock.fire();
    }
    expect(firedAt - due).toBeGreaterThanOrEqual(0);
    expect(firedAt - due).toBeLessThan(5_000);
  });

  test('instructions after long copies are looked at within 100 us, though copies are a hundred times as fast', () => {
    const host = fakeHost();
    const pacing = new HostPacing(host);
    pacing.resume();
    longestChunk(pacing, host, 1e6, () => 0.2);
    const alarm = pacing.clock.alarm('test', () => {});
    for (let round = 0; round < 50; round++) {
      // 200 us of REP at 20 rounds a nanosecond, then plain instructions in the same chunk
      const end = host.ns + 200_000;
      let budget = 0;
      while (host.ns < end) {
        budget = pacing.budget();
        host.ns += budget / 20;
        pacing.ran(budget, budget - 1);
      }
      alarm.set(pacing.clock.now() + 200_000);
      budget = pacing.budget();
      expect(budget / 0.2).toBeLessThan(100_000);
      alarm.cancel();
      longestChunk(pacing, host, 100_000, () => 0.2);
    }
  });

  test('a chunk is overdue when its time is over, or the alarm due', () => {
    const host = fakeHost();
    const pacing = new HostPacing(host);
    pacing.resume();
    const alarm = pacing.clock.alarm('test', () => {});
    alarm.set(pacing.clock.now() + 200_000);
    pacing.budget();
    host.ns += 29_000;
    expect(pacing.isOverdue()).toBe(false);
    host.ns += 2_000;
    expect(pacing.isOverdue()).toBe(true);
    alarm.set(pacing.clock.now() + 5_000);
    pacing.budget();
    host.ns += 6_000;
    expect(pacing.isOverdue()).toBe(true);
  });

  test('time stands still while paused', () => {
    const host = fakeHost();
    const pacing = new HostPacing(host);
    host.ns = 5e9;
    pacing.resume();
    host.ns += 1e6;
    pacing.pause();
    host.ns += 1e12;
    expect(pacing.clock.now()).toBe(1e6);
  });
});

describe('instruction time', () => {
  test('a budget ends exactly at the next alarm or flush point, and idle time is skipped', () => {
    let retired = 0;
    const pacing = new InstructionPacing(() => retired);
    const fired: number[] = [];
    const alarm = pacing.clock.alarm('test', (now) => fired.push(now));
    alarm.set(1000);
    expect(pacing.budget(retired)).toBe(1000);
    retired = 1000;
    pacing.clock.fire();
    expect(fired).toEqual([1000]);
    expect(pacing.skipIdle()).toBe(false);
    expect(pacing.budget(retired)).toBe(0x8000 - 1000);
    expect([pacing.isFlushPoint(0x8000), pacing.isFlushPoint(0x8001)]).toEqual([true, false]);
    alarm.set(1e9);
    expect(pacing.skipIdle()).toBe(true);
    pacing.clock.fire();
    expect(fired).toEqual([1000, 1e9]);
    expect(retired).toBe(1000);
  });
});
