import type { Context } from './context.ts';
import { type Command, emulator, qemu } from './engines.ts';
import { buildGuestProgram, type GuestProgram } from './guest/build.ts';
import { ECHO_KERNEL } from './images.ts';
import { type Mark, type Measured, measure } from './process.ts';
import { geometricMean, interleaved, median, type Subject, spread } from './sampling.ts';

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
}
export interface TestRow {
  readonly name: string;
  /** CPU seconds of all rounds, medians of the runs, by engine. */
  readonly cpuSeconds: Readonly<Record<string, number>>;
  /** Operations a CPU second in the better half of the rounds: translated code has settled. */
  readonly warmPerSecond: Readonly<Record<string, number>>;
  /** ukl-emu's time / QEMU's, cold and warm. */
  readonly ratio?: number;
  readonly warmRatio?: number;
}
export interface ComputeResult {
  readonly program: string;
  readonly memoryMegabytes: number;
  readonly engines: readonly string[];
  readonly rows: readonly TestRow[];
  readonly geomean?: number;
  readonly warmGeomean?: number;
  readonly worst?: { readonly name: string; readonly ratio: number };
  /** ukl-emu against ukl-emu: what a ratio is when nothing differs. */
  readonly null: { readonly geomean: number; readonly worst: number };
  /** Largest spread of a test's CPU seconds between runs of one engine. */
  readonly spread: number;
  readonly peakBytes: Readonly<Record<string, number>>;
  /** Features that only one of the guests has. */
  readonly flagDifferences: readonly string[];
}

const MEMORY = 256;
const TIMEOUT = 600;
/** Made up by the kernel from the vendor or the clock, or said by both vendors under another name. */
const NOT_FEATURES = new Set(
  'constant_tsc tsc_known_freq rep_good nopl cpuid extd_apicid vmmcall arat nonstop_tsc'.split(' '),
);

export async function computeSet(context: Context): Promise<ComputeResult> {
  const program = buildGuestProgram();
  const scale = context.quick ? 40 : 100;
  const subject = (name: string, command: Command): Subject<ComputeSample> => ({ name, once: () => sample(command) });
  const guest = guestRun(program, `scale=${scale}`);
  context.progress('null run, the same engine twice');
  const twice = await interleaved(1, [subject('a', emulator(guest)), subject('b', emulator(guest))], context.progress);
  const names = Object.keys(twice['a']![0]!.tests);
  const nulls = names.map((name) => seconds(twice['b']![0]!.tests[name]!) / seconds(twice['a']![0]!.tests[name]!));
  const subjects = [
    subject('ukl-emu', emulator(guest)),
    ...(context.qemu ? [subject('qemu', qemu(guest))] : []),
    {
      name: 'native',
      once: async () => sample({ command: program.program, args: [] }, { scale: String(scale) }),
    },
  ];
  const samples = await interleaved(context.runs, subjects, context.progress);
  return summarise(program.sha256, samples, nulls);
}

export function guestRun({ initrd }: GuestProgram, words: string) {
  return {
    kernel: ECHO_KERNEL,
    initrd,
    append: `console=ttyS0 nowatchdog mitigations=off quiet ${words}`,
    memoryMegabytes: MEMORY,
  };
}

async function sample(command: Command, env?: Readonly<Record<string, string>>): Promise<ComputeSample> {
  const measured = await measure({
    ...command,
    until: /BENCH done/,
    lines: /BENCH/,
    timeoutSeconds: TIMEOUT,
    ...(env && { env }),
  });
  return parseCompute(measured, env !== undefined);
}

/** The rounds of each test from the lines of a run. */
export function parseCompute({ marks, cpuSeconds, wallMs, peakBytes }: Measured, native: boolean): ComputeSample {
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
  return { tests, cpuSeconds, wallMs, peakBytes, flags };
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
  samples: Readonly<Record<string, readonly ComputeSample[]>>,
  nulls: readonly number[],
): ComputeResult {
  const engines = Object.keys(samples);
  const of = (figure: (test: TestSample) => number, test: string): Record<string, number> =>
    Object.fromEntries(engines.map((name) => [name, median(samples[name]!.map((s) => figure(s.tests[test]!)))]));
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
    rows.map((row) => spread(samples[name]!.map((s) => seconds(s.tests[row.name]!)))),
  );
  const [ours, theirs] = ['ukl-emu', 'qemu'].map((name) => new Set(samples[name]?.[0]?.flags ?? []));
  return {
    program,
    memoryMegabytes: MEMORY,
    engines,
    rows,
    ...(ratios.length > 0 && {
      geomean: geometricMean(ratios),
      warmGeomean: geometricMean(rows.map(({ warmRatio }) => warmRatio!)),
      worst: { name: worst.name, ratio: worst.ratio! },
    }),
    null: { geomean: geometricMean(nulls), worst: Math.max(...nulls.map((r) => Math.max(r, 1 / r))) },
    spread: Math.max(...spreads),
    peakBytes: Object.fromEntries(engines.map((name) => [name, median(samples[name]!.map((s) => s.peakBytes))])),
    flagDifferences: theirs!.size === 0 ? [] : differences(ours!, theirs!),
  };
}

function differences(a: ReadonlySet<string>, b: ReadonlySet<string>): string[] {
  return [...a, ...b].filter((flag) => !(a.has(flag) && b.has(flag)) && !NOT_FEATURES.has(flag));
}
