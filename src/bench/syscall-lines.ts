/** What `syscall-bench` in the guest prints: a line for each operation, times of one operation in nanoseconds. */
export interface GuestTiming {
  readonly name: string;
  readonly variant: string;
  /** Operations in all measured batches. */
  readonly n: number;
  readonly ns: Spread;
}

/** Median and spread over the guest's batches; the latter null when an older guest does not print them. */
export interface Spread {
  readonly median: number;
  readonly min: number | null;
  readonly q1: number | null;
  readonly q3: number | null;
  readonly max: number | null;
}

/** The last line. */
export const BENCH_DONE = /UKL-BENCH done/;

/** The results in the serial output of a guest; what is no result is passed over. */
export function parseBenchLines(text: string): GuestTiming[] {
  const timings: GuestTiming[] = [];
  for (const line of text.split(/\r?\n/)) {
    if (!line.includes('UKL-BENCH name=')) continue;
    const fields = new Map<string, string>();
    for (const [, key, value] of line.matchAll(/(\w+)=(\S+)/g)) fields.set(key!, value!);
    const number = (key: string): number | null => {
      const value = Number(fields.get(key) ?? Number.NaN);
      return Number.isFinite(value) ? value : null;
    };
    const [name, variant, n, median] = [fields.get('name'), fields.get('variant'), number('n'), number('ns')];
    if (name === undefined || variant === undefined || n === null || median === null) continue;
    const ns = { median, min: number('min'), q1: number('q1'), q3: number('q3'), max: number('max') };
    timings.push({ name, variant, n, ns });
  }
  return timings;
}

/** Several runs as one: medians of what is a median or quartile, the extremes of what is an extreme. */
export function mergeTimings(runs: readonly (readonly GuestTiming[])[]): GuestTiming[] {
  const [first = []] = runs;
  return first.map(({ name, variant }) => {
    const same = runs.flatMap((run) => run.filter((t) => t.name === name && t.variant === variant));
    const values = (pick: (s: Spread) => number | null): number[] =>
      same.map(({ ns }) => pick(ns)).filter((value) => value !== null);
    return {
      name,
      variant,
      n: same.reduce((sum, timing) => sum + timing.n, 0),
      ns: {
        median: median(values((s) => s.median)) ?? 0,
        min: least(values((s) => s.min)),
        q1: median(values((s) => s.q1)),
        q3: median(values((s) => s.q3)),
        max: greatest(values((s) => s.max)),
      },
    };
  });
}

function median(values: readonly number[]): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return null;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

const least = (values: readonly number[]): number | null => (values.length === 0 ? null : Math.min(...values));
const greatest = (values: readonly number[]): number | null => (values.length === 0 ? null : Math.max(...values));
