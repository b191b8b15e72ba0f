import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { Context } from './context.ts';
import { median } from './sampling.ts';

/** Of one test of bench/echo.ts, by engine: medians of the rounds, and the last round, when translated code has settled. */
export interface EchoRow {
  readonly test: string;
  readonly figure: string;
  readonly medians: Readonly<Record<string, number>>;
  readonly last: Readonly<Record<string, number>>;
}
export interface EchoResult {
  readonly engines: readonly string[];
  readonly rows: readonly EchoRow[];
}

/** Names of bench/echo.ts on the left. */
const ENGINES: Readonly<Record<string, string>> = { auto: 'ukl-emu', qemu: 'qemu' };
/** Of 100 MB. */
const BULK_SCALE = '0.4';
const SHOWN: readonly (readonly [test: string, figure: string])[] = [
  ['lockstep', 'round trips/s'],
  ['lockstep', 'median us'],
  ['lockstep', 'guest CPU us each'],
  ['connect-rate', 'connections/s'],
  ['connect-rate', 'guest CPU us each'],
  ['bulk', 'MB/s each way'],
  ['bulk', 'guest CPU ms a MB'],
];

/** The echo server in the guest under a client on this machine. */
export async function echo(context: Context): Promise<EchoResult> {
  const guests = ['auto', ...(context.qemu ? ['qemu'] : [])];
  const tests = [...new Set(SHOWN.map(([test]) => test))];
  context.progress(`${context.runs} rounds of ${tests.join(', ')}`);
  const output = execFileSync(
    process.execPath,
    [
      ...[join(import.meta.dirname, 'echo.ts'), '--guests', guests.join(), '--test', tests.join()],
      ...['--rounds', String(context.runs), '--seconds', context.quick ? '2' : '4', '--scale', BULK_SCALE, '--json'],
    ],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const { results } = JSON.parse(output) as { results: Record<string, Record<string, number>[]> };
  const rows = SHOWN.map(([test, figure]): EchoRow => {
    const of = (pick: (values: number[]) => number): Record<string, number> =>
      Object.fromEntries(
        guests.flatMap((guest) => {
          const values = (results[`${test} ${guest}`] ?? []).flatMap((round) => round[figure] ?? []);
          return values.length === 0 ? [] : [[ENGINES[guest] ?? guest, pick(values)]];
        }),
      );
    return { test, figure, medians: of(median), last: of((values) => values.at(-1)!) };
  });
  return { engines: guests.map((guest) => ENGINES[guest] ?? guest), rows };
}
