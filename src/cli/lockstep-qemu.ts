import { execFileSync, spawn } from 'node:child_process';
import { constants, createReadStream } from 'node:fs';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { CpuidResult } from '../cpu/cpuid.ts';
import { loadKernel } from '../loader/load.ts';
import type { LockstepResult } from '../lockstep/engines.ts';
import { OWN_MSRS, type QemuCheckpoint, QemuFollower } from '../lockstep/qemu-follow.ts';
import { QemuLog, QemuRegisters } from '../lockstep/qemu-log.ts';
import { checkOptions, type MachineOptions } from '../machine/options.ts';
import { UsageError } from './errors.ts';
import { GdbRemote } from './gdb-remote.ts';

export interface QemuOptions {
  /** Linear address of the first instruction to follow, where the processor must be in ring 0; default: the kernel's entry. */
  readonly from?: bigint;
  readonly maxInstructions: number;
  readonly progress: (text: string) => void;
}

const QEMU = 'qemu-system-x86_64';
/** Where the protected-mode part of a bzImage is entered by bootloaders: code32_start. */
const BZIMAGE_ENTRY = 0x10_0000;
/** More memory only makes the checkpoint larger. */
const MAX_MEMORY = 2 ** 31;
/** QEMU's names of our features, where it has them: what its TCG lacks, and what depends on chance, is left out. */
const QEMU_FEATURES: Readonly<Record<string, string>> = {
  ...{ sse3: 'pni', ssse3: 'ssse3', sse4_1: 'sse4.1', sse4_2: 'sse4.2', popcnt: 'popcnt', cx16: 'cx16' },
  ...{ avx: 'avx', avx2: 'avx2', bmi1: 'bmi1', bmi2: 'bmi2', f16c: 'f16c', fma: 'fma', lzcnt: 'abm', movbe: 'movbe' },
  ...{ xsave: 'xsave', aes: 'aes', pclmulqdq: 'pclmulqdq', adx: 'adx', smep: 'smep', smap: 'smap', umip: 'umip' },
  ...{ fsgsbase: 'fsgsbase', pdpe1gb: 'pdpe1gb', erms: 'erms', clflushopt: 'clflushopt', clwb: 'clwb', pku: 'pku' },
  ...{ la57: 'la57', rdtscp: 'rdtscp', lahf_lm: 'lahf_lm', '3dnowprefetch': '3dnowprefetch' },
};
/** Leaves of CPUID that are asked for, and how many subleaves. */
const LEAVES: readonly (readonly [first: number, last: number, subleaves: number])[] = [
  [0, 3, 1],
  [4, 4, 5],
  [5, 6, 1],
  [7, 7, 2],
  [8, 0xa, 1],
  [0xb, 0xb, 3],
  [0xd, 0xd, 10],
  [0x14, 0x16, 1],
  [0x4000_0000, 0x4000_0001, 1],
  [0x8000_0000, 0x8000_0008, 1],
];
/** Registers that a kernel reads and that are no state of our processor; those not listed read as zero under QEMU's TCG. */
const MSRS = [
  ...[0x17, 0x1b, 0x3a, 0x8b, 0xce, 0xfe, 0x179, 0x17a, 0x1a0, 0x277, 0x2ff, 0x250, 0x258, 0x259],
  ...Array.from({ length: 16 }, (_, i) => 0x200 + i),
  ...Array.from({ length: 8 }, (_, i) => 0x268 + i),
];
/** Numbers of QEMU's gdb stub for x86-64. */
const GDB = { rax: 0, rbx: 1, rcx: 2, rdx: 3, rip: 16 } as const;
const CPUID = '0fa2';
const RDMSR = '0f32';
const BLOCKS_BETWEEN_NOTES = 1_000_000;

/**
 * Boots the kernel under QEMU's TCG as far as its entry point, takes registers and memory over, and follows QEMU from there. Needs
 * qemu-system-x86_64. Rejects with UsageError when that cannot be done.
 */
