/** Compares the emulator's drivers with the host CPU, one random instruction at a time. See docs/fuzzing.md. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { opcodeRows } from '../src/cpu/decode/opcodes.ts';
import { parseCpu } from '../src/cpu/models.ts';
import { SEMANTICS } from '../src/cpu/semantics/index.ts';
import { siliconMissing } from '../test/oracle/build.ts';
import { checkDeclared } from '../test/oracle/declared.ts';
import { checkDecoder, type DecodeFinding } from '../test/oracle/decode-check.ts';
import { ENGINE_NAMES, type EngineName, openEngine } from '../test/oracle/engines.ts';
import { enumerateForms, type FormFilter } from '../test/oracle/forms.ts';
import { type Failure, type FuzzReport, fuzz, kindOf } from '../test/oracle/fuzz.ts';
import { formatRecord, formKey, recordOf } from '../test/oracle/record.ts';
import { formatRegression } from '../test/oracle/regression.ts';
import { shrink } from '../test/oracle/shrink.ts';
import { Silicon } from '../test/oracle/silicon.ts';
import type { Engine } from '../test/oracle/types.ts';

const USAGE = `npm run fuzz:cpu -- [options]
  --cases N        cases in all, spread evenly over the forms (default 100000)
  --seed S         seed of the generator (default 1)
  --first I        number of the first case, to repeat one (default 0)
  --only NAMES     only these mnemonics, separated by commas
  --features NAMES only rows of these CPUID features ("base": rows without one)
  --mode 64|32     only 64-bit or only 32-bit code
  --sequences      2 to 8 instructions a case
  --engine NAME    interpreter, translator, all (default) or silicon (the oracle against itself)
  --show N         failures of a kind to shrink and print (default 3)
  --table          cases, completions and differences for each form
  --record FILE    writes the run's figures for each form there, as JSON (see test/oracle/record.ts)
  --commit HASH    what to name there as the code that was run (default: HEAD)
  --decode N       instead: the decoder against the host, on N mutated instructions
  --declared N     instead: check the flags the opcode tables declare, N inputs a form`;

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    first: { type: 'string', default: '0' },
    only: { type: 'string' },
    features: { type: 'string' },
    mode: { type: 'string' },
    sequences: { type: 'boolean', default: false },
    engine: { type: 'string', default: 'all' },
    show: { type: 'string', default: '3' },
    table: { type: 'boolean', default: false },
    record: { type: 'string' },
    commit: { type: 'string' },
    declared: { type: 'string' },
    decode: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

function fail(message: string): never {
  console.error(`fuzz:cpu: ${message}\n${USAGE}`);
  process.exit(2);
}

function count(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) fail(`--${name} wants a number, not "${text}"`);
  return value;
}

function headCommit(): string {
  const { stdout } = spawnSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' });
  return stdout.trim() || 'unknown';
}

function filter(): FormFilter {
  const { mode, only } = values;
  if (mode !== undefined && mode !== '64' && mode !== '32') fail('--mode is 64 or 32');
  return {
    ...(values.engine === 'silicon' ? {} : { features: parseCpu('max') }),
    ...(mode === undefined ? {} : { mode: mode === '64' ? 64 : 32 }),
    ...(only === undefined ? {} : { only: new Set(only.split(',')) }),
  };
}

function engineNames(): readonly EngineName[] {
  if (values.engine === 'all') return ['interpreter', 'translator'];
  const name = ENGINE_NAMES.find((candidate) => candidate === values.engine);
  return name === undefined ? fail(`no engine "${values.engine}"`) : [name];
}

function printTable(report: FuzzReport): void {
  console.log('cases\tok\tdifferences\tform');
  for (const [form, { cases, ok, differences }] of report.forms) {
    console.log(`${cases}\t${ok}\t${differences}\t${formKey(form)}`);
  }
}

function printDecodeFindings(findings: readonly DecodeFinding[]): void {
  const kinds = new Map<string, { first: DecodeFinding; count: number }>();
  for (const finding of findings) {
    const entry = kinds.get(finding.kind);
    if (entry === undefined) kinds.set(finding.kind, { first: finding, count: 1 });
    else entry.count++;
  }
  for (const { first, count } of [...kinds.values()].sort((a, b) => b.count - a.count)) {
    console.log(`${count}\t${first.mode}\t${first.code}\t${first.text}`);
  }
}

/** Shrinks and prints up to `show` failures of each kind, and names the mnemonics of the others. */
async function printFailures(report: FuzzReport, reference: Engine, show: number): Promise<void> {
  const kinds = new Map<string, Failure[]>();
  for (const failure of report.failures) {
    const kind = `${failure.engine.name} ${kindOf(failure.differences)}`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), failure]);
  }
  for (const [kind, failures] of kinds) {
    console.log(`\n=== ${kind}: ${failures.map(({ generated }) => generated.form.row.mnemonic).join(' ')}`);
    for (const failure of failures.slice(0, show)) await printFailure(failure, reference);
  }
}

