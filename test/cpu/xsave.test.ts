import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { siliconMissing } from '../oracle/build.ts';
import { compare } from '../oracle/compare.ts';
import { openEngine } from '../oracle/engines.ts';
import { Random } from '../oracle/random.ts';
import { Silicon } from '../oracle/silicon.ts';
import { background, type CpuCase, type CpuResult, DATA_BASE, type Engine } from '../oracle/types.ts';
import { NO_MASKS } from '../oracle/undefined.ts';

/** XSAVE, XSAVEOPT, XSAVEC and XRSTOR at CPL 3 (SDM vol. 1, chapter 13): the SDM's rules and the host CPU as oracles. */
const X87 = 1;
const SSE = 2;
const AVX = 4;
const ALL = X87 | SSE | AVX;
const HEADER = 512;
const AVX_AT = 576;
const AREA = 832;
const COMPACTED = 1n << 63n;
/** ModRM [RBX]. */
const CODE = { xsave: '0fae23', xsaveopt: '0fae33', xsavec: '0fc723', xrstor: '0fae2b' } as const;
type Saving = 'xsave' | 'xsaveopt' | 'xsavec';
const SAVING: readonly Saving[] = ['xsave', 'xsaveopt', 'xsavec'];
/** x87 after FNINIT with empty registers that are zero; MXCSR_MASK, which the CPU writes, is not compared. */
const MXCSR_INITIAL = 0x1f80;
const DATA = background().data;

