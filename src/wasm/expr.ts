/**
 * Typed WebAssembly expressions as small trees (WebAssembly core specification 2.0, chapter 5.4).
 * An expression is evaluated where it is consumed: it reads locals and memory at that moment. Whatever must be
 * read earlier, or is used twice, goes through `FunctionBuilder.let`. Constructors fold constants.
 */
export type ValType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

/** Anything that can be called: an import or a function of the module. */
export interface Callable {
  readonly name: string;
  /** Index among the imports; undefined for the module's own functions, whose index is known only at the end. */
  readonly importIndex: number | undefined;
  readonly params: readonly ValType[];
  readonly results: readonly ValType[];
}

/** Two-byte opcodes are (prefix << 16 | sub-opcode). */
export class Expr<T extends ValType = ValType> {
  readonly type: T;
  readonly op: number;
  readonly a: Expr | undefined;
  readonly b: Expr | undefined;
  readonly c: Expr | undefined;
  /** Constant (low half), local or function index, or static offset of a load. */
  readonly lo: number;
  /** High half of an i64 constant, or memory index of a load, or lane. */
  readonly hi: number;
  readonly args: readonly Expr[] | undefined;
  /** SIMD constant or lanes. */
  readonly bytes: Uint8Array | undefined;
  readonly callee: Callable | undefined;

  constructor(
    type: T,
    op: number,
    a?: Expr,
    b?: Expr,
    c?: Expr,
    lo = 0,
    hi = 0,
    args?: readonly Expr[],
    bytes?: Uint8Array,
    callee?: Callable,
  ) {
    this.type = type;
    this.op = op;
    this.a = a;
    this.b = b;
    this.c = c;
    this.lo = lo;
    this.hi = hi;
    this.args = args;
    this.bytes = bytes;
    this.callee = callee;
  }
}
export type I32 = Expr<'i32'>;
export type I64 = Expr<'i64'>;
export type F32 = Expr<'f32'>;
export type F64 = Expr<'f64'>;
export type V128 = Expr<'v128'>;
/** A number of either floating-point format. */
export type Float = Expr<'f32' | 'f64'>;

export const OP = {
  call: 0x10,
  callIndirect: 0x11,
  select: 0x1b,
  localGet: 0x20,
  globalGet: 0x23,
  i32Const: 0x41,
  i64Const: 0x42,
  f32Const: 0x43,
  f64Const: 0x44,
  v128Const: 0xfd000c,
  i8x16Shuffle: 0xfd000d,
} as const;

const unary =
  <R extends ValType, A extends ValType>(type: R, op: number) =>
  (a: Expr<A>): Expr<R> =>
    new Expr(type, op, a);
const binary =
  <R extends ValType, A extends ValType>(type: R, op: number) =>
  (a: Expr<A>, b: Expr<A>): Expr<R> =>
    new Expr(type, op, a, b);
/** Natural alignment is not promised to the engine: guest addresses may be unaligned. */
const loader =
  <R extends ValType>(type: R, op: number) =>
  (address: I32, offset = 0, memory = 0): Expr<R> =>
    new Expr(type, op, address, undefined, undefined, offset, memory);

const isZero = (e: Expr): boolean => (e.op === OP.i32Const || e.op === OP.i64Const) && e.lo === 0 && e.hi === 0;
const isOnes = (e: Expr): boolean =>
  (e.op === OP.i32Const && e.lo === -1) || (e.op === OP.i64Const && e.lo === -1 && e.hi === -1);
export const isConst = (e: Expr): boolean => e.op === OP.i32Const || e.op === OP.i64Const;

const constI32 = (value: number): I32 => new Expr('i32', OP.i32Const, undefined, undefined, undefined, value | 0);
const constI64Halves = (lo: number, hi: number): I64 =>
  new Expr('i64', OP.i64Const, undefined, undefined, undefined, lo | 0, hi | 0);
const constI64 = (value: number | bigint): I64 => {
  if (typeof value === 'number') {
    if ((value | 0) === value) return constI64Halves(value, value < 0 ? -1 : 0);
    return constI64(BigInt(value));
  }
  return constI64Halves(Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n)));
};
/** The value of an i64 constant. */
export const constantOf = (e: I64): bigint => (BigInt(e.hi) << 32n) | BigInt(e.lo >>> 0);

