/** docs/isa.md: what every row of the opcode tables means to the emulator, and how that is known. */
import { createDecoder, isFailure } from '../../src/cpu/decode/decoder.ts';
import { decoderFeatures, opcodeRows } from '../../src/cpu/decode/opcodes.ts';
import type { OpcodeRow } from '../../src/cpu/decode/types.ts';
import { isTranslatable } from '../../src/cpu/jit/discover.ts';
import { parseCpu } from '../../src/cpu/models.ts';
import { SEMANTICS } from '../../src/cpu/semantics/index.ts';
import { excluded, testOf } from './exclusions.ts';
import { enumerateForms, type Form } from './forms.ts';
import { generate } from './generate.ts';
import { formKey, type RunRecord } from './record.ts';
import { openResults } from './undefined.ts';

/** The fuzzing runs that count, added up: docs/isa-cases.json. */
export interface IsaCases {
  readonly runs: readonly Omit<RunRecord, 'forms'>[];
  /** By rowKey: forms, cases in all, those that ended without an exception, cases of the form with the fewest. */
  readonly rows: Readonly<Record<string, readonly [forms: number, cases: number, ok: number, least: number]>>;
}

/** Opcode, mnemonic, operands, features. */
export const rowKey = ({ opcode, mnemonic, operands, feature }: OpcodeRow): string =>
  [opcode, '|', mnemonic, operands.join(), feature === undefined ? '' : `@${feature}`]
    .filter((part) => part !== '')
    .join(' ');

/** Every form, also of rows that the host does not run. */
function allForms(): ReadonlyMap<OpcodeRow, readonly Form[]> {
  const byRow = new Map<OpcodeRow, Form[]>();
  for (const form of enumerateForms(opcodeRows(), { all: true })) {
    const forms = byRow.get(form.row);
    if (forms === undefined) byRow.set(form.row, [form]);
    else forms.push(form);
  }
  return byRow;
}

export function addUp(records: readonly RunRecord[]): IsaCases {
  const sums = new Map<string, [number, number]>();
  for (const { forms } of records) {
    for (const [key, [cases, ok]] of Object.entries(forms)) {
      const sum = sums.get(key) ?? [0, 0];
      sums.set(key, [sum[0] + cases, sum[1] + ok]);
    }
  }
  const rows: Record<string, [number, number, number, number]> = {};
  for (const [row, forms] of allForms()) {
    if (excluded(row) !== undefined || unreachable(row)) continue;
    const figures = forms.map((form) => sums.get(formKey(form)) ?? [0, 0]);
    const sum = (i: 0 | 1): number => figures.reduce((total, figure) => total + figure[i]!, 0);
    rows[rowKey(row)] = [forms.length, sum(0), sum(1), Math.min(...figures.map(([cases]) => cases!))];
  }
  return { runs: records.map(({ forms, ...facts }) => facts), rows };
}

/** One line a row of the tables. */
export function formatCases({ runs, rows }: IsaCases): string {
  const line = ([key, value]: [string, unknown]): string => `    ${JSON.stringify(key)}: ${JSON.stringify(value)}`;
  const list = runs.map((run) => `    ${JSON.stringify(run)}`).join(',\n');
  return `{\n  "runs": [\n${list}\n  ],\n  "rows": {\n${Object.entries(rows).map(line).join(',\n')}\n  }\n}\n`;
}

const decode = createDecoder({ features: decoderFeatures() });

/** How the translator takes the forms of a row. */
function translation(row: OpcodeRow, forms: readonly Form[]): string {
  const host = { semantics: (mnemonic: string) => SEMANTICS.get(mnemonic) };
  if (!SEMANTICS.has(row.mnemonic)) return '#UD, counted';
  let translated = 0;
  let seen = 0;
  for (const form of forms) {
    for (let stream = 0; stream < 8; stream++) {
      const code = generate(form, 1, stream, { anywhere: true })?.test.code;
      const decoded = code && decode(code, 0, code.length, form.mode);
      if (!decoded || isFailure(decoded) || decoded.row !== row) continue;
      seen++;
      if (isTranslatable(decoded, host)) translated++;
      break;
    }
  }
  if (translated === seen) return 'translated';
  return translated === 0 ? 'interpreter' : row.repeats ? 'REP in 64-bit code' : 'translated but some';
}

