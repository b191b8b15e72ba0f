import { HostClock, InstructionClock } from '../devices/clock.ts';
import type { Host } from './host.ts';

/**
 * How guest time and instructions go together: how many instructions fit before the next alarm, and what an idle guest does.
 */
export interface Pacing {
  readonly clock: HostClock | InstructionClock;
  /** Instructions the CPU may run before alarms and output have to be looked at; at least 1. */
  budget(retired: number): number;
  /** Instructions left until the earliest alarm, which has just moved while the guest runs. */
  untilAlarm(): number;
  /** Called when the CPU has come back, to learn its speed; `repetitions` of the instructions were further rounds of a REP. */
  ran(instructions: number, repetitions: number): void;
  /** Has the present budget taken longer than it should? */
  isOverdue(): boolean;
  /** Output is handed on at moments that are the same in every run; otherwise whenever the event loop gets its turn. */
  readonly isDeterministic: boolean;
  /** Such a moment. */
  isFlushPoint(retired: number): boolean;
  /** Skips idle time up to the next alarm if this clock can; otherwise the host has to sleep. */
  skipIdle(): boolean;
  pause(): void;
  resume(): void;
}

/**
 * Alarms and output are looked at this often while the guest computes, so that a timer is at most this late; far from the next
 * alarm less often, so that it would not be missed even if the guest ran so many times slower than it did.
 */
const CHUNK_NS = 30_000;
const LONGEST_CHUNK_NS = 250_000;
const SLOWDOWN = 8;
/** Guest instructions per nanosecond assumed before anything has been measured, and the bounds of what is believed. */
const FIRST_SPEED = 0.02;
const SLOWEST = 0.005;
const FASTEST = 20;
/**
 * Rounds of a REP instruction can be a hundred times as fast as instructions. A chunk with more of them than this for each
 * instruction says nothing of the speed of instructions; and no chunk is so long that it would take more than CAREFUL times its
 * time if only instructions came.
 */
const MOSTLY_REPETITIONS = 50;
const CAREFUL = 2.5;
/** A chunk may be this much faster than the one before, so that one fast moment does not make the next alarm late. */
const SPEED_UP = 2;

/** Guest time is host time. */
export class HostPacing implements Pacing {
  readonly clock: HostClock;
  readonly isDeterministic = false;
  readonly #host: Host;
  /** Of everything that counts, and of instructions without the further rounds of REP. */
  #speed = FIRST_SPEED;
  #plainSpeed = FIRST_SPEED;
  #startedAt = 0;
  #endsAt = 0;

  constructor(host: Host) {
    this.#host = host;
    this.clock = new HostClock(() => host.monotonicNs(), host.wallClockMs());
  }

  budget(): number {
    this.#startedAt = this.#host.monotonicNs();
    const untilAlarm = this.clock.next - this.clock.now();
    const duration = Math.min(untilAlarm, Math.max(CHUNK_NS, Math.min(LONGEST_CHUNK_NS, untilAlarm / SLOWDOWN)));
    this.#endsAt = this.#startedAt + duration;
    return Math.max(1, Math.ceil(duration * this.#carefulSpeed));
  }

  untilAlarm(): number {
    return Math.max(0, (this.clock.next - this.clock.now()) * this.#carefulSpeed);
  }

  get #carefulSpeed(): number {
    return Math.min(this.#speed, this.#plainSpeed * CAREFUL);
  }

  isOverdue(): boolean {
    return this.#host.monotonicNs() > this.#endsAt;
  }

  ran(instructions: number, repetitions: number): void {
    const elapsed = this.#host.monotonicNs() - this.#startedAt;
    if (elapsed <= 0 || instructions === 0) return;
    this.#speed = nextSpeed(this.#speed, instructions / elapsed);
    const plain = instructions - repetitions;
    if (repetitions <= plain * MOSTLY_REPETITIONS) this.#plainSpeed = nextSpeed(this.#plainSpeed, plain / elapsed);
  }

  isFlushPoint(): boolean {
    return false;
  }

  skipIdle(): boolean {
    return false;
  }

  pause(): void {
    this.clock.pause();
  }

  resume(): void {
    this.clock.resume();
  }
}

function nextSpeed(known: number, measured: number): number {
  return Math.min(FASTEST, Math.max(SLOWEST, Math.min(measured, known * SPEED_UP)));
}

/** Output is looked at whenever the instruction count passes a multiple of this. */
const FLUSH_INSTRUCTIONS = 0x8000;

/** Guest time is the instruction count: everything happens at the same instruction in every run. */
export class InstructionPacing implements Pacing {
  readonly clock: InstructionClock;
  readonly isDeterministic = true;

  /** @param retired instructions retired, exact at any moment */
  constructor(retired: () => number) {
    this.clock = new InstructionClock(retired);
  }

  budget(retired: number): number {
    const flush = FLUSH_INSTRUCTIONS - (retired % FLUSH_INSTRUCTIONS);
    return Math.max(1, Math.min(flush, this.untilAlarm()));
  }

  untilAlarm(): number {
    return Math.max(0, Math.ceil(this.clock.next - this.clock.now()));
  }

  ran(): void {}

  isOverdue(): boolean {
    return false;
  }

  isFlushPoint(retired: number): boolean {
    return retired % FLUSH_INSTRUCTIONS === 0;
  }

  skipIdle(): boolean {
    const { clock } = this;
    if (clock.next === Number.POSITIVE_INFINITY) return false;
    clock.skipTo(clock.next);
    return true;
  }

  pause(): void {}

  resume(): void {}
}
