import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state.ts';
import { SEG } from '../../../src/cpu/system/processor.ts';
import { AT, BareMetal, DRIVERS, GDT, type Mode, type Outcome, USER } from '../../support/bare-metal.ts';

/** One instruction that faults. Oracle of each: the section of the SDM named. */
interface FaultCase {
  readonly name: string;
  readonly oracle: string;
  readonly mode: Mode;
  readonly code: string;
  readonly setup?: (b: BareMetal) => void;
  readonly vector: number;
  readonly error?: number;
  readonly cr2?: bigint;
  /** Offset of the saved instruction pointer from the start of the code; 0 for a fault at the first instruction. */
  readonly at?: number;
  /** General registers that the code before it changes. */
  readonly changes?: readonly number[];
  readonly after?: (b: BareMetal, o: Outcome) => void;
}
const RF = 0x1_0000;
/** Exceptions whose saved RFLAGS has RF set (SDM vol. 3, 17.3.1.1). */
const isFaultClass = (vector: number): boolean => ![1, 3, 4, 8, 0x80].includes(vector);
const gpr = (index: number, value: bigint) => (b: BareMetal) => b.cpu.processor.setGpr(index, value);
const NON_CANONICAL = 0x8000_0000_0000n;
const all =
  (...steps: ((b: BareMetal) => void)[]) =>
  (b: BareMetal): void => {
    for (const step of steps) step(b);
  };
const entry =
  (linear: bigint, value: (old: bigint) => bigint, level = 1) =>
  (b: BareMetal) => {
    const at = b.entryAt(linear, level);
    b.set64(at, value(b.view.getBigUint64(at, true)));
    b.cpu.processor.core.flushTlb();
  };
const cr = (cell: number, set: bigint) => (b: BareMetal) => {
  b.cpu.state.set64(cell, b.cpu.state.get64(cell) | set);
  b.cpu.processor.core.flushTlb();
  b.cpu.processor.modeChanged();
};
const alignment =
  (offset: number) =>
  (b: BareMetal): void => {
    const p = b.cpu.processor;
    b.cpu.state.set64(STATE.cr0, b.cpu.state.get64(STATE.cr0) | 0x4_0000n);
    p.setEflags(0x4_0002);
    p.modeChanged();
    p.setGpr(0, BigInt(USER.data + offset));
  };
const SMEP = 1n << 20n;
const SMAP = 1n << 21n;
const READ_RAX = '8a08'; // mov cl, [rax]
const WRITE_RAX = '8808'; // mov [rax], cl
const user = BigInt(USER.data);
const PF_P = 1;
const PF_W = 2;
const PF_U = 4;
const PF_R = 8;
const PF_I = 16;

