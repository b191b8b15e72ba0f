import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { ApicBus } from '../../../src/devices/apic-bus.ts';
import { LocalApic } from '../../../src/devices/lapic.ts';
import { hammer, TestClock } from './fuzz.ts';

const ID = 0x20;
const TPR = 0x80;
const PPR = 0xa0;
const EOI = 0xb0;
const SVR = 0xf0;
const ESR = 0x280;
const ICR = 0x300;
const LVTT = 0x320;
const LVT1 = 0x360;
const LVTERR = 0x370;
const TMICT = 0x380;
const TMCCT = 0x390;
const TDCR = 0x3e0;
const APIC_BASE = 0x1b;
const DEADLINE = 0x6e0;

let clock: TestClock;
let bus: ApicBus;
let apic: LocalApic;
const read = (offset: number) => apic.read(offset, 4);
const write = (offset: number, value: number) => apic.write(offset, 4, value);
const take = () => {
  const vector = apic.acknowledge();
  write(EOI, 0);
  return vector;
};

beforeEach(() => {
  clock = new TestClock();
  bus = new ApicBus();
  apic = new LocalApic({ id: 3, bootstrap: true, bus, clock, acknowledgeExternal: () => 0x77 });
  write(SVR, 0x1ff);
});

describe('registers', () => {
  test('ID, version, LDR, DFR, and reserved bits', () => {
    expect([read(ID), read(0x30)]).toEqual([0x03000000, 0x00050014]);
    write(0xd0, 0xffffffff);
    write(0xe0, 0);
    write(ID, 0);
    expect([read(0xd0), read(0xe0), read(ID)]).toEqual([0xff000000, 0x0fffffff, 0x03000000]);
    for (const offset of [0x320, 0x330, 0x340, 0x350, 0x360, 0x370]) write(offset, 0xffffffff);
    expect([0x320, 0x330, 0x340, 0x350, 0x360, 0x370].map(read)).toEqual([
      0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff,
    ]);
  });

  test('narrow reads get their part, narrow and odd writes nothing', () => {
    expect([apic.read(0x33, 1), apic.read(0x30, 2), apic.read(0x32, 1), apic.read(0x34, 4)]).toEqual([0, 0x14, 5, 0]);
    apic.write(TPR, 1, 0x20);
    apic.write(TPR + 4, 4, 0x20);
    expect(read(TPR)).toBe(0);
  });

  test('software disable masks the LVT and refuses fixed interrupts', () => {
    write(LVTT, 0x31);
    write(SVR, 0xff);
    write(LVTT, 0x31);
    expect(read(LVTT)).toBe(0x10031);
    apic.deliver(0, 0x41, false);
    write(SVR, 0x1ff);
    expect([apic.pendingVector, read(LVTT)]).toEqual([-1, 0x10031]);
  });

  test('errors: unknown register, vectors below 16 sent or received, and the error interrupt', () => {
    write(LVTERR, 0x55);
    read(0x000);
    expect([read(ESR), take()]).toEqual([0, 0x55]);
    write(ESR, 0);
    expect(read(ESR)).toBe(0x80);
    write(ICR, 0x4000f);
    apic.deliver(0, 3, false);
    write(ESR, 0);
    expect(read(ESR)).toBe(0x60);
    write(ESR, 0);
    expect(read(ESR)).toBe(0);
  });

  test('an error vector below 16 does not recurse', () => {
    write(LVTERR, 0x05);
    apic.deliver(0, 3, false);
    write(ESR, 0);
    expect(read(ESR)).toBe(0x40);
  });
});

