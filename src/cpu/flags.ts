import { type FunctionBuilder, ZERO } from '../wasm/builder.ts';
import { type Callable, type I32, type I64, i32, i64 } from '../wasm/expr.ts';
import { FLAG } from './decode/types.ts';
import type { HelperDefinition } from './helpers/definition.ts';
import type { FlagName } from './semantics/context.ts';
import { STATE } from './state.ts';

/**
 * Lazy flags. The last flag-setting instruction leaves its operands and result, sign-extended from its width, so that
 * every comparison below is independent of the width: sign extension keeps both the signed and the unsigned order.
 * AND, OR, XOR and TEST are recorded as `result - 0`, which gives CF = OF = AF = 0 and the right SF, ZF and PF.
 */
export const FLAG_OP = {
  /** result = a - b; +2 with a borrow in. */
  sub: 0,
  /** result = a + b; +2 with a carry in. */
  add: 1,
  sbb: 2,
  adc: 3,
  /** ZF, SF, PF from the result; CF, OF, AF from the word. */
  result: 4,
  /** All six from the word; the result is zero exactly when ZF is set, so that ZF never needs the word. */
  explicit: 5,
  /** Added to one of the others: CF and OF from the word, whatever the rest say (rotations change nothing else). */
  override: 8,
} as const;
/** The op without `override`. */
const baseOp = (op: I32): I32 => i32.and(op, i32.const(7));

/** The lazy record as expressions; `known` is the op when the emitter knows it. */
export interface FlagRecord {
  readonly known: number | undefined;
  readonly op: I32;
  readonly a: I64;
  readonly b: I64;
  readonly r: I64;
  readonly word: I32;
}
type Lookup = (name: string) => Callable;

/** The record in the CPU state. */
export const stateFlags: FlagRecord = {
  known: undefined,
  op: i32.load(ZERO, STATE.flagOp),
  a: i64.load(ZERO, STATE.flagA),
  b: i64.load(ZERO, STATE.flagB),
  r: i64.load(ZERO, STATE.flagR),
  word: i32.load(ZERO, STATE.flagWord),
};

const negative = (x: I64): I32 => i64.ltS(x, i64.const(0));
const wordBit = (word: I32, shift: number): I32 => i32.and(i32.shrU(word, i32.const(shift)), i32.const(1));
const SHIFT: Readonly<Record<FlagName, number>> = { cf: 0, pf: 2, af: 4, zf: 6, sf: 7, of: 11 };

/** Each flag for an op known when emitting; a larger op is as the last. */
const CARRY: readonly ((s: FlagRecord) => I32)[] = [
  (s) => i64.ltU(s.a, s.b),
  (s) => i64.ltU(s.r, s.a),
  (s) => i64.leU(s.a, s.b),
  (s) => i64.leU(s.r, s.a),
  (s) => wordBit(s.word, SHIFT.cf),
  (s) => wordBit(s.word, SHIFT.cf),
];
const overflowSub = (s: FlagRecord): I32 => negative(i64.and(i64.xor(s.a, s.b), i64.xor(s.a, s.r)));
const overflowAdd = (s: FlagRecord): I32 => negative(i64.and(i64.xor(s.a, s.r), i64.xor(s.b, s.r)));
const OVERFLOW: readonly ((s: FlagRecord) => I32)[] = [
  overflowSub,
  overflowAdd,
  overflowSub,
  overflowAdd,
  (s) => wordBit(s.word, SHIFT.of),
  (s) => wordBit(s.word, SHIFT.of),
];
const adjust = (s: FlagRecord): I32 =>
  i32.and(i32.shrU(i32.wrap(i64.xor(i64.xor(s.a, s.b), s.r)), i32.const(4)), i32.const(1));
const parity = (s: FlagRecord): I32 =>
  i32.and(i32.xor(i32.popcnt(i32.and(i32.wrap(s.r), i32.const(0xff))), i32.const(1)), i32.const(1));

