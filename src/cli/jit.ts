import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { regionTexts } from '../cpu/jit/dump.ts';
import { type JitOptions, parseJitOptions } from '../cpu/jit/options.ts';
import { UsageError } from './errors.ts';

/** `--jit` and `--jit-dump` of `boot` and `lockstep`, in the order of the help. */
export const JIT_OPTIONS = {
  jit: {
    type: 'string',
    requiresArg: true,
    describe: 'thresholds and sizes of the translator: key=value,... (docs/cli.md)',
  },
  'jit-dump': {
    type: 'string',
    requiresArg: true,
    describe: 'write every translated region into this directory, guest code beside wasm',
  },
} as const;

/** Throws UsageError. */
export function parseJit(text: string | undefined): Partial<JitOptions> {
  if (text === undefined) return {};
  try {
    return parseJitOptions(text);
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(`--jit ${text}: ${error.message}`);
    throw error;
  }
}

/**
 * Writes `NNNNN-PAGE-OFFSET.txt` for each region as it is translated, and its module as `NNNNN.wasm` (several regions may share one;
 * numbers count modules). Throws UsageError when the directory cannot be written.
 */
export function jitDump(directory: string): NonNullable<JitOptions['onModule']> {
  try {
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'README'), README);
  } catch (error) {
    throw new UsageError(
      `--jit-dump ${directory}: cannot be written: ${(error as Error).message}; name another directory`,
    );
  }
  let modules = 0;
  return (module) => {
    const number = String(++modules).padStart(5, '0');
    writeFileSync(join(directory, `${number}.wasm`), module.bytes);
    for (const { name, text } of regionTexts(module)) writeFileSync(join(directory, `${number}-${name}.txt`), text);
  };
}

const README = `Translated regions, in the order in which they were made.

NNNNN-PAGE-OFFSET[-N].txt  a region: RAM page and offset of its first entry, N if it has grown N times; guest code, then wasm
NNNNN.wasm                 the module it is in, for other tools
`;
