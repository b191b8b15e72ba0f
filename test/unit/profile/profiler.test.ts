import { describe, expect, test } from 'vitest';
import { SymbolTable } from '../../../src/loader/symbols.ts';
import { collapsedStacks } from '../../../src/profile/collapsed.ts';
import { Profiler } from '../../../src/profile/profiler.ts';
import { AT, BareMetal, DRIVERS } from '../../support/bare-metal.ts';
import { markerCode, memoryOf, placeText, runObserved } from '../../support/observed.ts';

const symbols = new SymbolTable([
  { name: 'first', address: BigInt(AT.code), size: 0x20 },
  { name: 'second', address: BigInt(AT.code + 0x20), size: 0xe0 },
]);
/** first: 1000 rounds of dec ecx; jnz. second: 3000 of them, marked. */
const FIRST = 'b9e8030000ffc975fc';
const SECOND = `${markerCode(1, AT.data)}b9b80b0000ffc975fc${markerCode(2, AT.data)}`;
const CODE = FIRST.padEnd(0x40, '90') + SECOND;

describe.each(DRIVERS)('samples by instructions, %s', (driver) => {
  function sampled(region?: string) {
    const bench = new BareMetal(driver, 'x86-64-v2');
    bench.enter('long');
    placeText(bench, AT.data, 'loop');
    bench.place(`${CODE}f4`);
    const profiler = new Profiler({ symbols, interval: 50, ...(region !== undefined && { region }) });
    profiler.attach({ cpu: bench.cpu, memory: memoryOf(bench) });
    runObserved(bench, profiler);
    return { profiler, retired: bench.cpu.retired };
  }

  test('are as many as there are intervals, in proportion to where the instructions were', () => {
    const { profiler, retired } = sampled();
    const { root } = profiler.profile;
    expect(root.total).toBeGreaterThan((retired / 50) * 0.9);
    expect(root.total).toBeLessThan((retired / 50) * 1.1);
    const kernel = root.children.get('task kernel')!;
    expect(kernel.children.get('kernel first')!.self / root.total).toBeCloseTo(0.25, 1);
    expect(kernel.children.get('kernel second')!.self / root.total).toBeCloseTo(0.75, 1);
  });

  test('are the same in every run, and leave the run as it was', () => {
    const first = sampled();
    const again = sampled();
    expect(collapsedStacks(again.profiler.profile)).toBe(collapsedStacks(first.profiler.profile));
    const bench = new BareMetal(driver, 'x86-64-v2');
    bench.enter('long');
    bench.place(`${CODE}f4`);
    bench.cpu.run(100_000);
    expect(bench.cpu.retired).toBe(first.retired);
  });

  test('are taken only inside a marked region', () => {
    const inside = sampled('loop').profiler.profile.root;
    expect([...inside.children.get('task kernel')!.children.keys()]).toEqual(['kernel second']);
    expect(inside.total).toBeGreaterThan(100);
    expect(sampled('other').profiler.profile.root.total).toBe(0);
  });
});
