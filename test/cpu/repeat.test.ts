import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { STATE } from '../../src/cpu/state.ts';
import { AT, BareMetal, type Driver } from '../support/bare-metal.ts';

/** Nothing is translated before it is asked for. */
const NEVER = 1_000_000;
const REPEATED: Readonly<Record<string, string>> = {
  'rep movsb': 'f3a4',
  'rep movsq': 'f348a5',
  'rep stosd': 'f3ab',
  'rep lodsw': 'f366ad',
  'repe cmpsb': 'f3a6',
  'repne scasb': 'f2ae',
};
const END_OF_RAM = 0x20_0000;
const little = (value: number): string => Buffer.from(Uint32Array.of(value).buffer).toString('hex');

/** L: mov ecx, count; mov esi, source; mov edi, destination; REP...; inc rbx; jmp L */
function program(repeated: string, count: number, source: number, destination: number): string {
  const body = `b9${little(count)}be${little(source)}bf${little(destination)}${repeated}48ffc3`;
  const jump = (256 - (body.length / 2 + 2)).toString(16);
  return `${body}eb${jump}`;
}
function prepare(driver: Driver, code: string): BareMetal {
  const machine = new BareMetal(driver, 'max', { threshold: NEVER });
  machine.enter('long');
  machine.place(code);
  for (let n = 0; n < 0x2000; n++) machine.ram[AT.data + n] = n & 0x30;
  machine.cpu.run(4);
  if (driver === 'translator') {
    const { ip } = machine.cpu;
    machine.cpu.ip = BigInt(machine.codeAt);
    expect(machine.cpu.translateHere()).toBe(true);
    machine.cpu.ip = ip;
  }
  return machine;
}
const seen = ({ cpu, ram }: BareMetal): unknown => ({
  ip: cpu.ip,
  retired: cpu.retired,
  repetitions: cpu.state.get64(STATE.repIterations),
  flags: cpu.processor.eflags,
  gpr: Array.from({ length: 16 }, (_, n) => cpu.processor.gpr(n)),
  ram: Buffer.from(ram.buffer, ram.byteOffset + AT.data - 64, 0x2040).toString('hex'),
});

describe('repeated string instructions in translated code', () => {
  // in plain RAM, across pages, over one another, into the code's own page, from and to where nothing is mapped
  const place = fc.oneof(
    fc.integer({ min: AT.data, max: AT.data + 0x1c00 }),
    fc.integer({ min: AT.code + 0x40, max: AT.code + 0x80 }),
    fc.integer({ min: END_OF_RAM - 40, max: END_OF_RAM }),
  );
  it.each(Object.entries(REPEATED))(
    '%s leaves what the interpreter leaves, wherever the budget ends',
    (_, repeated) => {
      let translated = 0;
      fc.assert(
        fc.property(
          fc.integer({ min: 0, max: 300 }),
          place,
          place,
          fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 8 }),
          (count, source, destination, budgets) => {
            const code = program(repeated, count, source, destination);
            const [interpreter, translator] = [prepare('interpreter', code), prepare('translator', code)];
            for (const budget of budgets) {
              const [a, b] = [interpreter.cpu.run(budget), translator.cpu.run(budget)];
              expect(b).toEqual(a);
              expect(seen(translator)).toEqual(seen(interpreter));
              if (a.kind !== 'budget') break;
            }
            translated += translator.cpu.counter('regionInstructions');
          },
        ),
        { numRuns: 40 },
      );
      expect(translated).toBeGreaterThan(0);
    },
  );
});
