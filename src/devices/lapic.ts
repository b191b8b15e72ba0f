import {
  type ApicBus,
  type ApicBusMember,
  BROADCAST_8,
  BROADCAST_32,
  DELIVER_EXT_INT,
  DELIVER_FIXED,
  DELIVER_INIT,
  DELIVER_LOWEST_PRIORITY,
  DELIVER_NMI,
  DELIVER_STARTUP,
} from './apic-bus.ts';
import { toWidth } from './bus.ts';
import type { Clock } from './clock.ts';
import type { Device } from './device.ts';
import * as reg from './lapic-registers.ts';
import { LapicTimer, type LapicTimerState } from './lapic-timer.ts';
import type { Saveable } from './saveable.ts';

/**
 * A local APIC, one per processor: xAPIC registers by MMIO, x2APIC registers by MSR (SDM volume 3, chapter 11). The CPU
 * looks at `pendingVector` when `onChange` tells it to, and takes an interrupt with `acknowledge`.
 */

export const LAPIC_LENGTH = 0x1000;

/** `pendingVector` when an external controller (the PIC) has to be asked for the vector. */
export const PENDING_EXT_INT = 256;

/** MSRs a local APIC answers. */
export const IA32_APIC_BASE = 0x1b;
export const IA32_TSC_DEADLINE = 0x6e0;
export const X2APIC_FIRST_MSR = 0x800;
export const X2APIC_LAST_MSR = 0x8ff;

interface Registers {
  baseLow: number;
  baseHigh: number;
  taskPriority: number;
  logicalDestination: number;
  destinationFormat: number;
  spurious: number;
  /** 256 bits each, bit n of word m is vector 32 m + n. */
  inService: Uint32Array;
  triggerMode: Uint32Array;
  request: Uint32Array;
  errorStatus: number;
  /** Errors since ESR was last written. */
  errors: number;
  commandLow: number;
  commandHigh: number;
  lvt: Uint32Array;
  /** Levels of the LINT0 and LINT1 inputs. */
  lint: [boolean, boolean];
  /** An ExtINT message came over the bus and waits. */
  externalRequest: boolean;
  nmiPending: boolean;
}

export interface LocalApicState extends Registers {
  timer: LapicTimerState;
}

export interface LocalApicOptions {
  /** APIC ID, 0..254. */
  readonly id: number;
  /** The processor that boots. */
  readonly bootstrap: boolean;
  readonly bus: ApicBus;
  readonly clock: Clock;
  /** The acknowledge cycle towards the external controller: returns its vector. */
  readonly acknowledgeExternal: () => number;
  /** CPUID offers x2APIC (default true). */
  readonly x2apic?: boolean;
  /** MAXPHYADDR, for the reserved bits of IA32_APIC_BASE (default 40). */
  readonly physicalAddressBits?: number;
}

export class LocalApic implements Device, ApicBusMember, Saveable<LocalApicState> {
  readonly name: string;
  readonly id: number;
  /** `pendingVector` or `nmiPending` may have changed. */
  onChange: (() => void) | undefined;
  /** INIT was received: the processor resets (and waits for SIPI unless it is the bootstrap processor). */
  onInit: (() => void) | undefined;
  /** SIPI was received: a waiting processor starts in real mode at `vector` << 12. */
  onStartup: ((vector: number) => void) | undefined;
  /** The MMIO window moved, or closed (undefined: disabled or in x2APIC mode). */
  onBaseChange: ((base: number | undefined) => void) | undefined;
  /** Result of the latest successful `readMsr`. */
  msrLow = 0;
  msrHigh = 0;
  /** Interrupts taken by the CPU, by vector. */
  readonly delivered = new Uint32Array(256);

  readonly #options: LocalApicOptions;
  readonly #timer: LapicTimer;
  #state: Registers;
  #pending = -1;

  constructor(options: LocalApicOptions) {
    this.#options = options;
    this.id = options.id;
    this.name = `lapic${options.id}`;
    this.#timer = new LapicTimer(this.name, options.clock, () => this.#fireLvt(reg.LVT_TIMER));
    this.#state = this.#initialState();
    options.bus.members.push(this);
  }

  // The processor's side.

