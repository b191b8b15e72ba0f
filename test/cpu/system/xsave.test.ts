import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state.ts';
import { AT, BareMetal, DRIVERS, USER } from '../../support/bare-metal.ts';

/** The supervisor's part of XSAVE, which no host lets a test execute: oracle SDM vol. 1, 13.5 to 13.12, and vol. 2. */
const XSAVES = '480fc728';
const XRSTORS = '480fc718';
const XSAVEC = '480fc720';
const XRSTOR = '480fae28';
const COMPACT = 1n << 63n;
const AREA = AT.data;
const PKRU = 0x200n;

describe.each(DRIVERS)('XSAVES and XRSTORS, %s', (driver) => {
  const b = new BareMetal(driver);
  const { state } = b.cpu;
  const p = b.cpu.processor;
  /** x87, SSE, AVX and PKRU enabled; RAX names the area, EDX:EAX cannot ask for all at once: RAX is the mask too. */
  const enter = (mode: 'long' | 'user' = 'long', xcr0 = 0x207n): void => {
    b.enter(mode);
    state.set64(STATE.cr4, state.get64(STATE.cr4) | 0x44_0000n);
    state.set64(STATE.xcr0, xcr0);
    p.setGpr(1, BigInt(mode === 'user' ? USER.data : AREA));
    p.setGpr(0, 0xffff_ffffn);
    p.setGpr(2, 0n);
    p.modeChanged();
    b.ram.fill(0, AREA, AREA + 4096);
  };
  /** The instructions with the area at [rcx]. */
  const at = (code: string): string => code.slice(0, -2) + (Number.parseInt(code.slice(-2), 16) | 1).toString(16);
  const word = (offset: number): bigint => b.view.getBigUint64(AREA + offset, true);
  const ymm = (n: number, high: bigint, low: bigint): void => {
    state.set64(STATE.vec + n * 32, low);
    state.set64(STATE.vec + n * 32 + 16, high);
  };

  it('XSAVES: compact, only what is in use, bit 63 and the requested features in XCOMP_BV', () => {
    enter();
    state.set32(STATE.pkru, 0x55);
    ymm(3, 0x1111_2222_3333_4444n, 0x5555_6666_7777_8888n);
    expect(b.run(at(XSAVES)).vector).toBeUndefined();
    expect(word(520)).toBe(COMPACT | 0x207n);
    // x87 is as after initialisation
    expect(word(512) & 0x206n).toBe(0x206n);
    expect(word(160 + 3 * 16)).toBe(0x5555_6666_7777_8888n);
    expect(word(576 + 3 * 16)).toBe(0x1111_2222_3333_4444n);
    // PKRU behind AVX, not at its place in the standard form
    expect(word(576 + 256)).toBe(0x55n);
    expect([word(528), word(536)]).toEqual([0n, 0n]);
  });
  it('XSAVES of some features: the others take no room', () => {
    enter();
    state.set32(STATE.pkru, 0x77);
    p.setGpr(0, 0x200n);
    expect(b.run(at(XSAVES)).vector).toBeUndefined();
    expect([word(512), word(520), word(576)]).toEqual([PKRU, COMPACT | PKRU, 0x77n]);
  });
  it('XRSTORS gives back what XSAVES has taken, and initialises what was not in use', () => {
    enter();
    ymm(3, 1n, 2n);
    state.set32(STATE.pkru, 0);
    b.run(at(XSAVES));
    ymm(3, 9n, 9n);
    ymm(5, 9n, 9n);
    state.set32(STATE.pkru, 0x55);
    b.cpu.ip = BigInt(b.codeAt);
    p.setGpr(0, 0xffff_ffffn);
    expect(b.run(at(XRSTORS)).vector).toBeUndefined();
    const pairs = [3, 5].map((n) => [state.get64(STATE.vec + n * 32 + 16), state.get64(STATE.vec + n * 32)]);
    expect(pairs).toEqual([
      [1n, 2n],
      [0n, 0n],
    ]);
    expect(state.get32(STATE.pkru)).toBe(0);
  });
  it.each([
    ['no compact format', 0n, 0n],
    ['a feature in XCOMP_BV that is not enabled', 0n, COMPACT | 0x20n],
    ['a feature in XSTATE_BV that is not in XCOMP_BV', 4n, COMPACT | 3n],
    ['bit 63 of XSTATE_BV', COMPACT, COMPACT | 7n],
  ])('XRSTORS refuses %s: #GP(0)', (_name, used, compact) => {
    enter();
    b.set64(AREA + 512, used);
    b.set64(AREA + 520, compact);
    ymm(3, 7n, 8n);
    const o = b.run(at(XRSTORS));
    expect([o.vector, o.error, o.ip]).toEqual([13, 0, b.codeAt]);
    expect(state.get64(STATE.vec + 3 * 32 + 16)).toBe(7n);
  });
  it('XRSTORS refuses a header with anything behind its second word, and reserved bits of MXCSR', () => {
    enter();
    b.set64(AREA + 520, COMPACT | 7n);
    b.set64(AREA + 528, 1n);
    expect(b.run(at(XRSTORS))).toMatchObject({ vector: 13, error: 0 });
    enter();
    b.set64(AREA + 512, 2n);
    b.set64(AREA + 520, COMPACT | 7n);
    b.set32(AREA + 24, 0x1_0000);
    expect(b.run(at(XRSTORS))).toMatchObject({ vector: 13, error: 0 });
  });
  it('XRSTOR takes both forms, but not a standard header with something in XCOMP_BV', () => {
    enter();
    b.set64(AREA + 520, 1n);
    expect(b.run(at(XRSTOR))).toMatchObject({ vector: 13, error: 0 });
    enter();
    b.set64(AREA + 512, 4n);
    b.set64(AREA + 520, COMPACT | 7n);
    b.set64(AREA + 576 + 16, 0xabn);
    expect(b.run(at(XRSTOR)).vector).toBeUndefined();
    expect(state.get64(STATE.vec + 32 + 16)).toBe(0xabn);
  });
  it.each([
    ['XSAVES', XSAVES],
    ['XRSTORS', XRSTORS],
  ])('%s: #UD without CR4.OSXSAVE, #NM with CR0.TS, #GP beyond ring 0 and where it is not aligned', (_name, code) => {
    b.enter('long');
    expect(b.run(at(code))).toMatchObject({ vector: 6, ip: b.codeAt });
    enter();
    b.set64(AREA + 520, COMPACT | 7n);
    state.set64(STATE.cr0, state.get64(STATE.cr0) | 8n);
    expect(b.run(at(code))).toMatchObject({ vector: 7, ip: b.codeAt });
    enter('user');
    expect(b.run(at(code))).toMatchObject({ vector: 13, error: 0, ip: b.codeAt });
    enter();
    b.set64(AREA + 520, COMPACT | 7n);
    p.setGpr(1, BigInt(AREA + 32));
    expect(b.run(at(code))).toMatchObject({ vector: 13, error: 0, ip: b.codeAt });
  });
  it('XSAVEC leaves IA32_XSS out; IA32_XSS has no bits here (SDM vol. 4)', () => {
    enter();
    expect(b.run(at(XSAVEC)).vector).toBeUndefined();
    expect(word(520)).toBe(COMPACT | 0x207n);
    enter();
    p.setGpr(1, 0xda0n);
    p.setGpr(0, 0x100n);
    expect(b.run('0f30')).toMatchObject({ vector: 13, error: 0 });
  });
  it('XSETBV: needs x87 and pairs AVX with SSE, ring 0 and XCR0 only (SDM vol. 2)', () => {
    for (const [ecx, value, fault] of [
      [0n, 7n, undefined],
      [0n, 6n, 13],
      [0n, 5n, 13],
      [0n, 0x407n, 13],
      [1n, 7n, 13],
    ] as const) {
      enter('long', 1n);
      p.setGpr(1, ecx);
      p.setGpr(0, value);
      const o = b.run('0f01d1');
      expect([value, o.vector]).toEqual([value, fault]);
      expect(state.get64(STATE.xcr0)).toBe(fault === undefined ? value : 1n);
    }
    enter('user', 1n);
    p.setGpr(1, 0n);
    p.setGpr(0, 7n);
    expect(b.run('0f01d1')).toMatchObject({ vector: 13, error: 0 });
  });
});
