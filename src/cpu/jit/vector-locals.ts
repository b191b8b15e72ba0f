import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type Float, f32, f64, type I64, i32, i64, type V128 } from '../../wasm/expr.ts';
import { f32x4, f64x2, i8x16, i16x8, i32x4, i64x2, v128, withLow } from '../../wasm/simd.ts';
import type { DecodedInstruction } from '../decode/types.ts';
import type { Bytes } from '../semantics/context.ts';
import { STATE } from '../state.ts';
import type { Layout } from './layout.ts';

/** A half of a vector register: twice its number, and 1 for bits 255:128. */
const halfOf = (register: number, part: 0 | 1): number => 2 * register + part;
const cellOf = (half: number): number => STATE.vec + 16 * half;

/** The low `width` bytes of a register at `cell` of the state. */
export const loadLow = (width: Bytes, cell: number): I64 =>
  width === 8
    ? i64.load(ZERO, cell)
    : width === 4
      ? i64.load32U(ZERO, cell)
      : width === 2
        ? i64.load16U(ZERO, cell)
        : i64.load8U(ZERO, cell);
export function storeLow(f: FunctionBuilder, width: Bytes, cell: number, value: I64): void {
  if (width === 8) f.store64(ZERO, value, cell);
  else if (width === 4) f.store32(ZERO, i32.wrap(value), cell);
  else if (width === 2) f.store16(ZERO, i32.wrap(value), cell);
  else f.store8(ZERO, i32.wrap(value), cell);
}

/**
 * Vector registers of a region, by halves: some live in wasm locals, the others in the state. What a region does outside loops it
 * does once between its entry and its exit, where nothing would be won: only what its loops use is worth both.
 */
export class VectorLocals {
  readonly #f: FunctionBuilder;
  readonly #locals = new Map<number, number>();
  readonly #dirty = new Set<number>();

  /** `least`: how often loops must name a half for it to have a local; 0 gives one to every half that is named at all. */
  constructor(f: FunctionBuilder, { blocks, paths }: Layout, least: number) {
    this.#f = f;
    const uses = new Map<number, number>();
    blocks.forEach((block, position) => {
      if (least > 0 && paths[position]!.length === 1) return;
      for (const { d } of block.instructions) countUses(d, uses);
    });
    for (const [half, count] of uses) if (count >= least) this.#locals.set(half, f.lastingLocal('v128'));
  }

  read(register: number, part: 0 | 1): V128 {
    const half = halfOf(register, part);
    const local = this.#locals.get(half);
    return local === undefined ? v128.load(ZERO, cellOf(half)) : this.#f.get('v128', local);
  }
  write(register: number, part: 0 | 1, value: V128): void {
    const half = halfOf(register, part);
    const local = this.#locals.get(half);
    if (local === undefined) this.#f.storeV128(ZERO, value, cellOf(half));
    else {
      this.#dirty.add(half);
      this.#f.set(local, value);
    }
  }
  /** The low `width` bytes, zero-extended. */
  readLow(register: number, width: Bytes): I64 {
    const half = halfOf(register, 0);
    const local = this.#locals.get(half);
    if (local === undefined) return loadLow(width, cellOf(half));
    const value = this.#f.get('v128', local);
    if (width === 8) return i64x2.extract(value, 0);
    if (width === 4) return i64.extendU(i32x4.extract(value, 0));
    return i64.extendU(width === 2 ? i16x8.extractU(value, 0) : i8x16.extractU(value, 0));
  }
  /** Changes the low `width` bytes and nothing else. */
  writeLow(register: number, width: Bytes, value: I64): void {
    const half = halfOf(register, 0);
    const local = this.#locals.get(half);
    if (local === undefined) {
      storeLow(this.#f, width, cellOf(half), value);
      return;
    }
    const old = this.#f.get('v128', local);
    this.#dirty.add(half);
    this.#f.set(
      local,
      width === 8
        ? i64x2.replace(old, 0, value)
        : width === 4
          ? i32x4.replace(old, 0, i32.wrap(value))
          : width === 2
            ? i16x8.replace(old, 0, i32.wrap(value))
            : i8x16.replace(old, 0, i32.wrap(value)),
    );
  }

  readFloat(register: number, width: 4 | 8): Float {
    const half = halfOf(register, 0);
    const local = this.#locals.get(half);
    if (local === undefined) return width === 8 ? f64.load(ZERO, cellOf(half)) : f32.load(ZERO, cellOf(half));
    const value = this.#f.get('v128', local);
    return width === 8 ? f64x2.extract(value, 0) : f32x4.extract(value, 0);
  }
  writeFloat(register: number, width: 4 | 8, value: Float): void {
    const half = halfOf(register, 0);
    const local = this.#locals.get(half);
    if (local === undefined) {
      this.#f.storeFloat(width, ZERO, value, cellOf(half));
      return;
    }
    this.#dirty.add(half);
    this.#f.set(local, withLow(this.#f.get('v128', local), width, value));
  }

  /** At the region's entry. */
  load(): void {
    for (const [half, local] of this.#locals) this.#f.set(local, v128.load(ZERO, cellOf(half)));
  }
  /** On the way out. */
  store(): void {
    for (const half of this.#dirty) this.#f.storeV128(ZERO, this.#f.get('v128', this.#locals.get(half)!), cellOf(half));
  }
}

function countUses(d: DecodedInstruction, uses: Map<number, number>): void {
  const count = (half: number): void => void uses.set(half, (uses.get(half) ?? 0) + 1);
  d.operands.forEach((o, i) => {
    if (o.kind !== 'vec') return;
    count(halfOf(o.index, 0));
    // VEX encodings write the upper half at least
    if (d.vex && (d.vex.l === 1 || i === 0)) count(halfOf(o.index, 1));
  });
}
