import { beforeEach, describe, expect, test } from 'vitest';
import { type DriverRing, startDevice } from '../../../support/virtio-driver.ts';
import { EchoDevice, PciRig } from './rig.ts';

const DATA = 0x10_0000;
const NO_VECTOR = 0xffff;

let device: EchoDevice;
let rig: PciRig;

beforeEach(() => {
  device = new EchoDevice();
  rig = new PciRig(device);
});

function request(ring: DriverRing): void {
  ring.add({ address: DATA, length: 4 }, { address: DATA + 16, length: 4, writable: true });
}

describe('identity', () => {
  test.each([
    ['transitional', 0x1005, 0, 4],
    ['legacy', 0x1005, 0, 4],
    ['modern', 0x1044, 1, 0x1100],
  ] as const)('%s ids', (mode, id, revision, subsystem) => {
    rig = new PciRig(new EchoDevice(), mode);
    expect(rig.readConfig(0, 4)).toBe(0x1af4 + id * 0x1_0000);
    expect(rig.readConfig(8, 1)).toBe(revision);
    expect(rig.readConfig(0x2c, 4)).toBe(0x1af4 + subsystem * 0x1_0000);
    expect(rig.capabilities(9)).toHaveLength(mode === 'legacy' ? 0 : 5);
    expect(rig.capabilities(0x11)).toHaveLength(1);
    expect(rig.readConfig(0x10, 4) & 1).toBe(mode === 'modern' ? 0 : 1);
    expect(rig.readConfig(0x3d, 1)).toBe(1);
    expect(rig.readConfig(0x3c, 1)).toBe(rig.bus.irq(rig.slot));
  });
});

describe('common configuration', () => {
  test('V38 a queue that does not exist has size 0 and ignores writes; features beyond word 1 are 0', () => {
    const driver = rig.modern();
    driver.setCommon(22, 2, 2);
    for (const [offset, width] of [
      [24, 2],
      [28, 2],
      [30, 2],
      [32, 4],
      [52, 4],
    ] as const) {
      driver.setCommon(offset, width, 1);
      expect(driver.common(offset, width)).toBe(0);
    }
    expect(driver.common(26, 2)).toBe(NO_VECTOR);
    for (const word of [2, 3, 0xffff_ffff]) {
      driver.setCommon(0, 4, word);
      expect(driver.common(4, 4)).toBe(0);
      driver.setCommon(8, 4, word);
      driver.setCommon(12, 4, 0xffff_ffff);
      expect(driver.common(12, 4)).toBe(0);
    }
  });

  test('V38 the registers of a queue read back as written', () => {
    const driver = rig.modern();
    driver.setCommon(22, 2, 1);
    expect(driver.common(18, 2)).toBe(2);
    expect(driver.common(24, 2)).toBe(16);
    for (let offset = 32; offset < 56; offset += 4) driver.setCommon(offset, 4, 0x8000_0000 + offset);
    for (let offset = 32; offset < 56; offset += 4) expect(driver.common(offset, 4)).toBe(0x8000_0000 + offset);
    driver.setCommon(24, 2, 8);
    expect(driver.common(24, 2)).toBe(8);
    driver.setCommon(22, 2, 0);
    expect(driver.common(24, 2)).toBe(16);
    expect(driver.common(32, 4)).toBe(0);
  });

  test('size and address of an enabled queue stay', () => {
    const driver = rig.modern();
    const ring = startDevice(driver, rig.memory)[1]!;
    driver.setCommon(22, 2, 1);
    driver.setCommon(24, 2, 4);
    driver.setCommon(32, 4, 0xdead_0000);
    driver.setCommon(28, 2, 0);
    expect([driver.common(24, 2), driver.common(32, 4), driver.common(28, 2)]).toEqual([16, ring.descriptors, 1]);
  });

  test.each([0, 3, 32])('V01 queue_enable with size %i is refused and no kick is served', (size) => {
    const driver = rig.modern();
    driver.writeStatus(3);
    driver.writeFeatures(driver.deviceFeatures());
    driver.writeStatus(11);
    driver.setCommon(22, 2, 0);
    driver.setCommon(24, 2, size);
    [0x1000, 0x2000, 0x3000].forEach((address, i) => {
      driver.setCommon(32 + 8 * i, 4, address);
    });
    driver.setCommon(28, 2, 1);
    expect(driver.common(28, 2)).toBe(0);
    driver.writeStatus(15);
    driver.kick(0);
    expect(device.served).toBe(0);
  });

  test('the configuration generation counts changes', () => {
    const driver = rig.modern();
    const before = driver.common(21, 1);
    device.host.configChanged();
    expect(driver.common(21, 1)).toBe((before + 1) & 0xff);
  });
});

