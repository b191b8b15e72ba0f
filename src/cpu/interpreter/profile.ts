import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import { PROFILE, STATE } from '../state.ts';

/** Odd, and far from every simple fraction of 2^32: its multiples' high bits are scattered evenly. */
const SCATTER = 0x9e37_79b1;

/** Notes in the ring of samples that control went to `record`, from the region entered at `from` (0: from the interpreter). */
export function emitSample(f: FunctionBuilder, record: I32, from: I32, fromBase: I64): void {
  f.scope(() => {
    const n = f.let(i32.load(ZERO, STATE.profileCount));
    const slot = i32.mul(i32.and(n, i32.const(PROFILE.entries - 1)), i32.const(PROFILE.entrySize));
    const at = f.let(i32.add(slot, i32.const(PROFILE.base)));
    f.store32(at, record, PROFILE.record);
    f.store32(at, i32.load(ZERO, STATE.lookupKey), PROFILE.key);
    f.store64(at, i64.load(ZERO, STATE.pageBase), PROFILE.pageBase);
    f.store32(at, from, PROFILE.from);
    f.store32(at, i32.load(ZERO, STATE.tlbRead), PROFILE.tlbRead);
    f.store64(at, fromBase, PROFILE.fromBase);
    f.store32(ZERO, i32.add(n, i32.const(1)), STATE.profileCount);
  });
}

/**
 * Events until the next sample: `mean` on average, up to a quarter of it more or less. A constant number would meet the same branch of
 * a loop for ever.
 */
export function untilNextSample(mean: number): I32 {
  const spread = mean / 2;
  const scattered = i32.mul(i32.load(ZERO, STATE.profileCount), i32.const(SCATTER));
  return i32.add(i32.shrU(scattered, i32.const(Math.clz32(spread) + 1)), i32.const(mean - spread / 2));
}
