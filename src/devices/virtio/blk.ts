import type { BlockStore } from './block-store.ts';
import { type ChainState, DescriptorChain } from './chain.ts';
import { type VirtioDevice, type VirtioHost, VirtioType } from './device.ts';
import type { VirtQueue } from './queue.ts';

/** Disk (virtio 1.2, 5.2). */

export const SECTOR = 512;

const BlkFeature = { segMax: 2, readonly: 5, blockSize: 6, flush: 9, discard: 13, writeZeroes: 14 } as const;
const RequestType = { read: 0, write: 1, flush: 4, getId: 8, discard: 11, writeZeroes: 13 } as const;
export const BlkStatus = { ok: 0, ioError: 1, unsupported: 2 } as const;

const HEADER_SIZE = 16;
const ID_SIZE = 20;
const RANGE_SIZE = 16;
const MAX_RANGES = 16;
/** Sectors one range of a discard or of zeroes may have: 16 MiB. */
const MAX_RANGE_SECTORS = 0x8000;
const FLAG_UNMAP = 1;
/** Bytes moved at a time, so that a request of any size needs little host memory. */
const CHUNK = 0x4_0000;
const ZEROES = new Uint8Array(CHUNK);

export interface VirtioBlkOptions {
  store: BlockStore;
  /** What GET_ID answers, at most 20 bytes of ASCII. */
  id?: string;
  queueSize?: number;
}

export interface BlkCounters {
  requests: number;
  readBytes: number;
  writtenBytes: number;
  /** Requests answered with an error status, and chains without room for header or status. */
  errors: number;
  malformed: number;
}

interface BlkState {
  inFlight: ChainState[];
}

/** A range of a discard or of zeroes, in bytes. */
interface Range {
  offset: number;
  length: number;
}

type Pending = void | Promise<void>;

/** Runs steps one after another, without leaving the call as long as they finish at once. */
function inSequence(count: number, step: (index: number) => Pending): Pending {
  for (let i = 0; i < count; i++) {
    const pending = step(i);
    if (pending !== undefined) return continueSequence(pending, i + 1, count, step);
  }
}

async function continueSequence(
  first: Promise<void>,
  from: number,
  count: number,
  step: (index: number) => Pending,
): Promise<void> {
  await first;
  for (let i = from; i < count; i++) await step(i);
}

export class VirtioBlk implements VirtioDevice {
  readonly name = 'virtio-blk';
  readonly type = VirtioType.blk;
  readonly classCode = 0x010000;
  readonly features: readonly number[];
  readonly queueSizes: readonly number[];
  readonly config = new Uint8Array(60);
  readonly counters: BlkCounters = { requests: 0, readBytes: 0, writtenBytes: 0, errors: 0, malformed: 0 };

  readonly #store: BlockStore;
  readonly #id = new Uint8Array(ID_SIZE);
  #host!: VirtioHost;
  #queue!: VirtQueue;
  /** Chains of unfinished requests, and those free for use. */
  readonly #inFlight = new Set<DescriptorChain>();
  readonly #free: DescriptorChain[] = [];
  #unfinished = 0;
  #whenIdle: (() => void)[] = [];

