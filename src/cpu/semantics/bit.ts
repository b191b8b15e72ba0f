/** Bit tests, scans and counts (SDM vol. 2, "BT" to "BTS", "BSF", "BSR", "TZCNT", "LZCNT", "POPCNT", "CRC32", "ARPL"). */
import { type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import { FLAG } from '../decode/types.ts';
import { STATE, VECTOR } from '../state.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import { byStackSegment, linearAddressPlus, NONE, OFF, ON, signExtend, widthOf, writeIf } from './shared.ts';

type Change = (value: I64, bit: I64) => I64;
const set: Change = (value, bit) => i64.or(value, bit);
const reset: Change = (value, bit) => i64.and(value, i64.xor(bit, i64.const(-1)));
const complement: Change = (value, bit) => i64.xor(value, bit);

const selected = (value: I64, index: I64): I32 => i32.and(i32.wrap(i64.shrU(value, index)), ON);
/**
 * CF from the tested bit; ZF is kept. OF, SF, AF and PF are undefined: a new record with a result that is 0 exactly when
 * ZF was set costs less than taking the old flags apart.
 */
const flagsOfTest = (cx: SemanticsContext, carry: I32): void =>
  cx.flagsResult(8, i64.extendU(i32.eqz(cx.flag('zf'))), carry, OFF);
const bitMask = (index: I64): I64 => i64.shl(i64.const(1), index);

/**
 * A register offset is signed and reaches beyond a memory operand: the unit of the operand's width that holds the bit
 * is the one accessed.
 */
function testFarBit(cx: SemanticsContext, change: Change | undefined): void {
  const { f } = cx;
  const width = widthOf(cx, 0);
  const shift = width === 8 ? 6 : width === 4 ? 5 : 4;
  const offset = f.let(cx.readS(1));
  const unit = i64.shl(i64.shrS(offset, i64.const(shift)), i64.const(shift - 3));
  const linear = linearAddressPlus(cx, 0, unit, width, change !== undefined);
  const index = f.let(i64.and(offset, i64.const(width * 8 - 1)));
  const value = f.newLocal('i64');
  byStackSegment(cx, 0, (stack) => {
    if (change !== undefined) cx.probeWrite(width, linear, stack);
    f.set(value, cx.load(width, linear, stack));
  });
  const old = f.get('i64', value);
  if (change !== undefined) cx.store(width, linear, change(old, bitMask(index)));
  flagsOfTest(cx, selected(old, index));
}

const bitTest =
  (change?: Change): Semantics =>
  (cx) => {
    const { f } = cx;
    if (cx.kind(0) === 'mem' && cx.kind(1) !== 'imm') {
      testFarBit(cx, change);
      return;
    }
    const value = f.let(change === undefined ? cx.readS(0) : cx.modify(0));
    const index = f.let(i64.and(cx.read(1), i64.const(cx.width(0) * 8 - 1)));
    if (change !== undefined) cx.commit(0, change(value, bitMask(index)));
    flagsOfTest(cx, selected(value, index));
  };
export const bt: Semantics = bitTest();
export const bts: Semantics = bitTest(set);
export const btr: Semantics = bitTest(reset);
export const btc: Semantics = bitTest(complement);

/** A source of 0 leaves the whole destination register as it was (not even zero-extended) and sets ZF. */
const scan =
  (position: (value: I64) => I64): Semantics =>
  (cx) => {
    const { f } = cx;
    const width = cx.width(0);
    const source = f.let(cx.read(1));
    writeIf(cx, i64.ne(source, NONE), 0, position(source));
    cx.flagsLogic(width, signExtend(width, source));
  };
export const bsf: Semantics = scan(i64.ctz);
export const bsr: Semantics = scan((value) => i64.xor(i64.clz(value), i64.const(63)));

/** CF = the source is 0, ZF = the count is 0. */
export const tzcnt: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(0);
  const source = f.let(cx.read(1));
  // a bit just above the operand bounds the count
  const bounded = width === 8 ? source : i64.or(source, i64.shl(i64.const(1), i64.const(width * 8)));
  const count = f.let(i64.ctz(bounded));
  cx.write(0, count);
  cx.flagsResult(width, count, i64.eqz(source), OFF);
};
export const lzcnt: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(0);
  const source = f.let(cx.read(1));
  const count = f.let(i64.sub(i64.clz(source), i64.const(64 - width * 8)));
  cx.write(0, count);
  cx.flagsResult(width, count, i64.eqz(source), OFF);
};

/** ZF from the source; the other five are cleared. */
export const popcnt: Semantics = (cx) => {
  const source = cx.f.let(cx.read(1));
  cx.write(0, i64.popcnt(source));
  cx.flagsFromWord(i32.select(i64.eqz(source), i32.const(FLAG.zf), OFF));
};

export const crc32: Semantics = (cx) => {
  const source = cx.read(1);
  const crc = cx.call('i32', 'crc32c', [i32.wrap(cx.read(0)), source, i32.const(cx.width(1))]);
  cx.write(0, i64.extendU(crc));
};

/**
 * Raises the RPL of a selector to the second one's; only protected mode knows it. Memory is written only when the RPL
 * changes (reference CPU).
 */
export const arpl: Semantics = (cx) => {
  const { f } = cx;
  const virtual8086 = i32.and(cx.state32(STATE.eflags), i32.const(1 << 17));
  cx.raiseIf(i32.or(i32.eqz(i32.and(cx.state32(STATE.cr0), ON)), i32.ne(virtual8086, OFF)), VECTOR.ud);
  const selector = f.let(cx.read(0));
  const level = f.let(i64.and(cx.read(1), i64.const(3)));
  const lower = f.let(i64.ltU(i64.and(selector, i64.const(3)), level));
  f.if(lower, () => cx.write(0, i64.or(i64.and(selector, i64.const(-4)), level)));
  cx.flagsSet({ zf: lower });
};
