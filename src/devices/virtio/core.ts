import type { DmaMemory } from '../../memory/dma-memory.ts';
import { Feature, type VirtioDevice, type VirtioHost } from './device.ts';
import { type QueueState, VirtQueue } from './queue.ts';

/** Device status bits (virtio 1.2, 2.1). */
export const Status = {
  acknowledge: 1,
  driver: 2,
  driverOk: 4,
  featuresOk: 8,
  needsReset: 64,
  failed: 128,
} as const;

/** How the core reaches the driver. */
export interface CoreSignals {
  queueInterrupt(queue: number): void;
  configInterrupt(): void;
}

/** The core and its device as plain data. */
export interface CoreState {
  status: number;
  driverFeatures: [number, number];
  legacy: boolean;
  active: boolean;
  broken: boolean;
  generation: number;
  queues: QueueState[];
  device: unknown;
}

/** Legacy queue layout (virtio 1.2, 2.7.2 and 2.7.3): the three parts follow each other, the used ring aligned. */
const LEGACY_ALIGN = 4096;

/**
 * What all transports share: status, feature negotiation, the queues' registers and the failure state.
 * Two kinds of driver meet it: *modern* ones (VERSION_1, FEATURES_OK) and *legacy* ones, whose queues count as soon as
 * they have an address, because such drivers used devices before DRIVER_OK (3.1.2).
 */
export class VirtioCore implements VirtioHost {
  readonly device: VirtioDevice;
  readonly memory: DmaMemory;
  readonly queues: readonly VirtQueue[];
  /** The driver speaks the legacy interface; the transport says so with each of its accesses. */
  legacy = false;
  /** Counts changes of the configuration space, modulo 256. */
  generation = 0;
  /** Why the device needs a reset, if it does. */
  failure: string | undefined;

  readonly #signals: CoreSignals;
  readonly #offered: readonly [number, number];
  readonly #driverFeatures: [number, number] = [0, 0];
  #status = 0;
  #active = false;

  constructor(device: VirtioDevice, memory: DmaMemory, signals: CoreSignals) {
    this.device = device;
    this.memory = memory;
    this.#signals = signals;
    const offered: [number, number] = [0, 0];
    for (const bit of [...device.features, Feature.indirectDescriptors, Feature.eventIndex, Feature.version1]) {
      offered[bit >> 5] = (offered[bit >> 5]! | (1 << (bit & 31))) >>> 0;
    }
    this.#offered = offered;
    this.queues = device.queueSizes.map(
      (size, index) =>
        new VirtQueue(memory, size, {
          interrupt: () => this.#signals.queueInterrupt(index),
          fail: (reason) => this.fail(`queue ${index}: ${reason}`),
        }),
    );
    device.attach(this);
  }

  get live(): boolean {
    return this.#active && this.failure === undefined;
  }

  get isModern(): boolean {
    return this.has(Feature.version1);
  }

  get status(): number {
    return this.#status;
  }

