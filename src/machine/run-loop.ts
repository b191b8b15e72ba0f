import type { Board } from '../machine.ts';
import type { MachineExit } from './exit.ts';
import type { Host } from './host.ts';
import type { Observer } from './observer.ts';
import type { Pacing } from './pacing.ts';

/** The event loop gets a turn at least this often while the guest computes (nanoseconds). */
const SLICE_NS = 1_000_000;
/** Longest delay a host's timer takes, in milliseconds. */
const MAX_DELAY_MS = 0x7fff_ffff;
/**
 * A host's timer counts milliseconds. What is shorter is waited for by turning the event loop, but no more than this share of the
 * time, so that an idle guest costs next to nothing; beyond that its timers are up to a millisecond or two late.
 */
const SPIN_SHARE = 0.005;
const SPIN_CREDIT_LIMIT_NS = 5_000_000;

export interface RunCounters {
  /** Times the guest halted, and host nanoseconds slept. */
  halts: number;
  idleNs: number;
  slices: number;
}

/** Runs one powered-on board in slices until something ends it. */
export class RunLoop {
  readonly counters: RunCounters = { halts: 0, idleNs: 0, slices: 0 };
  readonly #host: Host;
  readonly #board: Board;
  readonly #pacing: Pacing;
  readonly #observer: Observer | undefined;
  #exit: MachineExit | undefined;
  #paused = false;
  #running = false;
  #halted = false;
  #wake: (() => void) | undefined;
  #spinCreditNs = SPIN_CREDIT_LIMIT_NS;
  #creditedAt = 0;

  constructor(host: Host, board: Board, pacing: Pacing, observer?: Observer) {
    this.#host = host;
    this.#board = board;
    this.#pacing = pacing;
    this.#observer = observer;
    observer?.attach(board);
    board.onWake = () => this.#wake?.();
    if (!pacing.isDeterministic) {
      board.cpu.onSlowPath = () => {
        if (pacing.isOverdue()) board.cpu.limitBudget(0);
      };
    }
    pacing.clock.onNextChanged = () => {
      if (this.#running) board.cpu.limitBudget(pacing.untilAlarm());
      else this.#wake?.();
    };
  }

  /** Ends the run, after the instruction in hand. The first reason counts, but a match in the last output beats a power-off. */
  end(exit: MachineExit): void {
    if (this.#exit === undefined || exit.kind === 'matched') this.#exit = exit;
    this.#interrupt();
  }

  pause(): void {
    this.#paused = true;
    this.#pacing.pause();
    this.#interrupt();
  }

  resume(): void {
    this.#paused = false;
    if (this.#exit === undefined) this.#pacing.resume();
    this.#wake?.();
  }

  async run(): Promise<MachineExit> {
    if (!this.#paused) this.#pacing.resume();
    this.#creditedAt = this.#host.monotonicNs();
    while (this.#exit === undefined) {
      if (this.#paused) await this.#sleep(MAX_DELAY_MS);
      else if (this.#slice()) await this.#idle();
      else await new Promise<void>((resolve) => this.#host.defer(resolve));
    }
    this.#pacing.pause();
    this.#flush();
    return this.#exit;
  }

  #interrupt(): void {
    if (this.#running) this.#board.cpu.stop();
    this.#wake?.();
  }

  #flush(): void {
    this.#board.serial.flush();
    this.#board.debugConsole.flush();
  }

  /** Computes for a slice; true when the guest is idle before that. */
  #slice(): boolean {
    const pacing = this.#pacing;
    const { cpu } = this.#board;
    const { clock } = pacing;
    const observer = this.#observer;
    const end = this.#host.monotonicNs() + SLICE_NS;
    this.counters.slices++;
    let idle = false;
    do {
      clock.fire();
      if (this.#halted) {
        if (!this.#board.interruptPending) {
          if (pacing.skipIdle()) continue;
          idle = true;
          break;
        }
        this.#halted = false;
      }
      const before = cpu.retired;
      const repetitionsBefore = cpu.repIterations;
      this.#running = true;
      const budget = pacing.budget(before);
      const exit = cpu.run(observer === undefined ? budget : Math.min(budget, observer.limit(before)));
      this.#running = false;
      pacing.ran(cpu.retired - before, cpu.repIterations - repetitionsBefore);
      observer?.ran(cpu.retired);
      if (exit.kind === 'halt') this.#halt();
      else if (exit.kind === 'shutdown') this.end({ kind: 'triple-fault', vector: exit.fault.vector, ip: cpu.ip });
      else if (pacing.isFlushPoint(cpu.retired)) this.#flush();
    } while (this.#exit === undefined && !this.#paused && this.#host.monotonicNs() < end);
    if (!pacing.isDeterministic) this.#flush();
    return idle && this.#exit === undefined;
  }

  #halt(): void {
    const { cpu } = this.#board;
    this.#halted = true;
    this.counters.halts++;
    if (this.#pacing.isDeterministic) this.#flush();
    if (!cpu.interruptsEnabled) this.end({ kind: 'halted', ip: cpu.ip });
  }

  /** Sleeps until the next alarm, or until something from outside interrupts the guest or moves the alarm. */
  async #idle(): Promise<void> {
    const { clock } = this.#pacing;
    const start = this.#host.monotonicNs();
    this.#spinCreditNs = Math.min(SPIN_CREDIT_LIMIT_NS, this.#spinCreditNs + (start - this.#creditedAt) * SPIN_SHARE);
    this.#creditedAt = start;
    const remaining = clock.next - clock.now();
    if (remaining <= 0) return;
    const fraction = remaining % 1e6;
    const precise = fraction <= this.#spinCreditNs;
    const ms = remaining === Number.POSITIVE_INFINITY ? MAX_DELAY_MS : remaining / 1e6;
    if (ms < 1 && precise) {
      await new Promise<void>((resolve) => this.#host.defer(resolve));
      this.#spinCreditNs -= this.#host.monotonicNs() - start;
    } else {
      await this.#sleep(Math.min(MAX_DELAY_MS, Math.max(1, precise ? Math.floor(ms) : Math.ceil(ms))));
    }
    this.counters.idleNs += this.#host.monotonicNs() - start;
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#wake = undefined;
        cancel();
        resolve();
      };
      const cancel = this.#host.delay(ms, done);
      this.#wake = done;
    });
  }
}
