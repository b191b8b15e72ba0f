import { readFileSync } from 'node:fs';
import { Machine } from '../../src/index.ts';
import { goldenFiles } from '../cpu/golden/render.ts';
import { cmdline, ECHO_KERNEL, INITRD } from './support.ts';

/** Counts that do not depend on the machine they are taken on, by what they count. */
export type Figures = Readonly<Record<string, number>>;

/** Fixed boots on the instruction clock, up to a line of output. */
const BOOTS = [
  { name: 'ukl', append: cmdline('ukl'), until: /UKL-EMU: ready/, engine: 'auto' },
  { name: 'ukl, interpreter', append: cmdline('ukl'), until: /UKL-EMU: ready/, engine: 'interpreter' },
  { name: 'poweroff', append: cmdline('poweroff'), until: /reboot: Power down/, engine: 'auto' },
] as const;

/** What the guard watches: instructions and exits of boots, sizes of translated code. */
export async function guardFigures(): Promise<Figures> {
  const figures: Record<string, number> = {};
  const kernel = { name: 'ukl-echo.bzImage', bytes: readFileSync(ECHO_KERNEL) };
  const initrd = { name: 'initrd.cpio.xz', bytes: readFileSync(INITRD) };
  for (const { name, append, until, engine } of BOOTS) {
    const machine = await Machine.create({
      kernel,
      initrd,
      cmdline: append,
      memory: '64M',
      clock: 'instructions',
      engine,
      exitOn: until,
    });
    const exit = await machine.run();
    if (exit.kind !== 'matched') throw new Error(`guard: the boot "${name}" ended with ${exit.kind}`);
    const { instructions, exits, tlb, interrupts, exceptions } = machine.stats();
    figures[`boot ${name}: guest instructions`] = instructions;
    figures[`boot ${name}: interrupts`] = interrupts;
    figures[`boot ${name}: exceptions`] = exceptions;
    figures[`boot ${name}: page walks`] = tlb.pageWalks;
    for (const [reason, count] of Object.entries(exits)) figures[`boot ${name}: exits, ${reason}`] = count;
  }
  for (const { name, bytes } of goldenFiles()) {
    if (!name.startsWith('region-')) continue;
    for (const [region, size] of Object.entries(bytes)) figures[`region ${region}: bytes of wasm`] = size;
  }
  return figures;
}

/** A change of 2 % is one; counts of a few dozen may move by as many as this. */
const TOLERANCE = 0.02;
const SLACK = 20;

/** One line a figure that has changed too much, with both numbers. */
export function changes(kept: Figures, now: Figures): string[] {
  return [...new Set([...Object.keys(kept), ...Object.keys(now)])].flatMap((name) => {
    const [old = 0, fresh = 0] = [kept[name], now[name]];
    const difference = fresh - old;
    const most = Math.max(old * TOLERANCE, name.startsWith('region') || name.endsWith('instructions') ? 0 : SLACK);
    if (Math.abs(difference) <= most) return [];
    const percent = old === 0 ? '' : ` (${difference > 0 ? '+' : ''}${((difference / old) * 100).toFixed(1)} %)`;
    return [`${name}: ${old} kept, ${fresh} now${percent}`];
  });
}