  has(feature: number): boolean {
    return ((this.#driverFeatures[feature >> 5] ?? 0) & this.#offered[feature >> 5]! & (1 << (feature & 31))) !== 0;
  }

  /** Offered features, word 0 or 1; other words are 0. ANY_LAYOUT is shown to legacy drivers only. */
  offeredFeatures(word: number): number {
    if (word === 1) return this.legacy ? 0 : this.#offered[1];
    if (word !== 0) return 0;
    return this.legacy ? (this.#offered[0] | (1 << Feature.anyLayout)) >>> 0 : this.#offered[0];
  }

  driverFeatures(word: number): number {
    return this.#driverFeatures[word] ?? 0;
  }

  writeDriverFeatures(word: number, value: number): void {
    if (word > 1 || (this.#status & Status.featuresOk) !== 0) return;
    this.#driverFeatures[word] = this.legacy ? (value & this.offeredFeatures(word)) >>> 0 : value >>> 0;
    this.#shareFeatures();
  }

  /** Writes the device status (2.1); 0 resets. FEATURES_OK does not stick if the features are not acceptable. */
  writeStatus(value: number): void {
    if (value === 0) {
      this.reset();
      return;
    }
    const before = this.#status;
    let status = (value & 0xff & ~Status.needsReset) | (before & Status.needsReset);
    if (!this.legacy && (status & ~before & Status.featuresOk) !== 0 && !this.#featuresAcceptable()) {
      status &= ~Status.featuresOk;
    }
    this.#status = status;
    const needed = this.legacy ? Status.driverOk : Status.driverOk | Status.featuresOk;
    const ready = (status & needed) === needed;
    if (ready && (before & Status.driverOk) === 0) this.#activate();
    else if (!ready) this.#active = false;
  }

  /** The driver has notified a queue; an unknown or unready queue, or one before DRIVER_OK, is ignored. */
  kick(index: number): void {
    const queue = this.queues[index];
    if (queue === undefined || !queue.ready || this.failure !== undefined) return;
    if (!this.#active) {
      if (!this.legacy) return;
      this.#activate();
    }
    this.device.notify(index);
  }

  /** Sets a legacy queue's address in bytes (0 stops it) with the layout of 2.7.2; false if it was refused. */
  setLegacyQueue(queue: VirtQueue, address: number, align = LEGACY_ALIGN): boolean {
    queue.disable();
    const size = queue.size;
    const avail = address + 16 * size;
    const used = Math.ceil((avail + 6 + 2 * size) / align) * align;
    [address, avail, used].forEach((part, index) => {
      queue.address[2 * index] = part % 0x1_0000_0000;
      queue.address[2 * index + 1] = Math.floor(part / 0x1_0000_0000);
    });
    return address !== 0 && queue.enable();
  }

  readConfig(offset: number, width: number): number {
    const config = this.device.config;
    let value = 0;
    for (let i = width - 1; i >= 0; i--) value = value * 256 + (config[offset + i] ?? 0);
    return value;
  }

  writeConfig(offset: number, width: number, value: number): void {
    for (let i = 0; i < width; i++) {
      if (offset + i < this.device.config.length) this.device.writeConfig?.(offset + i, (value >>> (8 * i)) & 0xff);
    }
  }

  configChanged(): void {
    this.generation = (this.generation + 1) & 0xff;
    if ((this.#status & Status.driverOk) !== 0) this.#signals.configInterrupt();
  }

  /** Stops the device until the driver resets it, and tells a modern driver so (2.1.2). */
  fail(reason: string): void {
    if (this.failure !== undefined) return;
    this.failure = reason;
    for (const queue of this.queues) queue.halted = true;
    if (this.legacy || (this.#status & Status.driverOk) === 0) return;
    this.#status |= Status.needsReset;
    this.#signals.configInterrupt();
  }

  reset(): void {
    this.#status = 0;
    this.#active = false;
    this.failure = undefined;
    this.#driverFeatures.fill(0);
    for (const queue of this.queues) queue.reset();
    this.device.reset();
  }

  save(): CoreState {
    return {
      status: this.#status,
      driverFeatures: [this.#driverFeatures[0], this.#driverFeatures[1]],
      legacy: this.legacy,
      active: this.#active,
      broken: this.failure !== undefined,
      generation: this.generation,
      queues: this.queues.map((queue) => queue.save()),
      device: this.device.save(),
    };
  }

  /** Throws a RangeError for a state `save` cannot have made. */
  load(state: CoreState): void {
    if (state.queues.length !== this.queues.length) throw new RangeError(`${this.device.name}: saved number of queues`);
    this.reset();
    this.#status = state.status & 0xff;
    this.legacy = state.legacy;
    this.generation = state.generation & 0xff;
    this.#driverFeatures[0] = state.driverFeatures[0] >>> 0;
    this.#driverFeatures[1] = state.driverFeatures[1] >>> 0;
    this.#shareFeatures();
    this.queues.forEach((queue, index) => {
      queue.load(state.queues[index]!);
    });
    this.#active = state.active;
    if (state.broken) {
      this.failure = 'broken when saved';
      for (const queue of this.queues) queue.halted = true;
    }
    this.device.load(state.device);
  }

  #activate(): void {
    this.#active = true;
    this.device.activate();
  }

  #featuresAcceptable(): boolean {
    const [low, high] = this.#driverFeatures;
    return (low & ~this.#offered[0]) === 0 && (high & ~this.#offered[1]) === 0 && this.has(Feature.version1);
  }

  #shareFeatures(): void {
    for (const queue of this.queues) {
      queue.indirect = this.has(Feature.indirectDescriptors);
      queue.eventIndex = this.has(Feature.eventIndex);
    }
  }
}
