/** Addition, subtraction, logic, comparison (SDM vol. 2, one section an instruction). */
import { type I64, i32, i64 } from '../../wasm/expr.ts';
import type { Semantics } from './context.ts';
import { NONE, signExtend } from './shared.ts';

export const add: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(0);
  const a = f.let(cx.modify(0));
  const b = f.let(cx.readS(1));
  const sum = f.let(i64.add(a, b));
  cx.commit(0, sum);
  cx.flagsAdd(width, a, b, signExtend(width, sum));
};

export const adc: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(0);
  const a = f.let(cx.modify(0));
  const b = f.let(cx.readS(1));
  const carry = f.let(cx.flag('cf'));
  const sum = f.let(i64.add(i64.add(a, b), i64.extendU(carry)));
  cx.commit(0, sum);
  cx.flagsAdd(width, a, b, signExtend(width, sum), carry);
};

export const sub: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(0);
  const a = f.let(cx.modify(0));
  const b = f.let(cx.readS(1));
  const difference = f.let(i64.sub(a, b));
  cx.commit(0, difference);
  cx.flagsSub(width, a, b, signExtend(width, difference));
};

export const sbb: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(0);
  const a = f.let(cx.modify(0));
  const b = f.let(cx.readS(1));
  const borrow = f.let(cx.flag('cf'));
  const difference = f.let(i64.sub(i64.sub(a, b), i64.extendU(borrow)));
  cx.commit(0, difference);
  cx.flagsSub(width, a, b, signExtend(width, difference), borrow);
};

export const cmp: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(0);
  const a = f.let(cx.readS(0));
  const b = f.let(cx.readS(1));
  cx.flagsSub(width, a, b, signExtend(width, i64.sub(a, b)));
};

/** Both operands are sign-extended, and so is what a bitwise operation makes of them. */
const logic =
  (operation: (a: I64, b: I64) => I64): Semantics =>
  (cx) => {
    const a = cx.f.let(cx.modify(0));
    const result = cx.f.let(operation(a, cx.readS(1)));
    cx.commit(0, result);
    cx.flagsLogic(cx.width(0), result);
  };
export const and: Semantics = logic(i64.and);
export const or: Semantics = logic(i64.or);
export const xor: Semantics = logic(i64.xor);

export const test: Semantics = (cx) => {
  const a = cx.f.let(cx.readS(0));
  cx.flagsLogic(cx.width(0), i64.and(a, cx.readS(1)));
};

const LOW_DIGIT = i64.const(15);

/** CF is the one status flag that INC and DEC leave alone. */
export const inc: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(0);
  const sum = f.let(i64.add(cx.modify(0), i64.const(1)));
  cx.commit(0, sum);
  const carry = f.let(cx.keptCarry());
  const result = signExtend(width, sum);
  const least = i64.const(-(1n << BigInt(width * 8 - 1)));
  cx.flagsResult(width, result, carry, i64.eq(result, least), i64.eqz(i64.and(sum, LOW_DIGIT)));
};

export const dec: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(0);
  const difference = f.let(i64.sub(cx.modify(0), i64.const(1)));
  cx.commit(0, difference);
  const carry = f.let(cx.keptCarry());
  const result = signExtend(width, difference);
  const greatest = i64.const((1n << BigInt(width * 8 - 1)) - 1n);
  cx.flagsResult(width, result, carry, i64.eq(result, greatest), i64.eq(i64.and(difference, LOW_DIGIT), LOW_DIGIT));
};

export const neg: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(0);
  const value = f.let(cx.modify(0));
  const result = f.let(i64.sub(NONE, value));
  cx.commit(0, result);
  cx.flagsSub(width, NONE, value, signExtend(width, result));
};

export const not: Semantics = (cx) => cx.commit(0, i64.xor(cx.modify(0), i64.const(-1)));

/** ADX: an addition whose carry goes through one flag alone (SDM vol. 2, "ADCX", "ADOX"). */
const addThrough =
  (flag: 'cf' | 'of'): Semantics =>
  (cx) => {
    const { f } = cx;
    const width = cx.width(0);
    const a = f.let(cx.read(0));
    const b = f.let(cx.read(1));
    const carry = f.let(i64.extendU(cx.flag(flag)));
    const partial = f.let(i64.add(a, b));
    const sum = f.let(i64.add(partial, carry));
    cx.write(0, sum);
    const out =
      width === 8 ? i32.or(i64.ltU(partial, a), i64.ltU(sum, partial)) : i32.wrap(i64.shrU(sum, i64.const(width * 8)));
    cx.flagsSet(flag === 'cf' ? { cf: out } : { of: out });
  };
export const adcx: Semantics = addThrough('cf');
export const adox: Semantics = addThrough('of');
