import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state.ts';
import { AT, BareMetal, bytesOf, DRIVERS, GDT, USER } from '../../support/bare-metal.ts';

const TF = 0x100;
const IF = 0x200;
const RF = 0x1_0000;
const DR6_BS = 0x4000n;
const DR6_BD = 0x2000n;
const dr = (b: BareMetal, n: number): bigint => b.cpu.state.get64(STATE.dr + n * 8);
const setDr = (b: BareMetal, n: number, value: bigint): void => b.cpu.state.set64(STATE.dr + n * 8, value);
const flags = (b: BareMetal, value: number): void => b.cpu.processor.setEflags(value | 2);
/** Has handler `vector` do something before it halts. */
function handler(b: BareMetal, vector: number, hex: string): void {
  const code = [...bytesOf(hex), 0xf4];
  const at = 0xe000 + vector * 0x40;
  b.ram.set(code, at);
  b.cpu.ramWritten(at, code.length);
  b.idtGate(vector, { target: at });
}

describe.each(DRIVERS)('debug exceptions and interrupts, %s', (driver) => {
  const b = new BareMetal(driver);

  it('single step: a trap after the instruction, DR6.BS, RF clear in the image (SDM vol. 3, 17.3.1.4)', () => {
    b.enter('long');
    flags(b, TF);
    const o = b.run('90 90');
    expect(o.vector).toBe(1);
    expect(o.ip).toBe(b.codeAt + 1);
    expect(o.flags & (TF | RF)).toBe(TF);
    expect(dr(b, 6) & DR6_BS).toBe(DR6_BS);
  });
  it('single step: no trap between MOV SS and the next instruction (SDM vol. 3, 6.8.3)', () => {
    b.enter('long');
    flags(b, TF);
    b.cpu.processor.setGpr(0, BigInt(GDT.data));
    expect(b.run('8ed0 90 90').ip).toBe(b.codeAt + 3);
  });
  it('single step: STI does not hold the trap back (SDM vol. 3, 6.8.3)', () => {
    b.enter('long');
    flags(b, TF);
    expect(b.run('fb 90').ip).toBe(b.codeAt + 1);
  });
  it('single step: every iteration of a repetition (SDM vol. 3, 17.3.1.4)', () => {
    b.enter('long');
    flags(b, TF);
    b.cpu.processor.setGpr(1, 3n);
    b.cpu.processor.setGpr(7, BigInt(AT.data));
    const o = b.run('f3aa 90');
    expect(o.ip).toBe(b.codeAt);
    expect(o.gpr[1]).toBe(2n);
  });
  it('single step: none after an interrupt instruction (SDM vol. 3, 17.3.1.4)', () => {
    b.enter('user');
    flags(b, TF);
    const o = b.run('cd80');
    expect(o.vector).toBe(0x80);
    expect(o.flags & TF).toBe(TF);
  });
  it('single step: SYSCALL with TF in IA32_FMASK is not followed by a trap (silicon, as Linux relies on)', () => {
    b.enter('user');
    flags(b, TF);
    b.cpu.state.set64(STATE.star, 8n << 32n);
    b.cpu.state.set64(STATE.lstar, BigInt(AT.code));
    b.cpu.state.set64(STATE.sfmask, 0x100n);
    b.idtGate(1, { ist: 1 });
    b.idtGate(6, { ist: 1 });
    b.ram.set([0x90, 0x0f, 0x0b], AT.code);
    b.cpu.ramWritten(AT.code, 3);
    expect(b.run('0f05').vector).toBe(6);
  });
  it('instruction breakpoint: a fault before the instruction, RF in the image (SDM vol. 3, 17.3.1.1)', () => {
    b.enter('long');
    setDr(b, 2, BigInt(b.codeAt + 1));
    setDr(b, 7, 0x400n | 0x10n);
    const o = b.run('90 90 90');
    expect(o.vector).toBe(1);
    expect(o.ip).toBe(b.codeAt + 1);
    expect(o.flags & RF).toBe(RF);
    expect(dr(b, 6) & 0xfn).toBe(4n);
  });
  it('instruction breakpoint: IRET with RF goes past it, once (SDM vol. 3, 17.3.1.1)', () => {
    b.enter('long');
    setDr(b, 0, BigInt(b.codeAt + 1));
    setDr(b, 7, 0x402n);
    handler(b, 1, '48ffc1 48cf'); // inc rcx; iretq
    b.cpu.processor.setGpr(1, 0n);
    const o = b.run('90 90 90');
    expect(o.vector).toBeUndefined();
    expect(o.ip).toBe(b.codeAt + 4);
    expect(o.gpr[1]).toBe(1n);
    // the next time round RF is gone
    b.cpu.ip = BigInt(b.codeAt);
    expect(b.resume().gpr[1]).toBe(2n);
  });
  it('instruction breakpoint: disabled ones and other kinds do nothing', () => {
    b.enter('long');
    setDr(b, 0, BigInt(b.codeAt));
    setDr(b, 1, BigInt(b.codeAt));
    setDr(b, 7, 0x400n | 0x4n | (1n << 20n)); // DR0 off; DR1 on for writes
    expect(b.run('90').vector).toBeUndefined();
  });
  it('DR7.GD: #DB before the access, BD, and GD is cleared (SDM vol. 3, 17.2.4)', () => {
    b.enter('long');
    setDr(b, 7, 0x2400n);
    const o = b.run('0f21c0'); // mov rax, dr0
    expect(o.vector).toBe(1);
    expect(o.ip).toBe(b.codeAt);
    expect(dr(b, 6) & DR6_BD).toBe(DR6_BD);
    expect(dr(b, 7)).toBe(0x400n);
  });
  it('debug registers: fixed and reserved bits, DR4 and DR5 by CR4.DE (SDM vol. 3, 17.2)', () => {
    b.enter('long');
    b.cpu.processor.setGpr(0, 0xffff_ffffn & ~0x2000n);
    expect(b.run('0f23f0 0f23f8').vector).toBeUndefined();
    expect(dr(b, 6)).toBe(0xffff_cfffn | 0x0n);
    expect(dr(b, 7)).toBe(0xffff_07ffn);
    b.enter('long');
    b.cpu.processor.setGpr(0, 1n << 32n);
    expect(b.run('0f23f8').vector).toBe(13);
    b.enter('long');
    b.cpu.state.set64(STATE.cr4, b.cpu.state.get64(STATE.cr4) | 8n);
    expect(b.run('0f21e0').vector).toBe(6);
    b.enter('long');
    expect(b.run('0f21e0').gpr[0]).toBe(0xffff_0ff0n);
  });

  // DR7: R/W 1 = writes, 3 = reads and writes; LEN 0 1 3 2 = 1 2 4 8 bytes (SDM vol. 3, 17.2.4); a trap (17.3.1.2)
  const DATA: readonly [string, string, number, number, number, boolean][] = [
    ['write meets a write breakpoint', '8808', 1, 0, 0, true],
    ['read does not meet a write breakpoint', '8a08', 1, 0, 0, false],
    ['read meets a read/write breakpoint', '8a08', 3, 0, 0, true],
    ['read-modify-write meets a write breakpoint', 'fe00', 1, 0, 0, true],
    ['last byte of eight', '884807', 1, 2, 0, true],
    ['a byte beyond four', '884804', 1, 3, 0, false],
    ['an access that covers the byte', '488b48f9', 3, 0, 0, true],
    ['the address is aligned by the length', '8808', 1, 3, 2, true],
    ['push', '50', 1, 2, AT.stack - 8 - AT.data, true],
    ['REP STOSB', 'f3aa', 1, 0, 0, true],
  ];
  it.each(DATA)('data breakpoint: %s', (_name, code, kind, length, offset, hit) => {
    b.enter('long');
    const p = b.cpu.processor;
    b.cpu.state.set64(STATE.dr + 8, BigInt(AT.data + offset));
    p.setGpr(6, 0x400n | 4n | (BigInt(kind) << 20n) | (BigInt(length) << 22n));
    p.setGpr(0, BigInt(AT.data));
    p.setGpr(7, BigInt(AT.data));
    p.setGpr(1, 2n);
    const o = b.run(`0f23fe ${code} 90`); // mov dr7, rsi
    const size = code.length / 2;
    expect(o.vector).toBe(hit ? 1 : undefined);
    if (!hit) return;
    expect(o.ip).toBe(b.codeAt + 3 + (code === 'f3aa' ? 0 : size));
    // between iterations RF is set even by a trap (SDM vol. 3, 17.3.1.1)
    expect(o.flags & RF).toBe(code === 'f3aa' ? RF : 0);
    expect(dr(b, 6) & 0xfn).toBe(2n);
  });
  it('data breakpoint: dropped when the instruction faults, and gone with DR7', () => {
    b.enter('long');
    const p = b.cpu.processor;
    setDr(b, 0, BigInt(AT.data));
    p.setGpr(6, 0x402n | (3n << 16n));
    p.setGpr(0, BigInt(AT.data));
    p.setGpr(3, 0x400n);
    // mov dr7, rsi; mov dr7, rbx; mov cl, [rax]
    expect(b.run('0f23fe 0f23fb 8a08').vector).toBeUndefined();
    expect(dr(b, 6) & 0xfn).toBe(0n);
  });

  it('MOV SS holds both kinds of breakpoint back, over the end of a run too (SDM vol. 3, 6.8.3)', () => {
    for (const budget of [1, 2, 3, 1000]) {
      b.enter('long');
      b.view.setUint16(AT.data, GDT.data, true);
      setDr(b, 0, BigInt(AT.data));
      setDr(b, 1, BigInt(b.codeAt + 5));
      // DR0: two bytes, read or written; DR1: the NOP after MOV SS
      b.cpu.processor.setGpr(6, 0x405n | (3n << 16n) | (1n << 18n));
      b.cpu.processor.setGpr(0, BigInt(AT.data));
      // mov dr7, rsi; mov ss, [rax]; nop; nop
      let o = b.run('0f23fe 8e10 90 90', budget);
      if (o.exit === 'budget') o = b.resume();
      // one trap after the NOP, for the data; none in the handler, which would lose the frame
      expect([budget, o.vector, o.ip, Number(dr(b, 6) & 0xfn)]).toEqual([budget, 1, b.codeAt + 6, 1]);
      expect(Number(o.gpr[4])).toBe(AT.stack - 40);
    }
  });

  it('STI shadow: an interrupt waits for one instruction more (SDM vol. 2, STI)', () => {
    b.enter('long');
    b.interrupts.push(0x40);
    b.cpu.setInterruptPending(true);
    const o = b.run('fb 90 90');
    b.cpu.setInterruptPending(false);
    expect(o.vector).toBe(0x40);
    expect(o.ip).toBe(b.codeAt + 2);
    expect(o.flags & IF).toBe(IF);
  });
  it('MOV SS shadow (SDM vol. 3, 6.8.3)', () => {
    b.enter('long');
    flags(b, 0);
    b.cpu.processor.setGpr(0, BigInt(GDT.data));
    b.interrupts.push(0x41);
    b.cpu.setInterruptPending(true);
    const o = b.run('fb 8ed0 90 90');
    b.cpu.setInterruptPending(false);
    expect(o.vector).toBe(0x41);
    expect(o.ip).toBe(b.codeAt + 4);
  });
  it('NMI: vector 2 whatever IF, and no second one before IRET (SDM vol. 3, 6.7.1)', () => {
    b.enter('long');
    b.cpu.raiseNmi();
    const o = b.run('90');
    expect(o.vector).toBe(2);
    expect(o.ip).toBe(b.codeAt);
    b.cpu.raiseNmi();
    // blocked: the code goes on
    b.cpu.ip = BigInt(b.codeAt);
    expect(b.resume().vector).toBeUndefined();
    // an IRET, even one that faults, lets it in
    handler(b, 13, '90');
    const sp = Number(b.cpu.processor.gpr(4)) - 40;
    b.cpu.processor.setGpr(4, BigInt(sp));
    [BigInt(b.codeAt + 2), BigInt(GDT.code64), 2n, BigInt(AT.stack), BigInt(GDT.data)].forEach((v, i) => {
      b.set64(sp + i * 8, v);
    });
    const again = b.run('48cf 90');
    expect(again.vector).toBe(2);
    expect(again.ip).toBe(b.codeAt + 2);
  });
  it('HLT ends by an interrupt behind it, and not without one', () => {
    b.enter('long');
    flags(b, IF);
    expect(b.run('').exit).toBe('halt');
    b.enter('long');
    flags(b, IF);
    b.interrupts.push(0x42);
    b.cpu.setInterruptPending(true);
    const o = b.run('');
    b.cpu.setInterruptPending(false);
    expect(o.vector).toBe(0x42);
  });
  it('triple fault shuts down (SDM vol. 3, 6.15 #DF)', () => {
    b.enter('long');
    b.cpu.state.set32(STATE.idtrLimit, 0);
    expect(b.run('0f0b').exit).toBe('shutdown');
    b.enter('user');
    b.idtGate(8, { access: 0x0e });
    b.idtGate(13, { access: 0x0e });
    expect(b.run('f4').exit).toBe('shutdown');
  });
  it('IST and the stack of the inner privilege (SDM vol. 3, 6.14.5)', () => {
    b.enter('user');
    b.idtGate(6, { ist: 1 });
    const o = b.run('0f0b');
    expect(o.vector).toBe(6);
    expect(o.gpr[4]).toBe(BigInt(AT.ist1) - 40n);
    expect(o.sp).toBe(USER.stack);
    b.enter('user');
    expect(b.run('0f0b').gpr[4]).toBe(BigInt(AT.stack0) - 40n);
  });
  it('a non-canonical stack during delivery is #SS with EXT (SDM vol. 2, INT n)', () => {
    b.enter('user');
    b.set64(AT.tss + 4, 0x8000_0000_0000_0000n);
    b.idtGate(12, { ist: 1 });
    const o = b.run('0f0b');
    expect(o.vector).toBe(12);
    expect(o.error).toBe(1);
    b.enter('user');
    b.set64(AT.tss + 4, 0x8000_0000_0000_0000n);
    b.idtGate(12, { ist: 1 });
    expect(b.run('cd80').error).toBe(0);
  });
  it('a task segment too small for the stack is #TS (SDM vol. 3, 6.15 #TS)', () => {
    b.enter('user');
    b.cpu.state.set32(STATE.segLimit + 7 * 4, 0x20);
    b.idtGate(6, { ist: 1 });
    const o = b.run('0f0b');
    // #TS is contributory and needs a stack too: double fault, triple fault
    expect(o.exit).toBe('halt');
    expect(o.vector).toBe(10);
    expect(o.error).toBe(GDT.tss | 1);
  });
});
