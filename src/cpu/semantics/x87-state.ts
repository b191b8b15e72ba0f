/** The x87 state: control and status words, the stack, and its image in memory (SDM vol. 1, 8.1 and 10.5). No instruction is defined here. */
import { ZERO } from '../../wasm/builder.ts';
import { type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import { v128 } from '../../wasm/simd.ts';
import { SLOW, STATE } from '../state.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import { pendingX87, x87Gate } from './vector.ts';

/** Status word: exception flags, stack fault, error summary and busy. */
export const CLEARABLE = 0x80ff;
const ES_AND_B = 0x8080;
const IMAGE = STATE.image;

/** An x87 instruction that does not wait for pending exceptions. */
export const quiet =
  (body: Semantics): Semantics =>
  (cx) => {
    x87Gate(cx);
    body(cx);
  };
export const waiting =
  (body: Semantics): Semantics =>
  (cx) => {
    x87Gate(cx);
    pendingX87(cx);
    body(cx);
  };

/** The status word as software sees it: the stack top lives in a cell of its own. */
export const statusWord = (cx: SemanticsContext): I32 =>
  i32.or(cx.state32(STATE.fpuStatus), i32.shl(cx.state32(STATE.fpuTop), i32.const(11)));
/** `status` with ES and B as the masks in `control` make them. */
export function summarized(cx: SemanticsContext, status: I32, control: I32): I32 {
  const plain = cx.f.let(i32.and(status, i32.const(~ES_AND_B)));
  const open = i32.and(i32.and(plain, i32.const(0x3f)), i32.xor(control, i32.const(0x3f)));
  return i32.select(open, i32.or(plain, i32.const(ES_AND_B)), plain);
}
export function setControl(cx: SemanticsContext, value: I32): void {
  const control = cx.f.let(i32.or(i32.and(value, i32.const(0x1f7f)), i32.const(0x40)));
  cx.setState32(STATE.fpuControl, control);
  cx.setState32(STATE.fpuStatus, summarized(cx, cx.state32(STATE.fpuStatus), control));
}
/** Sets status, and the stack top from its bits 13:11, as loaded from an image. */
export function setStatus(cx: SemanticsContext, value: I32): void {
  const status = cx.f.let(value);
  cx.setState32(STATE.fpuTop, i32.and(i32.shrU(status, i32.const(11)), i32.const(7)));
  cx.setState32(STATE.fpuStatus, summarized(cx, i32.and(status, i32.const(0x47ff)), cx.state32(STATE.fpuControl)));
}
export function initialize(cx: SemanticsContext): void {
  cx.setState32(STATE.fpuControl, i32.const(0x37f));
  for (const cell of [STATE.fpuStatus, STATE.fpuTag, STATE.fpuTop, STATE.fpuOpcode, STATE.fpuCs, STATE.fpuDs])
    cx.setState32(cell, i32.const(0));
  cx.setState64(STATE.fpuIp, i64.const(0));
  cx.setState64(STATE.fpuDp, i64.const(0));
}

const accessFlags = (cx: SemanticsContext, i: number): I32 => i32.mul(cx.inStackSegment(i), i32.const(SLOW.stack));
/** Physical address in memory 0 of ST(i). */
export const stackCell = (cx: SemanticsContext, i: number): I32 =>
  i32.add(
    i32.shl(i32.and(i32.add(cx.state32(STATE.fpuTop), i32.const(i)), i32.const(7)), i32.const(4)),
    i32.const(STATE.fpr),
  );
export const registers = (cx: SemanticsContext): number => (cx.facts.mode === 64 ? 16 : 8);

/** Puts the x87 part (160 bytes) of an FXSAVE image at the start of STATE.image. */
export function buildLegacyImage(cx: SemanticsContext): void {
  const { f } = cx;
  const wide = cx.facts.rexW;
  f.store16(ZERO, cx.state32(STATE.fpuControl), IMAGE);
  f.store16(ZERO, statusWord(cx), IMAGE + 2);
  f.store16(ZERO, cx.state32(STATE.fpuTag), IMAGE + 4);
  f.store16(ZERO, cx.state32(STATE.fpuOpcode), IMAGE + 6);
  const pointer = (cell: number, selector: number): I64 =>
    wide
      ? cx.state64(cell)
      : i64.or(i64.extendU(cx.state32(cell)), i64.shl(i64.extendU(cx.state32(selector)), i64.const(32)));
  f.store64(ZERO, pointer(STATE.fpuIp, STATE.fpuCs), IMAGE + 8);
  f.store64(ZERO, pointer(STATE.fpuDp, STATE.fpuDs), IMAGE + 16);
  for (let i = 0; i < 8; i++) {
    const value = v128.and(v128.load(f.let(stackCell(cx, i))), TEN_BYTES);
    f.storeV128(ZERO, value, IMAGE + 32 + 16 * i);
  }
}
const TEN_BYTES = v128.const(Uint8Array.from({ length: 16 }, (_, i) => (i < 10 ? 0xff : 0)));
/** Takes the x87 part of the image at STATE.image into the state. */
export function loadLegacyImage(cx: SemanticsContext): void {
  const { f } = cx;
  const cell = (offset: number): I32 => i32.load16U(ZERO, IMAGE + offset);
  cx.setState32(STATE.fpuControl, i32.or(i32.and(cell(0), i32.const(0x1f7f)), i32.const(0x40)));
  setStatus(cx, cell(2));
  cx.setState32(STATE.fpuTag, i32.and(cell(4), i32.const(0xff)));
  cx.setState32(STATE.fpuOpcode, i32.and(cell(6), i32.const(0x7ff)));
  for (const [to, selector, offset] of [
    [STATE.fpuIp, STATE.fpuCs, 8],
    [STATE.fpuDp, STATE.fpuDs, 16],
  ] as const) {
    cx.setState64(to, cx.facts.rexW ? i64.load(ZERO, IMAGE + offset) : i64.load32U(ZERO, IMAGE + offset));
    cx.setState32(selector, cx.facts.rexW ? i32.const(0) : cell(offset + 4));
  }
  for (let i = 0; i < 8; i++) {
    f.storeV128(f.let(stackCell(cx, i)), v128.and(v128.load(ZERO, IMAGE + 32 + 16 * i), TEN_BYTES));
  }
}
/** MXCSR, its mask and the XMM registers, at their places in the image. */
export function buildSseImage(cx: SemanticsContext): void {
  for (let i = 0; i < registers(cx); i++) cx.f.storeV128(ZERO, cx.xmm(i), IMAGE + 160 + 16 * i);
}
export function storeImage(cx: SemanticsContext, i: number, from: number, length: number, linear?: I64): void {
  cx.f.callVoid(cx.helper('storeImage'), [
    linear ?? cx.linearAddress(i),
    i32.const(from),
    i32.const(length),
    accessFlags(cx, i),
  ]);
  cx.checkFault();
}
export function loadImage(cx: SemanticsContext, i: number, to: number, length: number, linear?: I64): void {
  cx.f.callVoid(cx.helper('loadImage'), [
    linear ?? cx.linearAddress(i),
    i32.const(to),
    i32.const(length),
    accessFlags(cx, i),
  ]);
  cx.checkFault();
}
