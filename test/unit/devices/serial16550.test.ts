import { beforeEach, describe, expect, test } from 'vitest';
import { MODEM_CTS, MODEM_DCD, MODEM_DSR, MODEM_RI, Serial16550 } from '../../../src/devices/serial16550.ts';
import { hammer, TestClock, TestLine } from './fuzz.ts';

const DATA = 0;
const IER = 1;
const IIR = 2;
const FCR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;
const SCR = 7;

let clock: TestClock;
let irq: TestLine;
let sent: number[];
let uart: Serial16550;
const read = (offset: number) => uart.read(offset, 1);
const write = (offset: number, value: number) => uart.write(offset, 1, value);
const text = (s: string) => new TextEncoder().encode(s);
/** Four characters of 10 bits at 115200 baud. */
const TIMEOUT = Math.round((40 * 1e9) / 115200);

beforeEach(() => {
  clock = new TestClock();
  irq = new TestLine();
  sent = [];
  uart = new Serial16550({ irq, clock, sink: (bytes) => sent.push(...bytes) });
  write(LCR, 0x83);
  write(DATA, 1);
  write(IER, 0);
  write(LCR, 0x03);
});

describe('registers', () => {
  test('divisor latch, scratch, and the masks of IER, MCR', () => {
    write(LCR, 0x80);
    write(DATA, 0x34);
    write(IER, 0x12);
    expect([read(DATA), read(IER)]).toEqual([0x34, 0x12]);
    write(LCR, 0x03);
    write(IER, 0xff);
    write(MCR, 0xef);
    write(SCR, 0xa5);
    expect([read(IER), read(MCR), read(SCR), read(LCR)]).toEqual([0x0f, 0x0f, 0xa5, 0x03]);
  });

  test('FIFO bits of IIR tell a 16550A', () => {
    expect(read(IIR)).toBe(0x01);
    write(FCR, 0x01);
    expect(read(IIR)).toBe(0xc1);
    write(FCR, 0x00);
    expect(read(IIR)).toBe(0x01);
  });

  test('LSR says: transmitter empty, nothing received', () => {
    expect(read(LSR)).toBe(0x60);
  });
});

describe('transmitter', () => {
  test('bytes gather and leave at flush, or when 1024 are there', () => {
    for (const c of text('hello')) write(DATA, c);
    expect(sent).toEqual([]);
    uart.flush();
    expect(String.fromCharCode(...sent)).toBe('hello');
    uart.flush();
    for (let i = 0; i < 1025; i++) write(DATA, i & 0xff);
    expect(sent).toHaveLength(5 + 1024);
    expect(uart.bytesSent).toBe(5 + 1025);
  });

  test('enabling the THR interrupt raises it at once, reading IIR clears it, and enabling again raises it again', () => {
    write(IER, 0x02);
    expect(irq.level).toBe(true);
    expect(read(IIR)).toBe(0x02);
    expect(irq.level).toBe(false);
    expect(read(IIR)).toBe(0x01);
    write(IER, 0x02);
    expect(irq.level).toBe(false);
    write(IER, 0x00);
    write(IER, 0x02);
    expect(irq.level).toBe(true);
  });

  test('each byte sent empties the THR again', () => {
    write(IER, 0x02);
    read(IIR);
    write(DATA, 0x41);
    expect(irq.level).toBe(true);
    expect(read(IIR)).toBe(0x02);
    expect(irq.edges).toBe(2);
  });
});

describe('receiver', () => {
  test('without FIFO: one byte at a time, nothing lost', () => {
    write(IER, 0x01);
    expect(uart.receive(text('abc'))).toBe(3);
    for (const c of text('abc')) {
      expect(irq.level).toBe(true);
      expect([read(IIR), read(LSR), read(DATA)]).toEqual([0x04, 0x61, c]);
    }
    expect([irq.level, read(LSR), read(DATA)]).toEqual([false, 0x60, 0]);
  });

  test('the trigger level raises the interrupt, and falling below it lowers it', () => {
    write(FCR, 0x81); // trigger at 8
    write(IER, 0x01);
    uart.receive(text('1234567'));
    expect(irq.level).toBe(false);
    uart.receive(text('8'));
    expect([irq.level, read(IIR)]).toEqual([true, 0xc4]);
    read(DATA);
    expect(irq.level).toBe(false);
  });

  test('below the trigger level the character timeout comes after exactly four character times, and a read ends it', () => {
    write(FCR, 0xc1); // trigger at 14
    write(IER, 0x01);
    clock.moveTo(1000);
    uart.receive(text('ab'));
    clock.moveTo(1000 + TIMEOUT - 1);
    expect(irq.level).toBe(false);
    clock.moveTo(1000 + TIMEOUT);
    expect([irq.level, read(IIR)]).toEqual([true, 0xcc]);
    read(DATA);
    expect(irq.level).toBe(false);
    clock.advance(TIMEOUT);
    expect(irq.level).toBe(true);
    read(DATA);
    clock.advance(10 * TIMEOUT);
    expect(irq.edges).toBe(2);
  });

  test('the queue before the receiver is bounded, and tells when it has room again', () => {
    write(FCR, 0x01);
    let rooms = 0;
    uart.onRoom = () => rooms++;
    expect(uart.receive(new Uint8Array(10_000).fill(0x55))).toBe(4096);
    expect(uart.room).toBe(16); // the FIFO took 16 of them
    expect(uart.receive(new Uint8Array(17))).toBe(16);
    for (let i = 0; i < 2048; i++) read(DATA);
    expect([rooms, uart.room]).toEqual([1, 2048]);
  });

  test('no input is lost between a refused write and onRoom', () => {
    write(FCR, 0x01);
    const data = Uint8Array.from({ length: 20_000 }, (_, i) => (i * 7) & 0xff);
    let offset = uart.receive(data);
    uart.onRoom = () => {
      offset += uart.receive(data.subarray(offset));
    };
    const got: number[] = [];
    while ((read(LSR) & 1) !== 0) got.push(read(DATA));
    expect(got).toEqual([...data]);
    expect(uart.bytesReceived).toBe(20_000);
  });

  test('a break arrives as a zero byte with BI at its turn, and raises the line status interrupt', () => {
    write(FCR, 0x01);
    write(IER, 0x05);
    uart.receive(text('a'));
    uart.sendBreak();
    expect(read(LSR)).toBe(0xe1); // an error somewhere in the FIFO, not at its top
    expect(read(DATA)).toBe(0x61);
    expect([read(IIR), read(LSR), read(DATA), read(LSR)]).toEqual([0xc6, 0xf1, 0, 0x60]);
  });

  test('FCR clears the FIFO', () => {
    write(FCR, 0x01);
    uart.receive(text('abc'));
    write(FCR, 0x03);
    expect(read(LSR)).toBe(0x60);
    uart.receive(text('de'));
    write(FCR, 0x00);
    expect(read(LSR)).toBe(0x60);
  });
});

