import type { Device } from '../../src/devices/device.ts';
import type { DmaMemory } from '../../src/memory/dma-memory.ts';

/** A virtio *driver* on plain memory, so that devices and transports are tested without a guest. */

/** RAM at [0, size) with a guard on both sides of the backing store; `writes` counts calls of `writable`. */
export class TestMemory implements DmaMemory {
  readonly size: number;
  readonly bytes: Uint8Array;
  readonly data: DataView;
  readonly #backing: Uint8Array;
  static readonly #GUARD = 4096;

  constructor(size: number) {
    this.size = size;
    this.#backing = new Uint8Array(size + 2 * TestMemory.#GUARD).fill(0xa5);
    this.bytes = this.#backing.subarray(TestMemory.#GUARD, TestMemory.#GUARD + size).fill(0);
    this.data = new DataView(this.#backing.buffer, TestMemory.#GUARD, size);
  }

  contains(address: number, length: number): boolean {
    return address >= 0 && length >= 0 && address + length <= this.size;
  }

  view(address: number, length: number): Uint8Array | undefined {
    return this.contains(address, length) ? this.bytes.subarray(address, address + length) : undefined;
  }

  writable(address: number, length: number): Uint8Array | undefined {
    return this.view(address, length);
  }

  /** True while nothing outside RAM has been written. */
  get guardIntact(): boolean {
    const guard = TestMemory.#GUARD;
    const isGuard = (byte: number): boolean => byte === 0xa5;
    return this.#backing.subarray(0, guard).every(isGuard) && this.#backing.subarray(guard + this.size).every(isGuard);
  }
}

export interface DriverBuffer {
  address: number;
  length: number;
  /** The device may write it. */
  writable?: boolean;
}

export interface UsedElement {
  head: number;
  length: number;
}

export interface RingOptions {
  eventIndex?: boolean;
  indirect?: boolean;
}

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

/** The driver's half of a split virtqueue (virtio 1.2, 2.7), laid out as the legacy interface wants it. */
export class DriverRing {
  readonly memory: TestMemory;
  readonly size: number;
  readonly descriptors: number;
  readonly avail: number;
  readonly used: number;
  /** First byte after the ring. */
  readonly end: number;
  eventIndex: boolean;
  /** Tables for indirect chains are built here, one page a head. */
  indirectArea: number | undefined;
  availIndex = 0;
  usedIndex = 0;
  readonly #free: number[];
  readonly #lengths = new Map<number, number[]>();

  constructor(memory: TestMemory, address: number, size: number, options: RingOptions = {}) {
    this.memory = memory;
    this.size = size;
    this.descriptors = address;
    this.avail = address + 16 * size;
    this.used = Math.ceil((this.avail + 6 + 2 * size) / 4096) * 4096;
    this.end = Math.ceil((this.used + 6 + 8 * size) / 4096) * 4096;
    this.eventIndex = options.eventIndex ?? false;
    if (options.indirect === true) this.indirectArea = this.end;
    this.#free = Array.from({ length: size }, (_, i) => size - 1 - i);
  }

  setDescriptor(index: number, address: number, length: number, flags: number, next: number, table?: number): void {
    const at = (table ?? this.descriptors) + 16 * index;
    const { data } = this.memory;
    data.setBigUint64(at, BigInt(address), true);
    data.setUint32(at + 8, length, true);
    data.setUint16(at + 12, flags, true);
    data.setUint16(at + 14, next, true);
  }

  /** Puts a head into the available ring and moves the index. */
  offer(head: number): void {
    this.memory.data.setUint16(this.avail + 4 + 2 * (this.availIndex % this.size), head, true);
    this.setAvailIndex(this.availIndex + 1);
  }

  setAvailIndex(index: number): void {
    this.availIndex = index & 0xffff;
    this.memory.data.setUint16(this.avail + 2, this.availIndex, true);
  }

  get freeDescriptors(): number {
    return this.#free.length;
  }