describe('interrupts', () => {
  test('INTx: raised by a queue, lowered by reading the ISR, gated by the command register', () => {
    const driver = rig.modern();
    const ring = startDevice(driver, rig.memory)[0]!;
    request(ring);
    driver.kick(0);
    expect(rig.line).toBe(true);
    expect(rig.readConfig(6, 2) & 8).toBe(8);
    rig.writeConfig(4, 2, 0x403);
    expect(rig.line).toBe(false);
    expect(rig.readConfig(6, 2) & 8).toBe(8);
    rig.writeConfig(4, 2, 3);
    expect(rig.line).toBe(true);
    expect(driver.takeInterruptStatus()).toBe(1);
    expect(rig.line).toBe(false);
    expect(rig.readConfig(6, 2) & 8).toBe(0);
  });

  test('MSI-X: a vector for each queue and one for the configuration, no INTx and no ISR', () => {
    const driver = rig.modern();
    rig.enableMsix(3);
    driver.setCommon(16, 2, 2);
    const rings = startDevice(driver, rig.memory, { vectors: [0, 1] });
    driver.setCommon(16, 2, 2);
    for (const [index, ring] of rings.entries()) {
      request(ring);
      driver.kick(index);
    }
    device.host.configChanged();
    expect(rig.messages).toEqual([0x40, 0x41, 0x42].map((data) => ({ address: 0xfee0_0000, data })));
    expect(rig.line).toBe(false);
    expect(driver.takeInterruptStatus()).toBe(0);
  });

  test('V39 a vector out of range reads back as NO_VECTOR', () => {
    const driver = rig.modern();
    driver.setCommon(22, 2, 0);
    for (const [value, expected] of [
      [2, 2],
      [3, NO_VECTOR],
      [0x7fff, NO_VECTOR],
      [0, 0],
      [0xffff, NO_VECTOR],
    ] as const) {
      driver.setCommon(26, 2, value);
      driver.setCommon(16, 2, value);
      expect(driver.common(26, 2)).toBe(expected);
      expect(driver.common(16, 2)).toBe(expected);
    }
    rig.enableMsix(3);
    const legacy = rig.window(rig.ports, rig.barBase(0));
    legacy.write(22, 2, 9);
    expect(legacy.read(22, 2)).toBe(NO_VECTOR);
    legacy.write(22, 2, 1);
    expect(legacy.read(22, 2)).toBe(1);
  });

  test('a queue without a vector stays silent under MSI-X', () => {
    const driver = rig.modern();
    rig.enableMsix(3);
    const ring = startDevice(driver, rig.memory)[0]!;
    request(ring);
    driver.kick(0);
    expect(rig.messages).toEqual([]);
    expect(rig.line).toBe(false);
  });

  test('a masked vector is pending and comes with unmasking', () => {
    const driver = rig.modern();
    const table = rig.enableMsix(3);
    const rings = startDevice(driver, rig.memory, { vectors: [0, 1] });
    table.write(12, 4, 1);
    request(rings[0]!);
    driver.kick(0);
    expect(rig.messages).toEqual([]);
    expect(table.read(0x800, 4)).toBe(1);
    table.write(12, 4, 0);
    expect(rig.messages).toEqual([{ address: 0xfee0_0000, data: 0x40 }]);
    expect(table.read(0x800, 4)).toBe(0);
  });

  test('the function mask holds everything back', () => {
    const driver = rig.modern();
    rig.enableMsix(3);
    const control = rig.capabilities(0x11)[0]! + 2;
    const rings = startDevice(driver, rig.memory, { vectors: [0, 1] });
    rig.writeConfig(control, 2, 0xc000);
    for (const [index, ring] of rings.entries()) {
      request(ring);
      driver.kick(index);
    }
    expect(rig.messages).toEqual([]);
    rig.writeConfig(control, 2, 0x8000);
    expect(rig.messages.map(({ data }) => data)).toEqual([0x40, 0x41]);
  });
});

