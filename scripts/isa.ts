/**
 * Writes docs/isa.md, the table of all instructions, from the opcode tables and docs/isa-cases.json.
 *
 *   npm run isa                      the document
 *   npm run isa -- --merge FILE...   first adds up these records of `npm run fuzz:cpu -- --record FILE` into isa-cases.json,
 *                                    and rewrites the table of runs in docs/fuzzing.md
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { addUp, formatCases, type IsaCases, renderIsa, renderRuns } from '../test/oracle/isa.ts';
import type { RunRecord } from '../test/oracle/record.ts';

const CASES = new URL('../docs/isa-cases.json', import.meta.url);
const DOCUMENT = new URL('../docs/isa.md', import.meta.url);
const FUZZING = new URL('../docs/fuzzing.md', import.meta.url);
const RUNS = /(<!-- runs: npm run isa -->\n)[\s\S]*?(<!-- end of runs -->)/;

const { values, positionals } = parseArgs({
  options: { merge: { type: 'boolean', default: false } },
  allowPositionals: true,
});

if (values.merge) {
  const records = positionals.map((file) => JSON.parse(readFileSync(file, 'utf8')) as RunRecord);
  writeFileSync(CASES, formatCases(addUp(records)));
}
const cases = JSON.parse(readFileSync(CASES, 'utf8')) as IsaCases;
writeFileSync(DOCUMENT, renderIsa(cases));
const fuzzing = readFileSync(FUZZING, 'utf8');
writeFileSync(
  FUZZING,
  fuzzing.replace(RUNS, (_, begin: string, end: string) => `${begin}${renderRuns(cases)}${end}`),
);
console.log(`docs/isa.md: ${cases.runs.length} runs, ${Object.keys(cases.rows).length} rows`);
