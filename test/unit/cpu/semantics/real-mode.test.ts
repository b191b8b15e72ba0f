import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { Cpu, type CpuBus } from '../../../../src/cpu/cpu.ts';
import { parseCpu } from '../../../../src/cpu/models.ts';
import { STATE } from '../../../../src/cpu/state.ts';
import { SEG } from '../../../../src/cpu/system/processor.ts';

/** 16-bit code at 1000h of a machine with 1 MiB of RAM and nothing else; it ends with HLT. */
const CODE = 0x1000;
const RAM_SIZE = 0x10_0000;
const HLT = 0xf4;

const bus: CpuBus = {
  mmioRead: () => 0xffff_ffff,
  mmioWrite: () => {},
  portIn: () => 0xffff_ffff,
  portOut: () => {},
  readTsc: () => 0,
  random: () => 0n,
  acknowledgeInterrupt: () => -1,
  taskPriority: 0,
  msr: {
    apicBase: 0n,
    writeApicBase: () => false,
    readTsc: () => 0n,
    writeTsc: () => {},
    readTscDeadline: () => 0n,
    writeTscDeadline: () => {},
    readX2apic: () => undefined,
    writeX2apic: () => false,
  },
};

const features = parseCpu('max');
const ram = new WebAssembly.Memory({ initial: RAM_SIZE / 65536 });
const bytes = new Uint8Array(ram.buffer);
const cpu = new Cpu({
  ram,
  ramSize: RAM_SIZE,
  ramLow: RAM_SIZE,
  features,
  cpuid: { features, tscFrequency: 1e9, physicalBits: 40, cpus: 1, apicId: 0 },
  bus,
});

const REGISTERS = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'] as const;
type Registers = Partial<Record<(typeof REGISTERS)[number], number>>;

function start(code: readonly number[], registers: Registers, eflags = 2): void {
  bytes.set([...code, HLT], CODE);
  cpu.ramWritten(CODE, code.length + 1);
  cpu.reset();
  cpu.processor.setSegment(SEG.cs, 0, 0n, 0xffff, 0x9b);
  cpu.processor.setEflags(eflags);
  cpu.processor.modeChanged();
  for (const [name, value] of Object.entries(registers))
    cpu.processor.setGpr(REGISTERS.indexOf(name as 'ax'), BigInt(value));
  cpu.ip = BigInt(CODE);
}
const register = (name: (typeof REGISTERS)[number]): number => cpu.state.get32(STATE.gpr + REGISTERS.indexOf(name) * 8);
/** Runs to HLT in slices of at most `slice` instructions. Yields how many retired, HLT not counted. */
function run(slice = 1_000_000): number {
  const before = cpu.retired;
  for (let i = 0; i < 100_000; i++) if (cpu.run(slice).kind === 'halt') return cpu.retired - before - 1;
  throw new Error('no HLT');
}
const snapshot = (): unknown => ({
  registers: REGISTERS.map(register),
  flags: cpu.processor.eflags,
  memory: Buffer.from(bytes.subarray(0x2000, 0x9000)).toString('latin1'),
});

beforeEach(() => bytes.fill(0, 0x2000));

describe('repeated string instructions', () => {
  const CODES: Readonly<Record<string, readonly number[]>> = {
    'rep movsb': [0xf3, 0xa4],
    'rep movsd': [0xf3, 0x66, 0xa5],
    'rep stosw': [0xf3, 0xab],
    'rep lodsb': [0xf3, 0xac],
    'repe cmpsw': [0xf3, 0xa7],
    'repne scasb': [0xf2, 0xae],
  };

  it('give the same result and instruction count however the budget is sliced', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...Object.keys(CODES)),
        fc.integer({ min: 0, max: 700 }),
        fc.integer({ min: -8, max: 40 }),
        fc.boolean(),
        fc.integer({ min: 1, max: 60 }),
        (name, cx, distance, down, slice) => {
          const registers = { ax: 0x0505, cx, si: 0x5000, di: 0x5000 + distance, sp: 0x8000 };
          const once = (most: number): { retired: number; state: unknown } => {
            for (let i = 0x2000; i < 0x9000; i++) bytes[i] = i % 7 === 3 ? 9 : 5;
            start(CODES[name]!, registers, down ? 0x402 : 2);
            return { retired: run(most), state: snapshot() };
          };
          const whole = once(1_000_000);
          const sliced = once(slice);
          expect(sliced).toEqual(whole);
          // one for each iteration; a count of 0 still is an instruction
          expect(whole.retired).toBe(Math.max(1, cx - register('cx')));
        },
      ),
      { numRuns: 150 },
    );
  });
});

