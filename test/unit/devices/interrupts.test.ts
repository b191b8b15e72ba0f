import { beforeEach, describe, expect, test } from 'vitest';
import { Interrupts } from '../../../src/devices/interrupts.ts';
import { PENDING_EXT_INT } from '../../../src/devices/lapic.ts';
import { hammer, TestClock } from './fuzz.ts';

const LEVEL = 0x8000;
const MASKED = 0x10000;
const LOGICAL = 0x800;

let clock: TestClock;
let interrupts: Interrupts;
const apic = (id = 0) => interrupts.localApics[id]!;
const ioWrite = (index: number, value: number) => {
  interrupts.ioApic.write(0x00, 4, index);
  interrupts.ioApic.write(0x10, 4, value);
};
const ioRead = (index: number) => {
  interrupts.ioApic.write(0x00, 4, index);
  return interrupts.ioApic.read(0x10, 4);
};
const route = (pin: number, low: number, destination = 0) => {
  ioWrite(0x11 + 2 * pin, destination << 24);
  ioWrite(0x10 + 2 * pin, low);
};
const eoi = (id = 0) => apic(id).write(0xb0, 4, 0);
/** Takes everything that waits on a processor, ending each interrupt. */
const drain = (id = 0) => {
  const vectors: number[] = [];
  while (apic(id).pendingVector >= 0) {
    vectors.push(apic(id).acknowledge());
    eoi(id);
  }
  return vectors;
};

function build(processors: number): void {
  clock = new TestClock();
  interrupts = new Interrupts({ clock, processors });
  for (const a of interrupts.localApics) a.write(0xf0, 4, 0x1ff);
}
beforeEach(() => build(1));

describe('IOAPIC registers', () => {
  test('ID, version, arbitration, and what a redirection entry keeps', () => {
    ioWrite(0, 0x0f000000);
    expect([ioRead(0), ioRead(1), ioRead(2)]).toEqual([0x0f000000, 0x00170020, 0x0f000000]);
    expect([ioRead(0x10), ioRead(0x3e), ioRead(0x40), ioRead(0xff)]).toEqual([MASKED, MASKED, 0, 0]);
    ioWrite(0x10, 0xffffffff);
    ioWrite(0x11, 0xffffffff);
    expect([ioRead(0x10), ioRead(0x11)]).toEqual([0x1afff, 0xff000000]);
  });
});

describe('routing', () => {
  test('ISA line n reaches pin n, line 0 pin 2, and lines 16 to 23 their pins', () => {
    for (let pin = 1; pin < 24; pin++) route(pin, 0x40 + pin);
    for (const [line, vector] of [
      [0, 0x42],
      [4, 0x44],
      [15, 0x4f],
      [16, 0x50],
      [23, 0x57],
    ] as const) {
      const wire = interrupts.line(line);
      wire.set(true);
      expect(drain()).toEqual([vector]);
      wire.set(false);
    }
    expect(() => interrupts.line(2)).toThrow(RangeError);
    expect(() => interrupts.line(24)).toThrow(RangeError);
  });

  test('an edge counts once, and is lost while the pin is masked', () => {
    route(4, 0x34 | MASKED);
    const wire = interrupts.line(4);
    wire.set(true);
    route(4, 0x34);
    expect(drain()).toEqual([]);
    wire.set(false);
    wire.set(true);
    expect(drain()).toEqual([0x34]);
    expect(interrupts.ioApic.sent[4]).toBe(1);
  });

  test('a level waits for EOI with remote IRR set, then asks again while asserted', () => {
    route(11, 0x3b | LEVEL);
    const wire = interrupts.line(11);
    wire.set(true);
    expect(ioRead(0x10 + 22)).toBe(0x3b | LEVEL | 0x4000);
    expect(apic().acknowledge()).toBe(0x3b);
    expect(apic().pendingVector).toBe(-1);
    expect(apic().read(0x180 + 0x10, 4)).toBe(1 << 27); // TMR
    eoi();
    expect(apic().acknowledge()).toBe(0x3b);
    wire.set(false);
    eoi();
    expect([apic().pendingVector, ioRead(0x10 + 22)]).toEqual([-1, 0x3b | LEVEL]);
  });

  test('a level that was asserted while masked asks when unmasked; edge mode forgets remote IRR', () => {
    const wire = interrupts.line(11);
    wire.set(true);
    route(11, 0x3b | LEVEL);
    expect(apic().pendingVector).toBe(0x3b);
    ioWrite(0x10 + 22, 0x3b | MASKED);
    expect(ioRead(0x10 + 22)).toBe(0x3b | MASKED);
  });

  test('the EOI register ends a level without the local APIC', () => {
    route(11, 0x3b | LEVEL);
    const wire = interrupts.line(11);
    wire.set(true);
    wire.set(false);
    interrupts.ioApic.write(0x40, 4, 0x3b);
    expect(ioRead(0x10 + 22)).toBe(0x3b | LEVEL);
  });

  test('a shared line is asserted while any source asserts it', () => {
    route(10, 0x3a | LEVEL);
    const a = interrupts.line(10);
    const b = interrupts.line(10);
    a.set(true);
    b.set(true);
    a.set(false);
    a.set(false);
    expect(apic().acknowledge()).toBe(0x3a);
    eoi();
    expect(apic().pendingVector).toBe(0x3a);
    b.set(false);
    apic().acknowledge();
    eoi();
    expect(apic().pendingVector).toBe(-1);
  });

  test('a pin source leaves the PIC alone', () => {
    const wire = interrupts.pin(8);
    interrupts.pic.write(2, 1, 0x0a);
    wire.set(true);
    expect(interrupts.pic.read(2, 1)).toBe(0);
  });
});

