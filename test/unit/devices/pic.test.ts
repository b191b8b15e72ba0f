import { beforeEach, describe, expect, test } from 'vitest';
import { Pic } from '../../../src/devices/pic.ts';
import { hammer, TestClock } from './fuzz.ts';

const MASTER = 0;
const SLAVE = 2;
const ELCR = 4;
let pic: Pic;
let outputs: boolean[];
const write = (offset: number, ...values: number[]) => {
  for (const v of values) pic.write(offset, 1, v);
};
const read = (offset: number) => pic.read(offset, 1);
const pulse = (irq: number) => {
  pic.setIrq(irq, true);
  pic.setIrq(irq, false);
};

/** What Linux writes: vectors 0x30 and 0x38, everything unmasked. */
function initialise(icw4 = 0x01): void {
  write(MASTER, 0x11);
  write(MASTER + 1, 0x30, 0x04, icw4);
  write(SLAVE, 0x11);
  write(SLAVE + 1, 0x38, 0x02, 0x01);
  write(MASTER + 1, 0x00);
  write(SLAVE + 1, 0x00);
}

beforeEach(() => {
  pic = new Pic();
  outputs = [];
  pic.onOutput = (level) => outputs.push(level);
});

test('after power-on everything is masked', () => {
  pulse(0);
  expect([pic.output, read(MASTER + 1), read(SLAVE + 1)]).toEqual([false, 0xff, 0xff]);
});

