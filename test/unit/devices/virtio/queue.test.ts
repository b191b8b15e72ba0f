import { beforeEach, describe, expect, test } from 'vitest';
import { DescriptorChain } from '../../../../src/devices/virtio/chain.ts';
import { VirtQueue } from '../../../../src/devices/virtio/queue.ts';
import { DriverRing, TestMemory } from '../../../support/virtio-driver.ts';

// Cases V01 to V34 of the robustness list that concern the queue itself.

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const SIZE = 16;

let memory: TestMemory;
let failures: string[];
let interrupts: number;
let queue: VirtQueue;
let chain: DescriptorChain;
let ring: DriverRing;

function place(target: VirtQueue, descriptors: number, avail: number, used: number): boolean {
  [descriptors, avail, used].forEach((address, i) => {
    target.address[2 * i] = address % 2 ** 32;
    target.address[2 * i + 1] = Math.floor(address / 2 ** 32);
  });
  return target.enable();
}

function newQueue(maxSize = 256): VirtQueue {
  return new VirtQueue(memory, maxSize, {
    interrupt: () => interrupts++,
    fail: (reason) => {
      failures.push(reason);
      queue.halted = true;
    },
  });
}

/** Serves everything as a device would; returns the heads. */
function serve(written = 0): number[] {
  const heads: number[] = [];
  do {
    while (queue.pop(chain)) {
      heads.push(chain.head);
      queue.push(chain.head, chain.malformed ? 0 : written);
    }
  } while (queue.armNotification());
  queue.publish();
  return heads;
}

/** The ring is broken: nothing is handed out now nor later, and nothing is written. */
function expectBroken(pattern: RegExp): void {
  const before = memory.bytes.slice();
  expect(queue.pop(chain)).toBe(false);
  expect(failures).toHaveLength(1);
  expect(failures[0]).toMatch(pattern);
  expect(queue.pop(chain)).toBe(false);
  queue.push(0, 1);
  queue.publish();
  expect(Buffer.compare(memory.bytes, before)).toBe(0);
  expect(interrupts).toBe(0);
}

beforeEach(() => {
  memory = new TestMemory(0x10_0000);
  failures = [];
  interrupts = 0;
  queue = newQueue();
  queue.size = SIZE;
  chain = new DescriptorChain(memory);
  ring = new DriverRing(memory, 0x1000, SIZE);
  place(queue, ring.descriptors, ring.avail, ring.used);
});

describe('queue setup', () => {
  test.each([0, 3, 100, 512, 65535])('V01 size %i of at most 256 is refused', (size) => {
    const other = newQueue(256);
    other.size = size;
    expect(place(other, 0x1000, 0x2000, 0x3000)).toBe(false);
    expect(other.ready).toBe(false);
    expect(other.pop(chain)).toBe(false);
  });

  test.each([
    [0x1008, 0x2000, 0x3000],
    [0x1000, 0x2001, 0x3000],
    [0x1000, 0x2000, 0x3002],
  ])('V02 misaligned rings %i %i %i are refused', (descriptors, avail, used) => {
    const other = newQueue();
    other.size = SIZE;
    expect(place(other, descriptors, avail, used)).toBe(false);
  });

  test.each([
    ['descriptors beyond RAM', 0x20_0000, 0x2000, 0x3000],
    ['descriptors crossing the end', 0x10_0000 - 16, 0x2000, 0x3000],
    ['available ring crossing the end', 0x1000, 0x10_0000 - 4, 0x3000],
    ['used ring crossing the end', 0x1000, 0x2000, 0x10_0000 - 8],
    ['wrapping 2^64', 2 ** 64 - 2 ** 12, 0x2000, 0x3000],
  ])('V03 %s: refused', (_name, descriptors, avail, used) => {
    const other = newQueue();
    other.size = SIZE;
    expect(place(other, descriptors, avail, used)).toBe(false);
  });

  test('V03 address registers that wrap 2^64 are refused', () => {
    const other = newQueue();
    other.address.fill(0xffff_fff0);
    expect(other.enable()).toBe(false);
  });

  test('V04 rings on top of each other: bounded, and nothing else is touched', () => {
    for (const [descriptors, avail, used] of [
      [0x1000, 0x1000, 0x1000],
      [0x1000, 0x1002, 0x1004],
      [0x1000, 0x2000, 0x2000],
    ] as const) {
      queue.reset();
      queue.size = SIZE;
      failures = [];
      memory.bytes.fill(0);
      for (let i = 0; i < 256; i++) memory.data.setUint16(0x1000 + 2 * i, i % 5, true);
      for (let i = 0; i < 256; i++) memory.data.setUint16(0x2000 + 2 * i, i % 3, true);
      expect(place(queue, descriptors, avail, used)).toBe(true);
      for (let kick = 0; kick < 100; kick++) expect(serve(7).length).toBeLessThanOrEqual(SIZE);
      expect(memory.guardIntact).toBe(true);
      expect(memory.bytes.subarray(0x3000).every((byte) => byte === 0)).toBe(true);
    }
  });
});

