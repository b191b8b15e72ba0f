/** The SHA extensions (SDM vol. 2): legacy encodings only. */
import { type I32, i32, type V128 } from '../../wasm/expr.ts';
import { i32x4, v128 } from '../../wasm/simd.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import { type Binary, immediate, vector, writeParts } from './vector.ts';

/**
 * Both sources, in locals. The manual wants memory operands aligned (SDM vol. 2, 2.4, type 4); AMD's CPUs take them
 * anywhere, and what runs there shall run here.
 */
const operands = (cx: SemanticsContext): readonly [V128, V128] => [cx.f.let(cx.readV(0)), cx.f.let(cx.readV(1))];
const binary = (lanes: Binary): Semantics => vector((cx) => writeParts(cx, [cx.f.let(lanes(...operands(cx), cx))]));

const rotated = (a: V128, left: number): V128 =>
  v128.or(i32x4.shl(a, i32.const(left)), i32x4.shrU(a, i32.const(32 - left)));
const helper = (name: string): Semantics => binary((a, b, cx) => cx.call('v128', name, [a, b]));

export const sha1rnds4: Semantics = vector((cx) => {
  const [state, message] = operands(cx);
  const group: I32 = i32.and(immediate(cx, 2), i32.const(3));
  writeParts(cx, [cx.f.let(cx.call('v128', 'sha1Rounds', [state, message, group]))]);
});
/** The top word of a, rotated, is the next e: added to the first message word. */
const nextE: Binary = (a, b) => {
  const top = i32x4.replace(v128.zero(), 3, i32.rotl(i32x4.extract(a, 3), i32.const(30)));
  return i32x4.add(b, top);
};
export const sha1nexte: Semantics = binary(nextE);
/** Each word with the one two further on. */
const TWO_FURTHER = [24, 25, 26, 27, 28, 29, 30, 31, 0, 1, 2, 3, 4, 5, 6, 7];
export const sha1msg1: Semantics = binary((a, b) => v128.xor(a, v128.shuffle(a, b, TWO_FURTHER)));
export const sha1msg2: Semantics = helper('sha1Message');

export const sha256rnds2: Semantics = vector((cx) => {
  const [cdgh, abef] = operands(cx);
  writeParts(cx, [cx.f.let(cx.call('v128', 'sha256Rounds', [cdgh, abef, cx.xmm(0)]))]);
});
const ONE_FURTHER = [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];
export const sha256msg1: Semantics = binary((a, b, cx) => {
  const w = cx.f.let(v128.shuffle(a, b, ONE_FURTHER));
  // rotations to the right by 7 and 18
  const sigma0 = v128.xor(v128.xor(rotated(w, 25), rotated(w, 14)), i32x4.shrU(w, i32.const(3)));
  return i32x4.add(a, sigma0);
});
export const sha256msg2: Semantics = helper('sha256Message');
