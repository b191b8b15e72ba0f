import type { AlignmentResult } from './alignments.ts';
import type { BootResult } from './boots.ts';
import { barChart, short } from './chart.ts';
import type { ComputeResult } from './compute-set.ts';
import type { Environment } from './context.ts';
import type { EchoResult } from './echo-experiment.ts';
import { geometricMean } from './sampling.ts';
import type { SweepResult } from './sweep.ts';
import type { SyscallResult } from './syscall-experiment.ts';

/** What an experiment leaves in bench/results/NAME.json. */
export interface Stored<Result> {
  readonly schema: 2;
  readonly experiment: string;
  readonly command: string;
  readonly environment: Environment;
  readonly runs: number;
  readonly quick: boolean;
  readonly result: Result;
}

type Cell = string | number | undefined;
const cell = (value: Cell): string => (value === undefined ? '' : typeof value === 'number' ? short(value) : value);

export function table(header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rule = header.map((_, n) => (n === 0 ? '---' : '---:'));
  return [line(header), line(rule), ...rows.map((row) => line(row.map(cell)))].join('\n');
}

const TITLES: Readonly<Record<string, string>> = {
  'ukl-emu': 'ukl-emu',
  qemu: 'QEMU TCG',
  v86: 'v86',
  bochs: 'Bochs',
  native: 'native',
};
const megabytes = (bytes: number | undefined): string => (bytes === undefined ? '' : (bytes / 1e6).toFixed(0));
const times = (ratio: number | undefined): string => (ratio === undefined ? '' : `${short(ratio)}x`);
/** Which is faster, in words: nobody should have to know which way round a ratio is. */
const verdict = (ratio: number | undefined, [more, less] = ['slower', 'faster']): string =>
  ratio === undefined ? '' : ratio > 1.05 ? more! : ratio < 0.95 ? less! : 'alike';

/** One line that says where figures come from. */
export function provenance({ command, environment, runs, quick, result }: Stored<unknown>): string {
  const { date, processor, processors, node, v8, qemu, bochs, v86, commit, load } = environment;
  const engines = (result as { readonly engines?: readonly string[] }).engines ?? [];
  const who = [
    `Node ${node} (V8 ${v8})`,
    ...(qemu ? [qemu.replace(/^QEMU emulator version /, 'QEMU ')] : []),
    ...(engines.includes('bochs') ? [`Bochs ${bochs}`] : []),
    ...(engines.includes('v86') ? [`v86 ${v86}`] : []),
  ].join(', ');
  return `\`${command}\`, ${date}, commit ${commit}, ${processor} with ${processors} processors (load ${load} before), ${who}, medians of ${runs}${quick ? ', quick' : ''}.`;
}

export function computeTable(result: ComputeResult): string {
  const { engines, rows, geomean, warmGeomean, stoppedAfter } = result;
  const qemu = engines.includes('qemu');
  const native = engines.includes('native');
  const header = [
    'test',
    ...engines.map((name) => `${TITLES[name]}, CPU s`),
    ...(qemu ? ['ukl-emu / QEMU', '', 'warm'] : []),
    ...(native ? ['ukl-emu / native'] : []),
  ];
  const body = rows.map(({ name, cpuSeconds, ratio, warmRatio }) => [
    name,
    ...engines.map((engine) => cpuSeconds[engine] ?? (engine in stoppedAfter ? 'stopped' : undefined)),
    ...(qemu ? [times(ratio), verdict(ratio), times(warmRatio)] : []),
    ...(native ? [times(cpuSeconds['ukl-emu']! / cpuSeconds['native']!)] : []),
  ]);
  if (qemu) {
    const blank = engines.map(() => '');
    const end = native ? [''] : [];
    body.push(['**geometric mean**', ...blank, `**${times(geomean)}**`, verdict(geomean), times(warmGeomean), ...end]);
  }
  return `${table(header, body)}\n\n${computeNotes(result).join('\n')}`;
}

