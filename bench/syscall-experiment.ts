import { join } from 'node:path';
import { PREBUILT } from '../images/support.ts';
import type { Context } from './context.ts';
import { type Command, emulator, qemu } from './engines.ts';
import { INITRD_XZ } from './images.ts';
import { measure } from './process.ts';
import { interleaved, median } from './sampling.ts';

/** Nanoseconds of guest time an operation takes, by engine. */
export interface SyscallRow {
  readonly operation: string;
  readonly variant: string;
  readonly nanoseconds: Readonly<Record<string, number>>;
}
export interface SyscallResult {
  readonly engines: readonly string[];
  readonly rows: readonly SyscallRow[];
}

/** The paper's five, and a page fault and a fork beside them. */
const OPERATIONS = ['getppid', 'read-1', 'write-1', 'send-tcp-1', 'recv-tcp-1', 'page-fault-heap', 'fork-wait'];
/** Guest milliseconds that each operation is repeated before it is measured: translators have settled. */
const WARM_UP_MS = 300;
const WORDS = 'console=ttyS0 net.ifnames=0 biosdevname=0 nowatchdog clearcpuid=smap,smep mitigations=off';

/** System calls by instruction, by call and by function, on the guest's own clock: `ukl-emu bench syscall` has more of it. */
export async function syscalls(context: Context): Promise<SyscallResult> {
  const guest = (app: string) => ({
    kernel: join(PREBUILT, 'ukl-bench.bzImage'),
    initrd: INITRD_XZ,
    append: `${WORDS} app=${app} arg=${WARM_UP_MS}`,
    memoryMegabytes: 256,
  });
  const once = async (start: (app: string) => Command): Promise<Map<string, number>> => {
    const found = new Map<string, number>();
    for (const app of ['bench-user', 'ukl']) {
      const { marks } = await measure({
        ...start(app),
        until: /UKL-BENCH done/,
        lines: /UKL-BENCH name=/,
        timeoutSeconds: 400,
      });
      for (const { line } of marks) {
        const [, name, variant, ns] = /name=(\S+) variant=(\S+) n=\d+ ns=([\d.]+)/.exec(line) ?? [];
        if (name && variant && OPERATIONS.includes(name)) found.set(`${name} ${variant}`, Number(ns));
      }
    }
    return found;
  };
  const subjects = [
    { name: 'ukl-emu', once: () => once((app) => emulator(guest(app))) },
    ...(context.qemu ? [{ name: 'qemu', once: () => once((app) => qemu(guest(app))) }] : []),
  ];
  const samples = await interleaved(Math.min(3, context.runs), subjects, context.progress);
  const engines = Object.keys(samples);
  const rows = OPERATIONS.flatMap((operation) =>
    ['syscall', 'call', 'bypass'].map(
      (variant): SyscallRow => ({
        operation,
        variant,
        nanoseconds: Object.fromEntries(
          engines.map((name) => [
            name,
            median(samples[name]!.map((run) => run.get(`${operation} ${variant}`) ?? Number.NaN)),
          ]),
        ),
      }),
    ),
  );
  return { engines, rows };
}
