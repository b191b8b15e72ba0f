import type { ByteWideDevice } from './bus.ts';
import type { Alarm, Clock } from './clock.ts';
import type { IrqLine } from './device.ts';
import type { Saveable } from './saveable.ts';

/**
 * A 16550A UART as a PC has it (National Semiconductor PC16550D datasheet; section numbers are its). What is sent leaves at
 * once, so the transmitter is always empty; what is received waits in a bounded queue on the host's side of the line until
 * the receiver has room, so the guest never loses input.
 */

/** Register offsets (section 8, table II); the first two belong to the divisor while LCR.DLAB is set. */
const DATA = 0;
const IER = 1;
const IIR_FCR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;
const SCRATCH = 7;

const IER_RECEIVED = 0x01;
const IER_THR_EMPTY = 0x02;
const IER_LINE_STATUS = 0x04;
const IER_MODEM_STATUS = 0x08;

/** Interrupt identities (section 8.6, table IV), highest priority first except the last. */
const IIR_LINE_STATUS = 0x06;
const IIR_RECEIVED = 0x04;
const IIR_TIMEOUT = 0x0c;
const IIR_THR_EMPTY = 0x02;
const IIR_MODEM_STATUS = 0x00;
const IIR_NONE = 0x01;
const IIR_FIFOS_ENABLED = 0xc0;

const FCR_ENABLE = 0x01;
const FCR_CLEAR_RECEIVER = 0x02;

const LCR_DLAB = 0x80;

const MCR_DTR = 0x01;
const MCR_RTS = 0x02;
const MCR_OUT1 = 0x04;
const MCR_OUT2 = 0x08;
const MCR_LOOP = 0x10;

const LSR_DATA_READY = 0x01;
const LSR_OVERRUN = 0x02;
const LSR_ERRORS = 0x1e;
const LSR_BREAK = 0x10;
const LSR_THR_EMPTY = 0x20;
const LSR_TRANSMITTER_EMPTY = 0x40;
const LSR_FIFO_ERROR = 0x80;

/** Modem inputs, as they stand in MSR. */
export const MODEM_CTS = 0x10;
export const MODEM_DSR = 0x20;
export const MODEM_RI = 0x40;
export const MODEM_DCD = 0x80;
const MSR_RI_TRAILING_EDGE = 0x04;

const FIFO_DEPTH = 16;
const TRIGGER_LEVELS = [1, 4, 8, 14] as const;
/** UART input clock / 16: the baud rate at divisor 1. */
const MAX_BAUD = 115_200;
const INPUT_LIMIT = 4096;
const OUTPUT_BATCH = 1024;

export interface Serial16550State {
  ier: number;
  fcr: number;
  lcr: number;
  mcr: number;
  /** Overrun and the error bits of the character at the top of the FIFO, as LSR holds them. */
  lineErrors: number;
  /** MSR: inputs in the upper half, deltas in the lower. */
  msr: number;
  scratch: number;
  divisor: number;
  /** Modem inputs as the far side drives them. */
  modemInputs: number;
  /** A THR-empty interrupt is due (cleared by reading it from IIR). */
  thrEmptyPending: boolean;
  timeoutPending: boolean;
  /** Guest time at which the character timeout comes, or undefined. */
  timeoutAt: number | undefined;
  /** Received characters, oldest first: the byte, and its LSR error bits shifted left by 8. */
  fifo: number[];
  /** Host input that has not reached the receiver yet, in the same form. */
  input: number[];
}

export interface Serial16550Options {
  readonly irq: IrqLine;
  readonly clock: Clock;
  /**
   * Takes what the guest sent, in batches: when 1024 bytes have gathered, and on every `flush()`, which the machine calls
   * after each slice. The array is the sink's own.
   */
  readonly sink: (bytes: Uint8Array) => void;
  readonly name?: string;
}

export class Serial16550 implements ByteWideDevice, Saveable<Serial16550State> {
  readonly name: string;
  readonly byteWide = true;
  /** Called when input has room again after `receive` took less than it was given. */
  onRoom: (() => void) | undefined;
  /** Bytes sent and received by the guest since power-on. */
  bytesSent = 0;
  bytesReceived = 0;

