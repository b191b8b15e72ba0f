import { type ApicBus, DELIVER_EXT_INT, DELIVER_NMI } from './apic-bus.ts';
import { toWidth } from './bus.ts';
import type { Device } from './device.ts';
import type { Saveable } from './saveable.ts';

/** An I/O APIC with 24 pins (Intel 82093AA datasheet, order 290566; version 0x20 with the EOI register: ICH, section 9.5). */

export const IOAPIC_LENGTH = 0x1000;
const PINS = 24;

const REGISTER_SELECT = 0x00;
const WINDOW = 0x10;
const END_OF_INTERRUPT = 0x40;

const INDEX_ID = 0x00;
const INDEX_VERSION = 0x01;
const INDEX_ARBITRATION = 0x02;
const INDEX_REDIRECTION = 0x10;
const VERSION = ((PINS - 1) << 16) | 0x20;

/** Low half of a redirection entry (82093AA, 3.2.4). */
const VECTOR = 0xff;
const LOGICAL = 1 << 11;
const REMOTE_IRR = 1 << 14;
const LEVEL = 1 << 15;
const MASKED = 1 << 16;
/** Delivery status and remote IRR are the device's own. */
const WRITABLE_LOW = 0x1ffff & ~(REMOTE_IRR | (1 << 12));
const WRITABLE_HIGH = 0xff000000;

export interface IoApicState {
  id: number;
  select: number;
  /** Redirection entries, low and high halves. */
  low: Uint32Array;
  high: Uint32Array;
  /** Levels of the pins, as asserted (polarity is not modelled: a line is asserted or not). */
  pins: number;
}

export class IoApic implements Device, Saveable<IoApicState> {
  readonly name = 'ioapic';
  readonly #bus: ApicBus;
  readonly #initialId: number;
  #state: IoApicState;
  /** Interrupts sent, by pin. */
  readonly sent = new Uint32Array(PINS);

  /** @param id the reset value of the ID register, as the MADT or MP table says */
  constructor(bus: ApicBus, id = 0) {
    this.#bus = bus;
    this.#initialId = id;
    this.#state = initialState(id);
  }

  /** Drives pin 0..23. A rising edge on an edge-triggered pin counts only while the pin is unmasked (82093AA, 3.2.4). */
  setPin(pin: number, asserted: boolean): void {
    const s = this.#state;
    const bit = 1 << pin;
    const before = (s.pins & bit) !== 0;
    if (asserted === before) return;
    s.pins = asserted ? s.pins | bit : s.pins & ~bit;
    if (asserted) this.#service(pin);
  }

  /** A level-triggered interrupt with this vector has ended: a pin that is still asserted interrupts again. */
  endOfInterrupt(vector: number): void {
    const s = this.#state;
    for (let pin = 0; pin < PINS; pin++) {
      const entry = s.low[pin]!;
      if ((entry & VECTOR) !== vector || (entry & REMOTE_IRR) === 0) continue;
      s.low[pin] = entry & ~REMOTE_IRR;
      if ((s.pins & (1 << pin)) !== 0) this.#service(pin);
    }
  }

  read(offset: number, width: 1 | 2 | 4): number {
    if (offset === REGISTER_SELECT) return this.#state.select;
    return offset === WINDOW ? toWidth(this.#readSelected(), width) : 0;
  }

  #readSelected(): number {
    const s = this.#state;
    if (s.select === INDEX_ID || s.select === INDEX_ARBITRATION) return s.id << 24;
    if (s.select === INDEX_VERSION) return VERSION;
    const index = s.select - INDEX_REDIRECTION;
    if (index < 0 || index >= 2 * PINS) return 0;
    return ((index & 1) === 0 ? s.low : s.high)[index >> 1]!;
  }

  write(offset: number, _width: 1 | 2 | 4, value: number): void {
    const s = this.#state;
    if (offset === REGISTER_SELECT) {
      s.select = value & 0xff;
    } else if (offset === END_OF_INTERRUPT) {
      this.endOfInterrupt(value & 0xff);
    } else if (offset === WINDOW) {
      if (s.select === INDEX_ID) s.id = (value >>> 24) & 0x0f;
      const index = s.select - INDEX_REDIRECTION;
      if (index >= 0 && index < 2 * PINS) this.#writeRedirection(index >> 1, (index & 1) !== 0, value);
    }
  }

  reset(): void {
    const { pins } = this.#state;
    this.#state = { ...initialState(this.#initialId), pins };
  }

  save(): IoApicState {
    return structuredClone(this.#state);
  }

  load(state: IoApicState): void {
    this.#state = structuredClone(state);
  }

  #writeRedirection(pin: number, upper: boolean, value: number): void {
    const s = this.#state;
    if (upper) {
      s.high[pin] = value & WRITABLE_HIGH;
      return;
    }
    let entry = (s.low[pin]! & ~WRITABLE_LOW) | (value & WRITABLE_LOW);
    // Edge mode has no remote IRR; guests without an EOI register rely on this to clear it.
    if ((entry & LEVEL) === 0) entry &= ~REMOTE_IRR;
    s.low[pin] = entry;
    if ((entry & LEVEL) !== 0 && (s.pins & (1 << pin)) !== 0) this.#service(pin);
  }

  /** Sends the pin's interrupt unless it is masked or, level-triggered, still in service. */
  #service(pin: number): void {
    const s = this.#state;
    const entry = s.low[pin]!;
    if ((entry & MASKED) !== 0) return;
    const mode = (entry >> 8) & 7;
    // Only fixed and lowest-priority interrupts can be level-triggered.
    const level = (entry & LEVEL) !== 0 && mode < 2;
    if (level) {
      if ((entry & REMOTE_IRR) !== 0) return;
      s.low[pin] = entry | REMOTE_IRR;
    }
    if (mode !== DELIVER_EXT_INT && mode !== DELIVER_NMI && (entry & VECTOR) < 0x10) {
      s.low[pin]! &= ~REMOTE_IRR;
      return;
    }
    this.sent[pin]!++;
    this.#bus.send(s.high[pin]! >>> 24, (entry & LOGICAL) !== 0, mode, entry & VECTOR, level);
  }
}

function initialState(id: number): IoApicState {
  return {
    id,
    select: 0,
    low: new Uint32Array(PINS).fill(MASKED),
    high: new Uint32Array(PINS),
    pins: 0,
  };
}