describe('priorities', () => {
  test('highest vector first; only a higher class interrupts one in service', () => {
    for (const v of [0x41, 0x52, 0x51]) apic.deliver(0, v, false);
    expect(apic.acknowledge()).toBe(0x52);
    expect([apic.pendingVector, read(PPR)]).toEqual([-1, 0x50]);
    apic.deliver(0, 0x60, false);
    expect(apic.acknowledge()).toBe(0x60);
    write(EOI, 0);
    write(EOI, 0);
    expect(take()).toBe(0x51);
    expect(take()).toBe(0x41);
    expect(apic.acknowledge()).toBe(-1);
  });

  test('TPR and CR8 hold classes back', () => {
    apic.deliver(0, 0x4f, false);
    write(TPR, 0x40);
    expect([apic.pendingVector, apic.cr8, read(PPR)]).toEqual([-1, 4, 0x40]);
    apic.cr8 = 3;
    expect([apic.pendingVector, read(TPR)]).toEqual([0x4f, 0x30]);
  });

  test('a request that is already there merges; one in service can be requested again', () => {
    apic.deliver(0, 0x61, false);
    apic.deliver(0, 0x61, false);
    expect(apic.acknowledge()).toBe(0x61);
    apic.deliver(0, 0x61, false);
    write(EOI, 0);
    expect(take()).toBe(0x61);
    expect(apic.pendingVector).toBe(-1);
    expect(apic.delivered[0x61]).toBe(2);
  });

  test('only the EOI of a level-triggered interrupt is broadcast', () => {
    const ended: number[] = [];
    bus.onEndOfInterrupt = (vector) => ended.push(vector);
    apic.deliver(0, 0x61, true);
    apic.deliver(0, 0x71, false);
    take();
    take();
    write(EOI, 0);
    expect(ended).toEqual([0x61]);
  });

  test('any order of deliveries is taken in order of priority, each once', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 16, max: 255 }), { maxLength: 60 }), (vectors) => {
        for (const v of vectors) apic.deliver(0, v, false);
        const taken = vectors.map(take);
        expect(taken).toEqual([...vectors].sort((a, b) => b - a));
        expect(apic.pendingVector).toBe(-1);
      }),
    );
  });
});

describe('local inputs', () => {
  test('LINT1 as NMI on its rising edge', () => {
    write(LVT1, 0x400);
    apic.setLint(1, true);
    expect(apic.nmiPending).toBe(true);
    apic.acknowledgeNmi();
    apic.setLint(1, true);
    expect(apic.nmiPending).toBe(false);
  });

  test('LINT0 fixed and level-triggered: once per EOI while asserted', () => {
    write(0x350, 0x8045);
    apic.setLint(0, true);
    expect(read(0x350)).toBe(0xc045);
    expect([take(), take()]).toEqual([0x45, 0x45]);
    apic.setLint(0, false);
    expect(take()).toBe(0x45);
    expect([apic.pendingVector, read(0x350)]).toEqual([-1, 0x8045]);
  });

  test('LINT0 fixed and edge-triggered', () => {
    write(0x350, 0x45);
    apic.setLint(0, true);
    expect([take(), apic.pendingVector]).toEqual([0x45, -1]);
  });
});

