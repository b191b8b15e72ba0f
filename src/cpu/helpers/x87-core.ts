/**
 * The x87 stack and its values (SDM vol. 1, chapter 8). A value is a pair: bits 79:64 of the register in an i32 and the
 * mantissa in an i64; bit 16 of the former marks a value that came from a denormal number in memory. Results go to
 * RESULT, exceptions gather in SOFT.flags, whose order is that of the status word.
 */
import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type Callable, type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import { STATE } from '../state.ts';
import type { HelperDefinition } from './definition.ts';
import {
  c32,
  c64,
  cell32,
  cell64,
  FLAG,
  increment,
  N0,
  raiseFlags,
  roundingMode,
  SOFT,
  shiftRightSticky,
  sticky,
  TOP,
  type Unpacked,
} from './float-core.ts';

export type Lookup = (name: string) => Callable;
/** Where results lie: mantissa, then sign and exponent. */
export const RESULT = { mantissa: SOFT.extra, top: SOFT.extra + 8 } as const;
/** A converted memory operand. */
export const SOURCE = { mantissa: SOFT.lanes, top: SOFT.lanes + 8 } as const;
export const FSW = { c0: 0x100, c1: 0x200, c2: 0x400, c3: 0x4000, stackFault: 0x40, summary: 0x8080 } as const;
export const STACK_FAULT = FSW.stackFault | FLAG.invalid;
export const OPERATION = { add: 0, multiply: 1, subtract: 2, divide: 3 } as const;
const DENORMAL_SOURCE = 0x1_0000;
export const QUIET = i64.const(1n << 62n);
export const BIAS = 16383;
const LEAST = -16382;
/** What an unmasked overflow or underflow adds to the exponent. */
const WRAP = 24576;
export const INDEFINITE = { top: 0xffff, mantissa: 3n << 62n } as const;

export interface Value {
  readonly top: I32;
  readonly mantissa: I64;
}
export const value = (f: FunctionBuilder, at: number): Value => ({
  top: f.param('i32', at),
  mantissa: f.param('i64', at + 1),
});
export const exponentField = (v: Value): I32 => i32.and(v.top, c32(0x7fff));
export const signOf80 = (v: Value): I32 => i32.and(i32.shrU(v.top, c32(15)), c32(1));
const isMaximal = (v: Value): I32 => i32.eq(exponentField(v), c32(0x7fff));
export const isInfinite80 = (v: Value): I32 => i32.and(isMaximal(v), i64.eq(v.mantissa, TOP));
/** A NaN or, with bit 63 clear, an encoding that no operation accepts. */
export const isNan80 = (v: Value): I32 => i32.and(isMaximal(v), i64.gtU(v.mantissa, TOP));
export const isSignaling80 = (v: Value): I32 => i32.and(isNan80(v), i64.eqz(i64.and(v.mantissa, QUIET)));
/** Pseudo-NaN, pseudo-infinity or unnormal (SDM vol. 1, table 8-3). */
export const isUnsupported = (v: Value): I32 => i32.and(i32.ne(exponentField(v), c32(0)), i64.geS(v.mantissa, N0));
export const isZero80 = (v: Value): I32 => i32.and(i32.eqz(exponentField(v)), i64.eqz(v.mantissa));
export const isDenormal80 = (v: Value): I32 =>
  i32.or(
    i32.and(i32.eqz(exponentField(v)), i64.ne(v.mantissa, N0)),
    i32.ne(i32.and(v.top, c32(DENORMAL_SOURCE)), c32(0)),
  );
export const selected = (condition: I32, a: Value, b: Value): Value => ({
  top: i32.select(condition, a.top, b.top),
  mantissa: i64.select(condition, a.mantissa, b.mantissa),
});

export function setResult80(f: FunctionBuilder, top: I32, mantissa: I64): void {
  f.store32(ZERO, i32.and(top, c32(0xffff)), RESULT.top);
  f.store64(ZERO, mantissa, RESULT.mantissa);
}
export const indefinite = (f: FunctionBuilder): void => setResult80(f, c32(INDEFINITE.top), c64(INDEFINITE.mantissa));