describe('legacy interface', () => {
  test('the queue address is a page number and the size cannot be changed', () => {
    const bar = rig.window(rig.ports, rig.barBase(0));
    bar.write(14, 2, 0);
    bar.write(12, 2, 4);
    expect(bar.read(12, 2)).toBe(16);
    bar.write(8, 4, 0x123);
    expect(bar.read(8, 4)).toBe(0x123);
    expect(device.host.queues[0]!.ready).toBe(true);
    bar.write(8, 4, 0);
    expect(bar.read(8, 4)).toBe(0);
    expect(device.host.queues[0]!.ready).toBe(false);
    bar.write(8, 4, 0xffff_ffff);
    expect(bar.read(8, 4)).toBe(0);
  });

  test('the device configuration moves by four bytes when MSI-X is on', () => {
    const bar = rig.window(rig.ports, rig.barBase(0));
    expect(bar.read(20, 4)).toBe(0x04030201);
    rig.enableMsix(3);
    expect(bar.read(20, 2)).toBe(NO_VECTOR);
    expect(bar.read(24, 4)).toBe(0x04030201);
  });

  test('with MSI-X', () => {
    const driver = rig.legacy();
    rig.enableMsix(3);
    driver.configOffset = 24;
    const rings = startDevice(driver, rig.memory, { vectors: [2, 1] });
    request(rings[0]!);
    driver.kick(0);
    expect(rig.messages).toEqual([{ address: 0xfee0_0000, data: 0x42 }]);
  });
});

describe('PCI configuration access capability', () => {
  function access(bar: number, offset: number, length: number): number {
    const at = rig.capabilities(9).find((capability) => rig.readConfig(capability + 3, 1) === 5)!;
    rig.writeConfig(at + 4, 1, bar);
    rig.writeConfig(at + 8, 4, offset);
    rig.writeConfig(at + 12, 4, length);
    return at + 16;
  }

  test('reads and writes registers without any BAR enabled', () => {
    rig.writeConfig(4, 2, 0);
    expect(rig.readConfig(access(4, 18, 2), 2)).toBe(2);
    const data = access(4, 20, 1);
    rig.writeConfig(data, 1, 3);
    expect(rig.readConfig(data, 1)).toBe(3);
    expect(rig.readConfig(access(4, 0x2000, 4), 4)).toBe(0x04030201);
    expect(device.host.queues).toHaveLength(2);
  });

  test('nonsense is ignored', () => {
    for (const [bar, offset, length] of [
      [4, 0x3fff, 2],
      [4, 0x4000, 4],
      [4, 0xffff_fffc, 4],
      [4, 1, 4],
      [4, 0, 3],
      [4, 0, 0],
      [1, 0, 4],
      [9, 0, 4],
    ] as const) {
      const data = access(bar, offset, length);
      rig.writeConfig(data, 4, 0xffff_ffff);
      rig.readConfig(data, 4);
    }
    expect(rig.modern().readStatus()).toBe(0);
  });
});

describe('state', () => {
  test('a saved device goes on with rings, vectors, masks and BARs', () => {
    const driver = rig.modern();
    rig.enableMsix(3);
    const rings = startDevice(driver, rig.memory, { vectors: [0, 1] });
    rig.writeConfig(0x20, 4, 0xe800_0000);
    const saved = structuredClone(rig.bus.save());
    const other = new EchoDevice();
    rig = new PciRig(other, 'transitional', rig.memory);
    rig.bus.load(saved);
    expect(rig.bus.save()).toEqual(saved);
    expect(rig.barBase(4)).toBe(0xe800_0000);
    request(rings[1]!);
    rig.modern().kick(1);
    expect(rig.messages).toEqual([{ address: 0xfee0_0000, data: 0x41 }]);
    expect(rings[1]!.collect()).toEqual([{ head: expect.any(Number), length: 4 }]);
  });

  test('the interrupt line comes back as it was', () => {
    const driver = rig.modern();
    const ring = startDevice(driver, rig.memory)[0]!;
    request(ring);
    driver.kick(0);
    const saved = rig.bus.save();
    rig = new PciRig(new EchoDevice(), 'transitional', rig.memory);
    rig.bus.load(saved);
    expect(rig.line).toBe(true);
    expect(rig.modern().takeInterruptStatus()).toBe(1);
    expect(rig.line).toBe(false);
  });

  test('a state of another device is refused', () => {
    const saved = rig.bus.save();
    const [, card] = saved;
    const own = card![1].own as { registers: number[] };
    expect(() => rig.bus.load([saved[0]!])).toThrow(RangeError);
    expect(() => rig.bus.load([saved[0]!, [1, { ...card![1], own: { ...own, registers: [1] } }]])).toThrow(RangeError);
  });

  test('a machine reset puts everything back to power-on', () => {
    const driver = rig.modern();
    const fresh = new PciRig(new EchoDevice());
    startDevice(driver, rig.memory, { vectors: [0, 1] });
    rig.enableMsix(3);
    rig.bus.reset();
    fresh.bus.reset();
    expect(rig.bus.save()).toEqual(fresh.bus.save());
    expect(device.resets).toBeGreaterThan(0);
    expect(rig.mmio.mappings.every(({ base }) => base === undefined)).toBe(true);
  });
});