describe('timer', () => {
  test('one-shot: exact count and expiry', () => {
    write(TDCR, 0x3); // by 16
    write(LVTT, 0x40);
    clock.moveTo(1_000_003);
    write(TMICT, 1000);
    expect(clock.next).toBe(1_016_003);
    clock.advance(160);
    expect(read(TMCCT)).toBe(990);
    clock.advance(15);
    expect(read(TMCCT)).toBe(990);
    clock.moveTo(1_016_002);
    expect([read(TMCCT), apic.pendingVector]).toEqual([1, -1]);
    clock.moveTo(1_016_003);
    expect([read(TMCCT), take()]).toEqual([0, 0x40]);
    clock.moveTo(1e9);
    expect([apic.pendingVector, clock.next]).toEqual([-1, Number.POSITIVE_INFINITY]);
  });

  test('every divisor', () => {
    const divisors = { 0: 2, 1: 4, 2: 8, 3: 16, 8: 32, 9: 64, 10: 128, 11: 1 };
    write(LVTT, 0x40);
    for (const [code, divisor] of Object.entries(divisors)) {
      write(TDCR, Number(code));
      write(TMICT, 100);
      expect(clock.next).toBe(clock.now() + 100 * divisor);
    }
  });

  test('periodic: a thousand periods without drift, though each is served late', () => {
    write(TDCR, 0xb);
    write(LVTT, 0x20040);
    write(TMICT, 999_999);
    for (let i = 1; i <= 1000; i++) {
      expect(clock.next).toBe(i * 999_999);
      clock.jumpTo(i * 999_999 + ((i * 7919) % 50_000));
      expect(take()).toBe(0x40);
    }
    expect(read(TMCCT)).toBe(999_999 - ((1000 * 7919) % 50_000));
  });

  test('periods missed altogether count as one interrupt, and the phase stays', () => {
    write(TDCR, 0xb);
    write(LVTT, 0x20040);
    write(TMICT, 10_000);
    clock.jumpTo(55_555);
    expect([take(), apic.pendingVector, clock.next]).toEqual([0x40, -1, 60_000]);
  });

  test('a period of one tick neither hangs nor floods', () => {
    write(TDCR, 0xb);
    write(LVTT, 0x20040);
    write(TMICT, 1);
    let served = 0;
    clock.onNextChanged = () => served++;
    clock.moveTo(1_000_000);
    expect(served).toBeLessThanOrEqual(1001);
    expect([take(), clock.next]).toEqual([0x40, 1_000_001]);
  });

  test('masked: the count runs, nothing comes, and unmasking keeps the phase', () => {
    write(TDCR, 0xb);
    write(LVTT, 0x30040);
    write(TMICT, 10_000);
    expect(clock.next).toBe(Number.POSITIVE_INFINITY);
    clock.moveTo(25_000);
    expect(read(TMCCT)).toBe(5000);
    write(LVTT, 0x20040);
    expect([apic.pendingVector, clock.next]).toEqual([-1, 30_000]);
  });

  test('an expiry that is due is not lost when the LVT is rewritten before it was served', () => {
    write(TDCR, 0xb);
    write(LVTT, 0x40);
    write(TMICT, 1000);
    clock.passTo(1500);
    write(LVTT, 0x10040);
    expect(apic.pendingVector).toBe(0x40);
  });

  test('from periodic to one-shot the running period is the last', () => {
    write(TDCR, 0xb);
    write(LVTT, 0x20040);
    write(TMICT, 10_000);
    clock.moveTo(25_000);
    take();
    write(LVTT, 0x40);
    expect([read(TMCCT), clock.next]).toEqual([5000, 30_000]);
    clock.moveTo(100_000);
    expect([take(), apic.pendingVector]).toEqual([0x40, -1]);
  });

  test('changing the divisor keeps the count', () => {
    write(TDCR, 0xb);
    write(LVTT, 0x40);
    write(TMICT, 1000);
    clock.moveTo(400);
    write(TDCR, 0x0);
    expect([read(TMCCT), clock.next]).toEqual([600, 400 + 1200]);
  });

  test('TSC deadline: exact, zeroed when it comes, immediate when past, disarmed by 0, ignored in other modes', () => {
    expect(apic.writeMsr(DEADLINE, 5000, 0)).toBe(true);
    expect(clock.next).toBe(Number.POSITIVE_INFINITY);
    write(LVTT, 0x40040);
    apic.writeMsr(DEADLINE, 5000, 1);
    expect(clock.next).toBe(2 ** 32 + 5000);
    expect([apic.readMsr(DEADLINE), apic.msrLow, apic.msrHigh]).toEqual([true, 5000, 1]);
    clock.moveTo(2 ** 32 + 5000);
    expect([take(), apic.readMsr(DEADLINE), apic.msrLow, apic.msrHigh]).toEqual([0x40, true, 0, 0]);
    apic.writeMsr(DEADLINE, 1, 0);
    expect(take()).toBe(0x40);
    apic.writeMsr(DEADLINE, 0xffffffff, 0xffffffff);
    expect(clock.next).toBe(Number.POSITIVE_INFINITY);
    apic.writeMsr(DEADLINE, 5000, 2);
    apic.writeMsr(DEADLINE, 0, 0);
    expect(clock.next).toBe(Number.POSITIVE_INFINITY);
    expect(read(TMCCT)).toBe(0);
  });

  test('TSC deadline follows a moved TSC', () => {
    write(LVTT, 0x40040);
    apic.setTscOffset(1000);
    apic.writeMsr(DEADLINE, 5000, 0);
    expect(clock.next).toBe(4000);
    apic.setTscOffset(4000);
    expect(clock.next).toBe(1000);
  });

  test('a running timer survives save and load', () => {
    write(TDCR, 0xb);
    write(LVTT, 0x20040);
    write(TMICT, 10_000);
    clock.moveTo(15_000);
    take();
    const saved = apic.save();
    write(TMICT, 0);
    apic.load(saved);
    expect(clock.next).toBe(20_000);
    expect(apic.save()).toEqual(saved);
  });
});

