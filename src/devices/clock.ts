/** Cancels or moves one scheduled callback. */
export interface Alarm {
  /** Schedules the callback for guest time `atNs` (replacing an earlier setting); a past time fires at the next check. */
  set(atNs: number): void;
  cancel(): void;
  /** Guest time it is set for, or undefined. */
  readonly at: number | undefined;
}

/**
 * The one source of time of a machine (guest nanoseconds since power-on, a float64 exact to 2^53 ns = 104 days).
 * TSC, PIT, LAPIC timer, PM timer, HPET and RTC all derive from it, so calibration always agrees.
 */
export interface Clock {
  /** Guest nanoseconds since power-on. */
  now(): number;
  /** Wall-clock time at power-on, milliseconds since 1970 (instruction clock: 2000-01-01T00:00:00Z). */
  readonly startOfDay: number;
  alarm(name: string, callback: (nowNs: number) => void): Alarm;
}

interface AlarmEntry {
  at: number | undefined;
  /** The `fire` during which it was set, so that a past time set by a callback waits for the next check. */
  setDuring: number;
  readonly callback: (nowNs: number) => void;
}

/** Alarms fired in order of time, then of creation; shared by every Clock implementation. */
export abstract class AlarmClock implements Clock {
  abstract now(): number;
  abstract readonly startOfDay: number;
  readonly #alarms: AlarmEntry[] = [];
  #next = Number.POSITIVE_INFINITY;
  #fires = 0;
  #firing = false;
  /** Called when the earliest deadline moves, so that a running slice can be cut short. */
  onNextChanged: (() => void) | undefined;

  /** Guest time of the earliest alarm, or Infinity. */
  get next(): number {
    return this.#next;
  }

  alarm(_name: string, callback: (nowNs: number) => void): Alarm {
    const entry: AlarmEntry = { at: undefined, setDuring: 0, callback };
    this.#alarms.push(entry);
    return {
      set: (atNs) => {
        entry.at = atNs;
        entry.setDuring = this.#firing ? this.#fires : 0;
        this.#recompute();
      },
      cancel: () => {
        entry.at = undefined;
        this.#recompute();
      },
      get at() {
        return entry.at;
      },
    };
  }

  /**
   * Fires every alarm due now, in order of time, then of creation. Time is read once and what a callback sets for a past
   * time waits for the next call, so that no alarm can keep this from returning.
   */
  fire(): void {
    if (this.#firing) return;
    const now = this.now();
    if (now < this.#next) return;
    this.#firing = true;
    this.#fires++;
    for (;;) {
      let due: AlarmEntry | undefined;
      for (const a of this.#alarms) {
        if (a.at === undefined || a.at > now || a.setDuring === this.#fires) continue;
        if (due === undefined || a.at < due.at!) due = a;
      }
      if (due === undefined) break;
      due.at = undefined;
      due.callback(now);
    }
    this.#firing = false;
    this.#recompute();
  }

  #recompute(): void {
    if (this.#firing) return;
    let next = Number.POSITIVE_INFINITY;
    for (const a of this.#alarms) if (a.at !== undefined && a.at < next) next = a.at;
    if (next !== this.#next) {
      this.#next = next;
      this.onNextChanged?.();
    }
  }
}

/**
 * Guest time that follows a host's monotonic clock, and stands still while paused. It starts paused at 0, so that loading a
 * kernel costs the guest no time; `resume` starts it.
 */
export class HostClock extends AlarmClock {
  readonly startOfDay: number;
  readonly #monotonicNs: () => number;
  /** Guest time at the latest pause or resume. */
  #base = 0;
  /** Host time of the latest resume, or undefined while paused. */
  #resumedAt: number | undefined;
  #latest = 0;

  /**
   * @param monotonicNs host nanoseconds from any origin, never going back (`performance.now() * 1e6` will do)
   * @param startOfDay wall-clock time at power-on, milliseconds since 1970
   */
  constructor(monotonicNs: () => number, startOfDay: number) {
    super();
    this.#monotonicNs = monotonicNs;
    this.startOfDay = startOfDay;
  }

  /** Guest nanoseconds, whole and never going back. */
  now(): number {
    if (this.#resumedAt === undefined) return this.#base;
    const now = this.#base + Math.floor(this.#monotonicNs() - this.#resumedAt);
    if (now > this.#latest) this.#latest = now;
    return this.#latest;
  }

  get paused(): boolean {
    return this.#resumedAt === undefined;
  }

  pause(): void {
    this.#base = this.now();
    this.#resumedAt = undefined;
  }

  resume(): void {
    if (this.#resumedAt === undefined) this.#resumedAt = this.#monotonicNs();
  }

  /** Sets guest time (a restored snapshot); paused or running stays as it was. */
  setNow(ns: number): void {
    this.#base = ns;
    this.#latest = ns;
    if (this.#resumedAt !== undefined) this.#resumedAt = this.#monotonicNs();
  }
}

/** The day every deterministic run begins on. */
export const INSTRUCTION_CLOCK_START = Date.UTC(2000, 0, 1);

/**
 * Deterministic guest time: one retired instruction (one REP iteration) is one nanosecond, and idle time is skipped.
 * The same inputs at the same instruction counts give the same run.
 */
export class InstructionClock extends AlarmClock {
  readonly startOfDay = INSTRUCTION_CLOCK_START;
  readonly #instructions: () => number;
  #skipped = 0;

  /** @param instructions instructions retired since power-on, exact at every device access */
  constructor(instructions: () => number) {
    super();
    this.#instructions = instructions;
  }

  now(): number {
    return this.#instructions() + this.#skipped;
  }

  /** Nanoseconds skipped while the CPU was halted. */
  get skipped(): number {
    return this.#skipped;
  }

  /** Jumps to guest time `ns` (the next alarm, while the CPU is halted); never goes back. */
  skipTo(ns: number): void {
    const ahead = ns - this.now();
    if (ahead > 0 && ahead < Number.POSITIVE_INFINITY) this.#skipped += ahead;
  }

  /** Sets the skipped time (a restored snapshot, whose instruction count is restored by the CPU). */
  setSkipped(ns: number): void {
    this.#skipped = ns;
  }
}
