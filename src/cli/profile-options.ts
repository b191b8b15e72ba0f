import type { Argv, InferredOptionTypes, Options } from 'yargs';
import { parseWhole } from './arguments.ts';
import { type BootArguments, type BootRequest, bootOptions, parseBootArguments } from './boot-options.ts';
import { UsageError } from './errors.ts';

const MOST_FUNCTIONS = 100_000;

/** The options of `ukl-emu profile` beside those of `boot`. */
export const PROFILE_OPTIONS = {
  interval: {
    type: 'string',
    requiresArg: true,
    default: '250000',
    describe: 'guest instructions between two samples, on average',
  },
  symbols: {
    type: 'string',
    requiresArg: true,
    describe: 'vmlinux, System.map or kallsyms [default: the kernel if it is ELF, or found beside it]',
  },
  region: { type: 'string', requiresArg: true, describe: 'sample only inside this marked region (docs/markers.md)' },
  top: { type: 'string', requiresArg: true, default: '25', describe: 'functions in the table on standard error' },
  out: {
    type: 'string',
    requiresArg: true,
    describe: 'write profile.pb.gz, .collapsed, .svg and .txt into this directory',
  },
  pprof: { type: 'string', requiresArg: true, describe: 'write a file for pprof' },
  collapsed: { type: 'string', requiresArg: true, describe: 'write collapsed stacks' },
  svg: { type: 'string', requiresArg: true, describe: 'write a flame graph' },
} as const satisfies Record<string, Options>;

export type ProfileArguments = BootArguments & InferredOptionTypes<typeof PROFILE_OPTIONS>;

export interface ProfileRequest {
  readonly boot: BootRequest;
  readonly interval: number;
  readonly symbols: string | undefined;
  readonly region: string | undefined;
  readonly top: number;
  readonly out: string | undefined;
  readonly pprof: string | undefined;
  readonly collapsed: string | undefined;
  readonly svg: string | undefined;
}

export const PROFILE_EXAMPLES: readonly (readonly [string, string])[] = [
  [
    '$0 profile ukl-echo.bzImage --initrd initrd.cpio.xz --append "console=ttyS0 app=ukl" --out p',
    'where the time goes',
  ],
  ['$0 profile vmlinux --append "console=ttyS0" --exit-on "login:" --svg boot.svg', 'a flame graph of a boot'],
];

export function profileOptions<T>(yargs: Argv<T>): Argv<T & ProfileArguments> {
  return bootOptions(yargs).options(PROFILE_OPTIONS) as Argv<T & ProfileArguments>;
}

/** Throws UsageError for a value that cannot be. */
export function parseProfileArguments(args: ProfileArguments): ProfileRequest {
  const { symbols, region, out, pprof, collapsed, svg } = args;
  const interval = parseWhole('interval', args.interval, 2 ** 30);
  if (interval === 0) throw new UsageError('--interval 0: is not a number of instructions from 1 to 2^30');
  return {
    boot: parseBootArguments(args),
    interval,
    symbols,
    region,
    top: parseWhole('top', args.top, MOST_FUNCTIONS),
    out,
    pprof,
    collapsed,
    svg,
  };
}
