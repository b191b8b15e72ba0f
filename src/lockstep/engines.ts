import type { MachineOptions } from '../machine/options.ts';
import { type Difference, differences, registersOf, type Snapshot, sameSnapshot, takeSnapshot } from './state.ts';
import { prepare, type Recipe, Stepper } from './stepper.ts';

/** What runs the guest: every instruction by the interpreter, or hot code translated. */
export type LockstepEngine = 'interpreter' | 'jit';

export interface LockstepOptions {
  /** Registers are compared every so many instructions. */
  readonly interval: number;
  /** RAM is compared every so many instructions (and at the end). */
  readonly memoryInterval: number;
  /** Ends the run when the guest has not. */
  readonly maxInstructions: number;
  readonly progress: (text: string) => void;
}

export type LockstepResult =
  | {
      readonly kind: 'same';
      readonly instructions: number;
      /** Why it went no further. */
      readonly end: string;
    }
  | {
      readonly kind: 'different';
      /** Retired when the state first differs. */
      readonly instructions: number;
      /** For people, several lines. */
      readonly report: string;
    };

/** Both engines at the same count of instructions. */
interface Pair {
  readonly reference: Stepper;
  readonly subject: Stepper;
}
/** Instructions before the difference that the report lists. */
const LISTED = 16;

/**
 * Runs one boot on two engines, on the instruction clock, and compares their architectural state and RAM. On a difference both are
 * run again from power-on, with the same budgets up to the last agreement, to find the first instruction count that differs.
 */
export async function lockstepEngines(
  machine: MachineOptions,
  engines: readonly [LockstepEngine, LockstepEngine],
  options: LockstepOptions,
): Promise<LockstepResult> {
  const recipes = (await Promise.all(
    engines.map((engine) => prepare({ ...machine, engine: engine === 'jit' ? 'auto' : 'interpreter' })),
  )) as [Recipe, Recipe];
  return lockstepRecipes(recipes, engines, options);
}

/** As `lockstepEngines`, for machines that may differ in more than the engine. */
export function lockstepRecipes(
  recipes: readonly [Recipe, Recipe],
  engines: readonly [LockstepEngine, LockstepEngine],
  options: LockstepOptions,
): LockstepResult {
  return new Search(recipes, engines, options).run();
}

class Search {
  readonly #recipes: readonly [Recipe, Recipe];
  readonly #engines: readonly [LockstepEngine, LockstepEngine];
  readonly #options: LockstepOptions;

  constructor(
    recipes: readonly [Recipe, Recipe],
    engines: readonly [LockstepEngine, LockstepEngine],
    options: LockstepOptions,
  ) {
    this.#recipes = recipes;
    this.#engines = engines;
    this.#options = options;
  }

  run(): LockstepResult {
    const { interval, memoryInterval, maxInstructions, progress } = this.#options;
    const pair = this.#powerOn();
    let agreed = 0;
    let memoryAgreed = 0;
    let reported = 0;
    for (;;) {
      const target = Math.min(agreed + interval, maxInstructions);
      this.#step(pair, target);
      const end = this.#end(pair, target, maxInstructions);
      const registersDiffer = !sameRegisters(pair);
      const lookAtMemory = end !== undefined || target - memoryAgreed >= memoryInterval;
      if (!registersDiffer && lookAtMemory && !sameMemory(pair)) {
        progress(`memory differs at ${target} and did not at ${memoryAgreed}: looking for the place`);
        return this.#narrow(this.#firstWithMemory(memoryAgreed, target));
      }
      if (registersDiffer) return this.#narrow({ agreed, differs: target });
      if (end !== undefined) return { kind: 'same', instructions: pair.reference.retired, end };
      if (lookAtMemory) memoryAgreed = target;
      agreed = target;
      if (agreed - reported >= 50_000_000) {
        reported = agreed;
        progress(`${agreed / 1e6} million instructions, the same`);
      }
    }
  }

  #powerOn(): Pair {
    return { reference: new Stepper(this.#recipes[0]), subject: new Stepper(this.#recipes[1]) };
  }

  #step({ reference, subject }: Pair, target: number): void {
    reference.runTo(target);
    subject.runTo(target);
  }

