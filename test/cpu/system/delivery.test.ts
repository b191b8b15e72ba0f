import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state.ts';
import { SEG } from '../../../src/cpu/system/processor.ts';
import { AT, BareMetal, bytesOf, DRIVERS, GDT, USER } from '../../support/bare-metal.ts';

/** Faults on the way to a handler, and of returns. Oracle of each: the section of the SDM named. */
const hex16 = (v: number): string => [v & 255, (v >> 8) & 255].map((x) => x.toString(16).padStart(2, '0')).join('');
const hex32 = (v: number): string => hex16(v & 0xffff) + hex16(v >>> 16);

/** A first exception of ring 3 in 64-bit mode: code that meets it, by class (SDM vol. 3, table 6-4). */
const FIRST: readonly (readonly [name: string, vector: number, code: string, rax: bigint])[] = [
  ['benign #UD', 6, '0f0b', 0n],
  ['benign #DB', 1, 'f1', 0n],
  ['#DE', 0, '31c9f7f1', 0n],
  ['#GP', 13, '8a08', 1n << 47n],
  ['#SS', 12, '4889c58a4d00', 1n << 47n],
  ['#NP', 11, '8ed8', BigInt(GDT.free)],
  ['#PF', 14, '8a08', 0x58_0000n],
];
/** What goes wrong while it is delivered: preparation, the second vector, its error code. */
const SECOND: readonly (readonly [
  name: string,
  (b: BareMetal, vector: number) => void,
  vector: number,
  error: number,
])[] = [
  ['a gate that is not present', (b, v) => b.idtGate(v, { access: 0x0e, ist: 1 }), 11, -1],
  ['a gate into data', (b, v) => b.idtGate(v, { selector: GDT.data, ist: 1 }), 13, GDT.data + 1],
  ['an unmapped stack', (b) => b.set64(AT.tss + 4, 0x58_0100n), 14, 2],
  ['a non-canonical stack', (b) => b.set64(AT.tss + 4, 1n << 63n), 12, 1],
  ['a task segment without that IST', (b, v) => lackIst(b, v), 10, GDT.tss + 1],
];
function lackIst(b: BareMetal, vector: number): void {
  b.cpu.state.set32(STATE.segLimit + SEG.tr * 4, 0x2b);
  b.idtGate(vector, { ist: 2 });
}
const CONTRIBUTORY = new Set([0, 10, 11, 12, 13]);
/** SDM vol. 3, table 6-5. */
const doubles = (first: number, second: number): boolean =>
  first === 14 ? second === 14 || CONTRIBUTORY.has(second) : CONTRIBUTORY.has(first) && CONTRIBUTORY.has(second);

describe.each(DRIVERS)('faults during delivery (SDM vol. 3, 6.15 #DF), %s', (driver) => {
  const b = new BareMetal(driver);
  const pairs = FIRST.flatMap((first) => SECOND.map((second) => ({ first, second })));
  it.each(pairs)('$first.0, then $second.0', ({ first: [, first, code, rax], second: [, prepare, second, error] }) => {
    b.enter('user');
    b.descriptor(GDT.free, 0, 0xf_ffff, 0x73, 0xc); // not present
    // the handlers that may be reached have a stack that works
    for (const v of [8, 10, 11, 12, 13, 14]) if (v !== first) b.idtGate(v, { ist: 1 });
    prepare(b, first);
    b.cpu.processor.setGpr(0, rax);
    const o = b.run(code);
    const expected = doubles(first, second) ? [8, 0] : [second, error === -1 ? first * 8 + 3 : error];
    expect([o.vector, o.error]).toEqual(expected);
    // the first instruction's address, however often delivery was tried
    expect([o.cs, o.sp]).toEqual([GDT.code64User | 3, USER.stack]);
    if (first !== 1) expect(o.ip).toBe(b.codeAt + (first === 0 ? 2 : first === 12 ? 3 : 0));
    if (second === 14) expect(o.cr2).toBe(0x58_00f8n);
    else if (first === 14) expect(o.cr2).toBe(rax);
  });
});

