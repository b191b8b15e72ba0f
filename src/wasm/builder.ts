import {
  type Callable,
  Expr,
  type Float,
  type I32,
  type I64,
  i32,
  isConst,
  OP,
  type V128,
  type ValType,
} from './expr.ts';

export const VAL_TYPE: Readonly<Record<ValType, number>> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b };
const BLOCK_VOID = 0x40;
/** A target for branches: a block's end or a loop's head. */
export interface Label {
  readonly depth: number;
}
/** 'unlikely' and 'likely' go into the branch-hint section (honoured by V8 14). */
export type Hint = 'likely' | 'unlikely';

/** An address of the source, or a word for what has none. */
export type Note = number | string;

const PADDED_INDEX = new Uint8Array(5);
const float = new DataView(new ArrayBuffer(8));

/** A growable byte buffer with LEB128 writers. */
export class ByteSink {
  bytes: Uint8Array<ArrayBuffer>;
  length = 0;
  constructor(capacity = 256) {
    this.bytes = new Uint8Array(capacity);
  }
  reserve(extra: number): void {
    if (this.length + extra <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + extra));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }
  byte(value: number): void {
    if (this.length === this.bytes.length) this.reserve(1);
    this.bytes[this.length++] = value;
  }
  u32(value: number): void {
    this.reserve(5);
    let v = value >>> 0;
    while (v >= 0x80) {
      this.bytes[this.length++] = (v & 0x7f) | 0x80;
      v >>>= 7;
    }
    this.bytes[this.length++] = v;
  }
  s32(value: number): void {
    this.reserve(5);
    let v = value | 0;
    for (;;) {
      const low = v & 0x7f;
      v >>= 7;
      if ((v === 0 && (low & 0x40) === 0) || (v === -1 && (low & 0x40) !== 0)) {
        this.bytes[this.length++] = low;
        return;
      }
      this.bytes[this.length++] = low | 0x80;
    }
  }
  /** Signed LEB128 of a 64-bit value given as two int32 halves. */
  s64(lo: number, hi: number): void {
    if (hi === lo >> 31) {
      this.s32(lo);
      return;
    }
    this.reserve(10);
    let l = lo;
    let h = hi;
    for (;;) {
      const low = l & 0x7f;
      l = (l >>> 7) | (h << 25);
      h >>= 7;
      if ((h === 0 && l === 0 && (low & 0x40) === 0) || (h === -1 && l === -1 && (low & 0x40) !== 0)) {
        this.bytes[this.length++] = low;
        return;
      }
      this.bytes[this.length++] = low | 0x80;
    }
  }
  append(other: Uint8Array): void {
    this.reserve(other.length);
    this.bytes.set(other, this.length);
    this.length += other.length;
  }
  view(): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(0, this.length);
  }
}

/**
 * One wasm function under construction. Statements are emitted at once, in call order; expressions are trees that a
 * statement consumes. Locals are pooled: those made inside `scope` are free again after it.
 */
export class FunctionBuilder implements Callable {
  readonly name: string;
  readonly importIndex = undefined;
  readonly typeIndex: number;
  readonly params: readonly ValType[];
  readonly results: readonly ValType[];
  readonly code = new ByteSink(1024);
  readonly locals: ValType[] = [];
  /** Where a call to a function of the same module stands in `code` (five bytes kept for its index). */
  readonly calls: { readonly offset: number; readonly callee: Callable }[] = [];
  /** Code offset of each hinted branch and whether it is likely taken, in code order. */
  readonly hints: { readonly offset: number; readonly likely: boolean }[] = [];
  /** What code from an offset on stands for, in code order: for tools that print it. */
  readonly marks: { readonly offset: number; readonly note: Note }[] = [];
  #depth = 0;
  /** The last local.set: where it stands, its local, and where code went on after it. */
  readonly #lastSet = { at: 0, index: 0, end: -1 };
  readonly #free: Record<ValType, number[]> = { i32: [], i64: [], f32: [], f64: [], v128: [] };
  #scope: { type: ValType; index: number }[] | undefined;