  readonly #irq: IrqLine;
  readonly #clock: Clock;
  readonly #sink: (bytes: Uint8Array) => void;
  readonly #timeout: Alarm;
  #state: Serial16550State;
  #refused = false;
  #irqLevel = false;
  readonly #output = new Uint8Array(OUTPUT_BATCH);
  #outputLength = 0;

  constructor(options: Serial16550Options) {
    this.name = options.name ?? 'serial16550';
    this.#irq = options.irq;
    this.#clock = options.clock;
    this.#sink = options.sink;
    this.#timeout = options.clock.alarm(`${this.name} timeout`, () => this.#characterTimeout());
    this.#state = initialState();
  }

  /** Bytes that `receive` would take now. */
  get room(): number {
    return INPUT_LIMIT - this.#state.input.length;
  }

  /** Queues input from the far side; returns how many bytes were taken (`onRoom` tells when more can come). */
  receive(bytes: Uint8Array): number {
    const taken = Math.min(bytes.length, this.room);
    for (let i = 0; i < taken; i++) this.#state.input.push(bytes[i]!);
    if (taken < bytes.length) this.#refused = true;
    this.#pump();
    this.#update();
    return taken;
  }

  /** The far side sends a break: a zero character with BI set (section 8.3). False when the input queue is full. */
  sendBreak(): boolean {
    if (this.room === 0) return false;
    this.#state.input.push(LSR_BREAK << 8);
    this.#pump();
    this.#update();
    return true;
  }

  /** The far side drives CTS, DSR, RI and DCD (a mask of MODEM_ bits; at reset CTS, DSR and DCD are on). */
  setModemInputs(inputs: number): void {
    this.#state.modemInputs = inputs & 0xf0;
    this.#updateModemStatus();
    this.#update();
  }

