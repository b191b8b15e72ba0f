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

/** Alarms kept sorted by time, then by creation; shared by every Clock implementation. */
export abstract class AlarmClock implements Clock {
  abstract now(): number;
  abstract readonly startOfDay: number;
  #alarms: { at: number | undefined; order: number; callback: (nowNs: number) => void }[] = [];
  #next = Number.POSITIVE_INFINITY;
  /** Called when the earliest deadline moves, so that a running slice can be cut short. */
  onNextChanged: (() => void) | undefined;

  /** Guest time of the earliest alarm, or Infinity. */
  get next(): number {
    return this.#next;
  }

  alarm(_name: string, callback: (nowNs: number) => void): Alarm {
    const entry: { at: number | undefined; order: number; callback: (nowNs: number) => void } = {
      at: undefined,
      order: this.#alarms.length,
      callback,
    };
    this.#alarms.push(entry);
    return {
      set: (atNs) => {
        entry.at = atNs;
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

  /** Fires every alarm due at or before now, in order of time then creation. */
  fire(): void {
    for (;;) {
      const now = this.now();
      let due: (typeof this.#alarms)[number] | undefined;
      for (const a of this.#alarms) {
        if (a.at !== undefined && a.at <= now && (due === undefined || a.at < due.at!)) due = a;
      }
      if (due === undefined) return;
      due.at = undefined;
      this.#recompute();
      due.callback(now);
    }
  }

  #recompute(): void {
    let next = Number.POSITIVE_INFINITY;
    for (const a of this.#alarms) if (a.at !== undefined && a.at < next) next = a.at;
    if (next !== this.#next) {
      this.#next = next;
      this.onNextChanged?.();
    }
  }
}
