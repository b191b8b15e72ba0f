import { ByteSink, FunctionBuilder, VAL_TYPE } from './builder.ts';
import type { Callable, ValType } from './expr.ts';

interface MemoryImport {
  readonly name: string;
  readonly initial: number;
  /** Maximum in pages; required when shared. */
  readonly maximum?: number;
  readonly shared?: boolean;
}

/** A wasm module under construction; functions are imported on first use; `encode` yields the bytes. */
export class ModuleBuilder {
  readonly #types: string[] = [];
  readonly #imports: (Callable & { readonly typeIndex: number })[] = [];
  readonly #functions: FunctionBuilder[] = [];
  readonly #exports: { name: string; f: FunctionBuilder }[] = [];
  readonly #memories: MemoryImport[] = [];
  #importsTable = false;

  /** Index of a function type, made when new. */
  type(params: readonly ValType[], results: readonly ValType[]): number {
    const key = `${params.join()}>${results.join()}`;
    const found = this.#types.indexOf(key);
    return found >= 0 ? found : this.#types.push(key) - 1;
  }
  /** Memory n of the module is the n-th imported one (module "env"). */
  importMemory(memory: MemoryImport): void {
    this.#memories.push(memory);
  }
  /** Imports table 0 as env.table, for call_indirect. */
  importTable(): void {
    this.#importsTable = true;
  }
  importFunction(name: string, params: readonly ValType[], results: readonly ValType[]): Callable {
    const found = this.#imports.find((i) => i.name === name);
    if (found) return found;
    const callable = {
      name,
      importIndex: this.#imports.length,
      params,
      results,
      typeIndex: this.type(params, results),
    };
    this.#imports.push(callable);
    return callable;
  }
  function(name: string, params: readonly ValType[], results: readonly ValType[]): FunctionBuilder {
    const f = new FunctionBuilder(name, this.type(params, results), params, results);
    this.#functions.push(f);
    return f;
  }
  export(f: FunctionBuilder, name = f.name): void {
    this.#exports.push({ name, f });
  }

  encode(): Uint8Array<ArrayBuffer> {
    const out = new ByteSink(4096);
    out.append(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
    const indices = new Map<Callable, number>(this.#functions.map((f, i) => [f, this.#imports.length + i]));
    const indexOf = (f: Callable): number => {
      const index = indices.get(f);
      if (index === undefined) throw new RangeError(`${f.name} is not a function of this module`);
      return index;
    };
    for (const f of this.#functions) {
      for (const { offset, callee } of f.calls) putPadded(f.code.bytes, offset, indexOf(callee));
    }
    const section = (id: number, write: (s: ByteSink) => void) => {
      const body = new ByteSink(1024);
      write(body);
      out.byte(id);
      out.u32(body.length);
      out.append(body.view());
    };
    const text = (s: ByteSink, value: string) => {
      const bytes = new TextEncoder().encode(value);
      s.u32(bytes.length);
      s.append(bytes);
    };
    section(1, (s) => {
      s.u32(this.#types.length);
      for (const key of this.#types) {
        s.byte(0x60);
        for (const list of key.split('>')) {
          const types = list === '' ? [] : (list.split(',') as ValType[]);
          s.u32(types.length);
          for (const t of types) s.byte(VAL_TYPE[t]);
        }
      }
    });
    section(2, (s) => {
      s.u32(this.#imports.length + this.#memories.length + (this.#importsTable ? 1 : 0));
      for (const f of this.#imports) {
        text(s, 'env');
        text(s, f.name);
        s.byte(0);
        s.u32(f.typeIndex);
      }
      for (const m of this.#memories) {
        text(s, 'env');
        text(s, m.name);
        s.byte(2);
        s.byte(m.shared ? 3 : m.maximum === undefined ? 0 : 1);
        s.u32(m.initial);
        if (m.maximum !== undefined) s.u32(m.maximum);
      }
      if (this.#importsTable) {
        text(s, 'env');
        text(s, 'table');
        for (const b of [1, 0x70, 0, 0]) s.byte(b);
      }
    });
    section(3, (s) => {
      s.u32(this.#functions.length);
      for (const f of this.#functions) s.u32(f.typeIndex);
    });
    section(7, (s) => {
      s.u32(this.#exports.length);
      for (const e of this.#exports) {
        text(s, e.name);
        s.byte(0);
        s.u32(indexOf(e.f));
      }
    });
    const localDeclarations = this.#functions.map(encodeLocals);
    if (this.#functions.some((f) => f.hints.length > 0)) {
      section(0, (s) => this.#branchHints(s, text, localDeclarations, indexOf));
    }
    section(10, (s) => {
      s.u32(this.#functions.length);
      this.#functions.forEach((f, i) => {
        const locals = localDeclarations[i]!;
        s.u32(locals.length + f.code.length + 1);
        s.append(locals);
        s.append(f.code.view());
        s.byte(0x0b);
      });
    });
    return out.view();
  }

  /** Custom section metadata.code.branch_hint (WebAssembly branch-hinting proposal): offsets count from the local declarations. */
  #branchHints(
    s: ByteSink,
    text: (s: ByteSink, value: string) => void,
    locals: readonly Uint8Array[],
    indexOf: (f: Callable) => number,
  ): void {
    text(s, 'metadata.code.branch_hint');
    const hinted = this.#functions
      .map((f, i) => ({ f, base: locals[i]!.length }))
      .filter(({ f }) => f.hints.length > 0);
    s.u32(hinted.length);
    for (const { f, base } of hinted) {
      s.u32(indexOf(f));
      s.u32(f.hints.length);
      for (const h of f.hints) {
        s.u32(base + h.offset);
        s.byte(1);
        s.byte(h.likely ? 1 : 0);
      }
    }
  }
}

/** LEB128 stretched to five bytes, so that it can be filled in later. */
function putPadded(bytes: Uint8Array, at: number, value: number): void {
  for (let i = 0; i < 4; i++) bytes[at + i] = ((value >>> (7 * i)) & 0x7f) | 0x80;
  bytes[at + 4] = value >>> 28;
}

/** Runs of equal types, as the format wants them. */
function encodeLocals(f: FunctionBuilder): Uint8Array {
  const s = new ByteSink(16);
  const runs: { type: ValType; count: number }[] = [];
  for (const type of f.locals) {
    const last = runs.at(-1);
    if (last?.type === type) last.count++;
    else runs.push({ type, count: 1 });
  }
  s.u32(runs.length);
  for (const run of runs) {
    s.u32(run.count);
    s.byte(VAL_TYPE[run.type]);
  }
  return s.view();
}
