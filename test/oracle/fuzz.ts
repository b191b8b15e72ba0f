/** Runs generated cases in a reference and in the engines under test, and reports every difference. */
import { compare, type Difference, GPR_NAMES, SELECTOR_NAMES } from './compare.ts';
import type { Form } from './forms.ts';
import { type GeneratedCase, generate } from './generate.ts';
import { generateSequence } from './sequence.ts';
import type { CpuResult, Engine } from './types.ts';

export interface FuzzOptions {
  readonly forms: readonly Form[];
  readonly cases: number;
  readonly seed: number;
  readonly reference: Engine;
  readonly engines: readonly Engine[];
  /** First stream number: case i of the run is stream `first + i`, of form (first + i) mod forms. */
  readonly first?: number;
  /** Several instructions a case; a case counts for the form of its last one. */
  readonly sequences?: boolean;
  readonly progress?: (done: number, differences: number) => void;
}

export interface Failure {
  readonly engine: Engine;
  readonly generated: GeneratedCase;
  readonly expected: CpuResult;
  readonly actual: CpuResult;
  readonly differences: readonly Difference[];
}

export interface FormCount {
  cases: number;
  /** Ended without an exception, in the reference. */
  ok: number;
  differences: number;
}

export interface FuzzReport {
  readonly cases: number;
  /** Cases that differ, in any engine, counted once an engine. */
  readonly differences: number;
  /** The first failure of each (engine, mnemonic, kind of field). */
  readonly failures: readonly Failure[];
  readonly forms: ReadonlyMap<Form, FormCount>;
}

const BATCH = 2048;

export async function fuzz(options: FuzzOptions): Promise<FuzzReport> {
  const { forms, seed, reference, engines, first = 0 } = options;
  const counts = new Map<Form, FormCount>();
  for (const form of forms) counts.set(form, { cases: 0, ok: 0, differences: 0 });
  const failures = new Map<string, Failure>();
  let done = 0;
  let differences = 0;
  for (let start = 0; start < options.cases; start += BATCH) {
    const batch: GeneratedCase[] = [];
    for (let i = start; i < Math.min(start + BATCH, options.cases); i++) {
      const stream = first + i;
      const generated = options.sequences
        ? generateSequence(forms, seed, stream)
        : generate(forms[stream % forms.length]!, seed, stream);
      if (generated !== undefined) batch.push(generated);
    }
    const tests = batch.map((generated) => generated.test);
    // The reference works in its own process while the engines run here.
    const pending = reference.run(tests);
    const answers = await Promise.all(engines.map((engine) => engine.run(tests)));
    const expected = await pending;
    for (const [i, generated] of batch.entries()) {
      const count = counts.get(generated.form)!;
      count.cases++;
      if (expected[i]!.outcome.kind === 'ok') count.ok++;
      for (const [e, engine] of engines.entries()) {
        const actual = answers[e]![i]!;
        const found = compare(generated.masks(generated.test), expected[i]!, actual);
        if (found.length === 0) continue;
        count.differences++;
        differences++;
        const key = `${engine.name} ${generated.form.row.mnemonic} ${kindOf(found)}`;
        const failure = { engine, generated, expected: expected[i]!, actual, differences: found };
        if (!failures.has(key)) failures.set(key, failure);
      }
    }
    done += batch.length;
    options.progress?.(done, differences);
  }
  return { cases: done, differences, failures: [...failures.values()], forms: counts };
}

/** What stays the same when a case is simplified: the kind of register, or both exceptions without their addresses. */
export function kindOf(differences: readonly Difference[]): string {
  const { field, expected, actual } = differences[0]!;
  if (field === 'outcome') return `outcome: ${withoutAddress(expected)}, not ${withoutAddress(actual)}`;
  if (SELECTOR_NAMES.includes(field)) return 'selector';
  return GPR_NAMES.includes(field) ? 'gpr' : field.replace(/[\d ].*$/, '');
}

function withoutAddress(outcome: string): string {
  return outcome.replace(/ cr2 .*/, '');
}
