import { expect } from 'vitest';
import { AlarmClock, INSTRUCTION_CLOCK_START } from '../../../src/devices/clock.ts';
import type { Device, IrqLine } from '../../../src/devices/device.ts';
import type { Saveable } from '../../../src/devices/saveable.ts';

/** A clock a test moves by hand; alarms fire at their exact times. */
export class TestClock extends AlarmClock {
  readonly startOfDay: number;
  #now = 0;

  constructor(startOfDay = INSTRUCTION_CLOCK_START) {
    super();
    this.startOfDay = startOfDay;
  }

  now(): number {
    return this.#now;
  }

  /** Moves to `ns`, stopping at each alarm on the way. */
  moveTo(ns: number): void {
    while (this.next <= ns) {
      this.#now = Math.max(this.#now, this.next);
      this.fire();
    }
    this.#now = Math.max(this.#now, ns);
  }

  advance(ns: number): void {
    this.moveTo(this.#now + ns);
  }

  /** Moves to `ns` without firing anything, as time passes inside a slice. */
  passTo(ns: number): void {
    this.#now = ns;
  }

  /** Jumps to `ns` at once, as a host that was busy elsewhere, then fires what is due. */
  jumpTo(ns: number): void {
    this.#now = ns;
    this.fire();
  }
}

/** An interrupt line that remembers its level and counts its rising edges. */
export class TestLine implements IrqLine {
  level = false;
  edges = 0;

  set(level: boolean): void {
    if (level && !this.level) this.edges++;
    this.level = level;
  }
}

/** Mulberry32: a small deterministic generator of uniform 32-bit numbers. */
export function prng(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

const WIDTHS = [1, 2, 4] as const;

/**
 * Feeds a device a deterministic script of random accesses, with time moving by random steps in between, and checks that
 * every read is a number of its width, that nothing throws, and that a saved state loaded back is the same state.
 */
export function hammer<State>(
  device: Device & Saveable<State>,
  clock: TestClock,
  offsets: readonly number[],
  options: { readonly seed?: number; readonly count?: number; readonly also?: (random: () => number) => void } = {},
): void {
  const random = prng(options.seed ?? 1);
  const count = options.count ?? 100_000;
  let bad = 0;
  for (let i = 0; i < count; i++) {
    const choice = random();
    const width = WIDTHS[choice % 3]!;
    const offset = offsets[(choice >>> 8) % offsets.length]!;
    if ((choice & 0x80) !== 0) {
      const value = device.read(offset, width);
      if (!(Number.isInteger(value) && value >= 0 && value < 2 ** (8 * width))) bad++;
    } else {
      const value = random();
      device.write(offset, width, width === 4 ? value : value & (width === 2 ? 0xffff : 0xff));
    }
    options.also?.(random);
    if ((choice & 0x7) === 0) clock.jumpTo(clock.now() + (random() % 2_000_000));
    if (i % 10_000 === 9_999) {
      const saved = device.save();
      device.load(saved);
      expect(device.save()).toEqual(saved);
    }
  }
  expect(bad).toBe(0);
}
