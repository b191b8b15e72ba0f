import { describe, expect, test } from 'vitest';
import { LinearView } from '../../../src/cpu/linear-view.ts';
import { SymbolTable } from '../../../src/loader/symbols.ts';
import { CallSites } from '../../../src/profile/call-site.ts';
import { KernelMap } from '../../../src/profile/kernel-map.ts';
import { StackDepths } from '../../../src/profile/stack-depth.ts';
import { StackWalker } from '../../../src/profile/stack-walker.ts';
import { AT, BareMetal, bytesOf } from '../../support/bare-metal.ts';
import { memoryOf } from '../../support/observed.ts';

/** Functions of 256 bytes each, in order from AT.code, with a HLT after them; the processor starts in the first. */
function program(functions: Readonly<Record<string, string>>) {
  const metal = new BareMetal('interpreter', 'x86-64-v2');
  metal.enter('long');
  const names = Object.keys(functions);
  const addressOf = (name: string): number => AT.code + names.indexOf(name) * 0x100;
  for (const [name, code] of Object.entries(functions)) {
    // {name} stands for the displacement of a call or jump to it
    let hex = '';
    for (const part of code.split(/(\{\w+\})/)) {
      const target = /^\{(\w+)\}$/.exec(part)?.[1];
      if (target === undefined) hex += part.replace(/\s/g, '');
      else hex += hex32(addressOf(target) - (addressOf(name) + hex.length / 2 + 4));
    }
    metal.ram.set(bytesOf(hex), addressOf(name));
  }
  const symbols = [...names, 'end'].map((name, index) => ({ name, address: BigInt(AT.code + index * 0x100), size: 0 }));
  const map = new KernelMap(new SymbolTable(symbols));
  const view = new LinearView(metal.cpu.state, memoryOf(metal));
  return { metal, map, view, addressOf, walker: new StackWalker(metal.cpu.state, view, map) };
}

function hex32(value: number): string {
  return [0, 8, 16, 24].map((shift) => ((value >>> shift) & 0xff).toString(16).padStart(2, '0')).join('');
}

const namesOf = (walker: StackWalker): string[] => walker.walk().map(({ name }) => name);

describe('callers', () => {
  test('without frame pointers, at every instruction of a chain of calls', () => {
    const { metal, walker, addressOf } = program({
      // call outer; hlt
      start: 'e8{outer} f4',
      // push rbx; sub rsp, 0x18; call inner; add rsp, 0x18; pop rbx; ret
      outer: '53 4883ec18 e8{inner} 4883c418 5b c3',
      // push r12; push rbp; test edi, edi; jz +1; nop; pop rbp; pop r12; ret
      inner: '4154 55 85ff 7401 90 5d 415c c3',
    });
    // what lies about on the stack: a return address that nothing has pushed in this chain
    metal.set64(AT.stack - 0x30, BigInt(addressOf('start') + 5));
    const seen = new Set<string>();
    metal.cpu.ip = BigInt(AT.code);
    for (let step = 0; step < 30; step++) {
      if (metal.cpu.run(1).kind !== 'budget') break;
      seen.add(namesOf(walker).join(' '));
    }
    expect([...seen]).toEqual(['outer start', 'inner outer start', 'start']);
  });

  test('by way of a call through a register, a tail call, and a frame of unknown size', () => {
    const { metal, walker, addressOf } = program({
      // mov eax, viaRegister; call rax; hlt
      start: `b8${hex32(AT.code + 0x100)} ffd0 f4`,
      // push rbx; call tail; pop rbx; ret
      viaRegister: '53 e8{tail} 5b c3',
      // sub rsp, 0x28; add rsp, 0x28; jmp aligned
      tail: '4883ec28 4883c428 e9{aligned}',
      // push rbp; mov rbp, rsp; and rsp, -64; sub rsp, 0x40; call leaf; leave; ret
      aligned: '55 4889e5 4883e4c0 4883ec40 e8{leaf} c9 c3',
      leaf: '90 c3',
    });
    metal.cpu.ip = BigInt(AT.code);
    for (let step = 0; step < 40 && Number(metal.cpu.ip) !== addressOf('leaf'); step++) metal.cpu.run(1);
    // the tail call has left no trace: what called `tail` called `aligned`
    expect(namesOf(walker)).toEqual(['leaf', 'aligned']);
    for (let step = 0; step < 2; step++) metal.cpu.run(1);
    // back in `aligned`, whose LEAVE knows the frame
    metal.cpu.run(1);
    expect(namesOf(walker)).toEqual(['aligned', 'viaRegister', 'start']);
  });
});

describe('the depth of the stack', () => {
  test('follows branches, frame pointers and LEA', () => {
    const { view, map, addressOf } = program({
      // push rax; cmp eax, 1; je +10; lea rsp, [rsp-0x10]; lea rsp, [rsp+0x10]; pop rcx; ret
      one: '50 83f801 740a 488d6424f0 488d642410 59 c3',
      two: '55 4889e5 4883ec20 c9 c3',
    });
    const depths = new StackDepths(view, map);
    const one = addressOf('one');
    const offsets = [0, 1, 4, 6, 11, 16, 17];
    expect(offsets.map((offset) => depths.at(one, one + offset))).toEqual([0, 8, 8, 8, 24, 8, 0]);
    const two = addressOf('two');
    expect([0, 1, 4, 8, 9].map((offset) => depths.at(two, two + offset))).toEqual([0, 8, 8, 40, 0]);
    expect(depths.at(two, two + 2)).toBeUndefined();
  });
});

describe('return addresses', () => {
  const { metal, view } = program({ start: 'f4' });
  const at = AT.data + 0x100;
  test.each([
    ['e8 10000000', at + 0x10],
    ['ff d0', undefined],
    ['41 ff d3', undefined],
    ['ff 53 18', undefined],
    ['ff 54 24 08', undefined],
    ['ff 90 10010000', undefined],
    ['ff 15 10010000', undefined],
    ['ff 94 24 10010000', undefined],
    ['ff 14 c5 00000081', undefined],
  ])('follow %s', (hex, target) => {
    const code = bytesOf(hex);
    metal.ram.fill(0x90, at - 16, at);
    metal.ram.set(code, at - code.length);
    expect(new CallSites(view).before(at)).toEqual({ target });
  });

  test.each(['90', 'ff e0', 'ff d0 90', 'e9 10000000', 'ff 35 10010000'])('do not follow %s', (hex) => {
    const code = bytesOf(hex);
    metal.ram.fill(0x90, at - 16, at);
    metal.ram.set(code, at - code.length);
    expect(new CallSites(view).before(at)).toBeUndefined();
  });

  test('lie in memory', () => expect(new CallSites(view).before(0x4000_0000)).toBeUndefined());
});
