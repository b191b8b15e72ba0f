import { MmioBus, PortBus } from '../../../../src/devices/bus.ts';
import type { Device } from '../../../../src/devices/device.ts';
import { assignBars } from '../../../../src/devices/pci/assign.ts';
import { PciBus } from '../../../../src/devices/pci/bus.ts';
import { createHostBridge, PciConfigPorts } from '../../../../src/devices/pci/host-bridge.ts';
import { DescriptorChain } from '../../../../src/devices/virtio/chain.ts';
import type { VirtioDevice, VirtioHost } from '../../../../src/devices/virtio/device.ts';
import { VirtioPci, type VirtioPciMode } from '../../../../src/devices/virtio/pci-transport.ts';
import { LegacyPciDriver, ModernPciDriver, TestMemory } from '../../../support/virtio-driver.ts';

/** A device of two queues: copies each chain's readable bytes into its writable part, reversed order not needed. */
export class EchoDevice implements VirtioDevice {
  readonly name = 'echo';
  readonly type: number = 4;
  readonly classCode = 0x00ff00;
  readonly features = [0, 3] as const;
  readonly queueSizes = [16, 16] as const;
  readonly config = Uint8Array.of(1, 2, 3, 4, 5, 6);
  host!: VirtioHost;
  activations = 0;
  resets = 0;
  served = 0;
  malformed = 0;
  #chain!: DescriptorChain;

  attach(host: VirtioHost): void {
    this.host = host;
    this.#chain = new DescriptorChain(host.memory);
  }

  activate(): void {
    this.activations++;
  }

  notify(index: number): void {
    const queue = this.host.queues[index]!;
    const chain = this.#chain;
    do {
      while (queue.pop(chain)) {
        let written = 0;
        if (chain.malformed) {
          this.malformed++;
        } else {
          const bytes = new Uint8Array(Math.min(chain.readableLength, 4096));
          chain.gather(0, bytes);
          written = chain.scatter(0, bytes);
        }
        this.served++;
        queue.push(chain.head, written);
      }
    } while (queue.armNotification());
    queue.publish();
  }

  reset(): void {
    this.resets++;
  }

  save(): unknown {
    return { served: this.served };
  }

  load(state: unknown): void {
    this.served = (state as { served: number }).served;
  }
}

/** Everything behind a PCI virtio device, reached only through ports, MMIO and configuration space, as a guest would. */
export class PciRig {
  readonly memory: TestMemory;
  readonly ports = new PortBus();
  readonly mmio = new MmioBus();
  readonly bus: PciBus;
  readonly configPorts: PciConfigPorts;
  readonly card: VirtioPci;
  readonly slot: number;
  readonly messages: { address: number; data: number }[] = [];
  /** Level of each interrupt input. */
  readonly lines = new Map<number, boolean>();
  resets = 0;

  constructor(device: VirtioDevice, mode: VirtioPciMode = 'transitional', memory = new TestMemory(0x40_0000)) {
    this.memory = memory;
    this.bus = new PciBus(
      { ports: this.ports, mmio: this.mmio },
      {
        irq: (slot, pin) => 9 + ((slot + pin - 1) % 3),
        line: (irq) => ({ set: (level) => this.lines.set(irq, level) }),
      },
    );
    this.bus.add(createHostBridge());
    this.card = new VirtioPci({
      device,
      memory,
      mode,
      msi: (address, data) => this.messages.push({ address, data }),
    });
    this.slot = this.bus.add(this.card);
    this.configPorts = new PciConfigPorts(this.bus, () => this.resets++);
    this.ports.register(this.configPorts, 0xcf8, 8);
    assignBars(this.bus);
  }

  /** Level of the card's interrupt input. */
  get line(): boolean {
    return this.lines.get(this.bus.irq(this.slot)!) ?? false;
  }

  readConfig(offset: number, width: 1 | 2 | 4, slot = this.slot): number {
    this.ports.write(0xcf8, 4, (0x8000_0000 | (slot << 11) | (offset & 0xfc)) >>> 0);
    return this.ports.read(0xcfc + (offset & 3), width);
  }

  writeConfig(offset: number, width: 1 | 2 | 4, value: number, slot = this.slot): void {
    this.ports.write(0xcf8, 4, (0x8000_0000 | (slot << 11) | (offset & 0xfc)) >>> 0);
    this.ports.write(0xcfc + (offset & 3), width, value);
  }

  barBase(index: number): number {
    const value = this.readConfig(0x10 + 4 * index, 4);
    return (value & 1) !== 0 ? value - 1 : value - (value % 16);
  }

  /** Offsets of the capabilities with this id, in list order. */
  capabilities(id: number): number[] {
    const found: number[] = [];
    for (let at = this.readConfig(0x34, 1); at !== 0; at = this.readConfig(at + 1, 1)) {
      if (this.readConfig(at, 1) === id) found.push(at);
      if (found.length > 64) throw new Error('capability list has a loop');
    }
    return found;
  }

  /** A window as a device with offsets from its base. */
  window(bus: PortBus | MmioBus, base: number): Device {
    return {
      name: 'window',
      read: (offset, width) => bus.read(base + offset, width),
      write: (offset, width, value) => bus.write(base + offset, width, value),
      reset: () => {},
    };
  }

  modern(): ModernPciDriver {
    const regions = { common: -1, isr: -1, device: -1, notify: -1, multiplier: 0 };
    let bar = -1;
    for (const at of this.capabilities(9)) {
      const type = this.readConfig(at + 3, 1);
      const offset = this.readConfig(at + 8, 4);
      if (type === 5) continue;
      bar = this.readConfig(at + 4, 1);
      if (type === 1) regions.common = offset;
      else if (type === 2) {
        regions.notify = offset;
        regions.multiplier = this.readConfig(at + 16, 4);
      } else if (type === 3) regions.isr = offset;
      else if (type === 4) regions.device = offset;
    }
    return new ModernPciDriver(this.window(this.mmio, this.barBase(bar)), regions);
  }

  legacy(): LegacyPciDriver {
    return new LegacyPciDriver(this.window(this.ports, this.barBase(0)));
  }

  /** Turns MSI-X on with vector i sending data 0x40 + i; returns the table window. */
  enableMsix(vectors: number): Device {
    const at = this.capabilities(0x11)[0]!;
    const table = this.window(this.mmio, this.barBase(this.readConfig(at + 4, 1) & 7));
    for (let i = 0; i < vectors; i++) {
      table.write(16 * i, 4, 0xfee0_0000);
      table.write(16 * i + 4, 4, 0);
      table.write(16 * i + 8, 4, 0x40 + i);
      table.write(16 * i + 12, 4, 0);
    }
    this.writeConfig(at + 2, 2, 0x8000);
    return table;
  }
}
