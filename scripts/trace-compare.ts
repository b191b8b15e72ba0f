/** A place where two traces part and meet again. */
export interface Gap {
  /** Addresses compared before. */
  readonly at: number;
  /** The first that only one of them has. */
  readonly address: bigint;
  /** Addresses that only this, or only the other has. */
  readonly here: number;
  readonly there: number;
  /** An interrupt or exception was delivered here. */
  readonly event: boolean;
}

export interface TraceComparison {
  /** Addresses that both have. */
  readonly same: number;
  readonly gaps: readonly Gap[];
  /** Where they part for good, if they do. */
  readonly lost: { readonly at: number; readonly here: bigint; readonly there: bigint } | undefined;
}

/** So many different addresses in a row are taken for the same place in both programs, so that no loop is taken for another. */
const DIFFERENT = 150;
/** And so many in a row for the same at any rate. */
const RUN = 5_000;
/** How far a detour goes at first guess, and at most. */
const NEAR = 2_000;
const FAR = NEAR * 8 ** 3;
/** Traces meet at an address that comes no more often than this on the detour: what every line printed goes through says little. */
const RARE = 16;

/**
 * Follows two traces of addresses. Where they part, the shortest detours after which the same addresses come again are found, as
 * after an interrupt, or a loop that waits for time. `events` are places in `here` where an interrupt or exception was delivered;
 * a detour is `far` addresses long at most.
 */
export function compareTraces(
  here: BigUint64Array,
  there: BigUint64Array,
  events: ReadonlySet<number>,
  far = FAR,
): TraceComparison {
  const a = lowHalves(here);
  const b = lowHalves(there);
  const gaps: Gap[] = [];
  let same = 0;
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      same++;
      i++;
      j++;
      continue;
    }
    const meeting = meet(a, i, b, j, far);
    if (meeting === undefined) {
      // the end of a trace may lie within a detour
      const isEnd = Math.min(a.length - i, b.length - j) < far;
      return { same, gaps, lost: isEnd ? undefined : { at: same, here: here[i]!, there: there[j]! } };
    }
    const event = [i - 1, i, i + 1].some((n) => events.has(n));
    gaps.push({ at: same, address: meeting.here > 0 ? here[i]! : there[j]!, ...meeting, event });
    i += meeting.here;
    j += meeting.there;
  }
  return { same, gaps, lost: undefined };
}

/** Tells addresses apart as well, and is compared ten times as fast. */
function lowHalves(trace: BigUint64Array): Uint32Array {
  const halves = new Uint32Array(trace.buffer, trace.byteOffset, trace.length * 2);
  return Uint32Array.from({ length: trace.length }, (_, n) => halves[n * 2]!);
}

/** The least sum of addresses to pass over on both sides before they are the same, looked for farther and farther. */
function meet(
  a: Uint32Array,
  i: number,
  b: Uint32Array,
  j: number,
  far: number,
): { here: number; there: number } | undefined {
  for (let window = Math.min(NEAR, far); window <= far; window *= 8) {
    const found = meetWithin(window, a, i, b, j);
    if (found !== undefined) return found;
  }
  return undefined;
}

function meetWithin(window: number, a: Uint32Array, i: number, b: Uint32Array, j: number) {
  const seen = new Map<number, number[]>();
  const inA = Math.min(window, a.length - i - DIFFERENT);
  const inB = Math.min(window, b.length - j - DIFFERENT);
  for (let m = 0; m <= inB; m++) {
    const list = seen.get(b[j + m]!);
    if (list === undefined) seen.set(b[j + m]!, [m]);
    else list.push(m);
  }
  let best: { here: number; there: number } | undefined;
  for (let n = 0; n <= inA; n++) {
    if (best !== undefined && n >= best.here + best.there) break;
    const places = seen.get(a[i + n]!) ?? [];
    if (places.length > RARE) continue;
    for (const m of places) {
      if (best !== undefined && n + m >= best.here + best.there) break;
      if (sameRun(a, i + n, b, j + m)) {
        best = { here: n, there: m };
        break;
      }
    }
  }
  return best;
}

function sameRun(a: Uint32Array, i: number, b: Uint32Array, j: number): boolean {
  const different = new Set<number>();
  for (let n = 0; n < RUN && different.size < DIFFERENT; n++) {
    const address = a[i + n];
    if (address === undefined || address !== b[j + n]) return false;
    different.add(address);
  }
  return true;
}
