/** BMI1 and BMI2 bit fields (SDM vol. 2, "ANDN" to "PEXT"); the BMI2 shifts are in shift.ts, MULX in muldiv.ts. */
import { type I64, i64 } from '../../wasm/expr.ts';
import type { Semantics } from './context.ts';
import { NONE, OFF, signExtend } from './shared.ts';

const ONE = i64.const(1);
const ALL = i64.const(-1);

/** AND of the third operand with the complement of the second. */
export const andn: Semantics = (cx) => {
  const result = cx.f.let(i64.and(i64.xor(cx.readS(1), ALL), cx.readS(2)));
  cx.write(0, result);
  cx.flagsLogic(cx.width(0), result);
};

/** Start in bits 7:0 of the control, length in bits 15:8; SF and PF are undefined. */
export const bextr: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(0);
  const source = f.let(cx.read(1));
  const control = f.let(cx.read(2));
  const start = f.let(i64.and(control, i64.const(0xff)));
  const length = f.let(i64.and(i64.shrU(control, i64.const(8)), i64.const(0xff)));
  const shifted = i64.select(i64.ltU(start, i64.const(64)), i64.shrU(source, start), NONE);
  const mask = i64.select(i64.ltU(length, i64.const(64)), i64.sub(i64.shl(ONE, length), ONE), ALL);
  const result = f.let(i64.and(shifted, mask));
  cx.write(0, result);
  cx.flagsLogic(width, signExtend(width, result));
};

/** The three operations on the lowest set bit; CF tells whether the source is 0 (or, for BLSI, is not). */
const lowestBit =
  (operation: (value: I64, below: I64) => I64, carryWhenZero: boolean): Semantics =>
  (cx) => {
    const { f } = cx;
    const width = cx.width(0);
    const source = f.let(cx.readS(1));
    const result = f.let(operation(source, i64.sub(source, ONE)));
    cx.write(0, result);
    const carry = carryWhenZero ? i64.eqz(source) : i64.ne(source, NONE);
    cx.flagsResult(width, signExtend(width, result), carry, OFF);
  };
export const blsi: Semantics = lowestBit((value) => i64.and(value, i64.sub(NONE, value)), false);
export const blsmsk: Semantics = lowestBit(i64.xor, true);
export const blsr: Semantics = lowestBit(i64.and, true);

/** Clears the bits from the index in bits 7:0 of the third operand up; CF = the index is beyond the operand. */
export const bzhi: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(0);
  const source = f.let(cx.readS(1));
  const index = f.let(i64.and(cx.read(2), i64.const(0xff)));
  const beyond = f.let(i64.gtU(index, i64.const(width * 8 - 1)));
  const kept = i64.and(source, i64.sub(i64.shl(ONE, index), ONE));
  const result = f.let(i64.select(beyond, source, kept));
  cx.write(0, result);
  cx.flagsResult(width, signExtend(width, result), beyond, OFF);
};

export const pdep: Semantics = (cx) => cx.write(0, cx.call('i64', 'depositBits', [cx.read(1), cx.read(2)]));
export const pext: Semantics = (cx) => cx.write(0, cx.call('i64', 'extractBits', [cx.read(1), cx.read(2)]));