describe('virtual wire', () => {
  const initPic = () => {
    for (const [offset, value] of [
      [0, 0x11],
      [1, 0x20],
      [1, 4],
      [1, 1],
      [1, 0],
    ] as const)
      interrupts.pic.write(offset, 1, value);
  };

  test('the PIC interrupts through LINT0, and its vector comes from the PIC', () => {
    initPic();
    apic().enterVirtualWireMode();
    let changes = 0;
    apic().onChange = () => changes++;
    interrupts.line(4).set(true);
    expect([apic().pendingVector, changes]).toEqual([PENDING_EXT_INT, 1]);
    expect(apic().acknowledge()).toBe(0x24);
    expect(apic().pendingVector).toBe(-1);
    interrupts.pic.write(0, 1, 0x20);
    expect(apic().pendingVector).toBe(-1);
  });

  test('an unblocked fixed interrupt goes before the PIC; the PIC ignores the processor priority', () => {
    initPic();
    apic().enterVirtualWireMode();
    interrupts.line(4).set(true);
    interrupts.deliverMsi(0xfee00000, 0x51);
    expect(apic().pendingVector).toBe(0x51);
    apic().cr8 = 15;
    expect(apic().pendingVector).toBe(PENDING_EXT_INT);
  });

  test('with the APIC disabled by IA32_APIC_BASE the PIC reaches the processor directly', () => {
    initPic();
    expect(apic().writeMsr(0x1b, 0xfee00000, 0)).toBe(true);
    interrupts.line(1).set(true);
    expect([apic().pendingVector, apic().acknowledge()]).toEqual([PENDING_EXT_INT, 0x21]);
    expect(apic().read(0x30, 4)).toBe(0xffffffff);
  });

  test('an IOAPIC pin in ExtINT mode asks the PIC as well', () => {
    initPic();
    route(0, 0x700);
    interrupts.line(3).set(true);
    expect([apic().pendingVector, apic().acknowledge()]).toEqual([PENDING_EXT_INT, 0x23]);
  });

  test('masking LINT0 closes the wire', () => {
    initPic();
    apic().enterVirtualWireMode();
    apic().write(0x350, 4, 0x10700);
    interrupts.line(4).set(true);
    expect(apic().pendingVector).toBe(-1);
    apic().write(0x350, 4, 0x700);
    expect(apic().pendingVector).toBe(PENDING_EXT_INT);
  });
});

