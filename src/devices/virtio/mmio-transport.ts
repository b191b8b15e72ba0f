import type { DmaMemory } from '../../memory/dma-memory.ts';
import type { Device, IrqLine } from '../device.ts';
import type { Saveable } from '../saveable.ts';
import { type CoreState, VirtioCore } from './core.ts';
import type { VirtioDevice } from './device.ts';

/** virtio over MMIO (virtio 1.2, 4.2): one device in a 512-byte window, as `virtio_mmio.device=512@ADDRESS:IRQ` says. */

export const VIRTIO_MMIO_SIZE = 0x200;

export interface VirtioMmioOptions {
  device: VirtioDevice;
  memory: DmaMemory;
  /** Level-triggered interrupt. */
  irq: IrqLine;
  /** Version 2 (default), or 1 with the legacy queue registers. */
  version?: 1 | 2;
}

export interface VirtioMmioState {
  core: CoreState;
  deviceFeatureSelect: number;
  driverFeatureSelect: number;
  queueSelect: number;
  interruptStatus: number;
  pageSize: number;
  align: number;
  pageNumbers: number[];
}

const MAGIC = 0x7472_6976;
/** "UKLE" in memory order; drivers do not look at it. */
const VENDOR_ID = 0x454c_4b55;
const INTERRUPT_QUEUE = 1;
const INTERRUPT_CONFIG = 2;
const CONFIG = 0x100;
const DEFAULT_ALIGN = 4096;

/** Register offsets (4.2.2 and 4.2.4). */
const Register = {
  magic: 0x000,
  version: 0x004,
  deviceId: 0x008,
  vendorId: 0x00c,
  deviceFeatures: 0x010,
  deviceFeatureSelect: 0x014,
  driverFeatures: 0x020,
  driverFeatureSelect: 0x024,
  guestPageSize: 0x028,
  queueSelect: 0x030,
  queueSizeMax: 0x034,
  queueSize: 0x038,
  queueAlign: 0x03c,
  queuePageNumber: 0x040,
  queueReady: 0x044,
  queueNotify: 0x050,
  interruptStatus: 0x060,
  interruptAcknowledge: 0x064,
  status: 0x070,
  queueDescriptors: 0x080,
  queueDriver: 0x090,
  queueDevice: 0x0a0,
  sharedMemoryLength: 0x0b0,
  sharedMemoryBase: 0x0b8,
  generation: 0x0fc,
} as const;

/** Word of `VirtQueue.address` that each address register is. */
const ADDRESS_WORDS: ReadonlyMap<number, number> = new Map([
  [Register.queueDescriptors, 0],
  [Register.queueDescriptors + 4, 1],
  [Register.queueDriver, 2],
  [Register.queueDriver + 4, 3],
  [Register.queueDevice, 4],
  [Register.queueDevice + 4, 5],
]);

export class VirtioMmio implements Device, Saveable<VirtioMmioState> {
  readonly name: string;
  readonly core: VirtioCore;
  readonly #version: 1 | 2;
  readonly #irq: IrqLine;
  #deviceFeatureSelect = 0;
  #driverFeatureSelect = 0;
  #queueSelect = 0;
  #interruptStatus = 0;
  /** Legacy registers: the guest's page size, and the alignment and page number of each queue. */
  #pageSize = 0;
  #align = DEFAULT_ALIGN;
  readonly #pageNumbers: number[];

  constructor(options: VirtioMmioOptions) {
    const { device, memory, irq, version = 2 } = options;
    this.name = `${device.name}-mmio`;
    this.#version = version;
    this.#irq = irq;
    this.core = new VirtioCore(device, memory, {
      queueInterrupt: () => this.#interrupt(INTERRUPT_QUEUE),
      configInterrupt: () => this.#interrupt(INTERRUPT_CONFIG),
    });
    this.core.legacy = version === 1;
    this.#pageNumbers = device.queueSizes.map(() => 0);
  }

  /** Registers take aligned dwords only (4.2.2.2); the configuration space any width. */
  read(offset: number, width: 1 | 2 | 4): number {
    if (offset >= CONFIG) {
      const value = this.core.readConfig(offset - CONFIG, width);
      return width === 4 ? value >>> 0 : value;
    }
    return width === 4 ? this.#readRegister(offset) : 0;
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    if (offset >= CONFIG) this.core.writeConfig(offset - CONFIG, width, value);
    else if (width === 4) this.#writeRegister(offset, value >>> 0);
  }

  reset(): void {
    this.core.reset();
    this.#deviceFeatureSelect = 0;
    this.#driverFeatureSelect = 0;
    this.#queueSelect = 0;
    this.#align = DEFAULT_ALIGN;
    this.#pageNumbers.fill(0);
    this.#interruptStatus = 0;
    this.#irq.set(false);
  }

