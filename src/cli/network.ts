import type { NetworkCard } from '../machine/options.ts';
import { UsageError } from './errors.ts';

/** The cards that the `--net` options ask for, connected. Rejects with UsageError. */
export async function openNetwork(specs: readonly string[]): Promise<NetworkCard[]> {
  const cards: NetworkCard[] = [];
  for (const spec of specs) {
    if (spec !== 'none') throw new UsageError(`--net ${spec}: no such backend; use none`);
  }
  return cards;
}
