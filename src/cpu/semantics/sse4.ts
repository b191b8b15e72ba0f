/** Blends, tests, widening moves and the other integer operations that came with SSE4.1 (SDM vol. 2). */
import { type I32, i32, type V128 } from '../../wasm/expr.ts';
import { i8x16, i16x8, i32x4, i64x2, v128 } from '../../wasm/simd.ts';
import type { Semantics } from './context.ts';
import {
  bytes,
  element,
  firstSource,
  highHalf,
  immediate,
  isMem,
  isVex,
  lowVector,
  parts,
  shuffled,
  source,
  unary,
  vector,
  words32,
  writeParts,
} from './vector.ts';

// ---- blends: by an immediate, or by sign bits of a third register (XMM0 in legacy encodings)
const blend = (size: number): Semantics =>
  shuffled((control, part) => {
    const count = 16 / size;
    // words repeat their eight bits in both halves of a YMM
    const bits = count === 8 ? control : control >> (part * count);
    return Array.from({ length: count }, (_, i) => element(i + count * ((bits >> i) & 1), size)).flat();
  }, 2);
export const pblendw: Semantics = blend(2);
export const pblendd: Semantics = blend(4);
export const blendps: Semantics = blend(4);
export const blendpd: Semantics = blend(8);
const blendBySign = (spread: (mask: V128) => V128): Semantics =>
  vector((cx) => {
    const first = firstSource(cx);
    const results = parts(cx).map((p) => {
      const a = source(cx, first, p);
      const b = source(cx, first + 1, p);
      return cx.f.let(v128.bitselect(b, a, spread(isVex(cx) ? cx.readV(3, p) : cx.xmm(0))));
    });
    writeParts(cx, results);
  });
export const pblendvb: Semantics = blendBySign((mask) => i8x16.shrS(mask, i32.const(7)));
export const blendvps: Semantics = blendBySign((mask) => i32x4.shrS(mask, i32.const(31)));
export const blendvpd: Semantics = blendBySign((mask) => i64x2.shrS(mask, i32.const(63)));

// ---- tests: ZF when no bit of the first is set under the mask, CF when none is clear
const testing = (relevant: (a: V128) => V128): Semantics =>
  vector((cx) => {
    const { f } = cx;
    const pairs = parts(cx).map((p) => ({ a: f.let(cx.readV(0, p)), b: source(cx, 1, p) }));
    const any = (of: (pair: { a: V128; b: V128 }) => V128): I32 =>
      v128.anyTrue(relevant(pairs.map(of).reduce((x, y) => v128.or(x, y))));
    const zf = i32.eqz(any(({ a, b }) => v128.and(a, b)));
    const cf = i32.eqz(any(({ a, b }) => v128.andnot(b, a)));
    cx.flagsFromWord(i32.or(i32.shl(zf, i32.const(6)), cf));
  });
export const ptest: Semantics = testing((a) => a);
export const testps: Semantics = testing((a) => v128.and(a, words32(1 << 31)));
export const testpd: Semantics = testing((a) => v128.and(a, words32(0, 1 << 31)));

// ---- widening moves
type Extend = (a: V128) => V128;
const SIGNED: readonly Extend[] = [i16x8.extendLowI8S, i32x4.extendLowI16S, i64x2.extendLowI32S];
const UNSIGNED: readonly Extend[] = [i16x8.extendLowI8U, i32x4.extendLowI16U, i64x2.extendLowI32U];
/** `steps` doublings in turn. The upper half of a YMM comes from the next source elements. */
const widening = (steps: readonly Extend[]): Semantics =>
  vector((cx) => {
    const from = cx.f.let(lowVector(cx, 1));
    const results = parts(cx).map((p) => {
      // the upper half's elements start at byte 16 / 2^steps of the source
      const start = p * (16 >> steps.length);
      const lanes = Array.from({ length: 16 }, (_, i) => (start + i) & 15);
      const moved = p === 0 ? from : v128.shuffle(from, from, lanes);
      return steps.reduce((v, extend) => cx.f.let(extend(v)), moved);
    });
    writeParts(cx, results);
  });
