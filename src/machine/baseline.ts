/** V8's baseline compiler for the emulator's own wasm modules, where the environment lets one ask for it. */

type V8 = typeof import('node:v8');

/** Baseline code for everything, at once: no wait at the first call, no optimising compiler. */
const BASELINE = ['--no-wasm-dynamic-tiering', '--no-wasm-lazy-compilation'];
const DEFAULTS = ['--wasm-dynamic-tiering', '--wasm-lazy-compilation'];

/** Smaller modules (the handlers of single instruction forms) gain from the optimising tier and lose by the switching. */
const PINNED_SIZE = 20_000;

/**
 * A compile function that pins large modules to V8's baseline tier: the optimising one gains nothing on an interpreter and takes seconds.
 * V8's flags hold for every thread, so they are set only for the moment of a synchronous compile. Outside Node, V8 decides.
 */
export function baselineCompiler(): (bytes: Uint8Array<ArrayBuffer>) => WebAssembly.Module {
  const v8: V8 | undefined = globalThis.process?.getBuiltinModule?.('node:v8');
  if (v8 === undefined) return (bytes) => new WebAssembly.Module(bytes);
  return (bytes) => {
    if (bytes.length < PINNED_SIZE) return new WebAssembly.Module(bytes);
    for (const flag of BASELINE) v8.setFlagsFromString(flag);
    try {
      return new WebAssembly.Module(bytes);
    } finally {
      for (const flag of DEFAULTS) v8.setFlagsFromString(flag);
    }
  };
}
