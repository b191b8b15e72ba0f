/** Packed integer and logic operations in their MMX, SSE and AVX encodings: one lane function each (SDM vol. 2). */
import { type I32, type I64, i32, i64, isConst, type V128 } from '../../wasm/expr.ts';
import { i8x16, i16x8, i32x4, i64x2, v128 } from '../../wasm/simd.ts';
import type { Bytes, Semantics, SemanticsContext } from './context.ts';
import { zeroExtend } from './shared.ts';
import {
  type Binary,
  binary,
  bytes,
  element,
  firstSource,
  gathering,
  highHalf,
  immediate,
  isMem,
  isVex,
  parts,
  shuffled,
  source,
  unary,
  usesMmx,
  vector,
  words16,
  words32,
  words64,
  writeParts,
} from './vector.ts';

// ---- arithmetic by lane
export const paddb: Semantics = binary(i8x16.add);
export const paddw: Semantics = binary(i16x8.add);
export const paddd: Semantics = binary(i32x4.add);
export const paddq: Semantics = binary(i64x2.add);
export const paddsb: Semantics = binary(i8x16.addSatS);
export const paddsw: Semantics = binary(i16x8.addSatS);
export const paddusb: Semantics = binary(i8x16.addSatU);
export const paddusw: Semantics = binary(i16x8.addSatU);
export const psubb: Semantics = binary(i8x16.sub);
export const psubw: Semantics = binary(i16x8.sub);
export const psubd: Semantics = binary(i32x4.sub);
export const psubq: Semantics = binary(i64x2.sub);
export const psubsb: Semantics = binary(i8x16.subSatS);
export const psubsw: Semantics = binary(i16x8.subSatS);
export const psubusb: Semantics = binary(i8x16.subSatU);
export const psubusw: Semantics = binary(i16x8.subSatU);
export const pavgb: Semantics = binary(i8x16.avgrU);
export const pavgw: Semantics = binary(i16x8.avgrU);
export const pminub: Semantics = binary(i8x16.minU);
export const pmaxub: Semantics = binary(i8x16.maxU);
export const pminsw: Semantics = binary(i16x8.minS);
export const pmaxsw: Semantics = binary(i16x8.maxS);
export const pminsb: Semantics = binary(i8x16.minS);
export const pmaxsb: Semantics = binary(i8x16.maxS);
export const pminuw: Semantics = binary(i16x8.minU);
export const pmaxuw: Semantics = binary(i16x8.maxU);
export const pminsd: Semantics = binary(i32x4.minS);
export const pmaxsd: Semantics = binary(i32x4.maxS);
export const pminud: Semantics = binary(i32x4.minU);
export const pmaxud: Semantics = binary(i32x4.maxU);
export const pcmpeqb: Semantics = binary(i8x16.eq);
export const pcmpeqw: Semantics = binary(i16x8.eq);
export const pcmpeqd: Semantics = binary(i32x4.eq);
export const pcmpeqq: Semantics = binary(i64x2.eq);
export const pcmpgtb: Semantics = binary(i8x16.gtS);
export const pcmpgtw: Semantics = binary(i16x8.gtS);
export const pcmpgtd: Semantics = binary(i32x4.gtS);
export const pcmpgtq: Semantics = binary(i64x2.gtS);
export const pabsb: Semantics = unary(i8x16.abs);
export const pabsw: Semantics = unary(i16x8.abs);
export const pabsd: Semantics = unary(i32x4.abs);

// ---- logic, in integer and floating-point spelling
const andNot: Binary = (a, b) => v128.andnot(b, a);
export const pand: Semantics = binary(v128.and);
export const pandn: Semantics = binary(andNot);
export const por: Semantics = binary(v128.or);
export const pxor: Semantics = binary(v128.xor);
export const andps: Semantics = pand;
export const andpd: Semantics = pand;
export const andnps: Semantics = pandn;
export const andnpd: Semantics = pandn;
export const orps: Semantics = por;
export const orpd: Semantics = por;
export const xorps: Semantics = pxor;
export const xorpd: Semantics = pxor;

