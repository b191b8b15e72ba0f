import type { Profile, ProfileFrame, ProfileNode } from './profile.ts';

/** A function's share of the samples. */
export interface FunctionShare {
  readonly frame: ProfileFrame;
  /** Samples in it, and in it or what it called. */
  readonly self: number;
  readonly total: number;
}

/** Functions with the most samples of their own first. */
export function functionShares({ root }: Profile): FunctionShare[] {
  const shares = new Map<string, { frame: ProfileFrame; self: number; total: number }>();
  const above = new Set<string>();
  const visit = (node: ProfileNode): void => {
    for (const [key, child] of node.children) {
      let share = shares.get(key);
      if (share === undefined) {
        share = { frame: child.frame, self: 0, total: 0 };
        shares.set(key, share);
      }
      share.self += child.self;
      if (above.has(key)) {
        // a function that calls itself, by whatever way, is counted once
        visit(child);
      } else {
        share.total += child.total;
        above.add(key);
        visit(child);
        above.delete(key);
      }
    }
  };
  visit(root);
  return [...shares.values()]
    .filter(({ frame }) => frame.part !== 'task')
    .sort((a, b) => b.self - a.self || b.total - a.total || (a.frame.name < b.frame.name ? -1 : 1));
}

/** The first `count` functions, after a line of shares by part and one by task. */
export function topTable(profile: Profile, count: number): string {
  const all = profile.root.total;
  const percent = (samples: number): string => `${((samples / Math.max(1, all)) * 100).toFixed(1)} %`;
  const shares = functionShares(profile);
  const parts = new Map<string, number>();
  for (const { frame, self } of shares) parts.set(frame.part, (parts.get(frame.part) ?? 0) + self);
  const tasks = [...profile.root.children.values()].sort((a, b) => b.total - a.total);
  const list = (entries: Iterable<readonly [string, number]>): string =>
    [...entries].map(([name, samples]) => `${name} ${percent(samples)}`).join(', ');
  const lines = [
    `${all} samples, one every ${profile.interval} instructions`,
    `code: ${list([...parts].sort((a, b) => b[1] - a[1]))}`,
    `tasks: ${list(tasks.slice(0, count).map(({ frame, total }) => [frame.name, total]))}`,
    `${'self'.padStart(8)}  ${'total'.padStart(8)}  function`,
    ...shares.slice(0, count).map(({ frame, self, total }) => {
      const part = frame.part === 'kernel' ? '' : ` (${frame.part})`;
      return `${percent(self).padStart(8)}  ${percent(total).padStart(8)}  ${frame.name}${part}`;
    }),
  ];
  return `${lines.join('\n')}\n`;
}
