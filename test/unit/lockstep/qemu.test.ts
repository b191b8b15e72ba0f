import { describe, expect, test } from 'vitest';
import { parseCpu } from '../../../src/cpu/models.ts';
import { QemuFollower } from '../../../src/lockstep/qemu-follow.ts';
import { type QemuEvent, QemuLog, QemuRegisters } from '../../../src/lockstep/qemu-log.ts';

interface Dump {
  readonly ip: number;
  readonly eax?: number;
  readonly ecx?: number;
  readonly edx?: number;
  readonly edi?: number;
  readonly esp?: number;
  readonly cr2?: number;
  readonly flags?: number;
}
const h = (value = 0): string => value.toString(16).padStart(8, '0');
/** A register dump of flat 32-bit code as QEMU 7.2 prints it. */
const dump = (d: Dump): string => `EAX=${h(d.eax)} EBX=00000000 ECX=${h(d.ecx)} EDX=${h(d.edx)}
ESI=00000000 EDI=${h(d.edi)} EBP=00000000 ESP=${h(d.esp ?? 0x8000)}
EIP=${h(d.ip)} EFL=${h(d.flags ?? 2)} [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0
ES =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]
CS =0008 00000000 ffffffff 00cf9b00 DPL=0 CS32 [-RA]
SS =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]
DS =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]
FS =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]
GS =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]
LDT=0000 00000000 0000ffff 00008200 DPL=0 LDT
TR =0000 00000000 0000ffff 00008b00 DPL=0 TSS32-busy
GDT=     00002000 00000017
IDT=     00003000 000007ff
CR0=00000011 CR2=${h(d.cr2)} CR3=00000000 CR4=00000000
DR0=0000000000000000 DR1=0000000000000000 DR2=0000000000000000 DR3=0000000000000000 
DR6=00000000ffff0ff0 DR7=0000000000000400
CCS=00000000 CCD=00000000 CCO=EFLAGS
EFER=0000000000000000
`;
const block = (d: Dump): string =>
  `Trace 0: 0x7f1260000100 [0000000000000000/${h(d.ip)}/000000b0/ff020200] \n${dump(d)}`;
const interruption = (vector: number, d: Dump): string =>
  `     0: v=${vector.toString(16).padStart(2, '0')} e=0000 i=0 cpl=0 IP=0008:${h(d.ip)} pc=${h(d.ip)} SP=0010:00008000 env->regs[R_EAX]=0\n${dump(d)}`;
const read = (address: number, value: number, size = 1): string =>
  `memory_region_ops_read cpu 0 mr 0x56 addr 0x${address.toString(16)} value 0x${value.toString(16)} size ${size} name 'serial'\n`;

function follower(code: string, start: Dump): QemuFollower {
  const ram = new Uint8Array(0x1_0000);
  ram.set(Buffer.from(code.replaceAll(' ', ''), 'hex'), 0x1000);
  const descriptors = new DataView(ram.buffer);
  descriptors.setBigUint64(0x2008, 0xcf9b000000ffffn, true);
  descriptors.setBigUint64(0x2010, 0xcf93000000ffffn, true);
  // every vector leads to 4000h, where there are NOPs
  for (let v = 0; v < 256; v++) descriptors.setBigUint64(0x3000 + v * 8, 0x0000_8e00_0008_4000n, true);
  ram.fill(0x90, 0x4000, 0x4010);
  const registers = new QemuRegisters(dump(start).split('\n'));
  const cpuid = new Map([['0.0', { eax: 1, ebx: 2, ecx: 3, edx: 4 }]]);
  return new QemuFollower({ registers, ram, cpuid, msrs: new Map([[0x1a0, 7n]]) }, parseCpu('x86-64-v1'));
}
function feed(to: QemuFollower, ...pieces: string[]): string | undefined {
  let report: string | undefined;
  const log = new QemuLog((event) => {
    report ??= to.take(event)?.report;
  });
  // in odd pieces, as a pipe gives it
  const text = pieces.join('');
  for (let i = 0; i < text.length; i += 777) log.push(text.slice(i, i + 777));
  return report;
}

