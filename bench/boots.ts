import type { Context } from './context.ts';
import { type Command, emulator, qemu } from './engines.ts';
import { type BootGuest, bootGuests, isPresent } from './images.ts';
import { measure } from './process.ts';
import { interleaved, median, type Subject } from './sampling.ts';

interface BootSample {
  readonly wallSeconds: number;
  readonly cpuSeconds: number;
  readonly peakBytes: number;
}
/** Medians by engine. */
export interface BootRow {
  readonly name: string;
  readonly title: string;
  readonly runs: number;
  readonly wallSeconds: Readonly<Record<string, number>>;
  readonly cpuSeconds: Readonly<Record<string, number>>;
  readonly peakBytes: Readonly<Record<string, number>>;
}
export interface BootResult {
  readonly engines: readonly string[];
  readonly rows: readonly BootRow[];
  /** Guests whose images are not there, or that take too long for a quick run. */
  readonly skipped: readonly string[];
}

/** Process start to a line on the console. */
export async function boots(context: Context): Promise<BootResult> {
  const rows: BootRow[] = [];
  const skipped: string[] = [];
  for (const guest of bootGuests(context.debianDirectory)) {
    if (context.quick && guest.slow) skipped.push(`${guest.title}: left out by --quick`);
    else if (!isPresent(guest)) {
      skipped.push(`${guest.title}: no images in ${context.debianDirectory}; npm run images:debian fetches them`);
    } else rows.push(await bootRow(context, guest));
  }
  return { engines: ['ukl-emu', ...(context.qemu ? ['qemu'] : [])], rows, skipped };
}

async function bootRow(context: Context, guest: BootGuest): Promise<BootRow> {
  const subject = (name: string, command: Command): Subject<BootSample> => ({
    name,
    once: async () => {
      const { wallMs, cpuSeconds, peakBytes } = await measure({ ...command, ...guest });
      return { wallSeconds: wallMs / 1000, cpuSeconds, peakBytes };
    },
  });
  const runs = guest.slow ? Math.max(1, Math.floor(context.runs / 3)) : context.runs;
  const subjects = [subject('ukl-emu', emulator(guest)), ...(context.qemu ? [subject('qemu', qemu(guest))] : [])];
  const samples = await interleaved(runs, subjects, (text) => context.progress(`${guest.title}, ${text}`));
  const medians = (figure: (sample: BootSample) => number): Record<string, number> =>
    Object.fromEntries(Object.entries(samples).map(([name, list]) => [name, median(list.map(figure))]));
  return {
    name: guest.name,
    title: guest.title,
    runs,
    wallSeconds: medians((s) => s.wallSeconds),
    cpuSeconds: medians((s) => s.cpuSeconds),
    peakBytes: medians((s) => s.peakBytes),
  };
}
