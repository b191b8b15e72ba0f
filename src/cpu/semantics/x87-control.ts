/** Control of the x87 and the saving of its state with the vector registers (SDM vol. 1, 8.1 and 10.5). */
import { ZERO } from '../../wasm/builder.ts';
import { type I64, i32, i64 } from '../../wasm/expr.ts';
import { v128 } from '../../wasm/simd.ts';
import { STATE, VECTOR } from '../state.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import { byStackSegment, wrapLinear } from './shared.ts';
import { pendingX87, x87Gate } from './vector.ts';
import {
  buildLegacyImage,
  buildSseImage,
  CLEARABLE,
  initialize,
  loadImage,
  loadLegacyImage,
  quiet,
  registers,
  setControl,
  statusWord,
  storeImage,
  waiting,
} from './x87-state.ts';

const CR0_MP = 2;
const CR0_TS = 8;
const IMAGE = STATE.image;

export const fninit: Semantics = quiet(initialize);
export const fnclex: Semantics = quiet((cx) =>
  cx.setState32(STATE.fpuStatus, i32.and(cx.state32(STATE.fpuStatus), i32.const(~CLEARABLE))),
);
export const fnstsw: Semantics = quiet((cx) => cx.write(0, i64.extendU(statusWord(cx))));
export const fnstcw: Semantics = quiet((cx) => cx.write(0, i64.extendU(cx.state32(STATE.fpuControl))));
export const fldcw: Semantics = waiting((cx) => setControl(cx, i32.wrap(cx.read(0))));
/** CR0.TS counts only with CR0.MP. */
export const fwait: Semantics = (cx) => {
  const both = i32.const(CR0_MP | CR0_TS);
  cx.raiseIf(i32.eq(i32.and(cx.state32(STATE.cr0), both), both), VECTOR.nm);
  pendingX87(cx);
};
export const emms: Semantics = (cx) => {
  const cr0 = cx.state32(STATE.cr0);
  cx.raiseIf(i32.and(cr0, i32.const(4)), VECTOR.ud);
  waiting((c) => {
    c.setState32(STATE.fpuTag, i32.const(0));
    c.setState32(STATE.fpuTop, i32.const(0));
  })(cx);
};

// ---- FXSAVE, FXRSTOR: 512 bytes (SDM vol. 1, table 10-2)
/** Linear address of the image. Its start must be canonical, then aligned to 16 bytes (the order of the reference CPU). */
function imageAddress(cx: SemanticsContext, access: 'read' | 'write'): I64 {
  const linear = cx.linearAddress(0, access);
  const nowhere = cx.f.let(i32.eqz(cx.call('i32', 'isCanonical', [linear])));
  byStackSegment(cx, 0, (stack) => cx.raiseIf(nowhere, stack ? VECTOR.ss : VECTOR.gp, 0));
  cx.raiseIf(i64.ne(i64.and(linear, i64.const(15)), i64.const(0)), VECTOR.gp, 0);
  return linear;
}
/** Address of the image's last byte, which is probed before the others (the order of the reference CPU). */
const lastByte = (cx: SemanticsContext, linear: I64): I64 => cx.f.let(wrapLinear(cx, i64.add(linear, i64.const(511))));
/** FXSAVE waits for nothing and needs no CR4.OSFXSR; CR0.EM gives #NM here. */
export const fxsave: Semantics = (cx) => {
  x87Gate(cx);
  const end = lastByte(cx, imageAddress(cx, 'write'));
  byStackSegment(cx, 0, (stack) => cx.probeWrite(1, end, stack));
  buildLegacyImage(cx);
  cx.f.store32(ZERO, cx.state32(STATE.mxcsr), IMAGE + 24);
  cx.f.store32(ZERO, i32.const(0xffff), IMAGE + 28);
  buildSseImage(cx);
  storeImage(cx, 0, 0, 160 + 16 * registers(cx));
};
export const fxrstor: Semantics = (cx) => {
  x87Gate(cx);
  const end = lastByte(cx, imageAddress(cx, 'read'));
  byStackSegment(cx, 0, (stack) => cx.f.drop(cx.load(1, end, stack)));
  loadImage(cx, 0, 0, 160 + 16 * registers(cx));
  cx.raiseIf(i32.shrU(i32.load(ZERO, IMAGE + 24), i32.const(16)), VECTOR.gp, 0);
  loadLegacyImage(cx);
  cx.setState32(STATE.mxcsr, i32.load(ZERO, IMAGE + 24));
  for (let i = 0; i < registers(cx); i++) cx.setXmm(i, v128.load(ZERO, IMAGE + 160 + 16 * i));
};
