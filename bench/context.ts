import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { packageVersion } from '../src/cli/main.ts';
import { BOCHS_CPU, type Bochs } from './bochs.ts';
import { EMULATOR_CPU, QEMU_CPU, qemuVersion } from './engines.ts';
import type { V86 } from './v86.ts';

/** Where and with what figures were taken. */
export interface Environment {
  /** Day of the run, ISO 8601. */
  readonly date: string;
  readonly processor: string;
  readonly processors: number;
  readonly system: string;
  readonly node: string;
  readonly v8: string;
  readonly qemu: string | undefined;
  readonly bochs: string | undefined;
  readonly v86: string | undefined;
  readonly ukl: string;
  /** Commit of the checkout, with + if files were changed. */
  readonly commit: string;
  readonly cpuModels: Readonly<Record<string, string>>;
  /** Processes waiting for the processors before the run: above about half the processors, wall times say little. */
  readonly load: number;
}

/** What every experiment gets. */
export interface Context {
  readonly quick: boolean;
  readonly runs: number;
  /** Undefined where they are not installed. */
  readonly qemu: string | undefined;
  readonly bochs: Bochs | undefined;
  readonly v86: V86 | undefined;
  readonly debianDirectory: string;
  readonly progress: (text: string) => void;
}

export function environment({ bochs, v86 }: Partial<Pick<Context, 'bochs' | 'v86'>> = {}): Environment {
  return {
    date: new Date().toISOString().slice(0, 10),
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    processors: cpus().length,
    system: `Linux ${release()}`,
    node: process.versions.node,
    v8: process.versions.v8,
    qemu: qemuVersion(),
    bochs: bochs?.version,
    v86: v86?.version,
    ukl: packageVersion(),
    commit: commit(),
    cpuModels: { 'ukl-emu': EMULATOR_CPU, qemu: QEMU_CPU, bochs: BOCHS_CPU },
    load: Number(readFileSync('/proc/loadavg', 'latin1').split(' ')[0]),
  };
}

function commit(): string {
  const git = (...args: string[]): string =>
    execFileSync('git', ['-C', join(import.meta.dirname, '..'), ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  try {
    return (
      git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '--untracked-files=no', 'src') ? '+' : '')
    );
  } catch {
    return 'unknown';
  }
}