describe('loopback', () => {
  test('modem control appears in modem status, as Linux probes it', () => {
    write(MCR, 0x1a);
    expect(read(MSR) & 0xf0).toBe(MODEM_DCD | MODEM_CTS);
    write(MCR, 0x00);
    expect(read(MSR) & 0xf0).toBe(MODEM_DCD | MODEM_DSR | MODEM_CTS);
  });

  test('what is sent comes back and does not leave; the FIFO overruns at 17', () => {
    write(FCR, 0x01);
    write(MCR, 0x10);
    uart.receive(text('outside'));
    for (let i = 0; i < 17; i++) write(DATA, i);
    expect(read(LSR)).toBe(0x63);
    expect(read(LSR)).toBe(0x61);
    for (let i = 0; i < 16; i++) expect(read(DATA)).toBe(i);
    expect(read(LSR)).toBe(0x60);
    write(MCR, 0x00);
    expect(read(DATA)).toBe(0x6f);
    uart.flush();
    expect(sent).toEqual([]);
  });

  test('without FIFO an overrun keeps the newer byte', () => {
    write(MCR, 0x10);
    write(DATA, 1);
    write(DATA, 2);
    expect([read(LSR), read(DATA)]).toEqual([0x63, 2]);
  });
});

describe('modem status', () => {
  test('deltas, the trailing edge of RI, and their interrupt', () => {
    write(IER, 0x08);
    uart.setModemInputs(MODEM_DSR | MODEM_DCD | MODEM_RI);
    expect([irq.level, read(IIR)]).toEqual([true, 0x00]);
    expect(read(MSR)).toBe(MODEM_DSR | MODEM_DCD | MODEM_RI | 0x01);
    expect(irq.level).toBe(false);
    uart.setModemInputs(MODEM_DSR | MODEM_DCD);
    expect(read(MSR)).toBe(MODEM_DSR | MODEM_DCD | 0x04);
    expect(read(MSR)).toBe(MODEM_DSR | MODEM_DCD);
  });

  test('priorities: line status, received, THR empty, modem', () => {
    write(FCR, 0x01);
    uart.sendBreak();
    uart.setModemInputs(0);
    write(IER, 0x0f);
    expect(read(IIR)).toBe(0xc6);
    read(LSR);
    expect(read(IIR)).toBe(0xc4);
    read(DATA);
    expect(read(IIR)).toBe(0xc2);
    expect(read(IIR)).toBe(0xc0);
    read(MSR);
    expect([read(IIR), irq.level]).toEqual([0xc1, false]);
  });
});

describe('state', () => {
  test('a pending timeout survives save and load into another device', () => {
    write(FCR, 0xc1);
    write(IER, 0x01);
    uart.receive(text('q'));
    const saved = uart.save();
    const otherIrq = new TestLine();
    const other = new Serial16550({ irq: otherIrq, clock, sink: () => {} });
    other.load(saved);
    clock.advance(TIMEOUT);
    expect([otherIrq.level, other.read(IIR, 1), other.read(DATA, 1)]).toEqual([true, 0xcc, 0x71]);
  });

  test('reset keeps the far side: its input and its modem lines', () => {
    uart.setModemInputs(MODEM_DSR);
    write(IER, 0x0f);
    uart.receive(text('ab'));
    uart.reset();
    expect([read(IER), read(MSR), irq.level]).toEqual([0, MODEM_DSR, false]);
    expect(read(DATA)).toBe(0x62);
  });

  test('100,000 random accesses', () => {
    const random = text('robust');
    hammer(uart, clock, [0, 1, 2, 3, 4, 5, 6, 7], {
      also: (r) => {
        if (r() % 16 === 0) uart.receive(random);
        if (r() % 64 === 0) uart.sendBreak();
      },
    });
  });
});
