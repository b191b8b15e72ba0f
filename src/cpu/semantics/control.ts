/** Near branches and the checks that raise (SDM vol. 2, "JMP", "CALL", "RET", "Jcc", "LOOP/LOOPcc", "BOUND", "INTO"). */
import { type I32, i32, i64 } from '../../wasm/expr.ts';
import { VECTOR } from '../state.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import {
  checkCanonical,
  NONE,
  probePush,
  push,
  RCX,
  RSP,
  signExtend,
  top,
  widthOf,
  wrapLinear,
  zeroExtend,
} from './shared.ts';

export const jmp: Semantics = (cx) => {
  if (cx.kind(0) === 'rel') {
    cx.jumpRelative(0);
    return;
  }
  const target = cx.f.let(cx.read(0));
  checkCanonical(cx, target);
  cx.jumpTo(target);
};

export const jcc: Semantics = (cx) => cx.jumpRelative(0, cx.condition(cx.facts.condition));

export const call: Semantics = (cx) => {
  const width = cx.facts.operandSize;
  if (cx.kind(0) === 'rel') {
    cx.checkRelative(0);
    push(cx, width, cx.nextIp());
    cx.jumpRelative(0);
    return;
  }
  const target = cx.f.let(cx.read(0));
  checkCanonical(cx, target, () => probePush(cx, width));
  push(cx, width, cx.nextIp());
  cx.jumpTo(target);
};

export const ret: Semantics = (cx) => {
  const width = cx.facts.operandSize;
  const { value: target, sp } = top(cx, width);
  checkCanonical(cx, target);
  let after = i64.add(sp, i64.const(width));
  if (cx.facts.operands.length > 0) after = i64.add(after, cx.read(0));
  cx.setGpr(RSP, zeroExtend(cx.facts.stackSize, after), cx.facts.stackSize);
  cx.jumpTo(target);
};

/** The count register of the address size, one less; the branch depends on it and perhaps on ZF. */
function countDown(cx: SemanticsContext, also?: I32): void {
  const size = cx.facts.addressSize;
  const count = cx.f.let(zeroExtend(size, i64.sub(cx.gpr(RCX, size), i64.const(1))));
  cx.setGpr(RCX, count, size);
  const more = i64.ne(count, NONE);
  cx.jumpRelative(0, also === undefined ? more : i32.and(more, also));
}
export const loop: Semantics = (cx) => countDown(cx);
export const loope: Semantics = (cx) => countDown(cx, cx.flag('zf'));
export const loopne: Semantics = (cx) => countDown(cx, i32.eqz(cx.flag('zf')));
export const jcxz: Semantics = (cx) => cx.jumpRelative(0, i64.eqz(cx.gpr(RCX, cx.facts.addressSize)));

/** #BR unless lower <= index <= upper, signed; the bounds lie side by side in memory. */
export const bound: Semantics = (cx) => {
  const { f } = cx;
  const width = widthOf(cx, 0);
  const linear = cx.linearAddress(1);
  const lower = f.let(cx.loadS(width, linear));
  const upper = f.let(cx.loadS(width, wrapLinear(cx, i64.add(linear, i64.const(width)))));
  const index = f.let(signExtend(width, cx.read(0)));
  cx.raiseIf(i32.or(i64.ltS(index, lower), i64.gtS(index, upper)), VECTOR.br);
};

/** Like INT 4, a trap, when OF is set. */
export const into: Semantics = (cx) =>
  cx.f.if(cx.flag('of'), () => cx.system('softwareInterrupt', [i64.const(VECTOR.of), NONE]));

const undefinedOpcode: Semantics = (cx) => cx.raise(VECTOR.ud);
export const ud0: Semantics = undefinedOpcode;
export const ud1: Semantics = undefinedOpcode;
export const ud2: Semantics = undefinedOpcode;