/** CF of a record whose op is only known at run time: nearly always a subtraction's, or kept in the word. */
function unknownCarry(f: FunctionBuilder, h: Lookup, s: FlagRecord): I32 {
  return f.choose(
    'i32',
    i32.ltU(i32.sub(s.op, i32.const(FLAG_OP.add)), i32.const(FLAG_OP.result - FLAG_OP.add)),
    () => f.call('i32', h('flagCarry'), [s.op, s.a, s.b, s.r, s.word]),
    () => i32.select(s.op, CARRY[FLAG_OP.explicit]!(s), CARRY[FLAG_OP.sub]!(s)),
    'unlikely',
  );
}

/** One status flag as 0/1. Emits a call when the op is only known at run time. */
export function flagOf(f: FunctionBuilder, h: Lookup, name: FlagName, s: FlagRecord): I32 {
  const unknown = s.known === undefined;
  const base = (s.known ?? 0) & 7;
  const explicit = i32.eq(baseOp(s.op), i32.const(FLAG_OP.explicit));
  const byResult = (value: I32): I32 =>
    unknown
      ? i32.select(explicit, wordBit(s.word, SHIFT[name]), value)
      : base === FLAG_OP.explicit
        ? wordBit(s.word, SHIFT[name])
        : value;
  switch (name) {
    case 'zf':
      return i64.eqz(s.r);
    case 'sf':
      return byResult(negative(s.r));
    case 'pf':
      return byResult(parity(s));
    case 'cf':
      return unknown ? unknownCarry(f, h, s) : (CARRY[s.known!] ?? CARRY[FLAG_OP.explicit]!)(s);
    case 'of':
      return unknown
        ? f.call('i32', h('flagOverflow'), [s.op, s.a, s.b, s.r, s.word])
        : (OVERFLOW[s.known!] ?? OVERFLOW[FLAG_OP.explicit]!)(s);
    case 'af': {
      const fromWord = wordBit(s.word, SHIFT.af);
      if (unknown) return i32.select(i32.ltU(baseOp(s.op), i32.const(FLAG_OP.result)), adjust(s), fromWord);
      return base < FLAG_OP.result ? adjust(s) : fromWord;
    }
  }
}

/** Condition code 0..15 as 0/1 (SDM vol. 1, appendix B); the common case, a compare or test before it, is one compare. */
export function conditionOf(f: FunctionBuilder, h: Lookup, code: number, s: FlagRecord): I32 {
  const negate = (code & 1) === 1;
  const sub = (compare: () => I32, general: () => I32): I32 => {
    if (s.known === FLAG_OP.sub) return compare();
    if (s.known !== undefined) return general();
    return f.choose('i32', i32.eqz(s.op), compare, general);
  };
  const flag = (name: FlagName): I32 => flagOf(f, h, name, s);
  const invert = (e: I32): I32 => (negate ? i32.eqz(e) : e);
  switch (code >> 1) {
    case 0:
      return invert(flag('of'));
    case 1:
      return negate
        ? sub(
            () => i64.geU(s.a, s.b),
            () => i32.eqz(flag('cf')),
          )
        : sub(
            () => i64.ltU(s.a, s.b),
            () => flag('cf'),
          );
    case 2:
      return negate ? i64.ne(s.r, i64.const(0)) : i64.eqz(s.r);
    case 3: {
      const general = (): I32 => i32.or(flag('cf'), flag('zf'));
      return negate
        ? sub(
            () => i64.gtU(s.a, s.b),
            () => i32.eqz(general()),
          )
        : sub(() => i64.leU(s.a, s.b), general);
    }
    case 4:
      return invert(flag('sf'));
    case 5:
      return invert(flag('pf'));
    case 6: {
      const general = (): I32 => i32.xor(flag('sf'), flag('of'));
      return negate
        ? sub(
            () => i64.geS(s.a, s.b),
            () => i32.eqz(general()),
          )
        : sub(() => i64.ltS(s.a, s.b), general);
    }
    default: {
      const general = (): I32 => i32.or(flag('zf'), i32.xor(flag('sf'), flag('of')));
      return negate
        ? sub(
            () => i64.gtS(s.a, s.b),
            () => i32.eqz(general()),
          )
        : sub(() => i64.leS(s.a, s.b), general);
    }
  }
}