/** Parts of a finite, supported value, in locals. */
export function unpack80(f: FunctionBuilder, v: Value): Unpacked {
  const field = f.let(exponentField(v));
  const shift = f.let(i64.clz(v.mantissa));
  const exponent = i32.sub(
    i32.select(field, i32.sub(field, c32(BIAS)), c32(LEAST)),
    i32.select(i64.eqz(v.mantissa), c32(0), i32.wrap(shift)),
  );
  return { sign: f.let(signOf80(v)), exponent: f.let(exponent), mantissa: f.let(i64.shl(v.mantissa, shift)) };
}

// ---- the stack
const control = (): I32 => cell32(STATE.fpuControl);
/** The number of the register that is ST(i). */
const physical = (i: I32): I32 => i32.and(i32.add(cell32(STATE.fpuTop), i), c32(7));
export const tagBit = (i: I32): I32 => i32.shl(c32(1), physical(i));
export const isEmpty = (i: I32): I32 => i32.eqz(i32.and(cell32(STATE.fpuTag), tagBit(i)));
const address = (register: I32): I32 => i32.add(i32.shl(register, c32(4)), c32(STATE.fpr));
function load(f: FunctionBuilder, register: I32): Value {
  const at = f.let(address(register));
  return { top: f.let(i32.load16U(at, 8)), mantissa: f.let(i64.load(at)) };
}
function store(f: FunctionBuilder, register: I32, top: I32, mantissa: I64): void {
  const at = f.let(address(register));
  f.store64(at, mantissa);
  f.store64(at, i64.extendU(i32.and(top, c32(0xffff))), 8);
}
/** ST(i), in locals. */
export const stack = (f: FunctionBuilder, i: I32): Value => load(f, physical(i));
export function setStack(f: FunctionBuilder, i: I32, top: I32, mantissa: I64): void {
  store(f, physical(i), top, mantissa);
  f.store32(ZERO, i32.or(cell32(STATE.fpuTag), tagBit(i)), STATE.fpuTag);
}
/** The stack as it is now, its top and tags read once. */
export interface Snapshot {
  /** 1 when ST(i) is in use. */
  uses(i: I32): I32;
  /** ST(i), in locals. */
  read(i: I32): Value;
  /** Writes ST(i), which is in use, and pops as often as `pops` says, 0 or 1. The last thing to do with a snapshot. */
  replace(i: I32, v: Value, pops: I32): void;
}
export function snapshot(f: FunctionBuilder): Snapshot {
  const first = f.let(cell32(STATE.fpuTop));
  const tags = f.let(cell32(STATE.fpuTag));
  const register = (i: I32): I32 => i32.and(i32.add(first, i), c32(7));
  return {
    uses: (i) => i32.and(i32.shrU(tags, register(i)), c32(1)),
    read: (i) => load(f, register(i)),
    replace: (i, { top, mantissa }, pops) => {
      store(f, register(i), top, mantissa);
      f.if(pops, () => {
        f.store32(ZERO, i32.and(tags, i32.xor(i32.shl(c32(1), first), c32(-1))), STATE.fpuTag);
        f.store32(ZERO, register(c32(1)), STATE.fpuTop);
      });
    },
  };
}
export function pop(f: FunctionBuilder): void {
  f.store32(ZERO, i32.and(cell32(STATE.fpuTag), i32.xor(tagBit(c32(0)), c32(-1))), STATE.fpuTag);
  f.store32(ZERO, physical(c32(1)), STATE.fpuTop);
}
/** Moves the stack top down and writes the new ST(0). */
export function push(f: FunctionBuilder, top: I32, mantissa: I64): void {
  f.store32(ZERO, physical(c32(7)), STATE.fpuTop);
  setStack(f, c32(0), top, mantissa);
}
export function popTimes(f: FunctionBuilder, count: I32): void {
  f.if(count, () => {
    pop(f);
    f.if(i32.gtU(count, c32(1)), () => pop(f));
  });
}
/** Before any operation: no exceptions yet, rounding and masks as the control word says. */
export function begin(f: FunctionBuilder): void {
  const rounding = i32.shl(i32.and(control(), c32(0xc00)), c32(3));
  const masks = i32.shl(i32.and(control(), c32(0x3f)), c32(7));
  f.store32(ZERO, i32.or(rounding, masks), SOFT.control);
  f.store32(ZERO, c32(0), SOFT.flags);
  f.store32(ZERO, c32(0), SOFT.up);
}
export const isMasked = (flag: number): I32 => i32.and(control(), c32(flag));

