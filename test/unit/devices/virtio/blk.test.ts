import { beforeEach, describe, expect, test } from 'vitest';
import { VirtioBlk } from '../../../../src/devices/virtio/blk.ts';
import { type BlockStore, MemoryBlockStore } from '../../../../src/devices/virtio/block-store.ts';
import {
  type DriverBuffer,
  type DriverRing,
  startDevice,
  type TransportDriver,
} from '../../../support/virtio-driver.ts';
import { PciRig } from './rig.ts';

const SIZE = 0x10_0000;
const HEADER = 0x10_0000;
const DATA = 0x11_0000;
const STATUS = 0x12_0000;
const T = { read: 0, write: 1, flush: 4, getId: 8, discard: 11, writeZeroes: 13 };
const [OK, IO_ERROR, UNSUPPORTED, UNTOUCHED] = [0, 1, 2, 0xee];
const FLUSH = 1n << 9n;

/** A store whose operations end when the test says so, in any order. */
class SlowStore implements BlockStore {
  readonly size: number = SIZE;
  readonly readonly = false;
  readonly canDiscard = true;
  readonly inner = new MemoryBlockStore(new Uint8Array(SIZE));
  readonly log: string[] = [];
  readonly pending: { run: () => void; fail: (error: Error) => void }[] = [];

  #later(name: string, action: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.pending.push({
        run: () => {
          this.log.push(name);
          action();
          resolve();
        },
        fail: reject,
      });
    });
  }

  readAt(offset: number, into: Uint8Array): Promise<void> {
    return this.#later(`read ${offset} ${into.length}`, () => this.inner.readAt(offset, into));
  }

  writeAt(offset: number, bytes: Uint8Array): Promise<void> {
    return this.#later(`write ${offset} ${bytes.length}`, () => this.inner.writeAt(offset, bytes));
  }

  flush(): Promise<void> {
    return this.#later('flush', () => {});
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#later(`discard ${offset} ${length}`, () => this.inner.discard(offset, length));
  }
}

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

let disk: Uint8Array;
let blk: VirtioBlk;
let rig: PciRig;
let driver: TransportDriver;
let ring: DriverRing;

function start(store: BlockStore, wanted = ~0n): void {
  blk = new VirtioBlk({ store, id: 'disk-1', queueSize: 64 });
  rig = new PciRig(blk);
  driver = rig.modern();
  ring = startDevice(driver, rig.memory, { wanted })[0]!;
}

function putHeader(type: number, sector: number | bigint): void {
  rig.memory.data.setUint32(HEADER, type, true);
  rig.memory.data.setUint32(HEADER + 4, 0, true);
  rig.memory.data.setBigUint64(HEADER + 8, BigInt(sector), true);
  rig.memory.bytes[STATUS] = UNTOUCHED;
}

/** Submits a request; returns its head. */
function submit(type: number, sector: number | bigint, ...data: DriverBuffer[]): number {
  putHeader(type, sector);
  const head = ring.add({ address: HEADER, length: 16 }, ...data, { address: STATUS, length: 1, writable: true });
  driver.kick(0);
  return head;
}

function request(type: number, sector: number | bigint, ...data: DriverBuffer[]): number {
  submit(type, sector, ...data);
  expect(ring.collect()).toHaveLength(1);
  return rig.memory.bytes[STATUS]!;
}

const readable = (length: number, address = DATA): DriverBuffer => ({ address, length });
const writable = (length: number, address = DATA): DriverBuffer => ({ address, length, writable: true });

function putRanges(...ranges: [number | bigint, number, number][]): DriverBuffer {
  ranges.forEach(([sector, count, flags], i) => {
    rig.memory.data.setBigUint64(DATA + 16 * i, BigInt(sector), true);
    rig.memory.data.setUint32(DATA + 16 * i + 8, count, true);
    rig.memory.data.setUint32(DATA + 16 * i + 12, flags, true);
  });
  return readable(16 * ranges.length);
}

