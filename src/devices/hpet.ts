import { toWidth } from './bus.ts';
import type { Alarm, Clock } from './clock.ts';
import type { Device, IrqLine } from './device.ts';
import type { Saveable } from './saveable.ts';

/**
 * High precision event timers (IA-PC HPET specification 1.0a): a 64-bit main counter of 100 MHz and three comparators, each
 * one-shot or periodic, 32 or 64 bits wide, with legacy replacement routing and without FSB delivery.
 */
export const HPET_LENGTH = 0x400;
/** Nanoseconds per tick of the main counter. */
export const HPET_PERIOD_NS = 10;

const CAPABILITIES = 0x000;
const CAPABILITIES_HIGH = 0x004;
const CONFIGURATION = 0x010;
const INTERRUPT_STATUS = 0x020;
const COUNTER = 0x0f0;
const COUNTER_HIGH = 0x0f4;
const TIMERS = 0x100;
const TIMER_STRIDE = 0x20;
const TIMER_COUNT = 3;

/** Vendor 8086, legacy routing, 64 bits, three timers, revision 1. */
const CAPABILITIES_VALUE = 0x8086_a201;
const PERIOD_FEMTOSECONDS = HPET_PERIOD_NS * 1_000_000;

const ENABLE = 0x1;
const LEGACY = 0x2;

const TIMER_LEVEL = 0x0002;
const TIMER_INTERRUPT = 0x0004;
const TIMER_PERIODIC = 0x0008;
const TIMER_CAPABILITIES = 0x0030;
const TIMER_SET_VALUE = 0x0040;
const TIMER_32_BITS = 0x0100;
const TIMER_ROUTE_SHIFT = 9;
const TIMER_WRITABLE = 0x3f4e;
const TIMER_ROUTE = 0x3e00;

/** IOAPIC pins a timer may choose: 2, 8 and 16 to 23. */
export const HPET_ROUTES = 0x00ff_0104;

const TWO_32 = 2 ** 32;
const NEVER = Number.POSITIVE_INFINITY;
/** Periods shorter than this many ticks interrupt only at every so many-th match. */
const MIN_INTERVAL_TICKS = 100;

export interface HpetTimerState {
  config: number;
  comparatorLow: number;
  comparatorHigh: number;
  periodLow: number;
  periodHigh: number;
  /** Ticks since `startedAt` at which the comparator matches next, or Infinity. */
  dueTick: number;
  /** The low half written last set the accumulator, so the high half does too. */
  settingHigh: boolean;
}

export interface HpetState {
  config: number;
  status: number;
  /** The main counter at guest time `startedAt`; it stands still while disabled. */
  counterLow: number;
  counterHigh: number;
  startedAt: number;
  timers: HpetTimerState[];
}

export interface HpetOptions {
  readonly clock: Clock;
  /** Interrupt lines 0 and 8, for legacy replacement. */
  readonly legacyIrqs: readonly [IrqLine, IrqLine];
  /** Gives a source on an IOAPIC pin; called while building, for every pin of HPET_ROUTES and every timer. */
  readonly pin: (pin: number) => IrqLine;
  /** Legacy replacement was switched: while on, PIT and RTC must not drive lines 0 and 8. */
  readonly onLegacyReplacement?: (on: boolean) => void;
}

/** An interrupt line that can be cut, as legacy replacement cuts those of PIT and RTC. */
export class GatedLine implements IrqLine {
  readonly #line: IrqLine;
  #level = false;
  #open = true;

  constructor(line: IrqLine) {
    this.#line = line;
  }

  set(level: boolean): void {
    this.#level = level;
    if (this.#open) this.#line.set(level);
  }

  setOpen(open: boolean): void {
    this.#open = open;
    this.#line.set(open && this.#level);
  }
}

export class Hpet implements Device, Saveable<HpetState> {
  readonly name = 'hpet';
  readonly #clock: Clock;
  readonly #options: HpetOptions;
  readonly #alarms: readonly Alarm[];
  /** By timer, then by pin. */
  readonly #pins: readonly ReadonlyMap<number, IrqLine>[];
  /** The line each timer holds high (level-triggered), if any. */
  readonly #held: (IrqLine | undefined)[] = [];
  #state: HpetState;
  #counterHighNow = 0;

  constructor(options: HpetOptions) {
    this.#clock = options.clock;
    this.#options = options;
    this.#alarms = Array.from({ length: TIMER_COUNT }, (_, i) =>
      options.clock.alarm(`hpet ${i}`, () => {
        this.#sync();
        this.#arm();
      }),
    );
    const routes = Array.from({ length: 32 }, (_, pin) => pin).filter((pin) => ((HPET_ROUTES >>> pin) & 1) !== 0);
    this.#pins = this.#alarms.map(() => new Map(routes.map((pin) => [pin, options.pin(pin)])));
    this.#state = initialState();
  }