/** In place of a C1 for x87Finish: leave it alone. */
export const KEEP_C1 = i32.const(2);
const openBits = (bits: I32): I32 => i32.and(i32.and(bits, c32(0x3f)), i32.xor(control(), c32(0x3f)));
/** Records exceptions and C1 (or KEEP_C1), which are locals or constants. */
export function record(f: FunctionBuilder, flags: I32, c1: I32): void {
  const old = f.let(cell32(STATE.fpuStatus));
  const condition = i32.select(i32.eq(c1, KEEP_C1), i32.and(old, c32(FSW.c1)), i32.shl(c1, c32(9)));
  const kept = i32.and(old, c32(~(FSW.c1 | FSW.summary)));
  const status = f.let(i32.or(i32.or(kept, flags), condition));
  f.store32(ZERO, i32.select(openBits(status), i32.or(status, c32(FSW.summary)), status), STATE.fpuStatus);
}
/** (exceptions, C1 or KEEP_C1): records both; 1 when the masks let the operation write its result. */
const x87Finish: HelperDefinition = {
  name: 'x87Finish',
  params: ['i32', 'i32'],
  results: ['i32'],
  build(f) {
    const flags = f.param('i32', 0);
    record(f, flags, f.param('i32', 1));
    f.result(i32.eqz(i32.and(openBits(flags), c32(FLAG.invalid | FLAG.denormal | FLAG.divide))));
  },
};
/** (register, pops): ends an operation whose result lies in RESULT. */
const x87Apply: HelperDefinition = {
  name: 'x87Apply',
  params: ['i32', 'i32'],
  results: [],
  build(f, h) {
    f.if(f.call('i32', h('x87Finish'), [cell32(SOFT.flags), cell32(SOFT.up)]), () => {
      setStack(f, f.param('i32', 0), cell32(RESULT.top), cell64(RESULT.mantissa));
      popTimes(f, f.param('i32', 1));
    });
  },
};
/** (register, pops): an operand was empty. */
const x87Underflow: HelperDefinition = {
  name: 'x87Underflow',
  params: ['i32', 'i32'],
  results: [],
  build(f, h) {
    f.if(f.call('i32', h('x87Finish'), [c32(STACK_FAULT), c32(0)]), () => {
      setStack(f, f.param('i32', 0), c32(INDEFINITE.top), c64(INDEFINITE.mantissa));
      popTimes(f, f.param('i32', 1));
    });
  },
};
/** (top, mantissa, exceptions): pushes; onto a register in use it is a stack overflow. */
const x87Push: HelperDefinition = {
  name: 'x87Push',
  params: ['i32', 'i64', 'i32'],
  results: [],
  build(f) {
    const tags = f.let(cell32(STATE.fpuTag));
    const register = f.let(physical(c32(7)));
    const bit = f.let(i32.shl(c32(1), register));
    const full = f.let(i32.ne(i32.and(tags, bit), c32(0)));
    f.if(i32.eqz(i32.or(full, f.param('i32', 2))), () => {
      record(f, c32(0), c32(0));
      f.store32(ZERO, register, STATE.fpuTop);
      f.store32(ZERO, i32.or(tags, bit), STATE.fpuTag);
      store(f, register, f.param('i32', 0), f.param('i64', 1));
      f.return();
    });
    const flags = f.let(i32.select(full, c32(STACK_FAULT), f.param('i32', 2)));
    // a denormal number is pushed even where that is unmasked
    record(f, flags, full);
    f.if(i32.or(isMasked(FLAG.invalid), i32.eqz(i32.and(flags, c32(FLAG.invalid)))), () => {
      const top = f.let(i32.select(full, c32(INDEFINITE.top), f.param('i32', 0)));
      push(f, top, i64.select(full, c64(INDEFINITE.mantissa), f.param('i64', 1)));
    });
  },
};

