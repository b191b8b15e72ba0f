import type { Observer } from '../../src/machine/observer.ts';
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import type { BareMetal } from './bare-metal.ts';

/** RAM of a bare processor as the machine's devices see it. */
export function memoryOf({ ram }: BareMetal): GuestMemory {
  return new GuestMemory({ buffer: ram.buffer } as WebAssembly.Memory, ram.length);
}

/** Runs a bare processor until HLT, with an observer looking on as the machine's run loop lets it. */
export function runObserved(bench: BareMetal, observer: Observer, budget = 100_000): void {
  const { cpu } = bench;
  const end = cpu.retired + budget;
  while (cpu.retired < end) {
    const exit = cpu.run(Math.min(end - cpu.retired, observer.limit(cpu.retired)));
    observer.ran(cpu.retired);
    if (exit.kind !== 'budget') return;
  }
}

/** CPUID that marks a region (docs/markers.md): `name` is where its name lies. */
export function markerCode(kind: 1 | 2, name: number, operations = 0): string {
  const word = (value: number): string =>
    [0, 8, 16, 24].map((shift) => ((value >>> shift) & 0xff).toString(16).padStart(2, '0')).join('');
  return `b8${word(0x4f4c4b55)}b9${word(kind)}bb${word(name)}ba${word(operations)}0fa2`;
}

/** Zero-terminated text into RAM. */
export function placeText({ ram }: BareMetal, at: number, text: string): void {
  ram.set([...new TextEncoder().encode(text), 0], at);
}