describe('available ring', () => {
  test('V07 an index that jumps past the size breaks the queue', () => {
    ring.setAvailIndex(0x8000);
    expectBroken(/available index is 32768 ahead/);
  });

  test('V07 no more than size heads in a turn', () => {
    for (let i = 0; i < SIZE; i++) ring.add({ address: 0x8000, length: 1 });
    let popped = 0;
    while (queue.pop(chain)) {
      queue.push(chain.head, 0);
      popped++;
      // A second processor that keeps adding while the device works.
      ring.offer(chain.head);
    }
    expect(popped).toBe(SIZE);
    expect(failures).toEqual([]);
  });

  test('V08 an index that goes back breaks the queue', () => {
    ring.add({ address: 0x8000, length: 1 });
    ring.add({ address: 0x8000, length: 1 });
    expect(serve()).toHaveLength(2);
    interrupts = 0;
    ring.setAvailIndex(1);
    expectBroken(/ahead/);
  });

  test('V09 a head that does not exist breaks the queue', () => {
    ring.offer(SIZE);
    expectBroken(/descriptor 16 of 16/);
  });

  test('V29 the same head twice is served twice; more in flight than the size breaks the queue', () => {
    const head = ring.add({ address: 0x8000, length: 1 });
    ring.offer(head);
    expect(serve()).toEqual([head, head]);
    for (let i = 0; i < SIZE; i++) {
      ring.offer(head);
      expect(queue.pop(chain)).toBe(true);
    }
    queue.publish();
    interrupts = 0;
    ring.offer(head);
    expectBroken(/in flight/);
  });

  test('V33 indices wrap at 2^16: 200,000 packets', () => {
    for (const eventIndex of [false, true]) {
      queue.reset();
      queue.size = SIZE;
      memory.bytes.fill(0);
      ring = new DriverRing(memory, 0x1000, SIZE, { eventIndex });
      queue.eventIndex = eventIndex;
      place(queue, ring.descriptors, ring.avail, ring.used);
      let sent = 0;
      let returned = 0;
      let random = 12345;
      while (sent < 100_000) {
        random = (Math.imul(random, 1103515245) + 12345) >>> 0;
        const burst = Math.min(1 + ((random >>> 16) % SIZE), ring.freeDescriptors);
        const old = ring.availIndex;
        for (let i = 0; i < burst; i++) ring.add({ address: 0x8000 + i, length: 1 + i });
        sent += burst;
        expect(ring.needsKick(old)).toBe(true);
        interrupts = 0;
        expect(serve(burst)).toHaveLength(burst);
        expect(interrupts).toBe(1);
        const used = ring.collect();
        returned += used.length;
        expect(used.every(({ length }) => length === burst)).toBe(true);
      }
      expect(returned).toBe(sent);
      expect(failures).toEqual([]);
    }
  });
});

