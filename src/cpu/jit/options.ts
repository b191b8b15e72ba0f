import type { Note } from '../../wasm/builder.ts';
import type { RegionLimits, RegionPlan } from './discover.ts';

/** Thresholds and sizes; the defaults are justified in docs/architecture.md and docs/benchmarks.md. */
export interface JitOptions extends RegionLimits {
  /** Samples of a branch target (one in PROFILE.period taken branches) before its region is translated. */
  readonly threshold: number;
  /** Samples of a branch between two regions (one in PROFILE.edgePeriod) before they are made one; doubled for each time. */
  readonly growth: number;
  /** How often loops must name a half of a vector register for the region to keep it in a local; 0: what is named at all. */
  readonly vectorUses: number;
  /** Regions kept before the oldest are evicted. */
  readonly maxRegions: number;
  /** Gets every module that is compiled, for tools. */
  readonly onModule?: (module: TranslatedModule) => void;
}
export const DEFAULT_JIT: JitOptions = {
  threshold: 512,
  growth: 128,
  vectorUses: 2,
  maxRegions: 20_000,
  maxBlocks: 100,
  maxInstructions: 800,
  maxBlockLength: 100,
};

/** What a tool may look at: a module's bytes and what its functions are. */
export interface TranslatedModule {
  readonly bytes: Uint8Array;
  readonly regions: readonly {
    /** Name of the exported function. */
    readonly name: string;
    readonly plan: RegionPlan;
    /** Where in the function's code each guest instruction begins: offset in the code, offset from the entry's page. */
    readonly marks: readonly { readonly offset: number; readonly note: Note }[];
    /** Its place when a larger one takes over: how often that has happened to it. */
    readonly growths: number;
  }[];
}

type Numeric = Exclude<keyof JitOptions, 'onModule'>;
/** Smallest and largest values that can be asked for. */
const RANGES: Readonly<Record<Numeric, readonly [number, number]>> = {
  threshold: [1, 1_000_000],
  growth: [1, 1_000_000],
  vectorUses: [0, 1_000_000],
  maxRegions: [1, 100_000],
  maxBlocks: [1, 300],
  maxInstructions: [1, 10_000],
  maxBlockLength: [1, 1000],
};
export const JIT_OPTION_NAMES: readonly string[] = Object.keys(RANGES);

/** `key=value,...` -> options. Throws RangeError with one line that names what is wrong and what there is. */
export function parseJitOptions(text: string): Partial<JitOptions> {
  const options: Partial<Record<Numeric, number>> = {};
  for (const part of text.split(',')) {
    const [key = '', value = ''] = part.split('=');
    if (!Object.hasOwn(RANGES, key)) {
      throw new RangeError(`"${key}" is no option of the translator; there are ${JIT_OPTION_NAMES.join(', ')}`);
    }
    const name = key as Numeric;
    if (name in options) throw new RangeError(`${name} is given twice; give it once`);
    const [smallest, largest] = RANGES[name];
    const number = /^\d+$/.test(value) ? Number(value) : Number.NaN;
    if (!(number >= smallest && number <= largest)) {
      throw new RangeError(`${name}: "${value}" is not a whole number from ${smallest} to ${largest}`);
    }
    options[name] = number;
  }
  return options;
}
