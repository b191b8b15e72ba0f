import { beforeEach, describe, expect, test } from 'vitest';
import { InstructionClock } from '../../../../src/devices/clock.ts';
import { VirtioNet, type VirtioNetOptions } from '../../../../src/devices/virtio/net.ts';
import type { VirtioPciMode } from '../../../../src/devices/virtio/pci-transport.ts';
import type { FrameOffload, NetBackend } from '../../../../src/net/backend.ts';
import { onesComplementSum } from '../../../../src/net/offload.ts';
import { type DriverRing, startDevice, type TransportDriver } from '../../../support/virtio-driver.ts';
import { PciRig } from './rig.ts';

// Cases N01 to N13 of the robustness list; N14 is the user-network backend's.

const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
const DATA = 0x20_0000;
const bit = (...bits: number[]): bigint => bits.reduce((sum, b) => sum | (1n << BigInt(b)), 0n);
const F = { csum: 0, guestCsum: 1, mtu: 3, mac: 5, guestTso4: 7, hostTso4: 11, mergeable: 15, ctrl: 17, ctrlRx: 18 };

class MockBackend implements NetBackend {
  readonly name = 'mock';
  readonly acceptsOffload: boolean;
  readonly frames: { bytes: Uint8Array; offload: FrameOffload | undefined }[] = [];
  onFrame: NetBackend['onFrame'];
  rooms = 0;
  whenSent: (() => void) | undefined;

  constructor(acceptsOffload = false) {
    this.acceptsOffload = acceptsOffload;
  }

  send(frame: Uint8Array, offload?: FrameOffload): void {
    this.frames.push({ bytes: frame.slice(), offload });
    this.whenSent?.();
  }

  onRoom(): void {
    this.rooms++;
  }

  async close(): Promise<void> {}
}

let backend: MockBackend;
let net: VirtioNet;
let rig: PciRig;
let driver: TransportDriver;
let rx: DriverRing;
let tx: DriverRing;
let control: DriverRing;

interface Setup extends Partial<VirtioNetOptions> {
  mode?: VirtioPciMode;
  legacy?: boolean;
  wanted?: bigint;
  acceptsOffload?: boolean;
}

function start(setup: Setup = {}): void {
  const { mode = 'transitional', legacy = false, wanted = 0n, acceptsOffload = false, ...options } = setup;
  backend = new MockBackend(acceptsOffload);
  net = new VirtioNet({ backend, mac: MAC, queueSize: 64, ...options });
  rig = new PciRig(net, mode);
  driver = legacy ? rig.legacy() : rig.modern();
  const rings = startDevice(driver, rig.memory, { wanted });
  rx = rings[0]!;
  tx = rings[1]!;
  control = rings[2]!;
}

/** An Ethernet frame from the guest of `length` bytes with a counting payload. */
function frameOf(length: number): Uint8Array {
  const frame = Uint8Array.from({ length }, (_, i) => i & 0xff);
  frame.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ...MAC].slice(0, length));
  return frame;
}

function put(address: number, ...parts: Uint8Array[]): number {
  let at = address;
  for (const part of parts) {
    rig.memory.bytes.set(part, at);
    at += part.length;
  }
  return at - address;
}

const header = (fields: { flags?: number; gso?: number; size?: number; start?: number; offset?: number } = {}) => {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  bytes[0] = fields.flags ?? 0;
  bytes[1] = fields.gso ?? 0;
  view.setUint16(4, fields.size ?? 0, true);
  view.setUint16(6, fields.start ?? 0, true);
  view.setUint16(8, fields.offset ?? 0, true);
  return bytes;
};

function transmit(...parts: Uint8Array[]): number {
  const length = put(DATA, ...parts);
  const head = tx.add({ address: DATA, length });
  driver.kick(1);
  return head;
}

/** Malformed: returned with 0 bytes, counted, nothing sent, card alive. */
function expectDropped(head: number): void {
  expect(tx.collect()).toEqual([{ head, length: 0 }]);
  expect(backend.frames).toHaveLength(0);
  expect(net.counters.txMalformed).toBe(1);
  expect(driver.readStatus() & 0x40).toBe(0);
  transmit(header(), frameOf(60));
  expect(backend.frames).toHaveLength(1);
}