interface Parts {
  readonly x87: boolean;
  readonly sse: boolean;
  readonly avx: boolean;
}
function random160(r: Random): Uint8Array {
  const fx = new Uint8Array(160);
  for (let i = 32; i < 160; i++) fx[i] = (i & 15) < 10 ? r.u32() : 0;
  const view = new DataView(fx.buffer);
  view.setUint16(0, 0x37f & ~(r.u32() & 0xc00), true);
  view.setUint16(2, r.u32() & 0x7f00, true);
  fx[4] = r.u32();
  return fx;
}
function randomVectors(r: Random, parts: Parts, registers: number): Uint8Array {
  const ymm = new Uint8Array(512);
  for (let i = 0; i < 32 * registers; i++) if ((i & 16) === 0 ? parts.sse : parts.avx) ymm[i] = r.u32();
  return ymm;
}
function testCase(
  r: Random,
  code: string,
  mask: number,
  image: Uint8Array,
  at = DATA_BASE,
): CpuCase & { parts: Parts } {
  const mode = r.oneIn(4) ? 32 : 64;
  const parts = { x87: !r.oneIn(3), sse: !r.oneIn(3), avx: !r.oneIn(3) };
  const gpr = new BigUint64Array(16);
  gpr[0] = BigInt(mask);
  gpr[3] = BigInt(at);
  const mxcsr = r.oneIn(2) ? MXCSR_INITIAL : MXCSR_INITIAL | (r.u32() & 0x603f);
  return {
    code: Uint8Array.from(Buffer.from(code, 'hex')),
    codeOffset: 0,
    mode,
    gpr,
    rflags: 2,
    fsBase: 0n,
    gsBase: 0n,
    ymm: randomVectors(r, parts, mode === 64 ? 16 : 8),
    mxcsr,
    fx: parts.x87 ? random160(r) : undefined,
    memory: [{ offset: 0, bytes: image }],
    parts,
  };
}
/** An area with a header, else the background. */
function area(
  stateBv: bigint,
  layout: bigint,
  change: (bytes: Uint8Array, view: DataView) => void = () => {},
): Uint8Array {
  const bytes = DATA.slice(0, AREA);
  const view = new DataView(bytes.buffer);
  bytes.fill(0, HEADER, HEADER + 64);
  view.setBigUint64(HEADER, stateBv, true);
  view.setBigUint64(HEADER + 8, layout, true);
  view.setUint32(24, MXCSR_INITIAL, true);
  change(bytes, view);
  return bytes;
}
function areaAfter(test: CpuCase, result: CpuResult): Uint8Array {
  const bytes = DATA.slice(0, 2 * AREA);
  for (const patch of [...test.memory, ...result.memory]) bytes.set(patch.bytes, patch.offset);
  return bytes;
}
/** Where two areas differ first. */
function firstDifference(a: Uint8Array, b: Uint8Array): string | undefined {
  const at = a.findIndex((byte, i) => byte !== b[i]);
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes.subarray(at, at + 16)).toString('hex');
  return at < 0 ? undefined : `at ${at}: ${hex(a)} but ${hex(b)}`;
}
/** What CPUs differ in: FOP, FIP, FDP, the mask of MXCSR. */
function blank(bytes: Uint8Array): Uint8Array {
  bytes.fill(0, 5, 24);
  bytes.fill(0, 28, 32);
  return bytes;
}
/** The area as the SDM has it, XINUSE being what is not in its initial configuration. */
function expected(kind: Saving, test: CpuCase & { parts: Parts }): Uint8Array {
  const bytes = areaAfter(test, { ...NOTHING, memory: [] });
  const view = new DataView(bytes.buffer);
  const mask = Number(test.gpr[0]) & ALL;
  const { parts, mxcsr, mode } = test;
  const inUse = (parts.x87 ? X87 : 0) | (parts.sse ? SSE : 0) | (parts.avx ? AVX : 0);
  const withMxcsr = kind === 'xsavec' && mxcsr !== MXCSR_INITIAL ? SSE : 0;
  const present = mask & (inUse | withMxcsr);
  const saved = kind === 'xsave' ? mask : present;
  const registers = mode === 64 ? 16 : 8;
  if (saved & X87) {
    const fx = test.fx ?? Uint8Array.from([0x7f, 3, ...new Uint8Array(158)]);
    bytes.set(fx.subarray(0, 24), 0);
    bytes.set(fx.subarray(32), 32);
  }
  if (kind === 'xsavec' ? saved & SSE : mask & (SSE | AVX)) view.setUint32(24, mxcsr, true);
  for (let i = 0; i < registers; i++) {
    const ymm = test.ymm.subarray(32 * i, 32 * i + 32);
    if (saved & SSE) bytes.set(ymm.subarray(0, 16), 160 + 16 * i);
    if (saved & AVX) bytes.set(ymm.subarray(16), AVX_AT + 16 * i);
  }
  const old = kind === 'xsavec' ? 0n : view.getBigUint64(HEADER, true) & ~BigInt(mask);
  view.setBigUint64(HEADER, old | BigInt(present), true);
  if (kind === 'xsavec') view.setBigUint64(HEADER + 8, COMPACTED | BigInt(mask), true);
  return blank(bytes);
}
const NOTHING: CpuResult = {
  outcome: { kind: 'ok' },
  rip: 0n,
  gpr: new BigUint64Array(16),
  rflags: 0,
  fsBase: 0n,
  gsBase: 0n,
  ymm: new Uint8Array(512),
  mxcsr: 0,
  fx: new Uint8Array(160),
  selectors: new Uint16Array(6),
  memory: [],
};
/** The area with components that are marked as initial filled in as if they had been stored: how a CPU tracks them is its own. */
function settled(test: CpuCase, bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer);
  const mask = Number(test.gpr[0]) & ALL;
  const stated = Number(view.getBigUint64(HEADER, true));
  const absent = mask & ~stated;
  const registers = test.mode === 64 ? 16 : 8;
  if (absent & X87) {
    bytes.fill(0, 0, 24);
    bytes.fill(0, 32, 160);
    view.setUint16(0, 0x37f, true);
  }
  if (absent & SSE) bytes.fill(0, 160, 160 + 16 * registers);
  if (absent & AVX) bytes.fill(0, AVX_AT, AVX_AT + 16 * registers);
  if (view.getUint32(24, true) === MXCSR_INITIAL || absent & SSE) view.setUint32(24, 0, true);
  view.setBigUint64(HEADER, BigInt(stated | mask), true);
  return blank(bytes);
}
function savingCases(kind: Saving, count: number): (CpuCase & { parts: Parts })[] {
  const r = new Random(1, SAVING.indexOf(kind));
  return Array.from({ length: count }, () =>
    testCase(r, CODE[kind], r.oneIn(8) ? 0x8000_0007 : r.below(8), area(BigInt(r.below(8)), 0n)),
  );
}

