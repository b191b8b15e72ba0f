import { Expr, type F32, type F64, type Float, type I32, type I64, OP, type V128 } from './expr.ts';

/** SIMD128 operations (WebAssembly core specification 2.0, 5.4.9), named `<shape><Operation>`. */
const op2 =
  (sub: number) =>
  (a: V128, b: V128): V128 =>
    new Expr('v128', 0xfd0000 | sub, a, b);
const op1 =
  (sub: number) =>
  (a: V128): V128 =>
    new Expr('v128', 0xfd0000 | sub, a);
const shift =
  (sub: number) =>
  (a: V128, count: I32): V128 =>
    new Expr('v128', 0xfd0000 | sub, a, count);
const test =
  (sub: number) =>
  (a: V128): I32 =>
    new Expr('i32', 0xfd0000 | sub, a);

export const v128 = {
  load: (address: I32, offset = 0, memory = 0): V128 =>
    new Expr('v128', 0xfd0000, address, undefined, undefined, offset, memory),
  /** 16 bytes, little-endian order. */
  const: (bytes: Uint8Array): V128 =>
    new Expr('v128', OP.v128Const, undefined, undefined, undefined, 0, 0, undefined, bytes),
  zero: (): V128 => v128.const(new Uint8Array(16)),
  /** lanes 0..31 select a byte of a (0..15) or b (16..31). */
  shuffle: (a: V128, b: V128, lanes: ArrayLike<number>): V128 =>
    new Expr('v128', OP.i8x16Shuffle, a, b, undefined, 0, 0, undefined, Uint8Array.from(lanes)),
  not: op1(77),
  and: op2(78),
  /** a & ~b (wasm order; x86 PANDN is ~a & b). */
  andnot: op2(79),
  or: op2(80),
  xor: op2(81),
  bitselect: (a: V128, b: V128, mask: V128): V128 => new Expr('v128', 0xfd0000 | 82, a, b, mask),
  anyTrue: test(83),
  select: (condition: I32, then: V128, otherwise: V128): V128 =>
    new Expr('v128', OP.select, then, otherwise, condition),
} as const;

const lane = <T extends 'i32' | 'i64' | 'f32' | 'f64'>(type: T, sub: number) => ({
  extract: (a: V128, index: number): Expr<T> => new Expr(type, 0xfd0000 | sub, a, undefined, undefined, 0, index),
});
const replace =
  <T extends I32 | I64 | F32 | F64>(sub: number) =>
  (a: V128, index: number, value: T): V128 =>
    new Expr('v128', 0xfd0000 | sub, a, value, undefined, 0, index);