export const pmovsxbw: Semantics = widening(SIGNED.slice(0, 1));
export const pmovsxbd: Semantics = widening(SIGNED.slice(0, 2));
export const pmovsxbq: Semantics = widening(SIGNED);
export const pmovsxwd: Semantics = widening(SIGNED.slice(1, 2));
export const pmovsxwq: Semantics = widening(SIGNED.slice(1));
export const pmovsxdq: Semantics = widening(SIGNED.slice(2));
export const pmovzxbw: Semantics = widening(UNSIGNED.slice(0, 1));
export const pmovzxbd: Semantics = widening(UNSIGNED.slice(0, 2));
export const pmovzxbq: Semantics = widening(UNSIGNED);
export const pmovzxwd: Semantics = widening(UNSIGNED.slice(1, 2));
export const pmovzxwq: Semantics = widening(UNSIGNED.slice(1));
export const pmovzxdq: Semantics = widening(UNSIGNED.slice(2));

/** Smallest unsigned word and its number: words above their numbers compare as one doubleword each. */
export const phminposuw: Semantics = unary((a, cx) => {
  const { f } = cx;
  const numbered = (v: V128, ...numbers: number[]): V128 => v128.or(i32x4.shl(v, i32.const(16)), words32(...numbers));
  const low = numbered(i32x4.extendLowI16U(a), 0, 1, 2, 3);
  const four = f.let(i32x4.minU(low, numbered(i32x4.extendHighI16U(a), 4, 5, 6, 7)));
  const two = f.let(i32x4.minU(four, highHalf(four)));
  const least = f.let(
    i32.select(i32.ltU(i32x4.extract(two, 0), i32x4.extract(two, 1)), i32x4.extract(two, 0), i32x4.extract(two, 1)),
  );
  const packed = i32.or(i32.shrU(least, i32.const(16)), i32.shl(i32.and(least, i32.const(7)), i32.const(16)));
  return i32x4.replace(v128.zero(), 0, packed);
});

const INDICES = Array.from({ length: 16 }, (_, i) => i);
/** Sums of absolute differences of four bytes of b with every four consecutive bytes of a. */
export const mpsadbw: Semantics = vector((cx) => {
  const { f } = cx;
  const first = firstSource(cx);
  const control = f.let(immediate(cx, first + 2));
  const results = parts(cx).map((p) => {
    const bits = i32.shrU(control, i32.const(3 * p));
    const offset = i32.and(bits, i32.const(4));
    const block = i32.shl(i32.and(bits, i32.const(3)), i32.const(2));
    const a = f.let(i8x16.swizzle(source(cx, first, p), i8x16.add(bytes(INDICES), i8x16.splat(offset))));
    const b = f.let(
      i8x16.swizzle(source(cx, first + 1, p), i8x16.add(bytes(INDICES.map((i) => i & 3)), i8x16.splat(block))),
    );
    let sum: V128 | undefined;
    for (let j = 0; j < 4; j++) {
      const x = f.let(
        i16x8.extendLowI8U(
          v128.shuffle(
            a,
            a,
            INDICES.map((i) => Math.min(i + j, 15)),
          ),
        ),
      );
      const y = f.let(
        i16x8.extendLowI8U(
          v128.shuffle(
            b,
            b,
            INDICES.map(() => j),
          ),
        ),
      );
      const difference = i16x8.sub(i16x8.maxU(x, y), i16x8.minU(x, y));
      sum = f.let(sum === undefined ? difference : i16x8.add(sum, difference));
    }
    return sum!;
  });
  writeParts(cx, results);
});

/** INSERTPS: one element of b (or memory) to a place of a, then zeros by the low four bits. */
export const insertps: Semantics = vector((cx) => {
  const { f } = cx;
  const first = firstSource(cx);
  const control = f.let(immediate(cx, first + 2));
  const from = i32.shl(i32.and(i32.shrU(control, i32.const(6)), i32.const(3)), i32.const(2));
  const value = isMem(cx, first + 1)
    ? i32x4.splat(i32.wrap(cx.readLow(first + 1, 4)))
    : i8x16.swizzle(cx.readV(first + 1), i8x16.add(bytes(INDICES.map((i) => i & 3)), i8x16.splat(from)));
  const chosen = f.let(value);
  const place = i32x4.splat(i32.and(i32.shrU(control, i32.const(4)), i32.const(3)));
  const merged = v128.bitselect(chosen, cx.readV(first), i32x4.eq(words32(0, 1, 2, 3), place));
  const zeroed = v128.and(i32x4.splat(control), words32(1, 2, 4, 8));
  const kept = i32x4.eq(zeroed, v128.zero());
  writeParts(cx, [f.let(v128.and(merged, kept))]);
});
