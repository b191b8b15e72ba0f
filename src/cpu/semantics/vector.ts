/** What all vector files need: gates, operand shapes and the shift from one lane function to every form. No instruction is defined here. */
import { type I32, type I64, i32, i64, isConst, type V128 } from '../../wasm/expr.ts';
import { i8x16, i64x2, v128 } from '../../wasm/simd.ts';
import { STATE, VECTOR } from '../state.ts';
import type { Bytes, Semantics, SemanticsContext } from './context.ts';
import { byStackSegment } from './shared.ts';

const CR0_EM = 4;
/** Exponent field of an x87 register after an MMX write (SDM vol. 1, 9.6.2). */
const MMX_EXPONENT = 0xffff;
/** x87 status: an unmasked exception is pending. */
const FSW_ES = 0x80;

export const isVex = (cx: SemanticsContext): boolean => cx.facts.vexL !== undefined;
export const usesMmx = (cx: SemanticsContext): boolean => cx.facts.operands.some((o) => o.kind === 'mmx');
export const isMem = (cx: SemanticsContext, i: number): boolean => cx.kind(i) === 'mem';

/** Raises what `cell` holds (0 = nothing, else vector + 1): one load on the way that is taken. */
function gate(cx: SemanticsContext, cell: number): void {
  cx.checkOnce(cell, () =>
    cx.f.if(
      cx.state32(cell),
      () => {
        cx.raiseIf(i32.eq(cx.state32(cell), i32.const(VECTOR.ud + 1)), VECTOR.ud);
        cx.raise(VECTOR.nm);
      },
      undefined,
      cx.unlikely,
    ),
  );
}
/** #MF when an unmasked x87 exception waits: before every waiting x87 and every MMX instruction. */
export function pendingX87(cx: SemanticsContext): void {
  cx.raiseIf(i32.and(cx.state32(STATE.fpuStatus), i32.const(FSW_ES)), VECTOR.mf);
}
/** CR0.EM and CR0.TS both give #NM to x87 instructions. */
export function x87Gate(cx: SemanticsContext): void {
  cx.checkOnce(STATE.fpuFault, () => cx.raiseIf(cx.state32(STATE.fpuFault), VECTOR.nm));
}
function mmxGate(cx: SemanticsContext): void {
  cx.checkOnce(STATE.fpuFault, () =>
    cx.f.if(
      cx.state32(STATE.fpuFault),
      () => {
        cx.raiseIf(i32.and(cx.state32(STATE.cr0), i32.const(CR0_EM)), VECTOR.ud);
        cx.raise(VECTOR.nm);
      },
      undefined,
      cx.unlikely,
    ),
  );
  pendingX87(cx);
}
/** An MMX instruction makes every x87 register valid and the stack top 0 (SDM vol. 1, 9.6.2). */
function enterMmx(cx: SemanticsContext): void {
  cx.setState32(STATE.fpuTop, i32.const(0));
  cx.setState32(STATE.fpuTag, i32.const(0xff));
}
/** `body` behind the checks of its instruction set: AVX by the VEX prefix, MMX by its operands, else SSE. */
export function vector(body: Semantics): Semantics {
  return (cx) => {
    if (isVex(cx)) gate(cx, STATE.avxFault);
    else if (usesMmx(cx)) {
      mmxGate(cx);
      body(cx);
      enterMmx(cx);
      return;
    } else gate(cx, STATE.sseFault);
    body(cx);
  };
}

/** The 16-byte halves an instruction works on. */
export const parts = (cx: SemanticsContext): readonly (0 | 1)[] => (cx.facts.vexL === 1 ? [0, 1] : [0]);
/** Operand number of the first source: the destination itself in legacy encodings. */
export const firstSource = (cx: SemanticsContext): 0 | 1 => (isVex(cx) ? 1 : 0);

/** Writes a vector register (MMX or XMM/YMM parts); VEX.128 zeroes the rest. All values must be in locals. */
export function writeParts(cx: SemanticsContext, values: readonly V128[], i = 0): void {
  if (cx.kind(i) === 'mmx') {
    cx.writeV(i, i64x2.replace(values[0]!, 1, i64.const(MMX_EXPONENT)));
    return;
  }
  values.forEach((value, p) => {
    cx.writeV(i, value, p as 0 | 1);
  });
  if (isVex(cx) && values.length === 1) cx.zeroUpper(i);
}
/** Operand i in the low bytes of a vector, whatever its width: what lies above is garbage. */
export function lowVector(cx: SemanticsContext, i: number): V128 {
  const width = cx.width(i);
  if (isMem(cx, i) && width < 16) return i64x2.splat(cx.readLow(i, width as Bytes));
  return cx.readV(i);
}
/** Half `part` of source operand i, in a local. Legacy 16-byte memory operands must be aligned. */
export function source(cx: SemanticsContext, i: number, part: 0 | 1 = 0): V128 {
  if (isMem(cx, i) && cx.width(i) < 16) return cx.f.let(lowVector(cx, i));
  return cx.f.let(cx.readV(i, part, !isVex(cx)));
}
/** Low 64 bits of a and b side by side: what a 128-bit operation sees of two MMX registers. */
const joined = (a: V128, b: V128): V128 => v128.shuffle(a, b, [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]);
export const highHalf = (a: V128): V128 =>
  v128.shuffle(a, a, [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15]);

export type Binary = (a: V128, b: V128, cx: SemanticsContext) => V128;
export type Unary = (a: V128, cx: SemanticsContext) => V128;