describe('descriptors', () => {
  test('V10 a next that does not exist breaks the queue', () => {
    ring.setDescriptor(0, 0x8000, 4, NEXT, SIZE);
    ring.offer(0);
    expectBroken(/next descriptor 16 of 16/);
  });

  test.each([
    ['itself', [0]],
    ['two', [1, 0]],
    ['all', Array.from({ length: SIZE }, (_, i) => (i + 1) % SIZE)],
  ])('V11 a loop of %s breaks the queue', (_name, nexts) => {
    for (const [i, next] of nexts.entries()) ring.setDescriptor(i, 0x8000, 4, NEXT, next);
    ring.offer(0);
    expectBroken(/loop/);
  });

  test('V11 a loop inside an indirect table breaks the queue', () => {
    queue.indirect = true;
    ring.setDescriptor(0, 0x9000, 32, INDIRECT, 0);
    ring.setDescriptor(0, 0x8000, 4, NEXT, 1, 0x9000);
    ring.setDescriptor(1, 0x8000, 4, NEXT, 0, 0x9000);
    ring.offer(0);
    expectBroken(/loop/);
  });

  test('V11 a chain of the full queue is fine', () => {
    for (let i = 0; i < SIZE; i++) ring.setDescriptor(i, 0x8000, 4, i < SIZE - 1 ? NEXT : 0, i + 1);
    ring.offer(0);
    expect(queue.pop(chain)).toBe(true);
    expect(chain.readableLength).toBe(4 * SIZE);
  });

  test('V12 sizes that add up to 2^32 or more: returned with 0 bytes, queue alive', () => {
    ring.setDescriptor(0, 0x8000, 0xffff_ffff, NEXT, 1);
    ring.setDescriptor(1, 0x8000, 0xffff_ffff, 0, 0);
    ring.offer(0);
    expect(queue.pop(chain)).toBe(true);
    expect(chain.malformed).toBe(true);
    queue.push(chain.head, 0);
    queue.publish();
    expect(ring.collect()).toEqual([{ head: 0, length: 0 }]);
    expect(failures).toEqual([]);
  });

  test('V12 the same with buffers that all lie in RAM', () => {
    const everywhere = new DescriptorChain({ contains: () => true, view: () => undefined, writable: () => undefined });
    everywhere.begin(0);
    everywhere.add(0, 0x8000_0000, false);
    everywhere.add(0, 0x7fff_ffff, true);
    expect(everywhere.malformed).toBe(false);
    everywhere.add(0, 1, true);
    expect(everywhere.malformed).toBe(true);
  });

  test('V13 a zero-length descriptor contributes nothing, wherever it points', () => {
    ring.add({ address: 0x8000, length: 3 }, { address: 0xffff_0000, length: 0 }, { address: 0x8010, length: 2 });
    expect(queue.pop(chain)).toBe(true);
    expect(chain).toMatchObject({ malformed: false, count: 2, readableLength: 5 });
  });

  test.each([
    ['beyond RAM', 0x10_0000],
    ['straddling the end', 0x10_0000 - 2],
    ['wrapping 2^64', Number(0xffff_ffff_ffff_f000n)],
  ])('V14 a buffer %s: malformed, nothing touched, queue alive', (_name, address) => {
    ring.setDescriptor(0, 0, 4, WRITE, 0);
    memory.data.setBigUint64(ring.descriptors, BigInt(address), true);
    ring.offer(0);
    expect(queue.pop(chain)).toBe(true);
    expect(chain.malformed).toBe(true);
    expect(chain.scatter(0, Uint8Array.of(1, 2, 3, 4))).toBe(0);
    expect(memory.guardIntact).toBe(true);
    expect(failures).toEqual([]);
  });

  test('V15 buffers inside the rings are written without harm', () => {
    ring.add({ address: ring.used, length: 256, writable: true });
    ring.add({ address: ring.descriptors, length: 256, writable: true });
    for (let kick = 0; kick < 10; kick++) {
      let served = 0;
      while (queue.pop(chain)) {
        chain.scatter(0, new Uint8Array(256).fill(0xff));
        queue.push(chain.head, 256);
        served++;
      }
      queue.publish();
      expect(served).toBeLessThanOrEqual(SIZE);
    }
    expect(memory.guardIntact).toBe(true);
  });

  test('V16 readable after writable breaks the queue', () => {
    ring.add({ address: 0x8000, length: 4, writable: true }, { address: 0x8000, length: 4 });
    expectBroken(/readable descriptor after a writable one/);
  });

  test('V30 each descriptor is read once: later changes do not matter', () => {
    const head = ring.add({ address: 0x8000, length: 4 });
    expect(queue.pop(chain)).toBe(true);
    ring.setDescriptor(head, 0xffff_ffff, 0xffff_ffff, NEXT | INDIRECT, 9999);
    memory.bytes.set([1, 2, 3, 4], 0x8000);
    const bytes = new Uint8Array(4);
    expect(chain.gather(0, bytes)).toBe(4);
    expect([...bytes]).toEqual([1, 2, 3, 4]);
  });
});

