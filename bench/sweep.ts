import { guestRun } from './compute-set.ts';
import type { Context } from './context.ts';
import { emulator } from './engines.ts';
import { buildGuestProgram } from './guest/build.ts';
import { bootGuests } from './images.ts';
import { measure } from './process.ts';
import { interleaved, median } from './sampling.ts';

/** CPU seconds by setting of `--jit` ('' is the default). */
export interface SweepResult {
  readonly rows: readonly { readonly setting: string; readonly boot: number; readonly compute: number }[];
}

/** One thing at a time away from the default. */
const SETTINGS = [
  '',
  ...[32, 128, 256, 1024, 4096].map((value) => `threshold=${value}`),
  ...[4, 16, 256, 1024].map((value) => `growth=${value}`),
  ...[25, 50, 200, 300].map((value) => `maxBlocks=${value}`),
  ...[10, 30, 300].map((value) => `maxBlockLength=${value}`),
];

/** Boot of the UKL image and the compute set (a tenth of it) with other thresholds and sizes of the translator. */
export async function sweep(context: Context): Promise<SweepResult> {
  const boot = bootGuests(context.debianDirectory)[0]!;
  const compute = guestRun(buildGuestProgram(), 'scale=10');
  const cpuSeconds = async (command: Parameters<typeof measure>[0]): Promise<number> =>
    (await measure(command)).cpuSeconds;
  const subjects = SETTINGS.map((setting) => {
    const words = setting === '' ? [] : ['--jit', setting];
    return {
      name: setting,
      once: async () => ({
        boot: await cpuSeconds({ ...emulator(boot, words), ...boot }),
        compute: await cpuSeconds({ ...emulator(compute, words), until: /BENCH done/, timeoutSeconds: 300 }),
      }),
    };
  });
  const samples = await interleaved(context.runs, subjects, context.progress);
  return {
    rows: SETTINGS.map((setting) => ({
      setting,
      boot: median(samples[setting]!.map((s) => s.boot)),
      compute: median(samples[setting]!.map((s) => s.compute)),
    })),
  };
}