interface Entry {
  readonly encodings: string[];
  readonly translations: Set<string>;
  readonly oracles: Set<string>;
  readonly notes: Set<number>;
  forms: number;
  cases: number;
  least: number;
}

const SECTION_OF_BASE = 'Base (no CPUID feature)';

const EVERY_FEATURE = parseCpu('max');
const unreachable = (row: OpcodeRow): boolean =>
  !(row.feature?.split('+') ?? []).every((name) => EVERY_FEATURE.has(name));

function oracleOf(row: OpcodeRow, cases: number, ok: number): string {
  if (unreachable(row)) return 'none';
  if (excluded(row) !== undefined) return `tests: ${testOf(row)}`;
  if (row.cpl0) return 'silicon (that it faults at CPL 3); tests: test/cpu/system, Linux guests';
  return cases > 0 && ok === 0 ? 'silicon (it always faults at CPL 3)' : 'silicon';
}

/** The whole document. */
export function renderIsa(cases: IsaCases): string {
  const notes: string[] = [];
  const noteNumber = (text: string): number => {
    const index = notes.indexOf(text);
    return index < 0 ? notes.push(text) : index + 1;
  };
  const sections = new Map<string, Map<string, Entry>>();
  for (const [row, forms] of allForms()) {
    const section = row.feature ?? SECTION_OF_BASE;
    const entries = sections.get(section) ?? new Map<string, Entry>();
    sections.set(section, entries);
    const entry = entries.get(row.mnemonic) ?? {
      encodings: [],
      translations: new Set(),
      oracles: new Set(),
      notes: new Set(),
      forms: 0,
      cases: 0,
      least: Number.POSITIVE_INFINITY,
    };
    entries.set(row.mnemonic, entry);
    const [, run, ok, least] = cases.rows[rowKey(row)] ?? [0, 0, 0, 0];
    entry.encodings.push(`${row.opcode}${row.operands.length > 0 ? ` ${row.operands.join(',')}` : ''}`);
    entry.translations.add(translation(row, forms));
    entry.oracles.add(oracleOf(row, run, ok));
    entry.forms += forms.length;
    entry.cases += run;
    const reason = excluded(row);
    if (unreachable(row)) entry.notes.add(noteNumber('No CPU model has the feature: the rows wait for one.'));
    else if (reason === undefined) entry.least = Math.min(entry.least, least);
    if (reason !== undefined) entry.notes.add(noteNumber(`Not run on the host: ${reason}.`));
    for (const text of openResults(row)) entry.notes.add(noteNumber(text));
  }
  return [head(cases), ...[...sections].map(([name, entries]) => section(name, entries)), foot(notes)].join('\n');
}

