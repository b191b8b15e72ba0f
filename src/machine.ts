import type { EntryState } from './boot/entry-state.ts';
import { PHYSICAL_ADDRESS_BITS, TSC_FREQUENCY } from './cpu/constants.ts';
import { type Compile, Cpu, type CpuBus } from './cpu/cpu.ts';
import type { JitOptions } from './cpu/jit/jit.ts';
import { STATE } from './cpu/state.ts';
import type { MsrDevices } from './cpu/system/msr.ts';
import { SEG } from './cpu/system/processor.ts';
import { ACPI_PM_LENGTH, ACPI_SMI_COMMAND_OFFSET, AcpiPm } from './devices/acpi-pm.ts';
import { MmioBus, PortBus } from './devices/bus.ts';
import type { AlarmClock } from './devices/clock.ts';
import { DebugConsole, DebugExit } from './devices/debug-ports.ts';
import { FwCfg } from './devices/fw-cfg.ts';
import { GatedLine, HPET_LENGTH, Hpet } from './devices/hpet.ts';
import { I8042, I8042_COMMAND_OFFSET, I8042_PORT_92_OFFSET } from './devices/i8042.ts';
import { Interrupts } from './devices/interrupts.ts';
import { KvmClock } from './devices/kvm-clock.ts';
import { LAPIC_LENGTH } from './devices/lapic.ts';
import { assignBars } from './devices/pci/assign.ts';
import { PciBus } from './devices/pci/bus.ts';
import { CONFIG_PORTS, createHostBridge, PciConfigPorts } from './devices/pci/host-bridge.ts';
import { PIC_ELCR_OFFSET, PIC_MASTER_OFFSET, PIC_SLAVE_OFFSET } from './devices/pic.ts';
import { PIT_CONTROL_OFFSET, PIT_PORT_61_OFFSET, Pit } from './devices/pit.ts';
import { Rtc } from './devices/rtc.ts';
import { Serial16550 } from './devices/serial16550.ts';
import type { VirtioDevice } from './devices/virtio/device.ts';
import { VirtioMmio } from './devices/virtio/mmio-transport.ts';
import { VirtioPci, type VirtioPciMode } from './devices/virtio/pci-transport.ts';
import * as layout from './layout.ts';
import type { GuestMemory } from './memory/guest-memory.ts';

/** A virtio device and how it is plugged in. */
export interface Plugged {
  readonly device: VirtioDevice;
  readonly transport: VirtioPciMode | 'mmio';
}
export interface BoardOptions {
  readonly memory: GuestMemory;
  readonly clock: AlarmClock;
  readonly features: ReadonlySet<string>;
  readonly virtio: readonly Plugged[];
  readonly random: () => bigint;
  readonly onSerial: (bytes: Uint8Array) => void;
  readonly onDebugConsole: (bytes: Uint8Array) => void;
  readonly onPowerOff: () => void;
  readonly onReset: () => void;
  /** Port 0xf4 (or another) ends the run with (value << 1) | 1. */
  readonly debugExit: { readonly port: number; readonly onExit: (code: number) => void } | undefined;
  /** 'interpreter' translates nothing. */
  readonly engine?: 'auto' | 'interpreter';
  readonly jit?: Partial<JitOptions>;
  readonly compile?: Compile;
}

/** The machine as hardware: what is in it and how it is wired, top to bottom. */
export class Board {
  readonly memory: GuestMemory;
  readonly clock: AlarmClock;
  readonly ports = new PortBus();
  readonly mmio = new MmioBus();
  readonly interrupts: Interrupts;
  readonly serial: Serial16550;
  readonly debugConsole: DebugConsole;
  readonly pci: PciBus;
  readonly kvmClock: KvmClock;
  readonly cpu: Cpu;
  /** Called when an interrupt for the processor appears: a sleeping host has to wake. */
  onWake: () => void = () => {};
  /** Guest TSC = clock + this (nanoseconds: the TSC runs at 1 GHz). */
  #tscOffset = 0;

