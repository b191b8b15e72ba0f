import { beforeEach, expect, test } from 'vitest';
import { VirtioRng } from '../../../../src/devices/virtio/rng.ts';
import { type DriverRing, startDevice, type TransportDriver } from '../../../support/virtio-driver.ts';
import { PciRig } from './rig.ts';

const DATA = 0x10_0000;
let rig: PciRig;
let driver: TransportDriver;
let ring: DriverRing;
let next: number;

beforeEach(() => {
  next = 1;
  rig = new PciRig(
    new VirtioRng((into) => {
      for (const i of into.keys()) into[i] = next++ & 0xff;
    }),
  );
  driver = rig.modern();
  ring = startDevice(driver, rig.memory)[0]!;
});

test('fills the writable buffers with what the source gives, and no more', () => {
  ring.add({ address: DATA, length: 5, writable: true }, { address: DATA + 0x100, length: 3, writable: true });
  driver.kick(0);
  expect(ring.collect()).toEqual([{ head: expect.any(Number), length: 8 }]);
  expect([...rig.memory.bytes.subarray(DATA, DATA + 6)]).toEqual([1, 2, 3, 4, 5, 0]);
  expect([...rig.memory.bytes.subarray(DATA + 0x100, DATA + 0x104)]).toEqual([6, 7, 8, 0]);
});

test('a long request is answered in part, a malformed or unwritable one with nothing', () => {
  ring.add({ address: DATA, length: 0x10_0000, writable: true });
  ring.add({ address: DATA, length: 64 });
  ring.add({ address: 0x7000_0000, length: 64, writable: true });
  driver.kick(0);
  expect(ring.collect().map(({ length }) => length)).toEqual([4096, 0, 0]);
  expect(rig.memory.bytes[DATA + 4096]).toBe(0);
});

test('the PCI function has the transitional id and no device configuration', () => {
  expect(rig.readConfig(2, 2)).toBe(0x1005);
  expect(rig.capabilities(9)).toHaveLength(4);
});