// ---- conversion of memory operands into SOURCE
function setSource(f: FunctionBuilder, top: I32, mantissa: I64): void {
  f.store32(ZERO, top, SOURCE.top);
  f.store64(ZERO, mantissa, SOURCE.mantissa);
}
const fromFloat = (name: string, fractionBits: number, bias: number): HelperDefinition => ({
  name,
  params: ['i64'],
  results: [],
  build(f) {
    const bits = f.param('i64', 0);
    const most = 2 * bias + 1;
    const field = f.let(i32.and(i32.wrap(i64.shrU(bits, c64(fractionBits))), c32(most)));
    const fraction = f.let(i64.shl(bits, c64(63 - fractionBits)));
    const body = f.let(i64.and(fraction, c64((1n << 63n) - 1n)));
    const bit = fractionBits === 23 ? 31 : 63;
    const sign = f.let(i32.shl(i32.and(i32.wrap(i64.shrU(bits, c64(bit))), c32(1)), c32(15)));
    f.if(field, () => {
      const exponent = i32.select(i32.eq(field, c32(most)), c32(0x7fff), i32.add(field, c32(BIAS - bias)));
      setSource(f, i32.or(sign, exponent), i64.or(TOP, body));
      f.return();
    });
    f.if(i64.eqz(body), () => {
      setSource(f, sign, N0);
      f.return();
    });
    const shift = f.let(i64.clz(body));
    const exponent = i32.sub(c32(BIAS + 1 - bias), i32.wrap(shift));
    setSource(f, i32.or(i32.or(sign, exponent), c32(DENORMAL_SOURCE)), i64.shl(body, shift));
  },
});
const fromInteger80: HelperDefinition = {
  name: 'x87FromInteger',
  params: ['i64'],
  results: [],
  build(f) {
    const integer = f.param('i64', 0);
    f.if(i64.eqz(integer), () => {
      setSource(f, c32(0), N0);
      f.return();
    });
    const negative = f.let(i64.ltS(integer, N0));
    const magnitude = f.let(i64.select(negative, i64.sub(N0, integer), integer));
    const shift = f.let(i64.clz(magnitude));
    const exponent = i32.sub(c32(BIAS + 63), i32.wrap(shift));
    setSource(f, i32.or(i32.shl(negative, c32(15)), exponent), i64.shl(magnitude, shift));
  },
};
/** Pushes SOURCE as FLD m32 and m64 do: a signaling NaN is quieted, a denormal number reported. */
const x87PushSource: HelperDefinition = {
  name: 'x87PushSource',
  params: [],
  results: [],
  build(f, h) {
    const source: Value = { top: f.let(cell32(SOURCE.top)), mantissa: f.let(cell64(SOURCE.mantissa)) };
    const signaling = f.let(isSignaling80(source));
    const flags = i32.or(signaling, i32.select(isDenormal80(source), c32(FLAG.denormal), c32(0)));
    const mantissa = i64.or(source.mantissa, i64.select(signaling, QUIET, N0));
    f.callVoid(h('x87Push'), [source.top, mantissa, flags]);
  },
};