// ---- XRSTOR
const withBytes = (at: number, value: number) => (bytes: Uint8Array) => {
  bytes[at] = value;
};
const withMxcsr = (value: number) => (_bytes: Uint8Array, view: DataView) => view.setUint32(24, value, true);
const ALIEN = 1n << 20n;
interface Line {
  readonly name: string;
  readonly mask: number;
  readonly image: Uint8Array;
  readonly at?: number;
}
const REFUSED: readonly Line[] = [
  { name: 'a component that XCR0 lacks', mask: ALL, image: area(7n | ALIEN, 0n) },
  { name: 'the same, though not asked for', mask: 0, image: area(ALIEN, 0n) },
  { name: 'standard form: bytes 15:8 of the header', mask: ALL, image: area(7n, 1n) },
  { name: 'standard form: byte 16', mask: ALL, image: area(7n, 0n, withBytes(HEADER + 16, 1)) },
  { name: 'standard form: byte 23', mask: ALL, image: area(7n, 0n, withBytes(HEADER + 23, 0x80)) },
  { name: 'compacted form: a component that XCR0 lacks', mask: ALL, image: area(7n, COMPACTED | 7n | ALIEN) },
  { name: 'compacted form: state that the layout lacks', mask: ALL, image: area(7n, COMPACTED | 3n) },
  { name: 'compacted form: byte 16', mask: ALL, image: area(7n, COMPACTED | 7n, withBytes(HEADER + 16, 1)) },
  { name: 'compacted form: byte 63', mask: ALL, image: area(7n, COMPACTED | 7n, withBytes(HEADER + 63, 1)) },
  { name: 'reserved bits of MXCSR', mask: SSE, image: area(2n, 0n, withMxcsr(0x8000_0000)) },
  { name: 'reserved bits of MXCSR, SSE being initial', mask: SSE, image: area(0n, 0n, withMxcsr(0x8000_0000)) },
  { name: 'reserved bits of MXCSR by AVX alone', mask: AVX, image: area(0n, 0n, withMxcsr(0x8000_0000)) },
  { name: 'misaligned', mask: ALL, image: area(7n, 0n), at: DATA_BASE + 16 },
  { name: 'misaligned by 32', mask: 0, image: area(7n, 0n), at: DATA_BASE + 32 },
];
const ACCEPTED: readonly Line[] = [
  { name: 'reserved bits of MXCSR that nobody asks for', mask: X87, image: area(7n, 0n, withMxcsr(0x8000_0000)) },
  {
    name: 'compacted form: reserved bits of MXCSR, SSE being initial',
    mask: SSE,
    image: area(0n, COMPACTED, withMxcsr(0x8000_0000)),
  },
  { name: 'standard form: bytes from 24 on', mask: ALL, image: area(7n, 0n, withBytes(HEADER + 24, 1)) },
];
function restoringCases(count: number): CpuCase[] {
  const r = new Random(2);
  return Array.from({ length: count }, () => {
    const stated = BigInt(r.below(8));
    const layout = r.oneIn(2) ? 0n : COMPACTED | stated | BigInt(r.below(8));
    const fx = random160(r);
    const image = area(stated, layout, (bytes, view) => {
      bytes.set(fx.subarray(0, 24));
      bytes.set(fx.subarray(32), 32);
      view.setUint32(24, MXCSR_INITIAL | (r.u32() & 0x603f), true);
    });
    return testCase(r, CODE.xrstor, r.below(8), image);
  });
}
const refusal = ({ mask, image, at }: Line): CpuCase => testCase(new Random(3), CODE.xrstor, mask, image, at);
const fault = (result: CpuResult): unknown =>
  result.outcome.kind === 'fault' ? [result.outcome.vector, result.outcome.errorCode] : result.outcome.kind;

