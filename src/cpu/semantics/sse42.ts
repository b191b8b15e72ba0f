/** String comparisons of SSE4.2: PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM vol. 2, 4.1). */
import { type I32, type I64, i32, i64, type V128 } from '../../wasm/expr.ts';
import { i8x16, i16x8, v128 } from '../../wasm/simd.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import { bytes, immediate, isVex, scalar64, vector, words16 } from './vector.ts';

const WORDS = 1;
/** Immediate bit 6: the last index rather than the first; whole elements rather than bits. */
const LAST_OR_SPREAD = 0x40;
const RAX = 0;
const RCX = 1;
const RDX = 2;

const c32 = i32.const;
/** Elements in front of the first zero. */
function implicitLength(cx: SemanticsContext, words: I32, text: V128): I32 {
  const zero = v128.zero();
  // the bit beyond the register ends what has no zero
  const ofWords = i32.or(i16x8.bitmask(i16x8.eq(text, zero)), c32(0x100));
  const ofBytes = i32.or(i8x16.bitmask(i8x16.eq(text, zero)), c32(0x10000));
  return cx.f.let(i32.ctz(i32.select(words, ofWords, ofBytes)));
}
/** Magnitude of a register, at most the number of elements. */
function explicitLength(cx: SemanticsContext, words: I32, register: number): I32 {
  // VEX.W may be set in 32-bit code, where it means nothing
  const wide = cx.facts.rexW && cx.facts.mode === 64;
  const length = cx.f.let(cx.gprS(register, wide ? 8 : 4));
  const most: I64 = i64.extendU(i32.shrU(c32(16), words));
  const magnitude = cx.f.let(i64.select(i64.ltS(length, i64.const(0)), i64.sub(i64.const(0), length), length));
  // unsigned, so that the most negative number is the greatest magnitude
  return cx.f.let(i32.wrap(i64.select(i64.ltU(magnitude, most), magnitude, most)));
}

interface Comparison {
  readonly control: I32;
  readonly words: I32;
  readonly result: I32;
}
const comparing = (explicit: boolean, deliver: (cx: SemanticsContext, comparison: Comparison) => void): Semantics =>
  vector((cx) => {
    const { f } = cx;
    const control = f.let(immediate(cx, 2));
    const words = f.let(i32.and(control, c32(WORDS)));
    const a = f.let(cx.readV(0));
    const b = f.let(cx.readV(1));
    const lengthA = explicit ? explicitLength(cx, words, RAX) : implicitLength(cx, words, a);
    const lengthB = explicit ? explicitLength(cx, words, RDX) : implicitLength(cx, words, b);
    const both = f.let(cx.call('i32', 'compareStrings', [a, b, lengthA, lengthB, control]));
    deliver(cx, { control, words, result: f.let(i32.and(both, c32(0xffff))) });
    cx.flagsFromWord(i32.shrU(both, c32(16)));
  });

function deliverIndex(cx: SemanticsContext, { control, words, result }: Comparison): void {
  const none = i32.shrU(c32(16), words);
  const first = i32.ctz(result);
  const last = i32.sub(c32(31), i32.clz(result));
  const index = i32.select(i32.and(control, c32(LAST_OR_SPREAD)), last, first);
  cx.setGpr(RCX, i64.extendU(i32.select(result, index, none)), 4);
}

const BIT_OF_WORD = Array.from({ length: 8 }, (_, i) => 1 << i);
const BIT_OF_BYTE = Array.from({ length: 16 }, (_, i) => 1 << (i & 7));
/** Byte 0 of a vector for the first eight lanes, byte 1 for the others. */
const BYTE_OF_LANE = Array.from({ length: 16 }, (_, i) => i >> 3);
function deliverMask(cx: SemanticsContext, { control, words, result }: Comparison): void {
  const { f } = cx;
  const bits = f.let(scalar64(i64.extendU(result)));
  const inWords = v128.and(i16x8.splat(result), words16(...BIT_OF_WORD));
  const inBytes = v128.and(v128.shuffle(bits, bits, BYTE_OF_LANE), bytes(BIT_OF_BYTE));
  const spread = v128.select(words, i16x8.eq(inWords, words16(...BIT_OF_WORD)), i8x16.eq(inBytes, bytes(BIT_OF_BYTE)));
  cx.setXmm(0, f.let(v128.select(i32.and(control, c32(LAST_OR_SPREAD)), spread, bits)));
  if (isVex(cx)) cx.setUpper(0, v128.zero());
}

export const pcmpestri: Semantics = comparing(true, deliverIndex);
export const pcmpestrm: Semantics = comparing(true, deliverMask);
export const pcmpistri: Semantics = comparing(false, deliverIndex);
export const pcmpistrm: Semantics = comparing(false, deliverMask);