beforeEach(() => {
  disk = Uint8Array.from({ length: SIZE }, (_, i) => (i * 7 + (i >> 9)) & 0xff);
  start(new MemoryBlockStore(disk));
});

describe('configuration', () => {
  test('capacity in sectors, block size, limits', () => {
    expect(driver.readConfig(0, 4)).toBe(SIZE / 512);
    expect(driver.readConfig(12, 4)).toBe(62);
    expect(driver.readConfig(20, 4)).toBe(512);
    expect(driver.readConfig(40, 4)).toBe(16);
  });

  test.each([
    ['writable with discard', false, true, { ro: false, discard: true, zeroes: true }],
    ['read-only', true, true, { ro: true, discard: false, zeroes: false }],
    ['without discard', false, false, { ro: false, discard: false, zeroes: true }],
  ])('features of a store that is %s', (_name, readonly, canDiscard, expected) => {
    start(Object.assign(new SlowStore(), { readonly, canDiscard }));
    driver.writeStatus(0);
    const features = driver.deviceFeatures();
    const has = (bit: bigint): boolean => ((features >> bit) & 1n) === 1n;
    expect({ ro: has(5n), discard: has(13n), zeroes: has(14n) }).toEqual(expected);
    expect(has(11n)).toBe(false);
  });
});