  read(offset: number, width: 1 | 2 | 4): number {
    const byte = offset & 3;
    if (byte + width > 4) return 0;
    return toWidth(this.#readRegister(offset - byte) >>> (8 * byte), width);
  }

  /** Registers take aligned 4-byte writes; narrower ones do nothing. */
  write(offset: number, width: 1 | 2 | 4, value: number): void {
    if (width !== 4 || (offset & 3) !== 0) return;
    this.#sync();
    this.#writeRegister(offset, value >>> 0);
    this.#arm();
  }

  reset(): void {
    const wasLegacy = (this.#state.config & LEGACY) !== 0;
    this.#state = initialState();
    this.#driveLevels();
    this.#arm();
    if (wasLegacy) this.#options.onLegacyReplacement?.(false);
  }

  save(): HpetState {
    this.#sync();
    return structuredClone(this.#state);
  }

  load(state: HpetState): void {
    this.#state = structuredClone(state);
    this.#options.onLegacyReplacement?.((this.#state.config & LEGACY) !== 0);
    this.#driveLevels();
    this.#arm();
  }

  #readRegister(offset: number): number {
    const s = this.#state;
    switch (offset) {
      case CAPABILITIES:
        return CAPABILITIES_VALUE;
      case CAPABILITIES_HIGH:
        return PERIOD_FEMTOSECONDS;
      case CONFIGURATION:
        return s.config;
      case INTERRUPT_STATUS:
        this.#sync();
        return s.status;
      case COUNTER:
        return this.#counterLow();
      case COUNTER_HIGH:
        this.#counterLow();
        return this.#counterHighNow;
      default:
        return this.#readTimer(offset);
    }
  }

  #readTimer(offset: number): number {
    const timer = offset < TIMERS ? undefined : this.#state.timers[Math.floor((offset - TIMERS) / TIMER_STRIDE)];
    if (timer === undefined) return 0;
    switch (offset & (TIMER_STRIDE - 1)) {
      case 0x00:
        return timer.config | TIMER_CAPABILITIES;
      case 0x04:
        return HPET_ROUTES;
      case 0x08:
        this.#sync();
        return timer.comparatorLow;
      case 0x0c:
        this.#sync();
        return timer.comparatorHigh;
      default:
        return 0;
    }
  }

  #writeRegister(offset: number, value: number): void {
    const s = this.#state;
    switch (offset) {
      case CONFIGURATION:
        this.#writeConfiguration(value & (ENABLE | LEGACY));
        break;
      case INTERRUPT_STATUS:
        s.status &= ~value;
        this.#driveLevels();
        break;
      case COUNTER:
      case COUNTER_HIGH: {
        const low = this.#counterLow();
        s.counterLow = offset === COUNTER ? value : low;
        s.counterHigh = offset === COUNTER_HIGH ? value : this.#counterHighNow;
        s.startedAt = this.#clock.now();
        for (const timer of s.timers) this.#schedule(timer);
        break;
      }
      default:
        if (offset >= TIMERS) this.#writeTimer(Math.floor((offset - TIMERS) / TIMER_STRIDE), offset, value);
        break;
    }
  }

