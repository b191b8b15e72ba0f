import { guestRun } from './compute-set.ts';
import type { Context } from './context.ts';
import { type Command, emulator, qemu } from './engines.ts';
import { buildGuestProgram } from './guest/build.ts';
import { measure } from './process.ts';
import { interleaved, median } from './sampling.ts';

/** One loop at 64 places of a page. */
export interface AlignmentResult {
  readonly engines: readonly string[];
  /** Nanoseconds an iteration at each place, the best of the runs, by engine. */
  readonly places: Readonly<Record<string, readonly { readonly offset: number; readonly ns: number }[]>>;
  readonly slowestToFastest: Readonly<Record<string, number>>;
  readonly medianNs: Readonly<Record<string, number>>;
}

export async function alignments(context: Context): Promise<AlignmentResult> {
  const program = buildGuestProgram();
  const guest = guestRun(program, 'set=alignment');
  const once = async (command: Command, env?: Record<string, string>): Promise<Map<number, number>> => {
    const options = { until: /BENCH done/, lines: /BENCH alignment/, timeoutSeconds: 300, ...(env && { env }) };
    const { marks } = await measure({ ...command, ...options });
    return new Map(
      marks.map(({ line }) => {
        const [offset = 0, iterations = 1, ns = 0] = line.split(' ').slice(-3).map(Number);
        return [offset, ns / iterations];
      }),
    );
  };
  const subjects = [
    { name: 'ukl-emu', once: () => once(emulator(guest)) },
    ...(context.qemu ? [{ name: 'qemu', once: () => once(qemu(guest)) }] : []),
    { name: 'native', once: () => once({ command: program.program, args: [] }, { set: 'alignment' }) },
  ];
  const samples = await interleaved(context.quick ? 1 : Math.min(3, context.runs), subjects, context.progress);
  const engines = Object.keys(samples);
  const places = Object.fromEntries(
    engines.map((name) => [
      name,
      [...samples[name]![0]!.keys()].map((offset) => ({
        offset,
        ns: Math.min(...samples[name]!.map((run) => run.get(offset) ?? Number.POSITIVE_INFINITY)),
      })),
    ]),
  );
  const figure = (of: (ns: number[]) => number): Record<string, number> =>
    Object.fromEntries(engines.map((name) => [name, of(places[name]!.map(({ ns }) => ns))]));
  return {
    engines,
    places,
    slowestToFastest: figure((ns) => Math.max(...ns) / Math.min(...ns)),
    medianNs: figure(median),
  };
}