// ---- multiplication
const ODD_WORDS = [2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31];
const EVEN_WORDS = [0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29];
const EVEN_DWORDS = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
const ODD_DWORDS = [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31];
const evenDwords = (a: V128): V128 => v128.shuffle(a, a, EVEN_DWORDS);
export const pmullw: Semantics = binary(i16x8.mul);
export const pmulld: Semantics = binary(i32x4.mul);
export const pmulhw: Semantics = binary((a, b) =>
  v128.shuffle(i32x4.extmulLowI16S(a, b), i32x4.extmulHighI16S(a, b), ODD_WORDS),
);
export const pmulhuw: Semantics = binary((a, b) =>
  v128.shuffle(i32x4.extmulLowI16U(a, b), i32x4.extmulHighI16U(a, b), ODD_WORDS),
);
export const pmaddwd: Semantics = binary(i32x4.dotI16S);
export const pmuludq: Semantics = binary((a, b) => i64x2.extmulLowI32U(evenDwords(a), evenDwords(b)));
export const pmuldq: Semantics = binary((a, b) => i64x2.extmulLowI32S(evenDwords(a), evenDwords(b)));
/** wasm saturates -32768 * -32768, x86 wraps. */
export const pmulhrsw: Semantics = binary((a, b) => {
  const least = words16(-32768);
  return v128.xor(i16x8.q15mulrSatS(a, b), v128.and(i16x8.eq(a, least), i16x8.eq(b, least)));
});
/** Unsigned bytes of a times signed bytes of b, neighbours added with saturation. */
export const pmaddubsw: Semantics = binary((a, b) => {
  const eight = i32.const(8);
  const even = i16x8.mul(v128.and(a, words16(0xff)), i16x8.shrS(i16x8.shl(b, eight), eight));
  const odd = i16x8.mul(i16x8.shrU(a, eight), i16x8.shrS(b, eight));
  return i16x8.addSatS(even, odd);
});
export const psadbw: Semantics = binary((a, b, cx) => {
  const differences = i8x16.sub(i8x16.maxU(a, b), i8x16.minU(a, b));
  const sums = cx.f.let(i32x4.extaddPairwiseI16U(i16x8.extaddPairwiseI8U(differences)));
  return i64x2.add(v128.and(sums, words64(0xffff_ffffn)), i64x2.shrU(sums, i32.const(32)));
});

// ---- signs and horizontal sums
const withSignOf = (lanes: { ltS: Binary; eq: Binary; sub: Binary }): Semantics =>
  binary((a, b, cx) => {
    const negative = cx.f.let(lanes.ltS(b, v128.zero(), cx));
    const signed = lanes.sub(v128.xor(a, negative), negative, cx);
    return v128.andnot(signed, lanes.eq(b, v128.zero(), cx));
  });
export const psignb: Semantics = withSignOf(i8x16);
export const psignw: Semantics = withSignOf(i16x8);
export const psignd: Semantics = withSignOf(i32x4);
const horizontal = (operation: Binary, even: number[], odd: number[]): Semantics =>
  gathering((a, b, cx) => operation(v128.shuffle(a, b, even), v128.shuffle(a, b, odd), cx));
export const phaddw: Semantics = horizontal(i16x8.add, EVEN_WORDS, ODD_WORDS);
export const phaddd: Semantics = horizontal(i32x4.add, EVEN_DWORDS, ODD_DWORDS);
export const phaddsw: Semantics = horizontal(i16x8.addSatS, EVEN_WORDS, ODD_WORDS);
export const phsubw: Semantics = horizontal(i16x8.sub, EVEN_WORDS, ODD_WORDS);
export const phsubd: Semantics = horizontal(i32x4.sub, EVEN_DWORDS, ODD_DWORDS);
export const phsubsw: Semantics = horizontal(i16x8.subSatS, EVEN_WORDS, ODD_WORDS);

// ---- packing and unpacking
export const packsswb: Semantics = gathering(i8x16.narrowI16S);
export const packuswb: Semantics = gathering(i8x16.narrowI16U);
export const packssdw: Semantics = gathering(i16x8.narrowI32S);
export const packusdw: Semantics = gathering(i16x8.narrowI32U);

function interleaved(size: number, start: number): number[] {
  const lanes: number[] = [];
  for (let i = start; lanes.length < 16; i++) lanes.push(...element(i, size), ...element(i, size).map((b) => b + 16));
  return lanes;
}
const unpackLow = (size: number): Semantics => binary((a, b) => v128.shuffle(a, b, interleaved(size, 0)));
/** The upper half of an MMX register is the upper quarter of what unpacking the low halves yields. */
const unpackHigh = (size: number): Semantics =>
  binary(
    (a, b) => v128.shuffle(a, b, interleaved(size, 8 / size)),
    (a, b, cx) => highHalf(cx.f.let(v128.shuffle(a, b, interleaved(size, 0)))),
  );
export const punpcklbw: Semantics = unpackLow(1);
export const punpcklwd: Semantics = unpackLow(2);
export const punpckldq: Semantics = unpackLow(4);
export const punpcklqdq: Semantics = unpackLow(8);
export const punpckhbw: Semantics = unpackHigh(1);
export const punpckhwd: Semantics = unpackHigh(2);
export const punpckhdq: Semantics = unpackHigh(4);
export const punpckhqdq: Semantics = unpackHigh(8);
export const unpcklps: Semantics = punpckldq;
export const unpckhps: Semantics = punpckhdq;
export const unpcklpd: Semantics = punpcklqdq;
export const unpckhpd: Semantics = punpckhqdq;

