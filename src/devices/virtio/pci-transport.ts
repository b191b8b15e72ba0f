import type { DmaMemory } from '../../memory/dma-memory.ts';
import type { Device } from '../device.ts';
import type { MsiSink } from '../pci/address-space.ts';
import { PciFunction } from '../pci/function.ts';
import { type CoreState, VirtioCore } from './core.ts';
import type { VirtioDevice } from './device.ts';

/** virtio over PCI (virtio 1.2, 4.1). */

export type VirtioPciMode = 'legacy' | 'transitional' | 'modern';

export interface VirtioPciOptions {
  device: VirtioDevice;
  memory: DmaMemory;
  /** Receives MSI-X messages. */
  msi: MsiSink;
  /** Which interfaces the function offers; transitional is both, as QEMU's default. */
  mode?: VirtioPciMode;
}

/** The transport's part of the function's state. */
export interface VirtioPciState {
  core: CoreState;
  /** Feature selects, queue select, ISR, configuration vector, then one vector a queue. */
  registers: number[];
}

const VENDOR = 0x1af4;
const NO_VECTOR = 0xffff;
const LEGACY_BAR = 0;
const MSIX_BAR = 1;
const MODERN_BAR = 4;
const MODERN_SIZE = 0x4000;
/** Regions of the modern BAR, a page each, so that a hypervisor-minded driver can map them apart. */
const COMMON = 0x0000;
const ISR = 0x1000;
const CONFIG = 0x2000;
const NOTIFY = 0x3000;
const NOTIFY_MULTIPLIER = 4;
const VENDOR_CAPABILITY = 0x09;
const CapabilityType = { common: 1, notify: 2, isr: 3, device: 4, pci: 5 } as const;
const ISR_QUEUE = 1;
const ISR_CONFIG = 2;
/** Transitional device ids differ from 0x1000 + type - 1 for entropy (4.1.2.1). */
const TRANSITIONAL_IDS: Record<number, number> = { 1: 0x1000, 2: 0x1001, 4: 0x1005 };

/** Registers of the common configuration structure (4.1.4.3). */
const Common = {
  deviceFeatureSelect: 0,
  deviceFeature: 4,
  driverFeatureSelect: 8,
  driverFeature: 12,
  configVector: 16,
  queueCount: 18,
  status: 20,
  generation: 21,
  queueSelect: 22,
  queueSize: 24,
  queueVector: 26,
  queueEnable: 28,
  queueNotifyOffset: 30,
  queueAddress: 32,
  queueAddressEnd: 56,
} as const;

/** Registers of the legacy I/O BAR (4.1.4.10). */
const Legacy = {
  deviceFeatures: 0,
  driverFeatures: 4,
  queueAddress: 8,
  queueSize: 12,
  queueSelect: 14,
  queueNotify: 16,
  status: 18,
  isr: 19,
  configVector: 20,
  queueVector: 22,
} as const;

const mask = (value: number, width: 1 | 2 | 4): number =>
  width === 4 ? value >>> 0 : value & (width === 2 ? 0xffff : 0xff);

/** A virtio device as a PCI function. */
export class VirtioPci extends PciFunction {
  readonly core: VirtioCore;
  #deviceFeatureSelect = 0;
  #driverFeatureSelect = 0;
  #queueSelect = 0;
  #isr = 0;
  #configVector = NO_VECTOR;
  readonly #queueVectors: number[];
  readonly #regions: { index: number; size: number; target: Device }[] = [];
  /** Offset of the PCI configuration access capability, 0 if there is none. */
  #accessCapability = 0;

