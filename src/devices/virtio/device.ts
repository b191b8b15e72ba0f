import type { DmaMemory } from '../../memory/dma-memory.ts';
import type { VirtQueue } from './queue.ts';

/** Between a device type (net, blk, rng) and whatever transport carries it. */

/** Device types (virtio 1.2, 5). */
export const VirtioType = { net: 1, blk: 2, rng: 4 } as const;

/** Feature bits that belong to queues and transports (virtio 1.2, 6). */
export const Feature = {
  /** Legacy: a message may be framed in descriptors in any way. */
  anyLayout: 27,
  indirectDescriptors: 28,
  eventIndex: 29,
  version1: 32,
} as const;

/** What a device type may ask of its transport. */
export interface VirtioHost {
  readonly memory: DmaMemory;
  readonly queues: readonly VirtQueue[];
  /** The driver is ready and nothing is broken: queues may be used. */
  readonly live: boolean;
  /** VERSION_1 has been negotiated; false for a legacy driver. */
  readonly isModern: boolean;
  /** True if the feature bit has been negotiated. */
  has(feature: number): boolean;
  /** The device's configuration space has changed: the driver is told. */
  configChanged(): void;
}

/** A device type. It never throws, whatever the driver does. */
export interface VirtioDevice {
  readonly name: string;
  readonly type: number;
  /** PCI class code, 24 bits. */
  readonly classCode: number;
  /** Feature bits of the device type it offers (those of queues and transport are added by the transport). */
  readonly features: readonly number[];
  /** Largest size of each queue. */
  readonly queueSizes: readonly number[];
  /** Device-specific configuration space, as it is now. */
  readonly config: Uint8Array;
  /** Called once, before anything else. */
  attach(host: VirtioHost): void;
  /** The driver has finished setting up; features and queues are fixed. May come twice with an early legacy driver. */
  activate(): void;
  /** The driver has added buffers to a queue. */
  notify(queue: number): void;
  /** One byte written to the configuration space; absent: it is read-only. */
  writeConfig?(offset: number, value: number): void;
  reset(): void;
  /** State as plain data; of the device type only, queues are saved by the transport. */
  save(): unknown;
  load(state: unknown): void;
}
