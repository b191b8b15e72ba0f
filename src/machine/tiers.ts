/** How V8 is asked to compile the emulator's wasm modules, where the environment lets one ask. */
import type { Compile, Tier } from '../cpu/cpu.ts';

type V8 = typeof import('node:v8');

/**
 * V8's flags for each tier, and what sets them back. `baseline`: baseline code for everything, at once: no wait at the first
 * call, no optimising compiler. `region`: compiled at once, for it is about to run, and without the feedback for inlining:
 * collecting it costs each entry of baseline code more than the region's own work (docs/architecture.md); optimised soon, for
 * in baseline code it is slower than the interpreter.
 */
const FLAGS: Readonly<Record<Tier, { readonly set: readonly string[]; readonly reset: readonly string[] }>> = {
  baseline: {
    set: ['--no-wasm-dynamic-tiering', '--no-wasm-lazy-compilation'],
    reset: ['--wasm-dynamic-tiering', '--wasm-lazy-compilation'],
  },
  default: { set: [], reset: [] },
  region: {
    set: [
      '--no-wasm-lazy-compilation',
      '--no-wasm-inlining',
      '--no-wasm-inlining-call-indirect',
      '--wasm-tiering-budget=4000000',
    ],
    reset: [
      '--wasm-lazy-compilation',
      '--wasm-inlining',
      '--wasm-inlining-call-indirect',
      '--wasm-tiering-budget=13000000',
    ],
  },
};

/**
 * Compiles in the tier asked for. V8's flags hold for every thread, so they are set only for the moment of a synchronous
 * compile. Outside Node, V8 decides.
 */
export function tieredCompiler(): Compile {
  const v8: V8 | undefined = globalThis.process?.getBuiltinModule?.('node:v8');
  if (v8 === undefined) return (bytes) => new WebAssembly.Module(bytes);
  return (bytes, tier) => {
    const { set, reset } = FLAGS[tier];
    for (const flag of set) v8.setFlagsFromString(flag);
    try {
      return new WebAssembly.Module(bytes);
    } finally {
      for (const flag of reset) v8.setFlagsFromString(flag);
    }
  };
}
