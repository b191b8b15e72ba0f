import type { Alarm, Clock } from './clock.ts';

/**
 * The timer of a local APIC (SDM volume 3, 11.5.4): one-shot, periodic, TSC deadline. It is clocked at 1 GHz, the core
 * crystal frequency that CPUID leaf 0x15 tells, so one tick at divide-by-1 is one nanosecond of guest time, as is one TSC
 * tick. Deadlines are computed from the time of the start, never from the time an alarm happened to be served.
 */
export const LAPIC_TIMER_HZ = 1_000_000_000;

/** Timer mode, bits 18:17 of its LVT entry. */
export const TIMER_ONE_SHOT = 0;
export const TIMER_PERIODIC = 1;
export const TIMER_TSC_DEADLINE = 2;

/** Periods shorter than this many ns interrupt only at every so many-th expiry, since the requests would merge anyway. */
const MIN_INTERVAL = 1000;
const NEVER = Number.POSITIVE_INFINITY;
const TWO_32 = 2 ** 32;

export interface LapicTimerState {
  mode: number;
  masked: boolean;
  initialCount: number;
  /** Divide configuration register: bits 3, 1 and 0. */
  divide: number;
  /** Guest time at which the count was `initialCount`. */
  startedAt: number;
  /** Guest time of the next expiry, or Infinity. */
  nextExpiry: number;
  /** IA32_TSC_DEADLINE. */
  deadlineLow: number;
  deadlineHigh: number;
  /** Guest TSC minus guest time. */
  tscOffset: number;
}

export class LapicTimer {
  readonly #clock: Clock;
  readonly #alarm: Alarm;
  readonly #onExpire: () => void;
  #state: LapicTimerState = initialState();

