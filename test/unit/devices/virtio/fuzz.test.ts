import { describe, expect, test } from 'vitest';
import { VirtioBlk } from '../../../../src/devices/virtio/blk.ts';
import { MemoryBlockStore } from '../../../../src/devices/virtio/block-store.ts';
import type { VirtioDevice } from '../../../../src/devices/virtio/device.ts';
import { VirtioNet } from '../../../../src/devices/virtio/net.ts';
import { VirtioRng } from '../../../../src/devices/virtio/rng.ts';
import type { NetBackend } from '../../../../src/net/backend.ts';
import { startDevice, TestMemory } from '../../../support/virtio-driver.ts';
import { PciRig } from './rig.ts';

/** A small generator with a fixed seed: the same script every time. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Sends every frame back at once. */
class Reflector implements NetBackend {
  readonly name = 'reflector';
  readonly acceptsOffload: boolean;
  onFrame: NetBackend['onFrame'];
  frames = 0;

  constructor(acceptsOffload: boolean) {
    this.acceptsOffload = acceptsOffload;
  }

  send(frame: Uint8Array): void {
    this.frames++;
    this.onFrame?.(frame.slice());
  }

  async close(): Promise<void> {}
}

const DEVICES: [string, () => VirtioDevice][] = [
  ['net', () => new VirtioNet({ backend: new Reflector(false), mac: new Uint8Array(6), queueSize: 16 })],
  ['net with offload', () => new VirtioNet({ backend: new Reflector(true), mac: new Uint8Array(6), queueSize: 16 })],
  ['blk', () => new VirtioBlk({ store: new MemoryBlockStore(new Uint8Array(65536)), queueSize: 16 })],
  ['rng', () => new VirtioRng((into) => into.fill(0x5a))],
];

/** Rings of size 8 as `startDevice` lays them out: descriptors, available ring and used ring of queue n. */
const SIZE = 8;
const ringAt = (queue: number): number => 0x1000 + 0x2000 * queue;

class HostileDriver {
  readonly rig: PciRig;
  readonly memory: TestMemory;
  readonly #random: (below: number) => number;
  kicks = 0;
  starts = 0;

  constructor(rig: PciRig, random: (below: number) => number) {
    this.rig = rig;
    this.memory = rig.memory;
    this.#random = random;
  }

  /** A proper start, so that scripts do not end in a broken device. */
  start(): void {
    const { rig, memory } = this;
    this.starts++;
    rig.bus.reset();
    rig.writeConfig(0x10, 4, 0xc000);
    rig.writeConfig(0x14, 4, 0xe000_0000);
    rig.writeConfig(0x20, 4, 0xe000_4000);
    rig.writeConfig(4, 2, 7);
    memory.bytes.fill(0);
    const wanted = this.#random(2) === 0 ? ~0n : BigInt(this.#random(2 ** 32));
    startDevice(rig.modern(), memory, { wanted, queueSizes: [SIZE, SIZE, SIZE] });
  }

  /** One step: mostly a chain that makes some sense, sometimes none, sometimes registers. */
  step(): void {
    const random = this.#random;
    if (random(this.rig.card.core.live ? 200 : 4) === 0) this.start();
    const kind = random(40);
    if (kind === 0) this.#accessPorts();
    else if (kind === 1) this.#accessMmio();
    else if (kind === 2) this.#addNoise();
    else this.#offer();
  }

