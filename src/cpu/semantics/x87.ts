/** x87 loads, stores, arithmetic and comparison (SDM vol. 1, chapter 8): the stack faults and numbers are the helpers'. */
import { ZERO } from '../../wasm/builder.ts';
import { type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import { FLAG, SOFT } from '../helpers/float-core.ts';
import { OPERATION } from '../helpers/x87-core.ts';
import { STATE } from '../state.ts';
import type { Bytes, Semantics, SemanticsContext } from './context.ts';
import { byStackSegment, linearAddressPlus } from './shared.ts';
import { waiting } from './x87-state.ts';

const c32 = i32.const;
const inMemory = (cx: SemanticsContext): boolean => cx.kind(0) === 'mem';
const run = (cx: SemanticsContext, name: string, args: readonly (I32 | I64)[]): void =>
  cx.f.callVoid(cx.helper(name), args);
const pop = (cx: SemanticsContext): void => {
  const top = cx.f.let(cx.state32(STATE.fpuTop));
  const bit = i32.shl(c32(1), top);
  cx.setState32(STATE.fpuTag, i32.and(cx.state32(STATE.fpuTag), i32.xor(bit, c32(-1))));
  cx.setState32(STATE.fpuTop, i32.and(i32.add(top, c32(1)), c32(7)));
};

/** A floating-point or integer memory operand into the helpers' source cells. */
function loadSource(cx: SemanticsContext, integer: boolean): void {
  if (integer) run(cx, 'x87FromInteger', [cx.readS(0)]);
  else run(cx, cx.width(0) === 4 ? 'x87FromSingle' : 'x87FromDouble', [cx.read(0)]);
}

// ---- loads
/** m80 as it is: bits 79:64 and the mantissa. */
function loadExtended(cx: SemanticsContext): { top: I32; mantissa: I64 } {
  const { f } = cx;
  const mantissa = f.newLocal('i64');
  const top = f.newLocal('i64');
  const second = linearAddressPlus(cx, 0, i64.const(8), 2, false);
  const first = linearAddressPlus(cx, 0, i64.const(0), 8, false);
  byStackSegment(cx, 0, (stack) => {
    f.set(mantissa, cx.load(8, first, stack));
    f.set(top, cx.load(2, second, stack));
  });
  return { top: i32.wrap(f.get('i64', top)), mantissa: f.get('i64', mantissa) };
}
export const fld: Semantics = waiting((cx) => {
  if (!inMemory(cx)) run(cx, 'x87PushRegister', [cx.registerNumber(0)]);
  else if (cx.width(0) === 10) {
    const { top, mantissa } = loadExtended(cx);
    run(cx, 'x87Push', [top, mantissa, c32(0)]);
  } else {
    loadSource(cx, false);
    run(cx, 'x87PushSource', []);
  }
});
export const fild: Semantics = waiting((cx) => {
  loadSource(cx, true);
  run(cx, 'x87PushSource', []);
});
/** Packed decimal: 18 digits, the sign in the top bit. */
export const fbld: Semantics = waiting((cx) => {
  const { top, mantissa } = loadExtended(cx);
  run(cx, 'x87FromDecimal', [top, mantissa]);
  run(cx, 'x87PushSource', []);
});
/** A constant, rounded as the control word says: `up` tells in which modes (bit RC) the mantissa is one more. */
const constant = (top: number, mantissa: bigint, up: number): Semantics =>
  waiting((cx) => {
    const mode = i32.and(i32.shrU(cx.state32(STATE.fpuControl), c32(10)), c32(3));
    const more = i64.extendU(i32.and(i32.shrU(c32(up), mode), c32(1)));
    run(cx, 'x87Push', [c32(top), i64.add(i64.const(mantissa), more), c32(0)]);
  });
/** Bits of `up`: nearest 1, down 2, up 4, toward zero 8. */
const NEAREST_AND_UP = 5;
const UP = 4;
export const fld1: Semantics = constant(0x3fff, 1n << 63n, 0);
export const fldz: Semantics = constant(0, 0n, 0);
export const fldl2t: Semantics = constant(0x4000, 0xd49a784bcd1b8afen, UP);
export const fldl2e: Semantics = constant(0x3fff, 0xb8aa3b295c17f0bbn, NEAREST_AND_UP);
export const fldpi: Semantics = constant(0x4000, 0xc90fdaa22168c234n, NEAREST_AND_UP);
export const fldlg2: Semantics = constant(0x3ffd, 0x9a209a84fbcff798n, NEAREST_AND_UP);
export const fldln2: Semantics = constant(0x3ffe, 0xb17217f7d1cf79abn, NEAREST_AND_UP);

// ---- stores
/** Runs `put` unless an unmasked exception forbids it, then pops. All faults have come before. */
function finishStore(cx: SemanticsContext, pops: boolean, put: () => void): void {
  const { f } = cx;
  const open = i32.xor(cx.state32(STATE.fpuControl), c32(0x3f));
  const stores = f.let(i32.eqz(i32.and(i32.and(i32.load(ZERO, SOFT.flags), open), c32(0x1f))));
  f.if(stores, put);
  // nothing was rounded where nothing was stored
  const kept = i32.select(stores, c32(-1), c32(~FLAG.inexact));
  const flags = i32.and(i32.load(ZERO, SOFT.flags), kept);
  f.drop(cx.call('i32', 'x87Finish', [flags, i32.and(i32.load(ZERO, SOFT.up), stores)]));
  if (pops) f.if(stores, () => pop(cx));
}
/** Stores `bits`, which a helper made of ST(0). */
function storeResult(cx: SemanticsContext, bits: I64, pops: boolean): void {
  const width = cx.width(0) as Bytes;
  const linear = cx.linearAddress(0, 'write');
  byStackSegment(cx, 0, (stack) => cx.probeWrite(width, linear, stack));
  finishStore(cx, pops, () => byStackSegment(cx, 0, (stack) => cx.store(width, linear, bits, stack)));
}
const store = (pops: boolean): Semantics =>
  waiting((cx) => {
    if (!inMemory(cx)) run(cx, 'x87Copy', [cx.registerNumber(0), c32(pops ? 1 : 0)]);
    else if (cx.width(0) === 10) storeExtended(cx);
    else storeResult(cx, cx.f.let(cx.call('i64', cx.width(0) === 4 ? 'x87ToSingle' : 'x87ToDouble', [])), pops);
  });
/** Makes sure that ten bytes can be written; what stores the helpers' result there. */
function tenBytes(cx: SemanticsContext): () => void {
  const second = linearAddressPlus(cx, 0, i64.const(8), 2, true);
  const first = linearAddressPlus(cx, 0, i64.const(0), 8, true);
  byStackSegment(cx, 0, (stack) => {
    cx.probeWrite(8, first, stack);
    cx.probeWrite(2, second, stack);
  });
  return () =>
    byStackSegment(cx, 0, (stack) => {
      cx.store(8, first, i64.load(ZERO, SOFT.extra), stack);
      cx.store(2, second, i64.load(ZERO, SOFT.extra + 8), stack);
    });
}
/** FSTP m80: as it is, an empty register as the indefinite. */
function storeExtended(cx: SemanticsContext): void {
  const put = tenBytes(cx);
  cx.f.if(cx.call('i32', 'x87Take', []), () => {
    put();
    pop(cx);
  });
}
export const fbstp: Semantics = waiting((cx) => {
  const put = tenBytes(cx);
  run(cx, 'x87ToDecimal', []);
  finishStore(cx, true, put);
});
export const fst: Semantics = store(false);
export const fstp: Semantics = store(true);
/** The undocumented D9 D8+i: as FSTP, but an empty ST(0) is just popped. */
export const fstp1: Semantics = waiting((cx) => {
  const top = cx.state32(STATE.fpuTop);
  const used = i32.and(i32.shrU(cx.state32(STATE.fpuTag), top), c32(1));
  cx.f.if(
    used,
    () => run(cx, 'x87Copy', [cx.registerNumber(0), c32(1)]),
    () => {
      cx.f.drop(cx.call('i32', 'x87Finish', [c32(0), c32(0)]));
      pop(cx);
    },
  );
});
const storeInteger = (pops: boolean, truncate: boolean): Semantics =>
  waiting((cx) => {
    const bits = c32(8 * cx.width(0));
    storeResult(cx, cx.f.let(cx.call('i64', 'x87ToInteger', [bits, c32(truncate ? 1 : 0)])), pops);
  });
export const fist: Semantics = storeInteger(false, false);
export const fistp: Semantics = storeInteger(true, false);
export const fisttp: Semantics = storeInteger(true, true);

// ---- arithmetic
const arithmetic = (operation: number, reversed = false, pops = 0, integer = false): Semantics =>
  waiting((cx) => {
    if (inMemory(cx)) {
      loadSource(cx, integer);
      run(cx, 'x87ArithSource', [c32(operation), c32(reversed ? 1 : 0)]);
      return;
    }
    const [a, b] = [cx.f.let(cx.registerNumber(0)), cx.f.let(cx.registerNumber(1))];
    const [left, right] = reversed ? [b, a] : [a, b];
    run(cx, 'x87ArithStack', [c32(operation), a, left, right, c32(pops)]);
  });
const { add, multiply, subtract, divide } = OPERATION;
export const fadd: Semantics = arithmetic(add);
export const fmul: Semantics = arithmetic(multiply);
export const fsub: Semantics = arithmetic(subtract);
export const fsubr: Semantics = arithmetic(subtract, true);
export const fdiv: Semantics = arithmetic(divide);
export const fdivr: Semantics = arithmetic(divide, true);
export const faddp: Semantics = arithmetic(add, false, 1);
export const fmulp: Semantics = arithmetic(multiply, false, 1);
export const fsubp: Semantics = arithmetic(subtract, false, 1);
export const fsubrp: Semantics = arithmetic(subtract, true, 1);
export const fdivp: Semantics = arithmetic(divide, false, 1);
export const fdivrp: Semantics = arithmetic(divide, true, 1);
export const fiadd: Semantics = arithmetic(add, false, 0, true);
export const fimul: Semantics = arithmetic(multiply, false, 0, true);
export const fisub: Semantics = arithmetic(subtract, false, 0, true);
export const fisubr: Semantics = arithmetic(subtract, true, 0, true);
export const fidiv: Semantics = arithmetic(divide, false, 0, true);
export const fidivr: Semantics = arithmetic(divide, true, 0, true);

// ---- comparison
const compare = (quiet: boolean, pops: number, integer = false): Semantics =>
  waiting((cx) => {
    if (cx.facts.operands.length > 0 && inMemory(cx)) {
      loadSource(cx, integer);
      run(cx, 'x87CompareSource', [c32(pops)]);
      return;
    }
    const other = cx.facts.operands.length > 0 ? cx.registerNumber(1) : c32(1);
    cx.f.drop(cx.call('i32', 'x87CompareStack', [c32(quiet ? 1 : 0), other, c32(pops), c32(1)]));
  });
export const fcom: Semantics = compare(false, 0);
export const fcomp: Semantics = compare(false, 1);
export const fcompp: Semantics = compare(false, 2);
export const ficom: Semantics = compare(false, 0, true);
export const ficomp: Semantics = compare(false, 1, true);
export const fucom: Semantics = compare(true, 0);
export const fucomp: Semantics = compare(true, 1);
export const fucompp: Semantics = compare(true, 2);
export const ftst: Semantics = waiting((cx) => {
  run(cx, 'x87FromInteger', [i64.const(0)]);
  run(cx, 'x87CompareSource', [c32(0)]);
});
export const fxam: Semantics = waiting((cx) => run(cx, 'x87Examine', []));
/** CF, PF and ZF lie in RFLAGS as C0, C2 and C3 do in the high byte of the status word. */
const compareFlags = (quiet: boolean, pops: number): Semantics =>
  waiting((cx) => {
    const { f } = cx;
    const code = f.let(
      cx.call('i32', 'x87CompareStack', [c32(quiet ? 1 : 0), cx.registerNumber(1), c32(pops), c32(0)]),
    );
    cx.flagsFromWord(i32.shrU(code, c32(8)));
  });
export const fcomi: Semantics = compareFlags(false, 0);
export const fcomip: Semantics = compareFlags(false, 1);
export const fucomi: Semantics = compareFlags(true, 0);
export const fucomip: Semantics = compareFlags(true, 1);

// ---- sign, exchange, conditional moves
const onStack = (name: string): Semantics => waiting((cx) => run(cx, name, []));
export const fchs: Semantics = onStack('x87ChangeSign');
export const fabs: Semantics = onStack('x87Absolute');
export const fxch: Semantics = waiting((cx) => run(cx, 'x87Exchange', [cx.registerNumber(1)]));
const moveIf = (condition: number): Semantics =>
  waiting((cx) => run(cx, 'x87MoveIf', [cx.registerNumber(1), cx.condition(condition)]));
export const fcmovb: Semantics = moveIf(2);
export const fcmovnb: Semantics = moveIf(3);
export const fcmove: Semantics = moveIf(4);
export const fcmovne: Semantics = moveIf(5);
export const fcmovbe: Semantics = moveIf(6);
export const fcmovnbe: Semantics = moveIf(7);
export const fcmovu: Semantics = moveIf(10);
export const fcmovnu: Semantics = moveIf(11);

// ---- functions that are exact or correctly rounded
export const fsqrt: Semantics = onStack('x87SquareRootStack');
export const frndint: Semantics = onStack('x87RoundStack');
export const fscale: Semantics = onStack('x87ScaleStack');
export const fprem: Semantics = waiting((cx) => run(cx, 'x87RemainderStack', [c32(0)]));
export const fprem1: Semantics = waiting((cx) => run(cx, 'x87RemainderStack', [c32(1)]));
export const fxtract: Semantics = onStack('x87ExtractStack');

// ---- transcendental functions
export const f2xm1: Semantics = onStack('x87ExponentialStack');
export const fyl2x: Semantics = onStack('x87LogarithmStack');
export const fyl2xp1: Semantics = onStack('x87LogarithmPlusOneStack');
export const fpatan: Semantics = onStack('x87AngleStack');
export const fptan: Semantics = onStack('x87TangentStack');
export const fsin: Semantics = onStack('x87SineStack');
export const fcos: Semantics = onStack('x87CosineStack');
export const fsincos: Semantics = onStack('x87SineCosineStack');