/** destination = lanes(first source, second source), in all widths. `mmx` where 64-bit registers need another view. */
export function binary(lanes: Binary, mmx: Binary = lanes): Semantics {
  return vector((cx) => {
    const first = firstSource(cx);
    const operation = usesMmx(cx) ? mmx : lanes;
    const results = parts(cx).map((p) => {
      const a = source(cx, first, p);
      return cx.f.let(operation(a, source(cx, first + 1, p), cx));
    });
    writeParts(cx, results);
  });
}
/** A binary operation that takes its result's low half from `a` and its high half from `b` (packs, horizontal sums). */
export const gathering = (lanes: Binary): Semantics =>
  binary(lanes, (a, b, cx) => {
    const both = cx.f.let(joined(a, b));
    return lanes(both, both, cx);
  });
/** destination = lanes(source). */
export function unary(lanes: Unary): Semantics {
  return vector((cx) => {
    const results = parts(cx).map((p) => cx.f.let(lanes(source(cx, 1, p), cx)));
    writeParts(cx, results);
  });
}

/** The 8-bit immediate, zero-extended. */
export const immediate = (cx: SemanticsContext, i: number): I32 => i32.and(i32.wrap(cx.read(i)), i32.const(0xff));

export const bytes = (values: ArrayLike<number>): V128 => v128.const(Uint8Array.from(values));
const sixteen = (value: (i: number) => number): Uint8Array => Uint8Array.from({ length: 16 }, (_, i) => value(i));
/** A constant of four 32-bit lanes. */
export const words32 = (...lanes: number[]): V128 =>
  v128.const(new Uint8Array(Int32Array.from({ length: 4 }, (_, i) => lanes[i % lanes.length]!).buffer));
/** A constant of eight 16-bit lanes. */
export const words16 = (...lanes: number[]): V128 =>
  v128.const(new Uint8Array(Int16Array.from({ length: 8 }, (_, i) => lanes[i % lanes.length]!).buffer));
export const words64 = (...lanes: bigint[]): V128 =>
  v128.const(
    new Uint8Array(BigInt64Array.from({ length: 2 }, (_, i) => BigInt.asIntN(64, lanes[i % lanes.length]!)).buffer),
  );

/**
 * A shuffle of the bytes of a (0..15) and b (16..31) that an immediate selects. `lanes` must be linear in the immediate's
 * bits: each bit adds its own amounts to the indices. A constant immediate gives a plain shuffle; otherwise the index
 * vector is summed up from the bits.
 */
export function shuffleBy(a: V128, b: V128 | undefined, control: I32, lanes: (immediate: number) => number[]): V128 {
  if (isConst(control)) return v128.shuffle(a, b ?? a, lanes(control.lo & 0xff));
  const base = lanes(0);
  const weights = Array.from({ length: 8 }, (_, k) => lanes(1 << k).map((lane, i) => lane - base[i]!));
  const terms = base.map((_, i) => weights.flatMap((w, k) => (w[i] === 0 ? [] : [{ bit: 1 << k, weight: w[i]! }])));
  const rounds = Math.max(...terms.map((t) => t.length));
  const splat = i8x16.splat(control);
  let index = bytes(base);
  for (let r = 0; r < rounds; r++) {
    const bits = v128.const(sixteen((i) => terms[i]![r]?.bit ?? 0));
    const amounts = v128.const(sixteen((i) => terms[i]![r]?.weight ?? 0));
    index = i8x16.add(index, v128.and(i8x16.eq(v128.and(splat, bits), bits), amounts));
  }
  if (b === undefined) return i8x16.swizzle(a, index);
  const high = i8x16.sub(index, i8x16.splat(i32.const(16)));
  return v128.or(i8x16.swizzle(a, index), i8x16.swizzle(b, high));
}
/** destination = lanes chosen by the immediate from the two sources (or of the single one). */
export function shuffled(lanes: (immediate: number, part: 0 | 1) => number[], sources: 1 | 2): Semantics {
  return vector((cx) => {
    const first = sources === 1 ? 1 : firstSource(cx);
    const control = cx.f.let(immediate(cx, first + sources));
    const results = parts(cx).map((p) => {
      const a = source(cx, first, p);
      const b = sources === 1 ? undefined : source(cx, first + 1, p);
      return cx.f.let(shuffleBy(a, b, control, (value) => lanes(value, p)));
    });
    writeParts(cx, results);
  });
}
/** Byte numbers of element `index` of `size` bytes. */
export const element = (index: number, size: number): number[] =>
  Array.from({ length: size }, (_, i) => index * size + i);

/** Faults now unless all of memory operand i can be written. */
export function probeOperand(cx: SemanticsContext, i: number, width = cx.width(i)): void {
  // asked for before the branches: the context keeps it in a local
  const at = cx.linearAddress(i, 'write');
  byStackSegment(cx, i, (stack) => cx.probeWrite(width, at, stack));
}
/** Stores both halves of a YMM, or one XMM, to memory or a register. */
export function storeParts(cx: SemanticsContext, i: number, values: readonly V128[], aligned: boolean): void {
  if (cx.kind(i) !== 'mem') {
    writeParts(cx, values, i);
    return;
  }
  if (values.length === 2 && !aligned) probeOperand(cx, i);
  values.forEach((value, p) => {
    cx.writeV(i, value, p as 0 | 1, aligned);
  });
}
/** A vector of an i64 and zeros above. */
export const scalar64 = (value: I64): V128 => i64x2.replace(v128.zero(), 0, value);
