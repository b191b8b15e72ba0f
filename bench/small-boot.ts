/**
 * The prebuilt Unikernel Linux to `UKL-EMU: ready`, in this process: CPU seconds (user and system, all threads) before the first
 * instruction and while it runs, and instructions a CPU second without REP iterations.
 *
 *     node bench/small-boot.ts [interpreter|auto] [src|dist]
 */
import { readFileSync } from 'node:fs';
import type * as Api from '../src/index.ts';

const [engine = 'interpreter', from = 'src'] = process.argv.slice(2);
const root = new URL('../', import.meta.url);
const { Machine }: typeof Api = await import(
  new URL(from === 'dist' ? 'dist/src/index.js' : 'src/index.ts', root).href
);
const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e3;
};
const prebuilt = (name: string) => ({ name, bytes: readFileSync(new URL(`images/prebuilt/${name}`, root)) });

const started = cpuMs();
const machine = await Machine.create({
  kernel: prebuilt('ukl-echo.bzImage'),
  initrd: prebuilt('initrd.cpio.xz'),
  cmdline: 'console=ttyS0 net.ifnames=0 biosdevname=0 nowatchdog clearcpuid=smap,smep mitigations=off app=ukl',
  cpu: 'x86-64-v1',
  memory: '512M',
  engine: engine === 'auto' ? 'auto' : 'interpreter',
  exitOn: /UKL-EMU: ready/,
});
const created = cpuMs();
await machine.run();
const ended = cpuMs();
const { instructions, repIterations } = machine.stats();
const plain = (instructions - repIterations) / 1e6;
console.log(
  `${engine}, ${from}: modules ${started.toFixed(0)}, create ${(created - started).toFixed(0)}, run ${(ended - created).toFixed(0)} ` +
    `CPU ms; ${plain.toFixed(1)} million instructions, a CPU second ${((plain * 1e3) / (ended - created)).toFixed(0)} of the run, ` +
    `${((plain * 1e3) / ended).toFixed(0)} of the process`,
);
process.exit(0);