export async function lockstepQemu(machine: MachineOptions, options: QemuOptions): Promise<LockstepResult> {
  const checked = checkOptions(machine);
  if (checked.memory > MAX_MEMORY) throw new UsageError(`--memory: at most 2G with --against qemu`);
  const directory = await mkdtemp(join(tmpdir(), 'ukl-emu-lockstep-'));
  const path = (name: string): string => join(directory, name);
  const features = new Set([...checked.features].filter((name) => !DIFFERENT.has(name)));
  let qemu: ReturnType<typeof spawn> | undefined;
  let gdb: GdbRemote | undefined;
  try {
    await writeFile(path('kernel'), checked.kernel.bytes);
    if (checked.initrd) await writeFile(path('initrd'), checked.initrd.bytes);
    execFileSync('mkfifo', [path('log')]);
    qemu = spawn(
      QEMU,
      [
        ...['-machine', 'pc,smm=off', '-accel', 'tcg,thread=single', '-icount', 'shift=0,sleep=off', '-S'],
        ...['-cpu', qemuCpu(features), '-m', `${checked.memory}B`, '-rtc', 'clock=vm,base=2000-01-01'],
        ...['-display', 'none', '-vga', 'none', '-no-hpet', '-net', 'none', '-no-reboot'],
        ...['-serial', 'null', '-monitor', 'none', '-gdb', `unix:${path('gdb')},server=on,wait=off`],
        ...['-kernel', path('kernel'), '-append', machine.cmdline ?? ''],
        ...(checked.initrd ? ['-initrd', path('initrd')] : []),
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const said = { text: '' };
    qemu.stderr?.on('data', (data: Buffer) => {
      said.text += data.toString();
    });
    gdb = await attach(qemu, path('gdb'), said);
    const from = options.from ?? (await entryOf(machine, checked.memory));
    await toEntry(gdb, from);
    options.progress(`QEMU has come to 0x${from.toString(16)}`);
    const checkpoint = await takeCheckpoint(gdb, checked.memory, path('ram'));
    return await follow(gdb, path('log'), new QemuFollower(checkpoint, features), options);
  } finally {
    gdb?.close();
    qemu?.kill('SIGKILL');
    await rm(directory, { recursive: true, force: true });
  }
}

/** Random, or not in QEMU 7.2's TCG: neither side offers it. */
const DIFFERENT = new Set([
  ...['rdrand', 'rdseed', 'x2apic', 'pcid', 'invpcid', 'tsc_deadline', 'xsaves', 'xsavec', 'xsaveopt', 'sha_ni'],
  ...['kvmclock', 'fsrm', 'rdpid'],
]);

function qemuCpu(features: ReadonlySet<string>): string {
  const added = [...features].flatMap((name) => (name in QEMU_FEATURES ? [`+${QEMU_FEATURES[name]}`] : []));
  return ['qemu64', 'vendor=GenuineIntel', '-svm', ...added].join();
}

async function attach(qemu: ReturnType<typeof spawn>, path: string, said: { text: string }): Promise<GdbRemote> {
  const failure: { error?: Error } = {};
  qemu.on('error', (error) => {
    failure.error = error;
  });
  for (let tries = 0; tries < 100; tries++) {
    await setTimeout(100);
    if (failure.error)
      throw new UsageError(`--against qemu: ${QEMU} cannot be run: ${failure.error.message}; install it`);
    if (qemu.exitCode !== null) throw new UsageError(`--against qemu: QEMU has ended: ${said.text.trim()}`);
    try {
      return await GdbRemote.connect(path);
    } catch {
      // it is not listening yet
    }
  }
  throw new UsageError('--against qemu: QEMU does not open its gdb port');
}

/** Linear address of the kernel's first instruction under QEMU, which enters all of them in protected mode. */
async function entryOf(machine: MachineOptions, memory: number): Promise<bigint> {
  const { kernel } = checkOptions(machine);
  const loaded = await loadKernel(kernel, { unpack: 'guest', maxOutput: memory });
  if (loaded.kind === 'bzimage') return BigInt(BZIMAGE_ENTRY);
  if (loaded.protocol === 'multiboot') return BigInt(loaded.entry);
  return BigInt((await loadKernel(kernel, { unpack: 'guest', maxOutput: memory, protocol: 'pvh' })).entry);
}

async function toEntry(gdb: GdbRemote, entry: bigint): Promise<void> {
  await gdb.ask('?');
  // QEMU lets only those write single registers who have read its description of them
  await gdb.ask('qXfer:features:read:target.xml:0,ffb');
  await gdb.ask(`Z1,${entry.toString(16)},1`);
  await gdb.ask('c');
  await gdb.ask(`z1,${entry.toString(16)},1`);
}

async function takeCheckpoint(gdb: GdbRemote, memory: number, file: string): Promise<QemuCheckpoint> {
  const registers = new QemuRegisters(
    (await gdb.monitor('info registers')).split(/\r?\n/).filter((l) => /^[A-Z]+\d* *=/.test(l)),
  );
  await gdb.monitor(`pmemsave 0 ${memory} "${file}"`);
  const ram = await readFile(file);
  const cpuid = new Map<string, CpuidResult>();
  for (const [first, last, subleaves] of LEAVES) {
    for (let leaf = first; leaf <= last; leaf++) {
      for (let subleaf = 0; subleaf < subleaves; subleaf++) {
        const [eax, ebx, ecx, edx] = await execute(gdb, CPUID, { rax: leaf, rcx: subleaf });
        cpuid.set(`${leaf}.${subleaf}`, { eax, ebx, ecx, edx });
      }
    }
  }
  const msrs = new Map<number, bigint>();
  for (const msr of [...MSRS, ...OWN_MSRS]) {
    const [low, , , high] = await execute(gdb, RDMSR, { rax: 0, rcx: msr });
    msrs.set(msr, (BigInt(high) << 32n) | BigInt(low));
  }
  return { registers, ram, cpuid, msrs };
}

/** Has QEMU execute one instruction of two bytes; gives EAX, EBX, ECX, EDX. All is as before afterwards. */
async function execute(
  gdb: GdbRemote,
  code: string,
  input: { readonly rax: number; readonly rcx: number },
): Promise<[number, number, number, number]> {
  const all = await gdb.ask('g');
  const at = register(all, GDB.rip).toString(16);
  const bytes = await gdb.ask(`m${at},2`);
  await gdb.ask(`M${at},2:${code}`);
  for (const [name, value] of Object.entries(input)) {
    const number = GDB[name as keyof typeof input];
    await gdb.ask(`P${number.toString(16)}=${littleEndian(BigInt(value))}`);
  }
  await gdb.ask('s');
  const after = await gdb.ask('g');
  await gdb.ask(`M${at},2:${bytes}`);
  for (const number of Object.values(GDB)) {
    await gdb.ask(`P${number.toString(16)}=${littleEndian(register(all, number))}`);
  }
  const low = (n: number): number => Number(register(after, n) & 0xffff_ffffn);
  return [low(GDB.rax), low(GDB.rbx), low(GDB.rcx), low(GDB.rdx)];
}
const littleEndian = (value: bigint): string => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
  return bytes.toString('hex');
};
const register = (all: string, n: number): bigint =>
  Buffer.from(all.slice(n * 16, n * 16 + 16), 'hex').readBigUInt64LE();

/** Lets QEMU go on with its log into a pipe, which holds it back when we are slower. */
async function follow(
  gdb: GdbRemote,
  fifo: string,
  follower: QemuFollower,
  { maxInstructions, progress }: QemuOptions,
): Promise<LockstepResult> {
  // opened for reading and writing: neither side waits for the other to open it
  const pipe = await open(fifo, constants.O_RDWR | constants.O_NONBLOCK);
  await gdb.monitor('trace-event memory_region_ops_read on');
  await gdb.monitor(`logfile ${fifo}`);
  await gdb.monitor('log cpu,exec,int,nochain');
  gdb.send('D');
  let result: LockstepResult | undefined;
  let noted = 0;
  const log = new QemuLog((event) => {
    if (result !== undefined) return;
    const difference = follower.take(event);
    if (difference !== undefined) {
      result = { kind: 'different', instructions: follower.retired, report: difference.report };
    } else if (follower.retired >= maxInstructions) {
      const end = `${follower.blocks} blocks and ${follower.interruptions} interruptions compared with QEMU`;
      result = { kind: 'same', instructions: follower.retired, end };
    } else if (follower.blocks - noted >= BLOCKS_BETWEEN_NOTES) {
      noted = follower.blocks;
      progress(`${follower.retired} instructions, ${noted} blocks, ${follower.interruptions} interruptions, the same`);
    }
  });
  const stream = createReadStream(fifo, { highWaterMark: 1 << 20 });
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      log.push(chunk.toString('latin1'));
      if (result !== undefined) return result;
    }
  } finally {
    stream.destroy();
    await pipe.close();
  }
  return { kind: 'same', instructions: follower.retired, end: 'QEMU has ended' };
}
