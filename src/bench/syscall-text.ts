import { type SyscallBench, VARIANTS, type VariantResult } from './syscall-result.ts';

/** The figures for a person: a line for each operation and variant, then the paper's rows. */
export function syscallBenchText(bench: SyscallBench): string {
  const rows: string[][] = [
    ['operation', 'variant', 'instr', 'user', 'entry+exit', 'kernel', 'ratio', 'ns', 'q1..q3', 'ratio'],
  ];
  for (const { name, variants } of bench.operations) {
    for (const result of variants) rows.push([name, ...variantCells(result)]);
  }
  const paper: string[][] = [['paper, ns', ...VARIANTS, 'here, ns', ...VARIANTS, 'instr', ...VARIANTS]];
  for (const row of bench.paper) {
    const cells = (values: Readonly<Record<string, number | null>>): string[] =>
      VARIANTS.map((variant) => decimal(values[variant]));
    const { operation, compared } = row;
    paper.push([operation, ...cells(row.paper), compared, ...cells(row.ours), '', ...cells(row.ourInstructions)]);
  }
  return `${table(rows, 2)}\n${table(paper, 1)}`;
}

function variantCells({ variant, instructions, ns, ratio }: VariantResult): string[] {
  const { total, user, entryExit, kernel } = instructions ?? {};
  const spread = ns === null || ns.q1 === null ? '' : `${decimal(ns.q1)}..${decimal(ns.q3)}`;
  return [
    variant,
    ...[total, user, entryExit, kernel].map(decimal),
    fraction(ratio.instructions),
    decimal(ns?.median),
    spread,
    fraction(ratio.ns),
  ];
}

/** One digit after the point; a dash for what has not been measured. */
export function decimal(value: number | null | undefined): string {
  return value === null || value === undefined ? '-' : value.toFixed(1);
}

export function fraction(value: number | null | undefined): string {
  return value === null || value === undefined ? '-' : value.toFixed(2);
}

/** Columns as wide as their widest cell; all but the first `left` are set right. */
function table(rows: readonly (readonly string[])[], left: number): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row.map((cell, c) => (c < left ? cell.padEnd(widths[c] ?? 0) : cell.padStart(widths[c] ?? 0))).join('  ');
  return `${rows.map((row) => line(row).trimEnd()).join('\n')}\n`;
}
