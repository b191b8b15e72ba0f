import { expect, test } from 'vitest';
import { RegionCounter } from '../../../src/bench/region-counter.ts';
import { SymbolTable } from '../../../src/loader/symbols.ts';
import { KernelMap } from '../../../src/profile/kernel-map.ts';
import { AT, BareMetal, bytesOf } from '../../support/bare-metal.ts';
import { markerCode, memoryOf, placeText, runObserved } from '../../support/observed.ts';

const NAME = AT.data;
const symbol = (name: string, address: number) => ({ name, address: BigInt(address), size: 0 });
const MAP = new KernelMap(
  new SymbolTable([
    symbol('__entry_text_start', AT.handlers),
    symbol('asm_handler', AT.handlers),
    symbol('__entry_text_end', AT.handlers + 0x1000),
    symbol('program', AT.code),
    symbol('elsewhere', AT.code + 0x1000),
    symbol('beyond', AT.data),
  ]),
);
/** Leaves an exception with an error code at the next instruction, of `length` bytes, and an interrupt. */
const skip = (length: number): string => `4883c40848830424${length.toString(16).padStart(2, '0')}48cf`;
const RETURN = '9048cf';

function count(body: string, handlers: Readonly<Record<number, string>> = {}, interrupts: readonly number[] = []) {
  const bench = new BareMetal('interpreter', 'x86-64-v2');
  bench.enter('long');
  placeText(bench, NAME, 'body/call');
  for (const [vector, code] of Object.entries(handlers))
    bench.ram.set(bytesOf(code), AT.handlers + Number(vector) * 16);
  bench.interrupts.push(...interrupts);
  if (interrupts.length > 0) bench.cpu.setInterruptPending(true);
  bench.place(`90${markerCode(1, NAME, 4)}${body}${markerCode(2, NAME)}f4`);
  const counter = new RegionCounter(MAP);
  counter.attach({ cpu: bench.cpu, memory: memoryOf(bench) });
  runObserved(bench, counter);
  return { region: counter.results()[0]!, regions: counter.results().length, bench };
}
/** Of the marker at the end, before its CPUID. */
const MARKER = 4;

test('instructions, transitions and REP iterations between the markers', () => {
  // pushf; popf; cli; sti; nop; mov ecx, 5; mov edi, data + 0x100; rep stosb
  const { region } = count('9c9dfafb90b905000000bf00010200f3aa');
  expect(region).toMatchObject({ name: 'body/call', operations: 4 });
  expect(region.instructions).toEqual({ total: 12 + MARKER, user: 0, entryExit: 0, kernel: 12 + MARKER });
  expect(region.transitions).toMatchObject({ pushf: 1, popf: 1, cli: 1, sti: 1, iret: 0, syscall: 0 });
  expect(region.events).toMatchObject({ repIterations: 4, pageFaults: 0, interrupts: 0 });
  expect(region.functions).toEqual([{ name: 'program', instructions: 12 + MARKER }]);
});

test('a page fault is counted, and its handler as entry code', () => {
  // mov eax, [0x300000]; mov cr3, rbx with RBX = CR3
  const { region } = count('8b0425000030000f20db0f22db', { 14: skip(7) });
  expect(region.events).toMatchObject({ pageFaults: 1, doubleFaults: 0, otherExceptions: 0, cr3Writes: 1 });
  expect(region.instructions).toEqual({ total: 5 + MARKER, user: 0, entryExit: 3, kernel: 2 + MARKER });
  expect(region.transitions.iret).toBe(1);
});

test('a page fault that cannot be pushed is a double fault', () => {
  // mov rsp, 0x300008 makes the fault of mov eax, [0x300000] another one; the handler is on an IST and goes on after it
  const bench = new BareMetal('interpreter', 'x86-64-v2');
  bench.enter('long');
  bench.idtGate(8, { ist: 1 });
  placeText(bench, NAME, 'stack');
  // handler of #DF: mov rsp, stack; jmp to the end of the program
  const start = `${markerCode(1, NAME, 1)}48c7c4080030008b042500003000`;
  const end = AT.code + start.length / 2;
  bench.ram.set(bytesOf(`bc00080300b8${hex32(end)}ffe0`), AT.handlers + 8 * 16);
  bench.place(`${start}${markerCode(2, NAME)}f4`);
  const counter = new RegionCounter(MAP);
  counter.attach({ cpu: bench.cpu, memory: memoryOf(bench) });
  runObserved(bench, counter);
  expect(counter.results()[0]).toMatchObject({
    events: { pageFaults: 0, doubleFaults: 1 },
    instructions: { entryExit: 3, kernel: 1 + MARKER },
  });
});

test('what an interrupt executes is kept apart, delivered before an instruction or after the one that lets it in', () => {
  // sti; nop; nop; cli and: push 0x202; popf; cli
  for (const [body, own] of [
    ['fb9090fa', 4],
    ['68020200009dfa', 3],
  ] as const) {
    const { region } = count(body, { 64: RETURN }, [0x40]);
    expect(region.events).toMatchObject({ interrupts: 1, interruptInstructions: 2 });
    expect(region.instructions.total, body).toBe(own + MARKER);
    expect(region.transitions.iret).toBe(0);
  }
});

test('visits add up, and nothing outside is counted', () => {
  const bench = new BareMetal('interpreter', 'x86-64-v2');
  bench.enter('long');
  placeText(bench, NAME, 'loop');
  placeText(bench, NAME + 16, 'inner');
  const inner = `${markerCode(1, NAME + 16, 1)}${markerCode(2, NAME + 16)}`;
  const body = `9090${markerCode(1, NAME, 5)}90${inner}${markerCode(2, NAME)}9090`;
  const back = (256 - (body.length / 2 + 4)).toString(16);
  bench.place(`bf03000000${body}ffcf75${back}f4`);
  const counter = new RegionCounter(MAP);
  counter.attach({ cpu: bench.cpu, memory: memoryOf(bench) });
  runObserved(bench, counter);
  // a region within another is passed over, its markers are ordinary instructions
  expect(counter.results()).toMatchObject([
    { name: 'loop', operations: 15, instructions: { total: 3 * (1 + 10 + MARKER) } },
  ]);
});

function hex32(value: number): string {
  return [0, 8, 16, 24].map((shift) => ((value >>> shift) & 0xff).toString(16).padStart(2, '0')).join('');
}
