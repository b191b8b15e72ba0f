import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { f64 } from '../../../../src/wasm/expr.ts';
import { fusesMultiplyAdd, multiplyAdd } from '../../../../src/wasm/fused.ts';
import { ModuleBuilder } from '../../../../src/wasm/module.ts';
import { f64x2 } from '../../../../src/wasm/simd.ts';

/** a * b + c of the host: multiply-add of both, by relaxed SIMD. */
function hostMultiplyAdd(): (a: number, b: number, c: number) => number {
  const m = new ModuleBuilder();
  const f = m.function('madd', ['f64', 'f64', 'f64'], ['f64']);
  const [a, b, c] = [0, 1, 2].map((i) => f.let(f64x2.splat(f.param('f64', i))));
  f.result(f64.add(f64.const(0), f64x2.extract(multiplyAdd.f64x2(a!, b!, c!), 0)));
  m.export(f);
  const { madd } = new WebAssembly.Instance(new WebAssembly.Module(m.encode())).exports;
  return (x, y, z) => (madd as (...numbers: number[]) => number)(x, y, z);
}

describe.runIf(fusesMultiplyAdd())('multiply-add of relaxed SIMD, where it is said to round once', () => {
  it('gives what rounding has taken from a product', () => {
    const madd = hostMultiplyAdd();
    const whole = fc.integer({ min: 2 ** 52, max: 2 ** 53 - 1 });
    fc.assert(
      fc.property(whole, whole, (a, b) => {
        const lost = BigInt(a) * BigInt(b) - BigInt(a * b);
        expect(madd(a, b, -(a * b))).toBe(Number(lost));
      }),
    );
  });
});
