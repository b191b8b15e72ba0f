import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state.ts';
import { SEG } from '../../../src/cpu/system/processor.ts';
import { AT, BareMetal, DRIVERS, GDT, type Mode, USER } from '../../support/bare-metal.ts';

const hex16 = (value: number): string =>
  [value & 0xff, (value >> 8) & 0xff].map((x) => x.toString(16).padStart(2, '0')).join('');
const hex32 = (value: number): string => hex16(value & 0xffff) + hex16(value >>> 16);

/** One access through a segment. Oracle: SDM vol. 3, 5.3 (limits), 5.5 (types), 6.15 (#GP, #SS). */
interface AccessCase {
  readonly name: string;
  readonly mode?: Mode;
  readonly code: string;
  /** DS, or the segment given: limit, attributes. */
  readonly segment?: readonly [limit: number, attributes: number, seg?: number];
  readonly eax?: number;
  readonly vector: number | undefined;
}
const BYTES = 0x4093;
const READ = '8b08'; // mov ecx, [eax]
const READ_BYTE = '8a08';
const WRITE_BYTE = '8808';
const CASES: readonly AccessCase[] = [
  { name: 'last byte within the limit', code: READ_BYTE, segment: [0x2_0fff, BYTES], eax: 0x2_0fff, vector: undefined },
  { name: 'one byte beyond', code: READ_BYTE, segment: [0x2_0fff, BYTES], eax: 0x2_1000, vector: 13 },
  { name: 'four bytes across the limit', code: READ, segment: [0x2_0fff, BYTES], eax: 0x2_0ffd, vector: 13 },
  { name: 'write beyond the limit', code: WRITE_BYTE, segment: [0x2_0fff, BYTES], eax: 0x2_1000, vector: 13 },
  { name: 'read of read-only data', code: READ_BYTE, segment: [0xffff_ffff, 0xc091], eax: AT.data, vector: undefined },
  { name: 'write to read-only data', code: WRITE_BYTE, segment: [0xffff_ffff, 0xc091], eax: AT.data, vector: 13 },
  {
    name: 'read-modify-write of read-only data',
    code: 'fe00',
    segment: [0xffff_ffff, 0xc091],
    eax: AT.data,
    vector: 13,
  },
  { name: 'read of readable code', code: READ_BYTE, segment: [0xffff_ffff, 0xc09b], eax: AT.data, vector: undefined },
  { name: 'write to code', code: WRITE_BYTE, segment: [0xffff_ffff, 0xc09b], eax: AT.data, vector: 13 },
  { name: 'read of execute-only code', code: READ_BYTE, segment: [0xffff_ffff, 0xc099], eax: AT.data, vector: 13 },
  { name: 'write by the CS override', code: `2e${WRITE_BYTE}`, eax: AT.data, vector: 13 },
  { name: 'read by the CS override', code: `2e${READ_BYTE}`, eax: AT.data, vector: undefined },
  { name: 'null segment', code: READ_BYTE, segment: [0, 0], eax: AT.data, vector: 13 },
  { name: 'null FS', code: `64${READ_BYTE}`, segment: [0, 0, SEG.fs], eax: AT.data, vector: 13 },
  { name: 'expand-down: at the limit', code: READ_BYTE, segment: [0x1_ffff, 0x4097], eax: 0x1_ffff, vector: 13 },
  {
    name: 'expand-down: above the limit',
    code: READ_BYTE,
    segment: [0x1_ffff, 0x4097],
    eax: 0x2_0000,
    vector: undefined,
  },
  { name: 'expand-down, 16-bit: beyond FFFFh', code: READ_BYTE, segment: [0xfff, 0x0097], eax: 0x1_0000, vector: 13 },
  { name: 'stack segment: #SS', code: '8a4d00', segment: [0xfff, BYTES, SEG.ss], vector: 12 },
  { name: 'push beyond the limit: #SS', code: '50', segment: [0xfff, BYTES, SEG.ss], vector: 12 },
  { name: 'pop beyond the limit: #SS', code: '58', segment: [0xfff, BYTES, SEG.ss], vector: 12 },
  { name: 'call pushes beyond the limit: #SS', code: 'e800000000', segment: [0xfff, BYTES, SEG.ss], vector: 12 },
  { name: 'ENTER beyond the limit: #SS', code: 'c8040000', segment: [0xfff, BYTES, SEG.ss], vector: 12 },
  { name: 'jump beyond the limit of CS', code: 'ffe0', segment: [0x1_0fff, 0x409b, SEG.cs], eax: 0x1_1000, vector: 13 },
  { name: 'relative jump beyond the limit of CS', code: 'e9fb0f0000', segment: [0x1_0fff, 0x409b, SEG.cs], vector: 13 },
  { name: 'relative call beyond the limit of CS', code: 'e8fb0f0000', segment: [0x1_0fff, 0x409b, SEG.cs], vector: 13 },
  { name: 'BTS reaches beyond the limit', code: '0fab08', segment: [0x2_0fff, BYTES], eax: 0x2_0f80, vector: 13 },
  { name: 'LODSB beyond the limit', code: 'ac', segment: [0xfff, BYTES], vector: 13 },
  { name: 'STOSB beyond the limit', code: 'aa', segment: [0xfff, BYTES, SEG.es], vector: 13 },
  { name: 'MOVAPS write to read-only data', code: '0f2900', segment: [0xffff_ffff, 0xc091], eax: AT.data, vector: 13 },
  { name: 'flat segment, access across 4 GiB (silicon)', code: READ, eax: 0xffff_fffe, vector: 13 },
  {
    name: 'compatibility mode has limits too',
    mode: 'compat',
    code: READ_BYTE,
    segment: [0xfff, 0x40f3],
    eax: USER.data,
    vector: 13,
  },
  {
    name: '64-bit mode has none',
    mode: 'user',
    code: READ_BYTE,
    segment: [0xfff, 0x40f3],
    eax: USER.data,
    vector: undefined,
  },
  { name: 'real mode: FFFFh is the end', mode: 'real', code: '8b07', vector: 13 }, // mov ax, [bx]
];

