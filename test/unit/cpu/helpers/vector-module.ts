import type { HelperDefinition } from '../../../../src/cpu/helpers/definition.ts';
import { ZERO } from '../../../../src/wasm/builder.ts';
import { i32 } from '../../../../src/wasm/expr.ts';
import { ModuleBuilder } from '../../../../src/wasm/module.ts';
import { v128 } from '../../../../src/wasm/simd.ts';

/** Where operands and the result lie, far from the state's cells. */
const OPERANDS = 0x8000;

/**
 * Helpers with vector parameters, callable from JavaScript, where v128 cannot go: vectors first, then numbers. Answers a
 * vector as 16 bytes, an i32 as a number.
 */
export function compileVectorHelpers(
  definitions: readonly HelperDefinition[],
): (name: string, vectors: readonly Uint8Array[], numbers?: readonly number[]) => Uint8Array | number {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const m = new ModuleBuilder();
  m.importMemory({ name: 'state', initial: 1 });
  for (const helper of definitions) {
    const inner = m.function(helper.name, helper.params, helper.results);
    helper.build(inner, (name) => {
      throw new RangeError(`${helper.name} calls ${name}`);
    });
    const count = helper.params.filter((type) => type === 'v128').length;
    const isVector = helper.results[0] === 'v128';
    const numbers = helper.params.slice(count);
    const outer = m.function(`${helper.name} on memory`, numbers, isVector ? [] : helper.results);
    const args = helper.params.map((_, i) =>
      i < count ? v128.load(i32.const(OPERANDS + 16 * i)) : outer.param('i32', i - count),
    );
    if (isVector) outer.storeV128(ZERO, outer.call('v128', inner, args), OPERANDS);
    else outer.result(outer.call('i32', inner, args));
    m.export(outer, helper.name);
  }
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(m.encode()), { env: { state: memory } });
  const bytes = new Uint8Array(memory.buffer);
  return (name, vectors, numbers = []) => {
    vectors.forEach((vector, i) => {
      bytes.set(vector, OPERANDS + 16 * i);
    });
    const result = (exports as Record<string, (...args: number[]) => number | undefined>)[name]!(...numbers);
    return result ?? bytes.slice(OPERANDS, OPERANDS + 16);
  };
}
