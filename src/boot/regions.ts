/** Bookkeeping of guest-physical ranges while a kernel is put into memory: what is taken, and where there is room. */

export interface Region {
  /** What lies there, for messages. */
  readonly name: string;
  readonly start: number;
  /** First address after it. */
  readonly end: number;
}

/** Where to look for room: addresses [from, to), multiples of `align`, the lowest or the highest that fits. */
export interface Search {
  readonly from: number;
  readonly to: number;
  readonly align: number;
  readonly direction: 'up' | 'down';
}

export class RegionMap {
  readonly #taken: Region[] = [];

  get regions(): readonly Region[] {
    return this.#taken;
  }

  /** The first region that shares a byte with [start, end). */
  conflict(start: number, end: number): Region | undefined {
    return this.#taken.find((region) => start < region.end && region.start < end);
  }

  /** Marks [start, end) as taken; returns the region already there, if any, and then marks nothing. */
  take(name: string, start: number, end: number): Region | undefined {
    const conflict = this.conflict(start, end);
    if (conflict === undefined && end > start) this.#taken.push({ name, start, end });
    return conflict;
  }

  /** Takes `size` bytes where `search` finds room; undefined when it finds none. */
  allocate(name: string, size: number, search: Search): number | undefined {
    const { from, to, align, direction } = search;
    let start = direction === 'up' ? roundUp(from, align) : roundDown(to - size, align);
    while (start >= from && start + size <= to) {
      const conflict = this.take(name, start, start + size);
      if (conflict === undefined) return start;
      start = direction === 'up' ? roundUp(conflict.end, align) : roundDown(conflict.start - size, align);
    }
    return undefined;
  }
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

function roundDown(value: number, unit: number): number {
  return Math.floor(value / unit) * unit;
}