  constructor(options: VirtioPciOptions) {
    const { device, memory, msi, mode = 'transitional' } = options;
    super(device.name, {
      vendor: VENDOR,
      device: mode === 'modern' ? 0x1040 + device.type : (TRANSITIONAL_IDS[device.type] ?? 0x1000 + device.type - 1),
      revision: mode === 'modern' ? 1 : 0,
      classCode: device.classCode,
      subsystemVendor: VENDOR,
      subsystem: mode === 'modern' ? 0x1100 : device.type,
      pin: 1,
    });
    this.core = new VirtioCore(device, memory, {
      queueInterrupt: (queue) => this.#interrupt(this.#queueVectors[queue]!, ISR_QUEUE),
      configInterrupt: () => this.#interrupt(this.#configVector, ISR_CONFIG),
    });
    this.core.legacy = mode === 'legacy';
    this.#queueVectors = device.queueSizes.map(() => NO_VECTOR);
    if (mode !== 'modern') this.#addLegacy();
    this.addMsix(MSIX_BAR, device.queueSizes.length + 1, msi);
    if (mode !== 'legacy') this.#addModern();
  }

  override readConfig(offset: number, width: 1 | 2 | 4): number {
    this.#accessThroughConfig(offset, width, false);
    return super.readConfig(offset, width);
  }

