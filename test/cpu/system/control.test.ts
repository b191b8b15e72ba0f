import { describe, expect, it } from 'vitest';
import { STATE } from '../../../src/cpu/state.ts';
import { SEG } from '../../../src/cpu/system/processor.ts';
import { AT, BareMetal, DRIVERS, GDT, type Mode, type Outcome, PTE, USER } from '../../support/bare-metal.ts';

const CR0_LONG = 0x8001_0033n;
const CR4_LONG = 0x6a0n;
const PCIDE = 0x2_0000n;
const UMIP = 0x800n;
const SMEP = 0x10_0000n;
const SMAP = 0x20_0000n;
const PKE = 0x40_0000n;
const LA57 = 0x1000n;
const FSGSBASE = 0x1_0000n;
const NON_CANONICAL = 1n << 47n;

describe.each(DRIVERS)('control registers and MSRs, %s', (driver) => {
  const b = new BareMetal(driver);
  const p = b.cpu.processor;
  const { state } = b.cpu;
  const write = (code: string, value: bigint, mode: Mode = 'long', setup?: () => void): Outcome => {
    b.enter(mode);
    setup?.();
    p.setGpr(0, value);
    return b.run(code);
  };
  const refused = (o: Outcome): unknown => [o.vector, o.error, o.ip - b.codeAt, o.changed];
  const GP0 = [13, 0, 0, []];
  const cr4 = (bits: bigint) => (): void => {
    state.set64(STATE.cr4, state.get64(STATE.cr4) | bits);
    p.core.flushTlb();
    p.modeChanged();
  };

  // ---- SDM vol. 3, 2.5; vol. 2, MOV to CR
  const CR0 = '0f22c0';
  const CR3 = '0f22d8';
  const CR4 = '0f22e0';
  const CR8 = '440f22c0';
  it.each([
    ['CR0: bits 63:32', CR0, CR0_LONG | (1n << 32n)],
    ['CR0: PG without PE', CR0, CR0_LONG & ~1n],
    ['CR0: NW without CD', CR0, CR0_LONG | 0x2000_0000n],
    ['CR0: PG cleared in 64-bit mode', CR0, CR0_LONG & ~0x8000_0000n],
    ['CR3: beyond the physical addresses', CR3, BigInt(AT.pml4) | (1n << 40n)],
    ['CR3: bit 63 without PCIDE', CR3, BigInt(AT.pml4) | (1n << 63n)],
    ['CR4: reserved', CR4, CR4_LONG | (1n << 15n)],
    ['CR4: upper half', CR4, CR4_LONG | (1n << 32n)],
    ['CR4: PAE cleared in long mode', CR4, CR4_LONG & ~0x20n],
    ['CR4: LA57 changed in long mode', CR4, CR4_LONG | LA57],
    ['CR8: beyond 15', CR8, 16n],
  ] as const)('#GP(0): %s', (_name, code, value) => {
    const before = [STATE.cr0, STATE.cr3, STATE.cr4];
    const o = write(code, value);
    expect(refused(o)).toEqual(GP0);
    expect(before.map((cell) => state.get64(cell))).toEqual([CR0_LONG, BigInt(AT.pml4), CR4_LONG]);
  });
  it('#GP(0): CR4.PCIDE with a PCID in CR3, or outside long mode (SDM vol. 3, 4.10.1)', () => {
    expect(refused(write(CR4, CR4_LONG | PCIDE, 'long', () => state.set64(STATE.cr3, BigInt(AT.pml4) | 5n)))).toEqual(
      GP0,
    );
    expect(write(CR4, 0x680n | PCIDE, 'protected').vector).toBe(13);
    expect(write(CR4, CR4_LONG | PCIDE).vector).toBeUndefined();
  });
  it('#GP(0): PAE paging with reserved bits in its pointers (SDM vol. 3, 4.4.1)', () => {
    const pae = (pointer: bigint) => (): void => {
      state.set64(STATE.efer, 0x800n);
      state.set64(STATE.cr4, 0x6a0n);
      b.set64(AT.data, pointer);
      state.set64(STATE.cr3, BigInt(AT.data));
    };
    b.set64(0, 0n);
    expect(write(CR0, CR0_LONG, 'protected', pae(0x2000n | 3n)).vector).toBe(13);
    expect(state.get64(STATE.cr0)).toBe(0x33n);
  });
  it('CR8 is the task priority (SDM vol. 3, 10.8.6)', () => {
    expect(write(`${CR8} 440f20c1`, 9n).gpr[1]).toBe(9n);
    expect(b.taskPriority).toBe(9);
  });
  it('LMSW sets PE and never clears it; CLTS (SDM vol. 2)', () => {
    expect(write('0f01f0', 0n).vector).toBeUndefined();
    expect(state.get64(STATE.cr0) & 0xfn).toBe(1n);
    expect(write('0f01f0 0f06', 0xen).vector).toBeUndefined();
    expect(state.get64(STATE.cr0) & 0xfn).toBe(7n);
  });

  // ---- MSRs: SDM vol. 2, WRMSR; vol. 4
  const wrmsr = (index: number, value: bigint, mode: Mode = 'long', setup?: () => void): Outcome => {
    b.enter(mode);
    setup?.();
    p.setGpr(0, value & 0xffff_ffffn);
    p.setGpr(1, BigInt(index));
    p.setGpr(2, value >> 32n);
    return b.run('0f30');
  };
  /** In the present state. */
  const rdmsr = (index: number): bigint | undefined => {
    p.setGpr(1, BigInt(index));
    const o = b.run('0f32');
    return o.vector === undefined ? (o.gpr[2]! << 32n) | o.gpr[0]! : undefined;
  };
  it.each([
    ['none', 0x1234, 0n],
    ['IA32_SYSENTER_ESP, non-canonical (QEMU 7.2 takes it)', 0x175, NON_CANONICAL],
    ['IA32_SYSENTER_EIP, non-canonical', 0x176, NON_CANONICAL],
    ['IA32_LSTAR, non-canonical', 0xc000_0082, NON_CANONICAL],
    ['IA32_CSTAR, non-canonical', 0xc000_0083, NON_CANONICAL],
    ['IA32_FS_BASE, non-canonical', 0xc000_0100, NON_CANONICAL],
    ['IA32_GS_BASE, non-canonical', 0xc000_0101, NON_CANONICAL],
    ['IA32_KERNEL_GS_BASE, non-canonical', 0xc000_0102, NON_CANONICAL],
    ['IA32_TSC_AUX, upper half', 0xc000_0103, 1n << 32n],
    ['IA32_EFER, reserved', 0xc000_0080, 0xd01n | 0x10n],
    ['IA32_EFER, LME with paging', 0xc000_0080, 0xc01n],
    ['IA32_PAT, type 2', 0x277, 0x0007_0406_0007_0402n],
    ['IA32_MTRR_DEF_TYPE, type 2', 0x2ff, 0xc02n],
    ['IA32_MTRR_PHYSBASE0, reserved', 0x200, 0x106n],
    ['IA32_MTRR_PHYSMASK0, beyond the physical addresses', 0x201, (1n << 40n) | 0x800n],
    ['IA32_MTRR_FIX64K, type 3', 0x250, 3n],
    ['IA32_MTRRCAP, read-only', 0xfe, 0n],
    ['IA32_ARCH_CAPABILITIES, read-only', 0x10a, 1n],
    ['IA32_XSS, none offered', 0xda0, 1n],
    ['IA32_MC0_CTL, no bank', 0x400, 0n],
    ['IA32_MCG_STATUS, reserved', 0x17a, 8n],
  ] as const)('WRMSR #GP(0): %s', (_name, index, value) => {
    expect(refused(wrmsr(index, value))).toEqual(GP0);
  });
  it('WRMSR and RDMSR need ring 0', () => {
    expect(wrmsr(0x10, 0n, 'user').vector).toBe(13);
    b.enter('user');
    expect(b.run('0f32').vector).toBe(13);
  });
  it('what is written is read', () => {
    for (const [index, value] of [
      [0x277, 0x0107_0406_0007_0406n],
      [0x2ff, 0xc06n],
      [0x200, 0x8000_0000n],
      [0x201, 0xff_8000_0800n],
      [0x250, 0x0606_0606_0606_0606n],
      [0xc000_0081, 0x0023_0010_0000_0000n],
      [0xc000_0082, 0xffff_8000_0000_0000n],
      [0xc000_0103, 0x1234n],
      [0x17a, 0n],
    ] as const) {
      expect(wrmsr(index, value).vector).toBeUndefined();
      expect([index, rdmsr(index)]).toEqual([index, value]);
    }
    b.enter('long');
    expect(rdmsr(0x179)).toBe(0n); // IA32_MCG_CAP: no banks
    expect(rdmsr(0xfe)).toBe(0x508n);
    expect(rdmsr(0xda0)).toBe(0n);
  });
  it('IA32_ARCH_CAPABILITIES only where CPUID offers it', () => {
    const features = new BareMetal(driver, 'x86-64-v2');
    features.enter('long');
    features.cpu.processor.setGpr(1, 0x10an);
    expect(features.run('0f32').vector).toBeUndefined();
    expect(features.cpu.processor.gpr(0) & 1n).toBe(1n); // RDCL_NO
    const without = new BareMetal(driver, 'x86-64-v2,-arch_capabilities');
    without.enter('long');
    without.cpu.processor.setGpr(1, 0x10an);
    expect(without.run('0f32').vector).toBe(13);
  });
  it('x2APIC registers only where CPUID offers x2APIC', () => {
    const without = new BareMetal(driver, 'x86-64-v1');
    without.enter('long');
    without.cpu.processor.setGpr(1, 0x802n);
    expect(without.run('0f32').vector).toBe(13);
  });

  // ---- features
  it('UMIP: SGDT SIDT SLDT STR SMSW are for the kernel (SDM vol. 2)', () => {
    for (const code of ['0f0100', '0f0108', '0f00c0', '0f00c8', '0f01e0']) {
      const at = BigInt(USER.data);
      expect(write(`${code} cd80`, at, 'user').vector).toBe(0x80);
      const o = write(code, at, 'user', cr4(UMIP));
      expect([code, ...(refused(o) as unknown[])]).toEqual([code, ...GP0]);
      expect(write(code, BigInt(AT.data), 'long', cr4(UMIP)).vector).toBeUndefined();
    }
  });
  it('FSGSBASE: #UD without CR4.FSGSBASE, #GP for a non-canonical base (SDM vol. 2)', () => {
    expect(write('f3480faed0', 5n, 'user').vector).toBe(6); // wrfsbase rax
    expect(refused(write('f3480faed0', NON_CANONICAL, 'user', cr4(FSGSBASE)))).toEqual(GP0);
    expect(write('f3480faed0 f3480faec1 cd80', 0x1234_5678_9abcn, 'user', cr4(FSGSBASE)).gpr[1]).toBe(
      0x1234_5678_9abcn,
    );
  });
  it('PCID: CR3 keeps the identifier, its bit 63 is not kept (SDM vol. 3, 4.10.4.1)', () => {
    const o = write(`${CR3} 0f20d9`, BigInt(AT.pml4) | 0x123n | (1n << 63n), 'long', cr4(PCIDE));
    expect(o.vector).toBeUndefined();
    expect(o.gpr[1]).toBe(BigInt(AT.pml4) | 0x123n);
    // paging cannot be left with PCIDE set
    b.enter('compat');
    expect(state.get64(STATE.cr4) & PCIDE).toBe(0n);
  });
  it('INVPCID: types and descriptors (SDM vol. 2)', () => {
    const run = (type: bigint, pcid: bigint, linear: bigint, pcide = true): Outcome =>
      write('660f388203', type, 'long', () => {
        if (pcide) cr4(PCIDE)();
        b.set64(AT.data, pcid);
        b.set64(AT.data + 8, linear);
        p.setGpr(3, BigInt(AT.data));
      });
    for (const type of [0n, 1n, 2n, 3n]) expect(run(type, 1n, 0n).vector).toBeUndefined();
    expect(refused(run(4n, 0n, 0n))).toEqual(GP0);
    expect(refused(run(0n, 0x1000n, 0n))).toEqual(GP0);
    expect(refused(run(0n, 1n, NON_CANONICAL))).toEqual(GP0);
    expect(refused(run(1n, 1n, 0n, false))).toEqual(GP0);
    expect(write('660f388203', 0n, 'user').vector).toBe(13);
  });
  it('INVPCID and CR3 forget what a global page was (SDM vol. 3, 4.10.4)', () => {
    for (const flush of ['660f388203', '0f20d9 0f22d9']) {
      b.enter('long');
      cr4(0x80n)();
      b.set64(AT.data, 0n);
      b.set64(AT.data + 8, 0n);
      b.map(0x18_0000, 0x18_0000, PTE.present | PTE.write);
      b.ram[0x18_0000] = 1;
      b.ram[0x19_0000] = 2;
      p.setGpr(0, 2n);
      p.setGpr(3, BigInt(AT.data));
      p.setGpr(6, 0x18_0000n);
      // the page-table entry is rewritten by the program: al = [rsi]; [rdi] = r8; flush; dl = [rsi]
      p.setGpr(7, BigInt(b.entryAt(0x18_0000n)));
      p.setGpr(8, 0x19_0003n);
      const o = b.run(`8a2e 4c8907 ${flush} 8a16`);
      expect(o.gpr[2]! & 0xffn).toBe(2n);
    }
  });
  it('protection keys (SDM vol. 3, 4.6.2): access and write disable, error code', () => {
    const key = (bits: bigint) => (): void => {
      cr4(PKE)();
      const at = b.entryAt(BigInt(USER.data));
      b.set64(at, b.view.getBigUint64(at, true) | (5n << 59n));
      state.set32(STATE.pkru, Number(bits << 10n));
      p.core.flushTlb();
    };
    const data = BigInt(USER.data);
    expect(write('8a08 cd80', data, 'user', key(0n)).vector).toBe(0x80);
    expect(write('8a08 cd80', data, 'user', key(2n)).vector).toBe(0x80);
    const read = write('8a08', data, 'user', key(1n));
    expect([read.vector, read.error, read.cr2]).toEqual([14, 0x25, data]);
    const written = write('8808', data, 'user', key(2n));
    expect([written.vector, written.error]).toEqual([14, 0x27]);
    const kernel = write('8a08', data, 'long', key(1n));
    expect([kernel.vector, kernel.error]).toEqual([14, 0x21]);
    const kernelWrite = write('8808', data, 'long', key(2n));
    expect([kernelWrite.vector, kernelWrite.error]).toEqual([14, 0x23]);
    const withoutWp = write('8808', data, 'long', () => {
      key(2n)();
      state.set64(STATE.cr0, state.get64(STATE.cr0) & ~0x1_0000n);
    });
    expect(withoutWp.vector).toBeUndefined();
    // supervisor pages have no key
    expect(write('8a08', BigInt(AT.data), 'long', key(1n)).vector).toBeUndefined();
  });
  it('RDPKRU and WRPKRU (SDM vol. 2); a change counts at once', () => {
    expect(write('0f01ee', 0n, 'user', () => p.setGpr(1, 0n)).vector).toBe(6);
    expect(write('0f01ee', 0n, 'user', cr4(PKE)).vector).toBe(13); // ECX is not 0
    const at = b.entryAt(BigInt(USER.data));
    const o = write('8a1e 0f01ef 8a1e', 0x400n, 'user', () => {
      cr4(PKE)();
      b.set64(at, b.view.getBigUint64(at, true) | (5n << 59n));
      p.core.flushTlb();
      p.setGpr(1, 0n);
      p.setGpr(2, 0n);
      p.setGpr(6, BigInt(USER.data));
    });
    expect([o.vector, o.error, o.ip - b.codeAt]).toEqual([14, 0x25, 5]);
    b.enter('long');
    cr4(PKE)();
    p.setGpr(0, 7n);
    p.setGpr(1, 0n);
    const ospke = b.run('0fa2');
    expect(Number(ospke.gpr[1]! & 0x18n)).toBe(0x18);
  });
  it('SMAP holds for the processor’s own accesses, AC or not (SDM vol. 3, 4.6.1)', () => {
    b.enter('long');
    cr4(SMAP | SMEP)();
    p.setEflags(0x4_0002);
    p.modeChanged();
    // explicit: allowed under AC
    p.setGpr(0, BigInt(USER.data));
    expect(b.run('8a08').vector).toBeUndefined();
    // implicit: a descriptor table in user memory
    b.enter('long');
    cr4(SMAP)();
    p.setEflags(0x4_0002);
    p.modeChanged();
    state.set64(STATE.ldtrBase, BigInt(USER.data));
    state.set32(STATE.segLimit + SEG.ldtr * 4, 0xff);
    state.set32(STATE.selector + SEG.ldtr * 4, GDT.ldt);
    p.setGpr(0, 0xcn);
    const o = b.run('8ed8');
    expect([o.vector, o.error, o.cr2]).toEqual([14, 1, BigInt(USER.data + 8)]);
  });
  it('STAC and CLAC: #UD outside ring 0 (SDM vol. 2)', () => {
    b.enter('user');
    expect(b.run('0f01cb').vector).toBe(6);
  });
  it('5-level paging: 57-bit addresses, and one more table (SDM vol. 3, 4.5)', () => {
    const five = (): void => {
      b.set64(AT.pml5, BigInt(AT.pml4) | 7n);
      b.set64(AT.pml5 + 0x100 * 8, BigInt(AT.pml4) | 7n);
      state.set64(STATE.cr3, BigInt(AT.pml5));
      cr4(LA57)();
    };
    b.ram[AT.data] = 0x5a;
    const high = 0xff00_0000_0000_0000n + BigInt(AT.data);
    const o = write('8a08', high, 'long', () => {
      five();
      b.ram[AT.data] = 0x5a;
    });
    expect(o.vector).toBeUndefined();
    expect(o.gpr[1]! & 0xffn).toBe(0x5an);
    expect(refused(write('8a08', 1n << 56n, 'long', five))).toEqual(GP0);
    const absent = write('8a08', 1n << 50n, 'long', five);
    expect([absent.vector, absent.error, absent.cr2]).toEqual([14, 0, 1n << 50n]);
  });
  it('1 GiB pages: PS is reserved where CPUID does not offer them (SDM vol. 3, 4.5)', () => {
    const old = new BareMetal(driver, 'x86-64-v1');
    old.enter('long');
    old.set64(old.entryAt(0x4000_0000n, 3), 0x83n);
    old.cpu.processor.setGpr(0, 0x4000_0000n);
    const o = old.run('8a08');
    expect([o.vector, o.error]).toEqual([14, 9]);
    const o1 = write('8a08', 0x4000_0000n, 'long', () => b.set64(b.entryAt(0x4000_0000n, 3), 0x83n));
    expect(o1.vector).toBeUndefined();
  });
  it('32-bit paging: bit 21 of a 4 MiB entry is reserved (SDM vol. 3, 4.3)', () => {
    const large = (bits: number) => (): void => {
      state.set64(STATE.cr4, state.get64(STATE.cr4) | 0x10n);
      b.set32(AT.pml5 + 4, 0x83 | bits);
      p.core.flushTlb();
    };
    expect(write('8a08', 0x40_0000n, 'paged', large(0)).vector).toBeUndefined();
    const o = write('8a08', 0x40_0000n, 'paged', large(0x20_0000));
    expect([o.vector, o.error]).toEqual([14, 9]);
  });
  it('accessed and dirty bits (SDM vol. 3, 4.8)', () => {
    write('8a08', BigInt(AT.data), 'long');
    const at = b.entryAt(BigInt(AT.data));
    expect(b.view.getBigUint64(at, true) & 0x60n).toBe(0x20n);
    write('8808', BigInt(AT.data), 'long');
    expect(b.view.getBigUint64(at, true) & 0x60n).toBe(0x60n);
    expect(b.view.getBigUint64(b.entryAt(BigInt(AT.data), 3), true) & 0x20n).toBe(0x20n);
  });
  it('RDTSC under CR4.TSD, RDTSCP and RDPID give IA32_TSC_AUX (SDM vol. 2)', () => {
    expect(refused(write('0f31', 0n, 'user', cr4(4n)))).toEqual(GP0);
    const o = write('0f01f9 f30fc7fb cd80', 0n, 'user', () => state.set64(STATE.tscAux, 0x77n));
    expect([o.gpr[0], o.gpr[1], o.gpr[2], o.gpr[3]]).toEqual([1000n, 0x77n, 0n, 0x77n]);
  });
});
