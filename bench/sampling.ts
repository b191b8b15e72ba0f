/** Something that is measured: an engine, or a second one of the same kind. */
export interface Subject<Sample> {
  readonly name: string;
  /** At most so many runs: it is slow, or the same every time. */
  readonly runs?: number;
  once(): Promise<Sample>;
}

/**
 * Every subject `runs` times, in turns, each turn in the opposite order of the one before: whatever else the machine does meets
 * all of them alike.
 */
export async function interleaved<Sample>(
  runs: number,
  subjects: readonly Subject<Sample>[],
  progress: (text: string) => void,
): Promise<Record<string, Sample[]>> {
  const samples: Record<string, Sample[]> = Object.fromEntries(subjects.map(({ name }) => [name, []]));
  for (let run = 0; run < runs; run++) {
    for (const subject of run % 2 === 0 ? subjects : subjects.toReversed()) {
      if (run >= (subject.runs ?? runs)) continue;
      progress(`run ${run + 1} of ${runs}: ${subject.name}`);
      samples[subject.name]!.push(await subject.once());
    }
  }
  return samples;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/** (largest - smallest) / median: how far runs of the same thing lay apart. */
export function spread(values: readonly number[]): number {
  return (Math.max(...values) - Math.min(...values)) / median(values);
}
