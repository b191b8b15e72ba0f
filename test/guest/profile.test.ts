import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { type RegionCount, RegionCounter } from '../../src/bench/region-counter.ts';
import { parseSymbolMap, type SymbolTable } from '../../src/loader/symbols.ts';
import { collapsedStacks } from '../../src/profile/collapsed.ts';
import { KernelMap } from '../../src/profile/kernel-map.ts';
import { Profiler } from '../../src/profile/profiler.ts';
import { cmdline, ECHO_KERNEL, echoMachine, prebuilt } from './support.ts';

function symbolsOf(kernel: string): SymbolTable {
  return parseSymbolMap(gunzipSync(readFileSync(kernel.replace('.bzImage', '.System.map.gz'))).toString());
}

describe('bench syscall', () => {
  const KERNEL = prebuilt('ukl-bench.bzImage');
  const symbols = symbolsOf(KERNEL);

  /** Counts of the first operations of syscall-bench. */
  async function count(app: string, engine: 'auto' | 'interpreter'): Promise<RegionCount[]> {
    const counter = new RegionCounter(new KernelMap(symbols));
    await using machine = await echoMachine(app, {
      kernel: readFileSync(KERNEL),
      cmdline: cmdline(app),
      clock: 'instructions',
      exitOn: /name=getppid /,
      engine,
      observer: counter,
    });
    expect(await machine.run()).toMatchObject({ kind: 'matched' });
    return counter.results();
  }

  test('getppid is counted to the instruction, by SYSCALL and by call, on both engines', async () => {
    const user = await count('bench-user', 'auto');
    expect(user.map(({ name }) => name)).toEqual(['empty-loop/syscall', 'getppid/syscall']);
    const [, getppid] = user;
    expect(getppid?.operations).toBe(1000);
    expect(Math.round(getppid!.instructions.total / 1000)).toBe(196);
    expect(getppid?.transitions).toMatchObject({
      syscall: 1000,
      sysret: 1000,
      swapgs: 2000,
      cli: 1000,
      sti: 1000,
      popf: 0,
    });

    const call = await count('ukl', 'interpreter');
    expect(Math.round(call[1]!.instructions.total / 1000)).toBe(189);
    expect(call[1]!.transitions).toMatchObject({ syscall: 0, sysret: 0, swapgs: 0, pushf: 1000, popf: 1000 });
    expect(call[1]!.functions[0]?.name).toBe('ukl_entry_SYSCALL_64');
    const { user: application, entryExit, kernel } = call[1]!.instructions;
    expect([application, entryExit, kernel].map((part) => Math.round(part / 1000))).toEqual([13, 133, 43]);
    // TLB misses may depend on the engine, counts may not
    const counts = ({ instructions, transitions, functions }: RegionCount) => ({
      instructions,
      transitions,
      functions,
    });
    expect((await count('ukl', 'auto')).map(counts)).toEqual(call.map(counts));
  });
});

describe('profile', () => {
  test('of a boot: the same in every run, tasks and chains of callers by name', async () => {
    const symbols = symbolsOf(ECHO_KERNEL);
    const run = async (): Promise<string> => {
      const profiler = new Profiler({ symbols, interval: 20_000 });
      await using machine = await echoMachine('ukl', {
        clock: 'instructions',
        exitOn: /UKL-EMU: app/,
        observer: profiler,
      });
      expect(await machine.run()).toMatchObject({ kind: 'matched' });
      return collapsedStacks(profiler.profile);
    };
    const first = await run();
    expect(first).toMatch(/^swapper;start_kernel;setup_arch;/m);
    expect(first).toMatch(/^\w+;\[user\];entry_SYSCALL_64_after_hwframe;do_syscall_64;\w+;.*vfs_/m);
    expect(first).toMatch(/;asm_exc_page_fault;exc_page_fault;.*__handle_mm_fault/m);
    const lines = first.trim().split('\n');
    const samples = (chosen: readonly string[]): number =>
      chosen.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
    const rooted = lines.filter((line) =>
      /^\S+?;(\[user\]|\[low_memory\]|start_kernel|x86_64_start_kernel|ret_from_fork|\w+;ret_from_fork)/.test(line),
    );
    expect(samples(rooted) / samples(lines)).toBeGreaterThan(0.95);
    expect(await run()).toBe(first);
  });
});
