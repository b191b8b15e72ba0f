import { describe, expect, test } from 'vitest';
import { MmioBus, PortBus } from '../../../src/devices/bus.ts';
import type { Device } from '../../../src/devices/device.ts';

/** Answers each read with its offset in every byte's low nibble, and keeps what was written. */
class Probe implements Device {
  readonly name = 'probe';
  readonly byteWide: boolean;
  readonly log: string[] = [];

  constructor(byteWide = false) {
    this.byteWide = byteWide;
  }

  read(offset: number, width: 1 | 2 | 4): number {
    this.log.push(`r${width}@${offset}`);
    let value = 0;
    for (let i = 0; i < width; i++) value |= (0x10 + offset + i) << (8 * i);
    return value >>> 0;
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    this.log.push(`w${width}@${offset}=${value.toString(16)}`);
  }

  reset(): void {}
}

describe('PortBus', () => {
  test('unassigned ports read as all ones and swallow writes', () => {
    const bus = new PortBus();
    expect([bus.read(0x1234, 1), bus.read(0x1234, 2), bus.read(0x1234, 4)]).toEqual([0xff, 0xffff, 0xffffffff]);
    expect(bus.read(0xffff, 4)).toBe(0xffffffff);
    bus.write(0xffff, 4, 0x12345678);
    expect([bus.reads[0x1234], bus.reads[0xffff], bus.writes[0xffff]]).toEqual([3, 1, 1]);
  });

  test('a device sees offsets from its first port, and a second range from its own first offset', () => {
    const bus = new PortBus();
    const probe = new Probe();
    bus.register(probe, 0x20, 2);
    bus.register(probe, 0xa0, 2, 2);
    expect([bus.read(0x21, 1), bus.read(0xa0, 1), bus.read(0xa0, 2)]).toEqual([0x11, 0x12, 0x1312]);
    bus.write(0xa1, 1, 0x1ff);
    expect(probe.log.at(-1)).toBe('w1@3=ff');
  });

  test('an access that straddles the end of a range is split into bytes', () => {
    const bus = new PortBus();
    const probe = new Probe();
    bus.register(probe, 0x60, 1);
    bus.register(probe, 0x62, 1, 8);
    expect(bus.read(0x60, 4)).toBe(0xff18ff10);
    expect(bus.read(0x5f, 2)).toBe(0x10ff);
    bus.write(0x5f, 4, 0xaabbccdd);
    expect(probe.log.filter((l) => l.startsWith('w'))).toEqual(['w1@0=cc', 'w1@8=aa']);
  });

  test('the bus splits wide accesses for a byte-wide device', () => {
    const bus = new PortBus();
    const probe = new Probe(true);
    bus.register(probe, 0x3f8, 8);
    expect(bus.read(0x3f8, 4)).toBe(0x13121110);
    bus.write(0x3f8, 2, 0xbeef);
    expect(probe.log.slice(-2)).toEqual(['w1@0=ef', 'w1@1=be']);
  });

  test('the mapping registered first wins a byte, and a wide access goes whole to the one that starts it', () => {
    const bus = new PortBus();
    const reset = new Probe();
    const pci = new Probe();
    bus.register(reset, 0xcf9, 1);
    bus.register(pci, 0xcf8, 8);
    bus.write(0xcf9, 1, 6);
    bus.write(0xcf8, 4, 0x80000000);
    bus.write(0xcfb, 1, 1);
    expect(reset.log).toEqual(['w1@0=6']);
    expect(pci.log).toEqual(['w4@0=80000000', 'w1@3=1']);
  });

  test('a mapping moves, goes and comes back', () => {
    const bus = new PortBus();
    const mapping = bus.register(new Probe(), undefined, 4);
    expect(bus.read(0xc000, 1)).toBe(0xff);
    mapping.map(0xc000);
    expect(bus.read(0xc001, 1)).toBe(0x11);
    mapping.map(0xd000);
    expect([bus.read(0xc001, 1), bus.read(0xd001, 1), mapping.base]).toEqual([0xff, 0x11, 0xd000]);
    mapping.unmap();
    expect([bus.read(0xd001, 1), mapping.base]).toEqual([0xff, undefined]);
    mapping.map(0xfffe);
    expect(mapping.base).toBeUndefined();
    expect([mapping.reads, mapping.writes]).toEqual([2, 0]);
  });

  test('refuses a 256th mapping while the machine is built', () => {
    const bus = new PortBus();
    for (let i = 0; i < 255; i++) bus.register(new Probe(), i, 1);
    expect(() => bus.register(new Probe(), 0x1000, 1)).toThrow(RangeError);
  });
});

describe('MmioBus', () => {
  test('finds the right device among many, and reads all ones between them', () => {
    const bus = new MmioBus();
    const probes = Array.from({ length: 20 }, () => new Probe());
    probes.forEach((p, i) => {
      bus.register(p, 0xfe000000 + ((i * 7) % 20) * 0x1000, 0x800);
    });
    for (let slot = 0; slot < 20; slot++) {
      const before = probes.map((p) => p.log.length);
      expect(bus.read(0xfe000000 + slot * 0x1000 + 4, 4)).toBe(0x17161514);
      const hit = probes.findIndex((p, i) => p.log.length !== before[i]);
      expect((hit * 7) % 20).toBe(slot);
      expect(bus.read(0xfe000800 + slot * 0x1000, 4)).toBe(0xffffffff);
    }
    expect(bus.unassignedReads).toBe(20);
  });

  test('8-byte accesses are two of 4 bytes, low first', () => {
    const bus = new MmioBus();
    const probe = new Probe();
    bus.register(probe, 0xfed00000, 0x400);
    expect([bus.read64(0xfed00000), bus.high]).toEqual([0x13121110, 0x17161514]);
    bus.write64(0xfed00010, 1, 2);
    expect(probe.log).toEqual(['r4@0', 'r4@4', 'w4@16=1', 'w4@20=2']);
  });

  test('straddling accesses are split into bytes at the border', () => {
    const bus = new MmioBus();
    const probe = new Probe();
    bus.register(probe, 0x10_0000_0000, 4);
    expect(bus.read(0x10_0000_0002, 4)).toBe(0xffff1312);
    expect(bus.read(0xf_ffff_fffe, 4)).toBe(0x1110ffff);
    bus.write(0xf_ffff_ffff, 2, 0xabcd);
    expect(probe.log.at(-1)).toBe('w1@0=ab');
    bus.write(0x20_0000_0000, 4, 1);
    expect(bus.unassignedWrites).toBe(1);
  });

  test('a BAR moved over an earlier device cannot cover it', () => {
    const bus = new MmioBus();
    const apic = new Probe();
    const card = new Probe();
    bus.register(apic, 0xfee00000, 0x1000);
    const bar = bus.register(card, undefined, 0x4000);
    bar.map(0xfedff000);
    bus.read(0xfee00020, 4);
    bus.read(0xfedff000, 4);
    bus.read(0xfee01000, 4);
    expect(apic.log).toEqual(['r4@32']);
    expect(card.log).toEqual(['r4@0', 'r4@8192']);
    expect(bus.read(0xfedffffe, 4) >>> 16).toBe(0x1110);
    bar.map(2 ** 52);
    expect(bar.base).toBeUndefined();
    expect(bus.read(0xfedff000, 4)).toBe(0xffffffff);
  });
});
