import { existsSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Argv, InferredOptionTypes, Options } from 'yargs';
import { syscallBenchHtml } from '../bench/syscall-html.ts';
import { combineResults, paperRows, type SyscallBench } from '../bench/syscall-result.ts';
import { BenchError, type BenchGuest, countOperations, timeOperations } from '../bench/syscall-run.ts';
import { syscallBenchText } from '../bench/syscall-text.ts';
import type { Engine } from '../machine/options.ts';
import { KernelMap } from '../profile/kernel-map.ts';
import { parseSeconds, parseWhole } from './arguments.ts';
import { UsageError } from './errors.ts';
import { EXIT_CODE } from './exit-codes.ts';
import { readInput } from './files.ts';
import { findSymbolFile, readSymbolFile } from './symbol-files.ts';

const MOST_RUNS = 100;
const MOST_WARM_UP_MS = 60_000;

export const BENCH_SYSCALL_OPTIONS = {
  kernel: {
    type: 'string',
    requiresArg: true,
    describe: 'UKL kernel with syscall-bench [default: the one that comes along]',
  },
  initrd: {
    type: 'string',
    requiresArg: true,
    describe: 'initrd with syscall-bench [default: the one that comes along]',
  },
  symbols: {
    type: 'string',
    requiresArg: true,
    describe: 'vmlinux, System.map or kallsyms [default: found beside the kernel]',
  },
  clock: {
    choices: ['both', 'instructions', 'host'],
    requiresArg: true,
    default: 'both',
    describe: 'count guest instructions, measure nanoseconds, or both',
  },
  'warm-up': {
    type: 'string',
    requiresArg: true,
    default: '300',
    describe: "milliseconds that each operation is repeated before it is measured on the host's clock",
  },
  runs: { type: 'string', requiresArg: true, default: '1', describe: "runs on the host's clock" },
  engine: {
    choices: ['auto', 'interpreter'],
    requiresArg: true,
    default: 'auto',
    describe: "engine of the runs on the host's clock",
  },
  cpu: {
    type: 'string',
    requiresArg: true,
    default: 'x86-64-v2,-smap,-smep',
    describe: 'as for boot; UKL needs -smap,-smep',
  },
  memory: { type: 'string', requiresArg: true, default: '512M', describe: 'as for boot' },
  append: {
    type: 'string',
    requiresArg: true,
    default: 'console=ttyS0 net.ifnames=0 biosdevname=0 nowatchdog mitigations=off',
    describe: 'kernel command line; app=bench-user and app=ukl are added',
  },
  timeout: {
    type: 'string',
    requiresArg: true,
    default: '600',
    describe: 'give up on a guest after this many seconds',
  },
  json: { type: 'string', requiresArg: true, describe: 'write the figures into this file' },
  html: { type: 'string', requiresArg: true, describe: 'write a report into this file' },
} as const satisfies Record<string, Options>;

export type BenchSyscallArguments = InferredOptionTypes<typeof BENCH_SYSCALL_OPTIONS>;

export const BENCH_SYSCALL_EXAMPLES: readonly (readonly [string, string])[] = [
  ['$0 bench syscall', 'instructions and nanoseconds of every operation'],
  ['$0 bench syscall --clock instructions --json a.json', 'exact counts, the same on every run'],
  ['$0 bench syscall --clock host --runs 5 --html report.html', 'times, with a report to look at'],
];

export function benchSyscallOptions<T>(yargs: Argv<T>): Argv<T & BenchSyscallArguments> {
  return yargs.options(BENCH_SYSCALL_OPTIONS) as Argv<T & BenchSyscallArguments>;
}

/** `ukl-emu bench syscall`. Rejects with errors of usage and input. */
export async function benchSyscall(args: BenchSyscallArguments, version: string): Promise<number> {
  const clock = args.clock as 'both' | 'instructions' | 'host';
  const runs = parseWhole('runs', args.runs, MOST_RUNS);
  if (runs === 0) throw new UsageError('--runs 0: at least one run is needed');
  const warmUpMs = parseWhole('warm-up', args['warm-up'], MOST_WARM_UP_MS);
  const note = (text: string): void => void process.stderr.write(`ukl-emu: ${text}\n`);
  const outputs = [await openOutput('json', args.json), await openOutput('html', args.html)] as const;
  try {
    const kernelPath = args.kernel ?? prebuilt('ukl-bench.bzImage', 'kernel');
    const initrdPath = args.initrd ?? prebuilt('initrd.cpio.xz', 'initrd');
    const symbolsPath = args.symbols ?? (await findSymbolFile(kernelPath));
    if (symbolsPath === undefined) {
      throw new UsageError(`--kernel ${kernelPath}: no symbols lie beside it; name them with --symbols`);
    }
    const [kernel, initrd] = await Promise.all([readInput(kernelPath), readInput(initrdPath)]);
    const guest: BenchGuest = {
      kernel,
      initrd,
      map: new KernelMap(await readSymbolFile(symbolsPath)),
      memory: args.memory,
      cpu: args.cpu,
      commandLine: args.append,
      timeoutMs: parseSeconds('timeout', args.timeout),
      note,
    };
    const engine = args.engine as Engine;
    const counts = clock === 'host' ? undefined : await countOperations(guest);
    const timings = clock === 'instructions' ? undefined : await timeOperations(guest, { engine, runs, warmUpMs });
    const operations = combineResults(counts?.regions ?? [], timings ?? []);
    // loaded when it is needed: a boot should not wait for it
    const { createHash } = await import('node:crypto');
    const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
    const result: SyscallBench = {
      schema: 1,
      program: { name: 'ukl-emu', version },
      guest: {
        kernel: kernelPath,
        kernelSha256: sha256(kernel.bytes),
        initrd: initrdPath,
        initrdSha256: sha256(initrd.bytes),
        symbols: symbolsPath,
        cpu: args.cpu,
        memory: args.memory,
        commandLine: args.append,
      },
      instructionClock: counts === undefined ? null : { retired: counts.retired },
      hostClock: timings === undefined ? null : { engine, runs, warmUpMs, ...host() },
      operations,
      paper: paperRows(operations),
    };
    await outputs[0]?.writeFile(`${JSON.stringify(result, undefined, 2)}\n`);
    await outputs[1]?.writeFile(syscallBenchHtml(result));
    process.stdout.write(syscallBenchText(result));
    return EXIT_CODE.ok;
  } catch (error) {
    if (!(error instanceof BenchError)) throw error;
    note(error.message);
    return EXIT_CODE.noMatch;
  } finally {
    for (const output of outputs) await output?.close();
  }
}

function host() {
  return { processor: cpus()[0]?.model ?? 'unknown', node: process.version, date: new Date().toISOString() };
}

/** Opened before the runs, so that a bad path does not cost them. */
async function openOutput(option: string, path: string | undefined): Promise<FileHandle | undefined> {
  if (path === undefined) return undefined;
  try {
    return await open(path, 'w');
  } catch (error) {
    throw new UsageError(`--${option} ${path}: cannot be written: ${(error as Error).message}; name another file`);
  }
}

/** An image of the repository and the package, from the sources, what is built of them, or the bundle. */
function prebuilt(name: string, option: string): string {
  for (const up of ['../../', '../../../', '../']) {
    const path = fileURLToPath(new URL(`${up}images/prebuilt/${name}`, import.meta.url));
    if (existsSync(path)) return path;
  }
  throw new UsageError(`--${option}: images/prebuilt/${name} is missing here; name a file`);
}
