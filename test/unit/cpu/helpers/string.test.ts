import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HELPERS, STRING_RESULT } from '../../../../src/cpu/helpers/string.ts';
import { STATE } from '../../../../src/cpu/state.ts';
import type { Callable, ValType } from '../../../../src/wasm/expr.ts';
import { ModuleBuilder } from '../../../../src/wasm/module.ts';

/** Pages 0..15 are RAM; 6 and 11 are devices (no span); 9 is not mapped; linear = RAM offset. */
const PAGE = 4096;
const DEVICES = [6, 11];
const HOLE = 9;
const IMPORTS: Readonly<Record<string, { params: ValType[]; results: ValType[] }>> = {
  loadSlow: { params: ['i64', 'i32'], results: ['i64'] },
  storeSlow: { params: ['i64', 'i64', 'i32'], results: [] },
  spanRead: { params: ['i64', 'i32'], results: ['i64'] },
  spanWrite: { params: ['i64', 'i32'], results: ['i64'] },
};

const state = new WebAssembly.Memory({ initial: 1 });
const ram = new WebAssembly.Memory({ initial: 1 });
const stateView = new DataView(state.buffer);
const bytes = new Uint8Array(ram.buffer);
const view = new DataView(ram.buffer);

const pageOf = (linear: number): number => Math.floor(linear / PAGE);
const reachable = (at: number, width: number): boolean =>
  at >= 0 && at + width <= bytes.length && pageOf(at) !== HOLE && pageOf(at + width - 1) !== HOLE;
function faults(linear: number, width: number): boolean {
  if (reachable(linear, width)) return false;
  stateView.setUint32(STATE.fault, 1, true);
  return true;
}
const span = (linear: bigint, wanted: number): bigint => {
  const at = Number(linear);
  const page = pageOf(at);
  if (page === HOLE || DEVICES.includes(page) || at < 0 || at >= bytes.length) return -1n;
  return (BigInt(Math.min(wanted, (page + 1) * PAGE - at)) << 32n) | BigInt(at);
};
const loadAt = (at: number, width: number): bigint => {
  let value = 0n;
  for (let i = 0; i < width; i++) value |= BigInt(bytes[at + i]!) << BigInt(8 * i);
  return value;
};
const storeAt = (at: number, value: bigint, width: number): void => {
  for (let i = 0; i < width; i++) bytes[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
};
const env = {
  state,
  ram,
  loadSlow: (linear: bigint, flags: number): bigint =>
    faults(Number(linear), flags & 0xff) ? 0n : loadAt(Number(linear), flags & 0xff),
  storeSlow: (linear: bigint, value: bigint, flags: number): void => {
    if (!faults(Number(linear), flags & 0xff)) storeAt(Number(linear), value, flags & 0xff);
  },
  spanRead: span,
  spanWrite: span,
};

function compile(): Record<string, (...args: (bigint | number)[]) => number> {
  const m = new ModuleBuilder();
  m.importMemory({ name: 'state', initial: 1 });
  m.importMemory({ name: 'ram', initial: 1 });
  const lookup = (name: string): Callable => m.importFunction(name, IMPORTS[name]!.params, IMPORTS[name]!.results);
  for (const helper of HELPERS) {
    const f = m.function(helper.name, helper.params, helper.results);
    helper.build(f, lookup);
    m.export(f);
  }
  const instance = new WebAssembly.Instance(new WebAssembly.Module(m.encode()), { env });
  return instance.exports as Record<string, (...args: (bigint | number)[]) => number>;
}
const helpers = compile();

const wrap = (offset: number): bigint => BigInt(offset) & 0xffff_ffff_ffff_ffffn;
const ALL = -1n;
const extend = (value: bigint, width: number): bigint => BigInt.asIntN(width * 8, value);

interface Run {
  readonly width: 1 | 2 | 4 | 8;
  readonly source: number;
  readonly destination: number;
  readonly count: number;
  readonly backward: boolean;
}
const near = fc.oneof(
  fc.integer({ min: 64, max: 15 * PAGE }),
  fc.integer({ min: -40, max: 40 }).map((d) => 5 * PAGE + d),
);
const run: fc.Arbitrary<Run> = fc
  .record({
    width: fc.constantFrom<1 | 2 | 4 | 8>(1, 2, 4, 8),
    source: near,
    distance: fc.oneof(fc.integer({ min: -20, max: 20 }), fc.integer({ min: -9000, max: 9000 })),
    count: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 3000 })),
    backward: fc.boolean(),
  })
  .map(({ distance, ...rest }) => ({ ...rest, destination: Math.max(0, rest.source + distance) }));

/** The plain meaning: one element after the other. Yields how many were done. */
function eachElement(r: Run, touched: (i: number) => number[], body: (i: number) => boolean | undefined): number {
  const step = r.backward ? -r.width : r.width;
  for (let i = 0; i < r.count; i++) {
    if (!touched(i * step).every((at) => reachable(at, r.width))) return i;
    if (body(i * step) === false) return i + 1;
  }
  return r.count;
}
function fill(seed: number, period: number): Uint8Array {
  for (let i = 0; i < bytes.length; i++) bytes[i] = ((i % period) * 7 + seed) & 0xff;
  stateView.setUint32(STATE.fault, 0, true);
  return bytes.slice();
}
const stepOf = (r: Run): number => (r.backward ? -r.width : r.width);
/** Runs `actual`, restores memory, runs `expected`; both must leave the same bytes and count. */
function compare(before: Uint8Array, actual: () => number, expected: () => number): number {
  const done = actual();
  const after = bytes.slice();
  bytes.set(before);
  expect(done).toBe(expected());
  expect(Buffer.compare(after, bytes)).toBe(0);
  return done;
}
const runs = { numRuns: 400 };

