import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { opcodeRows } from '../../src/cpu/decode/opcodes.ts';
import { parseCpu } from '../../src/cpu/models.ts';
import { EXCLUDED, testOf } from '../oracle/exclusions.ts';
import { enumerateForms } from '../oracle/forms.ts';
import { generate } from '../oracle/generate.ts';
import { addUp, type IsaCases, renderIsa, rowKey } from '../oracle/isa.ts';
import { formKey } from '../oracle/record.ts';

const read = (name: string): string => readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8');

it('docs/isa.md is what the tables say: else run `npm run isa`', () => {
  expect(read('isa.md')).toBe(renderIsa(JSON.parse(read('isa-cases.json')) as IsaCases));
});

it('adds runs up by row, with the form that was run least', () => {
  const row = opcodeRows().find(({ mnemonic }) => mnemonic === 'bswap')!;
  const forms = enumerateForms([row]);
  const run = (cases: number) => ({
    ...{ seed: 1, first: 0, commit: 'c', reference: 'cpu', engines: [], rate: 1, cases: 9, differences: 0 },
    forms: Object.fromEntries(forms.map((form, i) => [formKey(form), [cases + i, 1, 0] as const])),
  });
  const [count, cases, ok, least] = addUp([run(10), run(20)]).rows[rowKey(row)]!;
  expect([count, ok, least]).toEqual([forms.length, 2 * forms.length, 30]);
  expect(cases).toBe(30 * forms.length + forms.length * (forms.length - 1));
});

it('every row has a key of its own', () => {
  const keys = opcodeRows().map(rowKey);
  expect(keys.filter((key, i) => keys.indexOf(key) !== i)).toEqual([]);
});

it('every form of every row is generated', () => {
  const forms = enumerateForms(opcodeRows(), { features: parseCpu('max') });
  const never = forms.filter((form) => [1, 2, 3, 4, 5].every((stream) => generate(form, 1, stream) === undefined));
  expect(never.map(({ name }) => name)).toEqual([]);
});

it('what is not run on the host is tested elsewhere', () => {
  for (const mnemonic of Object.keys(EXCLUDED)) {
    const row = opcodeRows().find((candidate) => candidate.mnemonic === mnemonic);
    expect(row && testOf(row), mnemonic).toMatch(/^test\//);
  }
});
