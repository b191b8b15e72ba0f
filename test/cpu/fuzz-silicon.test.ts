import { Decoder, DecoderOptions } from 'iced-x86';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { opcodeRows } from '../../src/cpu/decode/opcodes.ts';
import { FLAG } from '../../src/cpu/decode/types.ts';
import { siliconMissing } from '../oracle/build.ts';
import { compare } from '../oracle/compare.ts';
import { checkDeclared } from '../oracle/declared.ts';
import { checkDecoder } from '../oracle/decode-check.ts';
import { enumerateForms } from '../oracle/forms.ts';
import { fuzz } from '../oracle/fuzz.ts';
import { generate } from '../oracle/generate.ts';
import { policyOf } from '../oracle/policy.ts';
import { formatRegression, type Regression, regressionCase, regressionResult } from '../oracle/regression.ts';
import { shrink } from '../oracle/shrink.ts';
import { Silicon } from '../oracle/silicon.ts';
import type { CpuCase, CpuResult, Engine } from '../oracle/types.ts';
import { hasUndefinedFlags, NO_MASKS } from '../oracle/undefined.ts';
import { REGRESSIONS } from './regressions.ts';

const missing = siliconMissing();
const forms = enumerateForms(opcodeRows());

describe('case generator', () => {
  it('gives the same case for the same seed and number', () => {
    for (let stream = 0; stream < 500; stream++) {
      const form = forms[(stream * 131) % forms.length]!;
      expect(generate(form, 7, stream)?.test).toEqual(generate(form, 7, stream)?.test);
    }
  });

  it('encodes instructions whose length a second decoder confirms', () => {
    const wrong: string[] = [];
    let checked = 0;
    for (const [stream, form] of forms.entries()) {
      const generated = generate(form, 3, stream);
      if (generated === undefined) continue;
      const { code, mode } = generated.test;
      const decoder = new Decoder(mode, code, DecoderOptions.None);
      const instruction = decoder.decode();
      // 0: an encoding that faults, such as an illegal LOCK.
      if (instruction.code !== 0) {
        checked++;
        // MOV to and from control registers ignores ModRM.mod, which iced takes for a memory operand.
        if (instruction.length !== code.length && !/^mov_[cd]r/.test(form.row.mnemonic)) {
          wrong.push(`${form.name} ${Buffer.from(code).toString('hex')}`);
        }
      }
      instruction.free();
      decoder.free();
    }
    expect(wrong).toEqual([]);
    expect(checked).toBeGreaterThan(forms.length * 0.9);
  });

  it('never lets an instruction through that would leave the oracle process', () => {
    const bytes = (text: string) => Uint8Array.from(Buffer.from(text, 'hex'));
    for (const code of ['0f05', '0f34', 'cd80', '660f01d9', '0f01c1', '0f01c8', '0fc730', '480f05', 'f1']) {
      expect(policyOf(bytes(code), 64), code).toBe('forbidden');
    }
    for (const code of ['c3', 'eb10', '660f84000000ff', 'ffe0', '48ff10', 'e2fe']) {
      expect(policyOf(bytes(code), 64), code).toBe('step');
    }
    for (const code of ['4801c8', 'ff30', '0fc708', 'cc', 'cd20', '0f31', 'f30fc7f8', '0f0113', '0fae20']) {
      expect(policyOf(bytes(code), 64), code).toBe('plain');
    }
  });

  it('has a masking rule for every row that declares undefined flags', () => {
    const without = opcodeRows().filter((row) => row.undefined !== undefined && !hasUndefinedFlags(row.mnemonic));
    expect([...new Set(without.map((row) => row.mnemonic))]).toEqual([]);
  });
});

