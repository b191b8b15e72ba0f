import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Machine } from './machine/machine.ts';
import type { File, MachineOptions } from './machine/options.ts';
import { createNet } from './net/create.ts';
import { captured } from './net/pcap.ts';

/** Tests that boot a guest: `ukl-emu/testing`. Works with any test runner; vitest's and Node's are told of the guest's end. */

const DEFAULT_TIMEOUT_MS = 60_000;
/** Of the serial output and of the network, this many bytes are kept for a failure. */
const KEPT_BYTES = 32 << 20;

export interface GuestOptions extends Omit<MachineOptions, 'kernel' | 'initrd' | 'net'> {
  /** A path, or bytes. */
  readonly kernel: string | File;
  readonly initrd?: string | File;
  /** As after `--net`; one card for each. */
  readonly net?: string | readonly string[];
  /** Directory for what is kept of a guest whose test failed; default `test-artefacts`. */
  readonly artefacts?: string;
}

/** What a test runner hands to a test, as far as it is used here: vitest's context, or that of node:test. */
export interface TestContext {
  onTestFinished?(callback: () => Promise<void>): void;
  onTestFailed?(callback: () => Promise<void>): void;
  after?(callback: () => Promise<void>): void;
  readonly passed?: boolean;
  readonly name?: string;
  readonly task?: { readonly name: string };
}

interface Recording {
  readonly directory: string;
  readonly serial: Uint8Array[];
  readonly networks: Uint8Array[][];
  kept: number;
}

const recordings = new WeakMap<Machine, Recording>();

/**
 * Boots a guest and lets it run. It ends with the test whose context is given, or else with `await using` or `machine.stop()`. If the
 * test fails, serial output, statistics and network traffic are kept (see `keepArtefacts`).
 */
export async function bootGuest(options: GuestOptions, context: TestContext = {}): Promise<Machine> {
  const { kernel, initrd, net = [], artefacts = 'test-artefacts', ...rest } = options;
  const name = context.task?.name ?? context.name ?? 'guest';
  const recording: Recording = {
    directory: join(artefacts, `${name.replace(/[^a-z0-9]+/gi, '-').slice(0, 60)}-${Date.now()}`),
    serial: [],
    networks: [],
    kept: 0,
  };
  const nets = await Promise.all((typeof net === 'string' ? [net] : net).map((spec) => createNet(spec)));
  const cards = nets.map((made) => {
    if (made.backend === undefined) return made;
    const frames: Uint8Array[] = [];
    recording.networks.push(frames);
    return { ...made, backend: captured(made.backend, (bytes) => keep(recording, frames, bytes)) };
  });
  let machine: Machine;
  try {
    machine = await Machine.create({
      ...rest,
      kernel: await file(kernel),
      ...(initrd !== undefined && { initrd: await file(initrd) }),
      net: cards,
    });
  } catch (error) {
    await Promise.all(nets.map(({ backend }) => backend?.close()));
    throw error;
  }
  recordings.set(machine, recording);
  machine.serial.onData((bytes) => keep(recording, recording.serial, bytes.slice()));
  const stop = async (): Promise<void> => void (await machine.stop());
  context.onTestFailed?.(async () => void (await keepArtefacts(machine)));
  if (context.onTestFinished) context.onTestFinished(stop);
  else {
    context.after?.(async () => {
      if (context.passed === false) await keepArtefacts(machine);
      await stop();
    });
  }
  // A defect of the emulator shows in whatever the test waits for next.
  machine.run().catch(() => {});
  return machine;
}

async function file(source: string | File): Promise<File> {
  return typeof source === 'string' ? { name: source, bytes: await readFile(source) } : source;
}

function keep(recording: Recording, list: Uint8Array[], bytes: Uint8Array): void {
  if (recording.kept + bytes.length > KEPT_BYTES) return;
  recording.kept += bytes.length;
  list.push(bytes);
}

/**
 * Writes `serial.log`, `stats.json` and a `net.pcap` for each card of a guest from `bootGuest` to a directory of its own; returns its
 * path.
 */
export async function keepArtefacts(machine: Machine): Promise<string> {
  const recording = recordings.get(machine);
  if (recording === undefined) throw new Error('this machine does not come from bootGuest');
  const { directory, serial, networks } = recording;
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, 'serial.log'), Buffer.concat(serial));
  await writeFile(join(directory, 'stats.json'), `${JSON.stringify(machine.stats(), undefined, 2)}\n`);
  for (const [index, frames] of networks.entries()) {
    await writeFile(join(directory, index === 0 ? 'net.pcap' : `net${index}.pcap`), Buffer.concat(frames));
  }
  return directory;
}

/**
 * Waits until the serial output after the previous match matches `pattern`. Rejects, with the output's end in the message, after
 * `timeoutMs` or if the machine ends first.
 */
export async function expectSerial(
  machine: Machine,
  pattern: RegExp,
  timeoutMs: number = DEFAULT_TIMEOUT_MS,
): Promise<RegExpExecArray> {
  return await machine.waitFor(pattern, timeoutMs);
}

export interface ShellResult {
  /** What the command printed, lines ending in `\n`. */
  readonly output: string;
  /** Its exit status. */
  readonly status: number;
}

export interface GuestShell {
  /** Runs one line of shell in the guest. Rejects after `timeoutMs` or if the machine ends. One at a time. */
  run(command: string, timeoutMs?: number): Promise<ShellResult>;
}

/**
 * A shell at the guest's serial console, which has to show a prompt sooner or later: any that knows `echo` and `$?`. It waits for
 * nothing but what its own commands print.
 */
export function guestShell(machine: Machine): GuestShell {
  let count = 0;
  let previous: Promise<unknown> = Promise.resolve();
  const run = async (command: string, timeoutMs: number): Promise<ShellResult> => {
    if (/[\r\n]/.test(command)) throw new RangeError('one line at a time: join commands with ";"');
    const id = ++count;
    // The terminal shows what is typed: the marks are typed otherwise than they are printed.
    const begin = `echo UKL-EMU-"BEGIN"-${id}`;
    const end = `echo UKL-EMU-"END"-${id}-$?-`;
    const separator = command.trimEnd().endsWith('&') ? ' ' : '; ';
    await machine.serial.write(`${begin}; ${command}${separator}${end}\n`);
    const mark = new RegExp(`UKL-EMU-BEGIN-${id}\\r?\\n([\\s\\S]*?)UKL-EMU-END-${id}-(\\d+)-`);
    const [, output = '', status = ''] = await expectSerial(machine, mark, timeoutMs);
    return { output: output.replaceAll('\r\n', '\n'), status: Number(status) };
  };
  return {
    run(command, timeoutMs = DEFAULT_TIMEOUT_MS) {
      const result = previous.then(() => run(command, timeoutMs));
      previous = result.catch(() => {});
      return result;
    },
  };
}
