import { withBochs } from './bochs.ts';
import type { Context } from './context.ts';
import { type Command, emulator, type GuestRun, qemu } from './engines.ts';
import { buildGuestProgram, type GuestProgram, type Width } from './guest/build.ts';
import { ECHO_KERNEL } from './images.ts';
import { type Mark, type Measured, measure } from './process.ts';
import { geometricMean, interleaved, median, type Subject, spread } from './sampling.ts';
import { LINUX_686, runsHere, v86 } from './v86.ts';

/** One test in one run. */
export interface TestSample {
  /** Operations of a round. */
  readonly operations: number;
  /** Of each round: an emulator's from outside, a native program's as it has read them itself. */
  readonly cpuSeconds: readonly number[];
  readonly nanoseconds: readonly number[];
}
export interface ComputeSample {
  readonly tests: Readonly<Record<string, TestSample>>;
  readonly cpuSeconds: number;
  readonly wallMs: number;
  readonly peakBytes: number;
  /** Processor features as the guest's kernel lists them. */
  readonly flags: readonly string[];
  /** Up to the first test: the boot. */
  readonly bootCpuSeconds: number;
  /** Its limit ended it, and the tests that were not over by then are missing. */
  readonly stopped: boolean;
}
export interface TestRow {
  readonly name: string;
  /** CPU seconds of all rounds, medians of the runs, by engine; engines that did not get to its end are missing. */
  readonly cpuSeconds: Readonly<Record<string, number>>;
  /** Operations a CPU second in the better half of the rounds: translated code has settled. */
  readonly warmPerSecond: Readonly<Record<string, number>>;
  /** ukl-emu's time / QEMU's, cold and warm. */
  readonly ratio?: number;
  readonly warmRatio?: number;
}
export interface ComputeResult {
  readonly program: string;
  readonly bits: Width;
  readonly memoryMegabytes: number;
  /** In the order of their columns. */
  readonly engines: readonly string[];
  readonly rows: readonly TestRow[];
  readonly geomean?: number;
  readonly warmGeomean?: number;
  readonly worst?: { readonly name: string; readonly ratio: number };
  /** ukl-emu against ukl-emu: what a ratio is when nothing differs. */
  readonly null?: { readonly geomean: number; readonly worst: number };
  /** CPU seconds from the start of the process to the first test. */
  readonly bootCpuSeconds: Readonly<Record<string, number>>;
  /** CPU seconds after which an engine was stopped, for those that were. */
  readonly stoppedAfter: Readonly<Record<string, number>>;
  /** Largest spread of a test's CPU seconds between runs of one engine. */
  readonly spread: number;
  readonly peakBytes: Readonly<Record<string, number>>;
  /** Features that only one of ukl-emu's and another engine's guest has, by engine. */
  readonly flagDifferences: Readonly<Record<string, FlagDifferences>>;
}
export interface FlagDifferences {
  /** ukl-emu's guest lists them, the other does not. */
  readonly missing: readonly string[];
  readonly more: readonly string[];
}

const MEMORY = 256;
/** Per cent of the operations with --quick: booting the 32-bit kernel takes its time too. */
const QUICK_SCALE: Readonly<Record<Width, number>> = { 64: 40, 32: 20 };
/** Of each test, as the program has it. */
const ROUNDS = 5;
const TIMEOUT = 600;
/** Made up by the kernel from the vendor or the clock, or said by both vendors under another name. */
const NOT_FEATURES = new Set(
  'constant_tsc tsc_known_freq rep_good nopl cpuid extd_apicid vmmcall arat nonstop_tsc'.split(' '),
);

/** Optional engines do not run to any end: processor seconds, with --quick and without. Bochs runs once. */
const SLOW_LIMIT = { quick: 90, full: 300 };
/** Wall time over processor time that it may take: a machine may be busy. */
const SLOWEST = 4;

/** The 64-bit set. */
export function computeSet(context: Context): Promise<ComputeResult> {
  return compute({ ...context, v86: undefined }, 64);
}

/** The same tests as 32-bit program under Debian's 32-bit kernel: what v86 can run too. */
export function computeSet32(context: Context): Promise<ComputeResult> {
  return compute({ ...context, bochs: undefined }, 32);
}

