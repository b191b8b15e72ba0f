import { type Block, directTarget, isIndirect, type RegionPlan } from './discover.ts';

/** A block at its place in the order. */
export interface BlockNode {
  readonly kind: 'block';
  readonly position: number;
}
/** Blocks `first` to `last` of the order, between which control goes back to `first`. */
export interface LoopNode {
  readonly kind: 'loop';
  readonly first: number;
  readonly last: number;
  readonly elements: readonly LayoutNode[];
  /** Is it entered elsewhere than at `first`? Then it needs a dispatch at its head. */
  dispatch: boolean;
}
export type LayoutNode = BlockNode | LoopNode;

/** The blocks of a region in an order in which most edges go forward, nested into loops: wasm has no other way back. */
export interface Layout {
  readonly blocks: readonly Block[];
  readonly positions: ReadonlyMap<number, number>;
  /** The whole region as if it were a loop; control never goes back to it. */
  readonly root: LoopNode;
  /** The loops around each block, outermost (the root) first. */
  readonly paths: readonly (readonly LoopNode[])[];
}

export function layOut(plan: RegionPlan): Layout {
  const blocks = reversePostorder(plan);
  const positions = new Map(blocks.map((b, i) => [b.offset, i]));
  const edges: (readonly [from: number, to: number])[] = [];
  blocks.forEach((b, from) => {
    for (const offset of successors(b, plan)) {
      const to = positions.get(offset);
      if (to !== undefined) edges.push([from, to]);
    }
  });
  const spans = loopSpans(edges, blocks.length);
  const build = (first: number, last: number, inside: boolean): LoopNode => {
    const elements: LayoutNode[] = [];
    for (let position = first; position <= last; position++) {
      const end = spans[position]!;
      if (end >= 0 && !(inside && position === first)) {
        elements.push(build(position, end, true));
        position = end;
      } else elements.push({ kind: 'block', position });
    }
    return { kind: 'loop', first, last, elements, dispatch: false };
  };
  const root = build(0, blocks.length - 1, false);
  const paths: LoopNode[][] = [];
  const walk = (loop: LoopNode, around: readonly LoopNode[]): void => {
    const here = [...around, loop];
    for (const e of loop.elements) {
      if (e.kind === 'block') paths[e.position] = here;
      else walk(e, here);
    }
  };
  walk(root, []);
  // whoever jumps into the middle of a loop needs its dispatch; a second entry needs the root's
  const reach = (to: number, from: readonly LoopNode[]): void => {
    for (const loop of paths[to]!) if (!from.includes(loop) && to !== loop.first) loop.dispatch = true;
  };
  for (const [from, to] of edges) reach(to, paths[from]!);
  for (const entry of plan.entries) reach(positions.get(entry)!, []);
  return { blocks, positions, root, paths };
}

/** Last position of the loop that begins at each position, or -1; spans nest properly. */
function loopSpans(edges: readonly (readonly [number, number])[], count: number): number[] {
  const spans = new Array<number>(count).fill(-1);
  for (const [from, to] of edges) if (to <= from) spans[to] = Math.max(spans[to]!, from);
  // a loop that begins inside another and ends behind it stretches the other
  for (let changed = true; changed; ) {
    changed = false;
    for (let a = 0; a < count; a++) {
      for (let b = a + 1; b <= spans[a]!; b++) {
        if (spans[b]! > spans[a]!) {
          spans[a] = spans[b]!;
          changed = true;
        }
      }
    }
  }
  return spans;
}

/** Index of the element of `loop` that holds a block. */
export const elementOf = (loop: LoopNode, position: number): number =>
  loop.elements.findIndex((e) =>
    e.kind === 'block' ? e.position === position : position >= e.first && position <= e.last,
  );

function reversePostorder(plan: RegionPlan): Block[] {
  const byOffset = new Map(plan.blocks.map((b) => [b.offset, b]));
  const seen = new Set<number>();
  const order: Block[] = [];
  const visit = (start: number): void => {
    const stack: { block: Block; next: number[] }[] = [];
    const enter = (offset: number): void => {
      const block = byOffset.get(offset);
      if (!block || seen.has(offset)) return;
      seen.add(offset);
      stack.push({ block, next: successors(block, plan) });
    };
    enter(start);
    while (stack.length > 0) {
      const top = stack.at(-1)!;
      const next = top.next.shift();
      if (next === undefined) {
        order.push(top.block);
        stack.pop();
      } else enter(next);
    }
  };
  for (const entry of [...plan.entries].reverse()) visit(entry);
  for (const b of plan.blocks) visit(b.offset);
  return order.reverse();
}

/** Offsets control may go to directly; a call's target counts, for it may be the region's own beginning. */
function successors(b: Block, plan: RegionPlan): number[] {
  if (b.exit === 'fall') return [b.end];
  if (b.exit === 'interpret') return [];
  const last = b.instructions.at(-1)!;
  const target = directTarget(last);
  if (last.d.row.mnemonic === 'ret') return [...plan.continuations];
  if (isIndirect(last.d)) return [...plan.indirect];
  const out: number[] = [];
  // the fall-through last in the walk comes first in reverse postorder
  if (target !== undefined) out.push(target);
  if (!['jmp', 'call'].includes(last.d.row.mnemonic)) out.push(b.end);
  return out;
}