/** The six flags as an RFLAGS-layout word. */
export function wordOf(f: FunctionBuilder, h: Lookup, s: FlagRecord): I32 {
  if (s.known !== undefined && (s.known & 7) === FLAG_OP.explicit) return s.word;
  if (s.known === undefined) return f.call('i32', h('flagWord'), [s.op, s.a, s.b, s.r, s.word]);
  const at = (name: FlagName): I32 => i32.shl(flagOf(f, h, name, s), i32.const(SHIFT[name]));
  return (['pf', 'af', 'zf', 'sf', 'of'] as const).reduce((all, name) => i32.or(all, at(name)), at('cf'));
}

/** Packs 0/1 flags into an RFLAGS-layout word. */
export function packFlags(flags: Partial<Record<FlagName, I32>>): I32 {
  let word: I32 = i32.const(0);
  for (const [name, value] of Object.entries(flags) as [FlagName, I32][]) {
    word = i32.or(word, i32.shl(value, i32.const(SHIFT[name])));
  }
  return word;
}
export const flagMask = (flags: Partial<Record<FlagName, I32>>): number =>
  Object.keys(flags).reduce((mask, name) => mask | (1 << SHIFT[name as FlagName]), 0);

/** The result an explicit record must carry: 0 exactly when ZF is set. */
export const explicitResult = (word: I32): I64 =>
  i64.extendU(i32.xor(i32.and(word, i32.const(FLAG.zf)), i32.const(FLAG.zf)));

const RECORD_PARAMS = ['i32', 'i64', 'i64', 'i64', 'i32'] as const;
const recordOfParams = (f: FunctionBuilder): FlagRecord => ({
  known: undefined,
  op: f.param('i32', 0),
  a: f.param('i64', 1),
  b: f.param('i64', 2),
  r: f.param('i64', 3),
  word: f.param('i32', 4),
});
function dispatched(name: string, table: readonly ((s: FlagRecord) => I32)[]): HelperDefinition {
  return {
    name,
    params: RECORD_PARAMS,
    results: ['i32'],
    build(f) {
      const s = recordOfParams(f);
      for (let op = 0; op < table.length - 1; op++) {
        f.if(i32.eq(s.op, i32.const(op)), () => f.return(table[op]!(s)));
      }
      f.result(table.at(-1)!(s));
    },
  };
}

export const FLAG_HELPERS: readonly HelperDefinition[] = [
  dispatched('flagCarry', CARRY),
  dispatched('flagOverflow', OVERFLOW),
  {
    name: 'flagWord',
    params: RECORD_PARAMS,
    results: ['i32'],
    build(f, h) {
      const s = recordOfParams(f);
      f.if(i32.eq(baseOp(s.op), i32.const(FLAG_OP.explicit)), () => f.return(s.word));
      const at = (name: FlagName): I32 => i32.shl(flagOf(f, h, name, s), i32.const(SHIFT[name]));
      f.result((['pf', 'af', 'zf', 'sf', 'of'] as const).reduce((all, name) => i32.or(all, at(name)), at('cf')));
    },
  },
  {
    name: 'readFlags',
    params: [],
    results: ['i32'],
    build(f, h) {
      f.result(i32.or(i32.load(ZERO, STATE.eflags), wordOf(f, h, stateFlags)));
    },
  },
  {
    name: 'writeStatusFlags',
    params: ['i32'],
    results: [],
    build(f) {
      const word = f.param('i32', 0);
      f.store32(ZERO, i32.and(word, i32.const(0x8d5)), STATE.flagWord);
      f.store32(ZERO, i32.const(FLAG_OP.explicit), STATE.flagOp);
      f.store64(ZERO, explicitResult(word), STATE.flagR);
    },
  },
];
