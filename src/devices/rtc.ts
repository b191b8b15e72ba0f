import type { ByteWideDevice } from './bus.ts';
import type { Alarm, Clock } from './clock.ts';
import type { IrqLine } from './device.ts';
import type { Saveable } from './saveable.ts';
import { NS_PER_SECOND, ticksAt, timeOfTick } from './ticks.ts';

/**
 * The real-time clock and CMOS memory of a PC/AT (Motorola MC146818A datasheet). The date follows from the clock: nothing
 * ticks unless an interrupt is enabled, and flags are worked out when register C is read.
 */

/** Device offsets: index at port 0x70, data at 0x71. */
const DATA_OFFSET = 1;

const SECONDS = 0x00;
const SECONDS_ALARM = 0x01;
const MINUTES = 0x02;
const MINUTES_ALARM = 0x03;
const HOURS = 0x04;
const HOURS_ALARM = 0x05;
const WEEKDAY = 0x06;
const DAY = 0x07;
const MONTH = 0x08;
const YEAR = 0x09;
const REGISTER_A = 0x0a;
const REGISTER_B = 0x0b;
const REGISTER_C = 0x0c;
const REGISTER_D = 0x0d;
/** The century, as the FADT says (and every PC chipset since PIIX has it). */
export const CMOS_CENTURY = 0x32;

const A_UPDATE_IN_PROGRESS = 0x80;
const A_DIVIDER_RESET = 0x60;
const B_SET = 0x80;
const B_UPDATE_ENABLE = 0x10;
const B_ENABLES = 0x70;
const B_BINARY = 0x04;
const B_24_HOURS = 0x02;
const C_INTERRUPT = 0x80;
const FLAG_PERIODIC = 0x40;
const FLAG_ALARM = 0x20;
const FLAG_UPDATE = 0x10;
const D_VALID = 0x80;
const HOURS_PM = 0x80;
/** An alarm byte with both upper bits set matches anything. */
const ANY = 0xc0;

/** UIP is up for this long before each update. */
const UPDATE_WARNING_NS = 244_000;
const CRYSTAL_HZ = 32_768;
const DAY_SECONDS = 86_400;
const NEVER = Number.POSITIVE_INFINITY;

export interface RtcState {
  index: number;
  nmiMasked: boolean;
  /** 128 bytes: registers A and B, alarm, memory; the time registers count while the clock stands still. */
  cmos: Uint8Array;
  /** Register C as far as it has been worked out, and up to which guest time. */
  flags: number;
  syncedAt: number;
  /** The date was `baseSeconds` since 1970 at guest time `baseNs`. */
  baseSeconds: number;
  baseNs: number;
}

export interface RtcOptions {
  readonly clock: Clock;
  /** Interrupt line 8. */
  readonly irq: IrqLine;
  /** Bytes of RAM below and above 4 GiB, for the CMOS memory-size bytes. */
  readonly lowMemory: number;
  readonly highMemory?: number;
}

export class Rtc implements ByteWideDevice, Saveable<RtcState> {
  readonly name = 'rtc';
  readonly byteWide = true;
  readonly #clock: Clock;
  readonly #irq: IrqLine;
  readonly #alarm: Alarm;
  #state: RtcState;
  /** The second and format the time registers were last written out for. */
  #shownSecond = -1;
  #shownFormat = -1;

