import { describe, expect, it } from 'vitest';
import { DEFAULT_JIT } from '../../../../src/cpu/jit/options.ts';
import { STATE, VECTOR } from '../../../../src/cpu/state.ts';
import { writeCr0, writeCr4 } from '../../../../src/cpu/system/control.ts';
import { BareMetal, type Driver, USER } from '../../../support/bare-metal.ts';

const NEVER = 1_000_000;
const CR0_TS = 8n;
const CR4 = 0x4_06a0n;
const XCR0_AVX = 7n;

/**
 * A loop over memory at RDI, ECX times: MOVDQU load, PADDD, VPADDD ymm, VPXOR xmm, MOVDQU store at RDI + 8, MOVSS, PINSRW,
 * VEXTRACTI128, CVTSI2SD, ADDSD, VPALIGNR ymm, PSRLDQ, VMOVDQA ymm, MOVD; then VZEROUPPER.
 */
const LOOP =
  'f30f6f07660ffec8c5edfed9c5d9efebf30f7f4f08f30f10f1660fc4f903c4c37d39d801f24c0f2ac9f2450f58d1c4632d0fdb05660f73de03c57d7fda' +
  '66440f7ed04883c710ffc975b6c5f877';
/** Of the loop's seventeen. */
const LOOP_INSTRUCTIONS = 17;

/** What a program leaves of the vector registers and of RDI, and what ended it. */
function run(driver: Driver, vectorUses: number, times: number, end: number) {
  const machine = new BareMetal(driver, 'x86-64-v3', { threshold: NEVER, vectorUses });
  machine.enter('user');
  const { state, processor } = machine.cpu;
  state.set64(STATE.xcr0, XCR0_AVX);
  writeCr4(processor, CR4, ~0n);
  processor.modeChanged();
  machine.place(`${LOOP}ebfe`);
  const begin = (rdi: number, rcx: number): void => {
    machine.cpu.ip = BigInt(machine.codeAt);
    processor.setGpr(1, BigInt(rcx));
    processor.setGpr(7, BigInt(rdi));
    for (let i = 0; i < 64; i++)
      state.set64(STATE.vec + 8 * i, BigInt.asUintN(64, 0x9e37_79b9_7f4a_7c15n * BigInt(i + 1)));
  };
  // what is translated must have run
  begin(USER.data, 1);
  machine.cpu.run(LOOP_INSTRUCTIONS + 1);
  begin(end - 16 * times, times);
  const outcome = machine.resume(LOOP_INSTRUCTIONS * times + 1);
  const vectors = Array.from({ length: 64 }, (_, i) => state.get64(STATE.vec + 8 * i).toString(16));
  return { vectors, outcome, mxcsr: state.get32(STATE.mxcsr), entries: machine.cpu.counter('regionEntries') };
}

describe('vector registers of a region', () => {
  const EVERYTHING = 0;
  it.each([EVERYTHING, DEFAULT_JIT.vectorUses, NEVER])('are as the interpreter leaves them (vectorUses=%i)', (uses) => {
    const expected = run('interpreter', uses, 5, USER.data + 0x1000);
    const { entries, ...rest } = run('translator', uses, 5, USER.data + 0x1000);
    expect(entries).toBeGreaterThan(0);
    expect({ ...rest, entries: 0 }).toEqual(expected);
    expect(expected.outcome.vector).toBeUndefined();
  });

  it.each([EVERYTHING, DEFAULT_JIT.vectorUses])('are written back by a fault in the middle (vectorUses=%i)', (uses) => {
    // the store of the last round reaches beyond the data, after PADDD, VPADDD and VPXOR
    const end = USER.data + 0x2000;
    const expected = run('interpreter', uses, 3, end);
    const { entries, ...rest } = run('translator', uses, 3, end);
    expect(entries).toBeGreaterThan(0);
    expect({ ...rest, entries: 0 }).toEqual(expected);
    expect(expected.outcome).toMatchObject({ vector: VECTOR.pf, cr2: BigInt(end) });
    expect(expected.outcome.ip).toBe(USER.code + 16);
  });
});

describe('state that is checked once a block', () => {
  it('is checked where a region begins: CR0.TS keeps any vector instruction from being done', () => {
    const machine = new BareMetal('translator', 'x86-64-v3', { threshold: NEVER });
    machine.enter('long');
    const { state, processor } = machine.cpu;
    // mov ecx, 9; 1: paddd xmm1, xmm0; paddd xmm2, xmm1; dec ecx; jnz 1b
    expect(machine.run('b909000000660ffec8660ffed1ffc975f4').vector).toBeUndefined();
    for (const [n, value] of [1n, 0n, 0n].entries()) state.set64(STATE.vec + 32 * n, value);
    machine.cpu.ip = BigInt(machine.codeAt);
    writeCr0(processor, 0x8001_0033n | CR0_TS);
    const outcome = machine.resume();
    expect(outcome).toMatchObject({ vector: VECTOR.nm, ip: machine.codeAt + 5 });
    expect([1, 2].map((n) => state.get64(STATE.vec + 32 * n))).toEqual([0n, 0n]);
    expect(machine.cpu.counter('regionEntries')).toBeGreaterThan(0);
  });
});
