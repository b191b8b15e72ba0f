import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state.ts';
import { AT, BareMetal, DRIVERS, type Mode } from '../../support/bare-metal.ts';

const OSXSAVE = 0x4_0000n;
const PKE = 0x40_0000n;
const X87 = 1;
const SSE = 2;
const AVX = 4;
const PKRU = 0x200;
const ALL = X87 | SSE | AVX;
const HEADER = AT.data + 512;
const COMPACTED = 1n << 63n;
/** ModRM [RBX]. */
const XSAVES = '0fc72b';
const XRSTORS = '0fc71b';
const NON_CANONICAL = 1n << 47n;
const UNMAPPED = 0x4000_0000n;

/** XSAVES and XRSTORS, which only a kernel may use (SDM vol. 1, 13.11 and 13.12); no supervisor component exists. */
describe.each(DRIVERS)('XSAVES and XRSTORS, %s', (driver) => {
  const b = new BareMetal(driver);
  const p = b.cpu.processor;
  const { state } = b.cpu;
  const vector = (i: number): Uint8Array => state.u8.subarray(STATE.vec + 32 * i, STATE.vec + 32 * i + 32);
  const register = (i: number): Uint8Array => state.u8.subarray(STATE.fpr + 16 * i, STATE.fpr + 16 * i + 10);
  const area = (offset: number, length: number): number[] => [
    ...b.ram.subarray(AT.data + offset, AT.data + offset + length),
  ];
  const pattern = (seed: number, length: number): number[] =>
    Array.from({ length }, (_, i) => (seed * 16 + i * 7 + 1) & 0xff);

  /** Everything initial, XCR0 and CR4 as asked for. */
  function begin(mask: number, options: { mode?: Mode; xcr0?: number; cr4?: bigint; at?: bigint } = {}): void {
    b.enter(options.mode ?? 'long');
    state.set64(STATE.cr4, state.get64(STATE.cr4) | (options.cr4 ?? OSXSAVE));
    state.set64(STATE.xcr0, BigInt(options.xcr0 ?? ALL));
    state.u8.fill(0, STATE.vec, STATE.vec + 512);
    state.u8.fill(0, STATE.fpr, STATE.fpr + 128);
    for (const cell of [STATE.fpuStatus, STATE.fpuTag, STATE.fpuTop, STATE.fpuOpcode, STATE.fpuCs, STATE.fpuDs])
      state.set32(cell, 0);
    state.set64(STATE.fpuIp, 0n);
    state.set64(STATE.fpuDp, 0n);
    state.set32(STATE.pkru, 0);
    p.modeChanged();
    p.setGpr(0, BigInt(mask));
    p.setGpr(2, 0n);
    p.setGpr(3, options.at ?? BigInt(AT.data));
  }
  function fill(): void {
    for (let i = 0; i < 16; i++) vector(i).set(pattern(i, 32));
    for (let i = 0; i < 8; i++) register(i).set(pattern(i + 3, 10));
    state.set32(STATE.fpuControl, 0x27f);
    state.set32(STATE.fpuTag, 0xff);
    state.set32(STATE.mxcsr, 0x3f80);
  }
  const header = (): bigint[] => [b.view.getBigUint64(HEADER, true), b.view.getBigUint64(HEADER + 8, true)];
  function setHeader(stated: bigint, layout: bigint): void {
    b.set64(HEADER, stated);
    b.set64(HEADER + 8, layout);
  }

  it('store the compacted form, and take it back', () => {
    begin(ALL);
    fill();
    expect(b.run(XSAVES).vector).toBeUndefined();
    expect(header()).toEqual([7n, COMPACTED | 7n]);
    expect(area(0, 2)).toEqual([0x7f, 2]);
    expect(area(24, 4)).toEqual([0x80, 0x3f, 0, 0]);
    for (let i = 0; i < 16; i++) {
      expect(area(160 + 16 * i, 16)).toEqual(pattern(i, 32).slice(0, 16));
      expect(area(576 + 16 * i, 16)).toEqual(pattern(i, 32).slice(16));
    }
    for (let i = 0; i < 8; i++) expect(area(32 + 16 * i, 10)).toEqual(pattern(i + 3, 10));
    state.u8.fill(0xaa, STATE.vec, STATE.vec + 512);
    state.set32(STATE.mxcsr, 0x1f80);
    state.set32(STATE.fpuControl, 0x37f);
    state.u8.fill(0, STATE.fpr, STATE.fpr + 128);
    expect(b.run(XRSTORS).vector).toBeUndefined();
    for (let i = 0; i < 16; i++) expect([...vector(i)]).toEqual(pattern(i, 32));
    for (let i = 0; i < 8; i++) expect([...register(i)]).toEqual(pattern(i + 3, 10));
    expect([state.get32(STATE.fpuControl), state.get32(STATE.fpuTag), state.get32(STATE.mxcsr)]).toEqual([
      0x27f, 0xff, 0x3f80,
    ]);
  });
  it('leave out what is initial, and initialise what the header leaves out', () => {
    begin(ALL);
    b.ram.fill(0xee, AT.data, AT.data + 1024);
    expect(b.run(XSAVES).vector).toBeUndefined();
    expect(header()).toEqual([0n, COMPACTED | 7n]);
    expect(area(0, 512)).toEqual(Array.from({ length: 512 }, () => 0xee));
    expect(area(576, 256)).toEqual(Array.from({ length: 256 }, () => 0xee));
    b.ram.fill(0, HEADER + 16, HEADER + 64);
    fill();
    expect(b.run(XRSTORS).vector).toBeUndefined();
    expect(state.u8.subarray(STATE.vec, STATE.vec + 512).some((byte) => byte !== 0)).toBe(false);
    expect([state.get32(STATE.fpuControl), state.get32(STATE.fpuTag), state.get32(STATE.mxcsr)]).toEqual([
      0x37f, 0, 0x1f80,
    ]);
  });
  it('touch only the components asked for', () => {
    begin(AVX);
    fill();
    b.ram.fill(0xee, AT.data, AT.data + 1024);
    expect(b.run(XSAVES).vector).toBeUndefined();
    expect(header()).toEqual([4n, COMPACTED | 4n]);
    expect(area(0, 512).every((byte) => byte === 0xee)).toBe(true);
    expect(area(576, 16)).toEqual(pattern(0, 32).slice(16));
    b.ram.fill(0, HEADER + 16, HEADER + 64);
    vector(0).fill(0x11);
    expect(b.run(XRSTORS).vector).toBeUndefined();
    expect([...vector(0)]).toEqual([...Array.from({ length: 16 }, () => 0x11), ...pattern(0, 32).slice(16)]);
    expect(state.get32(STATE.mxcsr)).toBe(0x3f80);
  });
  it('keep an MXCSR that is not initial with SSE, whatever the registers hold', () => {
    begin(ALL);
    state.set32(STATE.mxcsr, 0x9fc0);
    expect(b.run(XSAVES).vector).toBeUndefined();
    expect(header()[0]).toBe(2n);
    expect(area(24, 4)).toEqual([0xc0, 0x9f, 0, 0]);
  });
  it.each([
    ['behind AVX', ALL | PKRU, 832],
    ['in its place', SSE | PKRU, 576],
  ])('pack PKRU %s (SDM vol. 1, 13.4.3)', (_name, mask, offset) => {
    begin(mask, { xcr0: ALL | PKRU, cr4: OSXSAVE | PKE });
    fill();
    state.set32(STATE.pkru, 0x5555_5554);
    expect(b.run(XSAVES).vector).toBeUndefined();
    expect(header()).toEqual([BigInt(mask), COMPACTED | BigInt(mask)]);
    expect(b.view.getUint32(AT.data + offset, true)).toBe(0x5555_5554);
    state.set32(STATE.pkru, 0);
    expect(b.run(XRSTORS).vector).toBeUndefined();
    expect(state.get32(STATE.pkru)).toBe(0x5555_5554);
  });
  it('clear PKRU where the header leaves it out', () => {
    begin(PKRU, { xcr0: ALL | PKRU, cr4: OSXSAVE | PKE });
    state.set32(STATE.pkru, 0x5555_5554);
    setHeader(0n, COMPACTED | BigInt(PKRU));
    expect(b.run(XRSTORS).vector).toBeUndefined();
    expect(state.get32(STATE.pkru)).toBe(0);
  });

  it.each([
    ['XRSTORS of the standard form', 7n, 0n, 0],
    ['a component that XCR0 lacks', 8n, COMPACTED | 15n, 0],
    ['a layout with a component that XCR0 lacks', 7n, COMPACTED | 15n, 0],
    ['state that the layout lacks', 7n, COMPACTED | 3n, 0],
    ['a supervisor component, IA32_XSS being 0', 1n << 8n, COMPACTED | (1n << 8n), 0],
    ['bytes 63:16 of the header', 7n, COMPACTED | 7n, 63],
    ['bytes 63:16 of the header, the first', 7n, COMPACTED | 7n, 16],
  ] as const)('#GP(0): %s', (_name, stated, layout, byte) => {
    begin(ALL);
    fill();
    setHeader(stated, layout);
    if (byte > 0) b.ram[HEADER + byte] = 1;
    const before = state.u8.slice(STATE.vec, STATE.vec + 640);
    const o = b.run(XRSTORS);
    expect([o.vector, o.error]).toEqual([13, 0]);
    expect(state.u8.slice(STATE.vec, STATE.vec + 640)).toEqual(before);
  });
  it.each([XSAVES, XRSTORS])('%s: privilege, modes and addresses', (code) => {
    const run = (options: Parameters<typeof begin>[1], setup = (): void => {}): unknown => {
      begin(ALL, options);
      setHeader(0n, COMPACTED | 7n);
      setup();
      const o = b.run(code);
      return o.error === undefined ? o.vector : [o.vector, o.error];
    };
    expect(run({})).toBeUndefined();
    expect(run({ mode: 'user' })).toEqual([13, 0]);
    expect(run({ cr4: 0n })).toBe(6);
    expect(run({}, () => state.set64(STATE.cr0, state.get64(STATE.cr0) | 8n))).toBe(7);
    expect(run({ at: BigInt(AT.data + 16) })).toEqual([13, 0]);
    expect(run({ at: NON_CANONICAL })).toEqual([13, 0]);
    expect(run({ at: UNMAPPED })).toEqual([14, code === XSAVES ? 2 : 0]);
    expect(run({ mode: 'protected' })).toBeUndefined();
  });
  it('IA32_XSS holds nothing', () => {
    begin(0);
    p.setGpr(1, 0xda0n);
    expect(b.run('0f32').gpr[0]).toBe(0n);
    begin(1 << 8);
    p.setGpr(1, 0xda0n);
    expect(b.run('0f30').vector).toBe(13);
  });
});