  /** Hands what has gathered to the sink. */
  flush(): void {
    if (this.#outputLength === 0) return;
    const bytes = this.#output.slice(0, this.#outputLength);
    this.#outputLength = 0;
    this.#sink(bytes);
  }

  read(offset: number, _width: 1 | 2 | 4): number {
    const s = this.#state;
    switch (offset & 7) {
      case DATA:
        return (s.lcr & LCR_DLAB) !== 0 ? s.divisor & 0xff : this.#readReceiver();
      case IER:
        return (s.lcr & LCR_DLAB) !== 0 ? s.divisor >> 8 : s.ier;
      case IIR_FCR: {
        const identity = this.#interruptIdentity();
        if (identity === IIR_THR_EMPTY) {
          s.thrEmptyPending = false;
          this.#update();
        }
        return identity | ((s.fcr & FCR_ENABLE) !== 0 ? IIR_FIFOS_ENABLED : 0);
      }
      case LCR:
        return s.lcr;
      case MCR:
        return s.mcr;
      case LSR:
        return this.#readLineStatus();
      case MSR: {
        const value = s.msr;
        if ((value & 0x0f) !== 0) {
          s.msr = value & 0xf0;
          this.#update();
        }
        return value;
      }
      default:
        return s.scratch;
    }
  }

  write(offset: number, _width: 1 | 2 | 4, value: number): void {
    const s = this.#state;
    const byte = value & 0xff;
    switch (offset & 7) {
      case DATA:
        if ((s.lcr & LCR_DLAB) !== 0) s.divisor = (s.divisor & 0xff00) | byte;
        else this.#transmit(byte);
        break;
      case IER:
        if ((s.lcr & LCR_DLAB) !== 0) {
          s.divisor = (s.divisor & 0xff) | (byte << 8);
        } else {
          // Enabling the THR interrupt while the THR is empty raises it: Linux starts a transmission that way and
          // calls a UART that does not buggy.
          if ((byte & IER_THR_EMPTY) === 0) s.thrEmptyPending = false;
          else if ((s.ier & IER_THR_EMPTY) === 0) s.thrEmptyPending = true;
          s.ier = byte & 0x0f;
        }
        break;
      case IIR_FCR:
        this.#writeFifoControl(byte);
        break;
      case LCR:
        s.lcr = byte;
        break;
      case MCR:
        s.mcr = byte & 0x1f;
        this.#updateModemStatus();
        if ((s.mcr & MCR_LOOP) === 0) this.#pump();
        break;
      case SCRATCH:
        s.scratch = byte;
        break;
      default:
        // LSR and MSR are for reading; the datasheet leaves writes to factory tests.
        break;
    }
    this.#update();
  }

  reset(): void {
    const { input, modemInputs } = this.#state;
    this.#state = { ...initialState(), input, modemInputs, msr: modemInputs };
    this.#timeout.cancel();
    this.#pump();
    this.#update();
  }

  save(): Serial16550State {
    return structuredClone(this.#state);
  }

  load(state: Serial16550State): void {
    this.#state = structuredClone(state);
    if (this.#state.timeoutAt === undefined) this.#timeout.cancel();
    else this.#timeout.set(this.#state.timeoutAt);
    this.#irqLevel = this.#interruptIdentity() !== IIR_NONE;
    this.#irq.set(this.#irqLevel);
  }

  #transmit(byte: number): void {
    const s = this.#state;
    s.thrEmptyPending = true;
    if ((s.mcr & MCR_LOOP) !== 0) {
      this.#receiveCharacter(byte);
      return;
    }
    this.bytesSent++;
    this.#output[this.#outputLength++] = byte;
    if (this.#outputLength === OUTPUT_BATCH) this.flush();
  }

  #receiverDepth(): number {
    return (this.#state.fcr & FCR_ENABLE) !== 0 ? FIFO_DEPTH : 1;
  }

  /** A character reaches the receiver; with the FIFO full the FIFO keeps what it has (8.3), else the register is overwritten. */
  #receiveCharacter(character: number): void {
    const s = this.#state;
    if (s.fifo.length >= this.#receiverDepth()) {
      s.lineErrors |= LSR_OVERRUN;
      if ((s.fcr & FCR_ENABLE) === 0) {
        s.fifo[0] = character;
        s.lineErrors |= (character >> 8) & LSR_ERRORS;
      }
    } else {
      s.fifo.push(character);
      if (s.fifo.length === 1) s.lineErrors |= (character >> 8) & LSR_ERRORS;
    }
    this.#armTimeout();
  }

  /** Moves waiting input into the receiver as far as it has room. */
  #pump(): void {
    const s = this.#state;
    if (s.input.length === 0 || (s.mcr & MCR_LOOP) !== 0) return;
    const count = Math.min(s.input.length, this.#receiverDepth() - s.fifo.length);
    if (count <= 0) return;
    for (const character of s.input.splice(0, count)) this.#receiveCharacter(character);
    this.bytesReceived += count;
    if (this.#refused && s.input.length <= INPUT_LIMIT / 2) {
      this.#refused = false;
      this.onRoom?.();
    }
  }

  #readReceiver(): number {
    const s = this.#state;
    const character = s.fifo.shift();
    if (character === undefined) return 0;
    s.timeoutPending = false;
    const next = s.fifo[0];
    if (next !== undefined) s.lineErrors |= (next >> 8) & LSR_ERRORS;
    this.#pump();
    this.#armTimeout();
    this.#update();
    return character & 0xff;
  }

  #readLineStatus(): number {
    const s = this.#state;
    let value = LSR_THR_EMPTY | LSR_TRANSMITTER_EMPTY | s.lineErrors;
    if (s.fifo.length > 0) {
      value |= LSR_DATA_READY;
      if ((s.fcr & FCR_ENABLE) !== 0 && hasError(s.fifo)) value |= LSR_FIFO_ERROR;
    }
    if (s.lineErrors !== 0) {
      s.lineErrors = 0;
      // An error is reported once: the character at the top keeps its byte.
      if (s.fifo.length > 0) s.fifo[0]! &= 0xff;
      this.#update();
    }
    return value;
  }

