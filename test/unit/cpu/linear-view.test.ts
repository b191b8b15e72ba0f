import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LinearView, signedAddress, unsignedAddress } from '../../../src/cpu/linear-view.ts';
import { STATE } from '../../../src/cpu/state.ts';
import { AT, BareMetal, PTE, USER } from '../../support/bare-metal.ts';
import { memoryOf } from '../../support/observed.ts';

function bench(mode: 'long' | 'user' | 'paged' | 'real') {
  const metal = new BareMetal('interpreter', 'max');
  metal.enter(mode);
  return { metal, view: new LinearView(metal.cpu.state, memoryOf(metal)) };
}

describe('a linear view', () => {
  test('walks as the processor does, whatever the privilege', () => {
    const { metal, view } = bench('long');
    expect(view.translate(0x1234)).toBe(0x1234);
    expect(view.translate(USER.data + 5)).toBe(AT.userData + 5);
    expect(view.translate(0x30_0000)).toBe(-1);
    metal.map(0xffff_ffff_8100_0000n, 0x5_0000, PTE.present);
    expect(view.translate(Number(BigInt.asIntN(64, 0xffff_ffff_8100_0123n)))).toBe(0x5_0123);
  });

  test('knows large pages', () => {
    const large = bench('long');
    large.metal.set64(large.metal.entryAt(0xffff_8000_0020_0000n, 2), 0x4000_0000n | PTE.present | PTE.large);
    expect(large.view.translate(Number(BigInt.asIntN(64, 0xffff_8000_0032_1234n)))).toBe(0x4012_1234);
    const huge = bench('long');
    huge.metal.set64(huge.metal.entryAt(0xffff_9000_4000_0000n, 3), 0x1_0000_0000n | PTE.present | PTE.large | PTE.nx);
    expect(huge.view.translate(Number(BigInt.asIntN(64, 0xffff_9000_7abc_def0n)))).toBe(0x1_3abc_def0);
  });

  test('agrees with what the processor reads, on arbitrary mappings', () => {
    const { metal, view } = bench('long');
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: (1n << 47n) - 0x200_0000n }),
        fc.boolean(),
        fc.integer({ min: 0, max: 0x1f8 }),
        (page, isHigh, slot) => {
          const linear = (isHigh ? BigInt.asUintN(64, -0x1000n - page) : page + 0x100_0000n) & ~0xfffn;
          metal.enter('long');
          metal.map(linear, 0x5_0000, PTE.present | PTE.write);
          const at = BigInt.asIntN(64, linear) + BigInt(slot * 8);
          metal.set64(0x5_0000 + slot * 8, BigInt.asUintN(64, at));
          expect(metal.cpu.processor.read(at, 8)).toBe(BigInt.asUintN(64, at));
          expect(view.quad(Number(at))).toBe(Number(at));
        },
      ),
      { numRuns: 60 },
    );
  });

  test('without long mode: 32-bit paging, and no paging', () => {
    const { metal, view } = bench('paged');
    expect(view.translate(0x1234)).toBe(0x1234);
    expect(view.translate(0x40_0000)).toBe(-1);
    metal.set32(AT.pml5 + 4, 0x0040_0083);
    metal.cpu.state.set64(STATE.cr4, metal.cpu.state.get64(STATE.cr4) | 0x10n);
    expect(view.translate(0x41_2345)).toBe(0x41_2345);
    expect(bench('real').view.translate(0x7c00)).toBe(0x7c00);
  });

  test('sets no accessed bits and fills no TLB', () => {
    const { metal, view } = bench('user');
    const entry = metal.entryAt(BigInt(USER.data));
    const before = [metal.view.getBigUint64(entry, true), metal.cpu.counter('tlbMisses')];
    expect(view.read(USER.data, 16)).toHaveLength(16);
    expect([metal.view.getBigUint64(entry, true), metal.cpu.counter('tlbMisses')]).toEqual(before);
  });

  test('reads up to where memory ends', () => {
    const { view } = bench('long');
    expect(view.read(0x1f_fff8, 32)).toHaveLength(8);
    expect(view.quad(0x1f_fff8)).toBe(0);
    expect(view.quad(0x20_0000)).toBeUndefined();
  });
});

test('addresses are signed numbers and back', () => {
  const { metal } = bench('long');
  metal.cpu.processor.setGpr(4, 0xffff_ffff_8123_4567n);
  const address = signedAddress(metal.cpu.state, STATE.gpr + 32);
  expect(address).toBe(-0x7edc_ba99);
  expect(unsignedAddress(address)).toBe(0xffff_ffff_8123_4567n);
});
