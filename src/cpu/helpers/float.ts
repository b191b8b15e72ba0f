/** What SSE and AVX floating-point instructions compute when the wasm operation alone would not tell flags or payloads. */
import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type Callable, type F64, f32, f64, type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import { setFault } from '../mmu/walk.ts';
import { STATE, VECTOR } from '../state.ts';
import type { HelperDefinition } from './definition.ts';
import {
  args,
  CONTROL,
  c32,
  c64,
  cell32,
  DOUBLE,
  FLAG,
  type Format,
  isDenormal,
  isInfinite,
  isNan,
  isSignaling,
  isZeroValue,
  magnitude,
  N0,
  raiseFlags,
  roundingMode,
  SINGLE,
  SOFT,
  setResult,
  signed,
  signOf,
  type Unpacked,
  unpack,
} from './float-core.ts';

/** Operation numbers of `float32` and `float64`; a compare's predicate is in bits 15:8. */
export const FLOAT_OP = {
  add: 0,
  subtract: 1,
  multiply: 2,
  divide: 3,
  /** Of b; so are the rest unless they name two operands. */
  squareRoot: 4,
  minimum: 5,
  maximum: 6,
  /** All ones or zero. */
  compare: 7,
  /** Relation of a and b (RELATION); NaN is invalid only when signaling. */
  unordered: 8,
  /** The same, every NaN is invalid. */
  ordered: 9,
  /** a holds the immediate of ROUNDPS. */
  round: 10,
  /** a: 0..3 a rounding mode, 4 = MXCSR's. */
  toInt32: 11,
  toInt64: 12,
  /** To the other format. */
  convert: 13,
  /** Lanes with even numbers subtract, odd ones add (packed only). */
  addSubtract: 14,
} as const;
export const RELATION = { less: 1, equal: 2, greater: 4, unordered: 8 } as const;

/** Relations for which predicates 0..15 hold, four bits each (SDM vol. 2, table 3-1); 16..31 are the same. */
const HOLDS = [2, 1, 3, 8, 13, 14, 12, 7, 10, 9, 11, 0, 5, 6, 4, 15].reduce(
  (all, relations, predicate) => all | (BigInt(relations) << BigInt(4 * predicate)),
  0n,
);
/** Predicates that are invalid for quiet NaNs: these among 0..15, and the others among 16..31. */
const SIGNALING = [1, 2, 5, 6, 9, 10, 13, 14].reduce((all, p) => all | (1 << p), 0);
const SIGNALING_ALL = SIGNALING | (~SIGNALING << 16) | 0;

const value = (fmt: Format, a: I64): F64 =>
  fmt.bits === 64 ? f64.reinterpret(a) : f64.promote(f32.reinterpret(i32.wrap(a)));
const bitsOf = (fmt: Format, a: F64): I64 =>
  fmt.bits === 64 ? i64.reinterpretF64(a) : i64.extendU(i32.reinterpretF32(f32.demote(a)));

/** Runs the case that `index` names; each returns. */
function switchOn(f: FunctionBuilder, index: I32, cases: readonly (() => void)[]): void {
  // the innermost block's end is case 0: labels are collected outermost first
  const nest = (n: number, labels: readonly { depth: number }[]): void => {
    if (n < 0) {
      const inOrder = labels.toReversed();
      f.brTable(inOrder.slice(0, -1), inOrder.at(-1)!, index);
      return;
    }
    f.block((label) => nest(n - 1, [...labels, label]));
    cases[n]!();
  };
  nest(cases.length - 1, []);
  f.unreachable();
}

const roundedBy = (x: F64, mode: I32): F64 =>
  f64.select(
    i32.eqz(mode),
    f64.nearest(x),
    f64.select(i32.eq(mode, c32(1)), f64.floor(x), f64.select(i32.eq(mode, c32(2)), f64.ceil(x), f64.trunc(x))),
  );

class Operation {
  readonly f: FunctionBuilder;
  readonly h: (name: string) => Callable;
  readonly fmt: Format;
  readonly a: I64;
  readonly b: I64;

