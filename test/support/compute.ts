import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { placeKernel } from '../../src/boot/place.ts';
import type { JitStats } from '../../src/cpu/jit/jit.ts';
import { parseCpu } from '../../src/cpu/models.ts';
import { InstructionClock } from '../../src/devices/clock.ts';
import { loadKernel } from '../../src/loader/load.ts';
import { Board } from '../../src/machine.ts';
import { GuestMemory } from '../../src/memory/guest-memory.ts';

const SOURCE = new URL('../programs/compute.c', import.meta.url).pathname;
const RAM = 32 << 20;

/** The compute load compiled for the host and for bare metal, and what the host's run printed. */
export interface ComputeProgram {
  readonly elf: Uint8Array;
  readonly expected: string;
}
export function compileCompute(rounds: number): ComputeProgram {
  const directory = mkdtempSync(join(tmpdir(), 'ukl-emu-compute-'));
  try {
    const [host, bare] = [join(directory, 'host'), join(directory, 'bare.elf')];
    const common = ['-O2', `-DROUNDS=${rounds}`, SOURCE];
    execFileSync('gcc', [...common, '-o', host]);
    execFileSync('gcc', [
      ...['-DBARE', '-ffreestanding', '-nostdlib', '-static', '-fno-pic', '-no-pie', '-mno-red-zone', '-mno-sse'],
      ...['-fno-stack-protector', '-Wl,-Ttext-segment=0x200000', '-Wl,--build-id=none', ...common, '-o', bare],
    ]);
    return { elf: readFileSync(bare), expected: execFileSync(host, { encoding: 'utf8' }).trim() };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

export interface ComputeRun {
  readonly output: string;
  readonly instructions: number;
  readonly cpuSeconds: number;
  readonly jit: JitStats | undefined;
}
/** Runs the bare-metal program on the machine, on the instruction clock. */
export async function runCompute(elf: Uint8Array, engine: 'auto' | 'interpreter', threshold = 4): Promise<ComputeRun> {
  const memory = GuestMemory.allocate(RAM);
  const kernel = await loadKernel({ name: 'compute.elf', bytes: elf }, { unpack: 'host', maxOutput: RAM });
  const placed = placeKernel(kernel, memory, { cmdline: '', acpi: { cpus: 1, hpet: false } });
  let output = '';
  let done = false;
  const machine: { board?: Board } = {};
  const clock = new InstructionClock(() => machine.board?.cpu.retired ?? 0);
  const board = new Board({
    memory,
    clock,
    features: parseCpu('x86-64-v2'),
    virtio: [],
    random: () => 0n,
    onSerial: () => {},
    onDebugConsole: (bytes) => {
      output += new TextDecoder().decode(bytes);
    },
    onPowerOff: () => {},
    onReset: () => {},
    debugExit: {
      port: 0xf4,
      onExit: () => {
        done = true;
        board.cpu.stop();
      },
    },
    engine,
    jit: { threshold, maxRegions: 1000 },
  });
  machine.board = board;
  board.enter(placed.entry);
  const before = process.cpuUsage();
  while (!done) {
    const exit = board.cpu.run(200_000);
    if (exit.kind !== 'budget') throw new Error(`the program ended with ${exit.kind}`);
  }
  const used = process.cpuUsage(before);
  board.debugConsole.flush();
  return {
    output: output.trim(),
    instructions: board.cpu.retired,
    cpuSeconds: (used.user + used.system) / 1e6,
    jit: board.cpu.jit?.stats,
  };
}
