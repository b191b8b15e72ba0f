/** The engines under test, by name. */
import { openEmulator } from './emulator.ts';
import { Silicon } from './silicon.ts';
import type { Engine } from './types.ts';

export const ENGINE_NAMES = ['interpreter', 'translator', 'silicon'] as const;
export type EngineName = (typeof ENGINE_NAMES)[number];

/** 'silicon' is a second process of the oracle itself: a run of it against the first must show no difference. */
export async function openEngine(name: EngineName): Promise<Engine> {
  return name === 'silicon' ? await Silicon.start() : openEmulator(name);
}
