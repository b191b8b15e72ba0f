/** Operand values that make instructions misbehave: limits, single bits, carries, denormals, NaNs, infinities. */
import type { Random } from './random.ts';

/** What the bytes of a vector register or memory operand are made of. */
export type Style = 'integer' | 'f16' | 'f32' | 'f64' | 'f80' | 'bcd';

/** Writes an interesting 64-bit integer to words[at], words[at + 1]. */
export function edge64(words: Uint32Array, at: number, r: Random): void {
  let lo = 0;
  let hi = 0;
  switch (r.below(12)) {
    case 0:
      break;
    case 1:
      lo = 1;
      break;
    case 2:
      lo = -1;
      hi = -1;
      break;
    case 3: {
      // The most negative or most positive number of a width, now and then one beside it.
      const width = r.pick([8, 16, 32, 64]);
      [lo, hi] = power(width - 1);
      if (r.oneIn(2)) [lo, hi] = plus(lo, hi, -1);
      if (r.oneIn(4)) [lo, hi] = plus(lo, hi, r.oneIn(2) ? 1 : -1);
      if (r.oneIn(3) && width < 64) [lo, hi] = [~lo, ~hi];
      break;
    }
    case 4:
      [lo, hi] = power(r.below(64));
      break;
    case 5:
      [lo, hi] = plus(...power(r.below(64)), -1);
      break;
    case 6:
      lo = r.below(256);
      break;
    case 7:
      lo = -r.below(256);
      hi = lo === 0 ? 0 : -1;
      break;
    case 8:
      lo = r.u32();
      break;
    case 9:
      lo = Math.imul(r.below(256), 0x01010101);
      hi = lo;
      break;
    case 10:
      lo = r.u32();
      hi = (lo | 0) < 0 ? -1 : 0;
      break;
    default:
      lo = r.u32();
      hi = r.u32();
  }
  words[at] = lo;
  words[at + 1] = hi;
}

function power(bit: number): [number, number] {
  return bit < 32 ? [1 << bit, 0] : [0, 1 << (bit - 32)];
}

function plus(lo: number, hi: number, delta: 1 | -1): [number, number] {
  const sum = (lo + delta) | 0;
  const carried = delta === 1 ? sum === 0 : sum === -1;
  return [sum, carried ? (hi + delta) | 0 : hi];
}

const F16 = [
  0, 0x8000, 1, 0x8001, 0x3ff, 0x400, 0x3bff, 0x3c00, 0xbc00, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00, 0xfe01,
];
const F16_REST = [0x7c01, 0x7dff, 0x4000, 0x3555];

/** Zeros, denormals, the smallest normal, 0.5, 1, 1.5, 2, limits of integer conversion, maximum, infinities, NaNs. */
const F32 = [
  0x00000000, 0x00000001, 0x007fffff, 0x00400000, 0x00800000, 0x00800001, 0x3f000000, 0x3effffff, 0x3f7fffff,
  0x3f800000, 0x3f800001, 0x3fc00000, 0x40000000, 0x40200000, 0x4affffff, 0x4b000000, 0x4b7fffff, 0x4effffff,
  0x4f000000, 0x4f7fffff, 0x5effffff, 0x5f000000, 0x7f7fffff, 0x7f800000, 0x7f800001, 0x7fbfffff, 0x7fc00000,
  0x7fffffff, 0x7fc12345, 0x1f800000, 0x20000000, 0x34000000, 0x33800000,
];
const F64_HIGH = [
  0x00000000, 0x00080000, 0x000fffff, 0x00100000, 0x3fe00000, 0x3fdfffff, 0x3fefffff, 0x3ff00000, 0x3ff80000,
  0x40000000, 0x40040000, 0x41dfffff, 0x41e00000, 0x41efffff, 0x43300000, 0x433fffff, 0x43dfffff, 0x43e00000,
  0x43f00000, 0x47efffff, 0x47f00000, 0x36a00000, 0x369fffff, 0x380fffff, 0x38100000, 0x7fefffff, 0x7ff00000,
  0x7ff7ffff, 0x7ff80000, 0x7fffffff, 0x1ff00000, 0x3cb00000, 0x3ca00000,
];
const F64_LOW = [0, 0, 0, 0, 1, 0xffffffff, 0xffc00000, 0xe0000000, 0x80000000, 0x10000000, 0xfffff800];

function f16(r: Random): number {
  return r.oneIn(3) ? r.u32() & 0xffff : r.pick(r.oneIn(4) ? F16_REST : F16);
}

function f32(r: Random): number {
  const choice = r.below(8);
  if (choice === 0) return r.u32();
  // Numbers near one another: sums that cancel, quotients near one.
  if (choice <= 2) return ((r.u32() & 0x807fffff) | ((120 + r.below(16)) << 23)) >>> 0;
  if (choice === 3) return ((r.u32() & 0x80ff0000) | ((r.below(256) & 0xff) << 23)) >>> 0;
  return (r.pick(F32) | (r.oneIn(2) ? 0x80000000 : 0)) >>> 0;
}