const RING1_CODE = GDT.free;
const RING1_DATA = GDT.free + 8;
const STACK = GDT.free + 16;
const CALL_GATE = GDT.free + 24;
/** Descriptors tried as inner stack; the error is that of #TS or #SS without EXT. */
const STACKS: readonly (readonly [name: string, number, (b: BareMetal) => void, vector: number, error: number])[] = [
  ['null', 0, () => {}, 10, 0],
  ['beyond the GDT', 0x108, () => {}, 10, 0x108],
  ['of another RPL', STACK | 1, (b) => b.descriptor(STACK, 0, 0xf_ffff, 0x93, 0xc), 10, STACK],
  ['of another DPL', STACK, (b) => b.descriptor(STACK, 0, 0xf_ffff, 0xb3, 0xc), 10, STACK],
  ['read-only', STACK, (b) => b.descriptor(STACK, 0, 0xf_ffff, 0x91, 0xc), 10, STACK],
  ['code', STACK, (b) => b.descriptor(STACK, 0, 0xf_ffff, 0x9b, 0xc), 10, STACK],
  ['a system segment', STACK, (b) => b.descriptor(STACK, 0, 0xff, 0x82, 0), 10, STACK],
  ['not present', STACK, (b) => b.descriptor(STACK, 0, 0xf_ffff, 0x13, 0xc), 12, STACK],
  ['too small', STACK, (b) => b.descriptor(STACK, 0, 0xff, 0x93, 0x4), 12, STACK],
];
const WAYS: readonly (readonly [name: string, code: string, ext: number])[] = [
  ['INT n', 'cd80', 0],
  ['an exception', '0f0b', 1],
  ['a call gate', `9a00000000${hex16(CALL_GATE | 3)}`, 0],
];

describe.each(DRIVERS)('inner stack of 32-bit code (SDM vol. 3, 6.15 #TS and #SS; vol. 2 CALL), %s', (driver) => {
  const b = new BareMetal(driver);
  const p = b.cpu.processor;
  /** The handlers of ring 1 wait in a loop: only ring 0 may HLT. */
  const enter = (): void => {
    b.enter('protected3');
    b.descriptor(RING1_CODE, 0, 0xf_ffff, 0xbb, 0xc);
    b.descriptor(RING1_DATA, 0, 0xf_ffff, 0xb3, 0xc);
    b.set32(AT.tss + 12, AT.ist1);
    b.set32(AT.tss + 16, RING1_DATA | 1);
    b.gate(AT.gdt + CALL_GATE, GDT.code32, AT.code, 0xec);
    for (const v of [10, 12]) {
      b.idtGate(v, { selector: RING1_CODE | 1 });
      b.ram.set([0xeb, 0xfe], AT.handlers + v * 16);
    }
    b.cpu.ramWritten(AT.handlers, 4096);
  };
  const cases = WAYS.flatMap((way) => STACKS.map((stack) => ({ way, stack })));
  it.each(cases)('$way.0, SS0 $stack.0', ({ way: [, code, ext], stack: [, selector, prepare, vector, error] }) => {
    enter();
    prepare(b);
    b.set32(AT.tss + 8, selector);
    const o = b.run(code, 10);
    expect(o.exit).toBe('budget');
    expect(Number(b.cpu.ip)).toBe(AT.handlers + vector * 16);
    const sp = Number(p.gpr(4));
    const frame = [0, 4, 8, 16, 20].map((at) => b.view.getUint32(sp + at, true));
    expect(frame).toEqual([error + ext, b.codeAt, GDT.code32User | 3, b.stackAt, GDT.dataUser | 3]);
    expect([p.cpl, o.changed]).toEqual([1, []]);
  });
  it.each(WAYS)('%s, task segment too small', (_name, code, ext) => {
    enter();
    // SS1:ESP1 would lie beyond a limit that SS0:ESP0 exceed: the handler is of ring 3
    b.cpu.state.set32(STATE.segLimit + SEG.tr * 4, 8);
    b.idtGate(10, { selector: GDT.code32User | 3 });
    b.run(code, 10);
    expect(Number(b.cpu.ip)).toBe(AT.handlers + 160);
    expect(b.view.getUint32(Number(p.gpr(4)), true)).toBe(GDT.tss + ext);
  });
});

/** Selectors and offsets that a return refuses; the frame is EIP, CS, (EFLAGS,) ESP, SS. */
interface ReturnCase {
  readonly name: string;
  readonly ip?: number;
  readonly cs: number;
  readonly ss?: number;
  readonly setup?: (b: BareMetal) => void;
  readonly vector: number;
  readonly error: number;
}
const code =
  (access: number, limit = 0xf_ffff) =>
  (b: BareMetal) =>
    b.descriptor(GDT.free, 0, limit, access, 0xc);
