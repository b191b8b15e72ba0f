import type { Growth } from './discover.ts';
import type { Edge } from './edges.ts';
import type { Region } from './region.ts';

const PAGE = 4096;
/** Linear address that a region's offsets count from, when its entry at `offset` lies in the page at `pageBase`. */
const baseOf = (offset: number, pageBase: bigint): bigint => pageBase - BigInt(Math.floor(offset / PAGE) * PAGE);

/** What `region` should become so that the branches in `edges` stay within it; `base`: its offsets' origin. */
export function growthOf(
  region: Region,
  edges: readonly Edge[],
  entryOf: (record: number) => { readonly region: Region; readonly offset: number } | undefined,
): { base: bigint; growth: Growth } {
  const { outline } = region;
  const first = edges[0]!;
  const base = baseOf(entryOf(first.source)!.offset, first.sourceBase);
  const direct = new Set([...outline.ends, ...outline.targets]);
  const blocks = new Set(outline.starts);
  const indirect = new Set(outline.indirect);
  for (const edge of edges) {
    const target = entryOf(edge.target);
    if (!target || target.region.tlb.read !== region.tlb.read) continue;
    // the same region entered at another linear address grows another time
    if (baseOf(entryOf(edge.source)!.offset, edge.sourceBase) !== base) continue;
    const delta = Number(baseOf(target.offset, edge.targetBase) - base);
    for (const offset of target.region.outline.starts) blocks.add(offset + delta);
    for (const offset of target.region.outline.indirect) indirect.add(offset + delta);
    if (!direct.has(target.offset + delta)) indirect.add(target.offset + delta);
  }
  return { base, growth: { entries: outline.entries, blocks, indirect: [...indirect] } };
}
