/**
 * Gathers (SDM vol. 2, VGATHER* and VPGATHER*). Elements are read from the lowest on; those before one that
 * faults are in the destination and out of the mask, so that the instruction can be resumed. The rest of the mask is left
 * as it was (reference CPU; the SDM spreads its sign bits first).
 */
import { type I64, i32, i64, type V128 } from '../../wasm/expr.ts';
import { i32x4, i64x2, v128 } from '../../wasm/simd.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import { byStackSegment } from './shared.ts';
import { bytes, parts, vector } from './vector.ts';

const DESTINATION = 0;
const MEMORY = 1;
const MASK = 2;

/** Element n, sign-extended, of the index register. */
function indexOf(cx: SemanticsContext, n: number, size: 4 | 8): I64 {
  const perHalf = 16 / size;
  const half = cx.indexVector(MEMORY, n < perHalf ? 0 : 1);
  return size === 8 ? i64x2.extract(half, n % perHalf) : i64.extendS(i32x4.extract(half, n % perHalf));
}

/** All ones from a lane on. */
const fromLane = (lane: number, size: number): V128 =>
  bytes(Array.from({ length: 16 }, (_, i) => (i < lane * size ? 0 : 0xff)));

/** Elements of `size` bytes by indices of `indexSize` bytes; the vector length counts the wider ones. */
const gathering = (size: 4 | 8, indexSize: 4 | 8): Semantics =>
  vector((cx) => {
    const { f } = cx;
    const count = (16 * parts(cx).length) / Math.max(size, indexSize);
    const perHalf = 16 / size;
    const halves = count > perHalf ? ([0, 1] as const) : ([0] as const);
    const lanes = size === 4 ? i32x4 : i64x2;
    const masks = halves.map((part) => f.let(cx.readV(MASK, part)));
    for (let n = 0; n < count; n++) {
      const part = n < perHalf ? 0 : 1;
      const lane = n % perHalf;
      f.if(i32.and(i32.shrU(lanes.bitmask(masks[part]!), i32.const(lane)), i32.const(1)), () => {
        // all before this one are done, chosen or not
        cx.writeV(MASK, v128.and(masks[part]!, fromLane(lane, size)), part);
        if (part === 1) cx.writeV(MASK, v128.zero(), 0);
        const value = f.newLocal('i64');
        const address = cx.elementAddress(MEMORY, indexOf(cx, n, indexSize));
        byStackSegment(cx, MEMORY, (stack) => f.set(value, cx.load(size, address, stack)));
        const element = f.get('i64', value);
        const old = cx.readV(DESTINATION, part);
        const changed = size === 8 ? i64x2.replace(old, lane, element) : i32x4.replace(old, lane, i32.wrap(element));
        cx.writeV(DESTINATION, f.let(changed), part);
      });
    }
    for (const part of halves) cx.writeV(MASK, v128.zero(), part);
    if (count * size === 8) cx.writeV(DESTINATION, f.let(i64x2.replace(cx.readV(DESTINATION), 1, i64.const(0))));
    if (halves.length === 1) for (const operand of [DESTINATION, MASK]) cx.zeroUpper(operand);
  });
export const vpgatherdd: Semantics = gathering(4, 4);
export const vpgatherdq: Semantics = gathering(8, 4);
export const vpgatherqd: Semantics = gathering(4, 8);
export const vpgatherqq: Semantics = gathering(8, 8);
export const vgatherdps: Semantics = vpgatherdd;
export const vgatherdpd: Semantics = vpgatherdq;
export const vgatherqps: Semantics = vpgatherqd;
export const vgatherqpd: Semantics = vpgatherqq;
