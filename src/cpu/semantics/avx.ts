/** What only VEX encodings have: lane-crossing moves, broadcasts, variable shifts, masked accesses, gathers (SDM vol. 2). */
import { type I32, type I64, i32, i64, type V128 } from '../../wasm/expr.ts';
import { i8x16, i16x8, i32x4, i64x2, v128 } from '../../wasm/simd.ts';
import type { Bytes, Semantics, SemanticsContext } from './context.ts';
import {
  bytes,
  element,
  immediate,
  isMem,
  parts,
  shuffleBy,
  shuffled,
  source,
  storeParts,
  vector,
  words32,
  writeParts,
} from './vector.ts';
import { maskedLoad, maskedStore } from './vector-mask.ts';

const INDICES = Array.from({ length: 16 }, (_, i) => i);
const registerCount = (cx: SemanticsContext): number => (cx.facts.mode === 64 ? 16 : 8);

export const vzeroupper: Semantics = vector((cx) => {
  for (let i = 0; i < registerCount(cx); i++) cx.setUpper(i, v128.zero());
});
export const vzeroall: Semantics = vector((cx) => {
  for (let i = 0; i < registerCount(cx); i++) {
    cx.setXmm(i, v128.zero());
    cx.setUpper(i, v128.zero());
  }
});

// ---- broadcasts
const broadcast = (size: Bytes, splat: (value: I64) => V128): Semantics =>
  vector((cx) => {
    const value = cx.f.let(splat(cx.readLow(1, size)));
    writeParts(
      cx,
      parts(cx).map(() => value),
    );
  });
const splat32 = (value: I64): V128 => i32x4.splat(i32.wrap(value));
export const vpbroadcastb: Semantics = broadcast(1, (value) => i8x16.splat(i32.wrap(value)));
export const vpbroadcastw: Semantics = broadcast(2, (value) => i16x8.splat(i32.wrap(value)));
export const vpbroadcastd: Semantics = broadcast(4, splat32);
export const vpbroadcastq: Semantics = broadcast(8, i64x2.splat);
export const vbroadcastss: Semantics = broadcast(4, splat32);
export const vbroadcastsd: Semantics = broadcast(8, i64x2.splat);
export const vbroadcastf128: Semantics = vector((cx) => {
  const value = cx.f.let(cx.readV(1));
  writeParts(cx, [value, value]);
});
export const vbroadcasti128: Semantics = vbroadcastf128;

// ---- whole halves
const chosenHalf = (cx: SemanticsContext, bit: I32, high: V128, low: V128): V128 =>
  cx.f.let(v128.select(bit, high, low));
export const vextractf128: Semantics = vector((cx) => {
  const high = cx.f.let(i32.and(immediate(cx, 2), i32.const(1)));
  storeParts(cx, 0, [chosenHalf(cx, high, cx.readV(1, 1), cx.readV(1, 0))], false);
  if (!isMem(cx, 0)) cx.zeroUpper(0);
});
export const vextracti128: Semantics = vextractf128;
export const vinsertf128: Semantics = vector((cx) => {
  const { f } = cx;
  const high = f.let(i32.and(immediate(cx, 3), i32.const(1)));
  const value = f.let(cx.readV(2));
  const [low, top] = [f.let(cx.readV(1, 0)), f.let(cx.readV(1, 1))];
  writeParts(cx, [chosenHalf(cx, high, low, value), chosenHalf(cx, high, value, top)]);
});
export const vinserti128: Semantics = vinsertf128;
export const vperm2f128: Semantics = vector((cx) => {
  const { f } = cx;
  const control = f.let(immediate(cx, 3));
  const halves = [f.let(cx.readV(1, 0)), f.let(cx.readV(1, 1)), f.let(cx.readV(2, 0)), f.let(cx.readV(2, 1))] as const;
  const pick = (shift: number): V128 => {
    const bits = f.let(i32.shrU(control, i32.const(shift)));
    const bit = (n: number): I32 => i32.and(bits, i32.const(n));
    const first = v128.select(bit(1), halves[1], halves[0]);
    const second = v128.select(bit(1), halves[3], halves[2]);
    return f.let(v128.select(bit(8), v128.zero(), v128.select(bit(2), second, first)));
  };
  writeParts(cx, [pick(0), pick(4)]);
});
export const vperm2i128: Semantics = vperm2f128;