describe.each(DRIVERS)('segmentation, %s', (driver) => {
  const b = new BareMetal(driver);
  it.each(CASES)('$name', ({ mode = 'protected', code, segment, eax, vector }) => {
    b.enter(mode);
    const p = b.cpu.processor;
    if (segment) {
      const [limit, attributes, seg = SEG.ds] = segment;
      p.setSegment(seg, attributes === 0 ? 0 : p.selector(seg), 0n, limit, attributes);
      p.modeChanged();
    }
    if (eax !== undefined) p.setGpr(0, BigInt(eax));
    if (mode === 'real') p.setGpr(3, 0xffffn);
    if (code === '0fab08') p.setGpr(1, 0x400n);
    // the stack that exceptions need where SS is the subject: an inner one
    if (segment?.[2] === SEG.ss) {
      p.setSegment(SEG.cs, GDT.code32User | 3, 0n, 0xffff_ffff, 0xc0fb);
      p.setSegment(SEG.ss, GDT.dataUser | 3, 0n, segment[0], segment[1] | 0x60);
      b.cpu.state.set32(STATE.cpl, 3);
      p.modeChanged();
    }
    const sp = p.gpr(4);
    const o = b.run(`${code}${mode === 'user' ? 'cd80' : ''}`);
    expect(o.vector).toBe(mode === 'user' ? 0x80 : vector);
    if (vector === undefined) return;
    expect(o.ip).toBe(b.codeAt);
    expect(o.error).toBe(mode === 'real' ? undefined : 0);
    expect(o.changed).toEqual([]);
    if (o.sp !== undefined) expect(BigInt(o.sp)).toBe(sp);
  });

  it('REP MOVSB stops where the limit stops it', () => {
    b.enter('protected');
    const p = b.cpu.processor;
    p.setSegment(SEG.es, GDT.data, 0n, 0x2_0003, BYTES);
    p.setGpr(1, 10n);
    p.setGpr(6, BigInt(AT.data + 0x100));
    p.setGpr(7, BigInt(AT.data));
    const o = b.run('f3a4');
    expect(o.vector).toBe(13);
    expect(o.ip).toBe(b.codeAt);
    expect([o.gpr[1], o.gpr[6], o.gpr[7]]).toEqual([6n, BigInt(AT.data + 0x104), BigInt(AT.data + 4)]);
  });

  // ---- loading segment registers: SDM vol. 2, MOV; error code = selector
  const LOADS: readonly [string, string, number, (b: BareMetal) => void, number | undefined, number][] = [
    ['null into DS', '8ed8', 0, () => {}, undefined, 0],
    ['null into SS', '8ed0', 0, () => {}, 13, 0],
    ['beyond the GDT', '8ed8', 0x100, () => {}, 13, 0x100],
    ['system descriptor', '8ed8', GDT.tss, () => {}, 13, GDT.tss],
    [
      'execute-only code into DS',
      '8ed8',
      GDT.free,
      (x) => x.descriptor(GDT.free, 0, 0xf_ffff, 0x99, 0xc),
      13,
      GDT.free,
    ],
    ['not present into DS', '8ed8', GDT.free, (x) => x.descriptor(GDT.free, 0, 0xf_ffff, 0x13, 0xc), 11, GDT.free],
    ['not present into SS', '8ed0', GDT.free, (x) => x.descriptor(GDT.free, 0, 0xf_ffff, 0x13, 0xc), 12, GDT.free],
    ['read-only into SS', '8ed0', GDT.free, (x) => x.descriptor(GDT.free, 0, 0xf_ffff, 0x91, 0xc), 13, GDT.free],
    ['RPL against CPL in SS', '8ed0', GDT.dataUser | 3, () => {}, 13, GDT.dataUser],
    ['LDT that is not there', '8ed8', 4, () => {}, 13, 4],
  ];
  it.each(LOADS)('MOV to a segment register: %s', (_name, code, selector, setup, vector, error) => {
    b.enter('protected');
    setup(b);
    b.cpu.processor.setGpr(0, BigInt(selector));
    const o = b.run(code);
    expect(o.vector).toBe(vector);
    if (vector !== undefined) expect(o.error).toBe(error);
  });
  it('loading sets the accessed bit in memory (SDM vol. 3, 3.4.5.1)', () => {
    b.enter('protected');
    b.descriptor(GDT.free, 0, 0xf_ffff, 0x92, 0xc);
    b.cpu.processor.setGpr(0, BigInt(GDT.free));
    b.run('8ed8');
    expect(b.ram[AT.gdt + GDT.free + 5]).toBe(0x93);
  });
});

