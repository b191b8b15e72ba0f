/** MONITOR and MWAIT (SDM vol. 2): a kernel's way to be idle. Without extensions ECX is 0, and EAX of MWAIT a mere hint. */
import { i32, i64 } from '../../wasm/expr.ts';
import { STATE, VECTOR } from '../state.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import { byStackSegment, RCX } from './shared.ts';

/** #UD, not #GP, outside the kernel; no extension may be asked for. */
function check(cx: SemanticsContext): void {
  cx.raiseIf(cx.state32(STATE.cpl), VECTOR.ud);
  cx.raiseIf(i64.ne(cx.gpr(RCX, cx.facts.mode === 64 ? 8 : 4), i64.const(0)), VECTOR.gp, 0);
}

/** No other processor writes memory, and devices tell by interrupts: the address itself is only checked. */
export const monitor: Semantics = (cx) => {
  check(cx);
  const at = cx.linearAddress(0);
  byStackSegment(cx, 0, (stack) => cx.f.drop(cx.load(1, at, stack)));
  cx.setState32(STATE.monitorArmed, i32.const(1));
};

/** Sleeps like HLT, once for each MONITOR. */
export const mwait: Semantics = (cx) => {
  check(cx);
  cx.f.if(cx.state32(STATE.monitorArmed), () => {
    cx.setState32(STATE.monitorArmed, i32.const(0));
    cx.halt();
  });
  cx.endWithRefresh();
};
