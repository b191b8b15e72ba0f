import { beforeEach, describe, expect, test } from 'vitest';
import { I8042 } from '../../../src/devices/i8042.ts';
import { hammer, TestClock, TestLine } from './fuzz.ts';

const DATA = 0;
const COMMAND = 4;
const PORT_92 = 0x32;
let keyboardIrq: TestLine;
let auxiliaryIrq: TestLine;
let resets: string[];
let i8042: I8042;
const read = (offset: number) => i8042.read(offset, 1);
const write = (offset: number, value: number) => i8042.write(offset, 1, value);
const command = (value: number) => {
  write(COMMAND, value);
  return [read(COMMAND) & 0x61, read(DATA)];
};

beforeEach(() => {
  keyboardIrq = new TestLine();
  auxiliaryIrq = new TestLine();
  resets = [];
  i8042 = new I8042({ keyboardIrq, auxiliaryIrq, onReset: (kind) => resets.push(kind) });
});

describe('i8042', () => {
  test('self test, interface tests, input port, command byte', () => {
    expect(read(COMMAND)).toBe(0x14);
    expect(command(0xaa)).toEqual([1, 0x55]);
    expect(command(0xab)).toEqual([1, 0x00]);
    expect(command(0xa9)).toEqual([1, 0x01]);
    expect(command(0xc0)).toEqual([1, 0x80]);
    write(COMMAND, 0x60);
    write(DATA, 0x47);
    expect(command(0x20)).toEqual([1, 0x47]);
    write(COMMAND, 0xad);
    write(COMMAND, 0xa7);
    expect(command(0x20)).toEqual([1, 0x77]);
    expect(read(COMMAND) & 0x01).toBe(0);
  });

  test('a keyboard or mouse that is not there answers with a timeout, and its interrupt', () => {
    write(COMMAND, 0x60);
    write(DATA, 0x07);
    write(DATA, 0xf2);
    expect([read(COMMAND) & 0x61, keyboardIrq.level, auxiliaryIrq.level]).toEqual([0x41, true, false]);
    expect([read(DATA), keyboardIrq.level]).toEqual([0xfe, false]);
    write(COMMAND, 0xd4);
    write(DATA, 0xf2);
    expect([read(COMMAND) & 0x61, keyboardIrq.level, auxiliaryIrq.level]).toEqual([0x61, false, true]);
    expect([read(DATA), auxiliaryIrq.level]).toEqual([0xfe, false]);
  });

  test('the auxiliary loop comes back as a keyboard byte: no mouse', () => {
    write(COMMAND, 0xd3);
    write(DATA, 0x5a);
    expect([read(COMMAND) & 0x21, read(DATA)]).toEqual([0x01, 0x5a]);
  });

  test('every way to reset', () => {
    write(COMMAND, 0xfe);
    write(COMMAND, 0xf0);
    write(COMMAND, 0xff);
    write(COMMAND, 0xd1);
    write(DATA, 0xfe);
    write(PORT_92, 0x01);
    expect(resets).toEqual(['i8042', 'i8042', 'i8042', 'port-92']);
  });

  test('A20 by command, output port and port 0x92', () => {
    expect([i8042.a20, read(PORT_92), command(0xd0)]).toEqual([true, 2, [1, 3]]);
    write(COMMAND, 0xdd);
    expect([i8042.a20, read(PORT_92)]).toEqual([false, 0]);
    write(PORT_92, 2);
    expect(i8042.a20).toBe(true);
    write(COMMAND, 0xd1);
    write(DATA, 0x01);
    expect(i8042.a20).toBe(false);
    i8042.reset();
    expect(i8042.a20).toBe(true);
    expect(resets).toEqual([]);
  });

  test('100,000 random accesses', () => {
    hammer(i8042, new TestClock(), [DATA, COMMAND, PORT_92, 1, 0x33]);
  });
});