const CASES: readonly FaultCase[] = [
  {
    name: 'DIV by zero',
    oracle: 'SDM vol. 3, 6.15 #DE',
    mode: 'long',
    code: '31c9f7f1',
    vector: 0,
    at: 2,
    changes: [1],
  },
  {
    name: 'DIV overflow',
    oracle: 'SDM vol. 2 DIV',
    mode: 'user',
    code: 'f7f1',
    setup: all(gpr(2, 5n), gpr(1, 2n)),
    vector: 0,
  },
  { name: 'UD2', oracle: 'SDM vol. 3, 6.15 #UD', mode: 'user', code: '0f0b', vector: 6 },
  { name: 'INT3', oracle: 'SDM vol. 3, 6.15 #BP: a trap', mode: 'user', code: 'cc', vector: 3, at: 1 },
  { name: 'INT 3 in two bytes', oracle: 'SDM vol. 2 INT n', mode: 'user', code: 'cd03', vector: 3, at: 2 },
  { name: 'INT1', oracle: 'SDM vol. 2 INT1: no DPL check', mode: 'user', code: 'f1', vector: 1, at: 1 },
  { name: 'INT 80h', oracle: 'SDM vol. 3, 6.12.1.1', mode: 'user', code: 'cd80', vector: 0x80, at: 2 },
  {
    name: 'INT n beyond its privilege',
    oracle: 'SDM vol. 3, 6.12.1.2',
    mode: 'user',
    code: 'cd21',
    vector: 13,
    error: 0x21 * 8 + 2,
  },
  {
    name: 'INT n through a gate that is not present',
    oracle: 'SDM vol. 3, 6.13',
    mode: 'long',
    code: 'cd21',
    setup: (b) => b.idtGate(0x21, { access: 0x0e }),
    vector: 11,
    error: 0x21 * 8 + 2,
  },
  {
    name: 'INT n beyond the IDT limit',
    oracle: 'SDM vol. 3, 6.13',
    mode: 'long',
    code: 'cdf0',
    setup: (b) => b.cpu.state.set32(STATE.idtrLimit, 0x8ff),
    vector: 13,
    error: 0xf0 * 8 + 2,
  },
  {
    name: 'INT n through what is no gate',
    oracle: 'SDM vol. 3, 6.14.1',
    mode: 'long',
    code: 'cd21',
    setup: (b) => b.idtGate(0x21, { access: 0x8c }),
    vector: 13,
    error: 0x21 * 8 + 2,
  },
  {
    name: 'gate with a null selector',
    oracle: 'SDM vol. 2 INT n',
    mode: 'long',
    code: 'cd21',
    setup: (b) => b.idtGate(0x21, { selector: 0 }),
    vector: 13,
    error: 0,
  },
  {
    name: 'exception through a gate with a null selector: EXT',
    oracle: 'SDM vol. 3, 6.13',
    mode: 'long',
    code: '0f0b',
    setup: (b) => b.idtGate(6, { selector: 0 }),
    vector: 13,
    error: 1,
  },
  {
    name: 'gate into data',
    oracle: 'SDM vol. 2 INT n',
    mode: 'long',
    code: 'cd21',
    setup: (b) => b.idtGate(0x21, { selector: GDT.data }),
    vector: 13,
    error: GDT.data,
  },
  {
    name: 'gate into 32-bit code',
    oracle: 'SDM vol. 3, 6.14.1',
    mode: 'long',
    code: 'cd21',
    setup: (b) => b.idtGate(0x21, { selector: GDT.code32 }),
    vector: 13,
    error: GDT.code32,
  },
  { name: 'HLT in user mode', oracle: 'SDM vol. 2 HLT', mode: 'user', code: 'f4', vector: 13, error: 0 },
  { name: 'CLI beyond IOPL', oracle: 'SDM vol. 2 CLI', mode: 'user', code: 'fa', vector: 13, error: 0 },
  { name: 'IN without permission', oracle: 'SDM vol. 1, 19.5', mode: 'user', code: 'ec', vector: 13, error: 0 },
  { name: 'MOV CR0 in user mode', oracle: 'SDM vol. 2 MOV CR', mode: 'user', code: '0f20c0', vector: 13, error: 0 },
  { name: 'MOV from CR1', oracle: 'SDM vol. 2 MOV CR', mode: 'long', code: '0f20c8', vector: 6 },
  { name: 'MOV from CR5', oracle: 'SDM vol. 2 MOV CR', mode: 'long', code: '0f20e8', vector: 6 },
  {
    name: 'RDMSR of none',
    oracle: 'SDM vol. 2 RDMSR',
    mode: 'long',
    code: '0f32',
    setup: gpr(1, 0x1234n),
    vector: 13,
    error: 0,
  },
  {
    name: 'SYSCALL in compatibility mode',
    oracle: 'SDM vol. 2 SYSCALL (Intel)',
    mode: 'compat',
    code: '0f05',
    vector: 6,
  },
  { name: 'LOCK where it is not allowed', oracle: 'SDM vol. 2 LOCK', mode: 'long', code: 'f08908', vector: 6 },
  // ---- canonical addresses
  {
    name: 'non-canonical read',
    oracle: 'SDM vol. 1, 3.3.7.1',
    mode: 'long',
    code: READ_RAX,
    setup: gpr(0, NON_CANONICAL),
    vector: 13,
    error: 0,
  },
  {
    name: 'non-canonical write',
    oracle: 'SDM vol. 1, 3.3.7.1',
    mode: 'user',
    code: WRITE_RAX,
    setup: gpr(0, NON_CANONICAL),
    vector: 13,
    error: 0,
  },
  {
    name: 'non-canonical by RBP: #SS',
    oracle: 'SDM vol. 3, 6.15 #SS',
    mode: 'long',
    code: '8a4d00',
    setup: gpr(5, NON_CANONICAL),
    vector: 12,
    error: 0,
  },
  {
    name: 'non-canonical push: #SS',
    oracle: 'SDM vol. 3, 6.15 #SS',
    mode: 'user',
    code: '50',
    setup: gpr(4, NON_CANONICAL + 0x1000n),
    vector: 12,
    error: 0,
  },
  {
    name: 'jump to a non-canonical address',
    oracle: 'SDM vol. 2 JMP',
    mode: 'long',
    code: 'ffe0',
    setup: gpr(0, NON_CANONICAL),
    vector: 13,
    error: 0,
  },
  // ---- page faults
  {
    name: '#PF: not present, read',
    oracle: 'SDM vol. 3, 4.7',
    mode: 'user',
    code: READ_RAX,
    setup: gpr(0, 0x58_0123n),
    vector: 14,
    error: PF_U,
    cr2: 0x58_0123n,
  },
  {
    name: '#PF: not present, write by the supervisor',
    oracle: 'SDM vol. 3, 4.7',
    mode: 'long',
    code: WRITE_RAX,
    setup: gpr(0, 0x58_0000n),
    vector: 14,
    error: PF_W,
    cr2: 0x58_0000n,
  },
  {
    name: '#PF: read-only',
    oracle: 'SDM vol. 3, 4.6',
    mode: 'user',
    code: WRITE_RAX,
    setup: gpr(0, BigInt(USER.code + 0x800)),
    vector: 14,
    error: PF_P | PF_W | PF_U,
    cr2: BigInt(USER.code + 0x800),
  },
  {
    name: '#PF: supervisor page',
    oracle: 'SDM vol. 3, 4.6',
    mode: 'user',
    code: READ_RAX,
    setup: gpr(0, BigInt(AT.data)),
    vector: 14,
    error: PF_P | PF_U,
    cr2: BigInt(AT.data),
  },
  {
    name: '#PF: CR0.WP',
    oracle: 'SDM vol. 3, 4.6',
    mode: 'long',
    code: WRITE_RAX,
    setup: gpr(0, BigInt(USER.code)),
    vector: 14,
    error: PF_P | PF_W,
    cr2: BigInt(USER.code),
  },
  {
    name: '#PF: second page of a crossing access',
    oracle: 'SDM vol. 3, 4.7',
    mode: 'user',
    code: '8b08',
    setup: gpr(0, user + 0x1ffen),
    vector: 14,
    error: PF_U,
    cr2: user + 0x2000n,
  },
  {
    name: '#PF: reserved bit keeps P',
    oracle: 'SDM vol. 3, 4.7 (QEMU 7.2 loses P)',
    mode: 'user',
    code: READ_RAX,
    setup: all(
      gpr(0, user),
      entry(user, (e) => e | (1n << 45n)),
    ),
    vector: 14,
    error: PF_P | PF_U | PF_R,
    cr2: user,
  },
  {
    name: '#PF: reserved bit in a page directory pointer',
    oracle: 'SDM vol. 3, 4.5',
    mode: 'long',
    code: WRITE_RAX,
    setup: all(gpr(0, 0x4000_0000n), (b) => b.set64(b.entryAt(0x4000_0000n, 3), 0x83n | 0x2000n)),
    vector: 14,
    error: PF_P | PF_W | PF_R,
    cr2: 0x4000_0000n,
  },
  {
    name: '#PF: PS in PML4E is reserved',
    oracle: 'SDM vol. 3, 4.5',
    mode: 'long',
    code: READ_RAX,
    setup: all(gpr(0, 0x80_0000_0000n), (b) => b.set64(b.entryAt(0x80_0000_0000n, 4), 0x2083n)),
    vector: 14,
    error: PF_P | PF_R,
    cr2: 0x80_0000_0000n,
  },
  {
    name: '#PF: fetch of NX',
    oracle: 'SDM vol. 3, 4.6',
    mode: 'user',
    code: 'ffe0',
    setup: gpr(0, user),
    vector: 14,
    error: PF_P | PF_U | PF_I,
    cr2: user,
    at: USER.data - USER.code,
  },
  {
    name: '#PF: SMEP',
    oracle: 'SDM vol. 3, 4.6',
    mode: 'long',
    code: 'ffe0',
    setup: all(gpr(0, BigInt(USER.code)), cr(STATE.cr4, SMEP)),
    vector: 14,
    error: PF_P | PF_I,
    cr2: BigInt(USER.code),
    at: USER.code - AT.code,
  },
  {
    name: '#PF: SMAP',
    oracle: 'SDM vol. 3, 4.6',
    mode: 'long',
    code: READ_RAX,
    setup: all(gpr(0, user), cr(STATE.cr4, SMAP)),
    vector: 14,
    error: PF_P,
    cr2: user,
  },
  // ---- alignment
  {
    name: '#AC: read',
    oracle: 'SDM vol. 3, 6.15 #AC',
    mode: 'user',
    code: '8b08',
    setup: alignment(1),
    vector: 17,
    error: 0,
  },
  {
    name: '#AC: write',
    oracle: 'SDM vol. 3, 6.15 #AC',
    mode: 'user',
    code: '668908',
    setup: alignment(1),
    vector: 17,
    error: 0,
  },
  {
    name: '#AC: read-modify-write',
    oracle: 'SDM vol. 3, 6.15 #AC',
    mode: 'user',
    code: 'ff00',
    setup: alignment(2),
    vector: 17,
    error: 0,
  },
  {
    name: '#AC: quadword at 4',
    oracle: 'SDM vol. 3, 6.15 #AC',
    mode: 'user',
    code: '488b08',
    setup: alignment(4),
    vector: 17,
    error: 0,
  },
  {
    name: '#AC: aligned',
    oracle: 'SDM vol. 3, 6.15 #AC',
    mode: 'user',
    code: '8b08cd80',
    setup: alignment(4),
    vector: 128,
    at: 4,
  },
  {
    name: '#AC: byte',
    oracle: 'SDM vol. 3, 6.15 #AC',
    mode: 'user',
    code: '8a08cd80',
    setup: alignment(1),
    vector: 128,
    at: 4,
  },
  // ---- 32-bit mode
  {
    name: '#BR: BOUND',
    oracle: 'SDM vol. 3, 6.15 #BR',
    mode: 'protected',
    code: '6201', // bound eax, [ecx]
    setup: all(gpr(0, 5n), gpr(1, BigInt(AT.data)), (b) => b.set64(AT.data, 0x4_0000_0000n)),
    vector: 5,
  },
  {
    name: '#OF: INTO, a trap',
    oracle: 'SDM vol. 3, 6.15 #OF',
    mode: 'protected',
    code: '04 7f ce', // add al, 7fh; into
    setup: gpr(0, 1n),
    vector: 4,
    at: 3,
    changes: [0],
  },
  { name: 'INTO is not in 64-bit mode', oracle: 'SDM vol. 2 INTO', mode: 'long', code: 'ce', vector: 6 },
  {
    name: '#PF in 32-bit paging',
    oracle: 'SDM vol. 3, 4.7',
    mode: 'paged',
    code: WRITE_RAX,
    setup: gpr(0, 0x123_4567n),
    vector: 14,
    error: PF_W,
    cr2: 0x123_4567n,
  },
  {
    name: '#XM: unmasked division by zero',
    oracle: 'SDM vol. 3, 6.15 #XM',
    mode: 'user',
    code: '0fae10 0f57c0 0f5ec0', // ldmxcsr [rax]; xorps xmm0, xmm0; divps xmm0, xmm0
    setup: all(gpr(0, user), (b) => b.set32(AT.userData, 0x1f00)),
    vector: 19,
    at: 6,
  },
  {
    name: '#MF: a pending x87 exception at the next waiting instruction',
    oracle: 'SDM vol. 3, 6.15 #MF',
    mode: 'user',
    code: '9b',
    setup: (b) => {
      b.cpu.state.set32(STATE.fpuControl, 0x37e);
      b.cpu.state.set32(STATE.fpuStatus, 0x8081); // IE, ES, B
    },
    vector: 16,
  },
  // ---- units
  {
    name: '#NM by TS',
    oracle: 'SDM vol. 3, 2.5',
    mode: 'long',
    code: '0f22c00f28c1', // mov cr0, rax; movaps
    setup: gpr(0, 0x8001_003bn),
    vector: 7,
    at: 3,
  },
  // ---- double faults
  {
    name: '#DF: #GP while delivering #GP',
    oracle: 'SDM vol. 3, table 6-5',
    mode: 'user',
    code: 'f4',
    setup: (b) => b.idtGate(13, { selector: 0 }),
    vector: 8,
    error: 0,
  },
  {
    name: '#DF: #NP while delivering #PF',
    oracle: 'SDM vol. 3, table 6-5',
    mode: 'user',
    code: READ_RAX,
    setup: all(gpr(0, 0x58_0000n), (b) => b.idtGate(14, { access: 0x0e })),
    vector: 8,
    error: 0,
    cr2: 0x58_0000n,
  },
  {
    name: '#NP while delivering #UD: served in turn',
    oracle: 'SDM vol. 3, table 6-5',
    mode: 'user',
    code: '0f0b',
    setup: (b) => b.idtGate(6, { access: 0x0e }),
    vector: 11,
    error: 6 * 8 + 3,
  },
];

