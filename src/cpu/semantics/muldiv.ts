/** Multiplication and division (SDM vol. 2, "MUL", "IMUL", "DIV", "IDIV", "MULX"). */
import { type I64, i32, i64 } from '../../wasm/expr.ts';
import { VECTOR } from '../state.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import { isNegative, NONE, RAX, RDX, signExtend, widthOf, zeroExtend } from './shared.ts';

const BYTE = i64.const(8);

/** One-operand MUL and IMUL: a double-width product in AX or (r)DX:(r)AX; CF = OF = the upper half matters. */
function multiply(cx: SemanticsContext, signed: boolean): void {
  const { f } = cx;
  const width = widthOf(cx, 0);
  const factor = f.let(signed ? cx.readS(0) : cx.read(0));
  const own = f.let(signed ? cx.gprS(RAX, width) : cx.gpr(RAX, width));
  const product = f.let(i64.mul(own, factor));
  if (width === 8) {
    const high = f.let(cx.call('i64', signed ? 'multiplyHighSigned' : 'multiplyHigh', [own, factor]));
    cx.setGpr(RAX, product);
    cx.setGpr(RDX, high);
    const extended = i64.ne(high, signed ? i64.shrS(product, i64.const(63)) : NONE);
    cx.flagsResult(width, product, extended, extended);
    return;
  }
  if (width === 1) cx.setGpr(RAX, product, 2);
  else {
    cx.setGpr(RAX, product, width);
    cx.setGpr(RDX, i64.shrU(product, i64.const(width * 8)), width);
  }
  const extended = i64.ne(product, signed ? signExtend(width, product) : zeroExtend(width, product));
  cx.flagsResult(width, signExtend(width, product), extended, extended);
}

export const mul: Semantics = (cx) => multiply(cx, false);

export const imul: Semantics = (cx) => {
  const count = cx.facts.operands.length;
  if (count === 1) {
    multiply(cx, true);
    return;
  }
  const { f } = cx;
  const width = cx.width(0);
  const a = f.let(cx.readS(count - 2));
  const b = f.let(cx.readS(count - 1));
  const product = f.let(i64.mul(a, b));
  cx.write(0, product);
  const lost = width === 8 ? cx.call('i32', 'multiplyOverflows', [a, b]) : i64.ne(product, signExtend(width, product));
  cx.flagsResult(width, signExtend(width, product), lost, lost);
};

/** BMI2: RDX times the last operand; the high half goes to the first, which wins when both are the same. */
export const mulx: Semantics = (cx) => {
  const { f } = cx;
  const width = widthOf(cx, 0);
  const a = f.let(cx.gpr(RDX, width));
  const b = f.let(cx.read(2));
  const product = f.let(i64.mul(a, b));
  const high = f.let(width === 8 ? cx.call('i64', 'multiplyHigh', [a, b]) : i64.shrU(product, i64.const(32)));
  cx.write(1, product);
  cx.write(0, high);
};

/** Writes what a division of a narrower operand gave. */
function writeQuotient(cx: SemanticsContext, width: 1 | 2 | 4, quotient: I64, remainder: I64): void {
  if (width === 1) {
    cx.setGpr(RAX, i64.or(i64.and(quotient, i64.const(0xff)), i64.shl(remainder, BYTE)), 2);
    return;
  }
  cx.setGpr(RAX, quotient, width);
  cx.setGpr(RDX, remainder, width);
}
/** AX, DX:AX or EDX:EAX, zero-extended. */
function dividendOf(cx: SemanticsContext, width: 1 | 2 | 4): I64 {
  if (width === 1) return cx.gpr(RAX, 2);
  return i64.or(i64.shl(cx.gpr(RDX, width), i64.const(width * 8)), cx.gpr(RAX, width));
}

export const div: Semantics = (cx) => {
  const { f } = cx;
  const width = widthOf(cx, 0);
  const divisor = f.let(cx.read(0));
  if (width === 8) {
    const low = f.let(cx.gpr(RAX));
    const high = f.let(cx.gpr(RDX));
    // the quotient fits exactly when the high half is below the divisor, which also catches a divisor of 0
    cx.raiseIf(i64.geU(high, divisor), VECTOR.de);
    const quotient = f.choose(
      'i64',
      i64.eqz(high),
      () => i64.divU(low, divisor),
      () => cx.call('i64', 'divide128', [high, low, divisor]),
    );
    cx.setGpr(RAX, quotient);
    cx.setGpr(RDX, i64.sub(low, i64.mul(quotient, divisor)));
    return;
  }
  const dividend = f.let(dividendOf(cx, width));
  cx.raiseIf(i64.geU(i64.shrU(dividend, i64.const(width * 8)), divisor), VECTOR.de);
  const quotient = f.let(i64.divU(dividend, divisor));
  writeQuotient(cx, width, quotient, f.let(i64.remU(dividend, divisor)));
};

export const idiv: Semantics = (cx) => {
  const { f } = cx;
  const width = widthOf(cx, 0);
  const divisor = f.let(cx.readS(0));
  if (width === 8) {
    divideSigned128(cx, divisor);
    return;
  }
  const unsigned = dividendOf(cx, width);
  const dividend = f.let(width === 4 ? unsigned : signExtend(width * 2, unsigned));
  cx.raiseIf(i64.eqz(divisor), VECTOR.de);
  if (width === 4) {
    // the one quotient that wasm cannot represent either
    const least = i64.eq(dividend, i64.halves(0, -0x8000_0000));
    cx.raiseIf(i32.and(least, i64.eq(divisor, i64.const(-1))), VECTOR.de);
  }
  const quotient = f.let(i64.divS(dividend, divisor));
  cx.raiseIf(i64.ne(quotient, signExtend(width, quotient)), VECTOR.de);
  writeQuotient(cx, width, quotient, f.let(i64.remS(dividend, divisor)));
};

/** RDX:RAX by a 64-bit operand: magnitudes are divided, the signs follow (the remainder has the dividend's). */
function divideSigned128(cx: SemanticsContext, divisor: I64): void {
  const { f } = cx;
  const low = f.let(cx.gpr(RAX));
  const high = f.let(cx.gpr(RDX));
  const negative = isNegative(high);
  const magnitudeLow = f.let(i64.select(negative, i64.sub(NONE, low), low));
  const borrow = i64.extendU(i64.ne(low, NONE));
  const magnitudeHigh = f.let(i64.select(negative, i64.sub(i64.sub(NONE, high), borrow), high));
  const by = f.let(i64.select(isNegative(divisor), i64.sub(NONE, divisor), divisor));
  cx.raiseIf(i64.geU(magnitudeHigh, by), VECTOR.de);
  const magnitude = f.choose(
    'i64',
    i64.eqz(magnitudeHigh),
    () => i64.divU(magnitudeLow, by),
    () => cx.call('i64', 'divide128', [magnitudeHigh, magnitudeLow, by]),
  );
  const opposite = f.let(isNegative(i64.xor(high, divisor)));
  const limit = i64.add(i64.halves(-1, 0x7fff_ffff), i64.extendU(opposite));
  cx.raiseIf(i64.gtU(magnitude, limit), VECTOR.de);
  const quotient = f.let(i64.select(opposite, i64.sub(NONE, magnitude), magnitude));
  cx.setGpr(RAX, quotient);
  cx.setGpr(RDX, i64.sub(low, i64.mul(quotient, divisor)));
}
