import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state.ts';
import { SEG } from '../../../src/cpu/system/processor.ts';
import { AT, BareMetal, bytesOf, DRIVERS, GDT, USER } from '../../support/bare-metal.ts';

describe.each(DRIVERS)('system calls, flags and long-mode transitions, %s', (driver) => {
  const b = new BareMetal(driver);
  const p = b.cpu.processor;
  const { state } = b.cpu;
  const place = (at: number, hex: string): void => {
    const code = bytesOf(hex);
    b.ram.set(code, at);
    b.cpu.ramWritten(at, code.length);
  };
  /** SYSCALL leads to AT.code in ring 0; SYSRET's selectors are those of Linux. */
  const enable = (mask = 0x4_7700n): void => {
    state.set64(STATE.star, (8n << 32n) | (BigInt(GDT.code32User) << 48n));
    state.set64(STATE.lstar, BigInt(AT.code));
    state.set64(STATE.sfmask, mask);
  };

  it('SYSCALL: RCX, R11, flags masked, flat segments (SDM vol. 2)', () => {
    b.enter('user');
    enable();
    p.setEflags(0x4_0ad7);
    p.modeChanged();
    place(AT.code, 'f4');
    const o = b.run('0f05');
    expect(o.ip).toBe(AT.code + 1);
    expect([o.gpr[1], o.gpr[11]]).toEqual([BigInt(USER.code + 2), 0x4_0ad7n]);
    expect(p.eflags).toBe(0x8d7);
    expect([p.selector(SEG.cs), p.selector(SEG.ss), p.cpl]).toEqual([8, 16, 0]);
    expect([p.attributes(SEG.cs), p.attributes(SEG.ss), p.limit(SEG.ss)]).toEqual([0xa09b, 0xc093, 0xffff_ffff]);
    expect(o.gpr[4]).toBe(BigInt(USER.stack));
  });
  it('SYSRET to 64-bit and to compatibility mode (SDM vol. 2)', () => {
    for (const wide of [true, false]) {
      b.enter('long');
      enable();
      p.setGpr(1, BigInt(USER.code));
      p.setGpr(11, 0x3_0ad7n); // RF and VM do not come back
      p.setGpr(4, BigInt(USER.stack));
      place(AT.userCode, 'cd80');
      const o = b.run(`${wide ? '48' : ''}0f07`);
      expect([o.vector, o.cs, o.ss]).toEqual([0x80, (wide ? GDT.code64User : GDT.code32User) | 3, GDT.dataUser | 3]);
      expect(o.flags).toBe(0xad7);
      expect(o.sp).toBe(USER.stack);
    }
  });
  it('SYSCALL and SYSRET are #UD without EFER.SCE (SDM vol. 2)', () => {
    for (const [mode, code] of [
      ['user', '0f05'],
      ['long', '480f07'],
    ] as const) {
      b.enter(mode);
      enable();
      state.set64(STATE.efer, 0xd00n);
      expect(b.run(code).vector).toBe(6);
    }
    b.enter('user');
    expect(b.run('480f07').vector).toBe(13);
  });
  it('IRETQ to compatibility mode, a far jump there into 64-bit mode and back (SDM vol. 3, 9.8.5)', () => {
    b.enter('long');
    for (const [i, v] of [USER.code, GDT.code32User | 3, 0x202, USER.stack, GDT.dataUser | 3].entries())
      b.set64(b.stackAt + i * 8, BigInt(v));
    // dec eax (REX.W in 64-bit mode); jmp far code64:next; next: dec rax; int 80h
    place(AT.userCode, `48 ea 08004000 2b00 48ffc8 cd80`);
    p.setGpr(0, 0x1_0000_0000n);
    const o = b.run('48cf');
    expect([o.vector, o.cs]).toEqual([0x80, GDT.code64User | 3]);
    // 32-bit DEC clears the upper half; 64-bit DEC takes one more
    expect(o.gpr[0]).toBe(0xffff_fffen);
  });
  it('POPF in ring 3 leaves IF and IOPL alone, in ring 0 it does not (SDM vol. 2)', () => {
    b.enter('user');
    p.setEflags(0x202);
    b.view.setBigUint64(AT.userData + 0x800, 0x24_7cd5n & ~0x200n, true);
    // popfq; int 80h — NT, DF, AC, ID and the status flags change
    const o = b.run('9d cd80');
    expect(o.flags).toBe(0x24_4ed7);
    b.enter('long');
    b.set64(b.stackAt, 0x3000n);
    b.run('9d');
    expect(p.eflags).toBe(0x3002);
  });
  it('POPF with IOPL 3 may change IF; a pending interrupt is taken at once (SDM vol. 2)', () => {
    b.enter('user');
    p.setEflags(0x3002);
    b.view.setBigUint64(AT.userData + 0x800, 0x202n, true);
    b.interrupts.push(0x50);
    b.cpu.setInterruptPending(true);
    const o = b.run('9d 90');
    b.cpu.setInterruptPending(false);
    expect([o.vector, o.ip, o.flags]).toEqual([0x50, USER.code + 1, 0x3202]);
  });
  it('PUSHF never shows VM or RF (SDM vol. 2)', () => {
    b.enter('long');
    p.setEflags(0x1_0002);
    expect(b.run('9c 58').gpr[0]).toBe(2n);
  });
  it('IRET to virtual-8086 mode and nested tasks are refused (docs/system.md)', () => {
    b.enter('protected');
    for (const [i, v] of [0x1000, 0, 0x2_0002, 0, 0, 0, 0, 0, 0].entries()) b.set32(b.stackAt + i * 4, v);
    const o = b.run('cf');
    expect([o.vector, o.error, o.ip]).toEqual([13, 0, b.codeAt]);
    b.enter('protected');
    p.setEflags(0x4002);
    expect(b.run('cf').vector).toBe(13);
  });
  it('SWAPGS exchanges, in ring 0 only (SDM vol. 2)', () => {
    b.enter('long');
    state.set64(STATE.kernelGsBase, 0x1234n);
    p.setSegment(SEG.gs, 0, 0x5678n, 0, 0);
    b.run('0f01f8');
    expect([p.base(SEG.gs), state.get64(STATE.kernelGsBase)]).toEqual([0x1234n, 0x5678n]);
    b.enter('user');
    expect(b.run('0f01f8').vector).toBe(13);
  });
  it('SGDT and SIDT store ten bytes, LGDT refuses a non-canonical base (SDM vol. 2)', () => {
    b.enter('long');
    p.setGpr(0, BigInt(AT.data));
    b.run('0f0100');
    expect([b.view.getUint16(AT.data, true), b.view.getBigUint64(AT.data + 2, true)]).toEqual([0xff, BigInt(AT.gdt)]);
    b.enter('long');
    b.set64(AT.data, 0xffn | (0x8000_0000_0000n << 16n));
    p.setGpr(0, BigInt(AT.data));
    const o = b.run('0f0110');
    expect([o.vector, o.error]).toEqual([13, 0]);
    expect(state.get64(STATE.gdtrBase)).toBe(BigInt(AT.gdt));
  });
  it('VERR VERW LAR LSL see what the privilege may (SDM vol. 2)', () => {
    b.enter('user');
    p.setGpr(1, BigInt(GDT.dataUser | 3));
    // lar eax, ecx; lsl edx, ecx
    const o = b.run('0f02c1 0f03d1 cd80');
    expect([o.gpr[0], o.gpr[2]]).toEqual([0xcf_f300n & 0xff_ff00n, 0xffff_ffffn]);
    expect(o.flags & 0x40).toBe(0x40);
    for (const [selector, code, zf] of [
      [GDT.data, '0f00e1', 0],
      [GDT.dataUser, '0f00e1', 0x40],
      [GDT.dataUser, '0f00e9', 0x40],
      [GDT.code64User, '0f00e9', 0],
      [GDT.tss, '0f02c1', 0],
      [0, '0f02c1', 0],
      [0x1000, '0f03d1', 0],
    ] as const) {
      b.enter('user');
      p.setGpr(1, BigInt(selector | (selector ? 3 : 0)));
      const seen = b.run(`${code} cd80`);
      expect([selector, code, seen.vector, seen.flags & 0x40]).toEqual([selector, code, 0x80, zf]);
    }
  });
  it('an interrupt gate clears IF, a trap gate keeps it; TF and NT go (SDM vol. 3, 6.12.1.3)', () => {
    for (const [access, expected] of [
      [0xee, 0],
      [0xef, 0x200],
    ] as const) {
      b.enter('user');
      b.idtGate(0x80, { access });
      p.setEflags(0x4202);
      b.run('cd80');
      expect(p.eflags & 0x4300).toBe(expected);
    }
  });
  it('CPUID: a leaf that is not there answers as the highest basic one (SDM vol. 2)', () => {
    const leaf = (eax: bigint): readonly bigint[] => {
      b.enter('long');
      p.setGpr(0, eax);
      p.setGpr(1, 0n);
      return b.run('0fa2').gpr.slice(0, 4);
    };
    const highest = leaf(leaf(0n)[0]!);
    for (const eax of [0x17n, 0x100n, 0x3fff_ffffn, 0x8000_0009n, 0xffff_ffffn]) expect(leaf(eax)).toEqual(highest);
    // the hypervisor's leaves are a range of their own
    const text = ([ebx, ecx, edx]: readonly bigint[]): string =>
      [ebx!, ecx!, edx!]
        .flatMap((r) => [0n, 8n, 16n, 24n].map((at) => String.fromCharCode(Number((r >> at) & 255n))))
        .join('');
    const [last, rcx, rdx, rbx] = leaf(0x4000_0000n);
    expect([last, text([rbx!, rcx!, rdx!])]).toEqual([0x4000_0010n, 'UklEmuUklEmu']);
    expect(leaf(0x4000_0001n)).toEqual([0n, 0n, 0n, 0n]);
    const [tsc, , , apic] = leaf(0x4000_0010n);
    expect([tsc, apic]).toEqual([1_000_000n, 1_000_000n]);
    expect(leaf(0x4000_0011n)).toEqual([0n, 0n, 0n, 0n]);
  });
  it('CPUID says what control registers enable (SDM vol. 2)', () => {
    b.enter('long');
    p.setGpr(0, 1n);
    expect(b.run('0fa2').gpr[1]! & (1n << 27n)).toBe(0n);
    b.enter('long');
    state.set64(STATE.cr4, state.get64(STATE.cr4) | 0x4_0000n);
    p.setGpr(0, 1n);
    expect(b.run('0fa2').gpr[1]! & (1n << 27n)).toBe(1n << 27n);
  });
});
