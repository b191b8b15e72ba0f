import { type OperationResult, type SyscallBench, VARIANTS, type VariantResult } from './syscall-result.ts';
import { decimal, fraction } from './syscall-text.ts';

/** The figures as one HTML page that needs nothing else: no script, no network. */
export function syscallBenchHtml(bench: SyscallBench): string {
  const { guest, hostClock } = bench;
  const facts = [
    `ukl-emu ${bench.program.version}`,
    `kernel ${guest.kernel} (sha256 ${guest.kernelSha256.slice(0, 16)}…)`,
    `initrd ${guest.initrd} (sha256 ${guest.initrdSha256.slice(0, 16)}…)`,
    `CPU model ${guest.cpu}, memory ${guest.memory}`,
    `command line ${guest.commandLine}`,
    ...(hostClock === null
      ? []
      : [
          `host ${hostClock.processor}, Node ${hostClock.node}, engine ${hostClock.engine}, ${hostClock.runs} run(s), ${hostClock.date}`,
        ]),
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>System calls: instruction, UKL call, bypass</title>
<style>${STYLE}</style>
</head>
<body>
<h1>System calls: instruction, UKL call, bypass</h1>
<p>Guest instructions are exact and the same on every run; nanoseconds are medians of the guest's batches on the host's clock.</p>
<ul>${facts.map((fact) => `<li>${escapeMarkup(fact)}</li>`).join('')}</ul>
<h2>Beside the paper</h2>
<p>EuroSys '23, bare metal, 1-byte payloads, nanoseconds; ours in nanoseconds and in instructions.</p>
${paperTable(bench)}
<h2>Where the instructions go</h2>
<p class="legend"><i class="user"></i>program <i class="entry"></i>entry and exit <i class="kernel"></i>kernel</p>
${operationsTable(bench.operations)}
<h2>Transitions and events</h2>
${eventsTable(bench.operations)}
<h2>Hottest functions of the kernel</h2>
${bench.operations.map(hottest).join('\n')}
</body>
</html>
`;
}

const STYLE = `
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}ul{padding-left:1.2rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.15rem .6rem;text-align:right;border-bottom:1px solid #d8dee4}th{font-weight:600}
th:first-child,td:first-child,td.name,th.name{text-align:left}tr.first td{border-top:2px solid #8c959f}
.bar{display:flex;height:.8rem;width:16rem;background:#f0f2f4}.bar i{display:block;height:100%}
.user{background:#4c8dd6}.entry{background:#e0813b}.kernel{background:#8a9a5b}
.legend i{display:inline-block;width:.8rem;height:.8rem;margin:0 .3rem 0 1rem}
details{margin:.3rem 0}summary{cursor:pointer}
@media(prefers-color-scheme:dark){body{color:#d7dce1;background:#16191d}th,td{border-color:#343b43}.bar{background:#262b31}}
`;

function paperTable({ paper }: SyscallBench): string {
  const header = ['', ...VARIANTS.map((v) => `paper ${v}`), 'compared with', ...VARIANTS.map((v) => `ns ${v}`)];
  const instructions = VARIANTS.map((v) => `instructions ${v}`);
  const rows = paper.map((row) => [
    row.operation,
    ...VARIANTS.map((variant) => decimal(row.paper[variant])),
    row.compared,
    ...VARIANTS.map((variant) => decimal(row.ours[variant])),
    ...VARIANTS.map((variant) => decimal(row.ourInstructions[variant])),
  ]);
  return table([...header, ...instructions], rows);
}

function operationsTable(operations: readonly OperationResult[]): string {
  const header = [
    'operation',
    'variant',
    'instructions',
    'program',
    'entry + exit',
    'kernel',
    'ratio',
    '',
    'ns',
    'q1',
    'q3',
    'ratio',
  ];
  const rows = operations.flatMap(({ name, variants }) => {
    const most = Math.max(1, ...variants.map(({ instructions }) => instructions?.total ?? 0));
    return variants.map((result, index): Cells => {
      const { instructions, ns, ratio } = result;
      const cells = [
        index === 0 ? name : '',
        result.variant,
        ...[instructions?.total, instructions?.user, instructions?.entryExit, instructions?.kernel].map(decimal),
        fraction(ratio.instructions),
        { html: bar(result, most) },
        ...[ns?.median, ns?.q1, ns?.q3].map(decimal),
        fraction(ratio.ns),
      ];
      return { first: index === 0, cells };
    });
  });
  return tableOf(header, rows);
}

/** Program, entry and exit, kernel side by side, as long as their share of `most`. */
function bar({ instructions }: VariantResult, most: number): string {
  if (instructions === null) return '';
  const part = (kind: string, value: number): string =>
    `<i class="${kind}" style="width:${((value / most) * 100).toFixed(2)}%" title="${kind} ${decimal(value)}"></i>`;
  const { user, entryExit, kernel } = instructions;
  return `<div class="bar">${part('user', user)}${part('entry', entryExit)}${part('kernel', kernel)}</div>`;
}

function eventsTable(operations: readonly OperationResult[]): string {
  const counted = operations.flatMap(({ name, variants }) =>
    variants.flatMap((result) => {
      const { variant, transitions, events } = result;
      return transitions === null || events === null ? [] : [{ name, variant, figures: { ...transitions, ...events } }];
    }),
  );
  const [first] = counted;
  if (first === undefined) return '<p>Instructions have not been counted.</p>';
  const columns = Object.keys(first.figures);
  const rows = counted.map(({ name, variant, figures }): Cells => {
    const values: Readonly<Record<string, number>> = figures;
    return {
      first: variant === VARIANTS[0],
      cells: [`${name}, ${variant}`, ...columns.map((column) => (values[column] === 0 ? '' : String(values[column])))],
    };
  });
  return tableOf(['for one operation', ...columns], rows);
}

function hottest({ name, variants }: OperationResult): string {
  const lists = variants
    .filter((result) => result.hottest.length > 0)
    .map(({ variant, hottest: functions }) => {
      const rows = functions.map((f) => [f.function, decimal(f.instructions), `${(f.share * 100).toFixed(1)} %`]);
      return table([variant, 'instructions', 'share'], rows);
    });
  return lists.length === 0 ? '' : `<details><summary>${escapeMarkup(name)}</summary>${lists.join('')}</details>`;
}

type Cell = string | { readonly html: string };
interface Cells {
  readonly first: boolean;
  readonly cells: readonly Cell[];
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  return tableOf(
    header,
    rows.map((cells) => ({ first: false, cells })),
  );
}

function tableOf(header: readonly string[], rows: readonly Cells[]): string {
  const head = header.map((text) => `<th>${escapeMarkup(text)}</th>`).join('');
  const body = rows.map(({ first, cells }) => {
    const inner = cells.map((cell) => `<td>${typeof cell === 'string' ? escapeMarkup(cell) : cell.html}</td>`).join('');
    return `<tr${first ? ' class="first"' : ''}>${inner}</tr>`;
  });
  return `<table><thead><tr>${head}</tr></thead><tbody>${body.join('\n')}</tbody></table>`;
}

/** Text as HTML and XML want it. */
export function escapeMarkup(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