function f64(words: Uint32Array, at: number, r: Random): void {
  const choice = r.below(8);
  if (choice === 0) {
    words[at] = r.u32();
    words[at + 1] = r.u32();
  } else if (choice <= 2) {
    words[at] = r.oneIn(3) ? 0 : r.u32();
    words[at + 1] = (r.u32() & 0x800fffff) | ((1015 + r.below(70)) << 20);
  } else if (choice === 3) {
    words[at] = 0;
    words[at + 1] = (r.u32() & 0x800f0000) | (r.below(2048) << 20);
  } else {
    words[at] = r.pick(F64_LOW);
    words[at + 1] = r.pick(F64_HIGH) | (r.oneIn(2) ? 0x80000000 : 0);
  }
}

const F80_EXPONENT = [0, 0, 1, 0x3ffe, 0x3fff, 0x3fff, 0x4000, 0x4001, 0x401e, 0x403e, 0x403f, 0x7ffe, 0x7fff, 0x7fff];
const F80_HIGH = [0x80000000, 0x80000000, 0xffffffff, 0xc0000000, 0xc90fdaa2, 0x80000001, 0xa0000000];
const F80_LOW = [0, 0, 0, 0xffffffff, 1, 0x2168c235, 0x00000400, 0xfffff800];

/** Ten bytes at `at`. One in twelve is an encoding without a leading 1 (pseudo-denormal, unnormal, pseudo-infinity). */
export function f80(bytes: Uint8Array, at: number, r: Random): void {
  let exponent = r.oneIn(4) ? 0x3ff0 + r.below(32) : r.pick(F80_EXPONENT);
  if (r.oneIn(16)) exponent = r.below(0x8000);
  let high = r.oneIn(3) ? (r.u32() | 0x80000000) >>> 0 : r.pick(F80_HIGH);
  const low = r.oneIn(3) ? r.u32() : r.pick(F80_LOW);
  if (exponent === 0 ? !r.oneIn(4) : r.oneIn(12)) high &= 0x7fffffff;
  const zero = r.oneIn(16);
  if (zero) exponent = 0;
  put32(bytes, at, zero ? 0 : low);
  put32(bytes, at + 4, zero ? 0 : high);
  bytes[at + 8] = exponent;
  bytes[at + 9] = (exponent >> 8) | (r.oneIn(2) ? 0x80 : 0);
}

function put32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

const lane = new Uint32Array(2);

/** Fills `bytes` with values of one style. */
export function fillStyled(bytes: Uint8Array, style: Style, r: Random): void {
  const length = bytes.length;
  switch (style) {
    case 'f16':
      for (let i = 0; i < length; i += 2) {
        const value = f16(r);
        bytes[i] = value;
        if (i + 1 < length) bytes[i + 1] = value >> 8;
      }
      return;
    case 'f80':
      if (length >= 10) {
        for (let i = 0; i < length; i++) bytes[i] = r.u32();
        f80(bytes, 0, r);
        return;
      }
      fillStyled(bytes, length >= 8 ? 'f64' : 'f32', r);
      return;
    case 'bcd':
      for (let i = 0; i < length; i++) bytes[i] = r.oneIn(8) ? r.u32() : r.below(10) * 16 + r.below(10);
      return;
    default:
  }
  for (let i = 0; i < length; i += 8) {
    if (style === 'f32') {
      lane[0] = f32(r);
      lane[1] = f32(r);
    } else if (style === 'f64') f64(lane, 0, r);
    else if (r.oneIn(3)) {
      lane[0] = r.u32();
      lane[1] = r.u32();
    } else edge64(lane, 0, r);
    for (let j = 0; j < 8 && i + j < length; j++) bytes[i + j] = lane[j >> 2]! >>> ((j & 3) * 8);
  }
}

/** The style that suits a mnemonic, most of the time; now and then another one. */
export function styleOf(mnemonic: string, r: Random): Style {
  if (r.oneIn(12)) return r.pick(['integer', 'f32', 'f64'] as const);
  if (/cvtph2ps/.test(mnemonic)) return 'f16';
  if (/^v?(cvtps2ph)/.test(mnemonic)) return 'f32';
  if (/^fb/.test(mnemonic)) return 'bcd';
  if (/^v?cvt(t?)(dq|pi|si)/.test(mnemonic)) return 'integer';
  if (/^v?cvtt?(ps|ss)/.test(mnemonic)) return 'f32';
  if (/^v?cvtt?(pd|sd)/.test(mnemonic)) return 'f64';
  if (/(ps|ss)(_sse)?$/.test(mnemonic) && !/^p/.test(mnemonic)) return 'f32';
  if (/(pd|sd)(_sse)?$/.test(mnemonic) && !/^p/.test(mnemonic)) return 'f64';
  return 'integer';
}