  constructor(options: VirtioBlkOptions) {
    const { store, id = '', queueSize = 128 } = options;
    this.#store = store;
    new TextEncoder().encodeInto(id, this.#id);
    this.queueSizes = [queueSize];
    const features: number[] = [BlkFeature.segMax, BlkFeature.blockSize, BlkFeature.flush];
    if (store.readonly) features.push(BlkFeature.readonly);
    else features.push(BlkFeature.writeZeroes, ...(store.canDiscard ? [BlkFeature.discard] : []));
    this.features = features;
    const config = new DataView(this.config.buffer);
    config.setBigUint64(0, BigInt(Math.floor(store.size / SECTOR)), true);
    // Header and status take two descriptors of a chain.
    config.setUint32(12, Math.max(1, queueSize - 2), true);
    config.setUint32(20, SECTOR, true);
    config.setUint32(36, MAX_RANGE_SECTORS, true);
    config.setUint32(40, MAX_RANGES, true);
    config.setUint32(44, 1, true);
    config.setUint32(48, MAX_RANGE_SECTORS, true);
    config.setUint32(52, MAX_RANGES, true);
  }

  attach(host: VirtioHost): void {
    this.#host = host;
    this.#queue = host.queues[0]!;
  }

  activate(): void {}

  notify(): void {
    const queue = this.#queue;
    do {
      for (;;) {
        const chain = this.#free.pop() ?? new DescriptorChain(this.#host.memory);
        if (!queue.pop(chain)) {
          this.#free.push(chain);
          break;
        }
        this.#start(chain);
      }
    } while (queue.armNotification());
    queue.publish();
  }

  /** Requests under way run on, but no longer touch the guest. */
  reset(): void {
    this.#inFlight.clear();
  }

  /** Resolves when no request is under way: before the store is closed, say. */
  drain(): Promise<void> {
    return this.#unfinished === 0 ? Promise.resolve() : new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  /** Unfinished requests are saved as they came and run again after `load`: each gives the same result twice. */
  save(): BlkState {
    return { inFlight: [...this.#inFlight].map((chain) => chain.save()) };
  }

  load(saved: unknown): void {
    this.#inFlight.clear();
    for (const state of (saved as BlkState).inFlight) {
      const chain = new DescriptorChain(this.#host.memory);
      chain.load(state);
      // Not before the rest of the machine has been restored.
      const { generation } = this.#queue;
      this.#inFlight.add(chain);
      void Promise.resolve().then(() => {
        if (generation !== this.#queue.generation) return;
        this.#start(chain);
        this.#queue.publish();
      });
    }
  }

  #start(chain: DescriptorChain): void {
    if (chain.malformed || chain.readableLength < HEADER_SIZE || chain.writableLength === 0) {
      this.counters.malformed++;
      this.#release(chain);
      this.#queue.push(chain.head, 0);
      return;
    }
    this.counters.requests++;
    const { generation } = this.#queue;
    const isCurrent = (): boolean => generation === this.#queue.generation && !this.#queue.halted;
    let outcome: number | Promise<number>;
    try {
      outcome = this.#execute(chain, isCurrent);
    } catch {
      outcome = BlkStatus.ioError;
    }
    if (typeof outcome === 'number') {
      this.#finish(chain, outcome);
      return;
    }
    this.#inFlight.add(chain);
    this.#unfinished++;
    void outcome
      .catch(() => BlkStatus.ioError)
      .then((status) => {
        this.#inFlight.delete(chain);
        if (isCurrent()) {
          this.#finish(chain, status);
          this.#queue.publish();
        }
        if (--this.#unfinished === 0) for (const resolve of this.#whenIdle.splice(0)) resolve();
      });
  }

  #finish(chain: DescriptorChain, status: number): void {
    if (status !== BlkStatus.ok) this.counters.errors++;
    chain.scatter(chain.writableLength - 1, Uint8Array.of(status));
    // All of the writable part, since the status is its last byte (5.2.6).
    this.#queue.push(chain.head, chain.writableLength);
    this.#release(chain);
  }

  #release(chain: DescriptorChain): void {
    this.#inFlight.delete(chain);
    this.#free.push(chain);
  }

  /** Does what the request says and returns its status, at once if the store answers at once. */
  #execute(chain: DescriptorChain, isCurrent: () => boolean): number | Promise<number> {
    const header = new Uint8Array(HEADER_SIZE);
    chain.gather(0, header);
    const view = new DataView(header.buffer);
    const offset = (view.getUint32(8, true) + view.getUint32(12, true) * 0x1_0000_0000) * SECTOR;
    switch (view.getUint32(0, true)) {
      case RequestType.read:
        return this.#read(chain, offset, isCurrent);
      case RequestType.write:
        return this.#write(chain, offset, isCurrent);
      case RequestType.flush:
        return this.#status(this.#store.flush());
      case RequestType.getId:
        chain.scatter(0, this.#id.subarray(0, Math.min(ID_SIZE, chain.writableLength - 1)));
        return BlkStatus.ok;
      case RequestType.discard:
        return this.#overRanges(chain, 0, ({ offset: at, length }) => this.#store.discard(at, length));
      case RequestType.writeZeroes:
        return this.#overRanges(chain, FLAG_UNMAP, ({ offset: at, length }) =>
          inSequence(Math.ceil(length / CHUNK), (i) => {
            const size = Math.min(CHUNK, length - i * CHUNK);
            return this.#store.writeAt(at + i * CHUNK, ZEROES.subarray(0, size));
          }),
        );
      default:
        return BlkStatus.unsupported;
    }
  }

  #read(chain: DescriptorChain, offset: number, isCurrent: () => boolean): number | Promise<number> {
    const length = chain.writableLength - 1;
    if (!this.#isInside(offset, length)) return BlkStatus.ioError;
    const buffer = new Uint8Array(Math.min(length, CHUNK));
    this.counters.readBytes += length;
    return this.#status(
      inSequence(Math.ceil(length / CHUNK), (i) => {
        const part = buffer.subarray(0, Math.min(CHUNK, length - i * CHUNK));
        const deliver = (): void => {
          if (isCurrent()) chain.scatter(i * CHUNK, part);
        };
        const pending = this.#store.readAt(offset + i * CHUNK, part);
        if (pending !== undefined) return pending.then(deliver);
        deliver();
        return undefined;
      }),
    );
  }

  #write(chain: DescriptorChain, offset: number, isCurrent: () => boolean): number | Promise<number> {
    const length = chain.readableLength - HEADER_SIZE;
    if (this.#store.readonly || !this.#isInside(offset, length)) return BlkStatus.ioError;
    const buffer = new Uint8Array(Math.min(length, CHUNK));
    this.counters.writtenBytes += length;
    const chunks = Math.ceil(length / CHUNK);
    // Without the flush command the driver counts on every write being durable (5.2.6.2).
    const isWriteThrough = !this.#host.has(BlkFeature.flush);
    return this.#status(
      inSequence(chunks + (isWriteThrough ? 1 : 0), (i) => {
        if (!isCurrent()) return;
        if (i === chunks) return this.#store.flush();
        const part = buffer.subarray(0, Math.min(CHUNK, length - i * CHUNK));
        chain.gather(HEADER_SIZE + i * CHUNK, part);
        return this.#store.writeAt(offset + i * CHUNK, part);
      }),
    );
  }

  /** Checks all ranges of a discard or write-zeroes request (5.2.6.1), then applies `action` to each. */
  #overRanges(chain: DescriptorChain, flags: number, action: (range: Range) => Pending): number | Promise<number> {
    const length = chain.readableLength - HEADER_SIZE;
    if (this.#store.readonly || length === 0 || length % RANGE_SIZE !== 0 || length > MAX_RANGES * RANGE_SIZE) {
      return BlkStatus.ioError;
    }
    const bytes = new Uint8Array(length);
    chain.gather(HEADER_SIZE, bytes);
    const view = new DataView(bytes.buffer);
    const ranges: Range[] = [];
    for (let at = 0; at < length; at += RANGE_SIZE) {
      const sectors = view.getUint32(at + 8, true);
      const offset = (view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x1_0000_0000) * SECTOR;
      if ((view.getUint32(at + 12, true) & ~flags) !== 0) return BlkStatus.unsupported;
      if (sectors > MAX_RANGE_SECTORS || !this.#isInside(offset, sectors * SECTOR)) return BlkStatus.ioError;
      ranges.push({ offset, length: sectors * SECTOR });
    }
    return this.#status(inSequence(ranges.length, (i) => action(ranges[i]!)));
  }

  #isInside(offset: number, length: number): boolean {
    return length % SECTOR === 0 && offset + length <= this.#store.size;
  }

  #status(pending: Pending): number | Promise<number> {
    return pending === undefined ? BlkStatus.ok : pending.then(() => BlkStatus.ok);
  }
}