// ---- shuffles
/** Index bits 6:4 (6:3 for MMX) are ignored; bit 7 gives zero, as any index above 15 does in wasm. */
export const pshufb: Semantics = binary(
  (a, b) => i8x16.swizzle(a, v128.and(b, words32(0x8f8f8f8f | 0))),
  (a, b) => i8x16.swizzle(a, v128.and(b, words32(0x87878787 | 0))),
);
const field2 = (control: number, index: number): number => (control >> (2 * index)) & 3;
const FOUR = [0, 1, 2, 3] as const;
const HIGH = element(1, 8);
const LOW = element(0, 8);
export const pshufd: Semantics = shuffled((control) => FOUR.flatMap((i) => element(field2(control, i), 4)), 1);
export const pshuflw: Semantics = shuffled(
  (control) => [...FOUR.flatMap((i) => element(field2(control, i), 2)), ...HIGH],
  1,
);
export const pshufhw: Semantics = shuffled(
  (control) => [...LOW, ...FOUR.flatMap((i) => element(4 + field2(control, i), 2))],
  1,
);
export const pshufw: Semantics = pshuflw;
export const shufps: Semantics = shuffled(
  (control) => FOUR.flatMap((i) => element(field2(control, i) + (i < 2 ? 0 : 4), 4)),
  2,
);
/** Each half of a YMM has its own two bits. */
export const shufpd: Semantics = shuffled((control, part) => {
  const bits = control >> (2 * part);
  return [...element(bits & 1, 8), ...element(2 + ((bits >> 1) & 1), 8)];
}, 2);

const INDICES = Array.from({ length: 16 }, (_, i) => i);
/** Sixteen byte numbers from `first` on. */
const consecutive = (first: number): number[] => INDICES.map((i) => first + i);
/** Bytes [count, count + size) of b followed by a: the second source is the low part. */
function aligned(a: V128, b: V128, count: I32, size: 8 | 16): V128 {
  if (isConst(count) && size === 16) {
    // what lies above the second source is the first one, and zeros above that
    const from = Math.min(count.lo, 32);
    return from > 16 ? v128.shuffle(a, v128.zero(), consecutive(from - 16)) : v128.shuffle(b, a, consecutive(from));
  }
  const limit = i32.const(2 * size);
  const shift = isConst(count)
    ? i32.const(Math.min(count.lo, 2 * size))
    : i32.select(i32.ltU(count, limit), count, limit);
  const index = i8x16.add(bytes(INDICES), i8x16.splat(shift));
  return v128.or(i8x16.swizzle(b, index), i8x16.swizzle(a, i8x16.sub(index, i8x16.splat(i32.const(size)))));
}
const lowOnly = (a: V128): V128 => v128.and(a, words64(-1n, 0n));
export const palignr: Semantics = vector((cx) => {
  const first = firstSource(cx);
  const count = cx.f.let(immediate(cx, first + 2));
  const results = parts(cx).map((p) => {
    const a = source(cx, first, p);
    const b = source(cx, first + 1, p);
    return cx.f.let(
      usesMmx(cx) ? aligned(cx.f.let(lowOnly(a)), cx.f.let(lowOnly(b)), count, 8) : aligned(a, b, count, 16),
    );
  });
  writeParts(cx, results);
});
const byteShift = (shift: (a: V128, count: I32, cx: SemanticsContext) => V128): Semantics =>
  vector((cx) => {
    const from = firstSource(cx);
    const count = cx.f.let(immediate(cx, from + 1));
    writeParts(
      cx,
      parts(cx).map((p) => cx.f.let(shift(source(cx, from, p), count, cx))),
    );
  });
export const psrldq: Semantics = byteShift((a, count) => aligned(v128.zero(), a, count, 16));
export const pslldq: Semantics = byteShift((a, count) => {
  if (isConst(count)) return v128.shuffle(v128.zero(), a, consecutive(16 - Math.min(count.lo, 16)));
  const limit = i32.const(16);
  const by = i32.select(i32.ltU(count, limit), count, limit);
  return i8x16.swizzle(a, i8x16.sub(bytes(INDICES), i8x16.splat(by)));
});

