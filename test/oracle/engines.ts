/** The engines under test, by name. */
import { Silicon } from './silicon.ts';
import type { Engine } from './types.ts';

export const ENGINE_NAMES = ['interpreter', 'translator', 'silicon'] as const;
export type EngineName = (typeof ENGINE_NAMES)[number];

interface EmulatorModule {
  readonly openEmulator: (driver: 'interpreter' | 'translator') => Promise<Engine>;
}

/** 'silicon' is a second process of the oracle itself: a run of it against the first must show no difference. */
export async function openEngine(name: EngineName): Promise<Engine> {
  if (name === 'silicon') return await Silicon.start();
  const module = (await import(new URL('./emulator.ts', import.meta.url).href)) as EmulatorModule;
  return module.openEmulator(name);
}
