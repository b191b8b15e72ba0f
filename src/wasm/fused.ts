/** Multiply-add of relaxed SIMD, which the host may or may not round only once (WebAssembly relaxed SIMD proposal, relaxed_madd). */
import { Expr, type F32, type F64, f32, f64, i32, type V128 } from './expr.ts';
import { ModuleBuilder } from './module.ts';
import { f32x4, f64x2 } from './simd.ts';

const op3 =
  (sub: number) =>
  (a: V128, b: V128, c: V128): V128 =>
    new Expr('v128', 0xfd0000 | sub, a, b, c);
/** a * b + c, rounded once where `fusesMultiplyAdd`. */
export const multiplyAdd = { f32x4: op3(0x105), f64x2: op3(0x107) } as const;

let known: boolean | undefined;
/** Has the host relaxed SIMD, and a multiply-add that rounds once? The same for a process's whole life. */
export function fusesMultiplyAdd(): boolean {
  known ??= probe();
  return known;
}
function probe(): boolean {
  const m = new ModuleBuilder();
  const f = m.function('fuses', [], ['i32']);
  // (1 + x)^2 - (1 + 2x) is x^2, which the rounded square has lost
  const [narrow, wide] = [2 ** -12, 2 ** -30];
  const singles = [1 + narrow, 1 + narrow, -(1 + 2 * narrow)].map((n) => f.let(f32x4.splat(f32.const(n))));
  const doubles = [1 + wide, 1 + wide, -(1 + 2 * wide)].map((n) => f.let(f64x2.splat(f64.const(n))));
  const single = f32x4.extract(multiplyAdd.f32x4(singles[0]!, singles[1]!, singles[2]!), 0) as F32;
  const double = f64x2.extract(multiplyAdd.f64x2(doubles[0]!, doubles[1]!, doubles[2]!), 0) as F64;
  f.result(i32.and(f32.eq(single, f32.const(narrow ** 2)), f64.eq(double, f64.const(wide ** 2))));
  m.export(f);
  const bytes = m.encode();
  if (!WebAssembly.validate(bytes)) return false;
  const { fuses } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
  return typeof fuses === 'function' && fuses() === 1;
}