  /** The pair at `count`, by the same steps as in the run that found the difference. */
  #replay(count: number): Pair {
    const pair = this.#powerOn();
    const { interval } = this.#options;
    for (let at = interval; at <= count; at += interval) this.#step(pair, at);
    return pair;
  }

  #end({ reference, subject }: Pair, target: number, maximum: number): string | undefined {
    return (
      reference.ended ?? subject.ended ?? (target >= maximum ? `${maximum} instructions were asked for` : undefined)
    );
  }

  /** The step at whose end memory first differs. */
  #firstWithMemory(agreed: number, differs: number): { agreed: number; differs: number } {
    const { interval } = this.#options;
    const pair = this.#replay(agreed);
    for (let at = agreed; ; ) {
      const target = Math.min(at + interval, differs);
      this.#step(pair, target);
      if (target >= differs || !sameRegisters(pair) || !sameMemory(pair)) return { agreed: at, differs: target };
      at = target;
    }
  }

  /** Bisects one step: a shorter last step may do with the interpreter what a longer one does with translated code. */
  #narrow({ agreed, differs }: { agreed: number; differs: number }): LockstepResult {
    const { progress } = this.#options;
    let low = agreed;
    let high = differs;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      progress(`different at ${high}, the same at ${low}: trying ${middle}`);
      const pair = this.#replay(agreed);
      this.#step(pair, middle);
      if (sameRegisters(pair) && sameMemory(pair)) low = middle;
      else high = middle;
    }
    const pair = this.#replay(agreed);
    this.#step(pair, high);
    return { kind: 'different', instructions: high, report: this.#report(agreed, high, pair) };
  }

  #report(agreed: number, count: number, pair: Pair): string {
    const [first, second] = this.#engines;
    const lines = [`${first} and ${second} differ after ${count} instructions, the same after ${count - 1}`];
    // the engines' common past, one instruction at a time
    const tracer = new Stepper(this.#recipes[0]);
    const { interval } = this.#options;
    const from = Math.max(agreed, count - LISTED);
    for (let at = interval; at <= agreed; at += interval) tracer.runTo(at);
    tracer.runTo(from);
    const found = differences(
      takeSnapshot(pair.reference.powered.board.cpu),
      takeSnapshot(pair.subject.powered.board.cpu),
    );
    const suspects = new Set(found.map(({ name }) => name));
    let before: Snapshot = takeSnapshot(tracer.powered.board.cpu);
    let beforeLast = before;
    lines.push(
      '',
      'instructions before it (* changes what differs; translated code shows it at the end of its block):',
    );
    for (let n = from + 1; n <= count && tracer.ended === undefined; n++) {
      const text = `${hex(tracer.powered.board.cpu.ip)}  ${tracer.nextInstruction()}`;
      tracer.runTo(n);
      const after = takeSnapshot(tracer.powered.board.cpu);
      const mark = differences(before, after).some(({ name }) => name !== 'rip' && suspects.has(name)) ? '*' : ' ';
      lines.push(`${mark} ${String(n).padStart(12)}  ${text}`);
      beforeLast = before;
      before = after;
    }
    lines.push('', ...differenceTable(found, beforeLast, first, second));
    if (found.length === 0) lines.push('registers are the same');
    lines.push(...memoryDifference(pair, first, second));
    return lines.join('\n');
  }
}

const hex = (value: bigint): string => value.toString(16).padStart(16, '0');

const sameRegisters = ({ reference, subject }: Pair): boolean =>
  reference.retired === subject.retired &&
  reference.ended === subject.ended &&
  sameSnapshot(takeSnapshot(reference.powered.board.cpu), takeSnapshot(subject.powered.board.cpu));

/** RAM as words: several times as fast to compare as bytes. */
const words = (stepper: Stepper): Int32Array => {
  const { memory, size } = stepper.powered.board.memory;
  return new Int32Array(memory.buffer, 0, size >> 2);
};

function firstDifferentWord({ reference, subject }: Pair): number {
  const [a, b] = [words(reference), words(subject)];
  for (let n = 0; n < a.length; n++) if (a[n] !== b[n]) return n;
  return -1;
}
const sameMemory = (pair: Pair): boolean => firstDifferentWord(pair) < 0;

function memoryDifference(pair: Pair, first: string, second: string): string[] {
  const at = firstDifferentWord(pair);
  if (at < 0) return ['memory is the same'];
  const value = (stepper: Stepper): string => (words(stepper)[at]! >>> 0).toString(16).padStart(8, '0');
  const place = `RAM offset 0x${(at * 4).toString(16)}`;
  return [`memory differs first at ${place}: ${first} ${value(pair.reference)}, ${second} ${value(pair.subject)}`];
}

function differenceTable(found: readonly Difference[], before: Snapshot, first: string, second: string): string[] {
  if (found.length === 0) return [];
  const old = new Map(registersOf(before));
  const rows = [
    ['register', 'before', first, second],
    ...found.map(({ name, values }) => [name, old.get(name) ?? '', ...values]),
  ];
  const widths = [0, 1, 2, 3].map((n) => Math.max(...rows.map((row) => row[n]!.length)));
  return rows.map((row) =>
    row
      .map((text, n) => text.padEnd(widths[n]!))
      .join('  ')
      .trimEnd(),
  );
}
