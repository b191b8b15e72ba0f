import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { MmioBus, PortBus } from '../../../../src/devices/bus.ts';
import type { Device } from '../../../../src/devices/device.ts';
import { assignBars } from '../../../../src/devices/pci/assign.ts';
import { PciBus } from '../../../../src/devices/pci/bus.ts';
import { PciFunction } from '../../../../src/devices/pci/function.ts';
import { createHostBridge, PciConfigPorts } from '../../../../src/devices/pci/host-bridge.ts';
import { MsixTable } from '../../../../src/devices/pci/msix.ts';

const COMMAND = 4;
const IO = 1;
const MEMORY = 2;
const BAR0 = 0x10;
const BAR1 = 0x14;

/** Answers every read with its own number and remembers the last write. */
class Probe implements Device {
  readonly name = 'probe';
  readonly answer: number;
  last: [number, number, number] | undefined;

  constructor(answer: number) {
    this.answer = answer;
  }

  read(): number {
    return this.answer;
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    this.last = [offset, width, value];
  }

  reset(): void {}
}

let ports: PortBus;
let mmio: MmioBus;
let bus: PciBus;
let config: PciConfigPorts;
let resets: number;
let lines: Map<number, boolean>;

function createCard(answer = 0x11, ioSize = 32, memorySize = 0x1000): PciFunction {
  const card = new PciFunction(`card-${answer}`, {
    vendor: 0x1234,
    device: 0x5678,
    revision: 9,
    classCode: 0x020304,
    subsystemVendor: 0xaaaa,
    subsystem: 0xbbbb,
    pin: 1,
  });
  card.addBar({ index: 0, kind: 'io', size: ioSize, target: new Probe(answer) });
  card.addBar({ index: 1, kind: 'memory', size: memorySize, target: new Probe(answer + 1) });
  return card;
}

const select = (slot: number, offset: number, extra = 0): void =>
  ports.write(0xcf8, 4, (0x8000_0000 | (slot << 11) | (offset & 0xfc) | extra) >>> 0);

function read(slot: number, offset: number, width: 1 | 2 | 4): number {
  select(slot, offset);
  return ports.read(0xcfc + (offset & 3), width);
}

function write(slot: number, offset: number, width: 1 | 2 | 4, value: number): void {
  select(slot, offset);
  ports.write(0xcfc + (offset & 3), width, value);
}

beforeEach(() => {
  ports = new PortBus();
  mmio = new MmioBus();
  lines = new Map();
  resets = 0;
  bus = new PciBus(
    { ports, mmio },
    { irq: (slot, pin) => 10 + ((slot + pin) % 2), line: (irq) => ({ set: (level) => lines.set(irq, level) }) },
  );
  config = new PciConfigPorts(bus, () => resets++);
  ports.register(config, 0xcf8, 8);
  bus.add(createHostBridge());
});

describe('configuration mechanism 1', () => {
  test('Linux finds it: a dword at 0xcf8 reads back, and slot 0 is a host bridge', () => {
    ports.write(0xcfb, 1, 1);
    const before = ports.read(0xcf8, 4);
    ports.write(0xcf8, 4, 0x8000_0000);
    expect(ports.read(0xcf8, 4)).toBe(0x8000_0000);
    ports.write(0xcf8, 4, before);
    expect(read(0, 0, 4)).toBe(0x1237_8086);
    expect(read(0, 0x0a, 2)).toBe(0x0600);
  });

  test('bytes, words and dwords at 0xcfc to 0xcff', () => {
    bus.add(createCard());
    expect(read(1, 0, 4)).toBe(0x5678_1234);
    expect([0, 1, 2, 3].map((i) => read(1, i, 1))).toEqual([0x34, 0x12, 0x78, 0x56]);
    expect([0, 2].map((i) => read(1, i, 2))).toEqual([0x1234, 0x5678]);
    expect(read(1, 8, 4)).toBe(0x02030409);
    expect(read(1, 0x2c, 4)).toBe(0xbbbb_aaaa);
    write(1, 0x3c, 1, 0x5a);
    write(1, COMMAND, 2, 0xffff);
    expect(read(1, 0x3c, 2)).toBe(0x015a);
    expect(read(1, COMMAND, 2)).toBe(0x407);
  });

  test('empty slots, other buses and functions, and a disabled address read all ones', () => {
    bus.add(createCard());
    expect(read(2, 0, 4)).toBe(0xffff_ffff);
    expect(read(2, 0, 2)).toBe(0xffff);
    expect(read(2, 1, 1)).toBe(0xff);
    for (const extra of [0x100, 0x700, 0x1_0000, 0xff_0000]) {
      select(1, 0, extra);
      expect(ports.read(0xcfc, 4)).toBe(0xffff_ffff);
      ports.write(0xcfc, 4, 0);
    }
    ports.write(0xcf8, 4, 1 << 11);
    expect(ports.read(0xcfc, 4)).toBe(0xffff_ffff);
  });

  test('read-only registers stay', () => {
    bus.add(createCard());
    const before = Array.from({ length: 64 }, (_, i) => read(1, 4 * i, 4));
    for (let i = 0; i < 64; i++)
      if (i !== 1 && i !== 4 && i !== 5 && i !== 3 && i !== 15) write(1, 4 * i, 4, 0xffff_ffff);
    expect(Array.from({ length: 64 }, (_, i) => read(1, 4 * i, 4))).toEqual(before);
  });

  test('accesses that cross the data port do no harm', () => {
    bus.add(createCard());
    select(1, 0);
    expect(config.read(7, 2)).toBe(0xffff);
    config.write(6, 4, 0xffff_ffff);
    expect(read(1, COMMAND, 2)).toBe(0);
    expect(read(1, 0, 4)).toBe(0x5678_1234);
  });

  test('port 0xcf9 resets when bit 2 rises', () => {
    ports.write(0xcf9, 1, 2);
    expect(ports.read(0xcf9, 1)).toBe(2);
    expect(resets).toBe(0);
    ports.write(0xcf9, 1, 6);
    expect(resets).toBe(1);
    ports.write(0xcf8, 4, 0x8000_0e00);
    expect(resets).toBe(1);
  });
});

