/** Time as the network sees it; injected, so that tests turn the clock themselves. */
export interface Timers {
  /** Milliseconds from any origin, fractions allowed, never going back. */
  now(): number;
  /** Calls back after about `ms` milliseconds; the result cancels. */
  delay(ms: number, callback: () => void): () => void;
  /** Calls back when the event loop's present turn is over: the guest has run for a while, or is idle. */
  afterTurn(callback: () => void): void;
  /** Calls back once what the host has ready for its sockets has been delivered. */
  afterPoll(callback: () => void): void;
}

/** One callback that can be armed again and again; arming an armed one changes nothing. */
export class Alarm {
  readonly #timers: Timers;
  readonly #callback: () => void;
  #cancel: (() => void) | undefined;

  constructor(timers: Timers, callback: () => void) {
    this.#timers = timers;
    this.#callback = callback;
  }

  arm(ms: number): void {
    this.#cancel ??= this.#timers.delay(ms, () => {
      this.#cancel = undefined;
      this.#callback();
    });
  }

  cancel(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }
}
