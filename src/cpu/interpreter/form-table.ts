import type { Callable } from '../../wasm/expr.ts';
import type { ModuleBuilder } from '../../wasm/module.ts';
import type { DecodedInstruction } from '../decode/types.ts';
import type { Semantics } from '../semantics/context.ts';
import { formKey } from './form.ts';
import { buildHandlersModule } from './handlers.ts';
import { PSEUDO_COUNT } from './pseudo.ts';

export type StackSize = 2 | 4 | 8;

/**
 * Which handler executes which form. Hot forms are cases of the run loop, numbered from PSEUDO_COUNT; every other form
 * gets a function in the table, made when it is first decoded.
 */
export class FormTable {
  readonly #handlers = new Map<string, number>();
  readonly #table: WebAssembly.Table;
  readonly #semantics: ReadonlyMap<string, Semantics>;
  readonly #instantiate: (bytes: Uint8Array<ArrayBuffer>) => WebAssembly.Exports;
  readonly #importHelper: (m: ModuleBuilder, name: string) => Callable;
  #next: number;

  constructor(
    hot: readonly string[],
    table: WebAssembly.Table,
    semantics: ReadonlyMap<string, Semantics>,
    instantiate: (bytes: Uint8Array<ArrayBuffer>) => WebAssembly.Exports,
    importHelper: (m: ModuleBuilder, name: string) => Callable,
  ) {
    this.#table = table;
    this.#semantics = semantics;
    this.#instantiate = instantiate;
    this.#importHelper = importHelper;
    hot.forEach((form, i) => {
      this.#handlers.set(form, PSEUDO_COUNT + i);
    });
    this.#next = PSEUDO_COUNT + hot.length;
  }

  /** Forms met so far. */
  get size(): number {
    return this.#handlers.size;
  }
  /** A fresh slot of the table, for a handler or a translated region. */
  allocateSlot(): number {
    const index = this.#next++;
    if (index >= this.#table.length) this.#table.grow(Math.max(256, this.#table.length >> 1));
    return index;
  }
  /** Takes handlers that are there already, exported by their places among `forms`. */
  adopt(forms: readonly string[], exports: WebAssembly.Exports): void {
    forms.forEach((form, i) => {
      this.#add(form, exports[i]);
    });
  }
  /** The number of a form's handler, if it has been made. */
  numberOf(form: string): number | undefined {
    return this.#handlers.get(form);
  }
  /** The handler's number, or undefined when nobody wrote the instruction's semantics. */
  handlerFor(d: DecodedInstruction, stackSize: StackSize): number | undefined {
    const key = formKey(d, stackSize);
    const known = this.#handlers.get(key);
    if (known !== undefined) return known;
    const semantics = this.#semantics.get(d.row.mnemonic);
    if (!semantics) return undefined;
    const bytes = buildHandlersModule([{ example: d, stackSize, semantics }], this.#importHelper);
    return this.#add(key, this.#instantiate(bytes)[0]);
  }
  #add(form: string, handler: WebAssembly.ExportValue | undefined): number {
    const index = this.allocateSlot();
    this.#table.set(index, handler);
    this.#handlers.set(form, index);
    return index;
  }
}