describe('base address registers', () => {
  beforeEach(() => {
    bus.add(createCard());
    assignBars(bus);
  });

  test('firmware’s assignment: aligned, apart, enabled, interrupt line written', () => {
    expect(read(1, BAR0, 4)).toBe(0xc001);
    expect(read(1, BAR1, 4)).toBe(0xe000_0000);
    expect(read(1, COMMAND, 2)).toBe(IO | MEMORY);
    expect(read(1, 0x3c, 1)).toBe(bus.irq(1));
    expect(ports.read(0xc01f, 1)).toBe(0x11);
    expect(ports.read(0xc020, 1)).toBe(0xff);
    expect(mmio.read(0xe000_0ffc, 4)).toBe(0x12);
  });

  test('sizing by all ones, decoders off as Linux does, then put back', () => {
    write(1, COMMAND, 2, 0);
    expect(ports.read(0xc000, 1)).toBe(0xff);
    for (const [bar, sizing] of [
      [BAR0, 0xffff_ffe1],
      [BAR1, 0xffff_f000],
      [0x18, 0],
    ] as const) {
      const before = read(1, bar, 4);
      write(1, bar, 4, 0xffff_ffff);
      expect(read(1, bar, 4)).toBe(sizing);
      write(1, bar, 4, before);
      expect(read(1, bar, 4)).toBe(before);
    }
    write(1, COMMAND, 2, IO | MEMORY);
    expect(ports.read(0xc000, 1)).toBe(0x11);
    expect(mmio.read(0xe000_0000, 1)).toBe(0x12);
  });

  test('V40 sized while enabled: nothing appears at the top of the address space', () => {
    write(1, BAR0, 4, 0xffff_ffff);
    write(1, BAR1, 4, 0xffff_ffff);
    expect(ports.read(0xffe0, 1)).toBe(0xff);
    expect(mmio.read(0xffff_f000, 4)).toBe(0xffff_ffff);
    expect(mmio.read(0xe000_0000, 4)).toBe(0xffff_ffff);
    write(1, BAR1, 4, 0xe000_0000);
    expect(mmio.read(0xe000_0000, 4)).toBe(0x12);
  });

  test('V40 moved while active: answers at the new place only, with offsets from there', () => {
    write(1, BAR1, 4, 0xf100_0000);
    expect(mmio.read(0xe000_0000, 4)).toBe(0xffff_ffff);
    expect(mmio.read(0xf100_0ffc, 4)).toBe(0x12);
    mmio.write(0xf100_0010, 2, 77);
    const probe = bus.at(1)!.bars[1]!.target as Probe;
    expect(probe.last).toEqual([0x10, 2, 77]);
    write(1, BAR0, 4, 0xd000);
    expect([ports.read(0xc000, 1), ports.read(0xd000, 1)]).toEqual([0xff, 0x11]);
  });

  test('V40 on top of another BAR: the earlier card answers, and the other again when it has gone', () => {
    bus.add(createCard(0x21));
    assignBars(bus);
    const second = read(2, BAR1, 4);
    write(1, BAR1, 4, second);
    expect(mmio.read(second, 1)).toBe(0x12);
    write(1, BAR1, 4, 0xf000_0000);
    expect(mmio.read(second, 1)).toBe(0x22);
    expect(mmio.read(0xf000_0000, 1)).toBe(0x12);
  });

  test('V40 at 0, or turned off by the command register: unmapped', () => {
    write(1, BAR1, 4, 0);
    expect(mmio.read(0, 4)).toBe(0xffff_ffff);
    write(1, BAR1, 4, 0xe000_0000);
    write(1, COMMAND, 2, IO);
    expect(mmio.read(0xe000_0000, 4)).toBe(0xffff_ffff);
    expect(ports.read(0xc000, 1)).toBe(0x11);
    write(1, COMMAND, 2, MEMORY);
    expect(ports.read(0xc000, 1)).toBe(0xff);
    expect(mmio.read(0xe000_0000, 4)).toBe(0x12);
  });

  test('V40 any sequence of writes: no exception, at most one place per BAR', () => {
    const step = fc.tuple(
      fc.constantFrom(COMMAND, COMMAND + 1, BAR0, BAR0 + 1, BAR1, BAR1 + 3, 0x18),
      fc.constantFrom<1 | 2 | 4>(1, 2, 4),
      fc.oneof(
        fc.nat(0xffff),
        fc.integer({ min: 0, max: 0xffff_ffff }),
        fc.constantFrom(0xffff_ffff, 0xc001, 0xe000_0000),
      ),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        for (const [offset, width, value] of steps) write(1, offset, width, value);
        const command = read(1, COMMAND, 2);
        const io = read(1, BAR0, 4) - 1;
        const memory = read(1, BAR1, 4);
        const ioOpen = (command & IO) !== 0 && io !== 0 && io + 32 <= 0xffff;
        const memoryOpen = (command & MEMORY) !== 0 && memory !== 0 && memory + 0x1000 <= 0xffff_ffff;
        const bases = (kind: PortBus | MmioBus, probe: Device) =>
          kind.mappings.filter(({ device }) => device === probe).map(({ base }) => base);
        const [ioBar, memoryBar] = bus.at(1)!.bars;
        expect(bases(ports, ioBar!.target)).toEqual([ioOpen ? io : undefined]);
        expect(bases(mmio, memoryBar!.target)).toEqual([memoryOpen ? memory : undefined]);
      }),
    );
  });

  test('many cards: no two windows overlap', () => {
    for (let i = 0; i < 20; i++) bus.add(createCard(i * 4, 16 << (i % 4), 0x1000 << (i % 5)));
    assignBars(bus);
    for (const space of [ports, mmio]) {
      const open = space.mappings
        .filter(({ base }) => base !== undefined)
        .map(({ base, length }) => [base!, base! + length] as const)
        .sort((a, b) => a[0] - b[0]);
      for (let i = 1; i < open.length; i++) expect(open[i]![0]).toBeGreaterThanOrEqual(open[i - 1]![1]);
      for (const [base, end] of open) if (base >= 0xc000) expect(base % (end - base)).toBe(0);
    }
  });

  test('too many windows: an error that names the card', () => {
    bus.add(createCard(0x31, 256, 0x1000_0000));
    expect(() => assignBars(bus)).toThrow(/card-49: no memory space left for BAR 1/);
  });
});