const rawI32 = {
  add: binary<'i32', 'i32'>('i32', 0x6a),
  sub: binary<'i32', 'i32'>('i32', 0x6b),
  and: binary<'i32', 'i32'>('i32', 0x71),
  or: binary<'i32', 'i32'>('i32', 0x72),
  xor: binary<'i32', 'i32'>('i32', 0x73),
  shl: binary<'i32', 'i32'>('i32', 0x74),
  shrS: binary<'i32', 'i32'>('i32', 0x75),
  shrU: binary<'i32', 'i32'>('i32', 0x76),
  eqz: unary<'i32', 'i32'>('i32', 0x45),
};
const both32 = (a: Expr, b: Expr): boolean => a.op === OP.i32Const && b.op === OP.i32Const;
const both64 = (a: Expr, b: Expr): boolean => a.op === OP.i64Const && b.op === OP.i64Const;

export const i32 = {
  const: constI32,
  eqz: (a: I32): I32 => (a.op === OP.i32Const ? constI32(a.lo === 0 ? 1 : 0) : rawI32.eqz(a)),
  eq: binary<'i32', 'i32'>('i32', 0x46),
  ne: binary<'i32', 'i32'>('i32', 0x47),
  ltS: binary<'i32', 'i32'>('i32', 0x48),
  ltU: binary<'i32', 'i32'>('i32', 0x49),
  gtS: binary<'i32', 'i32'>('i32', 0x4a),
  gtU: binary<'i32', 'i32'>('i32', 0x4b),
  leS: binary<'i32', 'i32'>('i32', 0x4c),
  leU: binary<'i32', 'i32'>('i32', 0x4d),
  geS: binary<'i32', 'i32'>('i32', 0x4e),
  geU: binary<'i32', 'i32'>('i32', 0x4f),
  clz: unary<'i32', 'i32'>('i32', 0x67),
  ctz: unary<'i32', 'i32'>('i32', 0x68),
  popcnt: unary<'i32', 'i32'>('i32', 0x69),
  add: (a: I32, b: I32): I32 => {
    if (isZero(b)) return a;
    if (isZero(a)) return b;
    return both32(a, b) ? constI32(a.lo + b.lo) : rawI32.add(a, b);
  },
  sub: (a: I32, b: I32): I32 => (isZero(b) ? a : both32(a, b) ? constI32(a.lo - b.lo) : rawI32.sub(a, b)),
  mul: binary<'i32', 'i32'>('i32', 0x6c),
  divS: binary<'i32', 'i32'>('i32', 0x6d),
  divU: binary<'i32', 'i32'>('i32', 0x6e),
  remS: binary<'i32', 'i32'>('i32', 0x6f),
  remU: binary<'i32', 'i32'>('i32', 0x70),
  and: (a: I32, b: I32): I32 => (isOnes(b) ? a : both32(a, b) ? constI32(a.lo & b.lo) : rawI32.and(a, b)),
  or: (a: I32, b: I32): I32 => (isZero(b) ? a : isZero(a) ? b : both32(a, b) ? constI32(a.lo | b.lo) : rawI32.or(a, b)),
  xor: (a: I32, b: I32): I32 => (isZero(b) ? a : both32(a, b) ? constI32(a.lo ^ b.lo) : rawI32.xor(a, b)),
  shl: (a: I32, b: I32): I32 => (isZero(b) ? a : both32(a, b) ? constI32(a.lo << b.lo) : rawI32.shl(a, b)),
  shrS: (a: I32, b: I32): I32 => (isZero(b) ? a : both32(a, b) ? constI32(a.lo >> b.lo) : rawI32.shrS(a, b)),
  shrU: (a: I32, b: I32): I32 => (isZero(b) ? a : both32(a, b) ? constI32(a.lo >>> b.lo) : rawI32.shrU(a, b)),
  rotl: binary<'i32', 'i32'>('i32', 0x77),
  rotr: binary<'i32', 'i32'>('i32', 0x78),
  wrap: (a: I64): I32 => (a.op === OP.i64Const ? constI32(a.lo) : new Expr('i32', 0xa7, a)),
  extend8S: unary<'i32', 'i32'>('i32', 0xc0),
  extend16S: unary<'i32', 'i32'>('i32', 0xc1),
  truncF32S: unary<'i32', 'f32'>('i32', 0xfc0000),
  truncF64S: unary<'i32', 'f64'>('i32', 0xfc0002),
  reinterpretF32: unary<'i32', 'f32'>('i32', 0xbc),
  select: (condition: I32, then: I32, otherwise: I32): I32 => new Expr('i32', OP.select, then, otherwise, condition),
  load: loader('i32', 0x28),
  load8S: loader('i32', 0x2c),
  load8U: loader('i32', 0x2d),
  load16S: loader('i32', 0x2e),
  load16U: loader('i32', 0x2f),
} as const;

