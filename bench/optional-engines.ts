import { Failure } from '../images/support.ts';
import { type Bochs, findBochs } from './bochs.ts';
import { findV86, missingFor32Bit, type V86 } from './v86.ts';

/** Engines that have columns where they are installed and that nobody has to install. */
export interface OptionalEngines {
  readonly bochs: Bochs | undefined;
  readonly v86: V86 | undefined;
  /** What a 32-bit guest lacks here; undefined if nothing. */
  readonly missingFor32Bit: string | undefined;
  /** A line for each of them that is left out though nobody said so. */
  readonly hints: readonly string[];
}
export interface OptionalEngineOptions {
  /** Where v86 is if not in this project. */
  readonly v86?: string | undefined;
  /** Names of engines to do without. */
  readonly without?: readonly string[] | undefined;
}

const NAMES = ['bochs', 'v86'];
const FINDERS = { bochs: findBochs, v86: findV86, missingFor32Bit };

export function findOptionalEngines(options: OptionalEngineOptions, finders = FINDERS): OptionalEngines {
  const { v86: given, without = [] } = options;
  const unknown = without.find((name) => !NAMES.includes(name));
  if (unknown !== undefined) throw new Failure(`--without ${unknown}: unknown; there are ${NAMES.join(', ')}`);
  const bochs = without.includes('bochs') ? undefined : finders.bochs();
  const v86 = without.includes('v86') ? undefined : finders.v86(given);
  if (given !== undefined && typeof v86 === 'string') throw new Failure(v86);
  const missing = finders.missingFor32Bit();
  return {
    bochs: typeof bochs === 'string' ? undefined : bochs,
    v86: typeof v86 === 'string' ? undefined : v86,
    missingFor32Bit: missing,
    hints: [bochs, v86, typeof v86 === 'object' ? missing : undefined].filter((found) => typeof found === 'string'),
  };
}