// ---- permutations
export const vpermq: Semantics = vector((cx) => {
  const { f } = cx;
  const control = f.let(immediate(cx, 2));
  const [low, high] = [source(cx, 1, 0), source(cx, 1, 1)];
  const results = [0, 4].map((shift) =>
    f.let(
      shuffleBy(low, high, f.let(i32.shrU(control, i32.const(shift))), (value) => [
        ...element(value & 3, 8),
        ...element((value >> 2) & 3, 8),
      ]),
    ),
  );
  writeParts(cx, results);
});
export const vpermpd: Semantics = vpermq;
/** Bytes of 32-bit elements numbered by the lanes of `index` (bits 2:0) in a pair of halves. */
export const vpermd: Semantics = vector((cx) => {
  const { f } = cx;
  const [low, high] = [source(cx, 2, 0), source(cx, 2, 1)];
  const results = parts(cx).map((p) => {
    const lanes = v128.and(cx.readV(1, p), words32(7));
    const first = i32x4.mul(lanes, words32(0x04040404));
    const index = f.let(i8x16.add(first, words32(0x03020100)));
    const above = i8x16.sub(index, i8x16.splat(i32.const(16)));
    return f.let(v128.or(i8x16.swizzle(low, index), i8x16.swizzle(high, above)));
  });
  writeParts(cx, results);
});
export const vpermps: Semantics = vpermd;
const permilByVector = (cx: SemanticsContext, index: (control: V128) => V128): void => {
  const results = parts(cx).map((p) => {
    const a = source(cx, 1, p);
    return cx.f.let(i8x16.swizzle(a, index(source(cx, 2, p))));
  });
  writeParts(cx, results);
};
const byImmediate = {
  ps: shuffled((control) => [0, 1, 2, 3].flatMap((i) => element((control >> (2 * i)) & 3, 4)), 1),
  pd: shuffled((control, part) => [0, 1].flatMap((i) => element((control >> (2 * part + i)) & 1, 8)), 1),
};
export const vpermilps: Semantics = (cx) => {
  if (cx.kind(2) === 'imm') byImmediate.ps(cx);
  else
    vector((c) =>
      permilByVector(c, (control) =>
        i8x16.add(i32x4.mul(v128.and(control, words32(3)), words32(0x04040404)), words32(0x03020100)),
      ),
    )(cx);
};
export const vpermilpd: Semantics = (cx) => {
  if (cx.kind(2) === 'imm') byImmediate.pd(cx);
  else
    vector((c) =>
      permilByVector(c, (control) => {
        // bit 1 of each quadword: 0 or 8, in all its bytes
        const bit = i64x2.shl(v128.and(control, words32(2, 0)), i32.const(2));
        const spread = i8x16.swizzle(bit, bytes(INDICES.map((i) => i & 8)));
        return i8x16.add(spread, bytes(INDICES.map((i) => i & 7)));
      }),
    )(cx);
};

// ---- shifts by a count for each element
const variableShift = (size: 4 | 8, shift: (value: I64, count: I64) => I64): Semantics =>
  vector((cx) => {
    const { f } = cx;
    const results = parts(cx).map((p) => {
      const a = source(cx, 1, p);
      const b = source(cx, 2, p);
      let result = v128.zero();
      for (let i = 0; i < 16 / size; i++) {
        if (size === 8) result = i64x2.replace(result, i, shift(i64x2.extract(a, i), f.let(i64x2.extract(b, i))));
        else {
          const value = shift(i64.extendS(i32x4.extract(a, i)), f.let(i64.extendU(i32x4.extract(b, i))));
          result = i32x4.replace(result, i, i32.wrap(value));
        }
      }
      return f.let(result);
    });
    writeParts(cx, results);
  });
const within = (count: I64, bits: number, value: I64): I64 =>
  i64.select(i64.ltU(count, i64.const(bits)), value, i64.const(0));
export const vpsllvd: Semantics = variableShift(4, (a, n) => within(n, 32, i64.shl(a, n)));
export const vpsllvq: Semantics = variableShift(8, (a, n) => within(n, 64, i64.shl(a, n)));
export const vpsrlvd: Semantics = variableShift(4, (a, n) => within(n, 32, i64.shrU(i64.and(a, i64.halves(-1, 0)), n)));
export const vpsrlvq: Semantics = variableShift(8, (a, n) => within(n, 64, i64.shrU(a, n)));
export const vpsravd: Semantics = variableShift(4, (a, n) =>
  i64.shrS(a, i64.select(i64.ltU(n, i64.const(32)), n, i64.const(31))),
);

// ---- masked loads and stores: sign bits of the mask choose
const signsOf = (cx: SemanticsContext, i: number, size: 4 | 8): I32 => {
  const bitmask = size === 4 ? i32x4.bitmask : i64x2.bitmask;
  const masks = parts(cx).map((p) => i32.shl(bitmask(cx.readV(i, p)), i32.const((16 / size) * p)));
  return cx.f.let(masks.reduce((a, b) => i32.or(a, b)));
};
const masked = (size: 4 | 8): Semantics =>
  vector((cx) => {
    const chosen = signsOf(cx, 1, size);
    if (isMem(cx, 0)) {
      const values = parts(cx).map((p) => cx.f.let(cx.readV(2, p)));
      maskedStore(cx, 0, size, values, chosen);
    } else writeParts(cx, maskedLoad(cx, 2, size, chosen, parts(cx).length));
  });
export const vmaskmovps: Semantics = masked(4);
export const vmaskmovpd: Semantics = masked(8);
export const vpmaskmovd: Semantics = masked(4);
export const vpmaskmovq: Semantics = masked(8);
