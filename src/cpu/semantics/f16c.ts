/** F16C: packed binary16 to and from binary32 (SDM vol. 2, VCVTPH2PS and VCVTPS2PH). */
import { type I64, i32, i64, type V128 } from '../../wasm/expr.ts';
import { i32x4, i64x2, v128 } from '../../wasm/simd.ts';
import type { Semantics } from './context.ts';
import { exactly } from './float-shape.ts';
import { immediate, isMem, parts, probeOperand, vector, writeParts } from './vector.ts';

const HALVES_IN_QUADWORD = [0, 16, 32, 48];

export const vcvtph2ps: Semantics = vector((cx) => {
  const { f } = cx;
  const wide = parts(cx).length === 2;
  const all = wide ? f.let(cx.readV(1)) : undefined;
  const quadwords = all ? [0, 1].map((i) => f.let(i64x2.extract(all, i))) : [f.let(cx.readLow(1, 8))];
  let results: V128[] = [];
  exactly(cx, () => {
    results = quadwords.map((quadword) => {
      let result = v128.zero();
      HALVES_IN_QUADWORD.forEach((shift, i) => {
        const half = i64.and(i64.shrU(quadword, i64.const(shift)), i64.const(0xffff));
        result = i32x4.replace(result, i, i32.wrap(f.let(cx.call('i64', 'halfToSingle', [half]))));
      });
      return f.let(result);
    });
  });
  writeParts(cx, results);
});

export const vcvtps2ph: Semantics = vector((cx) => {
  const { f } = cx;
  const sources = parts(cx).map((p) => f.let(cx.readV(1, p)));
  if (isMem(cx, 0)) probeOperand(cx, 0, 8 * sources.length);
  let results: I64[] = [];
  exactly(cx, () => {
    f.callVoid(cx.helper('chooseHalfRounding'), [immediate(cx, 2)]);
    results = sources.map((source) => {
      const halves = HALVES_IN_QUADWORD.map((shift, i) => {
        const single = i64.extendU(i32x4.extract(source, i));
        return i64.shl(f.let(cx.call('i64', 'singleToHalf', [single])), i64.const(shift));
      });
      return f.let(halves.reduce((a, b) => i64.or(a, b)));
    });
  });
  if (isMem(cx, 0) && results.length === 1) {
    cx.writeLow(0, 8, results[0]!);
    return;
  }
  const packed = f.let(i64x2.replace(i64x2.splat(results[0]!), 1, results[1] ?? i64.const(0)));
  cx.writeV(0, packed);
  if (!isMem(cx, 0)) cx.zeroUpper(0);
});