describe('messages', () => {
  test('MSI: physical, logical and broadcast destinations', () => {
    build(3);
    apic(1).write(0xd0, 4, 0x02000000);
    apic(2).write(0xd0, 4, 0x04000000);
    interrupts.deliverMsi(0xfee00000 | (2 << 12), 0x41);
    interrupts.deliverMsi(0xfee00000 | (6 << 12) | 4, 0x42);
    interrupts.deliverMsi(0xfeeff000, 0x43);
    expect([drain(0), drain(1), drain(2)]).toEqual([[0x43], [0x43, 0x42], [0x43, 0x42, 0x41]]);
  });

  test('MSI: what is no MSI is dropped', () => {
    interrupts.deliverMsi(0xfed00000, 0x41);
    interrupts.deliverMsi(0x1fee00000, 0x41);
    interrupts.deliverMsi(0xfee00000, 0x8041);
    expect(apic().pendingVector).toBe(-1);
    interrupts.deliverMsi(0xfee00000, 0xc041);
    expect(apic().pendingVector).toBe(0x41);
  });

  test('lowest priority goes to the least busy, and takes turns among equals', () => {
    build(2);
    for (const id of [0, 1]) apic(id).write(0xd0, 4, (1 << (24 + id)) >>> 0);
    route(5, 0x61 | 0x100 | LOGICAL, 3);
    const wire = interrupts.line(5);
    const hits = [0, 0];
    for (let i = 0; i < 4; i++) {
      wire.set(true);
      wire.set(false);
      for (const id of [0, 1]) hits[id]! += drain(id).length;
    }
    expect(hits).toEqual([2, 2]);
    apic(1).write(0x80, 4, 0x20);
    for (let i = 0; i < 4; i++) {
      wire.set(true);
      wire.set(false);
      for (const id of [0, 1]) hits[id]! += drain(id).length;
    }
    expect(hits).toEqual([6, 2]);
  });

  test('cluster model', () => {
    build(2);
    for (const id of [0, 1]) {
      apic(id).write(0xe0, 4, 0x0fffffff);
      apic(id).write(0xd0, 4, (0x10 << 24) | (1 << (24 + id)));
    }
    interrupts.deliverMsi(0xfee00000 | (0x12 << 12) | 4, 0x50);
    interrupts.deliverMsi(0xfee00000 | (0x22 << 12) | 4, 0x51);
    expect([drain(0), drain(1)]).toEqual([[], [0x50]]);
  });

  test('NMI, INIT, SIPI and the shorthands', () => {
    build(3);
    const log: string[] = [];
    for (const a of interrupts.localApics) {
      a.onInit = () => log.push(`init ${a.id}`);
      a.onStartup = (vector) => log.push(`sipi ${a.id} ${vector}`);
    }
    const ipi = (low: number, destination = 0) => {
      apic().write(0x310, 4, destination << 24);
      apic().write(0x300, 4, low);
    };
    ipi(0xc4500); // all but self: INIT
    ipi(0xc8500); // INIT level de-assert: nothing
    ipi(0x4608, 1);
    ipi(0x4400, 2);
    expect(log).toEqual(['init 1', 'init 2', 'sipi 1 8']);
    expect([apic(0).nmiPending, apic(2).nmiPending]).toEqual([false, true]);
    apic(2).acknowledgeNmi();
    expect(apic(2).nmiPending).toBe(false);
    ipi(0x40055); // self
    ipi(0x80056); // all
    ipi(0xc0057); // all but self
    expect([drain(0), drain(1), drain(2)]).toEqual([
      [0x56, 0x55],
      [0x57, 0x56],
      [0x57, 0x56],
    ]);
  });
});

test('a saved set of controllers goes on where it was', () => {
  route(11, 0x3b | LEVEL);
  const wire = interrupts.line(11);
  wire.set(true);
  apic().acknowledge();
  const saved = interrupts.save();
  eoi();
  wire.set(true);
  interrupts.load(saved);
  expect(interrupts.save()).toEqual(saved);
  wire.set(false);
  eoi();
  expect(apic().pendingVector).toBe(-1);
});

test('reset masks everything again', () => {
  route(4, 0x34);
  interrupts.reset();
  interrupts.line(4).set(true);
  interrupts.deliverMsi(0xfee00000, 0x41);
  expect([apic().pendingVector, ioRead(0x18)]).toEqual([-1, MASKED]);
});

test('100,000 random accesses to the IOAPIC, with lines and EOIs', () => {
  build(2);
  const wires = [0, 1, 3, 4, 5, 8, 9, 10, 11, 16, 23].map((n) => interrupts.line(n));
  hammer(interrupts.ioApic, clock, [0x00, 0x10, 0x10, 0x40, 0x04, 0x18, 0xffc], {
    also: (random) => {
      const r = random();
      wires[r % wires.length]!.set((r & 0x1000) !== 0);
      if ((r & 0x2000) !== 0) {
        const id = (r >>> 14) & 1;
        apic(id).acknowledge();
        eoi(id);
      }
      if ((r & 0xff0000) === 0) interrupts.deliverMsi(0xfee00000 + (random() & 0xfffff), random());
    },
  });
});