describe('initialised', () => {
  beforeEach(() => initialise());

  test('an edge interrupts once, until its EOI and the next edge', () => {
    pic.setIrq(4, true);
    expect([pic.output, read(MASTER)]).toEqual([true, 0x10]);
    expect(pic.acknowledge()).toBe(0x34);
    write(MASTER, 0x0b);
    expect([pic.output, read(MASTER)]).toEqual([false, 0x10]);
    write(MASTER, 0x20);
    expect([pic.output, read(MASTER)]).toEqual([false, 0]);
    pic.setIrq(4, false);
    pic.setIrq(4, true);
    expect(pic.output).toBe(true);
    expect(outputs).toEqual([true, false, true]);
  });

  test('the lower number goes first and holds the higher ones back until EOI', () => {
    pulse(5);
    pulse(3);
    expect(pic.acknowledge()).toBe(0x33);
    expect(pic.output).toBe(false);
    pulse(1);
    expect(pic.acknowledge()).toBe(0x31);
    write(MASTER, 0x20);
    expect(pic.output).toBe(false);
    write(MASTER, 0x20);
    expect(pic.acknowledge()).toBe(0x35);
  });

  test('the slave comes through the cascade and needs both EOIs', () => {
    pulse(12);
    expect(pic.acknowledge()).toBe(0x3c);
    write(MASTER, 0x0b);
    write(SLAVE, 0x0b);
    expect([read(MASTER), read(SLAVE)]).toEqual([0x04, 0x10]);
    pulse(8);
    expect(pic.output).toBe(false); // the master has the cascade in service
    write(MASTER, 0x62);
    expect(pic.acknowledge()).toBe(0x38);
    write(SLAVE, 0x20);
    write(MASTER, 0x62);
    expect(pic.output).toBe(false);
    write(SLAVE, 0x64);
    expect(read(SLAVE)).toBe(0);
  });

  test('special fully nested mode lets the slave interrupt itself', () => {
    initialise(0x11);
    pulse(12);
    expect(pic.acknowledge()).toBe(0x3c);
    pulse(8);
    expect(pic.acknowledge()).toBe(0x38);
  });

  test('a mask holds a request back without losing it', () => {
    write(MASTER + 1, 0x10);
    pulse(4);
    expect(pic.output).toBe(false);
    write(MASTER + 1, 0x00);
    expect(pic.acknowledge()).toBe(0x34);
  });

  test('acknowledging nothing gives the spurious vectors 7 and 15, with nothing in service', () => {
    expect(pic.acknowledge()).toBe(0x37);
    write(MASTER, 0x0b);
    expect(read(MASTER)).toBe(0);
  });

  test('a level line asks again after EOI while it is high, and not once it is low', () => {
    write(ELCR + 1, 0xff);
    expect(read(ELCR + 1)).toBe(0xde); // 8 and 13 stay edge-triggered
    pic.setIrq(11, true);
    expect(pic.acknowledge()).toBe(0x3b);
    write(SLAVE, 0x20);
    write(MASTER, 0x20);
    expect(pic.acknowledge()).toBe(0x3b);
    pic.setIrq(11, false);
    write(SLAVE, 0x20);
    write(MASTER, 0x20);
    expect(pic.output).toBe(false);
  });

  test('a level line that drops before the acknowledge is no request any more', () => {
    write(ELCR, 0x20);
    pic.setIrq(5, true);
    pic.setIrq(5, false);
    expect([pic.output, pic.acknowledge()]).toEqual([false, 0x37]);
  });

  test('automatic EOI, and rotation in it', () => {
    initialise(0x03);
    write(MASTER, 0x80);
    pulse(1);
    expect(pic.acknowledge()).toBe(0x31);
    write(MASTER, 0x0b);
    expect(read(MASTER)).toBe(0);
    pulse(1);
    pulse(6);
    expect(pic.acknowledge()).toBe(0x36); // 1 is the lowest now
  });

  test('rotation on EOI and set priority', () => {
    write(MASTER, 0xc3); // 3 lowest, 4 highest
    pulse(3);
    pulse(4);
    expect(pic.acknowledge()).toBe(0x34);
    write(MASTER, 0xa0); // rotating non-specific EOI: 4 lowest
    pulse(4);
    expect(pic.acknowledge()).toBe(0x33);
    write(MASTER, 0xe3); // rotating specific EOI
    expect(pic.acknowledge()).toBe(0x34);
  });

  test('special mask mode lets lower levels through while a masked one is in service', () => {
    pulse(1);
    pic.acknowledge();
    pulse(5);
    expect(pic.output).toBe(false);
    write(MASTER + 1, 0x02);
    expect(pic.output).toBe(false);
    write(MASTER, 0x68);
    expect(pic.acknowledge()).toBe(0x35);
    write(MASTER, 0x20); // ends 5, not the masked 1
    write(MASTER, 0x0b);
    expect(read(MASTER)).toBe(0x02);
  });

  test('poll is an acknowledge', () => {
    write(MASTER, 0x0c);
    expect(read(MASTER)).toBe(0);
    pulse(6);
    write(MASTER, 0x0c);
    expect(read(MASTER)).toBe(0x86);
    write(MASTER, 0x0b);
    expect([read(MASTER), pic.output]).toEqual([0x40, false]);
    pulse(9);
    write(SLAVE, 0x0c);
    expect([read(SLAVE), pic.output]).toEqual([0x81, false]);
  });

  test('the cascade has no line of its own', () => {
    pic.setIrq(2, true);
    expect(pic.output).toBe(false);
  });
});

test('ICW1 in single mode without ICW4 takes one word', () => {
  write(MASTER, 0x12);
  write(MASTER + 1, 0x48, 0xfe);
  expect(read(MASTER + 1)).toBe(0xfe);
  pulse(0);
  expect(pic.acknowledge()).toBe(0x48);
});

test('the output follows a loaded state', () => {
  initialise();
  pulse(4);
  const saved = pic.save();
  pic.acknowledge();
  expect(pic.output).toBe(false);
  pic.load(saved);
  expect([pic.output, pic.acknowledge()]).toEqual([true, 0x34]);
});

test('100,000 random accesses', () => {
  hammer(pic, new TestClock(), [0, 1, 2, 3, 4, 5], {
    also: (random) => {
      const r = random();
      pic.setIrq(r & 15, (r & 16) !== 0);
      if ((r & 32) !== 0) {
        const vector = pic.acknowledge();
        if (!(vector >= 0 && vector < 256)) throw new Error(`vector ${vector}`);
      }
    },
  });
});