describe('indirect descriptors', () => {
  const TABLE = 0x9000;

  beforeEach(() => {
    queue.indirect = true;
    ring.setDescriptor(0, 0x8000, 4, NEXT, 1, TABLE);
    ring.setDescriptor(1, 0x8100, 5, WRITE, 0, TABLE);
  });

  test('V19 without the feature the flag breaks the queue', () => {
    queue.indirect = false;
    ring.setDescriptor(0, TABLE, 32, INDIRECT, 0);
    ring.offer(0);
    expectBroken(/VIRTIO_F_INDIRECT_DESC/);
  });

  test.each([0, 8, 17, 33])('V20 a table of %i bytes breaks the queue', (length) => {
    ring.setDescriptor(0, TABLE, length, INDIRECT, 0);
    ring.offer(0);
    expectBroken(/indirect table of/);
  });

  test('V21 a table of more than 65535 entries breaks the queue', () => {
    ring.setDescriptor(0, 0, 16 * 65536, INDIRECT, 0);
    ring.offer(0);
    expectBroken(/65536 entries/);
  });

  test('V22 a table inside a table breaks the queue', () => {
    ring.setDescriptor(1, TABLE, 32, INDIRECT, 0, TABLE);
    ring.setDescriptor(0, TABLE, 32, INDIRECT, 0);
    ring.offer(0);
    expectBroken(/inside an indirect table/);
  });

  test.each([
    ['V23 NEXT beside INDIRECT is ignored', INDIRECT | NEXT],
    ['V24 WRITE on the table descriptor is ignored', INDIRECT | WRITE],
  ])('%s', (_name, flags) => {
    ring.setDescriptor(0, TABLE, 32, flags, 5);
    ring.offer(0);
    expect(queue.pop(chain)).toBe(true);
    expect(chain).toMatchObject({ count: 2, readableCount: 1, readableLength: 4, writableLength: 5, malformed: false });
  });

  test('V25 direct descriptors followed by an indirect one', () => {
    ring.setDescriptor(3, 0x8200, 7, NEXT, 4);
    ring.setDescriptor(4, TABLE, 32, INDIRECT, 0);
    ring.offer(3);
    expect(queue.pop(chain)).toBe(true);
    expect(chain).toMatchObject({ head: 3, count: 3, readableLength: 11, writableLength: 5 });
    expect([chain.address(0), chain.address(1), chain.address(2)]).toEqual([0x8200, 0x8000, 0x8100]);
  });

  test('V26 a table at an odd address is fine', () => {
    memory.bytes.copyWithin(0xa003, TABLE, TABLE + 32);
    ring.setDescriptor(0, 0xa003, 32, INDIRECT, 0);
    ring.offer(0);
    expect(queue.pop(chain)).toBe(true);
    expect(chain).toMatchObject({ readableLength: 4, writableLength: 5 });
  });

  test.each([0x10_0000, 0x10_0000 - 16, 2 ** 40])('V27 a table at %i, outside RAM, breaks the queue', (address) => {
    ring.setDescriptor(0, address, 32, INDIRECT, 0);
    ring.offer(0);
    expectBroken(/not in RAM/);
  });

  test('V28 a next past the table breaks the queue', () => {
    ring.setDescriptor(0, 0x8000, 4, NEXT, 2, TABLE);
    ring.setDescriptor(0, TABLE, 32, INDIRECT, 0);
    ring.offer(0);
    expectBroken(/next descriptor 2 of 2/);
  });

  test('a chain longer than 1024 buffers breaks the queue', () => {
    for (let i = 0; i < 1100; i++) ring.setDescriptor(i, 0x8000, 1, NEXT, i + 1, 0x2_0000);
    ring.setDescriptor(1100, 0x8000, 1, 0, 0, 0x2_0000);
    ring.setDescriptor(0, 0x2_0000, 16 * 1101, INDIRECT, 0);
    ring.offer(0);
    expectBroken(/too long/);
  });
});

