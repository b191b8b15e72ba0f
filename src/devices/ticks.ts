/**
 * Conversions between guest nanoseconds and the ticks of a fixed-frequency counter that started at time 0. Both are exact
 * and inverse to each other: `timeOfTick(n, hz)` is the first nanosecond at which `ticksAt` has reached n, so a timer
 * built on them never drifts. Frequencies up to 9 MHz: seconds are split off, so that no product passes 2^53.
 */
export const NS_PER_SECOND = 1_000_000_000;

/** Whole ticks of `hz` in `ns` nanoseconds (0 or more). */
export function ticksAt(ns: number, hz: number): number {
  const seconds = Math.floor(ns / NS_PER_SECOND);
  return seconds * hz + Math.floor(((ns - seconds * NS_PER_SECOND) * hz) / NS_PER_SECOND);
}

/** The first nanosecond at which `ticksAt(ns, hz)` is `tick` or more. */
export function timeOfTick(tick: number, hz: number): number {
  const seconds = Math.floor(tick / hz);
  return seconds * NS_PER_SECOND + Math.ceil(((tick - seconds * hz) * NS_PER_SECOND) / hz);
}