// ---- rounding
/** The value in SOFT's cells -> RESULT, rounded to `precision` (24, 53, 64) bits. */
const x87Round: HelperDefinition = {
  name: 'x87Round',
  params: ['i32'],
  results: [],
  build(f) {
    const precision = f.param('i32', 0);
    const [high, low, exponent] = [f.newLocal('i64'), f.newLocal('i64'), f.newLocal('i32')];
    f.set(high, cell64(SOFT.high));
    f.set(low, cell64(SOFT.low));
    f.set(exponent, cell32(SOFT.exponent));
    const [h, l, e] = [f.get('i64', high), f.get('i64', low), f.get('i32', exponent)];
    const sign = f.let(cell32(SOFT.sign));
    const signBit = f.let(i32.shl(sign, c32(15)));
    const mode = f.let(roundingMode());
    const wide = f.let(i64.extendU(precision));
    const spare = f.let(i64.sub(c64(64), wide));
    const isWhole = f.let(i32.eq(precision, c32(64)));
    f.store32(ZERO, c32(0), SOFT.up);
    f.if(i64.eqz(i64.or(h, l)), () => {
      setResult80(f, signBit, N0);
      f.return();
    });
    /** Rounds (h:l): the mantissa, 0 when it carried out, and what was cut off. */
    const rounded = (): { mantissa: I64; up: I32; fraction: I64 } => {
      const kept = f.let(i64.shrU(h, spare));
      const fraction = f.let(i64.select(isWhole, l, i64.or(i64.shl(h, wide), sticky(l))));
      const up = f.let(increment(kept, fraction, sign, mode));
      return { mantissa: f.let(i64.shl(i64.add(kept, i64.extendU(up)), spare)), up, fraction };
    };
    const store = (field: I32, r: { mantissa: I64; up: I32; fraction: I64 }): void => {
      f.store32(ZERO, r.up, SOFT.up);
      f.if(i64.ne(r.fraction, N0), () => raiseFlags(f, FLAG.inexact));
      setResult80(f, i32.or(signBit, field), r.mantissa);
    };
    const first = rounded();
    // a carry out of the top leaves 0: the value is the next power of two
    const carried = f.let(i64.eqz(first.mantissa));
    const mantissa = f.let(i64.select(carried, TOP, first.mantissa));
    const final = f.let(i32.add(e, carried));
    const normal = { ...first, mantissa };
    f.if(i32.gtS(final, c32(BIAS)), () => {
      raiseFlags(f, FLAG.overflow);
      f.if(i32.eqz(isMasked(FLAG.overflow)), () => {
        // FSCALE can go beyond even that
        f.if(i32.gtS(final, c32(WRAP + BIAS)), () => {
          raiseFlags(f, FLAG.inexact);
          f.store32(ZERO, c32(1), SOFT.up);
          setResult80(f, i32.or(signBit, c32(0x7fff)), TOP);
          f.return();
        });
        store(i32.sub(final, c32(WRAP - BIAS)), normal);
        f.return();
      });
      raiseFlags(f, FLAG.inexact);
      const inward = f.let(i32.or(i32.eq(mode, c32(3)), i32.eq(mode, i32.add(sign, c32(1)))));
      f.store32(ZERO, i32.eqz(inward), SOFT.up);
      const largest = i64.shl(c64(-1), spare);
      setResult80(f, i32.or(signBit, i32.sub(c32(0x7fff), inward)), i64.select(inward, largest, TOP));
      f.return();
    });
    f.if(i32.ltS(final, c32(LEAST)), () => {
      f.if(i32.eqz(isMasked(FLAG.underflow)), () => {
        raiseFlags(f, FLAG.underflow);
        f.if(i32.ltS(final, c32(LEAST - WRAP)), () => {
          raiseFlags(f, FLAG.inexact);
          setResult80(f, signBit, N0);
          f.return();
        });
        store(i32.add(final, c32(WRAP + BIAS)), normal);
        f.return();
      });
      shiftRightSticky(f, high, low, i32.sub(c32(LEAST), e));
      const tiny = rounded();
      f.if(i64.ne(tiny.fraction, N0), () => raiseFlags(f, FLAG.underflow));
      store(i64.ltS(tiny.mantissa, N0), tiny);
      f.return();
    });
    store(i32.add(final, c32(BIAS)), normal);
  },
};
/** Bits that precision control asks for (SDM vol. 1, table 8-2); the reserved setting is taken as 64. */
export function precisionControl(f: FunctionBuilder): I32 {
  const field = f.let(i32.and(control(), c32(0x300)));
  return i32.select(field, i32.select(i32.eq(field, c32(0x200)), c32(53), c32(64)), c32(24));
}

export const X87_CORE_HELPERS: readonly HelperDefinition[] = [
  x87Finish,
  x87Apply,
  x87Underflow,
  x87Push,
  fromFloat('x87FromSingle', 23, 127),
  fromFloat('x87FromDouble', 52, 1023),
  fromInteger80,
  x87PushSource,
  x87Round,
];