  override writeConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    super.writeConfig(offset, width, value);
    this.#accessThroughConfig(offset, width, true);
  }

  override reset(): void {
    this.#resetDevice();
    super.reset();
  }

  protected override saveOwn(): VirtioPciState {
    return {
      core: this.core.save(),
      registers: [
        this.#deviceFeatureSelect,
        this.#driverFeatureSelect,
        this.#queueSelect,
        this.#isr,
        this.#configVector,
        ...this.#queueVectors,
      ],
    };
  }

  protected override loadOwn(own: unknown): void {
    const state = own as VirtioPciState;
    if (state.registers.length !== 5 + this.#queueVectors.length) throw new RangeError(`${this.name}: saved registers`);
    this.core.load(state.core);
    const [deviceSelect, driverSelect, queueSelect, isr, configVector, ...vectors] = state.registers;
    this.#deviceFeatureSelect = deviceSelect! >>> 0;
    this.#driverFeatureSelect = driverSelect! >>> 0;
    this.#queueSelect = queueSelect! & 0xffff;
    this.#isr = isr! & 3;
    this.#configVector = this.#vector(configVector!);
    vectors.forEach((vector, index) => {
      this.#queueVectors[index] = this.#vector(vector);
    });
  }

  #addLegacy(): void {
    // 24 bytes of header with MSI-X, then the device's configuration.
    let size = 32;
    while (size < 24 + this.core.device.config.length) size *= 2;
    const target: Device = {
      name: `${this.name}-legacy`,
      read: (offset, width) => this.#readLegacy(offset, width),
      write: (offset, width, value) => this.#writeLegacy(offset, width, value),
      reset: () => {},
    };
    this.addBar({ index: LEGACY_BAR, kind: 'io', size, target });
    this.#regions.push({ index: LEGACY_BAR, size, target });
  }

  #addModern(): void {
    const target: Device = {
      name: `${this.name}-modern`,
      read: (offset, width) => this.#readModern(offset, width),
      write: (offset, width, value) => this.#writeModern(offset, width, value),
      reset: () => {},
    };
    this.addBar({ index: MODERN_BAR, kind: 'memory', size: MODERN_SIZE, target });
    this.#regions.push({ index: MODERN_BAR, size: MODERN_SIZE, target });
    this.#addRegion(CapabilityType.common, COMMON, Common.queueAddressEnd);
    this.#addRegion(CapabilityType.isr, ISR, 1);
    if (this.core.device.config.length > 0) {
      this.#addRegion(CapabilityType.device, CONFIG, this.core.device.config.length);
    }
    this.#addRegion(CapabilityType.notify, NOTIFY, this.core.queues.length * NOTIFY_MULTIPLIER, NOTIFY_MULTIPLIER);
    const writable = new Uint8Array(18);
    // bar, offset, length and the data window (4.1.4.9).
    writable[2] = 0xff;
    writable.fill(0xff, 6);
    this.#accessCapability = this.#addRegion(CapabilityType.pci, 0, 0, 0, writable);
  }

  /** A vendor capability, struct virtio_pci_cap (4.1.4); `extra` is the notify multiplier or the data window. */
  #addRegion(type: number, offset: number, length: number, extra?: number, writable?: Uint8Array): number {
    const body = new Uint8Array(extra === undefined ? 14 : 18);
    const view = new DataView(body.buffer);
    body[0] = body.length + 2;
    body[1] = type;
    body[2] = type === CapabilityType.pci ? 0 : MODERN_BAR;
    view.setUint32(6, offset, true);
    view.setUint32(10, length, true);
    if (extra !== undefined) view.setUint32(14, extra, true);
    return this.addCapability(VENDOR_CAPABILITY, body, writable);
  }

  #readModern(offset: number, width: 1 | 2 | 4): number {
    if (offset >= NOTIFY) return 0;
    if (offset >= CONFIG) return mask(this.core.readConfig(offset - CONFIG, width), width);
    if (offset >= ISR) return offset === ISR ? this.#takeIsr() : 0;
    const value = this.#readCommon(offset);
    return mask(value, width);
  }

  #writeModern(offset: number, width: 1 | 2 | 4, value: number): void {
    if (offset >= NOTIFY) {
      const index = (offset - NOTIFY) / NOTIFY_MULTIPLIER;
      if (Number.isInteger(index)) this.core.kick(index);
      return;
    }
    this.core.legacy = false;
    if (offset >= CONFIG) this.core.writeConfig(offset - CONFIG, width, value);
    else if (offset < ISR) this.#writeCommon(offset, width, value);
  }

  #readCommon(offset: number): number {
    const core = this.core;
    const queue = core.queues[this.#queueSelect];
    switch (offset) {
      case Common.deviceFeatureSelect:
        return this.#deviceFeatureSelect;
      case Common.deviceFeature:
        core.legacy = false;
        return core.offeredFeatures(this.#deviceFeatureSelect);
      case Common.driverFeatureSelect:
        return this.#driverFeatureSelect;
      case Common.driverFeature:
        return core.driverFeatures(this.#driverFeatureSelect);
      case Common.configVector:
        return this.#configVector;
      case Common.queueCount:
        return core.queues.length;
      case Common.status:
        return core.status;
      case Common.generation:
        return core.generation;
      case Common.queueSelect:
        return this.#queueSelect;
      case Common.queueSize:
        return queue?.size ?? 0;
      case Common.queueVector:
        return this.#queueVectors[this.#queueSelect] ?? NO_VECTOR;
      case Common.queueEnable:
        return queue?.ready === true ? 1 : 0;
      case Common.queueNotifyOffset:
        return queue === undefined ? 0 : this.#queueSelect;
      default:
        if (offset < Common.queueAddress || offset >= Common.queueAddressEnd || offset % 4 !== 0) return 0;
        return queue?.address[(offset - Common.queueAddress) / 4] ?? 0;
    }
  }

  #writeCommon(offset: number, width: 1 | 2 | 4, value: number): void {
    const core = this.core;
    const queue = core.queues[this.#queueSelect];
    switch (offset) {
      case Common.deviceFeatureSelect:
        this.#deviceFeatureSelect = value >>> 0;
        return;
      case Common.driverFeatureSelect:
        this.#driverFeatureSelect = value >>> 0;
        return;
      case Common.driverFeature:
        core.writeDriverFeatures(this.#driverFeatureSelect, value);
        return;
      case Common.configVector:
        this.#configVector = this.#vector(value & 0xffff);
        return;
      case Common.status:
        this.#writeStatus(value & 0xff);
        return;
      case Common.queueSelect:
        this.#queueSelect = value & 0xffff;
        return;
      case Common.queueSize:
        if (queue?.ready === false) queue.size = value & 0xffff;
        return;
      case Common.queueVector:
        if (queue !== undefined) this.#queueVectors[this.#queueSelect] = this.#vector(value & 0xffff);
        return;
      case Common.queueEnable:
        if (queue?.ready === false && (value & 0xffff) === 1) queue.enable();
        return;
      default:
        if (offset < Common.queueAddress || offset >= Common.queueAddressEnd || width !== 4 || offset % 4 !== 0) return;
        if (queue?.ready === false) queue.address[(offset - Common.queueAddress) / 4] = value;
    }
  }

  /** Where the device configuration starts in the legacy BAR: the vector registers come and go with MSI-X. */
  #legacyConfig(): number {
    return this.msix?.enabled === true ? 24 : 20;
  }

  #readLegacy(offset: number, width: 1 | 2 | 4): number {
    const core = this.core;
    const config = this.#legacyConfig();
    if (offset >= config) return mask(core.readConfig(offset - config, width), width);
    const queue = core.queues[this.#queueSelect];
    switch (offset) {
      case Legacy.deviceFeatures:
        core.legacy = true;
        return mask(core.offeredFeatures(0), width);
      case Legacy.driverFeatures:
        return mask(core.driverFeatures(0), width);
      case Legacy.queueAddress:
        return queue?.ready === true ? mask(queue.address[0]! / 4096 + queue.address[1]! * 0x10_0000, width) : 0;
      case Legacy.queueSize:
        return mask(queue?.size ?? 0, width);
      case Legacy.queueSelect:
        return mask(this.#queueSelect, width);
      case Legacy.status:
        return core.status;
      case Legacy.isr:
        return this.#takeIsr();
      case Legacy.configVector:
        return mask(this.#configVector, width);
      case Legacy.queueVector:
        return mask(this.#queueVectors[this.#queueSelect] ?? NO_VECTOR, width);
      default:
        return 0;
    }
  }

  #writeLegacy(offset: number, width: 1 | 2 | 4, value: number): void {
    const core = this.core;
    const config = this.#legacyConfig();
    core.legacy = true;
    if (offset >= config) {
      core.writeConfig(offset - config, width, value);
      return;
    }
    const queue = core.queues[this.#queueSelect];
    switch (offset) {
      case Legacy.driverFeatures:
        if (width === 4) core.writeDriverFeatures(0, value);
        return;
      case Legacy.queueAddress:
        if (width === 4 && queue !== undefined) core.setLegacyQueue(queue, (value >>> 0) * 4096);
        return;
      case Legacy.queueSelect:
        this.#queueSelect = value & 0xffff;
        return;
      case Legacy.queueNotify:
        core.kick(value & 0xffff);
        return;
      case Legacy.status:
        this.#writeStatus(value & 0xff);
        return;
      case Legacy.configVector:
        this.#configVector = this.#vector(value & 0xffff);
        return;
      case Legacy.queueVector:
        if (queue !== undefined) this.#queueVectors[this.#queueSelect] = this.#vector(value & 0xffff);
        return;
      default:
    }
  }

  /** A vector the table does not have reads back as NO_VECTOR (4.1.5.1.2). */
  #vector(value: number): number {
    return value < this.msix!.vectors ? value : NO_VECTOR;
  }

  #writeStatus(value: number): void {
    if (value === 0) this.#resetDevice();
    else this.core.writeStatus(value);
  }

  #resetDevice(): void {
    this.core.reset();
    this.#deviceFeatureSelect = 0;
    this.#driverFeatureSelect = 0;
    this.#queueSelect = 0;
    this.#isr = 0;
    this.#configVector = NO_VECTOR;
    this.#queueVectors.fill(NO_VECTOR);
    this.setIntx(false);
  }

  #interrupt(vector: number, cause: number): void {
    if (this.msix?.enabled === true) {
      this.msix.trigger(vector);
      return;
    }
    this.#isr |= cause;
    this.setIntx(true);
  }

  #takeIsr(): number {
    const isr = this.#isr;
    this.#isr = 0;
    this.setIntx(false);
    return isr;
  }

  /** Carries an access to the data window of the PCI configuration access capability to the BAR it names (4.1.4.9). */
  #accessThroughConfig(offset: number, width: number, isWrite: boolean): void {
    const at = this.#accessCapability;
    if (at === 0 || offset >= at + 20 || offset + width <= at + 16) return;
    const view = new DataView(this.config.buffer, at, 20);
    const region = this.#regions.find(({ index }) => index === view.getUint8(4));
    const where = view.getUint32(8, true);
    const length = view.getUint32(12, true);
    if (region === undefined || (length !== 1 && length !== 2 && length !== 4)) return;
    if (where % length !== 0 || where + length > region.size) return;
    if (isWrite) region.target.write(where, length, mask(view.getUint32(16, true), length));
    else view.setUint32(16, region.target.read(where, length), true);
  }
}
