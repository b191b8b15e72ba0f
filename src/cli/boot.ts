import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { NamedBytes } from '../loader/load.ts';
import { describeExit } from '../machine/exit.ts';
import { Machine } from '../machine/machine.ts';
import type { Observer } from '../machine/observer.ts';
import type { MachineStats } from '../machine/stats.ts';
import type { BootRequest } from './boot-options.ts';
import { openDrives } from './drives.ts';
import { UsageError } from './errors.ts';
import { EXIT_CODE, exitCode } from './exit-codes.ts';
import { readInput } from './files.ts';
import { jitDump as jitDumpInto } from './jit.ts';
import { openNetwork } from './network.ts';
import { progressReporter } from './progress.ts';
import { openSerial } from './serial.ts';
import { catchSignals } from './signals.ts';
import { statsText } from './stats-text.ts';

/** Exit code after the reader of standard output has gone: 128 + SIGPIPE, as a shell shows it. */
const OUTPUT_CLOSED = 141;
/** After the user or --timeout has ended the run, a reader of the console that has stopped reading is waited for no longer than this. */
const PATIENCE_MS = 1000;

/** An initrd that is being unpacked on another thread. */
export interface UnpackedAhead {
  readonly path: string;
  readonly unpacked: Promise<Uint8Array | undefined>;
}

/** `ukl-emu boot`: runs the guest, with `observer` looking on; returns the program's exit code. Rejects with errors of usage and input. */
export async function boot(request: BootRequest, observer?: Observer, ahead?: UnpackedAhead): Promise<number> {
  let machine: Machine | undefined;
  /** Set when something other than the guest ends the run. */
  let ended: number | undefined;
  const note = (line: string): void => void process.stderr.write(`ukl-emu: ${line}\n`);
  const end = (code: number): void => {
    ended ??= code;
    void machine?.stop();
  };
  const signals = catchSignals((code) => {
    if (machine === undefined || machine.exit !== undefined) process.exit(code);
    end(code);
  });
  const cleanUp: (() => Promise<void>)[] = [];
  try {
    const stats = await openStats(request.stats);
    if (stats) cleanUp.push(() => stats.close());
    const [kernel, initrd, modules] = await Promise.all([
      readInput(request.kernel),
      request.initrd === undefined ? undefined : readInput(request.initrd),
      Promise.all(request.modules.map(readModule)),
    ]);
    const { drives, close: closeDrives } = await openDrives(request.drives);
    cleanUp.push(closeDrives);
    const serial = await openSerial(request.serial, {
      quit: () => end(EXIT_CODE.ok),
      outputClosed: () => end(OUTPUT_CLOSED),
      hold: () => machine?.pause(),
      release: () => machine?.resume(),
      note,
    });
    let closing: Promise<void> | undefined;
    const closeSerial = (isInHurry = false): Promise<void> =>
      (closing ??= isInHurry ? Promise.race([serial.close(), delay(PATIENCE_MS)]) : serial.close());
    cleanUp.push(() => closeSerial());
    const net = await openNetwork(request.net, request.pcap, note);
    const progress = progressReporter(note);
    machine = await Machine.create({
      ...machineOptions(request),
      kernel,
      ...(initrd && { initrd: ahead?.path === initrd.name ? { ...initrd, unpacked: ahead.unpacked } : initrd }),
      ...(observer && { observer }),
      modules,
      drives,
      net,
      onProgress: progress,
      // stderr: what a guest writes to the debug console is not its serial output
      onDebugConsole: (bytes) => process.stderr.write(bytes),
      timeOriginNs: 0,
    });
    serial.connect(machine.serial);
    const exit = await machine.run();
    await closeSerial(ended !== undefined || exit.kind === 'timeout');
    if (stats) await writeStats(stats, request.stats, machine.stats());
    else if (request.stats === true) process.stderr.write(statsText(machine.stats()));
    const code = ended ?? exitCode(exit, request.exitOn !== undefined);
    if (ended === undefined && code !== EXIT_CODE.ok && exit.kind !== 'debug-exit') {
      const without = exit.kind === 'power-off' ? ' without the --exit-on match' : '';
      note(`${describeExit(exit)}${without}`);
    }
    return code;
  } finally {
    signals.release();
    for (const close of cleanUp.reverse()) await close();
  }
}

/** FILE[ ARGUMENTS]; the guest gets all of it as the module's command line. */
async function readModule(spec: string): Promise<NamedBytes> {
  const [path = ''] = spec.split(' ');
  return { name: spec, bytes: (await readInput(path)).bytes };
}

function machineOptions(request: BootRequest) {
  const { append, memory, cpu, clock, seed, unpack, engine, jit, jitDump, exitOn, timeoutMs, debugExit, allowReboot } =
    request;
  return {
    cmdline: append,
    memory,
    cpu,
    clock,
    unpack,
    engine,
    jit: { ...jit, ...(jitDump !== undefined && { onModule: jitDumpInto(jitDump) }) },
    debugExit,
    allowReboot,
    ...(seed !== undefined && { seed }),
    ...(exitOn && { exitOn }),
    ...(timeoutMs !== undefined && { timeoutMs }),
  };
}

async function writeStats(file: FileHandle, target: boolean | string, stats: MachineStats): Promise<void> {
  try {
    await file.writeFile(`${JSON.stringify(stats, undefined, 2)}\n`);
  } catch (error) {
    throw new UsageError(`--stats=${target}: ${(error as Error).message}; make room`);
  }
}

/** Opened before the run, so that a bad path does not cost one. */
async function openStats(target: boolean | string): Promise<FileHandle | undefined> {
  if (typeof target === 'boolean') return undefined;
  try {
    return await open(target, 'w');
  } catch (error) {
    throw new UsageError(`--stats=${target}: cannot be written: ${(error as Error).message}; name another file`);
  }
}
