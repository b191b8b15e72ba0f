import type { FunctionBuilder } from '../../wasm/builder.ts';
import type { Callable, ValType } from '../../wasm/expr.ts';

/** A function that several instructions share: compiled once, in the core module, callable by name from any module. */
export interface HelperDefinition {
  readonly name: string;
  readonly params: readonly ValType[];
  readonly results: readonly ValType[];
  /** Emits the body; `h` gives other helpers and host functions by name. */
  build(f: FunctionBuilder, h: (name: string) => Callable): void;
}