describe('x2APIC', () => {
  const enter = () => apic.writeMsr(APIC_BASE, 0xfee00d00, 0);

  test('the way through the modes', () => {
    const bases: (number | undefined)[] = [];
    apic.onBaseChange = (base) => bases.push(base);
    expect(apic.readMsr(0x802)).toBe(false);
    expect(enter()).toBe(true);
    expect([apic.readMsr(APIC_BASE), apic.msrLow]).toEqual([true, 0xfee00d00]);
    expect(apic.writeMsr(APIC_BASE, 0xfee00900, 0)).toBe(false); // back to xAPIC: only through disabled
    expect(apic.writeMsr(APIC_BASE, 0xfee00500, 0)).toBe(false); // x2APIC without enable
    expect(apic.writeMsr(APIC_BASE, 0xfee00100, 0)).toBe(true);
    expect(enter()).toBe(false);
    expect(apic.writeMsr(APIC_BASE, 0xfed10900, 0)).toBe(true);
    expect(bases).toEqual([undefined, undefined, 0xfed10000]);
    expect(apic.writeMsr(APIC_BASE, 0xfee00901, 0)).toBe(false);
    expect(apic.writeMsr(APIC_BASE, 0xfee00900, 0x100)).toBe(false);
    expect(apic.writeMsr(APIC_BASE, 0xfee00900, 0xff)).toBe(true);
    expect(apic.mmioBase).toBe(0xfffee00000);
  });

  test('is refused where CPUID does not offer it', () => {
    const old = new LocalApic({ id: 1, bootstrap: false, bus, clock, acknowledgeExternal: () => 0, x2apic: false });
    expect(old.writeMsr(APIC_BASE, 0xfee00c00, 0)).toBe(false);
    expect([old.readMsr(APIC_BASE), old.msrLow]).toEqual([true, 0xfee00800]);
  });

  test('registers by MSR, and #GP for what is not there or not writable', () => {
    enter();
    const value = (msr: number) => (apic.readMsr(msr) ? apic.msrLow : -1);
    expect([value(0x802), value(0x803), value(0x80d)]).toEqual([3, 0x50014, 8]);
    expect(apic.writeMsr(0x808, 0x20, 0)).toBe(true);
    expect([value(0x808), value(0x80a)]).toEqual([0x20, 0x20]);
    for (const msr of [0x800, 0x809, 0x80b, 0x80e, 0x831, 0x83f, 0x840, 0x8ff])
      expect([msr, value(msr)]).toEqual([msr, -1]);
    for (const [msr, low, high] of [
      [0x802, 0, 0],
      [0x803, 0, 0],
      [0x80b, 1, 0],
      [0x808, 0x100, 0],
      [0x808, 0, 1],
      [0x80d, 0, 0],
      [0x839, 0, 0],
      [0x810, 0, 0],
      [0x828, 1, 0],
      [0x83e, 4, 0],
      [0x831, 0, 0],
    ] as const) {
      expect([msr, apic.writeMsr(msr, low, high)]).toEqual([msr, false]);
    }
    expect([apic.read(ID, 4), apic.mmioBase]).toEqual([0xffffffff, undefined]);
  });

  test('self IPI, ICR with a 32-bit destination, EOI', () => {
    enter();
    apic.cr8 = 0;
    expect(apic.writeMsr(0x83f, 0x44, 0)).toBe(true);
    expect(apic.acknowledge()).toBe(0x44);
    expect(apic.writeMsr(0x80b, 0, 0)).toBe(true);
    apic.writeMsr(0x830, 0x46, 3);
    apic.writeMsr(0x830, 0x47, 4);
    apic.writeMsr(0x830, 0x848, 0x0000_0008); // logical, cluster 0
    apic.writeMsr(0x830, 0x849, 0x0001_0008); // logical, cluster 1
    expect([apic.readMsr(0x830), apic.msrLow, apic.msrHigh]).toEqual([true, 0x849, 0x10008]);
    const taken: number[] = [];
    while (apic.pendingVector >= 0) {
      taken.push(apic.acknowledge());
      apic.writeMsr(0x80b, 0, 0);
    }
    expect(taken).toEqual([0x48, 0x46]);
  });
});

test('100,000 random accesses by MMIO and MSR', () => {
  const offsets = Array.from({ length: 0x40 }, (_, i) => i * 0x10).concat([0x3, 0x34, 0xffc, 0xfff]);
  hammer(apic, clock, offsets, {
    also: (random) => {
      const r = random();
      if ((r & 3) === 0) apic.writeMsr(0x800 + ((r >>> 8) & 0x3f), random(), (r & 4) === 0 ? 0 : random());
      if ((r & 3) === 1) apic.readMsr(0x800 + ((r >>> 8) & 0xff));
      if ((r & 0xff0) === 0) apic.writeMsr(APIC_BASE, 0xfee00000 | (random() & 0xd00), 0);
      if ((r & 0xf0) === 0) for (const mode of [0x100, 0x900]) apic.writeMsr(APIC_BASE, 0xfee00000 | mode, 0);
      if ((r & 0xff0) === 0x10) apic.writeMsr(DEADLINE, random(), random() & 3);
      if ((r & 0x7000) === 0) apic.setLint((r >>> 15) & 1 ? 1 : 0, (r & 0x10000) !== 0);
      if ((r & 0x3c0000) === 0) {
        const vector = apic.acknowledge();
        if (!(vector >= -1 && vector < 256)) throw new Error(`vector ${vector}`);
      }
    },
  });
});
