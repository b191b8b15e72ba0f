import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state.ts';
import { AT, BareMetal, DRIVERS, USER } from '../../support/bare-metal.ts';

/** Oracle: SDM vol. 1, 13.8, and vol. 2. XSAVES and XRSTORS are in xsaves.test.ts. */
const XRSTOR = '480fae28';
const COMPACT = 1n << 63n;
const AREA = AT.data;

describe.each(DRIVERS)('XRSTOR and XSETBV, %s', (driver) => {
  const b = new BareMetal(driver);
  const { state } = b.cpu;
  const p = b.cpu.processor;
  /** x87, SSE, AVX and PKRU enabled and asked for; RCX names the area. */
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