function head(cases: IsaCases): string {
  const rows = opcodeRows();
  const mnemonics = new Set(rows.map((row) => row.mnemonic));
  const forms = [...allForms().values()].reduce((sum, list) => sum + list.length, 0);
  const missing = [...mnemonics].filter((mnemonic) => !SEMANTICS.has(mnemonic));
  const run = cases.runs.reduce((sum, { cases: n }) => sum + n, 0);
  const differences = cases.runs.reduce((sum, { differences: n }) => sum + n, 0);
  return `# Instruction set

Generated by \`npm run isa\` from the opcode tables (src/cpu/decode), the translator's choice (src/cpu/jit/discover.ts), the
oracle's masks (test/oracle) and the fuzzing runs recorded in isa-cases.json. Do not edit.

${rows.length} rows of the tables, ${mnemonics.size} mnemonics, ${forms} forms (row x mode x register or memory x width x prefix); ${
    missing.length === 0 ? 'every mnemonic has a meaning' : `without a meaning: ${missing.join(', ')}`
  }. Fuzzed with ${run.toLocaleString('en-US')} cases, each in both drivers, against ${reference(cases)}: ${differences} differences.
How, with which seeds, and what became of the differences: [fuzzing.md](fuzzing.md).

- **forms**: how many, and the rows they come from, in the SDM's notation (vol. 2, 3.1.1 and appendix A.2).
- **drivers**: the interpreter has every form. "translated": the translator compiles it too; "interpreter": the translator
  leaves it to the interpreter, before it happens; "REP in 64-bit code": the translator leaves repeated forms of 32-bit code to it.
- **oracle**: what the result was compared with. "silicon" is the reference CPU.
- **cases**: in all, and of the form with the fewest.
- **notes**: what is not compared, and known deviations; numbered at the end.
`;
}

function reference({ runs }: IsaCases): string {
  return [...new Set(runs.map((run) => run.reference.replace(/ xcr0.*/, '')))].join(', ') || 'no CPU yet';
}

function section(name: string, entries: ReadonlyMap<string, Entry>): string {
  const lines = [...entries].map(([mnemonic, e]) => {
    const cells = [
      mnemonic,
      `${e.forms}: ${e.encodings.join('; ').replaceAll('|', '\\|')}`,
      [...e.translations].join(', '),
      [...e.oracles].join('; '),
      e.cases.toLocaleString('en-US'),
      Number.isFinite(e.least) ? e.least.toLocaleString('en-US') : '-',
      [...e.notes].join(' '),
    ];
    return `| ${cells.join(' | ')} |`;
  });
  return `## ${name}

| mnemonic | forms | drivers | oracle | cases | least/form | notes |
| --- | --- | --- | --- | --- | --- | --- |
${lines.join('\n')}
`;
}

function foot(notes: readonly string[]): string {
  return `## Notes

${notes.map((text, i) => `${i + 1}. ${text}`).join('\n')}
`;
}

/** The runs, and the cases by instruction set: a part of docs/fuzzing.md. */
export function renderRuns(cases: IsaCases): string {
  const number = (n: number): string => n.toLocaleString('en-US');
  const runs = cases.runs.map(
    (run) =>
      `| ${run.seed} | ${run.commit} | ${number(run.cases)} | ${run.differences} | ${number(run.rate)} | ${run.engines.join(', ')} |`,
  );
  const sets = new Map<string, { rows: number; forms: number; cases: number; ok: number; least: number }>();
  for (const row of opcodeRows()) {
    const figures = cases.rows[rowKey(row)];
    if (figures === undefined) continue;
    const [forms, run, ok, least] = figures;
    const name = row.feature ?? SECTION_OF_BASE;
    const set = sets.get(name) ?? { rows: 0, forms: 0, cases: 0, ok: 0, least: Number.POSITIVE_INFINITY };
    sets.set(name, {
      rows: set.rows + 1,
      forms: set.forms + forms,
      cases: set.cases + run,
      ok: set.ok + ok,
      least: Math.min(set.least, least),
    });
  }
  const lines = [...sets].map(
    ([name, set]) =>
      `| ${name} | ${set.rows} | ${set.forms} | ${number(set.cases)} | ${number(set.ok)} | ${number(set.least)} |`,
  );
  return `
Reference CPU: ${[...new Set(cases.runs.map((run) => run.reference))].join('; ')}.

| seed | commit | cases | differences | cases/s | drivers |
| --- | --- | --- | --- | --- | --- |
${runs.join('\n')}

| instruction set | rows | forms | cases | ended without an exception | least cases of a form |
| --- | --- | --- | --- | --- | --- |
${lines.join('\n')}

`;
}
