/** The aggregation that PCMPESTRI, PCMPESTRM, PCMPISTRI and PCMPISTRM share (SDM vol. 2, 4.1). */
import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type I32, i32, type V128 } from '../../wasm/expr.ts';
import { i8x16, i16x8, v128 } from '../../wasm/simd.ts';
import { STATE } from '../state.ts';
import type { HelperDefinition } from './definition.ts';

/** Fields of the immediate. */
const WORDS = 1;
const SIGNED = 2;
const NEGATE = 0x10;
const ONLY_VALID = 0x20;
/** Bits of RFLAGS. */
const CF = 1;
const ZF = 0x40;
const SF = 0x80;
const OF = 0x800;

const c32 = i32.const;
/** The low `count` bits, count 0..16. */
const below = (count: I32): I32 => i32.sub(i32.shl(c32(1), count), c32(1));

/** The operands of one comparison, with elements of one size. */
interface Strings {
  readonly size: 1 | 2;
  readonly a: V128;
  readonly b: V128;
  readonly lengthA: I32;
  readonly validA: I32;
  readonly validB: I32;
  readonly control: I32;
}
const lanesOf = (size: 1 | 2): typeof i8x16 | typeof i16x8 => (size === 1 ? i8x16 : i16x8);
/** Element `index` of a, which the caller has put into STATE.vectorScratch, in every lane. */
const elementOfA = (size: 1 | 2, index: I32): V128 =>
  size === 1
    ? i8x16.splat(i32.load8U(index, STATE.vectorScratch))
    : i16x8.splat(i32.load16U(i32.shl(index, c32(1)), STATE.vectorScratch));
const equalTo = (size: 1 | 2, b: V128, index: I32): I32 =>
  lanesOf(size).bitmask(lanesOf(size).eq(b, elementOfA(size, index)));

/** Runs `body` for 0, step, 2 * step .. while the index is below `end`. */
function upTo(f: FunctionBuilder, end: I32, step: number, body: (index: I32) => void): void {
  const at = f.newLocal('i32');
  const index = f.get('i32', at);
  f.set(at, c32(0));
  f.block((done) =>
    f.loop((again) => {
      f.brIf(done, i32.geS(index, end));
      body(index);
      f.set(at, i32.add(index, c32(step)));
      f.br(again);
    }),
  );
}

/** IntRes1: one bit for each element of b. */
function aggregate(f: FunctionBuilder, { size, a, b, lengthA, validA, validB, control }: Strings): I32 {
  const lanes = lanesOf(size);
  const all = c32(size === 1 ? 0xffff : 0xff);
  const result = f.newLocal('i32');
  const bits = f.get('i32', result);
  const mode = f.let(i32.and(control, c32(0xc)));
  f.storeV128(ZERO, a, STATE.vectorScratch);
  f.set(result, c32(0));
  f.block((done) => {
    // equal any: some element of a is this one
    f.if(i32.eqz(mode), () => {
      upTo(f, lengthA, 1, (i) => f.set(result, i32.or(bits, equalTo(size, b, i))));
      f.set(result, i32.and(bits, validB));
      f.br(done);
    });
    // ranges: between the two of some pair of a. Unsigned elements compare as signed ones with the top bit inverted
    f.if(i32.eq(mode, c32(4)), () => {
      const top = lanes.splat(i32.select(i32.and(control, c32(SIGNED)), c32(0), c32(size === 1 ? 0x80 : 0x8000)));
      const bias = f.let(top);
      const value = f.let(v128.xor(b, bias));
      upTo(f, i32.sub(lengthA, c32(1)), 2, (i) => {
        const least = v128.xor(elementOfA(size, i), bias);
        const most = v128.xor(elementOfA(size, i32.add(i, c32(1))), bias);
        const outside = v128.or(lanes.gtS(least, value), lanes.gtS(value, most));
        f.set(result, i32.or(bits, i32.xor(lanes.bitmask(outside), all)));
      });
      f.set(result, i32.and(bits, validB));
      f.br(done);
    });
    // equal each: elements beyond both ends are equal
    f.if(i32.eq(mode, c32(8)), () => {
      const same = i32.and(lanes.bitmask(lanes.eq(a, b)), i32.and(validA, validB));
      f.set(result, i32.or(same, i32.xor(i32.or(validA, validB), all)));
      f.br(done);
    });
    // equal ordered: a stands in b from here, as far as the register goes
    f.set(result, all);
    upTo(f, lengthA, 1, (i) => {
      const found = i32.shrU(i32.and(equalTo(size, b, i), validB), i);
      f.set(result, i32.and(bits, i32.or(found, i32.xor(i32.shrU(all, i), all))));
    });
  });
  return bits;
}

/**
 * (a, b, length of a, length of b, immediate) -> IntRes2 in bits 15:0 and CF, ZF, SF, OF in the layout of RFLAGS in bits
 * 31:16. Lengths count elements and do not exceed the register's.
 */
const compareStrings: HelperDefinition = {
  name: 'compareStrings',
  params: ['v128', 'v128', 'i32', 'i32', 'i32'],
  results: ['i32'],
  build(f) {
    const a = f.param('v128', 0);
    const b = f.param('v128', 1);
    const lengthA = f.param('i32', 2);
    const lengthB = f.param('i32', 3);
    const control = f.param('i32', 4);
    const validA = f.let(below(lengthA));
    const validB = f.let(below(lengthB));
    const words = f.let(i32.and(control, c32(WORDS)));
    const count = f.let(i32.shrU(c32(16), words));
    const strings = { a, b, lengthA, validA, validB, control };
    const first = f.choose(
      'i32',
      words,
      () => aggregate(f, { ...strings, size: 2 }),
      () => aggregate(f, { ...strings, size: 1 }),
    );
    const inverted = i32.select(i32.and(control, c32(ONLY_VALID)), validB, below(count));
    const result = f.let(i32.xor(first, i32.select(i32.and(control, c32(NEGATE)), inverted, c32(0))));
    const flag = (condition: I32, bit: number): I32 => i32.select(condition, c32(bit), c32(0));
    const flags = [
      flag(result, CF),
      flag(i32.ltS(lengthB, count), ZF),
      flag(i32.ltS(lengthA, count), SF),
      flag(i32.and(result, c32(1)), OF),
    ].reduce((x, y) => i32.or(x, y));
    f.result(i32.or(result, i32.shl(flags, c32(16))));
  },
};

export const STRING_COMPARISON_HELPERS: readonly HelperDefinition[] = [compareStrings];