const rawI64 = {
  add: binary<'i64', 'i64'>('i64', 0x7c),
  sub: binary<'i64', 'i64'>('i64', 0x7d),
  and: binary<'i64', 'i64'>('i64', 0x83),
  or: binary<'i64', 'i64'>('i64', 0x84),
  xor: binary<'i64', 'i64'>('i64', 0x85),
  shl: binary<'i64', 'i64'>('i64', 0x86),
  shrS: binary<'i64', 'i64'>('i64', 0x87),
  shrU: binary<'i64', 'i64'>('i64', 0x88),
};
const fold64 = (a: I64, b: I64, f: (x: bigint, y: bigint) => bigint): I64 => constI64(f(constantOf(a), constantOf(b)));

export const i64 = {
  const: constI64,
  /** From two int32 halves, without a BigInt. */
  halves: constI64Halves,
  eqz: unary<'i32', 'i64'>('i32', 0x50),
  eq: binary<'i32', 'i64'>('i32', 0x51),
  ne: binary<'i32', 'i64'>('i32', 0x52),
  ltS: binary<'i32', 'i64'>('i32', 0x53),
  ltU: binary<'i32', 'i64'>('i32', 0x54),
  gtS: binary<'i32', 'i64'>('i32', 0x55),
  gtU: binary<'i32', 'i64'>('i32', 0x56),
  leS: binary<'i32', 'i64'>('i32', 0x57),
  leU: binary<'i32', 'i64'>('i32', 0x58),
  geS: binary<'i32', 'i64'>('i32', 0x59),
  geU: binary<'i32', 'i64'>('i32', 0x5a),
  clz: unary<'i64', 'i64'>('i64', 0x79),
  ctz: unary<'i64', 'i64'>('i64', 0x7a),
  popcnt: unary<'i64', 'i64'>('i64', 0x7b),
  add: (a: I64, b: I64): I64 => {
    if (isZero(b)) return a;
    if (isZero(a)) return b;
    if (both64(a, b)) return fold64(a, b, (x, y) => x + y);
    // (x + c1) + c2: addresses are built this way
    if (b.op === OP.i64Const && a.op === 0x7c && a.b!.op === OP.i64Const)
      return i64.add(
        a.a as I64,
        fold64(a.b as I64, b, (x, y) => x + y),
      );
    return rawI64.add(a, b);
  },
  sub: (a: I64, b: I64): I64 => (isZero(b) ? a : both64(a, b) ? fold64(a, b, (x, y) => x - y) : rawI64.sub(a, b)),
  mul: binary<'i64', 'i64'>('i64', 0x7e),
  divS: binary<'i64', 'i64'>('i64', 0x7f),
  divU: binary<'i64', 'i64'>('i64', 0x80),
  remS: binary<'i64', 'i64'>('i64', 0x81),
  remU: binary<'i64', 'i64'>('i64', 0x82),
  and: (a: I64, b: I64): I64 =>
    isOnes(b) ? a : isZero(b) ? b : both64(a, b) ? fold64(a, b, (x, y) => x & y) : rawI64.and(a, b),
  or: (a: I64, b: I64): I64 =>
    isZero(b) ? a : isZero(a) ? b : both64(a, b) ? fold64(a, b, (x, y) => x | y) : rawI64.or(a, b),
  xor: (a: I64, b: I64): I64 => (isZero(b) ? a : both64(a, b) ? fold64(a, b, (x, y) => x ^ y) : rawI64.xor(a, b)),
  shl: (a: I64, b: I64): I64 =>
    isZero(b) ? a : both64(a, b) ? fold64(a, b, (x, y) => x << (y & 63n)) : rawI64.shl(a, b),
  shrS: (a: I64, b: I64): I64 => (isZero(b) ? a : rawI64.shrS(a, b)),
  shrU: (a: I64, b: I64): I64 =>
    isZero(b) ? a : both64(a, b) ? fold64(a, b, (x, y) => BigInt.asUintN(64, x) >> (y & 63n)) : rawI64.shrU(a, b),
  rotl: binary<'i64', 'i64'>('i64', 0x89),
  rotr: binary<'i64', 'i64'>('i64', 0x8a),
  /** Sign-extends an i32. */
  extendS: (a: I32): I64 => (a.op === OP.i32Const ? constI64(a.lo) : new Expr('i64', 0xac, a)),
  /** Zero-extends an i32. */
  extendU: (a: I32): I64 => (a.op === OP.i32Const ? constI64Halves(a.lo, 0) : new Expr('i64', 0xad, a)),
  extend8S: unary<'i64', 'i64'>('i64', 0xc2),
  extend16S: unary<'i64', 'i64'>('i64', 0xc3),
  extend32S: unary<'i64', 'i64'>('i64', 0xc4),
  truncF32S: unary<'i64', 'f32'>('i64', 0xfc0004),
  truncF64S: unary<'i64', 'f64'>('i64', 0xfc0006),
  reinterpretF64: unary<'i64', 'f64'>('i64', 0xbd),
  select: (condition: I32, then: I64, otherwise: I64): I64 => new Expr('i64', OP.select, then, otherwise, condition),
  load: loader('i64', 0x29),
  load8S: loader('i64', 0x30),
  load8U: loader('i64', 0x31),
  load16S: loader('i64', 0x32),
  load16U: loader('i64', 0x33),
  load32S: loader('i64', 0x34),
  load32U: loader('i64', 0x35),
} as const;