describe('16-bit code', () => {
  it('wraps string offsets at 64 KiB', () => {
    start([0xf3, 0xaa], { ax: 0x77, cx: 4, di: 0xfffe });
    cpu.processor.setSegment(SEG.es, 0x2000, 0x2_0000n, 0xffff, 0x93);
    expect(run()).toBe(4);
    expect([bytes[0x2_fffe], bytes[0x2_ffff], bytes[0x2_0000], bytes[0x2_0001], bytes[0x3_0000]]).toEqual([
      0x77, 0x77, 0x77, 0x77, 0,
    ]);
    expect([register('di'), register('cx')]).toEqual([2, 0]);
  });

  it('pushes and pops at 16-bit stack addresses, wrapping', () => {
    // push ax; push imm32 (66); pop edx (66); pop bx
    start([0x50, 0x66, 0x68, 0x78, 0x56, 0x34, 0x12, 0x66, 0x5a, 0x5b], { ax: 0xabcd, sp: 2 });
    run();
    expect([register('dx'), register('bx'), register('sp')]).toEqual([0x1234_5678, 0xabcd, 2]);
  });

  it('PUSHA and POPA restore every register but SP', () => {
    const registers = { ax: 1, cx: 2, dx: 3, bx: 4, sp: 0x8000, bp: 5, si: 6, di: 7 };
    // pusha; xor of everything with itself; popa
    start([0x60, 0x31, 0xc0, 0x31, 0xc9, 0x31, 0xd2, 0x31, 0xdb, 0x31, 0xed, 0x31, 0xf6, 0x31, 0xff, 0x61], registers);
    run();
    expect(REGISTERS.map(register)).toEqual(Object.values(registers));
    expect(new DataView(bytes.buffer).getUint16(0x8000 - 10, true)).toBe(0x8000);
  });

  it('calls, returns and loops inside the segment', () => {
    // call +4; hlt (end); ... target: inc ax; loop target; ret 2
    start([0x6a, 0x09, 0xe8, 0x01, 0x00, HLT, 0x40, 0xe2, 0xfd, 0xc2, 0x02, 0x00], { cx: 5, sp: 0x8000 });
    expect(run()).toBe(2 + 5 * 2 + 1);
    expect([register('ax'), register('cx'), register('sp')]).toEqual([5, 0, 0x8000]);
  });

  it('ENTER with nesting and LEAVE undo each other', () => {
    // mov bp, sp; enter 10h,3; leave
    start([0x89, 0xe5, 0xc8, 0x10, 0x00, 0x03, 0xc9], { sp: 0x8000 });
    run();
    expect([register('sp'), register('bp')]).toEqual([0x8000, 0x8000]);
    const view = new DataView(bytes.buffer);
    // the old frame pointer, two of the enclosing frames', the new one
    expect([0x7ffe, 0x7ff8].map((at) => view.getUint16(at, true))).toEqual([0x8000, 0x7ffe]);
  });

  it('adjusts decimal digits', () => {
    // mov al,79h; add al,35h; daa -> 14 with carry; aam
    start([0xb0, 0x79, 0x04, 0x35, 0x27], {});
    run();
    expect([register('ax'), cpu.processor.eflags & 1]).toEqual([0x14, 1]);
    start([0xd4, 0x0a], { ax: 0x4f });
    run();
    expect(register('ax')).toBe(0x0709);
  });
});