export const i8x16 = {
  swizzle: op2(14),
  splat: (a: I32): V128 => new Expr('v128', 0xfd0000 | 15, a),
  extractU: lane('i32', 22).extract,
  replace: replace<I32>(23),
  eq: op2(35),
  ne: op2(36),
  ltS: op2(37),
  gtS: op2(39),
  gtU: op2(40),
  geU: op2(44),
  abs: op1(96),
  neg: op1(97),
  popcnt: op1(98),
  bitmask: test(100),
  narrowI16S: op2(101),
  narrowI16U: op2(102),
  shl: shift(107),
  shrS: shift(108),
  shrU: shift(109),
  add: op2(110),
  addSatS: op2(111),
  addSatU: op2(112),
  sub: op2(113),
  subSatS: op2(114),
  subSatU: op2(115),
  minS: op2(118),
  minU: op2(119),
  maxS: op2(120),
  maxU: op2(121),
  avgrU: op2(123),
} as const;
export const i16x8 = {
  splat: (a: I32): V128 => new Expr('v128', 0xfd0000 | 16, a),
  extractU: lane('i32', 25).extract,
  replace: replace<I32>(26),
  eq: op2(45),
  gtS: op2(49),
  ltS: op2(47),
  extaddPairwiseI8S: op1(124),
  extaddPairwiseI8U: op1(125),
  abs: op1(128),
  neg: op1(129),
  q15mulrSatS: op2(130),
  bitmask: test(132),
  allTrue: test(131),
  narrowI32S: op2(133),
  narrowI32U: op2(134),
  extendLowI8S: op1(135),
  extendHighI8S: op1(136),
  extendLowI8U: op1(137),
  extendHighI8U: op1(138),
  shl: shift(139),
  shrS: shift(140),
  shrU: shift(141),
  add: op2(142),
  addSatS: op2(143),
  addSatU: op2(144),
  sub: op2(145),
  subSatS: op2(146),
  subSatU: op2(147),
  mul: op2(149),
  minS: op2(150),
  minU: op2(151),
  maxS: op2(152),
  maxU: op2(153),
  avgrU: op2(155),
  extmulLowI8S: op2(156),
  extmulHighI8S: op2(157),
  extmulLowI8U: op2(158),
  extmulHighI8U: op2(159),
} as const;
export const i32x4 = {
  splat: (a: I32): V128 => new Expr('v128', 0xfd0000 | 17, a),
  extract: lane('i32', 27).extract,
  replace: replace<I32>(28),
  eq: op2(55),
  gtS: op2(59),
  ltS: op2(57),
  gtU: op2(60),
  extaddPairwiseI16S: op1(126),
  extaddPairwiseI16U: op1(127),
  abs: op1(160),
  neg: op1(161),
  bitmask: test(164),
  extendLowI16S: op1(167),
  extendHighI16S: op1(168),
  extendLowI16U: op1(169),
  extendHighI16U: op1(170),
  shl: shift(171),
  shrS: shift(172),
  shrU: shift(173),
  add: op2(174),
  sub: op2(177),
  mul: op2(181),
  minS: op2(182),
  minU: op2(183),
  maxS: op2(184),
  maxU: op2(185),
  truncSatF32S: op1(248),
  truncSatF64SZero: op1(252),
  dotI16S: op2(186),
  extmulLowI16S: op2(188),
  extmulHighI16S: op2(189),
  extmulLowI16U: op2(190),
  extmulHighI16U: op2(191),
} as const;
export const i64x2 = {
  splat: (a: I64): V128 => new Expr('v128', 0xfd0000 | 18, a),
  extract: lane('i64', 29).extract,
  replace: replace<I64>(30),
  eq: op2(214),
  ltS: op2(216),
  gtS: op2(217),
  abs: op1(192),
  neg: op1(193),
  bitmask: test(196),
  extendLowI32S: op1(199),
  extendHighI32S: op1(200),
  extendLowI32U: op1(201),
  extendHighI32U: op1(202),
  shl: shift(203),
  shrS: shift(204),
  shrU: shift(205),
  add: op2(206),
  sub: op2(209),
  mul: op2(213),
  extmulLowI32S: op2(220),
  extmulHighI32S: op2(221),
  extmulLowI32U: op2(222),
  extmulHighI32U: op2(223),
} as const;
export const f32x4 = {
  splat: (a: F32): V128 => new Expr('v128', 0xfd0000 | 19, a),
  extract: lane('f32', 31).extract,
  replace: replace<F32>(32),
  eq: op2(65),
  ne: op2(66),
  lt: op2(67),
  gt: op2(68),
  le: op2(69),
  ge: op2(70),
  abs: op1(224),
  neg: op1(225),
  sqrt: op1(227),
  add: op2(228),
  sub: op2(229),
  mul: op2(230),
  div: op2(231),
  pmin: op2(234),
  pmax: op2(235),
  ceil: op1(103),
  floor: op1(104),
  trunc: op1(105),
  nearest: op1(106),
  convertI32S: op1(250),
  demoteF64Zero: op1(94),
} as const;
export const f64x2 = {
  splat: (a: F64): V128 => new Expr('v128', 0xfd0000 | 20, a),
  extract: lane('f64', 33).extract,
  replace: replace<F64>(34),
  eq: op2(71),
  ne: op2(72),
  lt: op2(73),
  gt: op2(74),
  le: op2(75),
  ge: op2(76),
  abs: op1(236),
  neg: op1(237),
  sqrt: op1(239),
  add: op2(240),
  sub: op2(241),
  mul: op2(242),
  div: op2(243),
  pmin: op2(246),
  pmax: op2(247),
  ceil: op1(116),
  floor: op1(117),
  trunc: op1(122),
  nearest: op1(148),
  convertLowI32S: op1(254),
  promoteLowF32: op1(95),
} as const;
/** A vector with its lowest 4 or 8 bytes, an f32 or f64, replaced. */
export const withLow = (a: V128, width: 4 | 8, value: Float): V128 =>
  width === 8 ? f64x2.replace(a, 0, value as F64) : f32x4.replace(a, 0, value as F32);
