import { describe, expect, test } from 'vitest';
import { VirtioMmio } from '../../../../src/devices/virtio/mmio-transport.ts';
import {
  DriverRing,
  FEATURE_EVENT_INDEX,
  FEATURE_INDIRECT,
  FEATURE_VERSION_1,
  MmioDriver,
  startDevice,
  TestMemory,
  type TransportDriver,
} from '../../../support/virtio-driver.ts';
import { EchoDevice, PciRig } from './rig.ts';

const DATA = 0x10_0000;

interface Stage {
  device: EchoDevice;
  memory: TestMemory;
  driver: TransportDriver;
  /** Level of the interrupt line. */
  line(): boolean;
  save(): unknown;
}

function pciStage(mode: 'legacy' | 'transitional' | 'modern', half: 'legacy' | 'modern'): Stage {
  const device = new EchoDevice();
  const rig = new PciRig(device, mode);
  const driver = half === 'legacy' ? rig.legacy() : rig.modern();
  return { device, memory: rig.memory, driver, line: () => rig.line, save: () => rig.bus.save() };
}

function mmioStage(version: 1 | 2): Stage {
  const device = new EchoDevice();
  const memory = new TestMemory(0x40_0000);
  let level = false;
  const mmio = new VirtioMmio({ device, memory, irq: { set: (l) => (level = l) }, version });
  return { device, memory, driver: new MmioDriver(mmio), line: () => level, save: () => mmio.save() };
}

const STAGES: [string, () => Stage][] = [
  ['legacy PCI', () => pciStage('legacy', 'legacy')],
  ['transitional PCI, legacy half', () => pciStage('transitional', 'legacy')],
  ['transitional PCI, modern half', () => pciStage('transitional', 'modern')],
  ['modern PCI', () => pciStage('modern', 'modern')],
  ['MMIO version 2', () => mmioStage(2)],
  ['MMIO version 1', () => mmioStage(1)],
];

/** Offers an echo request and returns what the device wrote. */
function echo({ memory, driver }: Stage, ring: DriverRing, queue: number, text: string): string {
  const bytes = new TextEncoder().encode(text);
  memory.bytes.set(bytes, DATA);
  memory.bytes.fill(0, DATA + 0x1000, DATA + 0x2000);
  const old = ring.availIndex;
  ring.add({ address: DATA, length: bytes.length }, { address: DATA + 0x1000, length: 0x1000, writable: true });
  if (ring.needsKick(old)) driver.kick(queue);
  const used = ring.collect();
  expect(used).toHaveLength(1);
  return new TextDecoder().decode(memory.bytes.subarray(DATA + 0x1000, DATA + 0x1000 + used[0]!.length));
}

