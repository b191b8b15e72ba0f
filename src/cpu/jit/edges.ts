/** A branch between two regions, by the records of the entries and the linear pages these were entered in. */
export interface Edge {
  readonly source: number;
  readonly sourceBase: bigint;
  readonly target: number;
  readonly targetBase: bigint;
}

/** More edges than this are not worth remembering: counting starts anew. */
const MAX_EDGES = 50_000;

/** How often control was seen to go from one region's entry to another's. */
export class EdgeProfile {
  readonly #counts = new Map<number, Map<number, number>>();
  #edges = 0;

  /** One more sample; returns how many there are. */
  count(source: number, target: number): number {
    if (this.#edges > MAX_EDGES) {
      this.#counts.clear();
      this.#edges = 0;
    }
    let targets = this.#counts.get(source);
    if (!targets) this.#counts.set(source, (targets = new Map()));
    const seen = (targets.get(target) ?? 0) + 1;
    if (seen === 1) this.#edges++;
    targets.set(target, seen);
    return seen;
  }
  /** Halves every count, so that what happens seldom never adds up to much. */
  cool(): void {
    this.#edges = 0;
    for (const [source, targets] of this.#counts) {
      for (const [target, seen] of targets) {
        if (seen === 1) targets.delete(target);
        else targets.set(target, Math.floor(seen / 2));
      }
      if (targets.size === 0) this.#counts.delete(source);
      this.#edges += targets.size;
    }
  }
  /** Counts anew what leaves these entries. */
  forget(sources: readonly number[]): void {
    for (const source of sources) this.#counts.delete(source);
  }
  /** This edge will never be counted as hot. */
  ignore(source: number, target: number): void {
    let targets = this.#counts.get(source);
    if (!targets) this.#counts.set(source, (targets = new Map()));
    targets.set(target, Number.NEGATIVE_INFINITY);
  }
}