  save(): VirtioMmioState {
    return {
      core: this.core.save(),
      deviceFeatureSelect: this.#deviceFeatureSelect,
      driverFeatureSelect: this.#driverFeatureSelect,
      queueSelect: this.#queueSelect,
      interruptStatus: this.#interruptStatus,
      pageSize: this.#pageSize,
      align: this.#align,
      pageNumbers: [...this.#pageNumbers],
    };
  }

  /** Throws a RangeError for a state `save` cannot have made. */
  load(state: VirtioMmioState): void {
    this.core.load(state.core);
    this.#deviceFeatureSelect = state.deviceFeatureSelect >>> 0;
    this.#driverFeatureSelect = state.driverFeatureSelect >>> 0;
    this.#queueSelect = state.queueSelect >>> 0;
    this.#interruptStatus = state.interruptStatus & 3;
    this.#pageSize = state.pageSize >>> 0;
    this.#align = state.align >>> 0;
    for (const index of this.#pageNumbers.keys()) this.#pageNumbers[index] = (state.pageNumbers[index] ?? 0) >>> 0;
    this.#irq.set(this.#interruptStatus !== 0);
  }

  #readRegister(offset: number): number {
    const core = this.core;
    const queue = core.queues[this.#queueSelect];
    switch (offset) {
      case Register.magic:
        return MAGIC;
      case Register.version:
        return this.#version;
      case Register.deviceId:
        return core.device.type;
      case Register.vendorId:
        return VENDOR_ID;
      case Register.deviceFeatures:
        return core.offeredFeatures(this.#deviceFeatureSelect);
      case Register.queueSizeMax:
        return queue?.maxSize ?? 0;
      case Register.queuePageNumber:
        return this.#version === 1 ? (this.#pageNumbers[this.#queueSelect] ?? 0) : 0;
      case Register.queueReady:
        return this.#version === 2 && queue?.ready === true ? 1 : 0;
      case Register.interruptStatus:
        return this.#interruptStatus;
      case Register.status:
        return core.status;
      case Register.sharedMemoryLength:
      case Register.sharedMemoryLength + 4:
      case Register.sharedMemoryBase:
      case Register.sharedMemoryBase + 4:
        // No shared memory regions: length and base are all ones (4.2.2.1).
        return 0xffff_ffff;
      case Register.generation:
        return core.generation;
      default:
        return 0;
    }
  }

  #writeRegister(offset: number, value: number): void {
    const core = this.core;
    const queue = core.queues[this.#queueSelect];
    switch (offset) {
      case Register.deviceFeatureSelect:
        this.#deviceFeatureSelect = value;
        return;
      case Register.driverFeatures:
        core.writeDriverFeatures(this.#driverFeatureSelect, value);
        return;
      case Register.driverFeatureSelect:
        this.#driverFeatureSelect = value;
        return;
      case Register.guestPageSize:
        this.#pageSize = value;
        return;
      case Register.queueSelect:
        this.#queueSelect = value;
        return;
      case Register.queueSize:
        if (queue?.ready === false) queue.size = Math.min(value, 0xffff);
        return;
      case Register.queueAlign:
        this.#align = value;
        return;
      case Register.queuePageNumber:
        this.#setPageNumber(value);
        return;
      case Register.queueReady:
        if (this.#version === 1 || queue === undefined) return;
        if (value === 0) queue.disable();
        else if (!queue.ready) queue.enable();
        return;
      case Register.queueNotify:
        core.kick(value);
        return;
      case Register.interruptAcknowledge:
        this.#interruptStatus &= ~value;
        this.#irq.set(this.#interruptStatus !== 0);
        return;
      case Register.status:
        if ((value & 0xff) === 0) this.reset();
        else core.writeStatus(value & 0xff);
        return;
      default: {
        const word = ADDRESS_WORDS.get(offset);
        if (word !== undefined && this.#version === 2 && queue?.ready === false) queue.address[word] = value;
      }
    }
  }

  #setPageNumber(value: number): void {
    const queue = this.core.queues[this.#queueSelect];
    if (this.#version === 2 || queue === undefined) return;
    const isAligned = this.#align !== 0 && (this.#align & (this.#align - 1)) === 0;
    const done = isAligned && this.core.setLegacyQueue(queue, value * this.#pageSize, this.#align);
    this.#pageNumbers[this.#queueSelect] = done ? value : 0;
  }

  #interrupt(cause: number): void {
    this.#interruptStatus |= cause;
    this.#irq.set(true);
  }
}
