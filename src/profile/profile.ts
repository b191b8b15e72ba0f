import type { CodePart } from './kernel-map.ts';

/** A function of the guest as it appears in profiles. */
export interface ProfileFrame {
  readonly name: string;
  /** `task` for the name of a task, which is the outermost frame of a stack. */
  readonly part: CodePart | 'task';
  /** Signed linear address of the function's start; 0 when it has none. */
  readonly address: number;
}

/** One function in one chain of callers. */
export interface ProfileNode {
  readonly frame: ProfileFrame;
  /** Samples in the function itself, and with what it called. */
  self: number;
  total: number;
  readonly children: Map<string, ProfileNode>;
}

/** Samples of a run, by chain of callers: the children of the root are tasks. */
export interface Profile {
  readonly root: ProfileNode;
  /** Instructions between two samples on average: what one sample stands for. */
  readonly interval: number;
}

export function newNode(frame: ProfileFrame): ProfileNode {
  return { frame, self: 0, total: 0, children: new Map() };
}

export function newProfile(interval: number): Profile {
  return { root: newNode({ name: 'all', part: 'task', address: 0 }), interval };
}

/** Adds one sample; `frames` from the innermost outwards. */
export function addSample({ root }: Profile, frames: readonly ProfileFrame[]): void {
  let node = root;
  node.total++;
  for (let index = frames.length - 1; index >= 0; index--) {
    const frame = frames[index]!;
    const key = `${frame.part} ${frame.name}`;
    let child = node.children.get(key);
    if (child === undefined) {
      child = newNode(frame);
      node.children.set(key, child);
    }
    child.total++;
    node = child;
  }
  node.self++;
}

/** A chain of callers that was sampled itself. */
export interface SampledStack {
  /** Outermost first. */
  readonly frames: readonly ProfileFrame[];
  readonly samples: number;
}

export function stacks({ root }: Profile): SampledStack[] {
  const found: SampledStack[] = [];
  const chain: ProfileFrame[] = [];
  const visit = (node: ProfileNode): void => {
    for (const child of node.children.values()) {
      chain.push(child.frame);
      if (child.self > 0) found.push({ frames: [...chain], samples: child.self });
      visit(child);
      chain.pop();
    }
  };
  visit(root);
  return found;
}