describe.each(DRIVERS)('transfers between modes and privileges, %s', (driver) => {
  const b = new BareMetal(driver);
  const p = b.cpu.processor;

  it('real to protected, 32-bit, and back (SDM vol. 3, 9.9)', () => {
    b.enter('real');
    b.cpu.state.set64(STATE.gdtrBase, BigInt(AT.gdt));
    b.cpu.state.set32(STATE.gdtrLimit, 0xff);
    // mov eax, cr0; or al, 1; mov cr0, eax; jmp code32:32-bit
    const enter = `0f20c0 0c01 0f22c0 66ea${hex32(AT.code)}${hex16(GDT.code32)}`;
    // mov ax, data; mov ds, ax; mov dword [data], 12345678h; jmp code16:back
    const inside = `66b8${hex16(GDT.data)} 8ed8 c705${hex32(AT.data)}78563412 ea${hex32(0x6000)}${hex16(GDT.code16)}`;
    // mov eax, cr0; and al, 0feh; mov cr0, eax; jmp 0:next; hlt
    const back = `0f20c0 24fe 0f22c0 ea${hex16(0x600d)}0000 f4`;
    for (const [at, code] of [
      [AT.code, inside],
      [0x6000, back],
    ] as const) {
      const bytes = (code.match(/[0-9a-f]{2}/g) ?? []).map((x) => Number.parseInt(x, 16));
      b.ram.set(bytes, at);
      b.cpu.ramWritten(at, bytes.length);
    }
    const o = b.run(enter);
    expect(o.vector).toBeUndefined();
    expect(b.view.getUint32(AT.data, true)).toBe(0x1234_5678);
    expect(p.selector(SEG.cs)).toBe(0);
    expect(p.protectedMode).toBe(false);
    // the flat DS stays as it was loaded ("unreal" mode)
    expect(p.limit(SEG.ds)).toBe(0xffff_ffff);
  });
  it('call gate to an inner privilege copies parameters, RETF comes back (SDM vol. 3, 5.8.5 and 5.8.6)', () => {
    b.enter('protected3');
    b.gate(AT.gdt + GDT.free, GDT.code32, AT.code + 0x100, 0xec, 2);
    b.set32(b.stackAt, 0x1111);
    b.set32(b.stackAt + 4, 0x2222);
    // at the gate: mov ecx, [esp+8] (first parameter); mov edx, [esp+12]; mov ebx, cs; retf 8
    const inner = '8b4c2408 8b54240c 8ccb ca0800';
    const bytes = (inner.match(/[0-9a-f]{2}/g) ?? []).map((x) => Number.parseInt(x, 16));
    b.ram.set(bytes, AT.code + 0x100);
    b.cpu.ramWritten(AT.code + 0x100, bytes.length);
    const o = b.run(`9a00000000${hex16(GDT.free | 3)} cd80`);
    expect(o.vector).toBe(0x80);
    expect(o.gpr.slice(1, 4)).toEqual([0x1111n, 0x2222n, BigInt(GDT.code32)]);
    expect(o.cs).toBe(GDT.code32User | 3);
    expect(o.ip).toBe(b.codeAt + 9);
    expect(o.sp).toBe(b.stackAt + 8);
    expect(o.ss).toBe(GDT.dataUser | 3);
  });
  it('64-bit call gate: null SS, eight-byte frame (SDM vol. 3, 5.8.5.1)', () => {
    b.enter('user');
    b.gate(AT.gdt + GDT.free, GDT.code64, AT.code, 0xec);
    b.set64(AT.gdt + GDT.free + 8, 0n);
    b.ram.set([0xf4], AT.code);
    b.cpu.ramWritten(AT.code, 1);
    // call far [rip+0] with the pointer behind it
    const o = b.run(`ff1d00000000 00000000${hex16(GDT.free | 3)}`);
    expect(o.ip).toBe(AT.code + 1);
    expect([p.selector(SEG.cs), p.selector(SEG.ss), p.cpl]).toEqual([GDT.code64, 0, 0]);
    const sp = AT.stack0 - 32;
    expect(o.gpr[4]).toBe(BigInt(sp));
    const frame = [0, 8, 16, 24].map((at) => Number(b.view.getBigUint64(sp + at, true)));
    expect(frame).toEqual([b.codeAt + 6, GDT.code64User | 3, USER.stack, GDT.dataUser | 3]);
  });
  it('far transfers refused: error codes (SDM vol. 2, CALL, JMP)', () => {
    const cases: readonly [string, number, (x: BareMetal) => void, number, number][] = [
      ['null', 0, () => {}, 13, 0],
      ['data', GDT.data, () => {}, 13, GDT.data],
      ['other privilege', GDT.code32User, () => {}, 13, GDT.code32User],
      ['not present', GDT.free, (x) => x.descriptor(GDT.free, 0, 0xf_ffff, 0x1b, 0xc), 11, GDT.free],
      ['gate not present', GDT.free, (x) => x.gate(AT.gdt + GDT.free, GDT.code32, AT.code, 0x0c), 11, GDT.free],
      ['gate to null', GDT.free, (x) => x.gate(AT.gdt + GDT.free, 0, AT.code, 0x8c), 13, 0],
      ['beyond the limit', GDT.free, (x) => x.descriptor(GDT.free, 0, 0xfff, 0x9b, 0x4), 13, 0],
      ['task segment (not offered)', GDT.tss, () => {}, 13, GDT.tss],
    ];
    for (const opcode of ['9a', 'ea']) {
      for (const [name, selector, setup, vector, error] of cases) {
        b.enter('protected');
        setup(b);
        const o = b.run(`${opcode}${hex32(AT.code)}${hex16(selector)}`);
        expect([name, o.vector, o.error, o.ip]).toEqual([name, vector, error, b.codeAt]);
        expect(o.changed).toEqual([]);
      }
    }
  });
  it('IRET to an outer privilege clears data segments the new one may not have (SDM vol. 2, IRET)', () => {
    b.enter('protected');
    const sp = b.stackAt;
    for (const [i, v] of [AT.code + 0x200, GDT.code32User | 3, 0x3202, AT.data, GDT.dataUser | 3].entries())
      b.set32(sp + i * 4, v);
    b.ram.set([0xcd, 0x80], AT.code + 0x200);
    b.cpu.ramWritten(AT.code + 0x200, 2);
    const o = b.run('cf');
    expect(o.vector).toBe(0x80);
    expect([o.cs, o.sp, o.ss]).toEqual([GDT.code32User | 3, AT.data, GDT.dataUser | 3]);
    expect([p.selector(SEG.ds), p.selector(SEG.es), p.selector(SEG.fs)]).toEqual([0, 0, 0]);
    expect(o.flags & 0x3200).toBe(0x3200);
  });
  it('IRET faults change nothing (SDM vol. 2, IRET)', () => {
    const cases: readonly [string, readonly number[], number, number][] = [
      ['null CS', [AT.code, 0, 2, AT.stack, GDT.data], 13, 0],
      ['data in CS', [AT.code, GDT.data, 2, AT.stack, GDT.data], 13, GDT.data],
      ['SS of another privilege', [AT.code, GDT.code64User | 3, 2, AT.stack, GDT.data], 13, GDT.data],
      ['null SS for ring 3', [AT.code, GDT.code64User | 3, 2, AT.stack, 0], 13, 0],
    ];
    for (const [name, frame, vector, error] of cases) {
      b.enter('long');
      for (const [i, v] of frame.entries()) b.set64(b.stackAt + i * 8, BigInt(v));
      const o = b.run('48cf');
      expect([name, o.vector, o.error, o.ip]).toEqual([name, vector, error, b.codeAt]);
      expect(o.sp).toBe(b.stackAt);
      expect(o.cs).toBe(GDT.code64);
    }
    b.enter('long');
    for (const [i, v] of [1n << 63n, BigInt(GDT.code64), 2n, BigInt(AT.stack), 0n].entries())
      b.set64(b.stackAt + i * 8, v);
    const o = b.run('48cf');
    expect([o.vector, o.error, o.ip]).toEqual([13, 0, b.codeAt]);
    b.enter('long');
    p.setEflags(0x4002);
    const nested = b.run('48cf');
    expect([nested.vector, nested.error]).toEqual([13, 0]);
  });
  it('SYSENTER and SYSEXIT (SDM vol. 2)', () => {
    b.enter('protected3');
    expect(b.run('0f34').vector).toBe(13); // IA32_SYSENTER_CS is 0
    b.enter('protected3');
    b.cpu.state.set64(STATE.sysenterCs, BigInt(GDT.code64));
    b.cpu.state.set64(STATE.sysenterEip, BigInt(AT.code + 0x300));
    b.cpu.state.set64(STATE.sysenterEsp, BigInt(AT.data));
    b.ram.set([0xf4], AT.code + 0x300);
    b.cpu.ramWritten(AT.code + 0x300, 1);
    const o = b.run('0f34');
    expect(o.ip).toBe(AT.code + 0x301);
    expect([p.selector(SEG.cs), p.selector(SEG.ss), p.cpl, p.gpr(4)]).toEqual([8, 0x10, 0, BigInt(AT.data)]);
    p.setGpr(2, BigInt(b.codeAt));
    p.setGpr(1, BigInt(AT.data));
    b.ram.set([0xcd, 0x80], b.codeAt);
    b.cpu.ramWritten(b.codeAt, 2);
    b.ram.set([0x0f, 0x35], AT.code + 0x300);
    b.cpu.ramWritten(AT.code + 0x300, 2);
    b.cpu.ip = BigInt(AT.code + 0x300);
    const back = b.resume();
    expect([back.vector, back.cs, back.ss, back.sp]).toEqual([0x80, 0x1b, 0x23, AT.data]);
    b.enter('protected3');
    expect(b.run('0f35').vector).toBe(13);
  });
  it('SYSRET to a non-canonical address faults in ring 0 (SDM vol. 2, Intel)', () => {
    b.enter('long');
    p.setGpr(1, 1n << 47n);
    const o = b.run('480f07');
    expect([o.vector, o.error, o.ip, o.cs]).toEqual([13, 0, b.codeAt, GDT.code64]);
  });
  it('LTR and LLDT (SDM vol. 2)', () => {
    const cases: readonly [string, string, number, (x: BareMetal) => void, number | undefined, number | undefined][] = [
      ['LTR busy', '0f00d8', GDT.tss, () => {}, 13, GDT.tss],
      ['LTR null', '0f00d8', 0, () => {}, 13, 0],
      ['LTR', '0f00d8', GDT.tss, (x) => x.descriptor(GDT.tss, AT.tss, 0x67, 0x89, 0), undefined, undefined],
      ['LTR not present', '0f00d8', GDT.tss, (x) => x.descriptor(GDT.tss, AT.tss, 0x67, 0x09, 0), 11, GDT.tss],
      ['LLDT', '0f00d0', GDT.ldt, () => {}, undefined, undefined],
      ['LLDT of a task segment', '0f00d0', GDT.tss, () => {}, 13, GDT.tss],
      ['LLDT null', '0f00d0', 0, () => {}, undefined, undefined],
      [
        'LLDT, upper half beyond the GDT',
        '0f00d0',
        GDT.ldt,
        (x) => x.cpu.state.set32(STATE.gdtrLimit, GDT.ldt + 7),
        13,
        GDT.ldt,
      ],
    ];
    for (const [name, code, selector, setup, vector, error] of cases) {
      b.enter('long');
      setup(b);
      p.setGpr(0, BigInt(selector));
      const o = b.run(code);
      expect([name, o.vector, o.error]).toEqual([name, vector, error]);
    }
    expect(b.ram[AT.gdt + GDT.tss + 5]).toBe(0x8b);
  });
  it('I/O permission bitmap (SDM vol. 1, 19.5.2)', () => {
    const allow = (limit: number, bits: number): void => {
      b.enter('user');
      b.ram[AT.tss + 0x68] = bits;
      b.ram[AT.tss + 0x69] = 0xff;
      b.view.setUint16(AT.tss + 0x66, 0x68, true);
      b.cpu.state.set32(STATE.segLimit + SEG.tr * 4, limit);
      p.setGpr(2, 4n);
    };
    allow(0x69, 0xef);
    expect(b.run('ec cd80').vector).toBe(0x80); // in al, dx
    expect(b.ports).toEqual([{ port: 4, width: 1 }]);
    allow(0x69, 0xef);
    expect(b.run('66ed cd80').vector).toBe(13); // two ports
    allow(0x68, 0xef);
    expect(b.run('ec cd80').vector).toBe(13); // two bytes are read
    // a page fault on the way to the bitmap is the instruction's
    allow(0x69, 0xef);
    b.cpu.state.set32(STATE.segLimit + SEG.tr * 4, 0x1fff);
    b.view.setUint16(AT.tss + 0x66, 0x1000, true);
    b.map(AT.tss + 0x1000, 0, 0n);
    const o = b.run('ec');
    expect([o.vector, o.error, o.cr2, o.ip]).toEqual([14, 0, BigInt(AT.tss + 0x1000), b.codeAt]);
  });
});

describe('translated code and segments', () => {
  const b = new BareMetal('translator');
  const p = b.cpu.processor;
  const entries = (): number => b.cpu.counter('regionEntries');
  it.each(['user', 'compat', 'protected'] as const)('is used in %s mode, where segments are flat', (mode) => {
    b.enter(mode);
    p.setGpr(0, BigInt(mode === 'protected' ? AT.data : USER.data));
    p.setGpr(1, 0n);
    const before = entries();
    // mov [eax], ecx; a block the translator may enter
    const o = b.run(`8908 8b10 ${mode === 'protected' ? '' : 'cd80'}`);
    expect(o.vector).toBe(mode === 'protected' ? undefined : 0x80);
    expect(entries()).toBeGreaterThan(before);
  });
  it('made for a flat segment, it is not used when the segment has a limit', () => {
    b.enter('protected');
    p.setGpr(0, BigInt(AT.data));
    expect(b.run('8908 8b10').vector).toBeUndefined();
    p.setSegment(SEG.ds, GDT.data, 0n, 0xfff, BYTES);
    b.cpu.ip = BigInt(b.codeAt);
    const o = b.resume();
    expect([o.vector, o.ip]).toEqual([13, b.codeAt]);
  });
});
