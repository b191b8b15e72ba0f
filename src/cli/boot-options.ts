import type { Argv, InferredOptionTypes, Options } from 'yargs';
import type { JitOptions } from '../cpu/jit/options.ts';
import { DEFAULT_MODEL } from '../cpu/models.ts';
import { DEBUG_EXIT_PORT } from '../layout.ts';
import { parsePattern, parseSeconds, parseWhole } from './arguments.ts';
import { JIT_OPTIONS, parseJit } from './jit.ts';
import { parseSerial, type SerialSpec } from './serial.ts';

/** The options of `ukl-emu boot`, in the order of the help. */
export const BOOT_OPTIONS = {
  initrd: { type: 'string', requiresArg: true, describe: 'initial RAM file system, plain or packed' },
  module: {
    type: 'string',
    array: true,
    requiresArg: true,
    describe: 'module of a Multiboot or PVH kernel, after --initrd: FILE[ ARGUMENTS] (repeatable)',
  },
  append: { type: 'string', requiresArg: true, default: '', describe: 'kernel command line' },
  memory: { type: 'string', requiresArg: true, default: '512M', describe: 'guest RAM, 16M to 4G' },
  cpu: {
    type: 'string',
    requiresArg: true,
    default: DEFAULT_MODEL,
    describe: 'CPU model and features: NAME[,+f][,-f] (see: ukl-emu cpu list)',
  },
  clock: {
    choices: ['host', 'instructions'],
    requiresArg: true,
    default: 'host',
    describe: 'guest time is host time, or 1 ns an instruction (reproducible)',
  },
  seed: {
    type: 'string',
    requiresArg: true,
    describe: "seed of every random number the guest gets [default: the host's entropy; 0 with --clock instructions]",
  },
  unpack: {
    choices: ['host', 'guest'],
    requiresArg: true,
    default: 'host',
    describe: 'who unpacks kernel and initrd',
  },
  drive: {
    type: 'string',
    array: true,
    requiresArg: true,
    describe: 'disk image: FILE[,readonly][,discard][,transport=...] (repeatable)',
  },
  net: {
    type: 'string',
    array: true,
    requiresArg: true,
    describe: 'network card: none, user[,hostfwd=...], stream,..., hub (repeatable; docs/networking.md)',
  },
  pcap: { type: 'string', requiresArg: true, describe: "record the first card's frames in this file" },
  serial: {
    type: 'string',
    requiresArg: true,
    default: 'stdio',
    describe: 'serial console: stdio, null, file:PATH, tcp:HOST:PORT (listens)',
  },
  'exit-on': { type: 'string', requiresArg: true, describe: 'end with code 0 when the serial output matches REGEX' },
  timeout: { type: 'string', requiresArg: true, describe: 'end with code 4 after this many seconds' },
  stats: { type: 'string', describe: 'figures at the end: text on standard error, or JSON into --stats=FILE' },
  engine: {
    choices: ['auto', 'interpreter'],
    requiresArg: true,
    default: 'auto',
    describe: 'translate hot code, or interpret everything',
  },
  ...JIT_OPTIONS,
  'debug-exit': {
    type: 'string',
    describe: `a guest's write of v to this port [0x${DEBUG_EXIT_PORT.toString(16)}] ends with code (v << 1) | 1`,
  },
  'allow-reboot': { type: 'boolean', default: false, describe: 'a reset starts the kernel anew instead of ending' },
} as const satisfies Record<string, Options>;

export type BootArguments = InferredOptionTypes<typeof BOOT_OPTIONS> & { readonly kernel: string };

/** What a command line of `boot` asks for, parsed as far as no file has to be read. */
export interface BootRequest {
  readonly kernel: string;
  readonly initrd: string | undefined;
  /** FILE[ ARGUMENTS] each. */
  readonly modules: readonly string[];
  readonly append: string;
  readonly memory: string;
  readonly cpu: string;
  readonly clock: 'host' | 'instructions';
  readonly seed: number | undefined;
  readonly unpack: 'host' | 'guest';
  readonly drives: readonly string[];
  readonly net: readonly string[];
  readonly pcap: string | undefined;
  readonly serial: SerialSpec;
  readonly exitOn: RegExp | undefined;
  readonly timeoutMs: number | undefined;
  /** False, true for text on standard error, or a path. */
  readonly stats: boolean | string;
  readonly engine: 'auto' | 'interpreter';
  readonly jit: Partial<JitOptions>;
  readonly jitDump: string | undefined;
  readonly debugExit: boolean | number;
  readonly allowReboot: boolean;
}

/** Declares them. */
export function bootOptions<T>(yargs: Argv<T>): Argv<T & BootArguments> {
  return yargs
    .positional('kernel', {
      type: 'string',
      demandOption: true,
      describe: 'bzImage, or ELF (Linux, PVH, Multiboot), told by its content',
    })
    .options(BOOT_OPTIONS) as Argv<T & BootArguments>;
}

/** Throws UsageError for a value that cannot be. */
export function parseBootArguments(args: BootArguments): BootRequest {
  const { initrd, append, memory, cpu, clock, seed, unpack, drive = [], net = [], timeout, stats, engine } = args;
  const exitOn = args['exit-on'];
  const debugExit = args['debug-exit'];
  return {
    kernel: args.kernel,
    initrd,
    modules: args.module ?? [],
    append,
    memory,
    cpu,
    clock: clock as BootRequest['clock'],
    seed: seed === undefined ? undefined : parseWhole('seed', seed, Number.MAX_SAFE_INTEGER),
    unpack: unpack as BootRequest['unpack'],
    drives: drive,
    net,
    pcap: args.pcap,
    serial: parseSerial(args.serial),
    exitOn: exitOn === undefined ? undefined : parsePattern('exit-on', exitOn),
    timeoutMs: timeout === undefined ? undefined : parseSeconds('timeout', timeout),
    stats: stats === undefined ? false : stats === '' ? true : stats,
    engine: engine as BootRequest['engine'],
    jit: parseJit(args.jit),
    jitDump: args['jit-dump'],
    debugExit: debugExit === undefined ? false : debugExit === '' ? true : parseWhole('debug-exit', debugExit, 0xfffc),
    allowReboot: args['allow-reboot'],
  };
}

export const BOOT_EXAMPLES: readonly (readonly [string, string])[] = [
  ['$0 boot bzImage --initrd initrd.gz --append "console=ttyS0"', 'boot Linux, its console here; Ctrl-A x quits'],
  ['$0 boot vmlinux --append "console=ttyS0" --exit-on "login:" --timeout 60', 'succeed when a prompt appears'],
  ['$0 boot bzImage --clock instructions --seed 7 --stats=stats.json', 'a run that can be repeated exactly'],
  ['$0 boot bzImage --net user,hostfwd=tcp::8080-:80', "the guest's port 80 is port 8080 here"],
  ['$0 boot bzImage --cpu x86-64-v2,-smap,-smep', 'a CPU without two features'],
];
