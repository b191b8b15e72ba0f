/**
 * The emulator beside QEMU's translator and, where the program runs there too, this machine itself:
 *
 *     npm run bench -- [--quick] [--only compute,compute32,boots,alignment,echo,syscall,sweep] [--runs N] [--debian DIR]
 *                      [--v86 DIR] [--without bochs,v86] [--update]
 *
 * QEMU, Bochs and v86 have columns where they are installed.
 * Prints tables; figures go to bench/results/local/, or with --update to bench/results/ and docs/benchmarks.md. Linux only.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CACHE, Failure, runMain } from '../images/support.ts';
import { type AlignmentResult, alignments } from './alignments.ts';
import { type BootResult, boots } from './boots.ts';
import { type ComputeResult, computeSet, computeSet32 } from './compute-set.ts';
import { type Context, environment } from './context.ts';
import { type EchoResult, echo } from './echo-experiment.ts';
import { QEMU_HINT } from './engines.ts';
import { findOptionalEngines } from './optional-engines.ts';
import * as report from './report.ts';
import { type SweepResult, sweep } from './sweep.ts';
import { type SyscallResult, syscalls } from './syscall-experiment.ts';

const ROOT = join(import.meta.dirname, '..');
const DOCUMENT = join(ROOT, 'docs/benchmarks.md');
const SOURCES_HINT =
  'this checkout is not built: every start of ukl-emu compiles its sources, half a second that users do not pay; npm run build first';

interface Experiment {
  readonly name: string;
  readonly title: string;
  /** Runs by default, and with --quick. */
  readonly runs: readonly [number, number];
  /** Left out by --quick unless it is asked for. */
  readonly slow?: true;
  /** Left out without v86 unless it is asked for. */
  readonly for32Bit?: true;
  run(context: Context): Promise<unknown>;
  /** Markdown by section of the document. */
  sections(result: unknown): Readonly<Record<string, string>>;
  chart?(result: unknown): string;
}

const EXPERIMENTS: readonly Experiment[] = [
  {
    name: 'compute',
    title: 'Compute set',
    runs: [5, 1],
    run: computeSet,
    sections: (result) => ({
      compute: report.computeTable(result as ComputeResult),
      rates: report.rateTable(result as ComputeResult),
    }),
    chart: (result) => report.computeChart(result as ComputeResult),
  },
  {
    name: 'compute32',
    title: 'Compute set, 32-bit',
    runs: [3, 1],
    for32Bit: true,
    run: computeSet32,
    sections: (result) => ({ compute32: report.computeTable(result as ComputeResult) }),
    chart: (result) => report.computeChart(result as ComputeResult),
  },
  {
    name: 'boots',
    title: 'Boots',
    runs: [5, 1],
    run: boots,
    sections: (result) => ({ boots: report.bootTable(result as BootResult) }),
    chart: (result) => report.bootChart(result as BootResult),
  },
  {
    name: 'alignment',
    title: 'One hot loop at 64 places of a page',
    runs: [3, 1],
    run: alignments,
    sections: (result) => ({ alignment: report.alignmentTable(result as AlignmentResult) }),
  },
  {
    name: 'echo',
    title: 'Echo over TCP',
    runs: [5, 2],
    run: echo,
    sections: (result) => ({ echo: report.echoTable(result as EchoResult) }),
  },
  {
    name: 'syscall',
    title: 'System calls',
    runs: [3, 1],
    slow: true,
    run: syscalls,
    sections: (result) => ({ syscall: report.syscallTable(result as SyscallResult) }),
  },
  {
    name: 'sweep',
    title: 'Thresholds and sizes of the translator',
    runs: [3, 1],
    slow: true,
    run: sweep,
    sections: (result) => ({ sweep: report.sweepTable(result as SweepResult) }),
  },
];

function parse() {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      runs: { type: 'string' },
      debian: { type: 'string' },
      v86: { type: 'string' },
      without: { type: 'string' },
      update: { type: 'boolean', default: false },
    },
  });
  const names = EXPERIMENTS.map(({ name }) => name);
  const only = values.only?.split(',');
  const unknown = only?.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new Failure(`--only ${unknown}: unknown; there are ${names.join(', ')}`);
  const runs = values.runs === undefined ? undefined : Number(values.runs);
  if (runs !== undefined && !(Number.isInteger(runs) && runs > 0)) {
    throw new Failure(`--runs ${values.runs}: not a whole number above 0`);
  }
  const debian = values.debian ?? join(CACHE, 'debian');
  const { quick, update, v86 } = values;
  return { quick, update, only, runs, debian, v86, without: values.without?.split(',') };
}

async function main(): Promise<void> {
  if (process.platform !== 'linux') throw new Failure('figures come from /proc: Linux only');
  const options = parse();
  const engines = findOptionalEngines(options);
  const where = environment(engines);
  const progress = (text: string): void => void process.stderr.write(`bench: ${text}\n`);
  if (where.qemu === undefined) console.log(`${QEMU_HINT}\n`);
  for (const hint of engines.hints) console.log(`${hint}\n`);
  if (!existsSync(join(ROOT, 'dist/cli/main.js'))) console.log(`${SOURCES_HINT}\n`);
  const directory = join(ROOT, 'bench/results', options.update ? '.' : 'local');
  mkdirSync(directory, { recursive: true });
  const command = `npm run bench -- ${process.argv.slice(2).join(' ')}`.replace(/ -- $/, '');
  const runs32Bit = engines.v86 !== undefined && engines.missingFor32Bit === undefined;
  const isUsual = ({ slow, for32Bit }: Experiment): boolean => !(slow && options.quick) && (!for32Bit || runs32Bit);
  const isAskedFor = ({ name }: Experiment): boolean => options.only!.includes(name);
  for (const experiment of EXPERIMENTS.filter(options.only ? isAskedFor : isUsual)) {
    if (experiment.for32Bit && engines.missingFor32Bit) throw new Failure(engines.missingFor32Bit);
    const runs = options.runs ?? experiment.runs[options.quick ? 1 : 0]!;
    const context: Context = {
      quick: options.quick,
      runs,
      qemu: where.qemu,
      bochs: engines.bochs,
      v86: engines.v86,
      debianDirectory: options.debian,
      progress: (text) => progress(`${experiment.name}: ${text}`),
    };
    const result = await experiment.run(context);
    const stored: report.Stored<unknown> = {
      schema: 2,
      experiment: experiment.name,
      command,
      environment: where,
      runs,
      quick: options.quick,
      result,
    };
    const file = join(directory, `${experiment.name}.json`);
    writeFileSync(file, `${JSON.stringify(stored, undefined, 2)}\n`);
    const sections = experiment.sections(result);
    const chart = experiment.chart?.(result);
    if (chart) writeFileSync(join(directory, `${experiment.name}.svg`), chart);
    console.log(`## ${experiment.title}\n\n${Object.values(sections).join('\n\n')}\n\n${report.provenance(stored)}\n`);
    if (options.update) updateDocument(sections, stored);
  }
  progress(`figures are in ${directory}`);
}

function updateDocument(sections: Readonly<Record<string, string>>, stored: report.Stored<unknown>): void {
  if (!existsSync(DOCUMENT)) throw new Failure(`${DOCUMENT} is not there`);
  let text = readFileSync(DOCUMENT, 'utf8');
  for (const [name, markdown] of Object.entries(sections)) {
    text = report.insertSection(text, name, `${markdown}\n\n${report.provenance(stored)}`);
  }
  writeFileSync(DOCUMENT, text);
}

runMain('bench', main);