  #writeFifoControl(byte: number): void {
    const s = this.#state;
    // Changing the enable bit empties the FIFOs, and the other bits count only with it set (8.5).
    const toggled = ((s.fcr ^ byte) & FCR_ENABLE) !== 0;
    if (toggled || (byte & (FCR_ENABLE | FCR_CLEAR_RECEIVER)) === (FCR_ENABLE | FCR_CLEAR_RECEIVER)) {
      s.fifo.length = 0;
      s.lineErrors &= LSR_OVERRUN;
      s.timeoutPending = false;
    }
    s.fcr = (byte & FCR_ENABLE) !== 0 ? byte & 0xc9 : 0;
    this.#pump();
    this.#armTimeout();
  }

  #triggerLevel(): number {
    const { fcr } = this.#state;
    return (fcr & FCR_ENABLE) !== 0 ? TRIGGER_LEVELS[(fcr >> 6) as 0 | 1 | 2 | 3] : 1;
  }

  /** Characters below the trigger level are announced four character times after the last one came or was read (8.4). */
  #armTimeout(): void {
    const s = this.#state;
    if (s.fifo.length > 0 && s.fifo.length < this.#triggerLevel() && !s.timeoutPending) {
      const divisor = s.divisor === 0 ? 0x10000 : s.divisor;
      const bits = 7 + (s.lcr & 3) + ((s.lcr >> 2) & 1) + ((s.lcr >> 3) & 1);
      s.timeoutAt = this.#clock.now() + Math.round((4 * bits * divisor * 1e9) / MAX_BAUD);
      this.#timeout.set(s.timeoutAt);
    } else if (s.timeoutAt !== undefined) {
      s.timeoutAt = undefined;
      this.#timeout.cancel();
    }
  }

  #characterTimeout(): void {
    this.#state.timeoutAt = undefined;
    if (this.#state.fifo.length === 0) return;
    this.#state.timeoutPending = true;
    this.#update();
  }

  /** MSR from the pins, or in loopback from MCR (8.7), with the deltas since it was last read. */
  #updateModemStatus(): void {
    const s = this.#state;
    let inputs = s.modemInputs;
    if ((s.mcr & MCR_LOOP) !== 0) {
      inputs =
        ((s.mcr & MCR_RTS) !== 0 ? MODEM_CTS : 0) |
        ((s.mcr & MCR_DTR) !== 0 ? MODEM_DSR : 0) |
        ((s.mcr & MCR_OUT1) !== 0 ? MODEM_RI : 0) |
        ((s.mcr & MCR_OUT2) !== 0 ? MODEM_DCD : 0);
    }
    const changed = inputs ^ (s.msr & 0xf0);
    let deltas = (changed >> 4) & ~MSR_RI_TRAILING_EDGE;
    if ((changed & MODEM_RI) !== 0 && (inputs & MODEM_RI) === 0) deltas |= MSR_RI_TRAILING_EDGE;
    s.msr = inputs | (s.msr & 0x0f) | deltas;
  }

  #interruptIdentity(): number {
    const s = this.#state;
    if ((s.ier & IER_LINE_STATUS) !== 0 && s.lineErrors !== 0) return IIR_LINE_STATUS;
    if ((s.ier & IER_RECEIVED) !== 0) {
      if (s.fifo.length >= this.#triggerLevel()) return IIR_RECEIVED;
      if (s.timeoutPending) return IIR_TIMEOUT;
    }
    if ((s.ier & IER_THR_EMPTY) !== 0 && s.thrEmptyPending) return IIR_THR_EMPTY;
    if ((s.ier & IER_MODEM_STATUS) !== 0 && (s.msr & 0x0f) !== 0) return IIR_MODEM_STATUS;
    return IIR_NONE;
  }

  /**
   * Drives the interrupt line. A PC gates it with MCR.OUT2; this one does not, since guests made for emulators that leave
   * the gate out often never set OUT2.
   */
  #update(): void {
    const level = this.#interruptIdentity() !== IIR_NONE;
    if (level === this.#irqLevel) return;
    this.#irqLevel = level;
    this.#irq.set(level);
  }
}

function hasError(fifo: readonly number[]): boolean {
  for (const character of fifo) if (character > 0xff) return true;
  return false;
}

function initialState(): Serial16550State {
  const modemInputs = MODEM_CTS | MODEM_DSR | MODEM_DCD;
  return {
    ier: 0,
    fcr: 0,
    lcr: 0,
    mcr: 0,
    lineErrors: 0,
    msr: modemInputs,
    scratch: 0,
    divisor: 12,
    modemInputs,
    thrEmptyPending: false,
    timeoutPending: false,
    timeoutAt: undefined,
    fifo: [],
    input: [],
  };
}
