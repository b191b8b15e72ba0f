import { toWidth } from './bus.ts';
import type { Alarm, Clock } from './clock.ts';
import type { Device, IrqLine } from './device.ts';
import type { Saveable } from './saveable.ts';
import { ticksAt, timeOfTick } from './ticks.ts';

/**
 * ACPI fixed hardware (ACPI 6.5, section 4.8): PM1a event and control registers, the PM timer, power-off by S5, and the SMI
 * command port that switches ACPI on. Events reach the guest as an SCI only while ACPI is on (SCI_EN).
 */
export const PM_TIMER_HZ = 3_579_545;

/** Device offsets: PM1a event 0-3, PM1a control 4-5, PM timer 8-11, then ports 0xB2 and 0xB3. */
const PM1_STATUS = 0;
const PM1_ENABLE = 2;
const PM1_CONTROL = 4;
const PM_TIMER = 8;
export const ACPI_PM_LENGTH = 12;
export const ACPI_SMI_COMMAND_OFFSET = 16;
const APM_STATUS_OFFSET = 17;

/** Values for the SMI command port; the FADT must tell the same (ACPI_ENABLE, ACPI_DISABLE). */
export const SMI_ACPI_ENABLE = 0xf1;
export const SMI_ACPI_DISABLE = 0xf0;

const STATUS_TIMER = 0x0001;
const STATUS_GLOBAL = 0x0020;
const STATUS_POWER_BUTTON = 0x0100;
const STATUS_SLEEP_BUTTON = 0x0200;
const STATUS_RTC = 0x0400;
const STATUS_WAKE = 0x8000;
const STATUS_CLEARABLE =
  STATUS_TIMER | STATUS_GLOBAL | STATUS_POWER_BUTTON | STATUS_SLEEP_BUTTON | STATUS_RTC | STATUS_WAKE;
const ENABLE_WRITABLE = STATUS_TIMER | STATUS_GLOBAL | STATUS_POWER_BUTTON | STATUS_SLEEP_BUTTON | STATUS_RTC;

const CONTROL_SCI_ENABLE = 0x0001;
const CONTROL_SLEEP_TYPE = 0x1c00;
const CONTROL_SLEEP_ENABLE = 0x2000;
/** Global-lock release and SLP_EN read as 0. */
const CONTROL_READABLE = 0x0003 | CONTROL_SLEEP_TYPE;

export interface AcpiPmState {
  status: number;
  enable: number;
  control: number;
  apmStatus: number;
  apmCommand: number;
  /** The timer's overflows up to this guest time are in `status`. */
  syncedAt: number;
}

export interface AcpiPmOptions {
  readonly clock: Clock;
  /** The SCI, interrupt line 9, level-triggered. */
  readonly irq: IrqLine;
  readonly onPowerOff: () => void;
  /** Width of the PM timer; the FADT's TMR_VAL_EXT flag says 32 (default 24). */
  readonly timerBits?: 24 | 32;
  /** SLP_TYP of S5 as the DSDT's \_S5 package has it (default 0, so that writing 0x2000 powers off). */
  readonly s5SleepType?: number;
}

export class AcpiPm implements Device, Saveable<AcpiPmState> {
  readonly name = 'acpi-pm';
  readonly #clock: Clock;
  readonly #irq: IrqLine;
  readonly #onPowerOff: () => void;
  readonly #alarm: Alarm;
  readonly #timerBits: 24 | 32;
  readonly #s5: number;
  #state: AcpiPmState = { status: 0, enable: 0, control: 0, apmStatus: 0, apmCommand: 0, syncedAt: 0 };

  constructor(options: AcpiPmOptions) {
    this.#clock = options.clock;
    this.#irq = options.irq;
    this.#onPowerOff = options.onPowerOff;
    this.#timerBits = options.timerBits ?? 24;
    this.#s5 = (options.s5SleepType ?? 0) << 10;
    this.#alarm = options.clock.alarm('pm timer', () => this.#update());
  }

  /** Someone pressed the power button: an SCI, if the guest listens. */
  pressPowerButton(): void {
    this.#state.status |= STATUS_POWER_BUTTON;
    this.#update();
  }