describe('the log', () => {
  test('gives blocks, interruptions and reads in order', () => {
    const events: QemuEvent[] = [];
    const log = new QemuLog((event) => events.push(event));
    log.push(
      block({ ip: 0x1000, eax: 0xabc }) + read(0x3fd, 0xffff_ff60) + interruption(14, { ip: 0x1002, cr2: 0x123 }),
    );
    expect(events.map(({ kind }) => kind)).toEqual(['block', 'read', 'interruption']);
    expect(events[0]).toMatchObject({ registers: { ip: 0x1000n, wide: false } });
    expect(events[1]).toEqual({ kind: 'read', address: 0x3fd, size: 1, value: 0x60n });
    expect(events[2]).toMatchObject({ vector: 14, software: false });
    const [first, , last] = events;
    expect(first?.kind === 'block' && first.registers.get('ax')).toBe(0xabcn);
    expect(last?.kind === 'interruption' && last.registers.get('cr2')).toBe(0x123n);
  });

  test('64-bit dumps', () => {
    const registers = new QemuRegisters([
      'RAX=0000000000000001 RBX=0000000000000002 RCX=0000000000000003 RDX=0000000000000004',
      'RSI=0000000000000005 RDI=0000000000000006 RBP=0000000000000007 RSP=0000000000000008',
      'R8 =0000000000000009 R9 =000000000000000a R10=000000000000000b R11=000000000000000c',
      'R12=000000000000000d R13=000000000000000e R14=000000000000000f R15=0000000000000010',
      'RIP=ffffffff81a9bb17 RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0',
      'CS =0010 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]',
      'GDT=     ffffffff81a11000 0000007f',
      'CR0=80050033 CR2=ffff888001ac9ff8 CR3=0000000001a0c000 CR4=000000a0',
      'XMM00=0000000000000001 0000000000000002 XMM01=0000000000000003 0000000000000004',
    ]);
    expect(registers.ip).toBe(0xffff_ffff_81a9_bb17n);
    const names = [
      'ax',
      'bx',
      'cx',
      'dx',
      'si',
      'di',
      'bp',
      'sp',
      ...[8, 9, 10, 11, 12, 13, 14, 15].map((n) => `r${n}`),
    ];
    expect(names.map((name) => registers.get(name))).toEqual(names.map((_, i) => BigInt(i + 1)));
    expect([registers.get('flags'), registers.get('cs'), registers.get('cs.attributes')]).toEqual([
      0x246n,
      0x10n,
      0xaf9b00n,
    ]);
    expect([registers.get('gdt.base'), registers.get('gdt.limit')]).toEqual([0xffff_ffff_81a1_1000n, 0x7fn]);
    expect([registers.get('xmm1'), registers.get('xmm1.high')]).toEqual([4n, 3n]);
  });
});

describe('following', () => {
  const start = { ip: 0x1000 };

  test('agrees where the registers do', () => {
    // mov eax, 5; jmp +0; inc eax; jmp +0; nop
    const f = follower('b805000000 eb00 40 eb00 90', start);
    expect(feed(f, block(start), block({ ip: 0x1007, eax: 5 }), block({ ip: 0x100a, eax: 6 }))).toBeUndefined();
    expect([f.retired, f.blocks]).toEqual([4, 3]);
  });

  test('names the register and the last instructions where they do not', () => {
    const f = follower('b805000000 eb00 40 eb00 90', start);
    const report = feed(f, block(start), block({ ip: 0x1007, eax: 5 }), block({ ip: 0x100a, eax: 7 }));
    expect(report).toContain('ax       QEMU 0x7  ours 0x6');
    expect(report).toContain('0x1007  inc eax');
  });

  test('gives the guest what QEMU has read, in pieces too, and nothing where there is nothing', () => {
    // mov edx, 3fdh; in al, dx; in eax, dx; mov ecx, [0d0000000h]; jmp
    const f = follower('bafd030000 ec ed 8b0d000000d0 eb00', start);
    const reads = read(0x3fd, 0x60) + read(0x3fd, 0x1234, 2) + read(0x3ff, 0x5678, 2);
    expect(feed(f, block(start), reads, block({ ip: 0x100f, eax: 0x5678_1234, edx: 0x3fd }))).toBeUndefined();
    const g = follower('bafd030000 ec eb00', start);
    const report = feed(g, block(start), read(0x3fe, 0), block({ ip: 0x1008, edx: 0x3fd }));
    expect(report).toContain('we read 1 bytes at 0x3fd, QEMU reads 0x3fe');
  });

  test('CPUID, foreign registers and the time-stamp counter are QEMU’s', () => {
    // cpuid; mov ecx, 1a0h; rdmsr; jmp; rdtsc; jmp
    const f = follower('0fa2 b9a0010000 0f32 eb00 0f31 eb00', start);
    const lines = block({ ip: 0x100b, eax: 7, ecx: 0x1a0 }).replace('EBX=00000000', 'EBX=00000002');
    const tsc = block({ ip: 0x100d, eax: 0x777, edx: 1, ecx: 0x1a0 }).replace('EBX=00000000', 'EBX=00000002');
    expect(feed(f, block(start), lines, tsc)).toBeUndefined();
  });

  test('interrupts where QEMU has them, exceptions as ours', () => {
    // nop; nop; ud2
    const on = { ip: 0x1000, flags: 0x202 };
    const f = follower('90 90 0f0b', on);
    const handler = { ip: 0x4000, esp: 0x7ff4 };
    expect(feed(f, block(on), interruption(0x20, { ...on, ip: 0x1001 }), block(handler))).toBeUndefined();
    const g = follower('90 90 0f0b', start);
    const after = block({ ip: 0x4001, esp: 0x7ff4, flags: 2 });
    expect(feed(g, block(start), interruption(6, { ip: 0x1002 }), block(handler), after)).toBeUndefined();
    const missing = follower('90 90 90 90', start);
    expect(feed(missing, block(start), interruption(6, { ip: 0x1002 }))).toContain(
      'QEMU raises exception 6 at 0x1002, we do not',
    );
    const off = follower('90 90', start);
    expect(feed(off, block(start), interruption(0x20, { ip: 0x1001 }))).toContain('ours are disabled');
  });

  test('a repeated instruction: QEMU comes back once more than there are iterations', () => {
    // rep stosb; jmp
    const begin = { ip: 0x1000, ecx: 2, edi: 0x5000 };
    const f = follower('f3aa eb00', begin);
    const rest = [
      { ip: 0x1000, ecx: 1, edi: 0x5001 },
      { ip: 0x1000, ecx: 0, edi: 0x5002 },
      { ip: 0x1002, ecx: 0, edi: 0x5002 },
    ];
    expect(feed(f, block(begin), ...rest.map(block))).toBeUndefined();
  });
});