  constructor(options: RtcOptions) {
    this.#clock = options.clock;
    this.#irq = options.irq;
    this.#alarm = options.clock.alarm('rtc', () => this.#update());
    const { startOfDay } = options.clock;
    this.#state = {
      index: 0,
      nmiMasked: false,
      cmos: initialCmos(options.lowMemory, options.highMemory ?? 0),
      flags: 0,
      syncedAt: this.#clock.now(),
      baseSeconds: Math.floor(startOfDay / 1000),
      baseNs: 0 - Math.round((startOfDay - Math.floor(startOfDay / 1000) * 1000) * 1e6),
    };
  }

  /** Bit 7 of port 0x70: the guest keeps NMIs out. */
  get nmiMasked(): boolean {
    return this.#state.nmiMasked;
  }

  /** Sets a byte of CMOS memory (0x0E..0x7F), as firmware would; for boot code. */
  setCmos(index: number, value: number): void {
    if (index > REGISTER_D && index < 0x80) this.#state.cmos[index] = value;
  }

  read(offset: number, _width: 1 | 2 | 4): number {
    // The index port is write-only.
    if (offset !== DATA_OFFSET) return 0xff;
    const s = this.#state;
    switch (s.index) {
      case REGISTER_A:
        return s.cmos[REGISTER_A]! | (this.#updateInProgress() ? A_UPDATE_IN_PROGRESS : 0);
      case REGISTER_C: {
        this.#sync();
        const value = s.flags;
        s.flags = 0;
        this.#update();
        return value;
      }
      case REGISTER_D:
        return D_VALID;
      default:
        if (isTime(s.index)) this.#showTime();
        return s.cmos[s.index]!;
    }
  }

  write(offset: number, _width: 1 | 2 | 4, value: number): void {
    const s = this.#state;
    const byte = value & 0xff;
    if (offset !== DATA_OFFSET) {
      s.index = byte & 0x7f;
      s.nmiMasked = (byte & 0x80) !== 0;
      return;
    }
    if (s.index === REGISTER_C || s.index === REGISTER_D) return;
    if (s.index > REGISTER_D && s.index !== CMOS_CENTURY) {
      s.cmos[s.index] = byte;
      return;
    }
    this.#sync();
    if (s.index === REGISTER_A) this.#writeA(byte & 0x7f);
    else if (s.index === REGISTER_B) this.#writeB(byte);
    else if (isTime(s.index)) this.#writeTime(s.index, byte);
    else s.cmos[s.index] = byte;
    this.#update();
  }

  /** RESET clears the enables and flags; time and memory live on the battery. */
  reset(): void {
    const s = this.#state;
    this.#sync();
    s.cmos[REGISTER_B]! &= ~B_ENABLES;
    s.flags = 0;
    s.index = 0;
    s.nmiMasked = false;
    this.#update();
  }

  save(): RtcState {
    this.#sync();
    return structuredClone(this.#state);
  }

  load(state: RtcState): void {
    this.#state = structuredClone(state);
    this.#shownSecond = -1;
    this.#update();
  }

  /** The date stands still: the guest is setting it, or the divider is held in reset. */
  #frozen(): boolean {
    return (this.#state.cmos[REGISTER_B]! & B_SET) !== 0 || this.#dividerReset();
  }

  #dividerReset(): boolean {
    return (this.#state.cmos[REGISTER_A]! & A_DIVIDER_RESET) === A_DIVIDER_RESET;
  }

  /** Seconds since 1970 at guest time `ns`, as the clock shows them. */
  #secondsAt(ns: number): number {
    return this.#state.baseSeconds + Math.floor((ns - this.#state.baseNs) / NS_PER_SECOND);
  }

  #updateInProgress(): boolean {
    if (this.#frozen()) return false;
    return (this.#clock.now() - this.#state.baseNs) % NS_PER_SECOND >= NS_PER_SECOND - UPDATE_WARNING_NS;
  }

  #writeA(byte: number): void {
    const s = this.#state;
    const wasFrozen = this.#frozen();
    const wasReset = this.#dividerReset();
    if (!wasFrozen) this.#showTime();
    s.cmos[REGISTER_A] = byte;
    // The first update comes half a second after the divider leaves reset (datasheet, "Divider Control").
    if (wasReset && !this.#dividerReset()) s.baseNs = this.#clock.now() - NS_PER_SECOND / 2;
    if (wasFrozen && !this.#frozen()) this.#takeTime();
  }

  #writeB(byte: number): void {
    const s = this.#state;
    const wasFrozen = this.#frozen();
    if (!wasFrozen) this.#showTime();
    s.cmos[REGISTER_B] = (byte & B_SET) !== 0 ? byte & ~B_UPDATE_ENABLE : byte;
    if (wasFrozen && !this.#frozen()) this.#takeTime();
  }

  #writeTime(index: number, byte: number): void {
    const frozen = this.#frozen();
    if (!frozen) this.#showTime();
    this.#state.cmos[index] = byte;
    if (!frozen) this.#takeTime();
  }

  /** Writes the running date out to the time registers. */
  #showTime(): void {
    const s = this.#state;
    if (this.#frozen()) return;
    const seconds = this.#secondsAt(this.#clock.now());
    const format = s.cmos[REGISTER_B]! & (B_BINARY | B_24_HOURS);
    if (seconds === this.#shownSecond && format === this.#shownFormat) return;
    this.#shownSecond = seconds;
    this.#shownFormat = format;
    const date = new Date(seconds * 1000);
    const hours = date.getUTCHours();
    const year = date.getUTCFullYear();
    s.cmos[SECONDS] = this.#encode(date.getUTCSeconds());
    s.cmos[MINUTES] = this.#encode(date.getUTCMinutes());
    s.cmos[HOURS] =
      (format & B_24_HOURS) !== 0
        ? this.#encode(hours)
        : this.#encode(((hours + 11) % 12) + 1) | (hours >= 12 ? HOURS_PM : 0);
    s.cmos[WEEKDAY] = this.#encode(date.getUTCDay() + 1);
    s.cmos[DAY] = this.#encode(date.getUTCDate());
    s.cmos[MONTH] = this.#encode(date.getUTCMonth() + 1);
    s.cmos[YEAR] = this.#encode(year % 100);
    s.cmos[CMOS_CENTURY] = this.#encode(Math.floor(year / 100) % 100);
  }

  /** Goes on from the date in the time registers, keeping the phase of the second. */
  #takeTime(): void {
    const s = this.#state;
    const now = this.#clock.now();
    const year = this.#decode(s.cmos[CMOS_CENTURY]!) * 100 + this.#decode(s.cmos[YEAR]!);
    const date = new Date(0);
    date.setUTCFullYear(year, this.#decode(s.cmos[MONTH]!) - 1, this.#decode(s.cmos[DAY]!));
    date.setUTCHours(this.#decodeHours(s.cmos[HOURS]!), this.#decode(s.cmos[MINUTES]!), this.#decode(s.cmos[SECONDS]!));
    s.baseSeconds = Math.floor(date.getTime() / 1000);
    s.baseNs = now - ((now - s.baseNs) % NS_PER_SECOND);
    this.#shownSecond = -1;
  }

  #encode(value: number): number {
    if ((this.#state.cmos[REGISTER_B]! & B_BINARY) !== 0) return value;
    return (Math.floor(value / 10) << 4) | (value % 10);
  }

  #decode(byte: number): number {
    if ((this.#state.cmos[REGISTER_B]! & B_BINARY) !== 0) return byte;
    return (byte >> 4) * 10 + (byte & 0x0f);
  }

  #decodeHours(byte: number): number {
    if ((this.#state.cmos[REGISTER_B]! & B_24_HOURS) !== 0) return this.#decode(byte);
    return (this.#decode(byte & ~HOURS_PM) % 12) + ((byte & HOURS_PM) !== 0 ? 12 : 0);
  }

  /** The periodic rate as ticks of the crystal, or 0 for none (datasheet, table 5). */
  #periodTicks(): number {
    const rate = this.#state.cmos[REGISTER_A]! & 0x0f;
    if (rate === 0 || this.#dividerReset()) return 0;
    return 1 << (rate < 3 ? rate + 6 : rate - 1);
  }

  /** Works out the flags that have come up since the last time. */
  #sync(): void {
    const s = this.#state;
    const now = this.#clock.now();
    const before = s.syncedAt;
    s.syncedAt = now;
    const period = this.#periodTicks();
    if (period !== 0) {
      const ticks = (ns: number) => Math.floor(ticksAt(Math.max(0, ns - s.baseNs), CRYSTAL_HZ) / period);
      if (ticks(now) > ticks(before)) s.flags |= FLAG_PERIODIC;
    }
    if (!this.#frozen() && this.#secondsAt(now) > this.#secondsAt(before)) {
      s.flags |= FLAG_UPDATE;
      if (this.#nextMatch(this.#secondsAt(before)) <= this.#secondsAt(now)) s.flags |= FLAG_ALARM;
    }
    if ((s.flags & s.cmos[REGISTER_B]! & B_ENABLES) !== 0) s.flags |= C_INTERRUPT;
  }

  /** Drives the interrupt line, and while it is low sets the alarm for the next event that will raise it. */
  #update(): void {
    this.#sync();
    const s = this.#state;
    const enables = s.cmos[REGISTER_B]! & B_ENABLES;
    if ((s.flags & enables) === 0) s.flags &= ~C_INTERRUPT;
    this.#irq.set((s.flags & C_INTERRUPT) !== 0);
    const next = enables === 0 || (s.flags & C_INTERRUPT) !== 0 ? NEVER : this.#nextEvent(enables);
    if (next === NEVER) this.#alarm.cancel();
    else this.#alarm.set(next);
  }

  #nextEvent(enables: number): number {
    const s = this.#state;
    const since = this.#clock.now() - s.baseNs;
    let next = NEVER;
    const period = this.#periodTicks();
    if ((enables & FLAG_PERIODIC) !== 0 && period !== 0) {
      const tick = (Math.floor(ticksAt(since, CRYSTAL_HZ) / period) + 1) * period;
      next = s.baseNs + timeOfTick(tick, CRYSTAL_HZ);
    }
    if (this.#frozen()) return next;
    const second = Math.floor(since / NS_PER_SECOND);
    if ((enables & FLAG_UPDATE) !== 0) next = Math.min(next, s.baseNs + (second + 1) * NS_PER_SECOND);
    if ((enables & FLAG_ALARM) !== 0) {
      const match = this.#nextMatch(s.baseSeconds + second);
      next = Math.min(next, s.baseNs + (match - s.baseSeconds) * NS_PER_SECOND);
    }
    return next;
  }

  /** The first second after `seconds` that the alarm registers match, or Infinity. */
  #nextMatch(seconds: number): number {
    const { cmos } = this.#state;
    const wanted = (byte: number, value: number, limit: number) => (byte >= ANY ? -1 : Math.min(value, limit));
    const hour = wanted(cmos[HOURS_ALARM]!, this.#decodeHours(cmos[HOURS_ALARM]!), 24);
    const minute = wanted(cmos[MINUTES_ALARM]!, this.#decode(cmos[MINUTES_ALARM]!), 60);
    const second = wanted(cmos[SECONDS_ALARM]!, this.#decode(cmos[SECONDS_ALARM]!), 60);
    if (hour === 24 || minute === 60 || second === 60) return NEVER;
    let t = seconds + 1;
    // Each step goes to the next second that satisfies one more field, or past a unit in which none is left.
    for (;;) {
      const ofDay = ((t % DAY_SECONDS) + DAY_SECONDS) % DAY_SECONDS;
      const h = Math.floor(ofDay / 3600);
      const m = Math.floor(ofDay / 60) % 60;
      const s = ofDay % 60;
      if (hour >= 0 && h !== hour) t += (h < hour ? hour * 3600 : DAY_SECONDS) - ofDay;
      else if (minute >= 0 && m !== minute) t += (m < minute ? minute * 60 : 3600) - (ofDay % 3600);
      else if (second >= 0 && s !== second) t += (s < second ? second : 60) - s;
      else return t;
    }
  }
}

function isTime(index: number): boolean {
  return (
    index === SECONDS ||
    index === MINUTES ||
    index === HOURS ||
    (index >= WEEKDAY && index <= YEAR) ||
    index === CMOS_CENTURY
  );
}

/** What firmware leaves: BCD, 24 hours, 1024 Hz rate, memory sizes (RBIL CMOS.LST: 15h-18h, 30h-31h, 34h-35h, 5Bh-5Dh). */
function initialCmos(lowMemory: number, highMemory: number): Uint8Array {
  const cmos = new Uint8Array(128);
  cmos[REGISTER_A] = 0x26;
  cmos[REGISTER_B] = B_24_HOURS;
  cmos[DAY] = 1;
  cmos[MONTH] = 1;
  // Equipment: an FPU, no display, no floppy.
  cmos[0x14] = 0x02;
  const word = (index: number, value: number) => {
    cmos[index] = value & 0xff;
    cmos[index + 1] = (value >> 8) & 0xff;
  };
  const extendedKib = Math.min(0xffff, Math.max(0, Math.floor((lowMemory - 0x10_0000) / 1024)));
  word(0x15, 640);
  word(0x17, extendedKib);
  word(0x30, extendedKib);
  word(0x34, Math.min(0xffff, Math.max(0, Math.floor((lowMemory - 0x100_0000) / 0x1_0000))));
  const high = Math.floor(highMemory / 0x1_0000);
  word(0x5b, high & 0xffff);
  cmos[0x5d] = (high >> 16) & 0xff;
  return cmos;
}
