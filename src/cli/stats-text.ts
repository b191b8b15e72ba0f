import type { MachineStats } from '../machine/stats.ts';

/** The figures of a run for a person, one line each. */
export function statsText(stats: MachineStats): string {
  const lines: [string, string][] = [
    ['instructions', `${grouped(stats.instructions)} (${grouped(stats.repIterations)} of them REP iterations)`],
    ['speed', `${stats.mips} million instructions per second of busy time, without REP iterations`],
    ['tiers', list(stats.tiers)],
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

function list(values: Readonly<Record<string, number | null>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name} ${value === null ? '-' : grouped(value)}`)
    .join(', ');
}

function grouped(value: number): string {
  return value.toLocaleString('en-US');
}