describe('requests', () => {
  test('reads into several buffers', () => {
    expect(request(T.read, 3, writable(512), writable(1024, DATA + 0x1000))).toBe(OK);
    expect(rig.memory.bytes.slice(DATA, DATA + 512)).toEqual(disk.slice(3 * 512, 4 * 512));
    expect(rig.memory.bytes.slice(DATA + 0x1000, DATA + 0x1400)).toEqual(disk.slice(4 * 512, 6 * 512));
    expect(blk.counters).toMatchObject({ requests: 1, readBytes: 1536, errors: 0 });
  });

  test('used.len covers data and status', () => {
    const head = submit(T.read, 0, writable(512));
    expect(ring.collect()).toEqual([{ head, length: 513 }]);
  });

  test('writes, with the header split and glued to the data', () => {
    putHeader(T.write, 2);
    rig.memory.bytes.fill(0x77, HEADER + 16, HEADER + 16 + 512);
    ring.add(
      { address: HEADER, length: 7 },
      { address: HEADER + 7, length: 300 },
      { address: HEADER + 307, length: 221 },
      { address: STATUS, length: 1, writable: true },
    );
    driver.kick(0);
    expect(rig.memory.bytes[STATUS]).toBe(OK);
    expect(disk.subarray(1024, 1536).every((byte) => byte === 0x77)).toBe(true);
    expect(disk[1023]).toBe((1023 * 7 + 1) & 0xff);
    expect(disk[1536]).toBe((1536 * 7 + 3) & 0xff);
  });

  test('a long request goes in pieces', () => {
    start(new MemoryBlockStore(disk));
    const big = 0x9_0000;
    putHeader(T.read, 1);
    ring.add({ address: HEADER, length: 16 }, writable(big, 0x20_0000), {
      address: STATUS,
      length: 1,
      writable: true,
    });
    driver.kick(0);
    expect(rig.memory.bytes[STATUS]).toBe(OK);
    expect(Buffer.compare(rig.memory.bytes.subarray(0x20_0000, 0x20_0000 + big), disk.subarray(512, 512 + big))).toBe(
      0,
    );
  });

  test('flush, identity, unknown type', () => {
    expect(request(T.flush, 0)).toBe(OK);
    expect(request(T.getId, 0, writable(20))).toBe(OK);
    expect(new TextDecoder().decode(rig.memory.bytes.subarray(DATA, DATA + 20))).toBe(`disk-1${'\0'.repeat(14)}`);
    expect(request(99, 0)).toBe(UNSUPPORTED);
    expect(blk.counters.errors).toBe(1);
  });

  test.each<[string, number, number | bigint, number]>([
    ['the last sector', OK, SIZE / 512 - 1, 512],
    ['one past the end', IO_ERROR, SIZE / 512, 512],
    ['across the end', IO_ERROR, SIZE / 512 - 1, 1024],
    ['a sector of 2^64 - 1', IO_ERROR, 2n ** 64n - 1n, 512],
    ['a sector that wraps to 0 in bytes', IO_ERROR, 2n ** 55n, 512],
    ['half a sector', IO_ERROR, 0, 256],
    ['nothing', OK, 0, 0],
  ])('bounds: %s', (_name, expected, sector, length) => {
    const before = disk.slice();
    expect(request(T.read, sector, writable(length))).toBe(expected);
    if (expected !== OK) {
      expect(request(T.write, sector, readable(length))).toBe(expected);
      expect(Buffer.compare(disk, before)).toBe(0);
    }
  });

  test('a read-only disk refuses what changes it', () => {
    start(new MemoryBlockStore(disk, true));
    const before = disk.slice();
    expect(request(T.write, 0, readable(512))).toBe(IO_ERROR);
    expect(request(T.discard, 0, putRanges([0, 8, 0]))).toBe(IO_ERROR);
    expect(request(T.writeZeroes, 0, putRanges([0, 8, 0]))).toBe(IO_ERROR);
    expect(request(T.read, 0, writable(512))).toBe(OK);
    expect(Buffer.compare(disk, before)).toBe(0);
  });

  test('discard and zeroes over several ranges', () => {
    expect(request(T.discard, 0, putRanges([1, 2, 0], [8, 1, 0]))).toBe(OK);
    expect(disk.subarray(512, 1536).every((byte) => byte === 0)).toBe(true);
    expect(disk.subarray(4096, 4608).every((byte) => byte === 0)).toBe(true);
    expect(request(T.writeZeroes, 0, putRanges([100, 1500, 1]))).toBe(OK);
    expect(disk.subarray(100 * 512, 1600 * 512).every((byte) => byte === 0)).toBe(true);
    expect(disk[1600 * 512]).toBe((1600 * 512 * 7 + 1600) & 0xff);
  });

  test.each<[string, number, number, [number | bigint, number, number][]]>([
    ['a range past the end', IO_ERROR, T.discard, [[SIZE / 512 - 1, 2, 0]]],
    [
      'a second range past the end',
      IO_ERROR,
      T.writeZeroes,
      [
        [0, 1, 0],
        [2n ** 63n, 1, 0],
      ],
    ],
    ['too many sectors', IO_ERROR, T.writeZeroes, [[0, 0x8001, 0]]],
    ['unmap on a discard', UNSUPPORTED, T.discard, [[0, 1, 1]]],
    ['an unknown flag', UNSUPPORTED, T.writeZeroes, [[0, 1, 2]]],
    ['too many ranges', IO_ERROR, T.discard, Array.from({ length: 17 }, () => [0, 1, 0] as [number, number, number])],
    ['no range', IO_ERROR, T.discard, []],
  ])('ranges: %s', (_name, expected, type, ranges) => {
    const before = disk.slice();
    expect(request(type, 0, putRanges(...ranges))).toBe(expected);
    expect(Buffer.compare(disk, before)).toBe(0);
  });

  test.each<[string, DriverBuffer[]]>([
    ['no room for a status', [readable(16, HEADER)]],
    ['a header of 15 bytes', [readable(15, HEADER), writable(1, STATUS)]],
    ['a buffer outside RAM', [readable(16, HEADER), writable(512, 0x7000_0000), writable(1, STATUS)]],
  ])('%s: returned with 0 bytes, device alive', (_name, buffers) => {
    putHeader(T.read, 0);
    const head = ring.add(...buffers);
    driver.kick(0);
    expect(ring.collect()).toEqual([{ head, length: 0 }]);
    expect(blk.counters.malformed).toBe(1);
    expect(rig.memory.bytes[STATUS]).toBe(UNTOUCHED);
    expect(request(T.read, 0, writable(512))).toBe(OK);
  });
});

