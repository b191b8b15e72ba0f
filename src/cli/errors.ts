import { LoadError } from '../loader/load-error.ts';
import { OptionError } from '../machine/errors.ts';
import { NetError } from '../net/errors.ts';
import { DriveError } from './file-store.ts';

/** Bad usage or input found by the command line; `message` is one line. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The one line for a user whose input cannot be used, or undefined if `error` is a defect of the emulator. */
export function inputErrorLine(error: unknown): string | undefined {
  if (error instanceof OptionError || error instanceof NetError) return `--${error.message}`;
  if (error instanceof UsageError || error instanceof LoadError || error instanceof DriveError) return error.message;
  return undefined;
}

/** What to print when the emulator itself has failed: everything a report needs. */
export function internalErrorText(error: unknown, version: string, args: readonly string[]): string {
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return [
    'ukl-emu: internal error. This is a defect of the emulator; please report it with these lines and the kernel:',
    `  ukl-emu ${version}, Node ${process.version}, ${process.platform} ${process.arch}`,
    `  ukl-emu ${args.map((arg) => JSON.stringify(arg)).join(' ')}`,
    ...detail.split('\n').map((line) => `  ${line}`),
  ].join('\n');
}