  /** Offers a chain of buffers; returns its head. Throws when descriptors have run out. */
  add(...buffers: DriverBuffer[]): number {
    if (this.indirectArea !== undefined) {
      const head = this.#take();
      const table = this.indirectArea + head * 256;
      buffers.forEach((buffer, i) => {
        const flags = (buffer.writable === true ? WRITE : 0) | (i + 1 < buffers.length ? NEXT : 0);
        this.setDescriptor(i, buffer.address, buffer.length, flags, i + 1, table);
      });
      this.setDescriptor(head, table, 16 * buffers.length, INDIRECT, 0);
      this.#lengths.set(head, [head]);
      this.offer(head);
      return head;
    }
    const indices = buffers.map(() => this.#take());
    buffers.forEach((buffer, i) => {
      const flags = (buffer.writable === true ? WRITE : 0) | (i + 1 < buffers.length ? NEXT : 0);
      this.setDescriptor(indices[i]!, buffer.address, buffer.length, flags, indices[i + 1] ?? 0);
    });
    this.#lengths.set(indices[0]!, indices);
    this.offer(indices[0]!);
    return indices[0]!;
  }

  /** Takes what the device has returned since the last call and frees the descriptors. */
  collect(): UsedElement[] {
    const { data } = this.memory;
    const elements: UsedElement[] = [];
    const end = data.getUint16(this.used + 2, true);
    while (this.usedIndex !== end) {
      const at = this.used + 4 + 8 * (this.usedIndex % this.size);
      const head = data.getUint32(at, true);
      elements.push({ head, length: data.getUint32(at + 4, true) });
      this.#free.push(...(this.#lengths.get(head) ?? []));
      this.#lengths.delete(head);
      this.usedIndex = (this.usedIndex + 1) & 0xffff;
    }
    if (this.eventIndex) this.setUsedEvent(this.usedIndex);
    return elements;
  }

  setUsedEvent(index: number): void {
    this.memory.data.setUint16(this.avail + 4 + 2 * this.size, index & 0xffff, true);
  }

  setAvailFlags(flags: number): void {
    this.memory.data.setUint16(this.avail, flags, true);
  }

  get availEvent(): number {
    return this.memory.data.getUint16(this.used + 4 + 8 * this.size, true);
  }

  get usedFlags(): number {
    return this.memory.data.getUint16(this.used, true);
  }

  /** Whether the device wants to hear of the chains offered since the index was `old` (2.7.10). */
  needsKick(old: number): boolean {
    if (!this.eventIndex) return (this.usedFlags & 1) === 0;
    return ((this.availIndex - this.availEvent - 1) & 0xffff) < ((this.availIndex - old) & 0xffff);
  }

  #take(): number {
    const index = this.#free.pop();
    if (index === undefined) throw new Error('driver ring: out of descriptors');
    return index;
  }
}

/** What a driver does to a device through any transport. */
export interface TransportDriver {
  readonly kind: string;
  readStatus(): number;
  writeStatus(value: number): void;
  deviceFeatures(): bigint;
  writeFeatures(features: bigint): void;
  queueSize(index: number): number;
  /** Hands a ring to the device; `vector` is its MSI-X vector where there are vectors. */
  setupQueue(index: number, ring: DriverRing, vector?: number): void;
  kick(index: number): void;
  readConfig(offset: number, width: 1 | 2 | 4): number;
  writeConfig(offset: number, width: 1 | 2 | 4, value: number): void;
  /** Reads (and so acknowledges) the interrupt status. */
  takeInterruptStatus(): number;
}

export const FEATURE_VERSION_1 = 1n << 32n;
export const FEATURE_INDIRECT = 1n << 28n;
export const FEATURE_EVENT_INDEX = 1n << 29n;

/** The modern PCI interface, through one window that holds all regions. */
export class ModernPciDriver implements TransportDriver {
  readonly kind = 'modern';
  readonly #bar: Device;
  readonly regions: { common: number; isr: number; device: number; notify: number; multiplier: number };

