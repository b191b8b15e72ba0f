/** x87 stack management, which raises no numeric exceptions (SDM vol. 2). */
import { type I32, i32 } from '../../wasm/expr.ts';
import { STATE } from '../state.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import { quiet, waiting } from './x87-state.ts';

const C1 = 0x200;
const clearC1 = (cx: SemanticsContext): void =>
  cx.setState32(STATE.fpuStatus, i32.and(cx.state32(STATE.fpuStatus), i32.const(~C1)));

const moveTop = (by: number): Semantics =>
  waiting((cx) => {
    clearC1(cx);
    const top = i32.add(cx.state32(STATE.fpuTop), i32.const(by));
    cx.setState32(STATE.fpuTop, i32.and(top, i32.const(7)));
  });
export const fincstp: Semantics = moveTop(1);
export const fdecstp: Semantics = moveTop(-1);
export const fnop: Semantics = waiting(() => undefined);
/** Obsolete controls of the 8087 and 80287: no operation, and they do not wait. */
export const fneni: Semantics = quiet(() => undefined);
export const fndisi: Semantics = fneni;
export const fnsetpm: Semantics = fneni;

const physical = (cx: SemanticsContext, i: number): I32 =>
  cx.f.let(i32.and(i32.add(cx.state32(STATE.fpuTop), cx.registerNumber(i)), i32.const(7)));
/** C1 is undefined: the reference CPU clears it. */
export const ffree: Semantics = waiting((cx) => {
  clearC1(cx);
  markEmpty(cx, physical(cx, 0));
});
function markEmpty(cx: SemanticsContext, register: I32): void {
  const bit = i32.shl(i32.const(1), register);
  cx.setState32(STATE.fpuTag, i32.and(cx.state32(STATE.fpuTag), i32.xor(bit, i32.const(-1))));
}
export const ffreep: Semantics = (cx) => {
  ffree(cx);
  markEmpty(cx, cx.state32(STATE.fpuTop));
  const top = i32.add(cx.state32(STATE.fpuTop), i32.const(1));
  cx.setState32(STATE.fpuTop, i32.and(top, i32.const(7)));
};