async function printFailure(failure: Failure, reference: Engine): Promise<void> {
  const { form, id, masks } = failure.generated;
  const small = await shrink(failure, reference);
  console.log(`\n${failure.engine.name}: ${form.row.opcode} ${form.name} (${id})`);
  for (const { field, expected, actual } of small.differences) {
    console.log(`  ${field}: expected ${expected}\n  ${' '.repeat(field.length)}    actual ${actual}`);
  }
  console.log(formatRegression(`${form.row.mnemonic} ${id}`, small.test, small.expected, masks(small.test)));
}

async function main(): Promise<number> {
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const missing = siliconMissing();
  if (missing !== undefined) fail(missing);
  const wanted = values.features?.split(',');
  const rows = opcodeRows().filter((row) => wanted === undefined || wanted.includes(row.feature ?? 'base'));
  const seed = count('seed', values.seed);
  const reference = await Silicon.start();
  const { vendor, brand, family, model, stepping, xcr0 } = reference.cpu;
  const cpu = `${vendor} "${brand}" family ${family} model ${model} stepping ${stepping} xcr0 0x${xcr0.toString(16)}`;
  console.log(`reference ${cpu}`);
  if (values.declared !== undefined) {
    const findings = await checkDeclared(rows, reference, count('declared', values.declared), seed);
    for (const finding of findings) console.log(finding);
    console.log(`rows=${rows.length} findings=${findings.length}`);
    return findings.length === 0 ? 0 : 1;
  }
  const written = values.engine === 'silicon' ? rows : rows.filter((row) => SEMANTICS.has(row.mnemonic));
  const unwritten = new Set(rows.filter((row) => !written.includes(row)).map((row) => row.mnemonic));
  if (unwritten.size > 0)
    console.log(`${unwritten.size} mnemonics without semantics are left out: ${[...unwritten].join(' ')}`);
  const forms = enumerateForms(written, filter());
  if (forms.length === 0) fail('no form is left');
  if (values.decode !== undefined) {
    const { cases, findings } = await checkDecoder(forms, reference, count('decode', values.decode), seed);
    printDecodeFindings(findings);
    console.log(`cases=${cases} differences=${findings.length}`);
    return findings.length === 0 ? 0 : 1;
  }
  const engines = await Promise.all(engineNames().map(openEngine));
  const started = performance.now();
  const report = await fuzz({
    forms,
    cases: count('cases', values.cases),
    seed,
    first: count('first', values.first),
    reference,
    engines,
    sequences: values.sequences,
    ...(process.stderr.isTTY
      ? { progress: (done, found) => process.stderr.write(`\r${done} cases, ${found} differences `) }
      : {}),
  });
  const seconds = (performance.now() - started) / 1000;
  await printFailures(report, reference, count('show', values.show));
  if (values.table) printTable(report);
  const rate = Math.round(report.cases / seconds);
  if (values.record !== undefined) {
    const run = {
      seed,
      first: count('first', values.first),
      commit: values.commit ?? headCommit(),
      reference: cpu,
      engines: engines.map(({ name }) => name),
      rate,
    };
    writeFileSync(values.record, formatRecord(recordOf(run, report)));
  }
  const least = Math.min(...[...report.forms.values()].map(({ cases }) => cases));
  console.log(
    `seed=${seed} engines=${engines.map(({ name }) => name).join(',')} forms=${forms.length}${values.sequences ? '' : ` cases/form>=${least}`} ` +
      `rate=${rate}/s`,
  );
  console.log(`cases=${report.cases} differences=${report.differences}`);
  return report.differences === 0 ? 0 : 1;
}

process.exit(await main());
