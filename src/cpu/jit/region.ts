import { directTarget, type RegionPlan } from './discover.ts';
import type { TargetTable } from './target-table.ts';

export interface TlbTables {
  readonly read: number;
  readonly write: number;
}

/**
 * What of its plan a region still needs once it is translated. Decoded instructions, which no one needs any more, would take half a
 * kilobyte each.
 */
export interface RegionOutline {
  readonly entries: readonly number[];
  readonly pages: ReadonlyMap<number, number>;
  readonly indirect: readonly number[];
  /** Where each block begins and ends. */
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  /** Targets of direct branches. */
  readonly targets: Int32Array;
}

export function outlineOf({ blocks, entries, pages, indirect }: RegionPlan): RegionOutline {
  const targets = blocks.flatMap((b) => {
    const last = b.instructions.at(-1);
    return (last && directTarget(last)) ?? [];
  });
  return {
    entries,
    pages,
    indirect,
    starts: Int32Array.from(blocks, (b) => b.offset),
    ends: Int32Array.from(blocks, (b) => b.end),
    targets: Int32Array.from(targets),
  };
}

/** One translated region, as far as it must be found again. */
export interface Region {
  readonly outline: RegionOutline;
  readonly slot: number;
  readonly validCell: number;
  /** TLB tables (addresses in memory 0) of the privilege it was made for. */
  readonly tlb: TlbTables;
  readonly tables: readonly [TargetTable | undefined, TargetTable | undefined];
  /** How often it was made anew to hold more. */
  readonly growths: number;
  /** Records that stand for its entries. */
  readonly records: number[];
}
