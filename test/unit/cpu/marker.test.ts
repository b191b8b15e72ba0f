import { describe, expect, test } from 'vitest';
import { LinearView } from '../../../src/cpu/linear-view.ts';
import type { Marker } from '../../../src/cpu/marker.ts';
import { AT, BareMetal, DRIVERS, USER } from '../../support/bare-metal.ts';
import { markerCode, memoryOf, placeText } from '../../support/observed.ts';

const NAME = AT.data + 0x100;

describe.each(DRIVERS)('markers, %s', (driver) => {
  /** A loop of three rounds with a region of two instructions in it; what was heard of each marker, and when. */
  function loop(mode: 'long' | 'user', listens: boolean) {
    const bench = new BareMetal(driver, 'x86-64-v2');
    bench.enter(mode);
    const name = mode === 'user' ? USER.data + 0x100 : NAME;
    placeText(bench, mode === 'user' ? AT.userData + 0x100 : NAME, 'region one');
    const view = new LinearView(bench.cpu.state, memoryOf(bench));
    const heard: (Omit<Marker, 'name'> & { name: string; at: number })[] = [];
    if (listens) {
      bench.cpu.onMarker = (marker) =>
        heard.push({ ...marker, name: view.text(Number(marker.name), 32), at: bench.cpu.retired });
    }
    const body = `${markerCode(1, name, 7)}ffc6ffc6${markerCode(2, name)}`;
    // mov esi, 0; mov edi, 3; body; dec edi; jnz body
    const back = 256 - (body.length / 2 + 4);
    const outcome = bench.run(`be00000000bf03000000${body}ffcf75${back.toString(16)}`);
    return { heard, retired: bench.cpu.retired, gpr: outcome.gpr.slice(0, 8) };
  }

  test('are heard with their exact count of instructions, in ring 0 and ring 3', () => {
    for (const mode of ['long', 'user'] as const) {
      const { heard } = loop(mode, true);
      const rounds = [0, 1, 2].map((round) => 2 + round * 14);
      expect(heard).toEqual(
        rounds.flatMap((start) => [
          { kind: 'begin', name: 'region one', operations: 7, at: start + 5 },
          { kind: 'end', name: 'region one', operations: 0, at: start + 12 },
        ]),
      );
    }
  });

  test('change nothing but the registers that CPUID writes, heard or not', () => {
    const deaf = loop('long', false);
    expect(loop('long', true)).toMatchObject({ retired: deaf.retired, gpr: deaf.gpr });
    // RAX RCX RDX RBX
    expect(deaf.gpr.slice(0, 4)).toEqual([0n, 0n, 0n, 0n]);
  });

  test('of an unknown kind, and CPUID of another leaf, are none', () => {
    const bench = new BareMetal(driver, 'x86-64-v2');
    bench.enter('long');
    let heard = 0;
    bench.cpu.onMarker = () => heard++;
    bench.run(`${markerCode(1, NAME).replace('b901', 'b903')}b800000040b9010000000fa2`);
    expect(heard).toBe(0);
  });
});