describe('notifications', () => {
  test('V31 garbage in used_event decides only about the interrupt', () => {
    queue.eventIndex = true;
    for (const distance of [0, 1, -1, 2, 0x7fff, 0x8000]) {
      const old = ring.usedIndex;
      ring.setUsedEvent(old + distance);
      interrupts = 0;
      const head = ring.add({ address: 0x8000, length: 4, writable: true });
      expect(serve(4)).toEqual([head]);
      const { data } = memory;
      ring.usedIndex = data.getUint16(ring.used + 2, true);
      expect(interrupts).toBe(distance === 0 ? 1 : 0);
      expect(ring.availEvent).toBe(ring.availIndex);
    }
    expect(failures).toEqual([]);
  });

  test('V32 NO_INTERRUPT is respected', () => {
    ring.setAvailFlags(1);
    ring.add({ address: 0x8000, length: 4 });
    expect(serve()).toHaveLength(1);
    expect(interrupts).toBe(0);
    expect(ring.collect()).toHaveLength(1);
    ring.setAvailFlags(0);
    ring.add({ address: 0x8000, length: 4 });
    serve();
    expect(interrupts).toBe(1);
  });

  describe('an interrupt that may wait', () => {
    /** One chain more; true if its interrupt is owed. */
    const publishOne = (slack: number): boolean => {
      ring.add({ address: 0x8000, length: 4 });
      while (queue.pop(chain)) queue.push(chain.head, 0);
      return queue.publish(slack);
    };

    test('is owed until a call without slack, or until more has piled up', () => {
      queue.eventIndex = true;
      ring.setUsedEvent(0);
      expect([publishOne(2), publishOne(2), interrupts]).toEqual([true, true, 0]);
      expect(memory.data.getUint16(ring.used + 2, true)).toBe(2);
      expect([publishOne(2), interrupts]).toEqual([false, 1]);
      ring.setUsedEvent(3);
      expect([publishOne(2), interrupts]).toEqual([true, 1]);
      expect([queue.publish(), interrupts]).toEqual([false, 2]);
      expect([queue.publish(), interrupts]).toEqual([false, 2]);
    });

    test('is not sent once the driver has seen the chains itself, however often that happens', () => {
      queue.eventIndex = true;
      for (let i = 0; i < 70_000; i++) {
        ring.setUsedEvent(i);
        if (!publishOne(2)) expect.unreachable(`turn ${i}`);
        ring.collect();
      }
      ring.setUsedEvent(70_000);
      expect([queue.publish(), interrupts]).toEqual([false, 0]);
      expect([publishOne(0), interrupts]).toEqual([false, 1]);
    });

    test('does not exist without event index', () => {
      expect([publishOne(2), interrupts]).toEqual([false, 1]);
    });

    test('is still owed after save and load', () => {
      queue.eventIndex = true;
      ring.setUsedEvent(0);
      expect(publishOne(2)).toBe(true);
      const other = newQueue();
      other.eventIndex = true;
      other.load(queue.save());
      expect([other.publish(), interrupts]).toEqual([false, 1]);
    });
  });

  test('suppressed notifications are asked for again', () => {
    queue.suppressNotification();
    expect(ring.needsKick(0)).toBe(false);
    queue.armNotification();
    ring.add({ address: 0x8000, length: 4 });
    expect(ring.needsKick(0)).toBe(true);
    expect(queue.armNotification()).toBe(true);
  });

  test('several chains in one turn make one interrupt and appear together', () => {
    for (let i = 0; i < 5; i++) ring.add({ address: 0x8000, length: 4 });
    for (let i = 0; i < 5; i++) {
      expect(queue.pop(chain)).toBe(true);
      queue.push(chain.head, i);
      expect(memory.data.getUint16(ring.used + 2, true)).toBe(0);
    }
    queue.publish();
    expect(interrupts).toBe(1);
    expect(ring.collect().map(({ length }) => length)).toEqual([0, 1, 2, 3, 4]);
  });

  test('rewinding gives the turn its chains back', () => {
    for (let i = 0; i < SIZE; i++) ring.add({ address: 0x8000, length: 1 });
    for (let i = 0; i < SIZE; i++) expect(queue.pop(chain)).toBe(true);
    expect(queue.pop(chain)).toBe(false);
    queue.rewind(SIZE);
    expect(queue.pop(chain)).toBe(true);
  });

  test('the event asked for lies after what was taken, whether or not it has been returned', () => {
    queue.eventIndex = true;
    for (let i = 0; i < 3; i++) ring.add({ address: 0x8000, length: 1 });
    for (let i = 0; i < 3; i++) expect(queue.pop(chain)).toBe(true);
    expect(queue.armNotification()).toBe(false);
    expect(ring.availEvent).toBe(3);
  });

  test('rewound chains are handed out again', () => {
    const heads = [0, 1, 2].map(() => ring.add({ address: 0x8000, length: 4 }));
    expect(queue.pop(chain) && queue.pop(chain)).toBe(true);
    queue.rewind(2);
    expect(queue.pop(chain)).toBe(true);
    expect(chain.head).toBe(heads[0]);
    queue.rewind(1);
    queue.publish();
    expect(queue.inFlight).toBe(0);
    expect(serve()).toEqual(heads);
  });
});