describe('string helpers', () => {
  it('REP MOVS copies element by element, overlaps and faults included', () => {
    fc.assert(
      fc.property(run, fc.integer({ min: 0, max: 255 }), (r, seed) => {
        const done = compare(
          fill(seed, 251),
          () =>
            helpers[`repeatMovs${r.width}`]!(
              wrap(r.source),
              0n,
              wrap(r.destination),
              0n,
              ALL,
              ALL,
              r.count,
              stepOf(r),
              r.width,
            ),
          () =>
            eachElement(
              r,
              (d) => [r.source + d, r.destination + d],
              (d) => {
                storeAt(r.destination + d, loadAt(r.source + d, r.width), r.width);
                return true;
              },
            ),
        );
        expect(stateView.getUint32(STATE.fault, true)).toBe(done < r.count ? 1 : 0);
      }),
      runs,
    );
  });

  it('REP STOS fills, with uniform and other patterns', () => {
    fc.assert(
      fc.property(run, fc.constantFrom(0n, ALL, 0x0102030405060708n), (r, pattern) => {
        const value = BigInt.asUintN(r.width * 8, pattern);
        compare(
          fill(1, 251),
          () => helpers[`repeatStos${r.width}`]!(wrap(r.destination), 0n, value, ALL, ALL, r.count, stepOf(r), r.width),
          () =>
            eachElement(
              r,
              (d) => [r.destination + d],
              (d) => {
                storeAt(r.destination + d, value, r.width);
                return true;
              },
            ),
        );
      }),
      runs,
    );
  });

  it('REP LODS leaves the last element', () => {
    fc.assert(
      fc.property(run, (r) => {
        let last = 0n;
        const done = compare(
          fill(3, 253),
          () => helpers[`repeatLods${r.width}`]!(wrap(r.source), 0n, ALL, ALL, r.count, stepOf(r), r.width),
          () =>
            eachElement(
              r,
              (d) => [r.source + d],
              (d) => {
                last = loadAt(r.source + d, r.width);
                return true;
              },
            ),
        );
        if (done > 0) expect(stateView.getBigInt64(STRING_RESULT.b, true)).toBe(extend(last, r.width));
      }),
      runs,
    );
  });

  it('REPE and REPNE CMPS and SCAS stop at the right element', () => {
    fc.assert(
      fc.property(run, fc.constantFrom(1, 2, 3, 250, 251), fc.constantFrom(0, 1), (r, period, whileEqual) => {
        const before = fill(5, period);
        bytes[5 * PAGE + 100] = 0xee;
        before[5 * PAGE + 100] = 0xee;
        let a = 0n;
        let b = 0n;
        const goesOn = (): boolean => (a === b) === (whileEqual === 1);
        const check = (done: number): void => {
          if (done === 0) return;
          expect(stateView.getBigInt64(STRING_RESULT.a, true)).toBe(extend(a, r.width));
          expect(stateView.getBigInt64(STRING_RESULT.b, true)).toBe(extend(b, r.width));
        };
        check(
          compare(
            before,
            () =>
              helpers[`repeatCmps${r.width}`]!(
                wrap(r.source),
                0n,
                wrap(r.destination),
                0n,
                ALL,
                ALL,
                r.count,
                stepOf(r),
                r.width,
                whileEqual,
              ),
            () =>
              eachElement(
                r,
                (d) => [r.source + d, r.destination + d],
                (d) => {
                  a = loadAt(r.source + d, r.width);
                  b = loadAt(r.destination + d, r.width);
                  return goesOn();
                },
              ),
          ),
        );
        stateView.setUint32(STATE.fault, 0, true);
        a = loadAt(5 * PAGE + 98, r.width);
        const wanted = extend(a, r.width);
        check(
          compare(
            before,
            () =>
              helpers[`repeatScas${r.width}`]!(
                wrap(r.destination),
                0n,
                wanted,
                ALL,
                ALL,
                r.count,
                stepOf(r),
                r.width,
                whileEqual,
              ),
            () =>
              eachElement(
                r,
                (d) => [r.destination + d],
                (d) => {
                  b = loadAt(r.destination + d, r.width);
                  return goesOn();
                },
              ),
          ),
        );
      }),
      runs,
    );
  });

  it('wraps offsets at 16 bits', () => {
    fill(9, 251);
    const before = bytes.slice();
    // DI = fffe: two bytes at the end of the segment at 10h, then on from its start
    const done = helpers['repeatStos1']!(0xfffen, -0xf000n, 0xabn, 0xffffn, 0xffffffffn, 4, 1, 1);
    expect(done).toBe(2);
    expect(stateView.getUint32(STATE.fault, true)).toBe(1);
    expect([...bytes.slice(0xffe, 0x1000)]).toEqual([0xab, 0xab]);
    expect(bytes[0x1000]).toBe(before[0x1000]);
    expect(view.getUint8(0)).toBe(before[0]);
  });
});
