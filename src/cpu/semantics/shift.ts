/** Shifts and rotates (SDM vol. 2, "SAL/SAR/SHL/SHR", "RCL/RCR/ROL/ROR", "SHLD", "SHRD"). */
import { type I32, type I64, i32, i64, isConst } from '../../wasm/expr.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import { bitAt, isNegative, NONE, OFF, ON, signExtend, zeroExtend } from './shared.ts';

/** The count as the processor uses it: modulo 64 for 64-bit operands, else modulo 32, in a local. */
const maskedCount = (cx: SemanticsContext, i: number, width: number): I64 =>
  cx.f.let(i64.and(cx.read(i), i64.const(width === 8 ? 63 : 31)));

/** A count of 0 changes no flag. */
function unlessZero(cx: SemanticsContext, count: I64, flags: () => void): void {
  if (!isConst(count)) cx.flagsIf(i64.ne(count, NONE), flags);
  else if (count.lo !== 0) flags();
}

export const shl: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(0);
  const bits = width * 8;
  const value = f.let(cx.modify(0));
  const count = maskedCount(cx, 1, width);
  const result = f.let(i64.shl(value, count));
  cx.commit(0, result);
  unlessZero(cx, count, () => {
    if (width === 8) {
      // bit 0 of the rotated value is the last bit shifted out
      const rotated = i64.rotl(value, count);
      const carry = bitAt(rotated, 0);
      cx.flagsResult(width, result, carry, i32.xor(carry, isNegative(result)));
      return;
    }
    const overflow = bitAt(i64.xor(result, i64.shrU(result, i64.const(1))), bits - 1);
    cx.flagsResult(width, signExtend(width, result), bitAt(result, bits), overflow);
  });
};

export const shr: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(0);
  const value = f.let(zeroExtend(width, cx.modify(0)));
  const count = maskedCount(cx, 1, width);
  const result = f.let(i64.shrU(value, count));
  cx.commit(0, result);
  unlessZero(cx, count, () => {
    const carry = bitAtCount(value, i64.sub(count, i64.const(1)));
    cx.flagsResult(width, signExtend(width, result), carry, bitAt(value, width * 8 - 1));
  });
};

export const sar: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(0);
  const value = f.let(cx.modify(0));
  const count = maskedCount(cx, 1, width);
  const result = f.let(i64.shrS(value, count));
  cx.commit(0, result);
  unlessZero(cx, count, () => {
    const carry = i32.and(i32.wrap(i64.shrS(value, i64.sub(count, i64.const(1)))), ON);
    cx.flagsResult(width, result, carry, OFF);
  });
};

const bitAtCount = (value: I64, index: I64): I32 => i32.and(i32.wrap(i64.shrU(value, index)), ON);

/** Copies of an 8- or 16-bit value fill 32 bits, so that a 32-bit rotation rotates it. */
function rotation(width: number, value: I64, count: I64, left: boolean): I64 {
  if (width === 8) return left ? i64.rotl(value, count) : i64.rotr(value, count);
  const low = i32.wrap(zeroExtend(width === 4 ? 8 : width, value));
  const copies = width === 4 ? low : i32.mul(low, i32.const(width === 2 ? 0x10001 : 0x1010101));
  const by = i32.wrap(count);
  return i64.extendU(left ? i32.rotl(copies, by) : i32.rotr(copies, by));
}

/** Only CF and OF change. A multiple of the width leaves the value but still sets CF. */
export const rol: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(0);
  const value = f.let(cx.modify(0));
  const count = maskedCount(cx, 1, width);
  const result = f.let(rotation(width, value, count, true));
  cx.commit(0, result);
  unlessZero(cx, count, () => {
    const carry = f.let(bitAt(result, 0));
    cx.flagsSet({ cf: carry, of: i32.xor(carry, bitAt(result, width * 8 - 1)) });
  });
};

export const ror: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(0);
  const value = f.let(cx.modify(0));
  const count = maskedCount(cx, 1, width);
  const result = f.let(rotation(width, value, count, false));
  cx.commit(0, result);
  unlessZero(cx, count, () => {
    const carry = f.let(bitAt(result, width * 8 - 1));
    cx.flagsSet({ cf: carry, of: i32.xor(carry, bitAt(result, width * 8 - 2)) });
  });
};

/**
 * Rotation through CF of fewer than 64 bits: CF is bit `bits` of a value of bits + 1, so the count counts modulo that.
 * A right rotation is a left one by the rest.
 */
function rotateThroughCarry(cx: SemanticsContext, width: number, left: boolean): void {
  const { f } = cx;
  const bits = width * 8;
  const old = f.let(cx.modify(0));
  const carryIn = f.let(cx.flag('cf'));
  const count = maskedCount(cx, 1, width);
  const modulus = i64.const(bits + 1);
  // 32-bit counts are below 33 already
  const turns = width === 4 ? count : f.let(i64.remU(count, modulus));
  const value = f.let(i64.or(zeroExtend(width, old), i64.shl(i64.extendU(carryIn), i64.const(bits))));
  const rest = i64.sub(modulus, turns);
  const mixed = left
    ? i64.or(i64.shl(value, turns), i64.shrU(value, rest))
    : i64.or(i64.shrU(value, turns), i64.shl(value, rest));
  const result = f.let(mixed);
  cx.commit(0, result);
  unlessZero(cx, count, () => {
    const carry = f.let(bitAt(result, bits));
    const overflow = i32.xor(bitAt(result, bits - 1), left ? carry : bitAt(result, bits - 2));
    cx.flagsSet({ cf: carry, of: overflow });
  });
}