describe.each(STAGES)('%s', (_name, build) => {
  test.each([
    ['no extras', 0n],
    ['event index', FEATURE_EVENT_INDEX],
    ['indirect and event index', FEATURE_EVENT_INDEX | FEATURE_INDIRECT],
  ])('a driver initialises it and exchanges requests on both queues: %s', (_extras, wanted) => {
    const stage = build();
    const rings = startDevice(stage.driver, stage.memory, { wanted });
    expect(rings).toHaveLength(2);
    if ((wanted & FEATURE_INDIRECT) !== 0n) rings[1]!.indirectArea = 0x20_0000;
    expect(stage.device.activations).toBe(1);
    for (const [index, ring] of rings.entries()) {
      for (let i = 0; i < 40; i++) expect(echo(stage, ring, index, `request ${i}`)).toBe(`request ${i}`);
    }
    expect(stage.line()).toBe(true);
    expect(stage.driver.takeInterruptStatus()).toBe(1);
    expect(stage.line()).toBe(false);
    expect(stage.driver.takeInterruptStatus()).toBe(0);
    expect(stage.memory.guardIntact).toBe(true);
  });

  test('V05 a kick before the queue is set up is ignored; before DRIVER_OK only legacy drivers may', () => {
    const { driver, device, memory } = build();
    driver.kick(0);
    expect([device.served, device.activations]).toEqual([0, 0]);
    const isLegacy = (driver.deviceFeatures() & FEATURE_VERSION_1) === 0n;
    driver.writeStatus(3);
    driver.writeFeatures(isLegacy ? 0n : FEATURE_VERSION_1);
    if (!isLegacy) driver.writeStatus(11);
    const ring = startRing(driver, memory);
    ring.add({ address: DATA, length: 4 });
    driver.kick(0);
    expect(device.served).toBe(isLegacy ? 1 : 0);
    driver.writeStatus(isLegacy ? 7 : 15);
    driver.kick(0);
    expect(device.served).toBe(1);
  });

  test('V06 a kick for a queue that does not exist is ignored', () => {
    const { driver, device, memory } = build();
    startDevice(driver, memory);
    for (const index of [2, 16, 0xfffe, 0xffff]) driver.kick(index);
    expect(device.served).toBe(0);
  });

  test('V34 a reset clears queues, features, status and interrupt', () => {
    const stage = build();
    const { driver, memory } = stage;
    const rings = startDevice(driver, memory);
    echo(stage, rings[0]!, 0, 'x');
    expect(stage.line()).toBe(true);
    driver.writeStatus(0);
    expect(driver.readStatus()).toBe(0);
    expect(stage.line()).toBe(false);
    expect(driver.takeInterruptStatus()).toBe(0);
    const before = memory.bytes.slice();
    rings[0]!.setAvailIndex(rings[0]!.availIndex);
    driver.kick(0);
    expect(Buffer.compare(memory.bytes, before)).toBe(0);
    expect(stage.device.host.queues.some((queue) => queue.ready)).toBe(false);
    memory.bytes.fill(0);
    expect(echo(stage, startDevice(driver, memory)[0]!, 0, 'again')).toBe('again');
  });

  test('V35 features', () => {
    const { driver, device } = build();
    const offered = driver.deviceFeatures();
    expect(offered & FEATURE_INDIRECT).toBe(FEATURE_INDIRECT);
    driver.writeStatus(3);
    if ((offered & FEATURE_VERSION_1) === 0n) {
      driver.writeFeatures(0xffff_ffffn);
      expect([0, 1, 3, 31].map((feature) => device.host.has(feature))).toEqual([true, false, true, false]);
      return;
    }
    for (const unoffered of [5n, 40n]) {
      driver.writeFeatures(offered | (1n << unoffered));
      driver.writeStatus(11);
      expect(driver.readStatus()).toBe(3);
    }
    driver.writeFeatures(offered & ~FEATURE_VERSION_1);
    driver.writeStatus(11);
    expect(driver.readStatus()).toBe(3);
    driver.writeFeatures(offered);
    driver.writeStatus(11);
    expect(driver.readStatus()).toBe(11);
    driver.writeFeatures(0n);
    expect(device.host.has(0)).toBe(true);
  });

  test('V36 status bits in any order', () => {
    const { driver, device, memory } = build();
    const isLegacy = (driver.deviceFeatures() & FEATURE_VERSION_1) === 0n;
    driver.writeStatus(7);
    expect(device.host.live).toBe(isLegacy);
    driver.writeStatus(0);
    for (const status of [4, 8, 15, 64, 128, 255, 3, 1, 12]) driver.writeStatus(status);
    expect(device.host.live && !isLegacy).toBe(false);
    const ring = startDevice(driver, memory)[0]!;
    expect(device.host.live).toBe(true);
    driver.writeStatus(3);
    expect(device.host.live).toBe(false);
    ring.add({ address: DATA, length: 4 });
  });

  test('V37 configuration space: any width, beyond its end zero, read-only', () => {
    const { driver } = build();
    expect(driver.readConfig(0, 1)).toBe(1);
    expect(driver.readConfig(1, 2)).toBe(0x0302);
    expect(driver.readConfig(1, 4)).toBe(0x05040302);
    expect(driver.readConfig(4, 4)).toBe(0x0605);
    expect(driver.readConfig(6, 4)).toBe(0);
    expect(driver.readConfig(7, 1)).toBe(0);
    for (const offset of [0, 5, 6, 7]) driver.writeConfig(offset, 4, 0xffff_ffff);
    expect(driver.readConfig(0, 4)).toBe(0x04030201);
    expect(driver.readConfig(4, 4)).toBe(0x0605);
  });

  test('a broken ring: NEEDS_RESET and a configuration interrupt for a modern driver, silence for a legacy one', () => {
    const stage = build();
    const { driver, device, memory } = stage;
    const isLegacy = (driver.deviceFeatures() & FEATURE_VERSION_1) === 0n;
    const [first, second] = startDevice(driver, memory);
    first!.setAvailIndex(0x4000);
    driver.kick(0);
    expect(driver.readStatus() & 0x40).toBe(isLegacy ? 0 : 0x40);
    expect(driver.takeInterruptStatus()).toBe(isLegacy ? 0 : 2);
    second!.add({ address: DATA, length: 4 });
    driver.kick(1);
    expect(device.served).toBe(0);
    expect(device.host.live).toBe(false);
    memory.bytes.fill(0);
    expect(echo(stage, startDevice(driver, memory)[1]!, 1, 'alive')).toBe('alive');
  });

  test('a configuration change is announced', () => {
    const stage = build();
    startDevice(stage.driver, stage.memory);
    stage.device.host.configChanged();
    expect(stage.line()).toBe(true);
    expect(stage.driver.takeInterruptStatus()).toBe(2);
  });
});