  /** @param onExpire called at each expiry that is not masked */
  constructor(name: string, clock: Clock, onExpire: () => void) {
    this.#clock = clock;
    this.#onExpire = onExpire;
    this.#alarm = clock.alarm(`${name} timer`, () => {
      this.sync();
      this.#arm();
    });
  }

  get initialCount(): number {
    return this.#state.initialCount;
  }

  get divide(): number {
    return this.#state.divide;
  }

  get deadlineLow(): number {
    this.sync();
    return this.#state.deadlineLow;
  }

  get deadlineHigh(): number {
    this.sync();
    return this.#state.deadlineHigh;
  }

  get currentCount(): number {
    const s = this.#state;
    if (s.mode === TIMER_TSC_DEADLINE || s.initialCount === 0) return 0;
    const divisor = divisorOf(s.divide);
    const period = s.initialCount * divisor;
    let elapsed = this.#clock.now() - s.startedAt;
    if (s.mode === TIMER_PERIODIC) elapsed %= period;
    return elapsed >= period ? 0 : s.initialCount - Math.floor(elapsed / divisor);
  }

  setInitialCount(count: number): void {
    const s = this.#state;
    this.sync();
    if (s.mode === TIMER_TSC_DEADLINE) return;
    s.initialCount = count >>> 0;
    s.startedAt = this.#clock.now();
    this.#schedule();
    this.#arm();
  }

  setDivide(divide: number): void {
    const s = this.#state;
    this.sync();
    const count = this.currentCount;
    s.divide = divide & 0x0b;
    if (count !== 0) {
      s.startedAt = this.#clock.now() - (s.initialCount - count) * divisorOf(s.divide);
      this.#schedule();
      this.#arm();
    }
  }

  /** Takes mode and mask from the LVT entry. Changing between TSC deadline and the others stops the timer. */
  setMode(mode: number, masked: boolean): void {
    const s = this.#state;
    this.sync();
    const effective = mode === 3 ? TIMER_ONE_SHOT : mode;
    if (effective !== s.mode) {
      const stops = effective === TIMER_TSC_DEADLINE || s.mode === TIMER_TSC_DEADLINE;
      const running = this.currentCount !== 0;
      if (!stops && running && s.mode === TIMER_PERIODIC) this.#startCurrentPeriod();
      s.mode = effective;
      if (stops) {
        s.initialCount = 0;
        s.deadlineLow = 0;
        s.deadlineHigh = 0;
        s.nextExpiry = NEVER;
      } else if (running) {
        this.#schedule();
      }
    }
    s.masked = masked;
    this.#arm();
  }

  /** IA32_TSC_DEADLINE: 0 disarms, a time in the past expires at once; ignored in the other modes. */
  setDeadline(low: number, high: number): void {
    const s = this.#state;
    this.sync();
    if (s.mode !== TIMER_TSC_DEADLINE) return;
    s.deadlineLow = low >>> 0;
    s.deadlineHigh = high >>> 0;
    this.#scheduleDeadline();
    this.sync();
    this.#arm();
  }

  /** The CPU's TSC now differs from guest time by `offset` ns (writes to IA32_TIME_STAMP_COUNTER or IA32_TSC_ADJUST). */
  setTscOffset(offset: number): void {
    const s = this.#state;
    this.sync();
    s.tscOffset = offset;
    if (s.mode === TIMER_TSC_DEADLINE) {
      this.#scheduleDeadline();
      this.sync();
      this.#arm();
    }
  }

  /** Serves an expiry whose time has come; several missed periods count as one. */
  sync(): void {
    const s = this.#state;
    const now = this.#clock.now();
    if (s.nextExpiry > now) return;
    if (s.mode === TIMER_PERIODIC) {
      const period = s.initialCount * divisorOf(s.divide);
      const elapsed = now - s.startedAt;
      const periods =
        period >= MIN_INTERVAL ? Math.floor(elapsed / period) + 1 : Math.ceil((elapsed + MIN_INTERVAL) / period);
      s.nextExpiry = s.startedAt + periods * period;
    } else {
      s.nextExpiry = NEVER;
      s.deadlineLow = 0;
      s.deadlineHigh = 0;
    }
    if (!s.masked) this.#onExpire();
  }

  reset(): void {
    const { tscOffset } = this.#state;
    this.#state = { ...initialState(), tscOffset };
    this.#alarm.cancel();
  }

  save(): LapicTimerState {
    return structuredClone(this.#state);
  }

  load(state: LapicTimerState): void {
    this.#state = structuredClone(state);
    this.#arm();
  }

  /** From periodic to one-shot the running period goes on, and is the last. */
  #startCurrentPeriod(): void {
    const s = this.#state;
    const period = s.initialCount * divisorOf(s.divide);
    s.startedAt += Math.floor((this.#clock.now() - s.startedAt) / period) * period;
  }

  #schedule(): void {
    const s = this.#state;
    s.nextExpiry = s.initialCount === 0 ? NEVER : s.startedAt + s.initialCount * divisorOf(s.divide);
  }

  #scheduleDeadline(): void {
    const s = this.#state;
    const deadline = s.deadlineHigh * TWO_32 + s.deadlineLow;
    s.nextExpiry = deadline === 0 || deadline > Number.MAX_SAFE_INTEGER ? NEVER : deadline - s.tscOffset;
  }

  #arm(): void {
    const s = this.#state;
    if (s.masked || s.nextExpiry === NEVER) this.#alarm.cancel();
    else this.#alarm.set(s.nextExpiry);
  }
}

/** SDM volume 3, figure 11-10. */
function divisorOf(divide: number): number {
  const code = (divide & 3) | ((divide & 8) >> 1);
  return code === 7 ? 1 : 2 << code;
}

function initialState(): LapicTimerState {
  return {
    mode: TIMER_ONE_SHOT,
    masked: true,
    initialCount: 0,
    divide: 0,
    startedAt: 0,
    nextExpiry: NEVER,
    deadlineLow: 0,
    deadlineHigh: 0,
    tscOffset: 0,
  };
}