/** Code that changes nothing, so that what faults is not the first instruction of a translated region. */
const BEFORE = '8d7f00 8d7f00'; // lea edi, [edi]
const PLACES = DRIVERS.flatMap((driver) => [
  { driver, place: 'at once', before: '' },
  { driver, place: 'behind other code', before: BEFORE },
]);

describe.each(PLACES)('exceptions, $driver, $place', ({ driver, before }) => {
  const bench = new BareMetal(driver);
  const skipped = before.replaceAll(' ', '').length / 2;
  // single-stepped or 16-bit code would see it
  const fits = CASES.filter((c) => before === '' || (c.mode !== 'real' && c.mode !== 'protected16'));
  for (const c of fits) {
    it(`${c.name} (${c.oracle})`, () => {
      bench.enter(c.mode);
      c.setup?.(bench);
      const start = { sp: Number(bench.cpu.processor.gpr(4)), cs: bench.cpu.processor.selector(SEG.cs) };
      const o = bench.run(before + c.code);
      expect(o.vector).toBe(c.vector);
      expect(o.error).toBe(c.error ?? ([8, 10, 11, 12, 13, 14, 17].includes(c.vector) ? 0 : undefined));
      const { at = 0 } = c;
      // a fetch that faults lies elsewhere
      expect(o.ip - bench.codeAt).toBe(Math.abs(at) < 64 ? at + skipped : at);
      expect(o.cs).toBe(start.cs);
      if (c.vector !== 0x80) expect(o.changed).toEqual(c.changes ?? []);
      expect(o.flags & RF).toBe(isFaultClass(c.vector) ? RF : 0);
      if (c.cr2 !== undefined) expect(o.cr2).toBe(c.cr2);
      if (o.sp !== undefined && start.sp < 2 ** 46) expect(o.sp).toBe(start.sp);
      c.after?.(bench, o);
    });
  }
});

describe('alignment checks leave the rest of the processor alone', () => {
  const bench = new BareMetal();
  it('none in ring 0, nor without CR0.AM', () => {
    bench.enter('long');
    bench.cpu.state.set64(STATE.cr0, bench.cpu.state.get64(STATE.cr0) | 0x4_0000n);
    bench.cpu.processor.setEflags(0x4_0002);
    bench.cpu.processor.modeChanged();
    bench.cpu.processor.setGpr(0, BigInt(AT.data + 1));
    expect(bench.run('8b08').vector).toBeUndefined();
    bench.enter('user');
    bench.cpu.processor.setEflags(0x4_0002);
    bench.cpu.processor.modeChanged();
    bench.cpu.processor.setGpr(0, BigInt(USER.data + 1));
    expect(bench.run('8b08 cd80').vector).toBe(0x80);
  });
});