describe('life cycle', () => {
  test('V34 after a reset nothing is written and everything starts over', () => {
    ring.add({ address: 0x8000, length: 4, writable: true });
    expect(queue.pop(chain)).toBe(true);
    const { generation } = queue;
    queue.reset();
    const before = memory.bytes.slice();
    queue.push(chain.head, 4);
    queue.publish();
    expect(Buffer.compare(memory.bytes, before)).toBe(0);
    expect(interrupts).toBe(0);
    expect(queue).toMatchObject({ ready: false, inFlight: 0, size: 256 });
    expect(queue.generation).not.toBe(generation);
    expect([...queue.address]).toEqual([0, 0, 0, 0, 0, 0]);
  });

  test('a saved queue goes on where it was', () => {
    queue.eventIndex = true;
    for (let i = 0; i < 5; i++) ring.add({ address: 0x8000, length: 4 });
    serve();
    ring.collect();
    const other = newQueue();
    other.eventIndex = true;
    other.load(structuredClone(queue.save()));
    expect(other.save()).toEqual(queue.save());
    ring.add({ address: 0x8000, length: 4 });
    queue = other;
    expect(serve()).toHaveLength(1);
    expect(ring.collect()).toHaveLength(1);
  });

  test.each([
    ['size', { size: 3 }],
    ['address', { address: [8, 0, 0x2000, 0, 0x3000, 0] }],
    ['in-flight count', { inFlight: -1 }],
  ])('a state with an impossible %s is refused', (_name, wrong) => {
    expect(() => newQueue().load({ ...queue.save(), ...wrong })).toThrow(RangeError);
  });
});