describe.skipIf(missing !== undefined)('silicon oracle', () => {
  let silicon: Silicon;
  beforeAll(async () => {
    silicon = await Silicon.start();
  }, 60_000);
  afterAll(() => silicon.close());

  it('names the reference CPU', () => {
    expect(silicon.cpu.vendor).toMatch(/^\w{12}$/);
    expect(silicon.cpu.xcr0 & 7).toBe(7);
  });

  it('agrees with the recorded results', async () => {
    const results = await silicon.run(REGRESSIONS.map(regressionCase));
    for (const [i, regression] of REGRESSIONS.entries()) {
      const masks = { ...NO_MASKS, flags: regression.undefinedFlags ?? 0 };
      expect(compare(masks, regressionResult(regression), results[i]!), regression.name).toEqual([]);
    }
  });

  it('agrees with itself', async () => {
    const second = await Silicon.start();
    const report = await fuzz({ forms, cases: forms.length, seed: 11, reference: silicon, engines: [second] });
    second.close();
    expect(report.differences).toBe(0);
    expect(report.cases).toBeGreaterThan(forms.length * 0.99);
  });

  it('goes on after a repeat count that runs off the mapped memory', async () => {
    const endless = regressionCase({ name: '', code: 'f3a4', gpr: { rcx: 1n << 60n, rsi: 0x2000_0000n }, expect: {} });
    const fine = regressionCase(REGRESSIONS[0]!);
    const results = await silicon.run([fine, endless, fine]);
    expect(results.map(({ outcome }) => outcome.kind)).toEqual(['ok', 'fault', 'ok']);
  });

  it('decodes mutated instructions as the decoder does', async () => {
    const { cases, findings } = await checkDecoder(forms, silicon, 20_000, 9);
    expect(cases).toBeGreaterThanOrEqual(20_000);
    expect(findings).toEqual([]);
  });

  it('finds rows that declare the wrong flags', async () => {
    const row = opcodeRows().find(({ opcode }) => opcode === '11 /r')!;
    expect(await checkDeclared([row], silicon, 40, 1)).toEqual([]);
    const wrong = { ...row, reads: 0, writes: row.writes! & ~FLAG.of };
    const text = (await checkDeclared([wrong], silicon, 40, 1)).join('\n');
    expect(text).toMatch(/changes o,/);
    expect(text).toMatch(/depends on c,/);
  });

  it('finds a planted error, shrinks it and prints it as a test', async () => {
    const corrupted = new Corrupted(silicon);
    const adds = forms.filter((form) => form.row.mnemonic === 'add' && form.mode === 64);
    const report = await fuzz({ forms: adds, cases: 2000, seed: 5, reference: silicon, engines: [corrupted] });
    expect(report.differences).toBeGreaterThan(0);
    const failure = report.failures[0]!;
    const small = await shrink(failure, silicon);
    expect(small.differences[0]!.field).toBe('rflags');
    expect([...small.test.gpr].filter((value) => value !== 0n).length).toBeLessThanOrEqual(2);
    expect(small.test.codeOffset).toBe(0);

    const { masks: masksFor } = failure.generated;
    const text = formatRegression('planted', small.test, small.expected, masksFor(small.test));
    const regression = new Function(`return ${text.replace(/,$/, '')}`)() as Regression;
    expect(regressionCase(regression)).toEqual({ ...small.test, code: Uint8Array.from(small.test.code) });
    const masks = { ...NO_MASKS, flags: regression.undefinedFlags ?? 0 };
    expect(compare(masks, regressionResult(regression), small.expected)).toEqual([]);
    expect(compare(masks, regressionResult(regression), small.actual)).not.toEqual([]);
  });
});

/** A CPU that forgets AF when the result is zero. */
class Corrupted implements Engine {
  readonly name = 'corrupted';
  readonly #cpu: Engine;
  constructor(cpu: Engine) {
    this.#cpu = cpu;
  }
  async run(cases: readonly CpuCase[]): Promise<CpuResult[]> {
    const results = await this.#cpu.run(cases);
    return results.map((result) => (result.rflags & 0x40 ? { ...result, rflags: result.rflags & ~0x10 } : result));
  }
}