const data = (access: number) => (b: BareMetal) => b.descriptor(GDT.free, 0, 0xf_ffff, access, 0xc);
const toUser = GDT.code32User | 3;
const RETURNS: readonly ReturnCase[] = [
  { name: 'null CS', cs: 0, vector: 13, error: 0 },
  { name: 'null CS with an RPL', cs: 3, vector: 13, error: 0 },
  { name: 'CS beyond the GDT', cs: 0x108, vector: 13, error: 0x108 },
  { name: 'CS in an LDT that is not there', cs: 0xc, vector: 13, error: 0xc },
  { name: 'CS is data', cs: GDT.data, vector: 13, error: GDT.data },
  { name: 'CS is a task segment', cs: GDT.tss, vector: 13, error: GDT.tss },
  { name: 'DPL and RPL differ', cs: GDT.code32User, vector: 13, error: GDT.code32User },
  { name: 'conforming, DPL above RPL', cs: GDT.free, setup: code(0xff), vector: 13, error: GDT.free },
  { name: 'CS not present', cs: GDT.free, setup: code(0x1b), vector: 11, error: GDT.free },
  { name: 'EIP beyond the limit', ip: 0x2000, cs: GDT.free, setup: code(0x9b, 0), vector: 13, error: 0 },
  { name: 'outward, null SS', cs: toUser, ss: 0, vector: 13, error: 0 },
  { name: 'outward, SS beyond the GDT', cs: toUser, ss: 0x10b, vector: 13, error: 0x108 },
  { name: 'outward, SS of another RPL', cs: toUser, ss: GDT.dataUser, vector: 13, error: GDT.dataUser },
  { name: 'outward, SS of another DPL', cs: toUser, ss: GDT.data | 3, vector: 13, error: GDT.data },
  { name: 'outward, SS read-only', cs: toUser, ss: GDT.free | 3, setup: data(0xf1), vector: 13, error: GDT.free },
  { name: 'outward, SS is code', cs: toUser, ss: GDT.free | 3, setup: data(0xfb), vector: 13, error: GDT.free },
  { name: 'outward, SS not present', cs: toUser, ss: GDT.free | 3, setup: data(0x73), vector: 12, error: GDT.free },
];
const KINDS = [
  ['IRETD', 'cf', true],
  ['RETF', 'cb', false],
] as const;

describe.each(DRIVERS)('returns refused (SDM vol. 2, IRET and RET), %s', (driver) => {
  const b = new BareMetal(driver);
  const p = b.cpu.processor;
  const all = KINDS.flatMap((kind) => RETURNS.map((c) => ({ kind, c })));
  it.each(all)('$kind.0: $c.name', ({ kind: [, opcode, flags], c }) => {
    b.enter('protected');
    c.setup?.(b);
    const frame = [c.ip ?? AT.code + 0x200, c.cs, ...(flags ? [0x3202] : []), AT.data, c.ss ?? GDT.dataUser | 3];
    for (const [i, v] of frame.entries()) b.set32(b.stackAt + i * 4, v);
    const before = [p.eflags, ...[0, 1, 2, 3, 4, 5].map((seg) => p.selector(seg))];
    const o = b.run(opcode);
    expect([o.vector, o.error, o.ip, o.cs]).toEqual([c.vector, c.error, b.codeAt, GDT.code32]);
    expect(o.changed).toEqual([]);
    expect(Number(o.gpr[4])).toBe(b.stackAt - 16);
    expect([o.flags & ~0x1_0000, ...[0, 1, 2, 3, 4, 5].map((seg) => p.selector(seg))]).toEqual(before);
  });
  it.each(KINDS)('%s: to an inner privilege', (_name, opcode) => {
    b.enter('protected3');
    for (const [i, v] of [AT.code, GDT.code32, 2].entries()) b.set32(b.stackAt + i * 4, v);
    const o = b.run(opcode);
    expect([o.vector, o.error, o.ip, o.sp]).toEqual([13, GDT.code32, b.codeAt, b.stackAt]);
  });
  it('IRETQ and 64-bit RETF: code with both L and D, a non-canonical RIP', () => {
    for (const [opcode, flags] of [
      ['48cf', [2n]],
      ['48cb', []],
    ] as const) {
      for (const [rip, access, vector, error] of [
        [BigInt(AT.code), 0xe, 13, GDT.free],
        [1n << 47n, 0xa, 13, 0],
      ] as const) {
        b.enter('long');
        b.descriptor(GDT.free, 0, 0xf_ffff, 0x9b, access);
        const frame = [rip, BigInt(GDT.free), ...flags, BigInt(AT.stack), BigInt(GDT.data)];
        for (const [i, v] of frame.entries()) b.set64(b.stackAt + i * 8, v);
        const o = b.run(opcode);
        expect([o.vector, o.error, o.ip, o.sp]).toEqual([vector, error, b.codeAt, b.stackAt]);
      }
    }
  });
  it('SYSEXIT to a non-canonical RIP or RSP; SYSENTER in real mode; SYSEXIT without SYSENTER_CS (SDM vol. 2)', () => {
    for (const register of [1, 2]) {
      b.enter('long');
      b.cpu.state.set64(STATE.sysenterCs, BigInt(GDT.code64));
      p.setGpr(1, BigInt(USER.stack));
      p.setGpr(2, BigInt(USER.code));
      p.setGpr(register, 1n << 47n);
      const o = b.run('480f35');
      expect([o.vector, o.error, o.ip, o.cs]).toEqual([13, 0, b.codeAt, GDT.code64]);
    }
    b.enter('real');
    b.cpu.state.set64(STATE.sysenterCs, BigInt(GDT.code64));
    expect(b.run('0f34').vector).toBe(13);
    b.enter('long');
    expect(b.run('0f35')).toMatchObject({ vector: 13, error: 0, ip: b.codeAt });
  });
  it('SYSENTER from compatibility mode, SYSEXIT to both kinds of code (SDM vol. 2)', () => {
    for (const [opcode, cs] of [
      ['0f35', GDT.code32User | 3],
      ['480f35', GDT.code64User | 3],
    ] as const) {
      b.enter('compat');
      // SYSENTER_CS + 16 and + 32: 18h and 28h
      b.cpu.state.set64(STATE.sysenterCs, BigInt(GDT.code64));
      b.cpu.state.set64(STATE.sysenterEip, BigInt(AT.code));
      b.cpu.state.set64(STATE.sysenterEsp, BigInt(AT.stack));
      const inner = bytesOf(`ba${hex32(USER.code + 0x40)} b9${hex32(USER.stack - 64)} ${opcode}`);
      b.ram.set(inner, AT.code);
      b.cpu.ramWritten(AT.code, inner.length);
      b.ram.set([0xcd, 0x80], AT.userCode + 0x40);
      const o = b.run('0f34');
      expect([o.vector, o.cs, o.sp]).toEqual([0x80, cs, USER.stack - 64]);
      expect(o.flags & 0x200).toBe(0);
      expect(o.ss).toBe(opcode === '0f35' ? GDT.dataUser | 3 : 0x33);
    }
  });
});

