/** What a fuzzing run did, form by form, as a file that scripts/isa.ts adds up. */
import type { Form } from './forms.ts';
import type { FuzzReport } from './fuzz.ts';

export interface RunFacts {
  readonly seed: number;
  /** Stream number of the first case. */
  readonly first: number;
  readonly commit: string;
  /** The reference CPU. */
  readonly reference: string;
  readonly engines: readonly string[];
  /** Cases a second. */
  readonly rate: number;
}

/** Cases, those that ended without an exception in the reference, differences. */
export type FormFigures = readonly [cases: number, ok: number, differences: number];

export interface RunRecord extends RunFacts {
  readonly cases: number;
  readonly differences: number;
  /** By formKey. */
  readonly forms: Readonly<Record<string, FormFigures>>;
}

export const formKey = (form: Form): string => `${form.row.opcode} | ${form.name}`;

export function recordOf(facts: RunFacts, report: FuzzReport): RunRecord {
  const forms: Record<string, FormFigures> = {};
  for (const [form, { cases, ok, differences }] of report.forms) forms[formKey(form)] = [cases, ok, differences];
  return { ...facts, cases: report.cases, differences: report.differences, forms };
}

/** One line a form. */
export function formatRecord({ forms, ...rest }: RunRecord): string {
  const head = JSON.stringify(rest).slice(0, -1);
  const lines = Object.entries(forms).map(([key, figures]) => `${JSON.stringify(key)}:${JSON.stringify(figures)}`);
  return `${head},"forms":{\n${lines.join(',\n')}\n}}\n`;
}