/** What one has to know about the figures, a sentence or two an entry. */
function computeNotes(result: ComputeResult): string[] {
  const { bits, engines, null: nothing, worst, stoppedAfter, flagDifferences } = result;
  const guests = engines.filter((name) => name !== 'native');
  const figures = (values: Readonly<Record<string, number>>, show: (value: number) => string): string =>
    guests.map((name) => `${TITLES[name]} ${show(values[name]!)}`).join(', ');
  return [
    ...(bits === 32
      ? ["The same 32-bit program under Debian's 32-bit kernel everywhere: v86 has no 64-bit processor to show."]
      : []),
    ...(nothing
      ? [
          `Null run (ukl-emu against itself): geometric mean ${times(nothing.geomean)}, worst test ${times(nothing.worst)}.`,
        ]
      : []),
    ...(result.spread > 0
      ? [`Largest spread of a test between runs: ${(result.spread * 100).toFixed(0)} % of its median.`]
      : []),
    ...(worst ? [`Worst test: ${worst.name}, ${times(worst.ratio)}.`] : []),
    ...['v86', 'bochs'].filter((name) => engines.includes(name)).map((name) => comparison(result, name)),
    ...Object.entries(stoppedAfter).map(
      ([name, seconds]) =>
        `${TITLES[name]} was stopped after ${short(seconds)} CPU s; tests that it had not finished have no figure.`,
    ),
    `Boot to the first test, CPU seconds: ${figures(result.bootCpuSeconds, short)}.`,
    `Peak memory of the process, ${result.memoryMegabytes} MB guest: ${figures(result.peakBytes, (bytes) => `${megabytes(bytes)} MB`)}.`,
    ...Object.entries(flagDifferences).map(([name, { missing, more }]) => featureNote(name, missing, more)),
  ];
}

/** Another engine against ukl-emu, over the tests that both have finished. */
function comparison({ rows }: ComputeResult, name: string): string {
  const ratios = rows.flatMap(({ cpuSeconds }) =>
    name in cpuSeconds ? cpuSeconds[name]! / cpuSeconds['ukl-emu']! : [],
  );
  const interpreter = name === 'bochs' ? ' It interprets, and ran once.' : '';
  const tests = ratios.length === rows.length ? '' : ` over ${ratios.length} of ${rows.length} tests`;
  if (ratios.length === 0) return `${TITLES[name]} finished no test.${interpreter}`;
  return `${TITLES[name]} takes ${times(geometricMean(ratios))} ukl-emu's time (geometric mean${tests}, cold).${interpreter}`;
}

function featureNote(name: string, missing: readonly string[], more: readonly string[]): string {
  const guest = `${TITLES[name]}'s guest`;
  if (missing.length + more.length === 0) return `${guest} lists the same processor features as ukl-emu's.`;
  const parts = [
    ...(missing.length > 0 ? [`does not list ${missing.join(' ')}`] : []),
    ...(more.length > 0 ? [`lists ${more.join(' ')} more`] : []),
  ];
  return `${guest}, beside ukl-emu's, ${parts.join(' and ')}.`;
}

/** Rates of what one asks for by the second. */
export function rateTable({ engines, rows }: ComputeResult): string {
  const kernel = rows.filter(({ name }) => ['getppid', 'read-4k', 'page-fault', 'fork-wait'].includes(name));
  return table(
    [
      'warm, a CPU second',
      ...engines.map((name) => TITLES[name] ?? name),
      ...(engines.includes('qemu') ? ['ukl-emu / QEMU'] : []),
    ],
    kernel.map(({ name, warmPerSecond, warmRatio }) => [
      name,
      ...engines.map((engine) => warmPerSecond[engine]),
      ...(engines.includes('qemu') ? [times(1 / warmRatio!)] : []),
    ]),
  );
}

export function bootTable({ engines, rows, skipped }: BootResult): string {
  const qemu = engines.includes('qemu');
  const body = rows.flatMap(({ title, wallSeconds, cpuSeconds, peakBytes, runs, stopped }) => {
    const figures = (
      what: string,
      values: Readonly<Record<string, number>>,
      show: (value: number) => Cell,
      words?: [string, string],
    ): Cell[] => {
      const ratio = qemu ? values['ukl-emu']! / values['qemu']! : undefined;
      return [
        what,
        ...engines.map((name) => (stopped.includes(name) ? `> ${cell(show(values[name]!))}` : show(values[name]!))),
        ...(qemu ? [times(ratio), verdict(ratio, words)] : []),
      ];
    };
    return [
      [`${title} (${runs} ${runs === 1 ? 'run' : 'runs'})`, ...figures('wall s', wallSeconds, (v) => v)],
      ['', ...figures('CPU s', cpuSeconds, (v) => v)],
      ['', ...figures('peak memory, MB', peakBytes, megabytes, ['more', 'less'])],
    ];
  });
  const header = ['boot', '', ...engines.map((name) => TITLES[name] ?? name), ...(qemu ? ['ukl-emu / QEMU', ''] : [])];
  const bochs = 'Bochs boots from a CD: firmware and boot loader are in its figures. It ran once.';
  return [table(header, body), ...(engines.includes('bochs') ? [bochs] : []), ...skipped].join('\n\n');
}