  constructor(f: FunctionBuilder, h: (name: string) => Callable, fmt: Format, a: I64, b: I64) {
    this.f = f;
    this.h = h;
    this.fmt = fmt;
    this.a = a;
    this.b = b;
  }
  flagsIf(condition: I32, flags: number): void {
    this.f.if(condition, () => raiseFlags(this.f, flags));
  }
  pack(): I64 {
    return this.f.call('i64', this.h(this.fmt.bits === 32 ? 'pack32' : 'pack64'), []);
  }
  core(name: string, ...operands: readonly Unpacked[]): void {
    this.f.callVoid(this.h(name), args(...operands));
  }
  invalid(): void {
    raiseFlags(this.f, FLAG.invalid);
    this.f.return(c64(this.fmt.defaultNan));
  }
  /** Returns the quieted first NaN when there is one. */
  propagate(): void {
    const { f, fmt, a, b } = this;
    f.if(i32.or(isNan(fmt, a), isNan(fmt, b)), () => {
      this.flagsIf(i32.or(isSignaling(fmt, a), isSignaling(fmt, b)), FLAG.invalid);
      f.return(i64.or(i64.select(isNan(fmt, a), a, b), c64(fmt.quiet)));
    });
  }
  denormals(): void {
    this.flagsIf(i32.or(isDenormal(this.fmt, this.a), isDenormal(this.fmt, this.b)), FLAG.denormal);
  }
  add(negate: boolean): void {
    const { f, fmt, a } = this;
    this.propagate();
    const b = negate ? f.let(i64.xor(this.b, c64(fmt.signBit))) : this.b;
    f.if(isInfinite(fmt, a), () => {
      f.if(i64.eq(i64.xor(a, b), c64(fmt.signBit)), () => this.invalid());
      this.denormals();
      f.return(a);
    });
    this.denormals();
    f.if(isInfinite(fmt, b), () => f.return(b));
    const x = unpack(f, fmt, a);
    const y = unpack(f, fmt, b);
    f.callVoid(this.h('softAdd'), [x.sign, x.exponent, x.mantissa, N0, y.sign, y.exponent, y.mantissa]);
    f.return(this.pack());
  }
  #signs(): I64 {
    return i64.and(i64.xor(this.a, this.b), c64(this.fmt.signBit));
  }
  multiply(): void {
    const { f, fmt, a, b } = this;
    this.propagate();
    f.if(i32.or(isInfinite(fmt, a), isInfinite(fmt, b)), () => {
      f.if(i32.or(isZeroValue(fmt, a), isZeroValue(fmt, b)), () => this.invalid());
      this.denormals();
      f.return(i64.or(this.#signs(), c64(fmt.infinity)));
    });
    this.denormals();
    this.core('softMultiply', unpack(f, fmt, a), unpack(f, fmt, b));
    f.return(this.pack());
  }
  divide(): void {
    const { f, fmt, a, b } = this;
    this.propagate();
    f.if(isInfinite(fmt, a), () => {
      f.if(isInfinite(fmt, b), () => this.invalid());
      this.denormals();
      f.return(i64.or(this.#signs(), c64(fmt.infinity)));
    });
    f.if(isZeroValue(fmt, b), () => {
      f.if(isZeroValue(fmt, a), () => this.invalid());
      raiseFlags(f, FLAG.divide);
      f.return(i64.or(this.#signs(), c64(fmt.infinity)));
    });
    this.denormals();
    f.if(isInfinite(fmt, b), () => f.return(this.#signs()));
    this.core('softDivide', unpack(f, fmt, a), unpack(f, fmt, b));
    f.return(this.pack());
  }
  squareRoot(): void {
    const { f, fmt, b } = this;
    const only = new Operation(f, this.h, fmt, b, b);
    only.propagate();
    f.if(isZeroValue(fmt, b), () => f.return(b));
    f.if(signOf(fmt, b), () => this.invalid());
    f.if(isInfinite(fmt, b), () => f.return(b));
    only.denormals();
    const x = unpack(f, fmt, b);
    f.callVoid(this.h('softSquareRoot'), [x.exponent, x.mantissa]);
    f.return(this.pack());
  }
  /** The second operand unless the first is strictly beyond it. */
  extreme(least: boolean): void {
    const { f, fmt, a, b } = this;
    f.if(i32.or(isNan(fmt, a), isNan(fmt, b)), () => {
      raiseFlags(f, FLAG.invalid);
      f.return(b);
    });
    this.denormals();
    const first = least ? f64.lt(value(fmt, a), value(fmt, b)) : f64.gt(value(fmt, a), value(fmt, b));
    f.return(i64.select(first, a, b));
  }
  /** Relation of a and b; `signaling`: any NaN is invalid. */
  relation(signaling: I32): I32 {
    const { f, fmt, a, b } = this;
    const result = f.newLocal('i32');
    f.if(
      i32.or(isNan(fmt, a), isNan(fmt, b)),
      () => {
        this.flagsIf(i32.or(signaling, i32.or(isSignaling(fmt, a), isSignaling(fmt, b))), FLAG.invalid);
        f.set(result, c32(RELATION.unordered));
      },
      () => {
        this.denormals();
        const less = f64.lt(value(fmt, a), value(fmt, b));
        const other = i32.select(f64.eq(value(fmt, a), value(fmt, b)), c32(RELATION.equal), c32(RELATION.greater));
        f.set(result, i32.select(less, c32(RELATION.less), other));
      },
    );
    return f.get('i32', result);
  }
  compare(predicate: I32): void {
    const { f } = this;
    const signaling = i32.and(i32.shrU(c32(SIGNALING_ALL), predicate), c32(1));
    const relation = this.relation(f.let(signaling));
    const holds = i64.shrU(c64(HOLDS), i64.extendU(i32.shl(i32.and(predicate, c32(15)), c32(2))));
    f.return(i64.select(i32.and(i32.wrap(holds), relation), c64(-1), N0));
  }
  /** Immediate: bits 1:0 mode, bit 2 use MXCSR's, bit 3 do not report inexact. */
  round(): void {
    const { f, fmt, b } = this;
    new Operation(f, this.h, fmt, b, b).propagate();
    const immediate = f.let(i32.wrap(this.a));
    const mode = f.let(i32.select(i32.and(immediate, c32(4)), roundingMode(), i32.and(immediate, c32(3))));
    const x = f.let(value(fmt, b));
    const rounded = f.let(roundedBy(x, mode));
    this.flagsIf(i32.and(f64.ne(rounded, x), i32.eqz(i32.and(immediate, c32(8)))), FLAG.inexact);
    f.return(bitsOf(fmt, rounded));
  }
  toInteger(bits: 32 | 64): void {
    const { f, fmt, b } = this;
    const mode = f.let(i32.wrap(this.a));
    const x = f.let(value(fmt, b));
    const rounded = f.let(roundedBy(x, f.let(i32.select(i32.eq(mode, c32(4)), roundingMode(), mode))));
    const limit = f64.const(2 ** (bits - 1));
    const inRange = i32.and(f64.lt(rounded, limit), f64.ge(rounded, f64.const(-(2 ** (bits - 1)))));
    f.if(
      inRange,
      () => {
        this.flagsIf(f64.ne(rounded, x), FLAG.inexact);
        f.return(i64.truncF64S(rounded));
      },
      () => {
        raiseFlags(f, FLAG.invalid);
        f.return(c64(-(1n << BigInt(bits - 1))));
      },
    );
  }
  convert(): void {
    const { f, fmt, b } = this;
    const [to, shift] = fmt.bits === 32 ? [DOUBLE, 29] : [SINGLE, 29];
    const moved = (bits: I64): I64 => (to.bits === 64 ? i64.shl(bits, c64(shift)) : i64.shrU(bits, c64(shift)));
    const sign = f.let(signed(to, signOf(fmt, b)));
    f.if(isNan(fmt, b), () => {
      this.flagsIf(isSignaling(fmt, b), FLAG.invalid);
      const payload = moved(i64.and(b, c64((1n << BigInt(fmt.precision - 1)) - 1n)));
      f.return(i64.or(i64.or(sign, c64(to.infinity | to.quiet)), payload));
    });
    f.if(isInfinite(fmt, b), () => f.return(i64.or(sign, c64(to.infinity))));
    this.flagsIf(isDenormal(fmt, b), FLAG.denormal);
    const x = unpack(f, fmt, b);
    setResult(f, x.sign, x.exponent, x.mantissa, N0);
    f.return(f.call('i64', this.h(to.bits === 32 ? 'pack32' : 'pack64'), []));
  }
}

/** Does MXCSR say: round to nearest, all masked, no DAZ or FTZ? */
export const isPlainControl = (): I32 => i32.eq(i32.and(cell32(SOFT.control), c32(0xffc0)), c32(0x1f80));
/**
 * Returns what wasm calculates where it says all there is: neither a denormal operand nor a result that may hide an underflow. That
 * a sum or product was rounded is found by what is left over; a quotient comes here only when the inexact flag is set already.
 */
function native(f: FunctionBuilder, fmt: Format, op: I32): void {
  const [a, b] = [f.param('i64', 1), f.param('i64', 2)];
  const denormal = i32.or(isDenormal(fmt, a), isDenormal(fmt, b));
  /** Is `least` <= |r| and finite? */
  const inRange = (r: I64, least: bigint): I32 =>
    i64.ltU(i64.sub(magnitude(fmt, r), c64(least)), c64(fmt.infinity - least));
  const beyondLeastNormal = (1n << BigInt(fmt.precision - 1)) + 1n;
  const isOp = (code: number): I32 => i32.eq(op, c32(code));
  const isSingle = fmt.bits === 32;
  /** Returns r, inexact when `lost` or when the narrower format cannot hold the double. */
  const done = (r: I64, double: F64, lost: I32): void => {
    const rounded = isSingle ? i32.or(lost, f64.ne(value(fmt, r), double)) : lost;
    f.if(rounded, () => raiseFlags(f, FLAG.inexact));
    f.return(r);
  };
  f.if(i32.and(isPlainControl(), i32.eqz(denormal)), () => {
    const x = f.let(value(fmt, a));
    const y = f.let(value(fmt, b));
    f.if(i32.leU(op, c32(FLOAT_OP.subtract)), () => {
      const addend = f.let(f64.select(isOp(FLOAT_OP.add), y, f64.neg(y)));
      const sum = f.let(f64.add(x, addend));
      const r = f.let(bitsOf(fmt, sum));
      // a sum is exact when it is denormal
      f.if(inRange(r, 0n), () => {
        const part = f.let(f64.sub(sum, x));
        const lost = f64.add(f64.sub(x, f64.sub(sum, part)), f64.sub(addend, part));
        done(r, sum, f64.ne(lost, f64.const(0)));
      });
    });
    f.if(isOp(FLOAT_OP.multiply), () => {
      const product = f.let(f64.mul(x, y));
      const r = f.let(bitsOf(fmt, product));
      f.if(inRange(r, beyondLeastNormal), () => done(r, product, isSingle ? c32(0) : productIsRounded(f, a, b)));
      const fromZero = i32.or(isZeroValue(fmt, a), isZeroValue(fmt, b));
      f.if(i32.and(isZeroValue(fmt, r), fromZero), () => f.return(r));
    });
    f.if(i32.and(isOp(FLOAT_OP.divide), i32.and(cell32(SOFT.control), c32(FLAG.inexact))), () => {
      const r = f.let(bitsOf(fmt, f64.div(x, y)));
      const fromZero = i32.and(isZeroValue(fmt, r), isZeroValue(fmt, a));
      f.if(i32.or(inRange(r, beyondLeastNormal), fromZero), () => f.return(r));
    });
  });
}
/** Has the product of two normal doubles more than 53 significant bits? */
function productIsRounded(f: FunctionBuilder, a: I64, b: I64): I32 {
  const significant = (x: I64): I64 => {
    const mantissa = f.let(i64.or(i64.and(x, c64((1n << 52n) - 1n)), c64(1n << 52n)));
    return f.let(i64.shrU(mantissa, i64.ctz(mantissa)));
  };
  const [p, q] = [significant(a), significant(b)];
  const spare = i64.add(i64.clz(p), i64.clz(q));
  // together 54 bits: the product may have 53 or 54
  return i32.or(i64.ltU(spare, c64(128 - 54)), i64.ne(i64.shrU(i64.mul(p, q), c64(53)), N0));
}

/** (operation, a, b) -> bits; flags into SOFT.flags, control from SOFT.control. */
const scalar = (name: string, fmt: Format): HelperDefinition => ({
  name,
  params: ['i32', 'i64', 'i64'],
  results: ['i64'],
  build(f, h) {
    const code = f.param('i32', 0);
    const op = f.let(i32.and(code, c32(0xff)));
    const [a, b] = [f.newLocal('i64'), f.newLocal('i64')];
    f.set(a, f.param('i64', 1));
    f.set(b, f.param('i64', 2));
    native(f, fmt, op);
    const operation = new Operation(f, h, fmt, f.get('i64', a), f.get('i64', b));
    f.if(i32.and(cell32(SOFT.control), c32(CONTROL.daz)), () => {
      for (const local of [a, b]) {
        const v = f.get('i64', local);
        f.if(isDenormal(fmt, v), () => f.set(local, i64.and(v, c64(fmt.signBit))));
      }
      // operand a of these is a number, not a float
      f.if(i32.and(i32.geU(op, c32(FLOAT_OP.round)), i32.ltU(op, c32(FLOAT_OP.convert))), () =>
        f.set(a, f.param('i64', 1)),
      );
    });
    switchOn(f, op, [
      () => operation.add(false),
      () => operation.add(true),
      () => operation.multiply(),
      () => operation.divide(),
      () => operation.squareRoot(),
      () => operation.extreme(true),
      () => operation.extreme(false),
      () => operation.compare(f.let(i32.shrU(code, c32(8)))),
      () => f.return(i64.extendU(operation.relation(c32(0)))),
      () => f.return(i64.extendU(operation.relation(c32(1)))),
      () => operation.round(),
      () => operation.toInteger(32),
      () => operation.toInteger(64),
      () => operation.convert(),
    ]);
  },
});

/** Signed integer -> float. */
const fromInteger = (name: string, packName: string): HelperDefinition => ({
  name,
  params: ['i64'],
  results: ['i64'],
  build(f, h) {
    const v = f.param('i64', 0);
    const negative = f.let(i64.ltS(v, N0));
    const size = f.let(i64.select(negative, i64.sub(N0, v), v));
    const shift = f.let(i64.clz(size));
    // zero: the shift count wraps and the mantissa stays 0
    setResult(f, negative, i32.sub(c32(63), i32.wrap(shift)), i64.shl(size, shift), N0);
    f.result(f.call('i64', h(packName), []));
  },
});

/** Bits of the first parameter of the fused operations. */
export const FUSED = { negateProduct: 1, negateAddend: 2 } as const;
/** (signs, a, b, c) -> a * b + c, rounded once. */
const fused = (name: string, fmt: Format): HelperDefinition => ({
  name,
  params: ['i32', 'i64', 'i64', 'i64'],
  results: ['i64'],
  build(f, h) {
    const signs = f.param('i32', 0);
    const [a, b, c] = [f.newLocal('i64'), f.newLocal('i64'), f.newLocal('i64')];
    [a, b, c].forEach((local, i) => {
      f.set(local, f.param('i64', i + 1));
    });
    const get = (local: number): I64 => f.get('i64', local);
    f.if(i32.and(cell32(SOFT.control), c32(CONTROL.daz)), () => {
      for (const local of [a, b, c])
        f.if(isDenormal(fmt, get(local)), () => f.set(local, i64.and(get(local), c64(fmt.signBit))));
    });
    const any = (test: (fmt: Format, v: I64) => I32): I32 =>
      i32.or(i32.or(test(fmt, get(a)), test(fmt, get(b))), test(fmt, get(c)));
    const invalid = (): void => {
      raiseFlags(f, FLAG.invalid);
      f.return(c64(fmt.defaultNan));
    };
    f.if(any(isNan), () => {
      f.if(any(isSignaling), () => raiseFlags(f, FLAG.invalid));
      const first = i64.select(isNan(fmt, get(a)), get(a), i64.select(isNan(fmt, get(b)), get(b), get(c)));
      f.return(i64.or(first, c64(fmt.quiet)));
    });
    const place = c64(fmt.bits - 1);
    f.set(a, i64.xor(get(a), i64.shl(i64.extendU(i32.and(signs, c32(1))), place)));
    f.set(c, i64.xor(get(c), i64.shl(i64.extendU(i32.shrU(signs, c32(1))), place)));
    const productSign = f.let(i64.and(i64.xor(get(a), get(b)), c64(fmt.signBit)));
    f.if(i32.or(isInfinite(fmt, get(a)), isInfinite(fmt, get(b))), () => {
      f.if(i32.or(isZeroValue(fmt, get(a)), isZeroValue(fmt, get(b))), invalid);
      const product = i64.or(productSign, c64(fmt.infinity));
      f.if(i64.eq(get(c), i64.xor(product, c64(fmt.signBit))), invalid);
      f.if(any(isDenormal), () => raiseFlags(f, FLAG.denormal));
      f.return(product);
    });
    f.if(any(isDenormal), () => raiseFlags(f, FLAG.denormal));
    f.if(isInfinite(fmt, get(c)), () => f.return(get(c)));
    f.callVoid(h('softMultiply'), args(unpack(f, fmt, get(a)), unpack(f, fmt, get(b))));
    const addend = unpack(f, fmt, get(c));
    f.callVoid(h('softAdd'), [
      cell32(SOFT.sign),
      cell32(SOFT.exponent),
      i64.load(ZERO, SOFT.high),
      i64.load(ZERO, SOFT.low),
      ...args(addend),
    ]);
    f.result(f.call('i64', h(fmt.bits === 32 ? 'pack32' : 'pack64'), []));
  },
});

const CR4_OSXMMEXCPT = 0x400;
/**
 * Moves the flags of an instruction into MXCSR, and raises #XM, or #UD without CR4.OSXMMEXCPT, when one of them is unmasked.
 * Exceptions found before computing (invalid, denormal, divide) suppress those found after it (SDM vol. 1, 11.5.2).
 */
const commitFloat: HelperDefinition = {
  name: 'commitFloat',
  params: [],
  results: [],
  build(f) {
    const flags = f.newLocal('i32');
    f.set(flags, cell32(SOFT.flags));
    const get = (): I32 => f.get('i32', flags);
    const mxcsr = f.let(cell32(STATE.mxcsr));
    const open = f.let(i32.and(i32.xor(i32.shrU(mxcsr, c32(7)), c32(0x3f)), c32(0x3f)));
    f.if(i32.and(i32.and(get(), open), c32(7)), () => f.set(flags, i32.and(get(), c32(7))));
    f.store32(ZERO, i32.or(mxcsr, get()), STATE.mxcsr);
    f.if(i32.and(get(), open), () => {
      const told = i32.and(cell32(STATE.cr4), c32(CR4_OSXMMEXCPT));
      setFault(f, i32.select(told, c32(VECTOR.xm), c32(VECTOR.ud)));
    });
  },
};

export const FLOAT_HELPERS: readonly HelperDefinition[] = [
  scalar('float32', SINGLE),
  scalar('float64', DOUBLE),
  fromInteger('integerTo32', 'pack32'),
  fromInteger('integerTo64', 'pack64'),
  fused('fused32', SINGLE),
  fused('fused64', DOUBLE),
  commitFloat,
];