  constructor(bar: Device, regions: ModernPciDriver['regions']) {
    this.#bar = bar;
    this.regions = regions;
  }

  common(offset: number, width: 1 | 2 | 4): number {
    return this.#bar.read(this.regions.common + offset, width);
  }

  setCommon(offset: number, width: 1 | 2 | 4, value: number): void {
    this.#bar.write(this.regions.common + offset, width, value);
  }

  readStatus(): number {
    return this.common(20, 1);
  }

  writeStatus(value: number): void {
    this.setCommon(20, 1, value);
  }

  deviceFeatures(): bigint {
    let features = 0n;
    for (let word = 0; word < 2; word++) {
      this.setCommon(0, 4, word);
      features |= BigInt(this.common(4, 4)) << BigInt(32 * word);
    }
    return features;
  }

  writeFeatures(features: bigint): void {
    for (let word = 0; word < 2; word++) {
      this.setCommon(8, 4, word);
      this.setCommon(12, 4, Number((features >> BigInt(32 * word)) & 0xffff_ffffn));
    }
  }

  queueSize(index: number): number {
    this.setCommon(22, 2, index);
    return this.common(24, 2);
  }

  setupQueue(index: number, ring: DriverRing, vector?: number): void {
    this.setCommon(22, 2, index);
    this.setCommon(24, 2, ring.size);
    if (vector !== undefined) this.setCommon(26, 2, vector);
    [ring.descriptors, ring.avail, ring.used].forEach((address, i) => {
      this.setCommon(32 + 8 * i, 4, address % 2 ** 32);
      this.setCommon(36 + 8 * i, 4, Math.floor(address / 2 ** 32));
    });
    this.setCommon(28, 2, 1);
  }

  kick(index: number): void {
    this.setCommon(22, 2, index);
    this.#bar.write(this.regions.notify + this.common(30, 2) * this.regions.multiplier, 2, index);
  }

  readConfig(offset: number, width: 1 | 2 | 4): number {
    return this.#bar.read(this.regions.device + offset, width);
  }

  writeConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    this.#bar.write(this.regions.device + offset, width, value);
  }

  takeInterruptStatus(): number {
    return this.#bar.read(this.regions.isr, 1);
  }
}

/** The legacy I/O BAR. */
export class LegacyPciDriver implements TransportDriver {
  readonly kind = 'legacy';
  readonly #bar: Device;
  /** 20, or 24 while MSI-X is enabled. */
  configOffset = 20;

  constructor(bar: Device) {
    this.#bar = bar;
  }

  readStatus(): number {
    return this.#bar.read(18, 1);
  }

  writeStatus(value: number): void {
    this.#bar.write(18, 1, value);
  }

  deviceFeatures(): bigint {
    return BigInt(this.#bar.read(0, 4));
  }

  writeFeatures(features: bigint): void {
    this.#bar.write(4, 4, Number(features & 0xffff_ffffn));
  }

  queueSize(index: number): number {
    this.#bar.write(14, 2, index);
    return this.#bar.read(12, 2);
  }

  setupQueue(index: number, ring: DriverRing, vector?: number): void {
    this.#bar.write(14, 2, index);
    this.#bar.write(8, 4, ring.descriptors / 4096);
    if (vector !== undefined) this.#bar.write(22, 2, vector);
  }

  kick(index: number): void {
    this.#bar.write(16, 2, index);
  }

  readConfig(offset: number, width: 1 | 2 | 4): number {
    return this.#bar.read(this.configOffset + offset, width);
  }

  writeConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    this.#bar.write(this.configOffset + offset, width, value);
  }

  takeInterruptStatus(): number {
    return this.#bar.read(19, 1);
  }
}

/** The MMIO transport, version 2 or (legacy) 1. */
export class MmioDriver implements TransportDriver {
  readonly kind: string;
  readonly #device: Device;
  readonly #version: number;