// ---- shifts: by an immediate, or by the low 64 bits of a vector
type Shift = (a: V128, count: I32) => V128;
function shiftCount(cx: SemanticsContext, i: number): I64 {
  if (cx.kind(i) === 'imm') return i64.and(cx.read(i), i64.const(0xff));
  if (usesMmx(cx)) return cx.readLow(i, 8);
  return i64x2.extract(cx.readV(i, 0, !isVex(cx)), 0);
}
const shifting = (bits: number, shift: Shift, arithmetic: boolean): Semantics =>
  vector((cx) => {
    const { f } = cx;
    const from = firstSource(cx);
    const count = f.let(shiftCount(cx, from + 1));
    const sources = parts(cx).map((p) => source(cx, from, p));
    const limit = i64.const(bits - 1);
    if (isConst(count)) {
      // an immediate, one byte
      const by = arithmetic ? Math.min(count.lo, bits - 1) : count.lo;
      writeParts(
        cx,
        sources.map((a) => (by < bits ? f.let(shift(a, i32.const(by))) : v128.zero())),
      );
      return;
    }
    const inRange = i64.leU(count, limit);
    const results = sources.map((a) => {
      if (arithmetic) return shift(a, i32.wrap(i64.select(inRange, count, limit)));
      return v128.select(inRange, shift(a, i32.wrap(count)), v128.zero());
    });
    writeParts(
      cx,
      results.map((r) => f.let(r)),
    );
  });
export const psllw: Semantics = shifting(16, i16x8.shl, false);
export const pslld: Semantics = shifting(32, i32x4.shl, false);
export const psllq: Semantics = shifting(64, i64x2.shl, false);
export const psrlw: Semantics = shifting(16, i16x8.shrU, false);
export const psrld: Semantics = shifting(32, i32x4.shrU, false);
export const psrlq: Semantics = shifting(64, i64x2.shrU, false);
export const psraw: Semantics = shifting(16, i16x8.shrS, true);
export const psrad: Semantics = shifting(32, i32x4.shrS, true);

// ---- single elements
/** The immediate as an element number: only as many bits as the register has elements count. */
const elementNumber = (cx: SemanticsContext, i: number, size: number): I32 =>
  cx.f.let(i32.and(immediate(cx, i), i32.const((usesMmx(cx) ? 8 : 16) / size - 1)));
interface Elements {
  extract(a: V128, index: number): I64;
  replace(a: V128, index: number, value: I64): V128;
  splat(value: I64): V128;
}
const narrow = (lanes: {
  extract(a: V128, index: number): I32;
  replace(a: V128, index: number, value: I32): V128;
  splat(value: I32): V128;
}): Elements => ({
  extract: (a, index) => i64.extendU(lanes.extract(a, index)),
  replace: (a, index, value) => lanes.replace(a, index, i32.wrap(value)),
  splat: (value) => lanes.splat(i32.wrap(value)),
});
const LANES: Readonly<Record<Bytes, Elements>> = {
  1: narrow({ ...i8x16, extract: i8x16.extractU }),
  2: narrow({ ...i16x8, extract: i16x8.extractU }),
  4: narrow(i32x4),
  8: i64x2,
};
/** Element `index` of `size` bytes of a, and what follows where it is not a constant, in the low bytes. */
function elementToFront(a: V128, index: I32, size: Bytes): I64 {
  if (isConst(index)) return LANES[size].extract(a, index.lo);
  const from = i8x16.splat(i32.mul(index, i32.const(size)));
  return i64x2.extract(i8x16.swizzle(a, i8x16.add(bytes(INDICES), from)), 0);
}
const extracting = (size: Bytes): Semantics =>
  vector((cx) => {
    const value = cx.f.let(zeroExtend(size, elementToFront(cx.readV(1), elementNumber(cx, 2, size), size)));
    if (isMem(cx, 0)) cx.writeLow(0, size, value);
    else cx.write(0, value);
  });
export const pextrb: Semantics = extracting(1);
export const pextrw: Semantics = extracting(2);
export const pextrd: Semantics = extracting(4);
export const pextrq: Semantics = extracting(8);
export const extractps: Semantics = extracting(4);

const inserting = (size: Bytes): Semantics =>
  vector((cx) => {
    const first = firstSource(cx);
    const value = cx.f.let(isMem(cx, first + 1) ? cx.readLow(first + 1, size) : cx.read(first + 1));
    const index = elementNumber(cx, first + 2, size);
    if (isConst(index)) {
      writeParts(cx, [cx.f.let(LANES[size].replace(cx.readV(first), index.lo, value))]);
      return;
    }
    const numbers = bytes(INDICES.map((i) => Math.floor(i / size)));
    const chosen = i8x16.eq(numbers, i8x16.splat(index));
    writeParts(cx, [cx.f.let(v128.bitselect(LANES[size].splat(value), cx.readV(first), chosen))]);
  });
export const pinsrb: Semantics = inserting(1);
export const pinsrw: Semantics = inserting(2);
export const pinsrd: Semantics = inserting(4);
export const pinsrq: Semantics = inserting(8);