async function compute(context: Context, bits: Width): Promise<ComputeResult> {
  const program = buildGuestProgram(bits);
  const scale = context.quick ? QUICK_SCALE[bits] : 100;
  const subject = (name: string, command: Command): Subject<ComputeSample> => ({ name, once: () => sample(command) });
  const guest = guestRun(program, `scale=${scale}`, bits === 64 ? ECHO_KERNEL : LINUX_686);
  const nulls = bits === 64 ? await nullRatios(context, guest) : [];
  const { qemu: hasQemu, bochs, v86: package_ } = context;
  const limit = SLOW_LIMIT[context.quick ? 'quick' : 'full'];
  const subjects: Subject<ComputeSample>[] = [
    subject('ukl-emu', emulator(guest)),
    ...(hasQemu ? [subject('qemu', qemu(guest))] : []),
    ...(package_ ? [{ name: 'v86', once: () => sample(v86(package_, guest), { limit }) }] : []),
    ...(bochs
      ? [{ name: 'bochs', runs: 1, once: () => withBochs(bochs, guest, (command) => sample(command, { limit })) }]
      : []),
    ...(runsHere(program.program)
      ? [
          {
            name: 'native',
            once: () => sample({ command: program.program, args: [] }, { env: { scale: String(scale) } }),
          },
        ]
      : []),
  ];
  const samples = await interleaved(context.runs, subjects, context.progress);
  return summarise(program.sha256, bits, samples, nulls);
}

/** Times of each test in one run of ukl-emu over those in another. */
async function nullRatios(context: Context, guest: GuestRun): Promise<number[]> {
  context.progress('null run, the same engine twice');
  const once = (): Promise<ComputeSample> => sample(emulator(guest));
  const { a, b } = await interleaved(
    1,
    ['a', 'b'].map((name) => ({ name, once })),
    context.progress,
  );
  const [first, second] = [a![0]!.tests, b![0]!.tests];
  return Object.keys(first).map((name) => seconds(second[name]!) / seconds(first[name]!));
}

export function guestRun({ initrd }: GuestProgram, words: string, kernel = ECHO_KERNEL): GuestRun {
  return {
    kernel,
    initrd,
    append: `console=ttyS0 nowatchdog mitigations=off quiet ${words}`,
    memoryMegabytes: MEMORY,
  };
}

interface SampleOptions {
  /** Of a program that runs natively: it measures its own processor time. */
  readonly env?: Readonly<Record<string, string>>;
  /** Processor seconds after which what there is is the result. */
  readonly limit?: number;
}

async function sample(command: Command, { env, limit }: SampleOptions = {}): Promise<ComputeSample> {
  const measured = await measure({
    ...command,
    until: /BENCH done/,
    lines: /BENCH/,
    timeoutSeconds: limit === undefined ? TIMEOUT : SLOWEST * limit,
    ...(limit !== undefined && { cpuLimitSeconds: limit }),
    ...(env && { env }),
  });
  return parseCompute(measured, env !== undefined);
}

/** The rounds of each test from the lines of a run. */
export function parseCompute(measured: Measured, native: boolean): ComputeSample {
  const { marks, cpuSeconds, wallMs, peakBytes, stopped } = measured;
  const tests: Record<string, { operations: number; cpuSeconds: number[]; nanoseconds: number[] }> = {};
  let flags: string[] = [];
  let before: Mark | undefined;
  for (const mark of marks) {
    flags = /BENCH-CPU (.*)/.exec(mark.line)?.[1]?.split(' ') ?? flags;
    const round = /BENCH (\S+) (\d+) (\d+) (\d+) (\d+)$/.exec(mark.line);
    if (round && before) {
      const [, name = '', , operations, ns, used] = round;
      const test = (tests[name] ??= { operations: Number(operations), cpuSeconds: [], nanoseconds: [] });
      test.nanoseconds.push(Number(ns));
      test.cpuSeconds.push(native ? Number(used) / 1e9 : mark.cpuSeconds - before.cpuSeconds);
    }
    before = mark;
  }
  const last = Object.keys(tests).at(-1);
  // the test during which it was stopped
  if (stopped && last !== undefined && tests[last]!.cpuSeconds.length < ROUNDS) delete tests[last];
  const bootCpuSeconds = marks.find(({ line }) => line.includes('BENCH-BEGIN'))?.cpuSeconds ?? cpuSeconds;
  return { tests, cpuSeconds, wallMs, peakBytes, flags, bootCpuSeconds, stopped };
}