describe.each(['interpreter', 'translator'] as const)('XSAVE and XRSTOR, %s', (driver) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openEngine(driver);
  });
  it.each(SAVING)('%s stores what the SDM says, and nothing else', async (kind) => {
    const cases = savingCases(kind, 400);
    const results = await engine.run(cases);
    for (const [i, test] of cases.entries()) {
      expect(results[i]!.outcome.kind).toBe('ok');
      expect(firstDifference(expected(kind, test), blank(areaAfter(test, results[i]!))), `case ${i}`).toBeUndefined();
    }
  });
  it('XRSTOR takes back what XSAVE and XSAVEC have stored', async () => {
    const r = new Random(4);
    for (const kind of SAVING) {
      const saved = savingCases(kind, 60).map((test) => ({
        ...test,
        gpr: BigUint64Array.from([7n, ...test.gpr.slice(1)]),
      }));
      const areas = await engine.run(saved);
      const restored = saved.map((test, i) => {
        const image = areaAfter(test, areas[i]!).subarray(0, AREA);
        return { ...testCase(r, CODE.xrstor, ALL, image), mode: test.mode };
      });
      const results = await engine.run(restored);
      saved.forEach((test, i) => {
        const bytes = 32 * (test.mode === 64 ? 16 : 8);
        expect(results[i]!.outcome.kind).toBe('ok');
        expect(results[i]!.ymm.subarray(0, bytes)).toEqual(test.ymm.subarray(0, bytes));
        // XSAVEOPT leaves MXCSR alone where nothing of SSE and AVX is asked for; all of it is asked for here
        expect(results[i]!.mxcsr).toBe(test.mxcsr);
        const fx = test.fx ?? Uint8Array.from([0x7f, 3, ...new Uint8Array(158)]);
        expect(results[i]!.fx.subarray(0, 5)).toEqual(fx.subarray(0, 5));
        expect(results[i]!.fx.subarray(32)).toEqual(fx.subarray(32));
      });
    }
  });
  it.each(REFUSED)('XRSTOR, #GP(0): $name', async (line) => {
    const [result] = await engine.run([refusal(line)]);
    expect(fault(result!)).toEqual([13, 0]);
  });
  it.each(ACCEPTED)('XRSTOR accepts $name', async (line) => {
    const [result] = await engine.run([refusal(line)]);
    expect(fault(result!)).toBe('ok');
  });
  it('faults where the area begins to be missing', async () => {
    const end = DATA_BASE + DATA.length;
    for (const [kind, at, cr2] of [
      ['xsave', end - 576, end],
      ['xsavec', end - 576, end],
      ['xrstor', end - 576, end],
      ['xsave', end, end],
    ] as const) {
      const test = { ...testCase(new Random(5), CODE[kind], ALL, area(7n, 0n), at), mode: 64 as const };
      const header = area(7n, 0n).subarray(0, 576);
      const [result] = await engine.run([
        at === end ? test : { ...test, memory: [{ offset: at - DATA_BASE, bytes: header }] },
      ]);
      const { outcome } = result!;
      expect(outcome.kind === 'fault' && [outcome.vector, Number(outcome.cr2! & ~63n)], kind).toEqual([14, cr2]);
      expect(result!.memory).toEqual([]);
    }
  });
});

describe.skipIf(siliconMissing() !== undefined)('XSAVE and XRSTOR, the host CPU', () => {
  let silicon: Silicon;
  let engine: Engine;
  beforeAll(async () => {
    silicon = await Silicon.start();
    engine = await openEngine('interpreter');
  }, 60_000);
  afterAll(() => silicon.close());

  it.each(SAVING)('%s leaves the same state', async (kind) => {
    const cases = savingCases(kind, 400);
    const [theirs, ours] = [await silicon.run(cases), await engine.run(cases)];
    for (const [i, test] of cases.entries())
      expect(
        firstDifference(settled(test, areaAfter(test, theirs[i]!)), settled(test, areaAfter(test, ours[i]!))),
        `case ${i}`,
      ).toBeUndefined();
  });
  it('XRSTOR loads the same registers', async () => {
    const cases = restoringCases(800);
    const [theirs, ours] = [await silicon.run(cases), await engine.run(cases)];
    for (const i of cases.keys()) expect(compare(NO_MASKS, theirs[i]!, ours[i]!), `case ${i}`).toEqual([]);
  });
  it('XRSTOR refuses and accepts the same', async () => {
    const cases = [...REFUSED, ...ACCEPTED].map(refusal);
    const [theirs, ours] = [await silicon.run(cases), await engine.run(cases)];
    expect(ours.map(fault)).toEqual(theirs.map(fault));
  });
});