/** Sets up queue 0 without touching the status. */
function startRing(driver: TransportDriver, memory: TestMemory): DriverRing {
  const size = driver.queueSize(0);
  const ring = new DriverRing(memory, 0x1000, size);
  driver.setupQueue(0, ring);
  return ring;
}

test('the legacy layout puts the used ring at the next multiple of the alignment', () => {
  const memory = new TestMemory(0x1_0000);
  const { core } = new VirtioMmio({ device: new EchoDevice(), memory, irq: { set: () => {} }, version: 1 });
  const queue = core.queues[0]!;
  for (const [align, used] of [
    [4096, 0x2000],
    [256, 0x1200],
    [4, 0x1128],
  ] as const) {
    expect(core.setLegacyQueue(queue, 0x1000, align)).toBe(true);
    // 16 descriptors of 16 bytes, then 6 + 2 * 16 bytes of available ring.
    expect([...queue.address]).toEqual([0x1000, 0, 0x1100, 0, used, 0]);
  }
});

describe('MMIO registers', () => {
  function setup(version: 1 | 2) {
    const lines: boolean[] = [];
    const device = new EchoDevice();
    const memory = new TestMemory(0x40_0000);
    const mmio = new VirtioMmio({ device, memory, irq: { set: (level) => lines.push(level) }, version });
    return { mmio, device, memory, lines, driver: new MmioDriver(mmio) };
  }

  test.each([1, 2] as const)('identity of version %i', (version) => {
    const { mmio } = setup(version);
    expect([0, 4, 8].map((offset) => mmio.read(offset, 4))).toEqual([0x7472_6976, version, 4]);
    expect(mmio.read(0xb0, 4)).toBe(0xffff_ffff);
    expect(mmio.read(0, 2)).toBe(0);
  });

  test('an acknowledgement clears only the causes it names', () => {
    const { mmio, device, memory, driver, lines } = setup(2);
    const ring = startDevice(driver, memory)[0]!;
    ring.add({ address: DATA, length: 4 });
    driver.kick(0);
    device.host.configChanged();
    expect(mmio.read(0x60, 4)).toBe(3);
    mmio.write(0x64, 4, 1);
    expect([mmio.read(0x60, 4), lines.at(-1)]).toEqual([2, true]);
    mmio.write(0x64, 4, 2);
    expect([mmio.read(0x60, 4), lines.at(-1)]).toEqual([0, false]);
  });

  test('QueueReady turns a queue off and on again', () => {
    const { mmio, device, memory, driver } = setup(2);
    const ring = startDevice(driver, memory)[0]!;
    mmio.write(0x30, 4, 0);
    expect(mmio.read(0x44, 4)).toBe(1);
    mmio.write(0x38, 4, 4);
    mmio.write(0x44, 4, 0);
    expect(mmio.read(0x44, 4)).toBe(0);
    ring.add({ address: DATA, length: 4 });
    driver.kick(0);
    expect(device.served).toBe(0);
    mmio.write(0x44, 4, 1);
    driver.kick(0);
    expect([mmio.read(0x44, 4), device.served]).toEqual([1, 1]);
  });

  test('a legacy queue with an alignment that is no power of two is refused', () => {
    const { mmio, device } = setup(1);
    for (const align of [0, 3, 4095]) {
      mmio.write(0x3c, 4, align);
      mmio.write(0x40, 4, 1);
      expect([mmio.read(0x40, 4), device.host.queues[0]!.ready]).toEqual([0, false]);
    }
    mmio.write(0x3c, 4, 4096);
    mmio.write(0x40, 4, 1);
    expect([mmio.read(0x40, 4), device.host.queues[0]!.ready]).toEqual([1, true]);
  });

  test('a saved device goes on', () => {
    const { mmio, memory, driver } = setup(2);
    const ring = startDevice(driver, memory)[1]!;
    ring.add({ address: DATA, length: 4 });
    driver.kick(1);
    const saved = structuredClone(mmio.save());
    let level = false;
    const device = new EchoDevice();
    const copy = new VirtioMmio({ device, memory, irq: { set: (l) => (level = l) } });
    copy.load(saved);
    expect(copy.save()).toEqual(saved);
    expect(level).toBe(true);
    expect(ring.collect()).toHaveLength(1);
    ring.add({ address: DATA, length: 4 });
    new MmioDriver(copy).kick(1);
    expect(ring.collect()).toHaveLength(1);
  });
});