const seconds = (test: TestSample): number =>
  Math.max(
    0.001,
    test.cpuSeconds.reduce((sum, value) => sum + value, 0),
  );

/** The two best of five rounds together: one alone would be at the mercy of the clock's resolution. */
function warmRate({ operations, cpuSeconds }: TestSample): number {
  const best = cpuSeconds.toSorted((a, b) => a - b).slice(0, Math.max(1, cpuSeconds.length >> 1));
  return (
    (operations * best.length) /
    Math.max(
      0.0005,
      best.reduce((sum, value) => sum + value, 0),
    )
  );
}

export function summarise(
  program: string,
  bits: Width,
  samples: Readonly<Record<string, readonly ComputeSample[]>>,
  nulls: readonly number[],
): ComputeResult {
  const engines = Object.keys(samples);
  const each = (figure: (list: readonly ComputeSample[]) => number | undefined): Record<string, number> =>
    Object.fromEntries(
      engines.flatMap((name) => {
        const value = figure(samples[name]!);
        return value === undefined ? [] : [[name, value]];
      }),
    );
  const of = (figure: (test: TestSample) => number, test: string): Record<string, number> =>
    each((list) => (list.every((s) => test in s.tests) ? median(list.map((s) => figure(s.tests[test]!))) : undefined));
  const rows = Object.keys(samples['ukl-emu']![0]!.tests).map((name): TestRow => {
    const cpuSeconds = of(seconds, name);
    const warmPerSecond = of(warmRate, name);
    return {
      name,
      cpuSeconds,
      warmPerSecond,
      ...('qemu' in samples && {
        ratio: cpuSeconds['ukl-emu']! / cpuSeconds['qemu']!,
        warmRatio: warmPerSecond['qemu']! / warmPerSecond['ukl-emu']!,
      }),
    };
  });
  const ratios = rows.flatMap(({ ratio }) => ratio ?? []);
  const worst = rows.toSorted((a, b) => (b.ratio ?? 0) - (a.ratio ?? 0))[0]!;
  const spreads = engines.flatMap((name) =>
    rows.flatMap(({ name: test, cpuSeconds }) =>
      name in cpuSeconds ? spread(samples[name]!.map((s) => seconds(s.tests[test]!))) : [],
    ),
  );
  return {
    program,
    bits,
    memoryMegabytes: MEMORY,
    engines,
    rows,
    ...(ratios.length > 0 && {
      geomean: geometricMean(ratios),
      warmGeomean: geometricMean(rows.map(({ warmRatio }) => warmRatio!)),
      worst: { name: worst.name, ratio: worst.ratio! },
    }),
    ...(nulls.length > 0 && {
      null: { geomean: geometricMean(nulls), worst: Math.max(...nulls.map((r) => Math.max(r, 1 / r))) },
    }),
    bootCpuSeconds: each((list) => median(list.map((s) => s.bootCpuSeconds))),
    stoppedAfter: each((list) =>
      list.some(({ stopped }) => stopped) ? median(list.map((s) => s.cpuSeconds)) : undefined,
    ),
    spread: Math.max(...spreads),
    peakBytes: each((list) => median(list.map((s) => s.peakBytes))),
    flagDifferences: flagDifferences(samples),
  };
}

function flagDifferences(samples: Readonly<Record<string, readonly ComputeSample[]>>): Record<string, FlagDifferences> {
  const flags = (name: string): Set<string> => new Set(samples[name]?.[0]?.flags);
  const ours = flags('ukl-emu');
  const without = (from: ReadonlySet<string>, other: ReadonlySet<string>): string[] =>
    [...from].filter((flag) => !other.has(flag) && !NOT_FEATURES.has(flag));
  const guests = Object.keys(samples).filter((name) => name !== 'ukl-emu' && flags(name).size > 0);
  return Object.fromEntries(
    guests.map((name) => [name, { missing: without(ours, flags(name)), more: without(flags(name), ours) }]),
  );
}
