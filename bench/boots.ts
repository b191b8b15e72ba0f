import { withBochs } from './bochs.ts';
import type { Context } from './context.ts';
import { type Command, emulator, qemu } from './engines.ts';
import { type BootGuest, bootGuests, isPresent } from './images.ts';
import { measure } from './process.ts';
import { interleaved, median, type Subject } from './sampling.ts';

interface BootSample {
  readonly wallSeconds: number;
  readonly cpuSeconds: number;
  readonly peakBytes: number;
  readonly stopped: boolean;
}
/** Medians by engine. */
export interface BootRow {
  readonly name: string;
  readonly title: string;
  readonly runs: number;
  readonly wallSeconds: Readonly<Record<string, number>>;
  readonly cpuSeconds: Readonly<Record<string, number>>;
  readonly peakBytes: Readonly<Record<string, number>>;
  /** Engines that were stopped by their limit before the awaited line: their figures are what it had taken until then. */
  readonly stopped: readonly string[];
}
export interface BootResult {
  readonly engines: readonly string[];
  readonly rows: readonly BootRow[];
  /** Guests whose images are not there, or that take too long for a quick run. */
  readonly skipped: readonly string[];
}

/** Bochs takes so long that it runs once, and not to any end: processor seconds, with --quick and without. */
const SLOW_LIMIT = { quick: 25, full: 600 };
/** Wall time over processor time that it may take: a machine may be busy. */
const SLOWEST = 4;

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
  const engines = ['ukl-emu', ...(context.qemu ? ['qemu'] : []), ...(context.bochs ? ['bochs'] : [])];
  return { engines, rows, skipped };
}

async function bootRow(context: Context, guest: BootGuest): Promise<BootRow> {
  const once = async (command: Command, limit?: number): Promise<BootSample> => {
    const bounds = limit === undefined ? {} : { timeoutSeconds: SLOWEST * limit, cpuLimitSeconds: limit };
    const { wallMs, cpuSeconds, peakBytes, stopped } = await measure({ ...command, ...guest, ...bounds });
    return { wallSeconds: wallMs / 1000, cpuSeconds, peakBytes, stopped };
  };
  const runs = guest.slow ? Math.max(1, Math.floor(context.runs / 3)) : context.runs;
  const { bochs } = context;
  const limit = SLOW_LIMIT[context.quick ? 'quick' : 'full'];
  const subjects: Subject<BootSample>[] = [
    { name: 'ukl-emu', once: () => once(emulator(guest)) },
    ...(context.qemu ? [{ name: 'qemu', once: () => once(qemu(guest)) }] : []),
    ...(bochs
      ? [{ name: 'bochs', runs: 1, once: () => withBochs(bochs, guest, (command) => once(command, limit)) }]
      : []),
  ];
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
    stopped: Object.keys(samples).filter((name) => samples[name]!.some(({ stopped }) => stopped)),
  };
}
