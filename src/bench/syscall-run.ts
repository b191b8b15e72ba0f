import { describeExit } from '../machine/exit.ts';
import { Machine } from '../machine/machine.ts';
import type { Engine, File } from '../machine/options.ts';
import type { KernelMap } from '../profile/kernel-map.ts';
import { type RegionCount, RegionCounter } from './region-counter.ts';
import { BENCH_DONE, type GuestTiming, mergeTimings, parseBenchLines } from './syscall-lines.ts';

/** The guest did not do what the benchmark needs; one line that says what and what to do. */
export class BenchError extends Error {
  override readonly name = 'BenchError';
}

/** A guest with syscall-bench twice: as an ordinary program in the initrd, and linked into the kernel. */
export interface BenchGuest {
  readonly kernel: File;
  readonly initrd: File;
  readonly map: KernelMap;
  readonly memory: string;
  readonly cpu: string;
  /** Kernel command line without `app=`. */
  readonly commandLine: string;
  readonly timeoutMs: number;
  /** Says what is being done. */
  readonly note: (text: string) => void;
}

/** Which program measures: `bench-user` makes system calls by SYSCALL, `ukl` by call and, where the kernel has it, bypass. */
const APPLICATIONS = ['bench-user', 'ukl'] as const;

export interface Counts {
  readonly regions: readonly RegionCount[];
  /** Instructions of the whole runs. */
  readonly retired: number;
}

/** Counts what every operation executes, on the instruction clock: the same figures on every run. */
export async function countOperations(guest: BenchGuest): Promise<Counts> {
  const regions: RegionCount[] = [];
  let retired = 0;
  for (const application of APPLICATIONS) {
    guest.note(`counting instructions: app=${application}`);
    const counter = new RegionCounter(guest.map);
    const { machine } = await runGuest(guest, application, {
      clock: 'instructions',
      engine: 'interpreter',
      observer: counter,
    });
    const counted = counter.results();
    if (counted.length === 0) {
      throw new BenchError(
        `app=${application}: the guest marked no region; use a syscall-bench with markers (docs/markers.md)`,
      );
    }
    regions.push(...counted);
    retired += machine.stats().instructions;
  }
  return { regions, retired };
}

/** How time is measured. */
export interface Timing {
  readonly engine: Engine;
  readonly runs: number;
  /** Each operation is repeated for so many milliseconds before it is measured. */
  readonly warmUpMs: number;
}

/** Times every operation on the host's clock, as the guest sees it. */
export async function timeOperations(guest: BenchGuest, { engine, runs, warmUpMs }: Timing): Promise<GuestTiming[]> {
  const timings: GuestTiming[][] = [];
  for (let run = 1; run <= runs; run++) {
    const timed: GuestTiming[] = [];
    for (const application of APPLICATIONS) {
      guest.note(`measuring time: app=${application}, run ${run} of ${runs}`);
      const { text } = await runGuest(guest, `${application} arg=${warmUpMs}`, { clock: 'host', engine });
      timed.push(...parseBenchLines(text));
    }
    timings.push(timed);
  }
  return mergeTimings(timings);
}

interface RunOptions {
  readonly clock: 'host' | 'instructions';
  readonly engine: Engine;
  readonly observer?: RegionCounter;
}

async function runGuest(guest: BenchGuest, application: string, options: RunOptions) {
  const { kernel, initrd, memory, cpu, commandLine, timeoutMs } = guest;
  const cmdline = `${commandLine} app=${application}`;
  const machine = await Machine.create({
    kernel,
    initrd,
    memory,
    cpu,
    cmdline,
    timeoutMs,
    exitOn: BENCH_DONE,
    ...options,
  });
  let text = '';
  const decoder = new TextDecoder();
  machine.serial.onData((bytes) => {
    text += decoder.decode(bytes, { stream: true });
  });
  const exit = await machine.run();
  if (exit.kind !== 'matched') {
    const tail = JSON.stringify(text.slice(-200));
    throw new BenchError(
      `app=${application}: ${describeExit(exit)} before "UKL-BENCH done"; the output ends with ${tail}`,
    );
  }
  return { machine, text };
}