describe('a store that takes time', () => {
  let store: SlowStore;

  beforeEach(() => {
    store = new SlowStore();
    store.inner.writeAt(0, disk);
    start(store);
  });

  async function finishAll(): Promise<void> {
    do {
      for (const { run } of store.pending.splice(0)) run();
      await settle();
    } while (store.pending.length > 0);
  }

  test('requests finish in the order of the store, each with an interrupt', async () => {
    const first = submit(T.read, 0, writable(512));
    const second = submit(T.read, 1, writable(512, DATA + 512));
    expect(ring.collect()).toEqual([]);
    store.pending[1]!.run();
    await settle();
    expect(ring.collect().map(({ head }) => head)).toEqual([second]);
    expect(driver.takeInterruptStatus()).toBe(1);
    store.pending[0]!.run();
    await settle();
    expect(ring.collect().map(({ head }) => head)).toEqual([first]);
    expect(rig.memory.bytes.slice(DATA, DATA + 1024)).toEqual(disk.slice(0, 1024));
  });

  test('a failure is an I/O error for the guest', async () => {
    submit(T.read, 0, writable(512));
    store.pending[0]!.fail(new Error('disk on fire'));
    await settle();
    expect(ring.collect()).toHaveLength(1);
    expect(rig.memory.bytes[STATUS]).toBe(IO_ERROR);
  });

  test('without the flush feature each write is flushed before it is acknowledged', async () => {
    start(store, ~FLUSH);
    submit(T.write, 4, readable(512));
    await finishAll();
    expect(store.log).toEqual(['write 2048 512', 'flush']);
    expect(rig.memory.bytes[STATUS]).toBe(OK);
    start(store);
    store.log.length = 0;
    submit(T.write, 4, readable(512));
    await finishAll();
    expect(store.log).toEqual(['write 2048 512']);
  });

  test('V34 a reset in between: nothing more is written to the guest or the disk', async () => {
    submit(T.read, 0, writable(512));
    putHeader(T.write, 0);
    ring.add({ address: HEADER, length: 16 }, readable(0x8_0000, 0x20_0000), writable(1, STATUS));
    driver.kick(0);
    driver.writeStatus(0);
    const before = rig.memory.bytes.slice();
    await finishAll();
    expect(Buffer.compare(rig.memory.bytes, before)).toBe(0);
    expect(store.log).toEqual(['read 0 512', 'write 0 262144']);
    expect(rig.line).toBe(false);
    await blk.drain();
  });

  test('drain waits for what is under way', async () => {
    submit(T.read, 0, writable(512));
    let isIdle = false;
    const idle = blk.drain().then(() => (isIdle = true));
    await settle();
    expect(isIdle).toBe(false);
    await finishAll();
    await idle;
    expect(isIdle).toBe(true);
  });

  test('a request under way is saved and run again after loading', async () => {
    const head = submit(T.read, 5, writable(512));
    const saved = structuredClone(rig.bus.save());
    const memory = rig.memory;
    blk = new VirtioBlk({ store, queueSize: 64 });
    rig = new PciRig(blk, 'transitional', memory);
    rig.bus.load(saved);
    expect(rig.bus.save()).toEqual(saved);
    store.pending.length = 0;
    rig.modern().writeStatus(0);
    await settle();
    expect(store.pending).toEqual([]);
    rig.bus.load(saved);
    await settle();
    await finishAll();
    expect(ring.collect()).toEqual([{ head, length: 513 }]);
    expect(memory.bytes.slice(DATA, DATA + 512)).toEqual(disk.slice(5 * 512, 6 * 512));
    expect(rig.line).toBe(true);
  });
});