describe.each(DRIVERS)('I/O breakpoints (SDM vol. 3, 17.2.4), %s', (driver) => {
  const b = new BareMetal(driver);
  const p = b.cpu.processor;
  /** DR0 on a port, in DR7: local, R/W = 2, LEN. CR4.DE unless `de` is false. */
  const arm = (port: number, length: 0 | 1 | 3, de = true): void => {
    b.enter('long');
    if (de) b.cpu.state.set64(STATE.cr4, b.cpu.state.get64(STATE.cr4) | 8n);
    b.cpu.state.set64(STATE.dr, BigInt(port));
    p.setGpr(6, 0x401n | (2n << 16n) | (BigInt(length) << 18n));
    p.setGpr(2, 0x84n);
    p.setGpr(7, BigInt(AT.data));
  };
  it.each([
    ['IN', 0x84, 0, 'ec', true],
    ['OUT', 0x84, 0, 'ee', true],
    ['IN of a word that reaches it', 0x85, 0, '66ed', true],
    ['IN of the port before', 0x85, 0, 'ec', false],
    ['four ports, low bits not compared', 0x87, 3, 'ec', true],
    ['two ports', 0x86, 1, 'ec', false],
    ['OUTSB', 0x84, 0, '6e', true],
    ['memory at the same address', 0x84, 0, '8a042584000000', false],
  ] as const)('%s', (_name, port, length, opcode, hit) => {
    arm(port, length);
    p.setGpr(3, BigInt(AT.data));
    p.setGpr(6, p.gpr(6));
    const o = b.run(`0f23fe ${opcode === '6e' ? `48be${hex32(AT.data)}00000000` : ''} ${opcode} 90`);
    expect(o.vector).toBe(hit ? 1 : undefined);
    if (!hit) return;
    // a trap: after the access, which has been made
    expect(b.ports.length).toBe(1);
    expect(o.ip).toBe(b.codeAt + 3 + (opcode === '6e' ? 11 : opcode.length / 2));
    expect(b.cpu.state.get64(STATE.dr + 48) & 0xfn).toBe(1n);
  });
  it('every iteration of REP INSB; nothing without CR4.DE', () => {
    arm(0x84, 0);
    p.setGpr(1, 3n);
    const o = b.run('0f23fe f36c 90');
    expect([o.vector, o.ip, p.gpr(1)]).toEqual([1, b.codeAt + 3, 2n]);
    arm(0x84, 0, false);
    expect(b.run('0f23fe ec 90').vector).toBeUndefined();
  });
});