describe('interrupt pins', () => {
  test('functions that share an input are ORed', () => {
    const [a, b, other] = [createCard(1), createCard(2), createCard(3)];
    bus.add(a!, 3);
    bus.add(other!, 4);
    bus.add(b!, 5);
    const irq = bus.irq(3)!;
    expect(bus.irq(5)).toBe(irq);
    expect(bus.irq(4)).not.toBe(irq);
    a!.setIntx(true);
    b!.setIntx(true);
    expect(lines.get(irq)).toBe(true);
    a!.setIntx(false);
    expect(lines.get(irq)).toBe(true);
    write(5, COMMAND, 2, 0x400);
    expect(lines.get(irq)).toBe(false);
    write(5, COMMAND, 2, 0);
    expect(lines.get(irq)).toBe(true);
    expect(read(5, 6, 2) & 8).toBe(8);
    bus.reset();
    expect(lines.get(irq)).toBe(false);
    expect(lines.get(bus.irq(4)!) ?? false).toBe(false);
  });

  test('a function without a pin has no interrupt', () => {
    expect(bus.irq(0)).toBeUndefined();
    bus.at(0)!.setIntx(true);
    expect(lines.size).toBe(0);
  });
});

describe('slots', () => {
  test('a filled or missing slot is refused', () => {
    expect(() => bus.add(createCard(), 0)).toThrow(/no free PCI slot 0/);
    expect(() => bus.add(createCard(), 32)).toThrow(RangeError);
    for (let i = 1; i < 32; i++) expect(bus.add(createCard())).toBe(i);
    expect(() => bus.add(createCard())).toThrow(/no free PCI slot/);
  });
});

