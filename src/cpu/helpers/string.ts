/**
 * The loops of REP MOVS, STOS, LODS, CMPS and SCAS: one function per operation and width. Each takes offsets, segment
 * bases, the masks that wrap offsets and linear addresses, the number of iterations allowed and the signed step, and
 * returns the number of iterations done; STATE.fault tells whether a fault ended them. While the direction is forward
 * and the addresses lie in plain RAM, a page's worth is done at once. Their `flags` are those of the source's slow path (see
 * SLOW).
 */
import { type FunctionBuilder, type Label, ZERO } from '../../wasm/builder.ts';
import { type Callable, type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import type { Bytes } from '../semantics/context.ts';
import { SLOW, STATE } from '../state.ts';
import type { HelperDefinition } from './definition.ts';

const RAM = 1;
const PAGE = i64.const(4096);
const NOT_RAM = i64.const(-1);
type Lookup = (name: string) => Callable;

/** State cells with the last elements that CMPS and SCAS compared (sign-extended); LODS leaves its last one in b. */
export const STRING_RESULT = { a: STATE.mailbox, b: STATE.mailbox + 8 } as const;

const shiftOf = (width: Bytes): I32 => i32.const(Math.log2(width));
const faulted = (): I32 => i32.load(ZERO, STATE.fault);

const ramLoad = (width: Bytes, at: I32): I64 => {
  if (width === 8) return i64.load(at, 0, RAM);
  return width === 4 ? i64.load32S(at, 0, RAM) : width === 2 ? i64.load16S(at, 0, RAM) : i64.load8S(at, 0, RAM);
};
function ramStore(f: FunctionBuilder, width: Bytes, at: I32, value: I64): void {
  if (width === 8) f.store64(at, value, 0, RAM);
  else if (width === 4) f.store32(at, i32.wrap(value), 0, RAM);
  else if (width === 2) f.store16(at, i32.wrap(value), 0, RAM);
  else f.store8(at, i32.wrap(value), 0, RAM);
}
const signExtend = (width: Bytes, value: I64): I64 => {
  if (width === 8) return value;
  return width === 4 ? i64.extend32S(value) : width === 2 ? i64.extend16S(value) : i64.extend8S(value);
};

/** The iteration state of one loop, and what a span of RAM means for it. */
class Repetition {
  readonly f: FunctionBuilder;
  readonly h: Lookup;
  readonly width: Bytes;
  readonly mask: I64;
  readonly linearMask: I64;
  readonly count: I32;
  readonly step: I32;
  readonly #left: number;
  readonly #cursors: readonly { readonly local: number; readonly base: I64 }[];

  /** Offsets are the parameters at `offsets`, each followed by its segment base; the common ones start at `common`. */
  constructor(f: FunctionBuilder, h: Lookup, width: Bytes, offsets: readonly number[], common: number) {
    this.f = f;
    this.h = h;
    this.width = width;
    this.mask = f.param('i64', common);
    this.linearMask = f.param('i64', common + 1);
    this.count = f.param('i32', common + 2);
    this.step = f.param('i32', common + 3);
    this.#left = f.newLocal('i32');
    f.set(this.#left, this.count);
    this.#cursors = offsets.map((local) => ({ local, base: f.param('i64', local + 1) }));
  }
  get left(): I32 {
    return this.f.get('i32', this.#left);
  }
  get done(): I32 {
    return i32.sub(this.count, this.left);
  }
  #offset(cursor: number): I64 {
    return this.f.get('i64', this.#cursors[cursor]!.local);
  }
  /** Linear address of a cursor's next element, in a local. */
  linear(cursor: number): I64 {
    return this.f.let(i64.and(i64.add(this.#cursors[cursor]!.base, this.#offset(cursor)), this.linearMask));
  }
  /** Takes n iterations off and moves every cursor. */
  advance(n: I32): void {
    const { f } = this;
    const delta = f.let(i64.extendS(i32.mul(n, this.step)));
    for (const { local } of this.#cursors) f.set(local, i64.and(i64.add(f.get('i64', local), delta), this.mask));
    f.set(this.#left, i32.sub(this.left, n));
  }
  /** Bytes that all cursors may cover at once: the rest of the count, short of an offset's wrap, at most a page. */
  #room(): I32 {
    const { f } = this;
    const bytes = f.newLocal('i64');
    f.set(bytes, i64.shl(i64.extendU(this.left), i64.extendU(shiftOf(this.width))));
    const least = (limit: I64): void => {
      const bound = f.let(limit);
      f.set(bytes, i64.select(i64.ltU(f.get('i64', bytes), bound), f.get('i64', bytes), bound));
    };
    for (let cursor = 0; cursor < this.#cursors.length; cursor++) least(i64.sub(this.mask, this.#offset(cursor)));
    least(PAGE);
    return f.let(i32.wrap(f.get('i64', bytes)));
  }
  /**
   * Emits `body(RAM offsets, elements)` for at least one whole element of plain RAM under every cursor, going forward;
   * otherwise leaves to `slow`. `written` marks the cursors that are stored to.
   */
  whileInRam(slow: Label, written: readonly boolean[], body: (at: readonly I32[], elements: I32) => void): void {
    const { f, h, width } = this;
    f.brIf(slow, i32.ltS(this.step, i32.const(0)));
    let room = this.#room();
    f.brIf(slow, i32.ltU(room, i32.const(width)));
    const at = written.map((write, cursor) => {
      const span = f.let(f.call('i64', h(write ? 'spanWrite' : 'spanRead'), [this.linear(cursor), room]));
      f.brIf(slow, i64.eq(span, NOT_RAM));
      room = f.let(i32.wrap(i64.shrU(span, i64.const(32))));
      return f.let(i32.wrap(span));
    });
    const elements = f.let(i32.shrU(room, shiftOf(width)));
    f.brIf(slow, i32.eqz(elements));
    body(at, elements);
  }
  /** One element through the slow path, sign-extended; leaves to `end` on a fault, or when the interpreter must do it. */
  load(cursor: number, flags: I32, end: Label): I64 {
    const { f, h, width } = this;
    const value = f.let(signExtend(width, f.call('i64', h('loadSlow'), [this.linear(cursor), flags])));
    f.brIf(end, faulted());
    return value;
  }
  store(cursor: number, value: I64, flags: I32, end: Label): void {
    const { f, h } = this;
    f.callVoid(h('storeSlow'), [this.linear(cursor), value, flags]);
    f.brIf(end, faulted());
  }
}

const ITERATION = ['i64', 'i64', 'i32', 'i32'] as const;
/** For ES:rDI. */
const destinationFlags = (flags: I32): I32 => i32.and(flags, i32.const(~SLOW.stack));

/** Emits the outer loop: `bulk` (leaving to its label when it cannot) or `single`, until nothing is left. */
function iterate(
  f: FunctionBuilder,
  repetition: Repetition,
  bulk: (slow: Label, next: Label, end: Label) => void,
  single: (end: Label) => void,
): void {
  f.block((end) =>
    f.loop((next) => {
      f.brIf(end, i32.eqz(repetition.left));
      f.block((slow) => bulk(slow, next, end));
      single(end);
      f.br(next);
    }),
  );
  f.result(repetition.done);
}

const repeatMovs = (width: Bytes): HelperDefinition => ({
  name: `repeatMovs${width}`,
  params: ['i64', 'i64', 'i64', 'i64', ...ITERATION, 'i32'],
  results: ['i32'],
  build(f, h) {
    const repetition = new Repetition(f, h, width, [0, 2], 4);
    const flags = f.param('i32', 8);
    iterate(
      f,
      repetition,
      (slow, next) =>
        repetition.whileInRam(slow, [false, true], ([from, to], elements) => {
          // a destination just above the source repeats what lies between: copy no further than that at once
          const distance = f.let(i32.shrU(i32.sub(to!, from!), shiftOf(width)));
          const exact = i32.sub(to!, from!);
          f.brIf(slow, i32.ltU(i32.sub(exact, i32.const(1)), i32.const(width - 1)));
          const overlapping = i32.ltU(i32.sub(distance, i32.const(1)), i32.sub(elements, i32.const(1)));
          const n = f.let(i32.select(overlapping, distance, elements));
          f.memoryCopy(to!, from!, i32.shl(n, shiftOf(width)), RAM, RAM);
          repetition.advance(n);
          f.br(next);
        }),
      (end) => {
        const value = repetition.load(0, flags, end);
        repetition.store(1, value, destinationFlags(flags), end);
        repetition.advance(i32.const(1));
      },
    );
  },
});

const repeatStos = (width: Bytes): HelperDefinition => ({
  name: `repeatStos${width}`,
  params: ['i64', 'i64', 'i64', ...ITERATION, 'i32'],
  results: ['i32'],
  build(f, h) {
    const repetition = new Repetition(f, h, width, [0], 3);
    const value = f.param('i64', 2);
    const flags = f.param('i32', 7);
    const low = f.let(i32.and(i32.wrap(value), i32.const(0xff)));
    const ones = { 1: 1n, 2: 0x101n, 4: 0x1010101n, 8: 0x101010101010101n }[width];
    const uniform = f.let(i64.eq(value, i64.mul(i64.extendU(low), i64.const(ones))));
    iterate(
      f,
      repetition,
      (slow, next) =>
        repetition.whileInRam(slow, [true], ([to], elements) => {
          const bytes = f.let(i32.shl(elements, shiftOf(width)));
          f.if(
            uniform,
            () => f.memoryFill(to!, low, bytes, RAM),
            () => fillElements(f, width, to!, bytes, value),
          );
          repetition.advance(elements);
          f.br(next);
        }),
      (end) => {
        repetition.store(0, value, flags, end);
        repetition.advance(i32.const(1));
      },
    );
  },
});

/** Stores `value` over [to, to + bytes): bytes is a multiple of the width, and not 0. */
function fillElements(f: FunctionBuilder, width: Bytes, to: I32, bytes: I32, value: I64): void {
  const at = f.newLocal('i32');
  const end = f.let(i32.add(to, bytes));
  f.set(at, to);
  f.loop((again) => {
    ramStore(f, width, f.get('i32', at), value);
    f.set(at, i32.add(f.get('i32', at), i32.const(width)));
    f.brIf(again, i32.ne(f.get('i32', at), end));
  });
}

const repeatLods = (width: Bytes): HelperDefinition => ({
  name: `repeatLods${width}`,
  params: ['i64', 'i64', ...ITERATION, 'i32'],
  results: ['i32'],
  build(f, h) {
    const repetition = new Repetition(f, h, width, [0], 2);
    const flags = f.param('i32', 6);
    const last = f.newLocal('i64');
    f.set(last, i64.const(0));
    f.block((end) =>
      f.loop((next) => {
        f.brIf(end, i32.eqz(repetition.left));
        f.set(last, repetition.load(0, flags, end));
        repetition.advance(i32.const(1));
        f.br(next);
      }),
    );
    f.store64(ZERO, f.get('i64', last), STRING_RESULT.b);
    f.result(repetition.done);
  },
});

/** What CMPS and SCAS share: compare until the count is spent or the equality differs from `goesOn`. */
function compareLoop(
  f: FunctionBuilder,
  repetition: Repetition,
  goesOn: I32,
  parts: {
    readonly cursors: number;
    /** Elements at offset `byte` from the spans' starts. */
    readonly inRam: (at: readonly I32[], byte: I32) => { a: I64; b: I64 };
    readonly slow: (end: Label) => { a: I64; b: I64 };
  },
): void {
  const { width } = repetition;
  const a = f.newLocal('i64');
  const b = f.newLocal('i64');
  const keep = (pair: { a: I64; b: I64 }): void => {
    f.set(a, pair.a);
    f.set(b, pair.b);
  };
  const stops = (): I32 => i32.ne(i64.eq(f.get('i64', a), f.get('i64', b)), goesOn);
  iterate(
    f,
    repetition,
    (slow, next, end) =>
      repetition.whileInRam(slow, new Array<boolean>(parts.cursors).fill(false), (at, elements) => {
        const index = f.newLocal('i32');
        f.set(index, i32.const(0));
        f.block((stopped) =>
          f.loop((again) => {
            const byte = f.let(i32.shl(f.get('i32', index), shiftOf(width)));
            keep(parts.inRam(at, byte));
            f.set(index, i32.add(f.get('i32', index), i32.const(1)));
            f.brIf(stopped, stops());
            f.brIf(again, i32.ltU(f.get('i32', index), elements));
          }),
        );
        repetition.advance(f.get('i32', index));
        f.brIf(end, stops());
        f.br(next);
      }),
    (end) => {
      keep(parts.slow(end));
      repetition.advance(i32.const(1));
      f.brIf(end, stops());
    },
  );
  f.store64(ZERO, f.get('i64', a), STRING_RESULT.a);
  f.store64(ZERO, f.get('i64', b), STRING_RESULT.b);
}

const repeatCmps = (width: Bytes): HelperDefinition => ({
  name: `repeatCmps${width}`,
  params: ['i64', 'i64', 'i64', 'i64', ...ITERATION, 'i32', 'i32'],
  results: ['i32'],
  build(f, h) {
    const repetition = new Repetition(f, h, width, [0, 2], 4);
    const whileEqual = f.param('i32', 9);
    compareLoop(f, repetition, whileEqual, {
      cursors: 2,
      inRam: ([first, second], byte) => ({
        a: ramLoad(width, i32.add(first!, byte)),
        b: ramLoad(width, i32.add(second!, byte)),
      }),
      slow: (end) => {
        const [a, b] = [f.newLocal('i64'), f.newLocal('i64')];
        const source = (): void => f.set(a, repetition.load(0, f.param('i32', 8), end));
        const destination = (): void => f.set(b, repetition.load(1, destinationFlags(f.param('i32', 8)), end));
        const destinationFirst = (): void => {
          destination();
          source();
        };
        const sourceFirst = (): void => {
          source();
          destination();
        };
        // which of two faults is seen: the reference CPU reads the destination first, but for REPE CMPSB
        if (width === 1) f.if(whileEqual, sourceFirst, destinationFirst);
        else destinationFirst();
        return { a: f.get('i64', a), b: f.get('i64', b) };
      },
    });
  },
});

const repeatScas = (width: Bytes): HelperDefinition => ({
  name: `repeatScas${width}`,
  params: ['i64', 'i64', 'i64', ...ITERATION, 'i32', 'i32'],
  results: ['i32'],
  build(f, h) {
    const repetition = new Repetition(f, h, width, [0], 3);
    const wanted = f.param('i64', 2);
    const flags = f.param('i32', 7);
    compareLoop(f, repetition, f.param('i32', 8), {
      cursors: 1,
      inRam: ([at], byte) => ({ a: wanted, b: ramLoad(width, i32.add(at!, byte)) }),
      slow: (end) => ({ a: wanted, b: repetition.load(0, flags, end) }),
    });
  },
});

const WIDTHS: readonly Bytes[] = [1, 2, 4, 8];
export const HELPERS: readonly HelperDefinition[] = [
  repeatMovs,
  repeatStos,
  repeatLods,
  repeatCmps,
  repeatScas,
].flatMap((make) => WIDTHS.map(make));