  constructor(device: Device) {
    this.#device = device;
    this.#version = device.read(0x004, 4);
    this.kind = `mmio-v${this.#version}`;
    if (this.#version === 1) device.write(0x028, 4, 4096);
  }

  readStatus(): number {
    return this.#device.read(0x070, 4);
  }

  writeStatus(value: number): void {
    this.#device.write(0x070, 4, value);
  }

  deviceFeatures(): bigint {
    let features = 0n;
    for (let word = 0; word < 2; word++) {
      this.#device.write(0x014, 4, word);
      features |= BigInt(this.#device.read(0x010, 4)) << BigInt(32 * word);
    }
    return features;
  }

  writeFeatures(features: bigint): void {
    for (let word = 0; word < 2; word++) {
      this.#device.write(0x024, 4, word);
      this.#device.write(0x020, 4, Number((features >> BigInt(32 * word)) & 0xffff_ffffn));
    }
  }

  queueSize(index: number): number {
    this.#device.write(0x030, 4, index);
    return this.#device.read(0x034, 4);
  }

  setupQueue(index: number, ring: DriverRing): void {
    this.#device.write(0x030, 4, index);
    this.#device.write(0x038, 4, ring.size);
    if (this.#version === 1) {
      this.#device.write(0x028, 4, 4096);
      this.#device.write(0x03c, 4, 4096);
      this.#device.write(0x040, 4, ring.descriptors / 4096);
      return;
    }
    [ring.descriptors, ring.avail, ring.used].forEach((address, i) => {
      this.#device.write(0x080 + 16 * i, 4, address % 2 ** 32);
      this.#device.write(0x084 + 16 * i, 4, Math.floor(address / 2 ** 32));
    });
    this.#device.write(0x044, 4, 1);
  }

  kick(index: number): void {
    this.#device.write(0x050, 4, index);
  }

  readConfig(offset: number, width: 1 | 2 | 4): number {
    return this.#device.read(0x100 + offset, width);
  }

  writeConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    this.#device.write(0x100 + offset, width, value);
  }

  takeInterruptStatus(): number {
    const status = this.#device.read(0x060, 4);
    this.#device.write(0x064, 4, status);
    return status;
  }
}

export interface StartOptions {
  /** Features wanted, of those offered. */
  wanted?: bigint;
  /** Sizes of the rings; default what the device offers. */
  queueSizes?: readonly number[];
  /** Address of the first ring, a multiple of 4096. */
  ringsAt?: number;
  /** MSI-X vectors by queue. */
  vectors?: readonly number[];
  queues?: number;
}

/** Takes a device through initialisation as a driver does (virtio 1.2, 3.1.1); returns the rings. */
export function startDevice(driver: TransportDriver, memory: TestMemory, options: StartOptions = {}): DriverRing[] {
  driver.writeStatus(0);
  driver.writeStatus(1);
  driver.writeStatus(3);
  const offered = driver.deviceFeatures();
  const isModern = (offered & FEATURE_VERSION_1) !== 0n;
  const features = offered & ((options.wanted ?? ~0n) | (isModern ? FEATURE_VERSION_1 : 0n));
  driver.writeFeatures(features);
  let status = 3;
  if (isModern) {
    status |= 8;
    driver.writeStatus(status);
    if ((driver.readStatus() & 8) === 0) throw new Error('driver: features refused');
  }
  const rings: DriverRing[] = [];
  let at = options.ringsAt ?? 0x1000;
  for (let index = 0; index < (options.queues ?? 16); index++) {
    const offeredSize = driver.queueSize(index);
    if (offeredSize === 0) break;
    const ring = new DriverRing(memory, at, options.queueSizes?.[index] ?? offeredSize, {
      eventIndex: (features & FEATURE_EVENT_INDEX) !== 0n,
    });
    at = ring.end;
    driver.setupQueue(index, ring, options.vectors?.[index]);
    rings.push(ring);
  }
  driver.writeStatus(status | 4);
  return rings;
}