describe('capabilities', () => {
  test('are linked, and a list too long for the space is refused', () => {
    const card = createCard();
    const first = card.addCapability(9, Uint8Array.of(1, 2, 3));
    const second = card.addCapability(5, new Uint8Array(10), Uint8Array.of(0xff));
    expect([first, second]).toEqual([0x40, 0x48]);
    expect(card.readConfig(0x34, 1)).toBe(first);
    expect(card.readConfig(first, 4)).toBe(0x0201_4809);
    expect(card.readConfig(second, 2)).toBe(5);
    expect(card.readConfig(6, 2) & 0x10).toBe(0x10);
    card.writeConfig(second, 4, 0xffff_ffff);
    expect(card.readConfig(second, 4)).toBe(0x00ff_0005);
    expect(() => card.addCapability(9, new Uint8Array(200))).toThrow(RangeError);
  });

  test('MSI-X describes its table', () => {
    const card = new PciFunction('msix', { vendor: 1, device: 2, revision: 0, classCode: 0 });
    const table = card.addMsix(2, 5, () => {});
    expect(table.size).toBe(0x1000);
    expect(card.readConfig(0x42, 2)).toBe(4);
    expect(card.readConfig(0x44, 4)).toBe(2);
    expect(card.readConfig(0x48, 4)).toBe(0x802);
    card.writeConfig(0x42, 2, 0xffff);
    expect(card.readConfig(0x42, 2)).toBe(0xc004);
    expect(table.enabled).toBe(true);
  });
});

describe('MSI-X table', () => {
  const sent: [number, number][] = [];
  let table: MsixTable;

  beforeEach(() => {
    sent.length = 0;
    table = new MsixTable('msix', 70, (address, data) => sent.push([address, data]));
  });

  test('vectors start masked; addresses have 64 bits', () => {
    table.control = 0x8000;
    table.write(16 * 65, 4, 0xfee0_1000);
    table.write(16 * 65 + 4, 4, 3);
    table.write(16 * 65 + 8, 4, 0x99);
    table.trigger(65);
    expect(sent).toEqual([]);
    expect(table.read(table.pendingOffset + 8, 4)).toBe(2);
    expect(table.read(table.pendingOffset + 8, 1)).toBe(2);
    table.write(16 * 65 + 12, 4, 0);
    expect(sent).toEqual([[0x3_fee0_1000, 0x99]]);
    table.trigger(65);
    expect(sent).toHaveLength(2);
  });

  test('disabled, or a vector that does not exist: nothing', () => {
    table.write(12, 4, 0);
    table.trigger(0);
    table.control = 0x8000;
    table.trigger(70);
    table.trigger(0xffff);
    expect(sent).toEqual([]);
  });

  test('only aligned dwords are taken; reserved bits and pending bits stay 0', () => {
    table.write(0, 2, 0x1234);
    table.write(2, 4, 0xffff_ffff);
    table.write(12, 4, 0xffff_ffff);
    table.write(table.pendingOffset, 4, 0xffff_ffff);
    table.write(16 * 70, 4, 0xffff_ffff);
    expect([0, 4, 8, 12, 16 * 70, table.pendingOffset].map((at) => table.read(at, 4))).toEqual([0, 0, 0, 1, 0, 0]);
    expect(table.read(table.size + 64, 4)).toBe(0);
  });

  test('a saved table goes on with its pending bits', () => {
    table.control = 0x8000;
    table.trigger(3);
    const other = new MsixTable('msix', 70, (address, data) => sent.push([address, data]));
    other.load(structuredClone(table.save()), 0x8000);
    expect(other.save()).toEqual(table.save());
    expect(sent).toEqual([]);
    other.write(16 * 3 + 12, 4, 0);
    expect(sent).toHaveLength(1);
  });
});

test('the configuration ports’ state is saved', () => {
  ports.write(0xcf8, 4, 0x8000_0808);
  const other = new PciConfigPorts(bus, () => {});
  other.load(structuredClone(config.save()));
  expect(other.read(0, 4)).toBe(0x8000_0808);
  config.reset();
  expect(config.read(0, 4)).toBe(0);
});