export function alignmentTable({ engines, medianNs, slowestToFastest }: AlignmentResult): string {
  return table(
    ['', ...engines.map((name) => TITLES[name] ?? name)],
    [
      ['median place, ns an iteration', ...engines.map((name) => medianNs[name])],
      ['slowest place / fastest', ...engines.map((name) => times(slowestToFastest[name]))],
    ],
  );
}

export function echoTable({ engines, rows }: EchoResult): string {
  const qemu = engines.includes('qemu');
  const names = engines.map((name) => TITLES[name] ?? name);
  return table(
    ['test', '', ...names, ...(qemu ? ['ukl-emu / QEMU'] : []), ...names.map((name) => `${name}, last round`)],
    rows.map(({ test, figure, medians, last }) => [
      test,
      figure,
      ...engines.map((name) => medians[name]),
      ...(qemu ? [times(medians['ukl-emu']! / medians['qemu']!)] : []),
      ...engines.map((name) => last[name]),
    ]),
  );
}

export function syscallTable({ engines, rows }: SyscallResult): string {
  const qemu = engines.includes('qemu');
  return table(
    ['ns', '', ...engines.map((name) => TITLES[name] ?? name), ...(qemu ? ['ukl-emu / QEMU'] : [])],
    rows.map(({ operation, variant, nanoseconds }) => [
      operation,
      variant,
      ...engines.map((name) => nanoseconds[name]),
      ...(qemu ? [times(nanoseconds['ukl-emu']! / nanoseconds['qemu']!)] : []),
    ]),
  );
}

export function sweepTable({ rows }: SweepResult): string {
  const { boot, compute } = rows[0]!;
  return table(
    ['`--jit`', 'UKL boot, CPU s', '', 'compute set (a tenth), CPU s', ''],
    rows.map((row) => [
      row.setting || 'default',
      row.boot,
      times(row.boot / boot),
      row.compute,
      times(row.compute / compute),
    ]),
  );
}

export function computeChart({ bits, engines, rows }: ComputeResult): string {
  const native = engines.includes('native');
  const guests = engines.filter((name) => name !== 'native');
  const value = (cpuSeconds: Readonly<Record<string, number>>, engine: string): number | undefined =>
    engine in cpuSeconds ? cpuSeconds[engine]! / (native ? cpuSeconds['native']! : 1) : undefined;
  return barChart({
    title: `Compute set${bits === 32 ? ', 32-bit' : ''}${native ? ': slowdown against native' : ''}`,
    axis: `CPU seconds${native ? ' / native CPU seconds' : ''}, logarithmic, shorter is better`,
    series: guests.map((name) => TITLES[name] ?? name),
    rows: rows.map(({ name, cpuSeconds }) => ({
      label: name,
      values: guests.map((engine) => value(cpuSeconds, engine)),
    })),
  });
}

export function bootChart({ engines, rows }: BootResult): string {
  return barChart({
    title: 'Boots',
    axis: 'CPU seconds, logarithmic, shorter is better',
    series: engines.map((name) => TITLES[name] ?? name),
    rows: rows.map(({ title, cpuSeconds, stopped }) => ({
      label: title.replace(/, xz initrd|Debian /g, ''),
      values: engines.map((engine) => (stopped.includes(engine) ? undefined : cpuSeconds[engine])),
    })),
  });
}

/** `text` between `<!-- bench:name -->` and `<!-- /bench:name -->`, the rest of the document as it was. */
export function insertSection(document: string, name: string, text: string): string {
  const [open, close] = [`<!-- bench:${name} -->`, `<!-- /bench:${name} -->`];
  const [start, end] = [document.indexOf(open), document.indexOf(close)];
  if (start < 0 || end < start) throw new Error(`docs/benchmarks.md has no section ${open} ... ${close}`);
  return `${document.slice(0, start + open.length)}\n${text}\n${document.slice(end)}`;
}
