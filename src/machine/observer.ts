import type { Board } from '../machine.ts';

/** What there is to look at. */
export type ObservedBoard = Pick<Board, 'cpu' | 'memory'>;

/**
 * Something that looks at the guest at exact instruction counts and changes nothing about what it does: profilers, counters.
 * With the instruction clock a run is the same with and without one.
 */
export interface Observer {
  /** At every power-on, before the first instruction. */
  attach(board: ObservedBoard): void;
  /** The guest is about to run from `retired` on: how many instructions at most before `ran` has to be called, at least 1. */
  limit(retired: number): number;
  /** The guest has run up to `retired`: the limit, or less if something else came first. */
  ran(retired: number): void;
}
