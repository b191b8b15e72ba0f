import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, readFileSync } from 'node:fs';
import { mkdir, open, readFile, rename, rm, statfs } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { RELEASE } from './pins.ts';

/** Something a person has to put right; its message is all they get to see. */
export class Failure extends Error {}

/** Where built images and the directory they are built in are kept; not in git. */
export const BUILD = join(import.meta.dirname, '.build');
export const OUT = join(BUILD, 'out');
export const PREBUILT = join(import.meta.dirname, 'prebuilt');

/** Downloads survive a fresh clone. */
export const CACHE = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'ukl-emu');

const cleanups = new Set<() => Promise<void>>();
const children = new Set<ChildProcess>();

/** Runs `work`; whatever happens, also on Ctrl-C, `cleanup` runs once. */
export async function withCleanup<T>(cleanup: () => Promise<void>, work: () => Promise<T>): Promise<T> {
  cleanups.add(cleanup);
  try {
    return await work();
  } finally {
    // After an interrupt it is the handler's.
    if (cleanups.delete(cleanup)) await cleanup();
  }
}

/** Runs a command-line tool's main function: one line for what a person can put right, a stack for what they cannot. */
export function runMain(tool: string, main: () => Promise<void>): void {
  let interrupted = false;
  const interrupt = async () => {
    if (interrupted) return;
    interrupted = true;
    // A program that still runs would write into what is being removed.
    for (const child of children) child.kill('SIGTERM');
    while (children.size > 0) await setTimeout(50);
    const pending = [...cleanups];
    cleanups.clear();
    await Promise.allSettled(pending.map((cleanup) => cleanup()));
    console.error(`${tool}: interrupted, nothing half-built is left behind`);
    process.exit(130);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
  main().catch((error: unknown) => {
    if (interrupted) return;
    const code = error instanceof Error && 'code' in error ? error.code : '';
    if (error instanceof Failure) console.error(`${tool}: ${error.message}`);
    else if (code === 'ENOSPC') console.error(`${tool}: the disk is full: free some space and run again`);
    else console.error(`${tool}:`, error);
    process.exitCode = 1;
  });
}

export interface RunOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Where its output goes; without one it is only kept for the error message. */
  log?: string;
}

export interface Outcome {
  status: number;
  stdout: Buffer;
  stderr: string;
}

/** Runs a program to its end. */
export async function capture(command: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const log = options.log === undefined ? undefined : await open(options.log, 'a');
  try {
    return await new Promise<Outcome>((resolve, reject) => {
      const output = log?.fd ?? 'pipe';
      const child = spawn(command, args, {
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
        env: options.env ?? process.env,
        stdio: ['ignore', output, output],
      });
      children.add(child);
      const stdout: Buffer[] = [];
      const stderr: Buffer[] = [];
      child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
      child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
      child.once('error', (error: NodeJS.ErrnoException) => {
        children.delete(child);
        reject(error.code === 'ENOENT' ? new Failure(`${command} is not installed`) : error);
      });
      child.once('close', (status, signal) => {
        children.delete(child);
        const text = Buffer.concat(stderr).toString() + (signal === null ? '' : `killed by ${signal}`);
        resolve({ status: status ?? 128, stdout: Buffer.concat(stdout), stderr: text });
      });
    });
  } finally {
    await log?.close();
  }
}

/** Runs a program that must succeed, and returns what it wrote. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Buffer> {
  const { status, stdout, stderr } = await capture(command, args, options);
  if (status === 0) return stdout;
  const text = options.log === undefined ? stderr : await readFile(options.log, 'utf8');
  // On a full disk the log may have nothing to say about it.
  const full = options.log !== undefined && (await freeGigabytes(dirname(options.log))) < 0.05;
  if (full || /No space left on device/.test(text))
    throw new Failure('the disk is full: free some space and run again');
  const lines = text.trim().split('\n');
  const said = lines.find((line) => /\berror:|\*\*\*|^E: /i.test(line)) ?? lines.at(-1) ?? '';
  const where = options.log === undefined ? '' : ` (all of it in ${options.log})`;
  throw new Failure(`${command} failed with status ${status}: ${said.trim()}${where}`);
}

export async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest('hex');
}

/** A directory that appears with all it should contain, or not at all. */
export async function replaceDirectory(path: string, fill: (path: string) => Promise<void>): Promise<void> {
  const fresh = `${path}.new-${process.pid}`;
  const remove = () => rm(fresh, { recursive: true, force: true });
  await withCleanup(remove, async () => {
    await remove();
    await mkdir(fresh, { recursive: true });
    await fill(fresh);
    await rm(path, { recursive: true, force: true });
    await rename(fresh, path);
  });
}

/** Processor seconds used so far by the programs that were run, in user and kernel mode together. */
export function childCpuSeconds(): number {
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[13]) + Number(fields[14])) / 100;
}

async function freeGigabytes(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return (bavail * bsize) / 1e9;
}

export async function requireSpace(directory: string, gigabytes: number): Promise<void> {
  await mkdir(directory, { recursive: true });
  const free = await freeGigabytes(directory);
  if (free < gigabytes)
    throw new Failure(`${directory} has ${free.toFixed(1)} GB of free space and the build needs ${gigabytes} GB`);
}

export function requireRelease(): void {
  let text = '';
  try {
    text = readFileSync('/etc/os-release', 'utf8');
  } catch {}
  const field = (name: string) => new RegExp(`^${name}="?([^"\n]*)`, 'm').exec(text)?.[1] ?? '';
  if (field('ID') === RELEASE.id && field('VERSION_CODENAME') === RELEASE.codename) return;
  const here = field('PRETTY_NAME') || process.platform;
  throw new Failure(
    `this is ${here}; the images are built on Debian 12 (${RELEASE.codename}) only, e.g. in a container`,
  );
}
