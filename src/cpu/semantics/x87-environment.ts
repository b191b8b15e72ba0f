/** The x87 environment and state in memory (SDM vol. 1, 8.1.10 and 8.1.11). */
import { ZERO } from '../../wasm/builder.ts';
import { type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import { STATE } from '../state.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import { byStackSegment } from './shared.ts';
import {
  initialize,
  loadImage,
  quiet,
  setControl,
  setStatus,
  stackCell,
  statusWord,
  storeImage,
  waiting,
} from './x87-state.ts';

const IMAGE = STATE.image;
const c32 = i32.const;
const REGISTERS = 80;
const ALL_MASKS = 0x3f;
const isShort = (cx: SemanticsContext): boolean => cx.facts.operandSize === 2;
const environmentSize = (cx: SemanticsContext): number => (isShort(cx) ? 14 : 28);

/** Two tag bits for each register: valid 0, zero 1, special 2, empty 3. */
function tagWord(cx: SemanticsContext): I32 {
  const { f } = cx;
  const word = f.newLocal('i32');
  f.set(word, c32(0));
  for (let r = 0; r < 8; r++) {
    const exponent = f.let(i32.and(i32.load16U(ZERO, STATE.fpr + 16 * r + 8), c32(0x7fff)));
    const mantissa = f.let(i64.load(ZERO, STATE.fpr + 16 * r));
    const zero = i32.and(i32.eqz(exponent), i64.eqz(mantissa));
    const between = i32.ltU(i32.sub(exponent, c32(1)), c32(0x7ffe));
    const valid = i32.and(between, i64.ltS(mantissa, i64.const(0)));
    const kind = i32.select(zero, c32(1), i32.select(valid, c32(0), c32(2)));
    const used = i32.and(cx.state32(STATE.fpuTag), c32(1 << r));
    const tag = i32.select(used, kind, c32(3));
    f.set(word, i32.or(f.get('i32', word), i32.shl(tag, c32(2 * r))));
  }
  return f.get('i32', word);
}
function buildEnvironment(cx: SemanticsContext): void {
  const { f } = cx;
  const tags = tagWord(cx);
  const high = (cell: number): I32 => i32.shrU(cx.state32(cell), c32(16));
  const opcode = i32.and(cx.state32(STATE.fpuOpcode), c32(0x7ff));
  if (isShort(cx)) {
    const fields = [cx.state32(STATE.fpuControl), statusWord(cx), tags, cx.state32(STATE.fpuIp)];
    if (cx.facts.mode === 16)
      fields.push(
        i32.or(i32.shl(high(STATE.fpuIp), c32(12)), opcode),
        cx.state32(STATE.fpuDp),
        i32.shl(high(STATE.fpuDp), c32(12)),
      );
    else fields.push(cx.state32(STATE.fpuCs), cx.state32(STATE.fpuDp), cx.state32(STATE.fpuDs));
    fields.forEach((value, i) => {
      f.store16(ZERO, value, IMAGE + 2 * i);
    });
    return;
  }
  const reserved = (value: I32): I32 => i32.or(value, c32(-0x1_0000));
  const fields = [
    reserved(cx.state32(STATE.fpuControl)),
    reserved(statusWord(cx)),
    reserved(tags),
    cx.state32(STATE.fpuIp),
    i32.or(cx.state32(STATE.fpuCs), i32.shl(opcode, c32(16))),
    cx.state32(STATE.fpuDp),
    reserved(cx.state32(STATE.fpuDs)),
  ];
  fields.forEach((value, i) => {
    f.store32(ZERO, value, IMAGE + 4 * i);
  });
}
function loadEnvironment(cx: SemanticsContext): void {
  const { f } = cx;
  const step = isShort(cx) ? 2 : 4;
  const cell = (i: number): I32 => i32.load16U(ZERO, IMAGE + step * i);
  setControl(cx, cell(0));
  setStatus(cx, cell(1));
  const tags = f.newLocal('i32');
  f.set(tags, c32(0));
  for (let r = 0; r < 8; r++) {
    const empty = i32.eq(i32.and(i32.shrU(cell(2), c32(2 * r)), c32(3)), c32(3));
    f.set(tags, i32.or(f.get('i32', tags), i32.shl(i32.eqz(empty), c32(r))));
  }
  cx.setState32(STATE.fpuTag, f.get('i32', tags));
  const pointer = (i: number): I64 => (step === 2 ? i64.extendU(cell(i)) : i64.load32U(ZERO, IMAGE + step * i));
  cx.setState64(STATE.fpuIp, pointer(3));
  cx.setState32(STATE.fpuCs, cell(4));
  cx.setState64(STATE.fpuDp, pointer(5));
  cx.setState32(STATE.fpuDs, cell(6));
  if (step === 4) cx.setState32(STATE.fpuOpcode, i32.and(i32.load16U(ZERO, IMAGE + 18), c32(0x7ff)));
}
/** Sizes are no multiples of 8, which images are moved by: the last eight bytes go by themselves. */
function storeAll(cx: SemanticsContext, size: number): void {
  const linear = cx.linearAddress(0, 'write');
  const last = cx.f.let(i64.add(linear, i64.const(size - 8)));
  byStackSegment(cx, 0, (stack) => {
    cx.probeWrite(isShort(cx) ? 2 : 4, linear, stack);
    cx.probeWrite(8, linear, stack);
    cx.probeWrite(8, last, stack);
  });
  storeImage(cx, 0, 0, size & ~7, linear);
  storeImage(cx, 0, size - 8, 8, last);
}
function loadAll(cx: SemanticsContext, size: number): void {
  const linear = cx.linearAddress(0);
  byStackSegment(cx, 0, (stack) => cx.f.drop(cx.load(isShort(cx) ? 2 : 4, linear, stack)));
  loadImage(cx, 0, 0, size & ~7, linear);
  loadImage(cx, 0, size - 8, 8, i64.add(linear, i64.const(size - 8)));
}

/** Masks all exceptions afterwards. */
export const fnstenv: Semantics = quiet((cx) => {
  buildEnvironment(cx);
  storeAll(cx, environmentSize(cx));
  setControl(cx, i32.or(cx.state32(STATE.fpuControl), c32(ALL_MASKS)));
});
export const fldenv: Semantics = waiting((cx) => {
  loadAll(cx, environmentSize(cx));
  loadEnvironment(cx);
});
export const fnsave: Semantics = quiet((cx) => {
  const { f } = cx;
  const size = environmentSize(cx);
  buildEnvironment(cx);
  for (let i = 0; i < 8; i++) {
    const at = f.let(stackCell(cx, i));
    f.store64(ZERO, i64.load(at), IMAGE + size + 10 * i);
    f.store16(ZERO, i32.load16U(at, 8), IMAGE + size + 10 * i + 8);
  }
  storeAll(cx, size + REGISTERS);
  initialize(cx);
});
export const frstor: Semantics = waiting((cx) => {
  const { f } = cx;
  const size = environmentSize(cx);
  loadAll(cx, size + REGISTERS);
  loadEnvironment(cx);
  for (let i = 0; i < 8; i++) {
    const at = f.let(stackCell(cx, i));
    f.store64(at, i64.load(ZERO, IMAGE + size + 10 * i));
    f.store64(at, i64.load16U(ZERO, IMAGE + size + 10 * i + 8), 8);
  }
});
