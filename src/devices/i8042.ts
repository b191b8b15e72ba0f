import type { ByteWideDevice } from './bus.ts';
import type { IrqLine } from './device.ts';
import type { Saveable } from './saveable.ts';

/**
 * The keyboard controller of a PC/AT without keyboard or mouse, for what else it does: resetting the machine and gating A20
 * (IBM PC AT Technical Reference, "Keyboard Controller"); with port 0x92, the chipset's quick way to both. A20 can be
 * switched and read back, but addresses are never masked.
 */

/** Device offsets: port 0x60, port 0x64, port 0x92. */
const DATA_OFFSET = 0;
export const I8042_COMMAND_OFFSET = 4;
export const I8042_PORT_92_OFFSET = 0x32;

const STATUS_OUTPUT_FULL = 0x01;
const STATUS_SYSTEM = 0x04;
const STATUS_COMMAND = 0x08;
const STATUS_UNLOCKED = 0x10;
const STATUS_AUXILIARY = 0x20;
const STATUS_TIMEOUT = 0x40;

const MODE_KEYBOARD_IRQ = 0x01;
const MODE_AUXILIARY_IRQ = 0x02;
const MODE_SYSTEM = 0x04;
const MODE_KEYBOARD_OFF = 0x10;
const MODE_AUXILIARY_OFF = 0x20;

const OUTPUT_NOT_RESET = 0x01;
const OUTPUT_A20 = 0x02;

const PORT_92_RESET = 0x01;
const PORT_92_A20 = 0x02;

/** What a device that does not answer leaves in the output buffer: "resend", with the timeout bit. */
const NO_ANSWER = 0xfe;

export interface I8042State {
  /** The command byte. */
  mode: number;
  output: number;
  /** OUTPUT_FULL, AUXILIARY and TIMEOUT of the byte in `output`; 0 when empty. */
  outputStatus: number;
  /** The last write went to the command port. */
  lastWasCommand: boolean;
  /** The command that waits for its data byte, or 0. */
  command: number;
  a20: boolean;
}

export interface I8042Options {
  /** Interrupt lines 1 and 12. */
  readonly keyboardIrq: IrqLine;
  readonly auxiliaryIrq: IrqLine;
  readonly onReset: (kind: 'i8042' | 'port-92') => void;
}

export class I8042 implements ByteWideDevice, Saveable<I8042State> {
  readonly name = 'i8042';
  readonly byteWide = true;
  readonly #options: I8042Options;
  #state: I8042State = initialState();

  constructor(options: I8042Options) {
    this.#options = options;
  }

  /** The state of the A20 gate as the guest set it. */
  get a20(): boolean {
    return this.#state.a20;
  }

  read(offset: number, _width: 1 | 2 | 4): number {
    const s = this.#state;
    switch (offset) {
      case DATA_OFFSET:
        s.outputStatus = 0;
        this.#updateInterrupts();
        return s.output;
      case I8042_COMMAND_OFFSET:
        return (
          STATUS_UNLOCKED |
          s.outputStatus |
          ((s.mode & MODE_SYSTEM) !== 0 ? STATUS_SYSTEM : 0) |
          (s.lastWasCommand ? STATUS_COMMAND : 0)
        );
      case I8042_PORT_92_OFFSET:
        return s.a20 ? PORT_92_A20 : 0;
      default:
        return 0xff;
    }
  }

  write(offset: number, _width: 1 | 2 | 4, value: number): void {
    const s = this.#state;
    const byte = value & 0xff;
    switch (offset) {
      case DATA_OFFSET:
        s.lastWasCommand = false;
        this.#writeData(byte);
        break;
      case I8042_COMMAND_OFFSET:
        s.lastWasCommand = true;
        this.#writeCommand(byte);
        break;
      case I8042_PORT_92_OFFSET:
        s.a20 = (byte & PORT_92_A20) !== 0;
        if ((byte & PORT_92_RESET) !== 0) this.#options.onReset('port-92');
        break;
      default:
        break;
    }
    this.#updateInterrupts();
  }