/** 64 bits and CF do not fit one value: the parts are joined by hand; a count of 0 is the value itself. */
function rotateThroughCarry64(cx: SemanticsContext, left: boolean): void {
  const { f } = cx;
  const value = f.let(cx.modify(0));
  const carryIn = f.let(i64.extendU(cx.flag('cf')));
  const count = maskedCount(cx, 1, 8);
  const one = i64.const(1);
  const before = f.let(i64.sub(count, one));
  // shifted by 64 - count and by 1 more, so that a count of 1 leaves none of these bits
  const away = i64.sub(NONE, count);
  const moved = left
    ? i64.or(i64.or(i64.shl(value, count), i64.shl(carryIn, before)), i64.shrU(i64.shrU(value, one), away))
    : i64.or(i64.or(i64.shrU(value, count), i64.shl(carryIn, away)), i64.shl(i64.shl(value, one), away));
  const result = f.let(i64.select(i64.eqz(count), value, moved));
  cx.commit(0, result);
  unlessZero(cx, count, () => {
    const carry = f.let(left ? bitAtCount(value, away) : bitAtCount(value, before));
    const overflow = i32.xor(isNegative(result), left ? carry : bitAt(result, 62));
    cx.flagsSet({ cf: carry, of: overflow });
  });
}
export const rcl: Semantics = (cx) =>
  cx.width(0) === 8 ? rotateThroughCarry64(cx, true) : rotateThroughCarry(cx, cx.width(0), true);
export const rcr: Semantics = (cx) =>
  cx.width(0) === 8 ? rotateThroughCarry64(cx, false) : rotateThroughCarry(cx, cx.width(0), false);

/** The 64-bit double shift: a count of 0 must not bring in the second operand, so it is shifted by 1 and 63 - count. */
function doubleShift64(cx: SemanticsContext, left: boolean): void {
  const { f } = cx;
  const value = f.let(cx.modify(0));
  const filler = cx.read(1);
  const count = maskedCount(cx, 2, 8);
  const one = i64.const(1);
  const rest = i64.xor(count, i64.const(63));
  const joined = left
    ? i64.or(i64.shl(value, count), i64.shrU(i64.shrU(filler, one), rest))
    : i64.or(i64.shrU(value, count), i64.shl(i64.shl(filler, one), rest));
  const result = f.let(joined);
  cx.commit(0, result);
  unlessZero(cx, count, () => {
    const carry = bitAtCount(value, left ? i64.sub(NONE, count) : i64.sub(count, one));
    cx.flagsResult(8, result, carry, isNegative(i64.xor(value, result)));
  });
}

/**
 * Narrower double shifts work on a chain of both operands: going left, the destination is its top, going right, its
 * bottom. A 16-bit count above 16 is undefined: the reference CPU (AMD EPYC) shifts the second operand in once more, so
 * the chain holds it twice.
 */
function doubleShift(cx: SemanticsContext, left: boolean): void {
  const width = cx.width(0);
  if (width === 8) {
    doubleShift64(cx, left);
    return;
  }
  const { f } = cx;
  const bits = width * 8;
  const value = f.let(cx.modify(0));
  const filler = f.let(cx.read(1));
  const count = maskedCount(cx, 2, width);
  const fillers = width === 4 ? 1 : 2;
  const part = (operand: I64, position: number): I64 => i64.shl(operand, i64.const(bits * position));
  let parts = part(zeroExtend(width, value), left ? fillers : 0);
  for (let n = 0; n < fillers; n++) parts = i64.or(parts, part(filler, left ? n : n + 1));
  const chain = f.let(parts);
  const result = f.let(left ? i64.shrU(i64.shl(chain, count), i64.const(bits * fillers)) : i64.shrU(chain, count));
  cx.commit(0, result);
  unlessZero(cx, count, () => {
    const chainBits = i64.const(bits * (fillers + 1));
    const carry = bitAtCount(chain, left ? i64.sub(chainBits, count) : i64.sub(count, i64.const(1)));
    const signed = f.let(signExtend(width, result));
    cx.flagsResult(width, signed, carry, isNegative(i64.xor(value, signed)));
  });
}
export const shld: Semantics = (cx) => doubleShift(cx, true);
export const shrd: Semantics = (cx) => doubleShift(cx, false);

/** BMI2 shifts: the count is the third operand, no flag changes. */
const flagless =
  (signed: boolean, shift: (value: I64, count: I64) => I64): Semantics =>
  (cx) => {
    const width = cx.width(0);
    const count = i64.and(cx.read(2), i64.const(width * 8 - 1));
    cx.write(0, shift(signed ? cx.readS(1) : cx.read(1), count));
  };
export const sarx: Semantics = flagless(true, i64.shrS);
export const shrx: Semantics = flagless(false, i64.shrU);
export const shlx: Semantics = flagless(false, i64.shl);

export const rorx: Semantics = (cx) => {
  const width = cx.width(0);
  const count = i64.and(cx.read(2), i64.const(width * 8 - 1));
  cx.write(0, rotation(width, cx.read(1), count, false));
};