  #value(): number {
    return this.#random(4) === 0 ? this.#random(2 ** 32) : this.#random(64);
  }

  #accessPorts(): void {
    const random = this.#random;
    const spots = [0xcf8, 0xcfc, 0xc000, 0xc008, 0xc00e, 0xc010, 0xc012, 0xc014, 0xc018];
    const port = spots[random(spots.length)]! + random(4);
    const width = ([1, 2, 4] as const)[random(3)]!;
    if (random(2) === 0) this.rig.ports.read(port, width);
    else this.rig.ports.write(port, width, this.#value());
  }

  #accessMmio(): void {
    const address = 0xe000_0000 + this.#random(0x8000);
    const width = ([1, 2, 4] as const)[this.#random(3)]!;
    if (this.#random(2) === 0) this.rig.mmio.read(address, width);
    else this.rig.mmio.write(address, width, this.#value());
  }

  #addNoise(): void {
    const at = this.#random(0x8000);
    for (let i = 0; i < 8; i++) this.memory.bytes[at + i] = this.#random(256);
  }

  #offer(): void {
    const random = this.#random;
    const { data, bytes } = this.memory;
    const queue = random(3);
    const base = ringAt(queue);
    const count = 1 + random(4);
    const head = random(SIZE - count + 1);
    const receives = queue === 0 && this.rig.card.core.device instanceof VirtioNet;
    const writableFrom = random(8) === 0 ? random(5) : receives ? 0 : Math.max(1, count - random(3));
    const isDiskRequest = count > 2 && random(2) === 0;
    for (let i = 0; i < count; i++) {
      const at = base + 16 * (head + i);
      const address = random(60) === 0 ? random(0x2_0000) : 0x8000 + random(0x7000);
      data.setUint32(at, address, true);
      data.setUint32(at + 4, random(500) === 0 ? this.#value() : 0, true);
      const lengths = [random(600), 12 + random(100), 16, 512, 1, 0, random(100) === 0 ? random(2 ** 32) : 60];
      const diskLength = i === 0 ? 16 : i === count - 1 ? 1 : 512;
      data.setUint32(at + 8, isDiskRequest ? diskLength : lengths[random(lengths.length)]!, true);
      const flags = (i + 1 < count ? 1 : 0) | (i >= writableFrom ? 2 : 0);
      data.setUint16(at + 12, random(200) === 0 ? random(8) : flags, true);
      data.setUint16(at + 14, random(200) === 0 ? random(16) : head + i + 1, true);
      // Headers of requests and frames: small numbers.
      if (address < 0xffe0)
        for (let b = 0; b < 16; b++) bytes[address + b] = random(b % 8 === 0 ? 2 : 20) === 0 ? random(16) : 0;
    }
    const index = data.getUint16(base + 130, true);
    data.setUint16(base + 132 + 2 * (index % SIZE), random(500) === 0 ? random(16) : head, true);
    data.setUint16(base + 130, random(500) === 0 ? this.#value() : index + 1, true);
    this.rig.mmio.write(0xe000_4000 + 0x3000 + 4 * queue, 2, queue);
    this.kicks++;
  }
}

describe.each(DEVICES)('a hostile driver of %s', (_name, create) => {
  test.each([1, 2, 3])('no exception, no hang, nothing outside RAM (script %i)', (seed) => {
    const memory = new TestMemory(0x1_0000);
    const device = create();
    const rig = new PciRig(device, 'transitional', memory);
    const driver = new HostileDriver(rig, generator(seed));
    driver.start();
    for (let step = 0; step < 20_000; step++) driver.step();
    expect(memory.guardIntact).toBe(true);
    expect(driver.kicks).toBeGreaterThan(15_000);
    // The scripts are worth something only if both good and bad requests get through.
    expect(driver.starts).toBeGreaterThan(50);
    if (device instanceof VirtioNet) {
      for (const count of [device.counters.txFrames, device.counters.rxFrames, device.counters.txMalformed]) {
        expect(count).toBeGreaterThan(100);
      }
    }
    if (device instanceof VirtioBlk) {
      const { requests, malformed, readBytes, writtenBytes, errors } = device.counters;
      for (const count of [requests, malformed, readBytes, writtenBytes, errors]) expect(count).toBeGreaterThan(100);
      expect(errors).toBeLessThan(requests);
    }
    const saved = structuredClone(rig.bus.save());
    const copy = new PciRig(create(), 'transitional', memory);
    copy.bus.load(saved);
    expect(copy.bus.save()).toEqual(saved);
  });
});
