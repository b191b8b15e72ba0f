import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Machine, type MachineOptions } from '../../src/index.ts';

const ROOT = new URL('../../', import.meta.url);
export const BIN = fileURLToPath(new URL('bin/ukl-emu.js', ROOT));

export const prebuilt = (name: string): string => fileURLToPath(new URL(`images/prebuilt/${name}`, ROOT));
export const ECHO_KERNEL = prebuilt('ukl-echo.bzImage');
export const INITRD = prebuilt('initrd.cpio.xz');

/** UKL_EMU_ENGINE=interpreter runs these tests without the translator. */
export const ENGINE = process.env['UKL_EMU_ENGINE'] === 'interpreter' ? 'interpreter' : 'auto';

/** What every UKL kernel is given; `clearcpuid` is apart, since one test leaves it out. */
const CONSOLE = 'console=ttyS0 net.ifnames=0 biosdevname=0 nowatchdog mitigations=off';
export const cmdline = (app: string, extra = 'clearcpuid=smap,smep'): string => `${CONSOLE} ${extra} app=${app}`;

/** A machine with the echo kernel and the prebuilt initrd. */
export function echoMachine(app: string, options: Partial<MachineOptions> = {}): Promise<Machine> {
  return Machine.create({
    kernel: { name: 'ukl-echo.bzImage', bytes: readFileSync(ECHO_KERNEL) },
    initrd: { name: 'initrd.cpio.xz', bytes: readFileSync(INITRD) },
    cmdline: cmdline(app),
    memory: '256M',
    timeoutMs: 100_000,
    engine: ENGINE,
    ...options,
  });
}

/** Everything the machine prints from now on, as text. */
export function recordSerial(machine: Machine): () => string {
  const chunks: Uint8Array[] = [];
  machine.serial.onData((bytes) => chunks.push(bytes));
  return () => Buffer.concat(chunks).toString();
}

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliRun {
  readonly child: ReturnType<typeof spawn>;
  readonly result: Promise<CliResult>;
  /** Resolves when standard output (or error) has matched. */
  output(pattern: RegExp): Promise<RegExpExecArray>;
}

/** Starts the program as a user would. */
export function startCli(args: readonly string[]): CliRun {
  const child = spawn(process.execPath, [BIN, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  const watchers = new Set<() => void>();
  child.stdout.on('data', (bytes: Buffer) => {
    stdout += bytes.toString();
    for (const watch of watchers) watch();
  });
  child.stderr.on('data', (bytes: Buffer) => {
    stderr += bytes.toString();
    for (const watch of watchers) watch();
  });
  const result = new Promise<CliResult>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
  return {
    child,
    result,
    output: (pattern) =>
      new Promise((resolve, reject) => {
        const watch = (): void => {
          const match = pattern.exec(stdout) ?? pattern.exec(stderr);
          if (match === null) return;
          watchers.delete(watch);
          resolve(match);
        };
        watchers.add(watch);
        watch();
        void result.then(({ code }) => reject(new Error(`ended with ${code} before ${pattern}: ${stdout}${stderr}`)));
      }),
  };
}

export function runCli(args: readonly string[], input = ''): Promise<CliResult> {
  const { child, result } = startCli(args);
  child.stdin!.end(input);
  return result;
}