  read(offset: number, width: 1 | 2 | 4): number {
    if (offset === PM_TIMER && width === 4) return this.#timer();
    if (offset < PM1_CONTROL) this.#sync();
    let value = 0;
    for (let i = 0; i < width; i++) value |= this.#readByte(offset + i) << (8 * i);
    return toWidth(value, width);
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    this.#sync();
    for (let i = 0; i < width; i++) this.#writeByte(offset + i, (value >>> (8 * i)) & 0xff);
    this.#update();
  }

  reset(): void {
    this.#state = {
      status: 0,
      enable: 0,
      control: 0,
      apmStatus: 0,
      apmCommand: 0,
      syncedAt: this.#clock.now(),
    };
    this.#update();
  }

  save(): AcpiPmState {
    this.#sync();
    return structuredClone(this.#state);
  }

  load(state: AcpiPmState): void {
    this.#state = structuredClone(state);
    this.#update();
  }

  #timer(): number {
    const ticks = ticksAt(this.#clock.now(), PM_TIMER_HZ);
    return this.#timerBits === 24 ? ticks % 2 ** 24 : ticks % 2 ** 32;
  }

  /** Ticks between changes of the timer's highest bit, each of which sets TMR_STS. */
  get #halfRange(): number {
    return 2 ** (this.#timerBits - 1);
  }

  #halves(ns: number): number {
    return Math.floor(ticksAt(ns, PM_TIMER_HZ) / this.#halfRange);
  }

  #sync(): void {
    const s = this.#state;
    const now = this.#clock.now();
    if (this.#halves(now) > this.#halves(s.syncedAt)) s.status |= STATUS_TIMER;
    s.syncedAt = now;
  }

  #readByte(offset: number): number {
    const s = this.#state;
    const shift = 8 * (offset & 1);
    switch (offset & ~1) {
      case PM1_STATUS:
        return (s.status >> shift) & 0xff;
      case PM1_ENABLE:
        return (s.enable >> shift) & 0xff;
      case PM1_CONTROL:
        return ((s.control & CONTROL_READABLE) >> shift) & 0xff;
      case PM_TIMER:
      case PM_TIMER + 2:
        return (this.#timer() >>> (8 * (offset - PM_TIMER))) & 0xff;
      case ACPI_SMI_COMMAND_OFFSET:
        return offset === APM_STATUS_OFFSET ? s.apmStatus : s.apmCommand;
      default:
        return 0;
    }
  }

  #writeByte(offset: number, byte: number): void {
    const s = this.#state;
    const shift = 8 * (offset & 1);
    const lane = 0xff << shift;
    const value = byte << shift;
    switch (offset & ~1) {
      case PM1_STATUS:
        s.status &= ~(value & STATUS_CLEARABLE);
        break;
      case PM1_ENABLE:
        s.enable = ((s.enable & ~lane) | value) & ENABLE_WRITABLE;
        break;
      case PM1_CONTROL:
        s.control = (s.control & ~lane) | value;
        if ((value & CONTROL_SLEEP_ENABLE) !== 0) {
          s.control &= ~CONTROL_SLEEP_ENABLE;
          if ((s.control & CONTROL_SLEEP_TYPE) === this.#s5) this.#onPowerOff();
        }
        break;
      case ACPI_SMI_COMMAND_OFFSET:
        if (offset === APM_STATUS_OFFSET) s.apmStatus = byte;
        else this.#smiCommand(byte);
        break;
      default:
        break;
    }
  }

  #smiCommand(command: number): void {
    const s = this.#state;
    s.apmCommand = command;
    if (command === SMI_ACPI_ENABLE) s.control |= CONTROL_SCI_ENABLE;
    else if (command === SMI_ACPI_DISABLE) s.control &= ~CONTROL_SCI_ENABLE;
  }

  /** Drives the SCI, and sets the alarm for the timer's next overflow if the guest wants to hear of it. */
  #update(): void {
    this.#sync();
    const s = this.#state;
    const on = (s.control & CONTROL_SCI_ENABLE) !== 0;
    this.#irq.set(on && (s.status & s.enable) !== 0);
    if (on && (s.enable & STATUS_TIMER) !== 0 && (s.status & STATUS_TIMER) === 0) {
      const next = (this.#halves(this.#clock.now()) + 1) * this.#halfRange;
      this.#alarm.set(timeOfTick(next, PM_TIMER_HZ));
    } else {
      this.#alarm.cancel();
    }
  }
}
