import type { Argv, InferredOptionTypes, Options } from 'yargs';
import { type LockstepEngine, type LockstepResult, lockstepEngines } from '../lockstep/engines.ts';
import type { MachineOptions } from '../machine/options.ts';
import { parseWhole } from './arguments.ts';
import { BOOT_OPTIONS } from './boot-options.ts';
import { UsageError } from './errors.ts';
import { EXIT_CODE } from './exit-codes.ts';
import { readInput } from './files.ts';
import { JIT_OPTIONS, jitDump, parseJit } from './jit.ts';
import { lockstepQemu } from './lockstep-qemu.ts';

const ENGINES: readonly LockstepEngine[] = ['interpreter', 'jit'];
/** Registers a hundred times as often as RAM, so that neither costs more than running the guest twice. */
const DEFAULT_INTERVAL = 10_000;
const DEFAULT_MEMORY_INTERVAL = 50_000_000;

export const LOCKSTEP_OPTIONS = {
  engines: {
    type: 'string',
    requiresArg: true,
    default: ENGINES.join(),
    describe: `two engines of ${ENGINES.join(', ')}; the first is the one to go by`,
  },
  against: {
    choices: ['qemu'],
    requiresArg: true,
    describe: 'follow QEMU instead, block by block, from the entry of the kernel (needs qemu-system-x86_64)',
  },
  from: {
    type: 'string',
    requiresArg: true,
    describe: 'with --against qemu: follow from this address on, in hexadecimal',
  },
  interval: {
    type: 'string',
    requiresArg: true,
    default: String(DEFAULT_INTERVAL),
    describe: 'compare registers every so many instructions',
  },
  'memory-interval': {
    type: 'string',
    requiresArg: true,
    default: String(DEFAULT_MEMORY_INTERVAL),
    describe: 'compare RAM every so many instructions, and at the end',
  },
  max: { type: 'string', requiresArg: true, describe: 'stop after this many instructions' },
  initrd: BOOT_OPTIONS.initrd,
  append: BOOT_OPTIONS.append,
  memory: BOOT_OPTIONS.memory,
  cpu: BOOT_OPTIONS.cpu,
  seed: BOOT_OPTIONS.seed,
  unpack: BOOT_OPTIONS.unpack,
  ...JIT_OPTIONS,
} as const satisfies Record<string, Options>;

type LockstepArguments = InferredOptionTypes<typeof LOCKSTEP_OPTIONS> & { readonly kernel: string };

export function lockstepOptions<T>(yargs: Argv<T>): Argv<T & LockstepArguments> {
  return yargs
    .positional('kernel', { type: 'string', demandOption: true, describe: 'as for boot' })
    .options(LOCKSTEP_OPTIONS) as Argv<T & LockstepArguments>;
}

export const LOCKSTEP_EXAMPLES: readonly (readonly [string, string])[] = [
  [
    '$0 lockstep bzImage --initrd initrd.gz --append "console=ttyS0 app=poweroff"',
    'one boot on the interpreter and on the translator',
  ],
  [
    '$0 lockstep bzImage --append nokaslr --against qemu --from ffffffff81a9bb17 --max 1000000',
    'a million instructions from start_kernel on, led by QEMU',
  ],
];

/** `ukl-emu lockstep`: 0 when nothing differs, 1 when something does, after its report on standard output. */
export async function lockstep(args: LockstepArguments): Promise<number> {
  const engines = parseEngines(args.engines);
  const dump = args['jit-dump'];
  const machine: MachineOptions = {
    kernel: await readInput(args.kernel),
    ...(args.initrd !== undefined && { initrd: await readInput(args.initrd) }),
    cmdline: args.append,
    memory: args.memory,
    cpu: args.cpu,
    unpack: args.unpack as 'host' | 'guest',
    ...(args.seed !== undefined && { seed: parseWhole('seed', args.seed, Number.MAX_SAFE_INTEGER) }),
    jit: { ...parseJit(args.jit), ...(dump !== undefined && { onModule: jitDump(dump) }) },
  };
  const maxInstructions = args.max === undefined ? Number.MAX_SAFE_INTEGER : parseCount('max', args.max);
  const progress = (text: string): void => void process.stderr.write(`ukl-emu: ${text}\n`);
  if (args.against === 'qemu') {
    const from = args.from === undefined ? undefined : parseAddress(args.from);
    return printLockstep(
      await lockstepQemu(machine, { maxInstructions, progress, ...(from !== undefined && { from }) }),
    );
  }
  const result = await lockstepEngines(machine, engines, {
    interval: parseCount('interval', args.interval),
    memoryInterval: parseCount('memory-interval', args['memory-interval']),
    maxInstructions,
    progress,
  });
  return printLockstep(result);
}

/** Prints the outcome; returns the exit code. */
export function printLockstep(result: LockstepResult): number {
  if (result.kind === 'same') {
    process.stdout.write(`the same for ${result.instructions} instructions: ${result.end}\n`);
    return EXIT_CODE.ok;
  }
  process.stdout.write(`${result.report}\n`);
  return EXIT_CODE.different;
}

function parseEngines(text: string): [LockstepEngine, LockstepEngine] {
  const names = text.split(',');
  const unknown = names.find((name) => !(ENGINES as readonly string[]).includes(name));
  if (unknown !== undefined)
    throw new UsageError(`--engines ${text}: "${unknown}" is not one of ${ENGINES.join(', ')}`);
  if (names.length !== 2)
    throw new UsageError(`--engines ${text}: name two engines, as in --engines ${ENGINES.join()}`);
  return names as [LockstepEngine, LockstepEngine];
}

function parseAddress(text: string): bigint {
  if (!/^(0x)?[0-9a-f]{1,16}$/i.test(text)) {
    throw new UsageError(`--from ${text}: is no address; write hexadecimal digits, as in --from ffffffff81000000`);
  }
  return BigInt(`0x${text.replace(/^0x/i, '')}`);
}

function parseCount(option: string, text: string): number {
  const count = parseWhole(option, text, Number.MAX_SAFE_INTEGER);
  if (count === 0) throw new UsageError(`--${option} 0: is not a whole number above 0`);
  return count;
}