const floats = <T extends 'f32' | 'f64'>(type: T, compare: number, arithmetic: number, load: number) => ({
  eq: binary<'i32', T>('i32', compare),
  ne: binary<'i32', T>('i32', compare + 1),
  lt: binary<'i32', T>('i32', compare + 2),
  gt: binary<'i32', T>('i32', compare + 3),
  le: binary<'i32', T>('i32', compare + 4),
  ge: binary<'i32', T>('i32', compare + 5),
  abs: unary<T, T>(type, arithmetic),
  neg: unary<T, T>(type, arithmetic + 1),
  ceil: unary<T, T>(type, arithmetic + 2),
  floor: unary<T, T>(type, arithmetic + 3),
  trunc: unary<T, T>(type, arithmetic + 4),
  nearest: unary<T, T>(type, arithmetic + 5),
  sqrt: unary<T, T>(type, arithmetic + 6),
  add: binary<T, T>(type, arithmetic + 7),
  sub: binary<T, T>(type, arithmetic + 8),
  mul: binary<T, T>(type, arithmetic + 9),
  div: binary<T, T>(type, arithmetic + 10),
  load: loader(type, load),
  select: (condition: I32, then: Expr<T>, otherwise: Expr<T>): Expr<T> =>
    new Expr(type, OP.select, then, otherwise, condition),
});
export const f32 = {
  ...floats('f32', 0x5b, 0x8b, 0x2a),
  const: (value: number): F32 => new Expr('f32', OP.f32Const, undefined, undefined, undefined, value),
  convertI32S: unary<'f32', 'i32'>('f32', 0xb2),
  convertI64S: unary<'f32', 'i64'>('f32', 0xb4),
  demote: unary<'f32', 'f64'>('f32', 0xb6),
  reinterpret: unary<'f32', 'i32'>('f32', 0xbe),
} as const;
export const f64 = {
  ...floats('f64', 0x61, 0x99, 0x2b),
  const: (value: number): F64 => new Expr('f64', OP.f64Const, undefined, undefined, undefined, value),
  convertI32S: unary<'f64', 'i32'>('f64', 0xb7),
  convertI64S: unary<'f64', 'i64'>('f64', 0xb9),
  promote: unary<'f64', 'f32'>('f64', 0xbb),
  reinterpret: unary<'f64', 'i64'>('f64', 0xbf),
} as const;