  #writeConfiguration(value: number): void {
    const s = this.#state;
    const changed = s.config ^ value;
    if ((changed & ENABLE) !== 0) {
      const low = this.#counterLow();
      s.counterHigh = this.#counterHighNow;
      s.counterLow = low;
      s.startedAt = this.#clock.now();
    }
    s.config = value;
    if ((changed & ENABLE) !== 0) for (const timer of s.timers) this.#schedule(timer);
    if ((changed & LEGACY) !== 0) this.#options.onLegacyReplacement?.((value & LEGACY) !== 0);
    this.#driveLevels();
  }

  #writeTimer(index: number, offset: number, value: number): void {
    const timer = this.#state.timers[index];
    if (timer === undefined) return;
    const settingHigh = timer.settingHigh;
    timer.settingHigh = false;
    const register = offset & (TIMER_STRIDE - 1);
    if (register === 0x00) {
      let config = value & TIMER_WRITABLE;
      // A pin that is not offered does not stick, by which software finds out.
      if (((HPET_ROUTES >>> (config >> TIMER_ROUTE_SHIFT)) & 1) === 0) {
        config = (config & ~TIMER_ROUTE) | (timer.config & TIMER_ROUTE);
      }
      timer.config = config;
      if ((config & TIMER_LEVEL) === 0) this.#state.status &= ~(1 << index);
      this.#driveLevels();
    } else if (register === 0x08 || register === 0x0c) {
      const high = register === 0x0c;
      const periodic = (timer.config & TIMER_PERIODIC) !== 0;
      const set = !periodic || (timer.config & TIMER_SET_VALUE) !== 0 || (high && settingHigh);
      if (set && high) timer.comparatorHigh = value;
      else if (set) timer.comparatorLow = value;
      if (periodic && high) timer.periodHigh = value;
      else if (periodic) timer.periodLow = value;
      timer.settingHigh = !high && set;
      timer.config &= ~TIMER_SET_VALUE;
    } else {
      return;
    }
    this.#schedule(timer);
  }

  /** Ticks counted since `startedAt`. */
  #elapsed(): number {
    const s = this.#state;
    return (s.config & ENABLE) === 0 ? 0 : Math.floor((this.#clock.now() - s.startedAt) / HPET_PERIOD_NS);
  }

  /** The low half of the main counter; leaves the high half in `#counterHighNow`. */
  #counterLow(): number {
    const s = this.#state;
    const elapsed = this.#elapsed();
    const sum = s.counterLow + (elapsed % TWO_32);
    this.#counterHighNow = (s.counterHigh + Math.floor(elapsed / TWO_32) + (sum >= TWO_32 ? 1 : 0)) % TWO_32;
    return sum % TWO_32;
  }

  /** Works out when the comparator matches: the distance from the counter, modulo the width of the timer. */
  #schedule(timer: HpetTimerState): void {
    if ((this.#state.config & ENABLE) === 0) {
      timer.dueTick = NEVER;
      return;
    }
    const low = timer.comparatorLow - this.#counterLow();
    let distance = low < 0 ? low + TWO_32 : low;
    if ((timer.config & TIMER_32_BITS) === 0) {
      const high = timer.comparatorHigh - this.#counterHighNow - (low < 0 ? 1 : 0);
      distance += (high < 0 ? high + TWO_32 : high) * TWO_32;
    }
    timer.dueTick = distance > Number.MAX_SAFE_INTEGER / 1000 ? NEVER : this.#elapsed() + distance;
  }

  /** Serves the matches whose time has come. */
  #sync(): void {
    const { timers } = this.#state;
    const elapsed = this.#elapsed();
    for (let i = 0; i < TIMER_COUNT; i++) {
      const timer = timers[i]!;
      if (timer.dueTick > elapsed) continue;
      this.#advance(timer, elapsed);
      this.#match(i, timer);
    }
  }

  /** To the match after `elapsed`; a periodic comparator moves by whole periods, a one-shot one comes round again. */
  #advance(timer: HpetTimerState, elapsed: number): void {
    const narrow = (timer.config & TIMER_32_BITS) !== 0;
    const period = timer.periodLow + (narrow ? 0 : timer.periodHigh * TWO_32);
    if ((timer.config & TIMER_PERIODIC) === 0 || period === 0) {
      timer.dueTick = narrow ? timer.dueTick + (Math.floor((elapsed - timer.dueTick) / TWO_32) + 1) * TWO_32 : NEVER;
      return;
    }
    const late = elapsed - timer.dueTick;
    const periods =
      period >= MIN_INTERVAL_TICKS ? Math.floor(late / period) + 1 : Math.ceil((late + MIN_INTERVAL_TICKS) / period);
    const step = periods * period;
    if (step > Number.MAX_SAFE_INTEGER / 1000) {
      timer.dueTick = NEVER;
      return;
    }
    timer.dueTick += step;
    const sum = timer.comparatorLow + (step % TWO_32);
    timer.comparatorLow = sum % TWO_32;
    timer.comparatorHigh = (timer.comparatorHigh + Math.floor(step / TWO_32) + (sum >= TWO_32 ? 1 : 0)) % TWO_32;
  }

  #match(index: number, timer: HpetTimerState): void {
    if ((timer.config & TIMER_LEVEL) !== 0) {
      this.#state.status |= 1 << index;
      this.#driveLevels();
    } else if ((timer.config & TIMER_INTERRUPT) !== 0) {
      const line = this.#lineOf(index, timer);
      line?.set(true);
      line?.set(false);
    }
  }

  #lineOf(index: number, timer: HpetTimerState): IrqLine | undefined {
    if ((this.#state.config & LEGACY) !== 0 && index < 2) return this.#options.legacyIrqs[index as 0 | 1];
    return this.#pins[index]!.get(timer.config >> TIMER_ROUTE_SHIFT);
  }

  /** Level-triggered timers hold their line while their status bit is set. */
  #driveLevels(): void {
    const { timers, status } = this.#state;
    for (let i = 0; i < TIMER_COUNT; i++) {
      const timer = timers[i]!;
      const wants = (status & (1 << i)) !== 0 && (timer.config & TIMER_INTERRUPT) !== 0;
      const line = wants ? this.#lineOf(i, timer) : undefined;
      if (line === this.#held[i]) continue;
      this.#held[i]?.set(false);
      line?.set(true);
      this.#held[i] = line;
    }
  }

  /** Sets an alarm for each match that would change something the guest is told of. */
  #arm(): void {
    const { timers, startedAt } = this.#state;
    for (let i = 0; i < TIMER_COUNT; i++) {
      const timer = timers[i]!;
      if (timer.dueTick === NEVER || (timer.config & TIMER_INTERRUPT) === 0) this.#alarms[i]!.cancel();
      else this.#alarms[i]!.set(startedAt + timer.dueTick * HPET_PERIOD_NS);
    }
  }
}

function initialState(): HpetState {
  return {
    config: 0,
    status: 0,
    counterLow: 0,
    counterHigh: 0,
    startedAt: 0,
    timers: Array.from({ length: TIMER_COUNT }, () => ({
      config: 0,
      comparatorLow: 0xffffffff,
      comparatorHigh: 0xffffffff,
      periodLow: 0,
      periodHigh: 0,
      dueTick: NEVER,
      settingHigh: false,
    })),
  };
}
