/** AES and carry-less multiplication in their legacy and VEX encodings (SDM vol. 2). */
import { i32, i64, type V128 } from '../../wasm/expr.ts';
import { i32x4, i64x2, v128 } from '../../wasm/simd.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import { binary, firstSource, immediate, parts, source, unary, vector, writeParts } from './vector.ts';

const round = (helper: string): Semantics => binary((state, key, cx) => cx.call('v128', helper, [state, key]));
export const aesenc: Semantics = round('aesEncrypt');
export const aesenclast: Semantics = round('aesEncryptLast');
export const aesdec: Semantics = round('aesDecrypt');
export const aesdeclast: Semantics = round('aesDecryptLast');
export const aesimc: Semantics = unary((key, cx) => cx.call('v128', 'aesUnmix', [key]));

/** Words 1 and 3 through the S-box, each also rotated by a byte with the constant added. */
const WORDS_TWICE = [4, 5, 6, 7, 5, 6, 7, 4, 12, 13, 14, 15, 13, 14, 15, 12];
export const aeskeygenassist: Semantics = vector((cx) => {
  const { f } = cx;
  const key = source(cx, 1);
  const constant = f.let(immediate(cx, 2));
  const words = f.let(cx.call('v128', 'aesSubstitute', [v128.shuffle(key, key, WORDS_TWICE)]));
  const added = i32x4.replace(i32x4.replace(v128.zero(), 1, constant), 3, constant);
  writeParts(cx, [f.let(v128.xor(words, added))]);
});

/** The half of a that bit `bit` of the immediate names, in both halves. */
function chosenHalf(cx: SemanticsContext, a: V128, i: number, bit: number): V128 {
  const high = i32.and(immediate(cx, i), i32.const(1 << bit));
  return i64x2.splat(i64.select(high, i64x2.extract(a, 1), i64x2.extract(a, 0)));
}
export const pclmulqdq: Semantics = vector((cx) => {
  const first = firstSource(cx);
  const results = parts(cx).map((p) => {
    const a = source(cx, first, p);
    const b = source(cx, first + 1, p);
    const factors = [chosenHalf(cx, a, first + 2, 0), chosenHalf(cx, b, first + 2, 4)];
    return cx.f.let(cx.call('v128', 'carrylessMultiply', factors));
  });
  writeParts(cx, results);
});
