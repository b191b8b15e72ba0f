import type { MachineStats } from '../machine/stats.ts';

/** The figures of a run for a person, one line each. */
export function statsText(stats: MachineStats): string {
  const lines: [string, string][] = [
    ['instructions', `${grouped(stats.instructions)} (${grouped(stats.repIterations)} of them REP iterations)`],
    ['speed', `${stats.mips} million instructions per second of busy time, without REP iterations`],
    ['tiers', shares(stats.tiers)],
    ['translator', list(flat(stats.jit)) || 'off'],
    ['TLB', list(stats.tlb)],
    ['exits', list(stats.exits)],
    [
      'events',
      `interrupts ${grouped(stats.interrupts)}, exceptions ${grouped(stats.exceptions)}, halts ${grouped(stats.halts)}`,
    ],
    ['MMIO accesses', grouped(stats.mmioAccesses)],
    ['code', `${list(stats.blocks)}, invalidations ${grouped(stats.invalidations)}`],
    ['unimplemented', list(stats.unimplemented) || 'none'],
    ['serial', `${list(stats.serial)} bytes`],
    ['guest time', `${(stats.guestNs / 1e9).toFixed(3)} s, reboots ${stats.reboots}`],
    ['milliseconds', list(stats.milliseconds)],
  ];
  return lines.map(([name, text]) => `ukl-emu: ${name}: ${text}\n`).join('');
}

/** Instructions of each tier, and how much of all of them. */
function shares(tiers: MachineStats['tiers']): string {
  const all = Object.values(tiers).reduce((sum, n) => sum + n, 0);
  return Object.entries(tiers)
    .map(([name, n]) => `${name} ${grouped(n)}${all === 0 ? '' : ` (${((n / all) * 100).toFixed(1)} %)`}`)
    .join(', ');
}

/** Figures of figures by their path: { exits: { fault: 1 } } is `exits.fault`. */
function flat(figures: MachineStats['jit']): Record<string, number> {
  return Object.fromEntries(
    Object.entries(figures).flatMap(([name, figure]) =>
      typeof figure === 'number'
        ? [[name, figure]]
        : Object.entries(figure).map(([part, n]): [string, number] => [`${name}.${part}`, n]),
    ),
  );
}

function list(values: Readonly<Record<string, number | null>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name} ${value === null ? '-' : grouped(value)}`)
    .join(', ');
}

function grouped(value: number): string {
  return value.toLocaleString('en-US');
}
