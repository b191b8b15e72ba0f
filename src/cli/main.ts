import { readFileSync } from 'node:fs';
import yargs, { type Argv } from 'yargs';
import { markBareOptions } from './arguments.ts';
import { BENCH_SYSCALL_EXAMPLES, benchSyscall, benchSyscallOptions } from './bench-syscall.ts';
import { boot, type UnpackedAhead } from './boot.ts';
import { BOOT_EXAMPLES, bootOptions, parseBootArguments } from './boot-options.ts';
import { cpuList, cpuShow } from './cpu.ts';
import { inputErrorLine, internalErrorText, UsageError } from './errors.ts';
import { EXIT_CODE } from './exit-codes.ts';
import { inspect } from './inspect.ts';
import { LOCKSTEP_EXAMPLES, lockstep, lockstepOptions } from './lockstep.ts';
import { profile } from './profile.ts';
import { PROFILE_EXAMPLES, parseProfileArguments, profileOptions } from './profile-options.ts';

/** Columns of the help, so that it is the same everywhere. */
const HELP_WIDTH = 110;

/** Runs the command line `args` (without node and script) and ends the process with its exit code. `ahead`: from bin/ahead.js. */
export async function main(args: readonly string[], ahead?: UnpackedAhead): Promise<void> {
  const version = packageVersion();
  // should the event loop run dry before there is a result, that is no success
  process.exitCode = EXIT_CODE.internal;
  process.on('uncaughtException', (error) => {
    process.stderr.write(`${internalErrorText(error, version, args)}\n`);
    process.exit(EXIT_CODE.internal);
  });
  process.exit(await runCommand(args, version, ahead));
}

/** As `main`, but returns the exit code. */
export async function runCommand(args: readonly string[], version: string, ahead?: UnpackedAhead): Promise<number> {
  try {
    return await parseAndRun(args, version, ahead);
  } catch (error) {
    const line = inputErrorLine(error);
    process.stderr.write(`${line === undefined ? internalErrorText(error, version, args) : `ukl-emu: ${line}`}\n`);
    return line === undefined ? EXIT_CODE.internal : EXIT_CODE.usage;
  }
}

async function parseAndRun(args: readonly string[], version: string, ahead?: UnpackedAhead): Promise<number> {
  let run: (() => number | Promise<number>) | undefined;
  const chosen = (command: Command): void => {
    run = command;
  };
  const parser = commandLine(version, chosen, ahead);
  const output = await new Promise<string>((resolve, reject) => {
    void parser.parse(markBareOptions(args), {}, (error, _argv, text) => {
      if (error) reject(error);
      else resolve(text);
    });
  });
  if (output !== '') process.stdout.write(`${output}\n`);
  return run === undefined ? EXIT_CODE.ok : await run();
}

type Command = () => number | Promise<number>;

/** The program's commands; `chosen` gets the one that a command line asks for. */
function commandLine(version: string, chosen: (command: Command) => void, ahead?: UnpackedAhead): Argv {
  return yargs()
    .scriptName('ukl-emu')
    .usage('$0 COMMAND [OPTIONS]\n\nAn x86-64 PC that boots Linux and unikernels.')
    .command(
      'boot <kernel>',
      'boot a kernel',
      (y) => bootOptions(y).example(BOOT_EXAMPLES.map(([command, text]) => [command, text])),
      (args) => {
        rejectRepeated(args);
        const request = parseBootArguments(args);
        chosen(() => boot(request, undefined, ahead));
      },
    )
    .command(
      'lockstep <kernel>',
      'run one boot on two engines and stop where they differ',
      (y) => lockstepOptions(y).example(LOCKSTEP_EXAMPLES.map(([command, text]) => [command, text])),
      (args) => {
        rejectRepeated(args);
        chosen(() => lockstep(args));
      },
    )
    .command(
      'inspect <kernel>',
      'show what a kernel file holds',
      (y) =>
        y
          .positional('kernel', { type: 'string', demandOption: true, describe: 'bzImage or ELF' })
          .option('json', { type: 'boolean', default: false, describe: 'as JSON' })
          .example('$0 inspect bzImage --json', 'header fields for a script'),
      (args) => chosen(() => inspect(args.kernel, args.json)),
    )
    .command('cpu', 'CPU models and features', (y) =>
      y
        .command('list', 'models and features that --cpu takes', {}, () => chosen(cpuList))
        .command(
          'show <model>',
          'features of MODEL[,+feature][,-feature]',
          (z) =>
            z
              .positional('model', { type: 'string', demandOption: true, describe: 'as for boot --cpu' })
              .example('$0 cpu show x86-64-v2,-smap', 'what a guest sees'),
          (args) => chosen(() => cpuShow(args.model)),
        )
        .demandCommand(1, 'name what to do: list or show'),
    )
    .command(
      'profile <kernel>',
      'boot a kernel and sample where it spends its instructions',
      (y) => profileOptions(y).example(PROFILE_EXAMPLES.map(([command, text]) => [command, text])),
      (args) => {
        rejectRepeated(args);
        const request = parseProfileArguments(args);
        chosen(() => profile(request));
      },
    )
    .command('bench', 'measure a guest', (y) =>
      y
        .command(
          'syscall',
          'system calls by instruction, by call and by function: instructions and time',
          (z) => benchSyscallOptions(z).example(BENCH_SYSCALL_EXAMPLES.map(([command, text]) => [command, text])),
          (args) => {
            rejectRepeated(args);
            chosen(() => benchSyscall(args, version));
          },
        )
        .demandCommand(1, 'name what to measure: syscall'),
    )
    .demandCommand(1, 'name a command: boot, lockstep, inspect, cpu or bench')
    .strict()
    .parserConfiguration({
      'parse-numbers': false,
      'parse-positional-numbers': false,
      'dot-notation': false,
      'boolean-negation': false,
      'greedy-arrays': false,
      'camel-case-expansion': false,
    })
    .fail((message, error) => {
      // yargs reports a missing value as an error of its own
      if (error !== undefined && error.name !== 'YError') throw error;
      throw new UsageError(`${oneLine(message ?? error.message)}; see: ukl-emu --help`);
    })
    .wrap(HELP_WIDTH)
    .help()
    .version(version)
    .epilogue('Documentation: docs/cli.md');
}

/** An option given twice arrives as an array. */
function rejectRepeated(args: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(args)) {
    if (Array.isArray(value) && !['_', 'drive', 'module', 'net'].includes(name)) {
      throw new UsageError(`--${name} is given ${value.length} times; give it once`);
    }
  }
}

function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, ' ');
}

/** From package.json, which lies two directories up from the sources, three from what is built of them, one from the bundle. */
export function packageVersion(): string {
  for (const up of ['../../package.json', '../../../package.json', '../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(up, import.meta.url), 'utf8'));
      if (name === 'ukl-emu') return String(version);
    } catch {
      // not here
    }
  }
  return 'unknown';
}
