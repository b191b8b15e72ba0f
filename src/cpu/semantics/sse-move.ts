/** Vector moves of every encoding: legacy, VEX and MMX (SDM vol. 2, one section an instruction). */
import { type I64, i32, i64, type V128 } from '../../wasm/expr.ts';
import { i8x16, i32x4, i64x2, v128, withLow } from '../../wasm/simd.ts';
import { STATE, VECTOR } from '../state.ts';
import type { Bytes, Semantics } from './context.ts';
import {
  firstSource,
  isMem,
  lowVector,
  parts,
  probeOperand,
  scalar64,
  storeParts,
  unary,
  vector,
  writeParts,
} from './vector.ts';
import { maskedStore } from './vector-mask.ts';

/** Whole-register moves. `aligned`: the memory operand must be aligned to its size, with VEX too. */
const whole = (aligned: boolean): Semantics =>
  vector((cx) => {
    const values = parts(cx).map((p) => cx.f.let(cx.readV(1, p, aligned)));
    storeParts(cx, 0, values, aligned);
  });
const anywhere = whole(false);
const alignedOnly = whole(true);
export const movups: Semantics = anywhere;
export const movupd: Semantics = anywhere;
export const movdqu: Semantics = anywhere;
export const lddqu: Semantics = anywhere;
export const movaps: Semantics = alignedOnly;
export const movapd: Semantics = alignedOnly;
export const movdqa: Semantics = alignedOnly;
export const movntps: Semantics = alignedOnly;
export const movntpd: Semantics = alignedOnly;
export const movntdq: Semantics = alignedOnly;
export const movntdqa: Semantics = alignedOnly;

/** MOVD, MOVQ between a vector register and a general one or memory: zero-extends into the vector. */
const transfer: Semantics = vector((cx) => {
  const width = cx.width(cx.kind(1) === 'vec' || cx.kind(1) === 'mmx' ? 0 : 1) as Bytes;
  if (cx.kind(0) === 'vec' || cx.kind(0) === 'mmx') {
    const vectorSource = cx.kind(1) === 'vec' || cx.kind(1) === 'mmx';
    const value = vectorSource ? cx.readLow(1, 8) : isMem(cx, 1) ? cx.readLow(1, width) : cx.read(1);
    writeParts(cx, [cx.f.let(scalar64(value))]);
  } else if (isMem(cx, 0)) cx.writeLow(0, width, cx.readLow(1, width));
  else cx.write(0, cx.readLow(1, width));
});
export const movd: Semantics = transfer;
export const movq: Semantics = transfer;
export const movq2dq: Semantics = transfer;
export const movdq2q: Semantics = transfer;
export const movntq: Semantics = transfer;

/** MOVSS, MOVSD: a load zeroes the rest; a register source merges into the first source. */
const scalar = (width: 4 | 8): Semantics =>
  vector((cx) => {
    if (isMem(cx, 0)) cx.writeLow(0, width, cx.readLow(1, width));
    else if (isMem(cx, 1)) writeParts(cx, [cx.f.let(withLow(v128.zero(), width, cx.readFloat(1, width)))]);
    else {
      const first = firstSource(cx);
      writeParts(cx, [cx.f.let(withLow(cx.readV(first), width, cx.readFloat(first + 1, width)))]);
    }
  });
export const movss: Semantics = scalar(4);
export const movsd_sse: Semantics = scalar(8);

/** Loads into, or stores from, one 64-bit half of an XMM register; `to` and `from` number the halves. */
const half = (to: 0 | 1, from: 0 | 1): Semantics =>
  vector((cx) => {
    if (isMem(cx, 0)) {
      cx.writeLow(0, 8, i64x2.extract(cx.readV(1), to));
      return;
    }
    const first = firstSource(cx);
    const value: I64 = isMem(cx, first + 1) ? cx.readLow(first + 1, 8) : i64x2.extract(cx.readV(first + 1), from);
    writeParts(cx, [cx.f.let(i64x2.replace(cx.readV(first), to, cx.f.let(value)))]);
  });
export const movlps: Semantics = half(0, 0);
export const movlpd: Semantics = half(0, 0);
export const movhps: Semantics = half(1, 0);
export const movhpd: Semantics = half(1, 0);
export const movhlps: Semantics = half(0, 1);
export const movlhps: Semantics = half(1, 0);

const repeat32 = (a: V128, from: readonly number[]): V128 =>
  v128.shuffle(
    a,
    a,
    from.flatMap((lane) => [0, 1, 2, 3].map((byte) => lane * 4 + byte)),
  );
export const movsldup: Semantics = unary((a) => repeat32(a, [0, 0, 2, 2]));
export const movshdup: Semantics = unary((a) => repeat32(a, [1, 1, 3, 3]));
export const movddup: Semantics = unary((a) => repeat32(a, [0, 1, 0, 1]));

/** Sign bits of the lanes into a general register. */
const signs = (mask: (a: V128) => ReturnType<typeof i8x16.bitmask>, count: number): Semantics =>
  vector((cx) => {
    const masks = parts(cx).map((p) => i64.extendU(mask(cx.kind(1) === 'mmx' ? lowVector(cx, 1) : cx.readV(1, p))));
    const all = masks.length === 1 ? masks[0]! : i64.or(masks[0]!, i64.shl(masks[1]!, i64.const(count)));
    cx.write(0, cx.kind(1) === 'mmx' ? i64.and(all, i64.const(0xff)) : all);
  });
export const pmovmskb: Semantics = signs(i8x16.bitmask, 16);
export const movmskps: Semantics = signs(i32x4.bitmask, 4);
export const movmskpd: Semantics = signs(i64x2.bitmask, 2);

/** MASKMOVDQU, MASKMOVQ: bytes whose mask has its top bit set, to [rDI]. */
const maskedBytes: Semantics = vector((cx) => {
  const count = cx.kind(0) === 'mmx' ? 8 : 16;
  const chosen = i32.and(i8x16.bitmask(cx.readV(1)), i32.const((1 << count) - 1));
  // which faults a store of nothing takes is left to the implementation: the reference CPU checks the whole operand
  probeOperand(cx, 2, count);
  maskedStore(cx, 2, 1, [cx.f.let(cx.readV(0))], chosen);
});
export const maskmovdqu: Semantics = maskedBytes;
export const maskmovq: Semantics = maskedBytes;

/** Bits 31:16 of MXCSR are reserved: #GP(0). */
export const ldmxcsr: Semantics = vector((cx) => {
  const value = cx.f.let(i32.wrap(cx.read(0)));
  cx.raiseIf(i32.shrU(value, i32.const(16)), VECTOR.gp, 0);
  cx.setState32(STATE.mxcsr, value);
});
export const stmxcsr: Semantics = vector((cx) => cx.write(0, i64.extendU(cx.state32(STATE.mxcsr))));