  constructor(options: BoardOptions) {
    const { memory, clock } = options;
    this.memory = memory;
    this.clock = clock;

    // interrupt controllers
    const interrupts = new Interrupts({
      clock,
      ioApicId: layout.IOAPIC_ID,
      x2apic: options.features.has('x2apic'),
      physicalAddressBits: PHYSICAL_ADDRESS_BITS,
    });
    this.interrupts = interrupts;
    const lapic = interrupts.localApics[0]!;
    this.ports.register(interrupts.pic, layout.PIC_MASTER_PORT, 2, PIC_MASTER_OFFSET);
    this.ports.register(interrupts.pic, layout.PIC_SLAVE_PORT, 2, PIC_SLAVE_OFFSET);
    this.ports.register(interrupts.pic, layout.PIC_ELCR_PORT, 2, PIC_ELCR_OFFSET);
    this.mmio.register(interrupts.ioApic, layout.IOAPIC_BASE, 0x1000);
    const lapicWindow = this.mmio.register(lapic, layout.LAPIC_BASE, LAPIC_LENGTH);
    lapic.onBaseChange = (base) => (base === undefined ? lapicWindow.unmap() : lapicWindow.map(base));

    // timers
    const pitLine = new GatedLine(interrupts.line(layout.PIT_IRQ));
    const rtcLine = new GatedLine(interrupts.line(layout.RTC_IRQ));
    const pit = new Pit({ clock, irq: pitLine });
    this.ports.register(pit, layout.PIT_PORT, PIT_CONTROL_OFFSET + 1);
    this.ports.register(pit, layout.SYSTEM_CONTROL_PORT_B, 1, PIT_PORT_61_OFFSET);
    const rtc = new Rtc({ clock, irq: rtcLine, lowMemory: memory.lowSize, highMemory: memory.highSize });
    this.ports.register(rtc, layout.RTC_PORT, 2);
    const hpet = new Hpet({
      clock,
      legacyIrqs: [interrupts.line(layout.PIT_IRQ), interrupts.line(layout.RTC_IRQ)],
      pin: (pin) => interrupts.pin(pin),
      onLegacyReplacement: (on) => {
        pitLine.setOpen(!on);
        rtcLine.setOpen(!on);
      },
    });
    this.mmio.register(hpet, layout.HPET_BASE, HPET_LENGTH);
    const pm = new AcpiPm({ clock, irq: interrupts.line(layout.SCI_IRQ), onPowerOff: options.onPowerOff });
    this.ports.register(pm, layout.PM1A_EVENT_PORT, ACPI_PM_LENGTH);
    this.ports.register(pm, layout.ACPI_SMI_COMMAND_PORT, 1, ACPI_SMI_COMMAND_OFFSET);

    // console, keyboard controller (for its reset line), debug ports
    this.serial = new Serial16550({ irq: interrupts.line(layout.COM1_IRQ), clock, sink: options.onSerial });
    this.ports.register(this.serial, layout.COM1_PORT, 8);
    const i8042 = new I8042({
      keyboardIrq: interrupts.line(layout.KEYBOARD_IRQ),
      auxiliaryIrq: interrupts.line(layout.AUXILIARY_IRQ),
      onReset: options.onReset,
    });
    this.ports.register(i8042, layout.I8042_DATA_PORT, 1);
    this.ports.register(i8042, layout.I8042_COMMAND_PORT, 1, I8042_COMMAND_OFFSET);
    this.ports.register(i8042, layout.SYSTEM_CONTROL_PORT_A, 1, I8042_PORT_92_OFFSET);
    this.debugConsole = new DebugConsole({ sink: options.onDebugConsole });
    this.ports.register(this.debugConsole, layout.DEBUG_CONSOLE_PORT, 1);
    this.ports.register(new FwCfg({ memory: memory.size, processors: 1 }), layout.FW_CFG_PORT, 2);
    if (options.debugExit) {
      const { port, onExit } = options.debugExit;
      this.ports.register(new DebugExit({ onDebugExit: onExit }), port, 4);
    }

    // PCI, with virtio devices in the slots after the host bridge
    this.pci = new PciBus(
      { ports: this.ports, mmio: this.mmio },
      { irq: (slot, pin) => layout.pciInterruptLine(slot, pin - 1), line: (irq) => interrupts.line(irq) },
    );
    this.pci.add(createHostBridge(), 0);
    this.ports.register(new PciConfigPorts(this.pci, options.onReset), CONFIG_PORTS.base, CONFIG_PORTS.size);
    const msi = (address: number, data: number): void => interrupts.deliverMsi(address, data);
    let mmioSlot = 0;
    for (const { device, transport } of options.virtio) {
      if (transport === 'mmio') {
        const window = layout.virtioMmio(mmioSlot++);
        const irq = interrupts.line(window.irq);
        this.mmio.register(new VirtioMmio({ device, memory, irq }), window.base, layout.VIRTIO_MMIO_LENGTH);
      } else this.pci.add(new VirtioPci({ device, memory, msi, mode: transport }));
    }
    assignBars(this.pci);

    // processor
    this.kvmClock = new KvmClock({ clock, memory, tsc: () => clock.now() + this.#tscOffset });
    const bus: CpuBus = {
      mmioRead: (address, width) => this.mmio.read(address, width as 1 | 2 | 4),
      mmioWrite: (address, width, value) => this.mmio.write(address, width as 1 | 2 | 4, value),
      portIn: (port, width) => this.ports.read(port, width as 1 | 2 | 4),
      portOut: (port, width, value) => this.ports.write(port, width as 1 | 2 | 4, value),
      readTsc: () => clock.now() + this.#tscOffset,
      random: options.random,
      acknowledgeInterrupt: () => lapic.acknowledge(),
      msr: this.#msrDevices(),
      get taskPriority() {
        return lapic.cr8;
      },
      set taskPriority(value) {
        lapic.cr8 = value;
      },
    };
    const cpu = new Cpu({
      ram: memory.memory,
      ramSize: memory.size,
      ramLow: memory.lowSize,
      features: options.features,
      cpuid: {
        features: options.features,
        tscFrequency: TSC_FREQUENCY,
        physicalBits: PHYSICAL_ADDRESS_BITS,
        cpus: 1,
        apicId: 0,
      },
      bus,
      ...(options.engine && { engine: options.engine }),
      ...(options.jit && { jit: options.jit }),
      ...(options.compile && { compile: options.compile }),
    });
    this.cpu = cpu;
    memory.onDmaWrite = (offset, length) => cpu.ramWritten(offset, length);
    lapic.onChange = () => {
      cpu.setInterruptPending(lapic.pendingVector >= 0);
      if (lapic.nmiPending) {
        lapic.acknowledgeNmi();
        cpu.raiseNmi();
      }
      if (this.interruptPending) this.onWake();
    };
    lapic.enterVirtualWireMode();
  }

  /** An interrupt or NMI waits for delivery: HLT ends. */
  get interruptPending(): boolean {
    return this.cpu.state.get32(STATE.pending) !== 0;
  }

  /** Puts the processor where a boot protocol wants it. */
  enter(entry: EntryState): void {
    const { state, processor: p } = this.cpu;
    this.cpu.reset();
    state.set64(STATE.efer, BigInt(entry.efer));
    state.set64(STATE.cr3, BigInt(entry.cr3));
    state.set64(STATE.cr4, BigInt(entry.cr4));
    state.set64(STATE.cr0, BigInt(entry.cr0));
    for (const [name, value] of Object.entries(entry.gpr)) p.setGpr(REGISTER_NUMBERS.indexOf(name), BigInt(value));
    for (const [name, s] of Object.entries(entry.segments)) {
      p.setSegment(SEG[name as keyof typeof SEG], s.selector, BigInt(s.base), s.limit, s.attributes);
    }
    state.set64(STATE.gdtrBase, BigInt(entry.gdtr.base));
    state.set32(STATE.gdtrLimit, entry.gdtr.limit);
    state.set64(STATE.idtrBase, BigInt(entry.idtr.base));
    state.set32(STATE.idtrLimit, entry.idtr.limit);
    p.modeChanged();
    this.cpu.ip = BigInt(entry.rip);
  }

  #msrDevices(): MsrDevices {
    const lapic = this.interrupts.localApics[0]!;
    const { clock } = this;
    const read = (msr: number): bigint | undefined =>
      lapic.readMsr(msr) ? (BigInt(lapic.msrHigh >>> 0) << 32n) | BigInt(lapic.msrLow >>> 0) : undefined;
    const write = (msr: number, value: bigint): boolean =>
      lapic.writeMsr(msr, Number(value & 0xffff_ffffn), Number(value >> 32n));
    return {
      get apicBase() {
        return read(0x1b) ?? 0n;
      },
      writeApicBase: (value) => write(0x1b, value),
      readTsc: () => BigInt(clock.now() + this.#tscOffset),
      writeTsc: (value) => {
        this.#tscOffset = Number(BigInt.asIntN(64, value)) - clock.now();
        lapic.setTscOffset(this.#tscOffset);
        this.kvmClock.tscChanged();
      },
      readTscDeadline: () => read(0x6e0) ?? 0n,
      writeTscDeadline: (value) => {
        write(0x6e0, value);
      },
      readX2apic: (register) => read(0x800 + register),
      writeX2apic: (register, value) => write(0x800 + register, value),
      readHypervisor: (index) => this.kvmClock.readMsr(index),
      writeHypervisor: (index, value) => this.kvmClock.writeMsr(index, value),
    };
  }
}
const REGISTER_NUMBERS = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi'];
