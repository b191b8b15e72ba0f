/**
 * Compares the addresses of executed instructions with those of QEMU's TCG, from the kernel's entry on (docs/system.md, "Traces"):
 * `node scripts/trace-qemu.ts [--count N] [--start ADDRESS] [--initrd FILE] [--append STRING] [--memory SIZE] [--cpu MODEL]
 * [--qemu-cpu MODEL] [--symbols SYSTEM.MAP[.gz]] [--strict] KERNEL`. Exit status 1 if the two part and do not meet again, or,
 * with --strict, if they part at all.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { Machine } from '../src/index.ts';
import { parseSymbolMap, readElfSymbols } from '../src/loader/symbols.ts';
import type { ObservedBoard } from '../src/machine/observer.ts';
import { compareTraces } from './trace-compare.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    count: { type: 'string', default: '1000000' },
    start: { type: 'string' },
    initrd: { type: 'string' },
    append: { type: 'string', default: 'console=ttyS0' },
    memory: { type: 'string', default: '128M' },
    cpu: { type: 'string', default: 'x86-64-v2' },
    'qemu-cpu': { type: 'string', default: 'Nehalem,vendor=GenuineIntel,family=6,model=45,stepping=7' },
    symbols: { type: 'string' },
    strict: { type: 'boolean', default: false },
  },
});
const [kernel] = positionals;
if (kernel === undefined) throw new Error('name a kernel: bzImage, or a Multiboot or PVH program');
const count = Number(values.count);
const bytes = readFileSync(kernel);

/**
 * Every instruction's address before it is executed. Repeated addresses count once, here and in the plugin: QEMU comes to a REP
 * instruction once more than it has rounds, and who waits at one instruction waits as long as it takes.
 */
async function traceHere(): Promise<{ addresses: BigUint64Array; events: Set<number> }> {
  const addresses = new BigUint64Array(count);
  const events = new Set<number>();
  let length = 0;
  let board: ObservedBoard | undefined;
  let eventsBefore = 0;
  const eventsSoFar = ({ cpu }: ObservedBoard): number =>
    cpu.interrupts + cpu.exceptions + cpu.counter('fastExceptions');
  const machine = await Machine.create({
    kernel: { name: kernel!, bytes },
    ...(values.initrd !== undefined && { initrd: readFileSync(values.initrd) }),
    cmdline: values.append,
    memory: values.memory,
    cpu: values.cpu,
    clock: 'instructions',
    engine: 'interpreter',
    debugExit: true,
    observer: {
      attach: (powered) => {
        board = powered;
      },
      limit: () => {
        const { ip } = board!.cpu;
        if (ip !== addresses[length - 1]) addresses[length++] = ip;
        eventsBefore = eventsSoFar(board!);
        return 1;
      },
      ran: () => {
        if (eventsSoFar(board!) !== eventsBefore) events.add(length - 1);
        if (length >= count) void machine.stop();
      },
    },
  });
  const exit = await machine.run();
  console.log(`ukl-emu: ${length} addresses of ${machine.stats().instructions} instructions (${exit.kind})`);
  return { addresses: addresses.subarray(0, length), events };
}

function traceQemu(start: bigint): BigUint64Array {
  const directory = mkdtempSync(join(tmpdir(), 'ukl-emu-trace-'));
  try {
    const [plugin, out] = [join(directory, 'plugin.so'), join(directory, 'trace')];
    const source = new URL('qemu-trace-plugin.c', import.meta.url).pathname;
    execFileSync('gcc', ['-O2', '-shared', '-fPIC', '-fvisibility=hidden', source, '-o', plugin]);
    execFileSync(
      'qemu-system-x86_64',
      [
        // an instruction is a nanosecond there, too
        ...['-accel', 'tcg,thread=single', '-icount', 'shift=0', '-cpu', values['qemu-cpu'], '-m', values.memory],
        ...['-display', 'none', '-serial', 'none', '-monitor', 'none', '-nodefaults', '-no-reboot'],
        ...['-device', 'isa-debug-exit,iobase=0xf4', '-kernel', kernel!, '-append', values.append],
        ...(values.initrd === undefined ? [] : ['-initrd', values.initrd]),
        ...['-plugin', `${plugin},out=${out},start=0x${start.toString(16)},count=${count}`],
      ],
      { stdio: ['ignore', 'inherit', 'inherit'], timeout: 600_000 },
    );
    return addressesIn(out);
  } catch (error) {
    // isa-debug-exit ends QEMU with 1
    if ((error as { status?: number }).status === 1) return addressesIn(join(directory, 'trace'));
    throw error;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function addressesIn(file: string): BigUint64Array {
  const data = readFileSync(file);
  return new BigUint64Array(data.buffer.slice(data.byteOffset, data.byteOffset + (data.length & ~7)));
}

function describe(): (address: bigint) => string {
  const map = values.symbols;
  if (map !== undefined) {
    const data = readFileSync(map);
    const table = parseSymbolMap((map.endsWith('.gz') ? gunzipSync(data) : data).toString());
    return (address) => table.describe(address);
  }
  const table = readElfSymbols(bytes);
  return (address) => table?.describe(address) ?? `0x${address.toString(16)}`;
}

const here = await traceHere();
const there = traceQemu(values.start === undefined ? here.addresses[0]! : BigInt(values.start));
console.log(`QEMU: ${there.length} addresses`);
const { same, gaps, lost } = compareTraces(here.addresses, there, here.events);
const name = describe();
for (const gap of gaps) {
  const why = gap.event ? ', interrupt or exception here' : '';
  console.log(`after ${gap.at}: at ${name(gap.address)}: ${gap.here} here, ${gap.there} in QEMU${why}`);
}
console.log(`${same} addresses the same, ${gaps.length} detours`);
if (lost !== undefined) {
  console.log(`after ${lost.at} they do not meet again: here at ${name(lost.here)}, QEMU at ${name(lost.there)}`);
}
process.exitCode = lost !== undefined || (values.strict && gaps.length > 0) ? 1 : 0;