  /** The vector to deliver now (interrupts enabled), PENDING_EXT_INT, or -1 for none above the processor priority. */
  get pendingVector(): number {
    return this.#pending;
  }

  /** The CPU takes the pending interrupt: its vector, or -1 if there is none. Puts it in service, unless external. */
  acknowledge(): number {
    const vector = this.#pending;
    if (vector < 0) return -1;
    if (vector === PENDING_EXT_INT) {
      this.#state.externalRequest = false;
      const external = this.#options.acknowledgeExternal();
      this.delivered[external & 0xff]!++;
      this.#update();
      return external;
    }
    reg.clearBit(this.#state.request, vector);
    reg.setBit(this.#state.inService, vector);
    this.delivered[vector]!++;
    this.#update();
    return vector;
  }

  get nmiPending(): boolean {
    return this.#state.nmiPending;
  }

  /** The CPU takes the NMI. */
  acknowledgeNmi(): void {
    this.#state.nmiPending = false;
  }

  /** CR8: the upper four bits of the task priority. */
  get cr8(): number {
    return this.#state.taskPriority >> 4;
  }

  set cr8(value: number) {
    this.#state.taskPriority = (value & 0x0f) << 4;
    this.#update();
  }

  /** The guest TSC now is guest time + `offset` ns. */
  setTscOffset(offset: number): void {
    this.#timer.setTscOffset(offset);
  }

  /** Drives the LINT0 (`input` 0: the PIC's INTR) or LINT1 (1: NMI) pin. */
  setLint(input: 0 | 1, level: boolean): void {
    const before = this.#state.lint[input];
    if (before === level) return;
    this.#state.lint[input] = level;
    if (level) this.#fireLvt(input === 0 ? reg.LVT_LINT0 : reg.LVT_LINT1);
    this.#update();
  }

  /**
   * The state firmware leaves on the bootstrap processor, virtual wire mode (MP specification 1.4, 3.6.2.2): enabled,
   * spurious vector 0xFF, LINT0 ExtINT, LINT1 NMI.
   */
  enterVirtualWireMode(): void {
    this.#writeSpurious(reg.SPURIOUS_ENABLE | 0xff);
    this.#state.lvt[reg.LVT_LINT0] = DELIVER_EXT_INT << 8;
    this.#state.lvt[reg.LVT_LINT1] = DELIVER_NMI << 8;
    this.#update();
  }

  /** INIT: everything but the ID and IA32_APIC_BASE (SDM volume 3, 11.4.7.3). */
  init(): void {
    const { baseLow, baseHigh, lint } = this.#state;
    this.#timer.reset();
    this.#state = { ...this.#initialState(), baseLow, baseHigh, lint };
    this.#deriveLogicalId();
    this.#update();
  }

  /** Power-on: disabled by software (SVR), every LVT entry masked. */
  reset(): void {
    const { lint } = this.#state;
    this.#timer.reset();
    this.#state = { ...this.#initialState(), lint };
    this.onBaseChange?.(this.mmioBase);
    this.#update();
  }

  save(): LocalApicState {
    return structuredClone({ ...this.#state, timer: this.#timer.save() });
  }

  load(state: LocalApicState): void {
    const { timer, ...registers } = structuredClone(state);
    this.#state = registers;
    this.#timer.load(timer);
    this.#pending = this.#computePending();
    this.onBaseChange?.(this.mmioBase);
    this.onChange?.();
  }

  // Messages from the bus.

  get #enabled(): boolean {
    return (this.#state.baseLow & reg.BASE_ENABLE) !== 0;
  }

  get #x2apic(): boolean {
    return (this.#state.baseLow & reg.BASE_X2APIC) !== 0;
  }

  get #softwareEnabled(): boolean {
    return (this.#state.spurious & reg.SPURIOUS_ENABLE) !== 0;
  }

  get arbitrationPriority(): number {
    return this.#enabled && this.#softwareEnabled ? this.#processorPriority() : -1;
  }

  matches(destination: number, logical: boolean): boolean {
    if (destination === BROADCAST_32) return true;
    // The eight destination bits of the IOAPIC and of MSIs mean everyone in x2APIC mode too, unless logical.
    if (destination === BROADCAST_8 && !(logical && this.#x2apic)) return true;
    if (!logical) return destination === this.id;
    const own = this.#state.logicalDestination;
    if (this.#x2apic) return destination >>> 16 === own >>> 16 && (destination & own & 0xffff) !== 0;
    const ownBits = own >>> 24;
    if (this.#state.destinationFormat >>> 28 === 0xf) return (destination & ownBits) !== 0;
    return destination >>> 4 === ownBits >>> 4 && (destination & ownBits & 0x0f) !== 0;
  }

  deliver(mode: number, vector: number, level: boolean): void {
    if (!this.#enabled) return;
    switch (mode) {
      case DELIVER_FIXED:
      case DELIVER_LOWEST_PRIORITY:
        this.#accept(vector, level);
        break;
      case DELIVER_NMI:
        this.#raiseNmi();
        break;
      case DELIVER_INIT:
        this.onInit?.();
        break;
      case DELIVER_STARTUP:
        this.onStartup?.(vector);
        break;
      case DELIVER_EXT_INT:
        this.#state.externalRequest = true;
        this.#update();
        break;
      default: // SMI: there is no system management mode
        break;
    }
  }

  // MMIO (xAPIC).

  /** Guest-physical address of the MMIO window, or undefined while there is none. */
  get mmioBase(): number | undefined {
    if (!this.#enabled || this.#x2apic) return undefined;
    return this.#state.baseHigh * 2 ** 32 + ((this.#state.baseLow & 0xfffff000) >>> 0);
  }

  read(offset: number, width: 1 | 2 | 4): number {
    if (!this.#enabled || this.#x2apic) return toWidth(0xffffffff, width);
    // Only the first four bytes of each 16 hold a register; narrower reads get their part of it.
    const byte = offset & 0x0f;
    if (byte + width > 4) return 0;
    return toWidth(this.#readRegister((offset >> 4) & 0xff) >>> (8 * byte), width);
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    if (!this.#enabled || this.#x2apic || (offset & 0x0f) !== 0 || width !== 4) return;
    const register = (offset >> 4) & 0xff;
    if (register === reg.COMMAND_LOW) {
      this.#state.commandLow = value & reg.COMMAND_WRITABLE;
      this.#sendIpi(value, this.#state.commandHigh >>> 24);
    } else {
      this.#writeRegister(register, value >>> 0);
    }
  }

  // MSRs.

  /** Reads an APIC MSR into `msrLow` and `msrHigh`; false means #GP(0). */
  readMsr(msr: number): boolean {
    this.msrHigh = 0;
    if (msr === IA32_APIC_BASE) {
      this.msrLow = this.#state.baseLow >>> 0;
      this.msrHigh = this.#state.baseHigh;
      return true;
    }
    if (msr === IA32_TSC_DEADLINE) {
      this.msrLow = this.#timer.deadlineLow;
      this.msrHigh = this.#timer.deadlineHigh;
      return true;
    }
    const register = msr - X2APIC_FIRST_MSR;
    if (!this.#enabled || !this.#x2apic || !reg.X2APIC_READABLE[register]) return false;
    this.msrLow = this.#readRegister(register);
    if (register === reg.COMMAND_LOW) this.msrHigh = this.#state.commandHigh;
    return true;
  }

  /** Writes an APIC MSR; false means #GP(0). */
  writeMsr(msr: number, low: number, high: number): boolean {
    if (msr === IA32_APIC_BASE) return this.#writeBase(low >>> 0, high >>> 0);
    if (msr === IA32_TSC_DEADLINE) {
      this.#timer.setDeadline(low, high);
      return true;
    }
    const register = msr - X2APIC_FIRST_MSR;
    if (!this.#enabled || !this.#x2apic) return false;
    const writable = reg.X2APIC_WRITABLE[register];
    if (writable === undefined || (low & ~writable) !== 0) return false;
    if (register === reg.COMMAND_LOW) {
      this.#state.commandLow = low;
      this.#state.commandHigh = high >>> 0;
      this.#sendIpi(low, high >>> 0);
      return true;
    }
    if (high !== 0) return false;
    if (register === reg.SELF_IPI) this.#sendIpi(0x40000 | (low & 0xff), 0);
    else this.#writeRegister(register, low >>> 0);
    return true;
  }

  /** Mode changes as figure 11-28 of the SDM has them: x2APIC is entered from xAPIC, and left only by disabling. */
  #writeBase(low: number, high: number): boolean {
    const s = this.#state;
    const bits = this.#options.physicalAddressBits ?? 40;
    const x2apicAllowed = this.#options.x2apic ?? true;
    const enable = (low & reg.BASE_ENABLE) !== 0;
    const x2apic = (low & reg.BASE_X2APIC) !== 0;
    if ((low & 0x2ff) !== 0 || high >= 2 ** Math.max(0, bits - 32)) return false;
    if (x2apic && (!enable || !x2apicAllowed || !this.#enabled)) return false;
    if (!x2apic && enable && this.#x2apic) return false;
    const wasEnabled = this.#enabled;
    const wasX2apic = this.#x2apic;
    s.baseLow = (low & ~reg.BASE_BOOTSTRAP) | (this.#options.bootstrap ? reg.BASE_BOOTSTRAP : 0);
    s.baseHigh = high;
    // Disabling forgets all but the ID.
    if (wasEnabled && !enable) this.init();
    if (x2apic && !wasX2apic) {
      s.commandHigh = 0;
      this.#deriveLogicalId();
    }
    this.onBaseChange?.(this.mmioBase);
    this.#update();
    return true;
  }

  /** In x2APIC mode the logical ID follows from the ID (SDM volume 3, 11.12.10.2). */
  #deriveLogicalId(): void {
    if (this.#x2apic) this.#state.logicalDestination = ((this.id >> 4) << 16) | (1 << (this.id & 0x0f));
  }

  // Registers.

  #readRegister(register: number): number {
    const s = this.#state;
    if (register >= reg.IN_SERVICE && register < reg.ERROR_STATUS) {
      const bits = register < reg.TRIGGER_MODE ? s.inService : register < reg.REQUEST ? s.triggerMode : s.request;
      return bits[register & 7]!;
    }
    if (register >= reg.LVT_FIRST && register <= reg.LVT_LAST) return s.lvt[register - reg.LVT_FIRST]!;
    switch (register) {
      case reg.ID:
        return this.#x2apic ? this.id : (this.id << 24) >>> 0;
      case reg.VERSION:
        return reg.VERSION_VALUE;
      case reg.TASK_PRIORITY:
        return s.taskPriority;
      case reg.ARBITRATION_PRIORITY:
      case reg.PROCESSOR_PRIORITY:
        return this.#processorPriority();
      case reg.LOGICAL_DESTINATION:
        return s.logicalDestination >>> 0;
      case reg.DESTINATION_FORMAT:
        return s.destinationFormat >>> 0;
      case reg.SPURIOUS:
        return s.spurious;
      case reg.ERROR_STATUS:
        return s.errorStatus;
      case reg.COMMAND_LOW:
        return s.commandLow >>> 0;
      case reg.COMMAND_HIGH:
        return s.commandHigh >>> 0;
      case reg.INITIAL_COUNT:
        return this.#timer.initialCount;
      case reg.CURRENT_COUNT:
        return this.#timer.currentCount;
      case reg.DIVIDE:
        return this.#timer.divide;
      case reg.END_OF_INTERRUPT:
      case reg.REMOTE_READ:
        return 0;
      default:
        this.#error(reg.ERROR_REGISTER);
        return 0;
    }
  }

  #writeRegister(register: number, value: number): void {
    const s = this.#state;
    if (register >= reg.LVT_FIRST && register <= reg.LVT_LAST) {
      this.#writeLvt(register - reg.LVT_FIRST, value);
      return;
    }
    switch (register) {
      case reg.TASK_PRIORITY:
        s.taskPriority = value & 0xff;
        this.#update();
        break;
      case reg.END_OF_INTERRUPT:
        this.#endOfInterrupt();
        break;
      case reg.LOGICAL_DESTINATION:
        s.logicalDestination = value & 0xff000000;
        break;
      case reg.DESTINATION_FORMAT:
        s.destinationFormat = value | 0x0fffffff;
        break;
      case reg.SPURIOUS:
        this.#writeSpurious(value);
        break;
      case reg.ERROR_STATUS:
        s.errorStatus = s.errors;
        s.errors = 0;
        break;
      case reg.COMMAND_HIGH:
        s.commandHigh = value & 0xff000000;
        break;
      case reg.INITIAL_COUNT:
        this.#timer.setInitialCount(value);
        break;
      case reg.DIVIDE:
        this.#timer.setDivide(value);
        break;
      case reg.ID:
      case reg.VERSION:
      case reg.ARBITRATION_PRIORITY:
      case reg.PROCESSOR_PRIORITY:
      case reg.REMOTE_READ:
      case reg.CURRENT_COUNT:
        // Read-only; the ID is part of what the tables told the guest.
        break;
      default:
        if (register < reg.IN_SERVICE || register >= reg.ERROR_STATUS) this.#error(reg.ERROR_REGISTER);
        break;
    }
  }

  /** Clearing the enable bit masks every LVT entry (SDM volume 3, 11.4.7.2). */
  #writeSpurious(value: number): void {
    const s = this.#state;
    if ((value & reg.SPURIOUS_ENABLE) === 0) this.#timer.sync();
    s.spurious = value & reg.SPURIOUS_WRITABLE;
    if (!this.#softwareEnabled) {
      for (let i = 0; i < s.lvt.length; i++) s.lvt[i]! |= reg.LVT_MASKED;
      this.#updateTimerMode();
    }
    this.#update();
  }

  #writeLvt(index: number, value: number): void {
    const s = this.#state;
    // What the timer owes it owes under the old entry.
    if (index === reg.LVT_TIMER) this.#timer.sync();
    const writable = reg.LVT_WRITABLE[index]!;
    const kept = (value & reg.LVT_LEVEL) !== 0 ? s.lvt[index]! & reg.LVT_REMOTE_IRR : 0;
    s.lvt[index] = (value & writable) | kept | (this.#softwareEnabled ? 0 : reg.LVT_MASKED);
    if (index === reg.LVT_TIMER) this.#updateTimerMode();
    // A level-triggered LINT0 that is asserted interrupts as soon as it is unmasked.
    if (index === reg.LVT_LINT0 && s.lint[0] && (value & reg.LVT_LEVEL) !== 0) this.#fireLvt(reg.LVT_LINT0);
    this.#update();
  }

  #updateTimerMode(): void {
    const entry = this.#state.lvt[reg.LVT_TIMER]!;
    this.#timer.setMode((entry >> 17) & 3, (entry & reg.LVT_MASKED) !== 0);
  }

  // Interrupts.

  /** A local source asks for its interrupt. */
  #fireLvt(index: number): void {
    const s = this.#state;
    const entry = s.lvt[index]!;
    if ((entry & reg.LVT_MASKED) !== 0) return;
    const mode = index === reg.LVT_TIMER || index === reg.LVT_ERROR ? DELIVER_FIXED : (entry >> 8) & 7;
    if (mode === DELIVER_FIXED) {
      const level = index === reg.LVT_LINT0 && (entry & reg.LVT_LEVEL) !== 0;
      if (level) {
        if ((entry & reg.LVT_REMOTE_IRR) !== 0) return;
        s.lvt[index] = entry | reg.LVT_REMOTE_IRR;
      }
      this.#accept(entry & 0xff, level);
    } else if (mode !== DELIVER_EXT_INT) {
      // ExtINT follows the level of the pin and is found by #computePending.
      this.deliver(mode, entry & 0xff, false);
    }
  }

  /** Takes a fixed interrupt into IRR; one that is there already merges with it. */
  #accept(vector: number, level: boolean): void {
    const s = this.#state;
    if (!this.#enabled || !this.#softwareEnabled) return;
    if (vector < 16) {
      this.#error(reg.ERROR_RECEIVED_VECTOR);
      return;
    }
    reg.setBit(s.request, vector);
    if (level) reg.setBit(s.triggerMode, vector);
    else reg.clearBit(s.triggerMode, vector);
    this.#update();
  }

  #raiseNmi(): void {
    this.#state.nmiPending = true;
    this.onChange?.();
  }

  #error(bit: number): void {
    const s = this.#state;
    s.errors |= bit;
    const entry = s.lvt[reg.LVT_ERROR]!;
    // An error vector below 16 would be an error of its own, without end.
    if ((entry & 0xff) >= 16) this.#fireLvt(reg.LVT_ERROR);
  }

  #endOfInterrupt(): void {
    const s = this.#state;
    const vector = reg.highestBit(s.inService);
    if (vector < 0) return;
    reg.clearBit(s.inService, vector);
    if (reg.testBit(s.triggerMode, vector)) {
      const lint0 = s.lvt[reg.LVT_LINT0]!;
      if ((lint0 & reg.LVT_REMOTE_IRR) !== 0 && (lint0 & 0xff) === vector) {
        s.lvt[reg.LVT_LINT0] = lint0 & ~reg.LVT_REMOTE_IRR;
        if (s.lint[0]) this.#fireLvt(reg.LVT_LINT0);
      }
      this.#options.bus.onEndOfInterrupt?.(vector);
    }
    this.#update();
  }

  /** Sends what the interrupt command register asks for; `destination` is 8 bits, or 32 in x2APIC mode. */
  #sendIpi(command: number, destination: number): void {
    const mode = (command >> 8) & 7;
    const vector = command & 0xff;
    const level = (command & reg.COMMAND_LEVEL) !== 0;
    // INIT level de-assert synchronises arbitration IDs on old processors and does nothing else.
    if (mode === DELIVER_INIT && level && (command & reg.COMMAND_ASSERT) === 0) return;
    if ((mode === DELIVER_FIXED || mode === DELIVER_LOWEST_PRIORITY) && vector < 16) {
      this.#error(reg.ERROR_SEND_VECTOR);
      return;
    }
    const { bus } = this.#options;
    // The trigger mode bit counts for nothing else than INIT: IPIs are edge-triggered.
    switch ((command >> 18) & 3) {
      case 0:
        bus.send(destination, (command & reg.COMMAND_LOGICAL) !== 0, mode, vector, false);
        break;
      case 1:
        if (mode === DELIVER_FIXED) this.deliver(mode, vector, false);
        break;
      case 2:
        bus.sendToAll(mode, vector, false);
        break;
      default:
        bus.sendToAll(mode, vector, false, this);
        break;
    }
  }

  /** PPR (SDM volume 3, 11.8.3.1). */
  #processorPriority(): number {
    const inService = reg.highestBit(this.#state.inService);
    const { taskPriority } = this.#state;
    return taskPriority >> 4 >= inService >> 4 ? taskPriority : inService & 0xf0;
  }

  #computePending(): number {
    const s = this.#state;
    if (this.#enabled && this.#softwareEnabled) {
      const vector = reg.highestBit(s.request);
      if (vector >= 0 && vector >> 4 > this.#processorPriority() >> 4) return vector;
    }
    if (s.externalRequest) return PENDING_EXT_INT;
    if (!s.lint[0]) return -1;
    // With the APIC disabled LINT0 is the processor's INTR pin.
    if (!this.#enabled) return PENDING_EXT_INT;
    const lint0 = s.lvt[reg.LVT_LINT0]!;
    return (lint0 & reg.LVT_MASKED) === 0 && ((lint0 >> 8) & 7) === DELIVER_EXT_INT ? PENDING_EXT_INT : -1;
  }

  #update(): void {
    const pending = this.#computePending();
    if (pending === this.#pending) return;
    this.#pending = pending;
    this.onChange?.();
  }

  #initialState(): Registers {
    return {
      baseLow: reg.DEFAULT_BASE | reg.BASE_ENABLE | (this.#options.bootstrap ? reg.BASE_BOOTSTRAP : 0),
      baseHigh: 0,
      taskPriority: 0,
      logicalDestination: 0,
      destinationFormat: 0xffffffff,
      spurious: 0xff,
      inService: new Uint32Array(8),
      triggerMode: new Uint32Array(8),
      request: new Uint32Array(8),
      errorStatus: 0,
      errors: 0,
      commandLow: 0,
      commandHigh: 0,
      lvt: new Uint32Array(6).fill(reg.LVT_MASKED),
      lint: [false, false],
      externalRequest: false,
      nmiPending: false,
    };
  }
}
