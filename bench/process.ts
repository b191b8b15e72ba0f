import { spawn } from 'node:child_process';
import { constants, openSync, readdirSync, readFileSync } from 'node:fs';
import { Socket } from 'node:net';

/** Text that a program wrote, and what it had cost until then. */
export interface Mark {
  readonly line: string;
  /** Milliseconds since the program was started. */
  readonly wallMs: number;
  /** Processor seconds, user and system, of all its threads. */
  readonly cpuSeconds: number;
}
export interface Measured {
  readonly marks: readonly Mark[];
  readonly wallMs: number;
  readonly cpuSeconds: number;
  /** The most memory it had resident, bytes. */
  readonly peakBytes: number;
  /** It was ended by its limit, not by its output. */
  readonly stopped: boolean;
}
export interface Measurement {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** A FIFO that it writes its output to, instead of standard output. */
  readonly console?: string;
  /** The program is ended when its output matches. */
  readonly until: RegExp;
  /** Lines to be noted with their time. */
  readonly lines?: RegExp;
  /** Wall time after which it has failed; with a `cpuLimitSeconds` it is ended as by that. */
  readonly timeoutSeconds: number;
  /** Processor seconds after which it is ended, and what there is until then is the result. */
  readonly cpuLimitSeconds?: number;
}

/** Clock ticks a second in /proc/PID/stat: USER_HZ, 100 on every Linux of x86-64 and arm64. */
const TICKS = 100;
/** How often a limit of processor time is looked at. */
const LIMIT_CHECK_MS = 250;

/**
 * Runs a program until its output matches, then kills it. What it has cost is read from /proc at that moment (Linux
 * only), so nothing but the program itself is counted, and nothing after the match.
 */
export function measure(measurement: Measurement): Promise<Measured> {
  const { command, args, env, until, lines, timeoutSeconds, cpuLimitSeconds } = measurement;
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(env && { env: { ...process.env, ...env } }),
    });
    const cpuSecondsOf = child.pid === undefined ? () => 0 : processorClock(child.pid);
    const fifo = measurement.console === undefined ? undefined : openFifo(measurement.console);
    let output = '';
    let errors = '';
    let searched = 0;
    let settled = false;
    const marks: Mark[] = [];
    const settle = (act: () => void): void => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      clearInterval(limiter);
      child.kill('SIGKILL');
      fifo?.destroy();
      act();
    };
    const fail = (what: string): void => {
      const said = (errors.trim() || output.trim()).split('\n').slice(-3).join(' | ').slice(-300);
      settle(() => reject(new Error(`${command} ${what}; its last words: ${said}`)));
    };
    const finish = (wallMs: number, cpuSeconds: number, stopped: boolean): void => {
      const peakBytes = peakBytesOf(child.pid!);
      settle(() => resolve({ marks, wallMs, cpuSeconds, peakBytes, stopped }));
    };
    const stop = (): void => finish(performance.now() - started, cpuSecondsOf(), true);
    const timer = setTimeout(() => {
      if (cpuLimitSeconds === undefined) fail(`did not get to ${until} in ${timeoutSeconds} s`);
      else stop();
    }, timeoutSeconds * 1000);
    const checkLimit = (limit: number): void => {
      if (cpuSecondsOf() >= limit) stop();
    };
    const limiter =
      cpuLimitSeconds === undefined ? undefined : setInterval(checkLimit, LIMIT_CHECK_MS, cpuLimitSeconds);
    child.once('error', (error) => settle(() => reject(error)));
    child.once('close', (status, signal) => fail(`ended (${signal ?? status}) before ${until}`));
    child.stderr.on('data', (chunk: Buffer) => {
      errors = (errors + chunk.toString('latin1')).slice(-4096);
    });
    if (fifo) child.stdout.resume();
    (fifo ?? child.stdout).on('data', (chunk: Buffer) => {
      if (settled || child.pid === undefined) return;
      const wallMs = performance.now() - started;
      const cpuSeconds = cpuSecondsOf();
      output += chunk.toString('latin1');
      for (let end = output.indexOf('\n', searched); end >= 0; end = output.indexOf('\n', searched)) {
        const line = output.slice(searched, end).trim();
        searched = end + 1;
        if (lines?.test(line)) marks.push({ line, wallMs, cpuSeconds });
      }
      if (until.test(output)) finish(wallMs, cpuSeconds, false);
    });
  });
}

/** Opened for writing too: it has no end while nobody has opened it yet, and opening does not wait for a writer. */
function openFifo(path: string): Socket {
  return new Socket({ fd: openSync(path, constants.O_RDWR | constants.O_NONBLOCK), writable: false });
}

/**
 * Reads the processor seconds of a process: exact to a few milliseconds where the kernel has /proc/PID/task/TID/schedstat, whose
 * first field is nanoseconds of running, else to a clock tick. Threads that have ended are missing there but not in the ticks; what they
 * have used is added as soon as it shows.
 */
function processorClock(pid: number): () => number {
  let ended = 0;
  let last = 0;
  return () => {
    const ticks = tickSecondsOf(pid);
    // it has exited and what it wrote is read only now
    if (ticks === undefined) return last;
    const running = threadSecondsOf(pid);
    if (running === undefined) return (last = ticks);
    if (running + ended < ticks - 1 / TICKS) ended = ticks - running;
    return (last = running + ended);
  };
}

function tickSecondsOf(pid: number): number | undefined {
  // the name, field 2, may contain anything
  const fields = readIfThere(`/proc/${pid}/stat`)?.split(') ').at(-1)?.split(' ');
  return fields && (Number(fields[11]) + Number(fields[12])) / TICKS;
}

function threadSecondsOf(pid: number): number | undefined {
  try {
    const threads = readdirSync(`/proc/${pid}/task`);
    const nanoseconds = threads.map((thread) =>
      Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0]),
    );
    return nanoseconds.reduce((sum, value) => sum + value, 0) / 1e9;
  } catch {
    return undefined;
  }
}

/** 0 when it has exited. */
function peakBytesOf(pid: number): number {
  const kilobytes = /VmHWM:\s+(\d+) kB/.exec(readIfThere(`/proc/${pid}/status`) ?? '')?.[1];
  return Number(kilobytes ?? 0) * 1024;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}
