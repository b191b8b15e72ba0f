import type { ByteWideDevice } from './bus.ts';
import type { Saveable } from './saveable.ts';

/**
 * The two cascaded 8259A interrupt controllers of a PC/AT with the edge/level registers of the EISA chipsets
 * (Intel 8259A datasheet, order 231468; ELCR: Intel 82371SB, section 2.5.5).
 */

/** Device offsets: master 0x20-0x21, slave 0xA0-0xA1, ELCR 0x4D0-0x4D1. */
export const PIC_MASTER_OFFSET = 0;
export const PIC_SLAVE_OFFSET = 2;
export const PIC_ELCR_OFFSET = 4;

/** The slave's output is the master's input 2. */
const CASCADE = 2;
/** Lines that may be level-triggered; the timer, keyboard, cascade, RTC and FPU lines are edge-triggered for ever. */
const ELCR_MASKS = [0xf8, 0xde] as const;

const ICW1_SELECT = 0x10;
const ICW1_ICW4 = 0x01;
const ICW1_SINGLE = 0x02;
const ICW1_LEVEL = 0x08;
const ICW4_AUTO_EOI = 0x02;
const ICW4_FULLY_NESTED = 0x10;
const OCW3_SELECT = 0x08;

export interface ChipState {
  /** Requests, mask, in service; bit n = input n. */
  irr: number;
  imr: number;
  isr: number;
  /** Levels of the inputs. */
  inputs: number;
  elcr: number;
  /** ICW1.LTIM: every input is level-triggered. */
  allLevel: boolean;
  /** Which ICW the data port expects next: 0 none (OCW1), else 2, 3 or 4. */
  nextIcw: number;
  icw1: number;
  vectorBase: number;
  /** The input of highest priority. */
  top: number;
  autoEoi: boolean;
  rotateOnAutoEoi: boolean;
  specialMask: boolean;
  fullyNested: boolean;
  readIsr: boolean;
  poll: boolean;
}

export interface PicState {
  master: ChipState;
  slave: ChipState;
}

class Chip {
  state: ChipState = initialChip();

  setInput(input: number, level: boolean): void {
    const s = this.state;
    const bit = 1 << input;
    if (level) {
      if (this.isLevel(bit) || (s.inputs & bit) === 0) s.irr |= bit;
      s.inputs |= bit;
    } else {
      if (this.isLevel(bit)) s.irr &= ~bit;
      s.inputs &= ~bit;
    }
  }

  isLevel(bit: number): boolean {
    return this.state.allLevel || (this.state.elcr & bit) !== 0;
  }

  /** The input that asks for service and may have it, or -1. */
  request(): number {
    const s = this.state;
    const requests = s.irr & ~s.imr;
    if (requests === 0) return -1;
    // In special mask mode a level in service that is masked does not hold the lower ones back.
    const inService = s.specialMask ? s.isr & ~s.imr : s.isr;
    for (let i = 0; i < 8; i++) {
      const input = (s.top + i) & 7;
      const bit = 1 << input;
      if ((inService & bit) !== 0) {
        // A master in special fully nested mode lets its slave interrupt itself.
        return s.fullyNested && input === CASCADE && (requests & bit) !== 0 ? input : -1;
      }
      if ((requests & bit) !== 0) return input;
    }
    return -1;
  }

  acknowledge(input: number): void {
    const s = this.state;
    const bit = 1 << input;
    if (!this.isLevel(bit)) s.irr &= ~bit;
    if (!s.autoEoi) s.isr |= bit;
    else if (s.rotateOnAutoEoi) s.top = (input + 1) & 7;
  }

  writeCommand(byte: number): void {
    const s = this.state;
    if ((byte & ICW1_SELECT) !== 0) {
      const { inputs, elcr, vectorBase } = s;
      this.state = { ...initialChip(), inputs, elcr, vectorBase, icw1: byte, nextIcw: 2 };
      this.state.allLevel = (byte & ICW1_LEVEL) !== 0;
      // Edge sensing starts over: an input must go low and high again; level inputs ask again at once.
      this.state.irr = inputs & (this.state.allLevel ? 0xff : elcr);
      return;
    }
    if ((byte & OCW3_SELECT) !== 0) {
      if ((byte & 0x04) !== 0) s.poll = true;
      else if ((byte & 0x02) !== 0) s.readIsr = (byte & 0x01) !== 0;
      if ((byte & 0x40) !== 0) s.specialMask = (byte & 0x20) !== 0;
      return;
    }
    this.#writeOcw2(byte >> 5, byte & 7);
  }

  #writeOcw2(command: number, input: number): void {
    const s = this.state;
    switch (command) {
      case 0: // rotate in automatic EOI mode, clear
      case 4: // and set
        s.rotateOnAutoEoi = command === 4;
        break;
      case 1: // non-specific EOI
      case 5: {
        // with rotation
        const highest = this.#highestInService();
        if (highest < 0) break;
        s.isr &= ~(1 << highest);
        if (command === 5) s.top = (highest + 1) & 7;
        break;
      }
      case 3: // specific EOI
        s.isr &= ~(1 << input);
        break;
      case 6: // set priority
        s.top = (input + 1) & 7;
        break;
      case 7: // specific EOI with rotation
        s.isr &= ~(1 << input);
        s.top = (input + 1) & 7;
        break;
      default: // no operation
        break;
    }
  }

  /** What a non-specific EOI ends: in special mask mode a masked level stays in service. */
  #highestInService(): number {
    const s = this.state;
    const candidates = s.specialMask ? s.isr & ~s.imr : s.isr;
    for (let i = 0; i < 8; i++) {
      const input = (s.top + i) & 7;
      if ((candidates & (1 << input)) !== 0) return input;
    }
    return -1;
  }

  writeData(byte: number): void {
    const s = this.state;
    switch (s.nextIcw) {
      case 2:
        s.vectorBase = byte & 0xf8;
        s.nextIcw = (s.icw1 & ICW1_SINGLE) === 0 ? 3 : (s.icw1 & ICW1_ICW4) !== 0 ? 4 : 0;
        break;
      case 3:
        // The cascade is wired; ICW3 cannot change it.
        s.nextIcw = (s.icw1 & ICW1_ICW4) !== 0 ? 4 : 0;
        break;
      case 4:
        s.autoEoi = (byte & ICW4_AUTO_EOI) !== 0;
        s.fullyNested = (byte & ICW4_FULLY_NESTED) !== 0;
        s.nextIcw = 0;
        break;
      default:
        s.imr = byte;
        break;
    }
  }

  setElcr(value: number): void {
    const s = this.state;
    s.elcr = value;
    // A line that became level-triggered asks for as long as it is high.
    s.irr = (s.irr & ~value) | (s.inputs & value);
  }
}