  constructor(name: string, typeIndex: number, params: readonly ValType[], results: readonly ValType[]) {
    this.name = name;
    this.typeIndex = typeIndex;
    this.params = params;
    this.results = results;
  }

  param<T extends ValType>(type: T, index: number): Expr<T> {
    if (this.params[index] !== type) throw new TypeError(`${this.name}: parameter ${index} is not ${type}`);
    return this.get(type, index);
  }
  newLocal(type: ValType): number {
    let index = this.#free[type].pop();
    if (index === undefined) {
      this.locals.push(type);
      index = this.params.length + this.locals.length - 1;
    }
    this.#scope?.push({ type, index });
    return index;
  }
  /** A local that no other use ever shares. */
  lastingLocal(type: ValType): number {
    this.locals.push(type);
    return this.params.length + this.locals.length - 1;
  }
  /** Runs `body`; locals it made are reused afterwards. */
  scope<R>(body: () => R): R {
    const outer = this.#scope;
    const mine: { type: ValType; index: number }[] = [];
    this.#scope = mine;
    const result = body();
    this.#scope = outer;
    for (const local of mine) this.#free[local.type].push(local.index);
    return result;
  }
  get<T extends ValType>(type: T, index: number): Expr<T> {
    return new Expr(type, OP.localGet, undefined, undefined, undefined, index);
  }
  /** Evaluates `value` now, into a fresh local. */
  let<T extends ValType>(value: Expr<T>): Expr<T> {
    if (isConst(value)) return value;
    const index = this.newLocal(value.type);
    this.set(index, value);
    return this.get(value.type, index);
  }
  set(index: number, value: Expr): void {
    this.emit(value);
    this.#lastSet.at = this.code.length;
    this.code.byte(0x21);
    this.code.u32(index);
    this.#lastSet.index = index;
    this.#lastSet.end = this.code.length;
  }
  /** Notes what the code from here on stands for. */
  mark(note: Note): void {
    this.marks.push({ offset: this.code.length, note });
  }
  /** How many blocks, loops and ifs are open. */
  get depth(): number {
    return this.#depth;
  }
  /** Sets several locals at once: every value is evaluated before the first local changes. */
  setAll(parts: readonly (readonly [index: number, value: Expr])[]): void {
    for (const [, value] of parts) this.emit(value);
    for (let i = parts.length - 1; i >= 0; i--) {
      this.code.byte(0x21);
      this.code.u32(parts[i]![0]);
    }
  }
  /** The value of `value`, also kept in local `index`. */
  tee<T extends ValType>(index: number, value: Expr<T>): Expr<T> {
    return new Expr(value.type, 0x22, value, undefined, undefined, index);
  }

