import { UsageError } from './errors.ts';

/** Options whose value may be left out (`--stats`, `--stats=FILE`): the next word is never theirs. */
const OPTIONAL_VALUE = ['--stats', '--debug-exit'];

/** Marks such an option given without a value, since yargs would take the next word for it. */
export function markBareOptions(args: readonly string[]): string[] {
  const end = args.indexOf('--');
  return args.map((arg, index) => ((end < 0 || index < end) && OPTIONAL_VALUE.includes(arg) ? `${arg}=` : arg));
}

/** A whole number in decimal or with 0x. Throws UsageError naming the option. */
export function parseWhole(option: string, text: string, most: number): number {
  const value = /^(\d+|0x[0-9a-f]+)$/i.test(text) ? Number(text) : Number.NaN;
  if (!(value <= most)) throw new UsageError(`--${option} ${text}: is not a whole number from 0 to ${most}`);
  return value;
}

/** Seconds, with a fraction if need be, as milliseconds. */
export function parseSeconds(option: string, text: string): number {
  const seconds = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!(seconds > 0 && seconds <= 2_000_000)) {
    throw new UsageError(`--${option} ${text}: is not a number of seconds above 0 and up to 2000000`);
  }
  return Math.max(1, Math.round(seconds * 1000));
}

/** A JavaScript regular expression: PATTERN or /PATTERN/flags. */
export function parsePattern(option: string, text: string): RegExp {
  const literal = /^\/(.+)\/([dimsuv]*)$/s.exec(text);
  try {
    const pattern = literal === null ? new RegExp(text) : new RegExp(literal[1]!, literal[2]);
    if (text === '') throw new UsageError(`--${option}: the pattern is empty and would match at once; name some text`);
    return pattern;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const message = (error as Error).message.replace(/^Invalid regular expression: /, '');
    throw new UsageError(`--${option} ${text}: is not a regular expression: ${message}; escape special characters`);
  }
}