export class Pic implements ByteWideDevice, Saveable<PicState> {
  readonly name = 'pic';
  readonly byteWide = true;
  /** Called when INTR changes level. */
  onOutput: ((level: boolean) => void) | undefined;
  #output = false;
  readonly #master = new Chip();
  readonly #slave = new Chip();

  constructor() {
    this.reset();
  }

  /** INTR: an interrupt waits for `acknowledge`. */
  get output(): boolean {
    return this.#output;
  }

  /** Drives input `irq` 0..15 (2 is the cascade and has no line). */
  setIrq(irq: number, level: boolean): void {
    if (irq === CASCADE) return;
    if (irq < 8) this.#master.setInput(irq, level);
    else this.#slave.setInput(irq - 8, level);
    this.#update();
  }

  /**
   * The interrupt acknowledge cycles: the vector of the request of highest priority. A request that has gone away gives the
   * spurious vector of input 7, with nothing in service.
   */
  acknowledge(): number {
    const input = this.#master.request();
    if (input < 0) return this.#master.state.vectorBase + 7;
    this.#master.acknowledge(input);
    let vector = this.#master.state.vectorBase + input;
    if (input === CASCADE) vector = this.#acknowledgeSlave();
    this.#update();
    return vector;
  }

  #acknowledgeSlave(): number {
    const input = this.#slave.request();
    if (input < 0) return this.#slave.state.vectorBase + 7;
    this.#slave.acknowledge(input);
    return this.#slave.state.vectorBase + input;
  }

  read(offset: number, _width: 1 | 2 | 4): number {
    if (offset >= PIC_ELCR_OFFSET) return offset === PIC_ELCR_OFFSET ? this.#master.state.elcr : this.#slave.state.elcr;
    const isSlave = offset >= PIC_SLAVE_OFFSET;
    const chip = isSlave ? this.#slave : this.#master;
    const s = chip.state;
    if (s.poll) return this.#poll(chip, isSlave);
    if ((offset & 1) !== 0) return s.imr;
    return s.readIsr ? s.isr : s.irr;
  }

  /** The poll command makes the next read an acknowledge cycle (datasheet, "Poll Command"). */
  #poll(chip: Chip, isSlave: boolean): number {
    chip.state.poll = false;
    const input = chip.request();
    if (input < 0) return 0;
    chip.acknowledge(input);
    if (isSlave) this.#master.state.irr &= ~(1 << CASCADE);
    this.#update();
    return 0x80 | input;
  }

  write(offset: number, _width: 1 | 2 | 4, value: number): void {
    const byte = value & 0xff;
    if (offset >= PIC_ELCR_OFFSET) {
      if (offset === PIC_ELCR_OFFSET) this.#master.setElcr(byte & ELCR_MASKS[0]);
      else this.#slave.setElcr(byte & ELCR_MASKS[1]);
    } else {
      const chip = offset >= PIC_SLAVE_OFFSET ? this.#slave : this.#master;
      if ((offset & 1) === 0) chip.writeCommand(byte);
      else chip.writeData(byte);
    }
    this.#update();
  }

  /** Power-on: every input masked, as firmware leaves the controllers; lines keep their levels. */
  reset(): void {
    for (const chip of [this.#master, this.#slave]) {
      chip.state = { ...initialChip(), imr: 0xff, inputs: chip.state.inputs };
    }
    this.#update();
  }

  save(): PicState {
    return structuredClone({ master: this.#master.state, slave: this.#slave.state });
  }

  load(state: PicState): void {
    const copy = structuredClone(state);
    this.#master.state = copy.master;
    this.#slave.state = copy.slave;
    this.#output = this.#master.request() >= 0;
    this.onOutput?.(this.#output);
  }

  /** The slave's INTR drives the master's input 2, a level that edge sensing sees rise with each new request. */
  #update(): void {
    const slaveAsks = this.#slave.request() >= 0;
    if (slaveAsks) {
      this.#master.setInput(CASCADE, false);
      this.#master.setInput(CASCADE, true);
    } else {
      this.#master.setInput(CASCADE, false);
      this.#master.state.irr &= ~(1 << CASCADE);
    }
    const level = this.#master.request() >= 0;
    if (level === this.#output) return;
    this.#output = level;
    this.onOutput?.(level);
  }
}

function initialChip(): ChipState {
  return {
    irr: 0,
    imr: 0,
    isr: 0,
    inputs: 0,
    elcr: 0,
    allLevel: false,
    nextIcw: 0,
    icw1: 0,
    vectorBase: 0,
    top: 0,
    autoEoi: false,
    rotateOnAutoEoi: false,
    specialMask: false,
    fullyNested: false,
    readIsr: false,
    poll: false,
  };
}