  if(condition: I32, then: () => void, otherwise?: () => void, hint?: Hint): void {
    this.emit(condition);
    this.#hint(hint);
    this.#open(0x04);
    then();
    if (otherwise) {
      this.code.byte(0x05);
      otherwise();
    }
    this.#close();
  }
  /** Like `?:` with statements: only the chosen side runs. */
  choose<T extends ValType>(
    type: T,
    condition: I32,
    then: () => Expr<T>,
    otherwise: () => Expr<T>,
    hint?: Hint,
  ): Expr<T> {
    const result = this.newLocal(type);
    this.if(
      condition,
      () => this.set(result, then()),
      () => this.set(result, otherwise()),
      hint,
    );
    return this.get(type, result);
  }
  block(body: (end: Label) => void): void {
    this.#open(0x02);
    body({ depth: this.#depth });
    this.#close();
  }
  loop(body: (head: Label) => void): void {
    this.#open(0x03);
    body({ depth: this.#depth });
    this.#close();
  }
  br(label: Label): void {
    this.code.byte(0x0c);
    this.code.u32(this.#depth - label.depth);
  }
  brIf(label: Label, condition: I32, hint?: Hint): void {
    this.emit(condition);
    this.#hint(hint);
    this.code.byte(0x0d);
    this.code.u32(this.#depth - label.depth);
  }
  brTable(labels: readonly Label[], otherwise: Label, index: I32): void {
    this.emit(index);
    this.code.byte(0x0e);
    this.code.u32(labels.length);
    for (const l of labels) this.code.u32(this.#depth - l.depth);
    this.code.u32(this.#depth - otherwise.depth);
  }
  /** switch (index) { case 0: ... default: ... } where every case ends by itself. */
  switch(index: I32, cases: readonly (() => void)[], otherwise: () => void): void {
    const labels: Label[] = [];
    const open = (n: number): void => {
      if (n === 0) {
        this.block((fallback) => this.brTable(labels.toReversed(), fallback, index));
        otherwise();
        return;
      }
      this.block((label) => {
        labels.push(label);
        open(n - 1);
      });
      cases[n - 1]!();
    };
    open(cases.length);
  }
  return(value?: Expr): void {
    if (value) this.emit(value);
    this.code.byte(0x0f);
  }
  /** Tells the validator that control never comes here. */
  unreachable(): void {
    this.code.byte(0x00);
  }
  /** Leaves `value` as the function's result at its end. */
  result(value: Expr): void {
    this.emit(value);
  }
  drop(value: Expr): void {
    this.emit(value);
    this.code.byte(0x1a);
  }

  store(op: number, address: I32, value: Expr, offset = 0, memory = 0): void {
    this.emit(address);
    this.emit(value);
    if (op > 0xff) {
      this.code.byte(op >>> 16);
      this.code.u32(op & 0xffff);
    } else this.code.byte(op);
    this.#memarg(offset, memory);
  }
  store8(address: I32, value: I32, offset = 0, memory = 0): void {
    this.store(0x3a, address, value, offset, memory);
  }
  store16(address: I32, value: I32, offset = 0, memory = 0): void {
    this.store(0x3b, address, value, offset, memory);
  }
  store32(address: I32, value: I32, offset = 0, memory = 0): void {
    this.store(0x36, address, value, offset, memory);
  }
  store64(address: I32, value: I64, offset = 0, memory = 0): void {
    this.store(0x37, address, value, offset, memory);
  }
  storeV128(address: I32, value: V128, offset = 0, memory = 0): void {
    this.store(0xfd000b, address, value, offset, memory);
  }
  /** An f32 (4 bytes) or f64 (8). */
  storeFloat(width: 4 | 8, address: I32, value: Float, offset = 0, memory = 0): void {
    this.store(width === 8 ? 0x39 : 0x38, address, value, offset, memory);
  }
  memoryCopy(to: I32, from: I32, length: I32, toMemory = 0, fromMemory = 0): void {
    this.emit(to);
    this.emit(from);
    this.emit(length);
    for (const b of [0xfc, 10, toMemory, fromMemory]) this.code.byte(b);
  }
  memoryFill(to: I32, value: I32, length: I32, memory = 0): void {
    this.emit(to);
    this.emit(value);
    this.emit(length);
    for (const b of [0xfc, 11, memory]) this.code.byte(b);
  }

  /** A call as an expression (one result); use `callVoid` for none. */
  call<T extends ValType>(type: T, callee: Callable, args: readonly Expr[]): Expr<T> {
    return new Expr(type, OP.call, undefined, undefined, undefined, 0, 0, args, undefined, callee);
  }
  callVoid(callee: Callable, args: readonly Expr[]): void {
    this.emit(new Expr('i32', OP.call, undefined, undefined, undefined, 0, 0, args, undefined, callee));
  }
  /** An indirect call through table 0 with one result. */
  callIndirect<T extends ValType>(type: T, typeIndex: number, index: I32, args: readonly Expr[]): Expr<T> {
    return new Expr(type, OP.callIndirect, index, undefined, undefined, typeIndex, 0, args);
  }

  emit(e: Expr): void {
    const { code } = this;
    const { op } = e;
    switch (op) {
      case OP.localGet:
        // what was stored a moment ago need not be fetched again
        if (this.#lastSet.end === code.length && this.#lastSet.index === e.lo) {
          code.bytes[this.#lastSet.at] = 0x22;
          this.#lastSet.end = -1;
          return;
        }
        code.byte(op);
        code.u32(e.lo);
        return;
      case 0x22:
        this.emit(e.a!);
        code.byte(op);
        code.u32(e.lo);
        return;
      case OP.i32Const:
        code.byte(op);
        code.s32(e.lo);
        return;
      case OP.i64Const:
        code.byte(op);
        code.s64(e.lo, e.hi);
        return;
      case OP.f32Const:
      case OP.f64Const: {
        code.byte(op);
        const size = op === OP.f32Const ? 4 : 8;
        if (size === 4) float.setFloat32(0, e.lo, true);
        else float.setFloat64(0, e.lo, true);
        code.append(new Uint8Array(float.buffer, 0, size));
        return;
      }
      case OP.call:
        for (const a of e.args!) this.emit(a);
        code.byte(op);
        if (e.callee!.importIndex !== undefined) code.u32(e.callee!.importIndex);
        else {
          this.calls.push({ offset: code.length, callee: e.callee! });
          code.append(PADDED_INDEX);
        }
        return;
      case OP.callIndirect:
        for (const a of e.args!) this.emit(a);
        this.emit(e.a!);
        code.byte(op);
        code.u32(e.lo);
        code.byte(0);
        return;
      default:
    }
    if (e.a) this.emit(e.a);
    if (e.b) this.emit(e.b);
    if (e.c) this.emit(e.c);
    if (op > 0xff) {
      code.byte(op >>> 16);
      code.u32(op & 0xffff);
      const sub = op & 0xffff;
      if (op >>> 16 === 0xfd) {
        if (sub === 0) this.#memarg(e.lo, e.hi);
        else if (e.bytes) code.append(e.bytes);
        else if (sub >= 21 && sub <= 34) code.byte(e.hi);
      }
      return;
    }
    code.byte(op);
    if (op >= 0x28 && op <= 0x35) this.#memarg(e.lo, e.hi);
  }

  /** Emits statements in front of everything emitted so far (a prologue that depends on what the body used). */
  prepend(body: () => void): void {
    const rest = this.code.view().slice();
    const later = { calls: this.calls.splice(0), hints: this.hints.splice(0), marks: this.marks.splice(0) };
    this.code.length = 0;
    body();
    this.#lastSet.end = -1;
    const shift = this.code.length;
    this.code.append(rest);
    for (const c of later.calls) this.calls.push({ ...c, offset: c.offset + shift });
    for (const h of later.hints) this.hints.push({ ...h, offset: h.offset + shift });
    for (const m of later.marks) this.marks.push({ ...m, offset: m.offset + shift });
  }

  #memarg(offset: number, memory: number): void {
    // alignment 0: guest addresses may be unaligned, and V8 ignores the hint on x86 and arm64
    this.code.byte(memory === 0 ? 0 : 0x40);
    if (memory !== 0) this.code.u32(memory);
    this.code.u32(offset);
  }
  #hint(hint: Hint | undefined): void {
    if (hint !== undefined) this.hints.push({ offset: this.code.length, likely: hint === 'likely' });
  }
  #open(op: number): void {
    this.code.byte(op);
    this.code.byte(BLOCK_VOID);
    this.#depth++;
  }
  #close(): void {
    this.#depth--;
    this.code.byte(0x0b);
  }
}

/** i32 0 as an address: state lives at constant addresses, given as static offsets. */
export const ZERO = i32.const(0);
