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

describe.each(DEVICES)('a hostile driver of %s', (_name, create) => {
  test.each([1, 2, 3])('no exception, no hang, nothing outside RAM (script %i)', (seed) => {
    const random = generator(seed);
    const memory = new TestMemory(0x1_0000);
    const rig = new PciRig(create(), 'transitional', memory);
    let driver = rig.modern();
    const spots = [0xcf8, 0xcfc, 0xcfd, 0xcfe, 0xc000, 0xc008, 0xc00e, 0xc010, 0xc012, 0xc013, 0xc018];
    const widths = [1, 2, 4] as const;
    let kicks = 0;
    for (let step = 0; step < 20_000; step++) {
      const width = widths[random(3)]!;
      const value = random(4) === 0 ? random(2 ** 32) : random(64);
      switch (random(8)) {
        case 0:
          rig.ports.write(spots[random(spots.length)]! + random(4), width, value);
          break;
        case 1:
          rig.ports.read(spots[random(spots.length)]! + random(4), width);
          break;
        case 2:
          rig.mmio.write(0xe000_0000 + random(0x8000), width, value);
          break;
        case 3:
          rig.mmio.read(0xe000_0000 + random(0x8000), width);
          break;
        case 4: {
          // Noise in the rings and tables, small numbers more often than large ones.
          const at = random(0x8000);
          for (let i = 0; i < 16; i++) memory.bytes[at + i] = random(3) === 0 ? random(256) : random(4);
          break;
        }
        default: {
          const queue = random(3);
          if (random(200) === 0) {
            // A fresh start, so that the scripts do not end in a broken device at once.
            rig.bus.reset();
            rig.writeConfig(0x10, 4, 0xc000);
            rig.writeConfig(0x14, 4, 0xe000_0000);
            rig.writeConfig(0x20, 4, 0xe000_4000);
            rig.writeConfig(4, 2, 7);
            memory.bytes.fill(0);
            driver = rig.modern();
            const wanted = random(2) === 0 ? ~0n : BigInt(random(2 ** 32));
            startDevice(driver, memory, { wanted, queueSizes: [8, 8, 8] });
          }
          const ringAt = 0x1000 + 0x2000 * queue;
          const index = memory.data.getUint16(ringAt + 130, true) + random(3);
          for (let d = 0; d < 8; d++) {
            if (random(3) !== 0) continue;
            const far = random(20) === 0 ? random(2 ** 32) : random(0x1_2000);
            memory.data.setUint32(ringAt + 16 * d, far, true);
            memory.data.setUint32(ringAt + 16 * d + 4, random(50) === 0 ? value : 0, true);
            memory.data.setUint32(ringAt + 16 * d + 8, random(10) === 0 ? random(2 ** 32) : random(600), true);
            memory.data.setUint16(ringAt + 16 * d + 12, random(30) === 0 ? random(8) : random(4), true);
            memory.data.setUint16(ringAt + 16 * d + 14, random(9), true);
          }
          for (let i = 0; i < 8; i++) memory.data.setUint16(ringAt + 132 + 2 * i, random(8), true);
          memory.data.setUint16(ringAt + 130, index, true);
          rig.mmio.write(0xe000_4000 + 0x3000 + 4 * queue, 2, queue);
          kicks++;
        }
      }
    }
    expect(kicks).toBeGreaterThan(5000);
    expect(memory.guardIntact).toBe(true);
    const saved = structuredClone(rig.bus.save());
    const copy = new PciRig(create(), 'transitional', memory);
    copy.bus.load(saved);
    expect(copy.bus.save()).toEqual(saved);
  });
});

test('the scripts get far enough to move frames and sectors', () => {
  const memory = new TestMemory(0x1_0000);
  const backend = new Reflector(false);
  const rig = new PciRig(new VirtioNet({ backend, mac: new Uint8Array(6), queueSize: 16 }), 'transitional', memory);
  const driver = rig.modern();
  const [, tx] = startDevice(driver, memory, { queueSizes: [8, 8, 8] });
  tx!.add({ address: 0x8000, length: 100 });
  driver.kick(1);
  expect(backend.frames).toBe(1);
});
