import type { RegionPlan } from './discover.ts';
import type { TargetTable } from './target-table.ts';

export interface TlbTables {
  readonly read: number;
  readonly write: number;
}

/** One translated region, as far as it must be found again. */
export interface Region {
  readonly plan: RegionPlan;
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