const received = (length: number, at = DATA): Uint8Array => rig.memory.bytes.slice(at, at + length);

/** Whether the driver has been interrupted since the last time. */
const interrupted = (): boolean => (driver.takeInterruptStatus() & 1) !== 0;

beforeEach(() => start());

describe('the interrupt for sent frames', () => {
  const EVENT_INDEX = bit(29);
  let now: number;
  let clock: InstructionClock;

  beforeEach(() => {
    now = 0;
    clock = new InstructionClock(() => now);
  });

  test('comes at once without a clock', () => {
    start({ wanted: EVENT_INDEX });
    tx.setUsedEvent(0);
    transmit(header(), frameOf(60));
    expect(interrupted()).toBe(true);
  });

  test('waits for the driver to look by itself, but not for ever', () => {
    start({ wanted: EVENT_INDEX, clock });
    tx.setUsedEvent(0);
    const head = transmit(header(), frameOf(60));
    expect(backend.frames).toHaveLength(1);
    expect(interrupted()).toBe(false);
    now = clock.next;
    clock.fire();
    expect(interrupted()).toBe(true);
    expect(tx.collect()).toEqual([{ head, length: 0 }]);
    tx.setUsedEvent(1);
    transmit(header(), frameOf(60));
    // the driver has looked
    tx.setUsedEvent(2);
    now = clock.next;
    clock.fire();
    expect(interrupted()).toBe(false);
  });

  test('does not wait when many have been sent, nor across a reset', () => {
    start({ wanted: EVENT_INDEX, clock });
    tx.setUsedEvent(0);
    let sent = 0;
    do {
      transmit(header(), frameOf(60));
      sent++;
    } while (!interrupted() && sent < 64);
    expect(sent).toBe(9);
    tx.setUsedEvent(sent);
    transmit(header(), frameOf(60));
    driver.writeStatus(0);
    expect(clock.next).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('configuration', () => {
  test('MAC, link status and MTU', () => {
    expect(Array.from({ length: 6 }, (_, i) => driver.readConfig(i, 1))).toEqual([...MAC]);
    expect(driver.readConfig(6, 2)).toBe(1);
    expect(driver.readConfig(10, 2)).toBe(1500);
    net.setLink(false);
    expect(driver.readConfig(6, 2)).toBe(0);
    expect(driver.takeInterruptStatus()).toBe(2);
  });

  test('with the link down frames go nowhere', () => {
    net.setLink(false);
    const head = transmit(header(), frameOf(60));
    expect(tx.collect()).toEqual([{ head, length: 0 }]);
    rx.add({ address: DATA, length: 2000, writable: true });
    expect(backend.onFrame!(frameOf(60))).toBe(true);
    expect([backend.frames.length, rx.collect().length]).toEqual([0, 0]);
    net.setLink(true);
    transmit(header(), frameOf(60));
    expect(backend.onFrame!(frameOf(60))).toBe(true);
    expect([backend.frames.length, rx.collect().length]).toEqual([1, 1]);
  });

  test('a legacy driver without the control queue sets the address in the configuration space', () => {
    start({ legacy: true });
    for (let i = 0; i < 6; i++) driver.writeConfig(i, 1, 0x10 + i);
    expect(driver.readConfig(0, 4)).toBe(0x13121110);
    start();
    driver.writeConfig(0, 4, 0);
    expect(driver.readConfig(0, 4)).toBe(0x12005452);
  });
});

describe('transmit', () => {
  test('a frame in one descriptor, in two, and in pieces', () => {
    const frame = frameOf(100);
    transmit(header(), frame);
    const length = put(DATA, header(), frame);
    tx.add({ address: DATA, length: 12 }, { address: DATA + 12, length: length - 12 });
    tx.add(
      { address: DATA, length: 20 },
      { address: DATA + 20, length: 1 },
      { address: DATA + 21, length: length - 21 },
    );
    // Header and start of the frame together, its end somewhere else.
    rig.memory.bytes.copyWithin(DATA + 0x1000, DATA + 105, DATA + length);
    tx.add({ address: DATA, length: 105 }, { address: DATA + 0x1000, length: length - 105 });
    rig.memory.bytes.fill(0xee, DATA + length, DATA + 0x800);
    driver.kick(1);
    expect(backend.frames.map(({ bytes }) => bytes)).toEqual([frame, frame, frame, frame]);
    expect(tx.collect()).toHaveLength(4);
    expect(net.counters).toMatchObject({ txFrames: 4, txBytes: 400, txMalformed: 0, txForeignSource: 0 });
  });

  test.each([0, 1, 11])('N01 a chain of %i bytes, shorter than the header: dropped', (length) => {
    expectDropped(transmit(header().subarray(0, length)));
  });

  test('N02 a header and nothing else: dropped', () => {
    expectDropped(transmit(header()));
  });

  test('N03 a frame of more than 65562 bytes: dropped; one of 65562 is sent', () => {
    expectDropped(transmit(header(), frameOf(65563)));
    transmit(header(), frameOf(65562));
    expect(backend.frames.at(-1)!.bytes).toHaveLength(65562);
  });

  test('N04 a header split byte by byte', () => {
    const frame = frameOf(60);
    put(DATA, header(), frame);
    const pieces = Array.from({ length: 12 }, (_, i) => ({ address: DATA + i, length: 1 }));
    tx.add(...pieces, { address: DATA + 12, length: 60 });
    driver.kick(1);
    expect(backend.frames.map(({ bytes }) => bytes)).toEqual([frame]);
  });

  test('N05 offload fields are ignored when the features were not negotiated', () => {
    const frame = frameOf(60);
    transmit(header({ flags: 0xff, gso: 1, size: 100, start: 0xffff, offset: 0xffff }), frame);
    transmit(header({ flags: 0xff, gso: 0x7f, start: 59, offset: 1 }), frame);
    expect(backend.frames).toEqual([
      { bytes: frame, offload: undefined },
      { bytes: frame, offload: undefined },
    ]);
  });

  test.each([
    [60, 0],
    [58, 1],
    [0xffff, 0xffff],
    [0, 59],
  ])('N06 a checksum field at %i + %i, outside the frame: dropped', (start_, offset) => {
    start({ wanted: bit(F.csum) });
    expectDropped(transmit(header({ flags: 1, start: start_, offset }), frameOf(60)));
    expect(rig.memory.guardIntact).toBe(true);
  });

  test('N06 a partial checksum is completed, without changing the driver’s buffer', () => {
    start({ wanted: bit(F.csum) });
    const frame = frameOf(61);
    transmit(header({ flags: 1, start: 34, offset: 16 }), frame);
    const sent = backend.frames[0]!.bytes;
    expect(onesComplementSum(sent, 34, 61, (frame[50]! << 8) | frame[51]!)).toBe(0xffff);
    expect(received(61, DATA + 12)).toEqual(frame);
  });

  test.each([true, false])(
    'N07 gso_size 0 with a segmentation type: dropped (backend offload: %s)',
    (acceptsOffload) => {
      start({ wanted: bit(F.csum, F.hostTso4), acceptsOffload });
      expectDropped(transmit(header({ flags: 1, gso: 1, size: 0, start: 34, offset: 16 }), frameOf(200)));
    },
  );

  test('a backend that accepts offload gets the frame as it is', () => {
    start({ wanted: bit(F.csum, F.hostTso4), acceptsOffload: true });
    const frame = frameOf(3000);
    transmit(header({ flags: 1, gso: 0x81, size: 1448, start: 34, offset: 16 }), frame);
    const offload = { needsChecksum: true, csumStart: 34, csumOffset: 16, gso: 'tcp4', gsoSize: 1448 };
    expect(backend.frames).toEqual([{ bytes: frame, offload }]);
  });

  test('N11 a foreign source address is counted, and sent', () => {
    const frame = frameOf(60);
    frame[11]! ^= 1;
    transmit(header(), frame);
    expect(backend.frames).toHaveLength(1);
    expect(net.counters.txForeignSource).toBe(1);
  });

  test('N12 a runt of 13 bytes: dropped', () => {
    expectDropped(transmit(header(), frameOf(13)));
  });

  test('V17 a writable descriptor in a transmit chain: dropped, not written', () => {
    put(DATA, header(), frameOf(60));
    const head = tx.add({ address: DATA, length: 72 }, { address: DATA + 0x1000, length: 64, writable: true });
    driver.kick(1);
    expectDropped(head);
    expect(received(64, DATA + 0x1000).every((byte) => byte === 0)).toBe(true);
  });

  test('V14 a buffer outside RAM: dropped', () => {
    const head = tx.add({ address: 0x7fff_0000, length: 100 });
    driver.kick(1);
    expectDropped(head);
  });

  test('a broken ring stops the card, which works again after a reset', () => {
    tx.setAvailIndex(5000);
    driver.kick(1);
    expect(driver.readStatus() & 0x40).toBe(0x40);
    expect(driver.takeInterruptStatus()).toBe(2);
    expect(backend.onFrame!(frameOf(60))).toBe(true);
    expect(net.counters.rxDropped).toBe(1);
    [rx, tx] = startDevice(driver, rig.memory) as [DriverRing, DriverRing];
    rig.memory.bytes.fill(0, 0, DATA);
    [rx, tx] = startDevice(driver, rig.memory) as [DriverRing, DriverRing];
    transmit(header(), frameOf(60));
    expect(backend.frames).toHaveLength(1);
  });

  test('a frame that comes back before send returns does not disturb the transmit queue', () => {
    rx.add({ address: DATA + 0x8000, length: 2000, writable: true });
    backend.whenSent = () => backend.onFrame!(frameOf(80));
    const head = transmit(header(), frameOf(60));
    expect(tx.collect()).toEqual([{ head, length: 0 }]);
    expect(rx.collect()).toEqual([{ head: expect.any(Number), length: 92 }]);
  });
});

describe('receive', () => {
  test('a frame lands behind a 12-byte header with num_buffers 1', () => {
    const head = rx.add({ address: DATA, length: 2000, writable: true });
    const frame = frameOf(90);
    expect(backend.onFrame!(frame)).toBe(true);
    expect(rx.collect()).toEqual([{ head, length: 102 }]);
    expect([...received(12)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    expect(received(90, DATA + 12)).toEqual(frame);
    expect(driver.takeInterruptStatus()).toBe(1);
    expect(rig.line).toBe(false);
  });

  test('a legacy driver without mergeable buffers has a 10-byte header, with them 12', () => {
    const frame = frameOf(60);
    start({ legacy: true });
    let head = rx.add(
      { address: DATA, length: 10, writable: true },
      { address: DATA + 10, length: 100, writable: true },
    );
    backend.onFrame!(frame);
    expect(rx.collect()).toEqual([{ head, length: 70 }]);
    expect(received(60, DATA + 10)).toEqual(frame);
    transmit(new Uint8Array(10), frame);
    expect(backend.frames.map(({ bytes }) => bytes)).toEqual([frame]);
    start({ legacy: true, wanted: bit(F.mergeable) });
    head = rx.add({ address: DATA, length: 200, writable: true });
    backend.onFrame!(frame);
    expect(rx.collect()).toEqual([{ head, length: 72 }]);
  });

  test('N08 a buffer too small without mergeable buffers: returned with 0 bytes, frame dropped, no byte written', () => {
    const head = rx.add({ address: DATA, length: 71, writable: true });
    expect(backend.onFrame!(frameOf(60))).toBe(true);
    expect(rx.collect()).toEqual([{ head, length: 0 }]);
    expect(received(100).every((byte) => byte === 0)).toBe(true);
    expect(net.counters).toMatchObject({ rxFrames: 0, rxDropped: 1 });
  });

  test('N09 an empty ring holds the frame back; new buffers call the backend', () => {
    const onFrame = backend.onFrame!;
    expect(onFrame(frameOf(60))).toBe(false);
    expect(net.counters.rxNoBuffer).toBe(1);
    expect(backend.rooms).toBe(0);
    rx.add({ address: DATA, length: 2000, writable: true });
    expect(rx.needsKick(0)).toBe(true);
    driver.kick(0);
    expect(backend.rooms).toBe(1);
    expect(onFrame(frameOf(60))).toBe(true);
    rx.add({ address: DATA, length: 2000, writable: true });
    expect(rx.needsKick(1)).toBe(false);
    driver.kick(0);
    expect(backend.rooms).toBe(1);
  });

  test('N09 with event index too', () => {
    start({ wanted: bit(29) });
    expect(backend.onFrame!(frameOf(60))).toBe(false);
    rx.add({ address: DATA, length: 2000, writable: true });
    expect(rx.needsKick(0)).toBe(true);
    driver.kick(0);
    expect(backend.onFrame!(frameOf(60))).toBe(true);
    rx.add({ address: DATA, length: 2000, writable: true });
    expect(rx.needsKick(1)).toBe(false);
  });

  test('N10 a merged frame fills several buffers and says how many', () => {
    start({ wanted: bit(F.mergeable) });
    const heads = [0, 1, 2, 3].map((i) => rx.add({ address: DATA + 0x1000 * i, length: 100, writable: true }));
    const frame = frameOf(250);
    expect(backend.onFrame!(frame)).toBe(true);
    expect(rx.collect()).toEqual([
      { head: heads[0], length: 100 },
      { head: heads[1], length: 100 },
      { head: heads[2], length: 62 },
    ]);
    expect(rig.memory.data.getUint16(DATA + 10, true)).toBe(3);
    const parts = [received(88, DATA + 12), received(100, DATA + 0x1000), received(62, DATA + 0x2000)];
    expect(Uint8Array.from(parts.flatMap((part) => [...part]))).toEqual(frame);
    // One buffer is left: too little, and it stays available.
    expect(backend.onFrame!(frame)).toBe(false);
    expect(rx.collect()).toEqual([]);
    expect(backend.onFrame!(frameOf(60))).toBe(true);
    expect(rx.collect()).toEqual([{ head: heads[3], length: 72 }]);
  });

  test('N10 a frame larger than the whole ring is dropped, not held for ever', () => {
    start({ wanted: bit(F.mergeable), queueSize: 8 });
    for (let i = 0; i < 8; i++) rx.add({ address: DATA, length: 20, writable: true });
    expect(backend.onFrame!(frameOf(1000))).toBe(true);
    expect(rx.collect().map(({ length }) => length)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    expect(net.counters.rxDropped).toBe(1);
  });

  test.each([false, true])(
    'V18 a readable descriptor in a receive chain: 0 bytes, nothing written (merge %s)',
    (merge) => {
      start({ wanted: merge ? bit(F.mergeable) : 0n });
      const head = rx.add({ address: DATA, length: 2000 }, { address: DATA + 0x1000, length: 2000, writable: true });
      expect(backend.onFrame!(frameOf(60))).toBe(true);
      expect(rx.collect()).toEqual([{ head, length: 0 }]);
      expect(received(0x2000).every((byte) => byte === 0)).toBe(true);
    },
  );

  test('frames before the driver is ready are dropped', () => {
    driver.writeStatus(0);
    expect(backend.onFrame!(frameOf(60))).toBe(true);
    expect(net.counters.rxDropped).toBe(1);
  });

  test('a partial checksum goes to a driver that takes it, and is completed for one that does not', () => {
    const offload: FrameOffload = { needsChecksum: true, csumStart: 34, csumOffset: 16, gso: 'none', gsoSize: 0 };
    start({ wanted: bit(F.guestCsum) });
    rx.add({ address: DATA, length: 2000, writable: true });
    backend.onFrame!(frameOf(60), offload);
    expect([...received(12)]).toEqual([1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 1, 0]);
    expect(received(60, DATA + 12)).toEqual(frameOf(60));
    start();
    rx.add({ address: DATA, length: 2000, writable: true });
    backend.onFrame!(frameOf(60), offload);
    expect(received(12)[0]).toBe(0);
    const at = DATA + 12;
    const field = onesComplementSum(frameOf(60), 34, 60);
    expect((rig.memory.bytes[at + 50]! << 8) | rig.memory.bytes[at + 51]!).toBe(~field & 0xffff);
  });

  test('a super-frame is cut for a driver without segmentation, over several refills', () => {
    const frame = tcpFrame(1000);
    const offload: FrameOffload = { needsChecksum: true, csumStart: 34, csumOffset: 16, gso: 'tcp4', gsoSize: 300 };
    rx.add({ address: DATA, length: 2000, writable: true });
    expect(backend.onFrame!(frame, offload)).toBe(true);
    expect(rx.collect()).toEqual([{ head: expect.any(Number), length: 12 + 54 + 300 }]);
    expect(backend.onFrame!(frameOf(60))).toBe(false);
    for (let i = 1; i <= 4; i++) rx.add({ address: DATA + 0x1000 * i, length: 2000, writable: true });
    driver.kick(0);
    expect(rx.collect().map(({ length }) => length - 66)).toEqual([300, 300, 100]);
    expect(backend.rooms).toBe(1);
    expect(backend.onFrame!(frameOf(60))).toBe(true);
  });

  test('segmentation without checksums is not taken at its word', () => {
    start({ wanted: bit(F.guestTso4, F.mergeable) });
    for (let i = 0; i < 5; i++) rx.add({ address: DATA + 0x1000 * i, length: 2000, writable: true });
    const offload: FrameOffload = { needsChecksum: true, csumStart: 34, csumOffset: 16, gso: 'tcp4', gsoSize: 1448 };
    expect(backend.onFrame!(tcpFrame(2000), offload)).toBe(true);
    expect(rx.collect().map(({ length }) => length)).toEqual([12 + 54 + 1448, 12 + 54 + 552]);
    expect([...received(2)]).toEqual([0, 0]);
  });

  test('a super-frame goes whole to a driver with segmentation and merged buffers', () => {
    start({ wanted: bit(F.guestCsum, F.guestTso4, F.mergeable) });
    const frame = tcpFrame(5000);
    const offload: FrameOffload = { needsChecksum: true, csumStart: 34, csumOffset: 16, gso: 'tcp4', gsoSize: 1448 };
    for (let i = 0; i < 5; i++) rx.add({ address: DATA + 0x1000 * i, length: 1536, writable: true });
    expect(backend.onFrame!(frame, offload)).toBe(true);
    expect(rx.collect()).toHaveLength(4);
    expect([...received(12)]).toEqual([1, 1, 0, 0, 1448 & 255, 1448 >> 8, 34, 0, 16, 0, 4, 0]);
  });
});

/** A TCP/IPv4 frame with `payload` bytes and a zero checksum field. */
function tcpFrame(payload: number): Uint8Array {
  const frame = frameOf(54 + payload);
  frame.set([0x08, 0x00, 0x45, 0, (40 + payload) >> 8, (40 + payload) & 255, 0, 1, 0x40, 0, 64, 6], 12);
  frame[46] = 0x50;
  return frame;
}

describe('control queue', () => {
  const COMMAND = DATA;
  const ACK = DATA + 0x2000;

  function command(...bytes: number[]): number {
    rig.memory.bytes[ACK] = 0xee;
    put(COMMAND, Uint8Array.from(bytes));
    control.add(
      { address: COMMAND, length: 2 },
      { address: COMMAND + 2, length: bytes.length - 2 },
      { address: ACK, length: 1, writable: true },
    );
    driver.kick(2);
    expect(control.collect()).toEqual([{ head: expect.any(Number), length: 1 }]);
    return rig.memory.bytes[ACK]!;
  }

  const frameTo = (...address: number[]): Uint8Array => {
    const frame = frameOf(60);
    frame.set(address);
    return frame;
  };

  function isAccepted(frame: Uint8Array): boolean {
    const before = net.counters.rxFiltered;
    rx.add({ address: DATA + 0x8000, length: 2000, writable: true });
    expect(backend.onFrame!(frame)).toBe(true);
    rx.collect();
    return net.counters.rxFiltered === before;
  }

  beforeEach(() => start({ wanted: ~0n }));

  test('receive mode: without promiscuous, only what is addressed to the card', () => {
    expect(isAccepted(frameTo(2, 0, 0, 0, 0, 1))).toBe(true);
    expect(command(0, 0, 0)).toBe(0);
    expect(command(0, 1, 0)).toBe(0);
    expect(isAccepted(frameTo(2, 0, 0, 0, 0, 1))).toBe(false);
    expect(isAccepted(frameTo(...MAC))).toBe(true);
    expect(isAccepted(frameTo(0xff, 0xff, 0xff, 0xff, 0xff, 0xff))).toBe(true);
    expect(isAccepted(frameTo(1, 0, 0x5e, 0, 0, 1))).toBe(false);
    expect(command(0, 1, 1)).toBe(0);
    expect(isAccepted(frameTo(1, 0, 0x5e, 0, 0, 1))).toBe(true);
  });

  test('address tables and address', () => {
    command(0, 0, 0);
    command(0, 1, 0);
    expect(command(1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 1)).toBe(0);
    expect(isAccepted(frameTo(2, 0, 0, 0, 0, 1))).toBe(true);
    expect(isAccepted(frameTo(2, 0, 0, 0, 0, 2))).toBe(false);
    expect(isAccepted(frameTo(1, 0, 0x5e, 0, 0, 1))).toBe(true);
    expect(isAccepted(frameTo(1, 0, 0x5e, 0, 0, 2))).toBe(false);
    expect(command(1, 1, 2, 0, 0, 0, 0, 9)).toBe(0);
    expect(isAccepted(frameTo(2, 0, 0, 0, 0, 9))).toBe(true);
    expect(isAccepted(frameTo(...MAC))).toBe(false);
    expect(driver.readConfig(5, 1)).toBe(9);
  });

  test('more addresses than are kept let everything of their kind through; far too many are refused', () => {
    command(0, 0, 0);
    const table = (count: number): number[] => [count & 255, count >> 8, 0, 0, ...new Array(6 * count).fill(2)];
    expect(command(1, 0, ...table(64), ...table(0))).toBe(0);
    expect(isAccepted(frameTo(2, 0, 0, 0, 0, 1))).toBe(false);
    expect(command(1, 0, ...table(65), ...table(0))).toBe(0);
    expect(isAccepted(frameTo(2, 0, 0, 0, 0, 1))).toBe(true);
    expect(command(1, 0, ...table(0), ...table(0))).toBe(0);
    expect(command(1, 0, ...table(128), ...table(128), ...table(0))).toBe(1);
    expect(command(1, 0, ...table(256), ...table(1))).toBe(1);
    expect(isAccepted(frameTo(2, 0, 0, 0, 0, 1))).toBe(false);
  });

  test('VLAN identifiers are acknowledged', () => {
    expect(command(2, 0, 5, 0)).toBe(0);
    expect(command(2, 1, 5, 0)).toBe(0);
    expect(command(2, 2, 5, 0)).toBe(1);
  });

  test.each([
    ['class', [9, 0, 0]],
    ['receive mode', [0, 9, 0]],
    ['MAC command', [1, 9, 0]],
    ['length of an address', [1, 1, 1, 2, 3]],
    ['table count', [1, 0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]],
    ['table end', [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]],
  ])('N13 an unknown or wrong %s is answered with an error', (_name, bytes) => {
    expect(command(...bytes)).toBe(1);
  });

  test('N13 no room for the answer: ignored, queue alive', () => {
    put(COMMAND, Uint8Array.of(0, 0, 1));
    const head = control.add({ address: COMMAND, length: 3 });
    driver.kick(2);
    expect(control.collect()).toEqual([{ head, length: 0 }]);
    expect(command(0, 0, 1)).toBe(0);
  });

  test('a reset forgets filter and address', () => {
    command(0, 0, 0);
    command(1, 1, 2, 0, 0, 0, 0, 9);
    rig.memory.bytes.fill(0, 0, DATA);
    rx = startDevice(driver, rig.memory, { wanted: ~0n })[0]!;
    expect(driver.readConfig(0, 1)).toBe(MAC[0]);
    expect(isAccepted(frameTo(2, 0, 0, 0, 0, 1))).toBe(true);
  });
});

test('a saved card goes on with its filter, address, starvation and queues', () => {
  start({ wanted: bit(F.mergeable, F.ctrl, F.ctrlRx, 29) });
  expect(backend.onFrame!(frameOf(60))).toBe(false);
  const saved = structuredClone(rig.bus.save());
  const { memory } = rig;
  backend = new MockBackend();
  net = new VirtioNet({ backend, mac: MAC, queueSize: 64 });
  rig = new PciRig(net, 'transitional', memory);
  rig.bus.load(saved);
  expect(rig.bus.save()).toEqual(saved);
  driver = rig.modern();
  const head = rx.add({ address: DATA, length: 2000, writable: true });
  expect(rx.needsKick(0)).toBe(true);
  driver.kick(0);
  expect(backend.rooms).toBe(1);
  expect(backend.onFrame!(frameOf(60))).toBe(true);
  expect(rx.collect()).toEqual([{ head, length: 72 }]);
});
