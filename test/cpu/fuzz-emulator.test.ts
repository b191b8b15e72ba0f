import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { opcodeRows } from '../../src/cpu/decode/opcodes.ts';
import { parseCpu } from '../../src/cpu/models.ts';
import { SEMANTICS } from '../../src/cpu/semantics/index.ts';
import { siliconMissing } from '../oracle/build.ts';
import { compare } from '../oracle/compare.ts';
import { openEngine } from '../oracle/engines.ts';
import { enumerateForms } from '../oracle/forms.ts';
import { fuzz } from '../oracle/fuzz.ts';
import { regressionCase, regressionResult, separated } from '../oracle/regression.ts';
import { Silicon } from '../oracle/silicon.ts';
import type { Engine } from '../oracle/types.ts';
import { NO_MASKS } from '../oracle/undefined.ts';
import { REGRESSIONS } from './regressions.ts';

const DRIVERS = ['interpreter', 'translator'] as const;

describe.each(DRIVERS)('%s', (driver) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openEngine(driver);
  });

  it.each(REGRESSIONS)('$name', async (regression) => {
    const [actual] = await engine.run([regressionCase(regression)]);
    const masks = { ...NO_MASKS, flags: regression.undefinedFlags ?? 0 };
    expect(compare(masks, regressionResult(regression), actual!)).toEqual([]);
  });
});

describe.skipIf(siliconMissing() !== undefined)('both drivers against the host CPU', () => {
  let silicon: Silicon;
  let engines: readonly Engine[];
  beforeAll(async () => {
    silicon = await Silicon.start();
    engines = await Promise.all(DRIVERS.map(openEngine));
  }, 60_000);
  afterAll(() => silicon.close());

  it.each([
    { what: 'single instructions', cases: 20_000, sequences: false },
    { what: 'sequences', cases: 20_000, sequences: true },
  ])(
    '$cases $what',
    async ({ cases, sequences }) => {
      const written = opcodeRows().filter((row) => SEMANTICS.has(row.mnemonic));
      const forms = enumerateForms(written, { features: parseCpu('max') });
      const report = await fuzz({ forms, cases, seed: 1, reference: silicon, engines, sequences });
      const found = report.failures.map(({ engine, generated, differences }) => ({
        engine: engine.name,
        id: generated.id,
        code: separated(generated.test),
        differences,
      }));
      expect(found).toEqual([]);
      expect(report.cases).toBeGreaterThan(cases * 0.8);
    },
    300_000,
  );
});