  reset(): void {
    this.#state = initialState();
    this.#updateInterrupts();
  }

  save(): I8042State {
    return structuredClone(this.#state);
  }

  load(state: I8042State): void {
    this.#state = structuredClone(state);
    this.#updateInterrupts();
  }

  #writeCommand(command: number): void {
    const s = this.#state;
    s.command = 0;
    switch (command) {
      case 0x20:
        this.#answer(s.mode);
        break;
      case 0x60: // write the command byte
      case 0xd1: // write the output port
      case 0xd2: // put a byte into the keyboard's output buffer
      case 0xd3: // and into the auxiliary device's
      case 0xd4: // send to the auxiliary device
        s.command = command;
        break;
      case 0xa7:
        s.mode |= MODE_AUXILIARY_OFF;
        break;
      case 0xa8:
        s.mode &= ~MODE_AUXILIARY_OFF;
        break;
      case 0xa9: // test of the auxiliary interface: clock stuck low, nothing is there
        this.#answer(0x01);
        break;
      case 0xaa: // self test passed
        s.mode |= MODE_SYSTEM;
        this.#answer(0x55);
        break;
      case 0xab: // test of the keyboard interface: no error
        this.#answer(0x00);
        break;
      case 0xad:
        s.mode |= MODE_KEYBOARD_OFF;
        break;
      case 0xae:
        s.mode &= ~MODE_KEYBOARD_OFF;
        break;
      case 0xc0: // input port: keyboard not locked
        this.#answer(0x80);
        break;
      case 0xd0:
        this.#answer(OUTPUT_NOT_RESET | (s.a20 ? OUTPUT_A20 : 0));
        break;
      case 0xdd:
        s.a20 = false;
        break;
      case 0xdf:
        s.a20 = true;
        break;
      default:
        // 0xF0-0xFF pulse the output port's bits that are 0; bit 0 is the reset line.
        if (command >= 0xf0 && (command & OUTPUT_NOT_RESET) === 0) this.#options.onReset('i8042');
        break;
    }
  }

  #writeData(byte: number): void {
    const s = this.#state;
    const { command } = s;
    s.command = 0;
    switch (command) {
      case 0x60:
        s.mode = byte;
        break;
      case 0xd1:
        s.a20 = (byte & OUTPUT_A20) !== 0;
        if ((byte & OUTPUT_NOT_RESET) === 0) this.#options.onReset('i8042');
        break;
      case 0xd2:
      // A loop to the auxiliary device comes back without its status bit, by which guests see that there is none.
      case 0xd3:
        this.#answer(byte);
        break;
      case 0xd4:
        this.#answer(NO_ANSWER, STATUS_AUXILIARY | STATUS_TIMEOUT);
        break;
      default:
        this.#answer(NO_ANSWER, STATUS_TIMEOUT);
        break;
    }
  }

  #answer(byte: number, status = 0): void {
    this.#state.output = byte;
    this.#state.outputStatus = STATUS_OUTPUT_FULL | status;
  }

  #updateInterrupts(): void {
    const s = this.#state;
    const auxiliary = (s.outputStatus & STATUS_AUXILIARY) !== 0;
    const full = s.outputStatus !== 0;
    this.#options.keyboardIrq.set(full && !auxiliary && (s.mode & MODE_KEYBOARD_IRQ) !== 0);
    this.#options.auxiliaryIrq.set(full && auxiliary && (s.mode & MODE_AUXILIARY_IRQ) !== 0);
  }
}

function initialState(): I8042State {
  return {
    mode: MODE_KEYBOARD_OFF | MODE_AUXILIARY_OFF | MODE_SYSTEM,
    output: 0,
    outputStatus: 0,
    lastWasCommand: false,
    command: 0,
    a20: true,
  };
}
