import type { FunctionBuilder } from '../../wasm/builder.ts';
import type { Callable, ValType } from '../../wasm/expr.ts';

/** A function of the core module that semantics call by name: compiled once, however many instructions use it. */
export interface HelperDefinition {
  readonly name: string;
  readonly params: readonly ValType[];
  readonly results: readonly ValType[];
  /** Emits the body; `h` finds other helpers and the core's own functions by name. */
  build(f: FunctionBuilder, h: (name: string) => Callable): void;
}
