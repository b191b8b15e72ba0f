import type { Cpu } from '../cpu/cpu.ts';
import { STATE } from '../cpu/state.ts';

/** A piece of the processor's state: bytes of memory 0 that mean the same in every engine. */
interface Piece {
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
}

const GPR = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15'.split(' ');
const SEGMENTS = 'es cs ss ds fs gs ldtr tr'.split(' ');
const array = (names: readonly string[], offset: number, bytes: number, stride = bytes): Piece[] =>
  names.map((name, n) => ({ name, offset: offset + n * stride, bytes }));
const suffixed = (names: readonly string[], suffix: string): string[] => names.map((name) => `${name}.${suffix}`);
const numbered = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, n) => `${prefix}${n}`);
const u64 = (name: string, offset: number): Piece => ({ name, offset, bytes: 8 });
const u32 = (name: string, offset: number): Piece => ({ name, offset, bytes: 4 });

/** Everything architectural but RIP and RFLAGS, which take a look at more than one cell. */
const PIECES: readonly Piece[] = [
  ...array(GPR, STATE.gpr, 8),
  ...array(suffixed(SEGMENTS, 'selector'), STATE.selector, 4),
  ...array(suffixed(SEGMENTS, 'attributes'), STATE.segAccess, 4),
  ...array(suffixed(SEGMENTS, 'limit'), STATE.segLimit, 4),
  ...array(suffixed(SEGMENTS.slice(0, 6), 'base'), STATE.segBase, 8),
  u64('ldtr.base', STATE.ldtrBase),
  u64('tr.base', STATE.trBase),
  u64('gdtr.base', STATE.gdtrBase),
  u64('idtr.base', STATE.idtrBase),
  u32('gdtr.limit', STATE.gdtrLimit),
  u32('idtr.limit', STATE.idtrLimit),
  u32('cpl', STATE.cpl),
  ...array(['cr0', 'cr2', 'cr3', 'cr4'], STATE.cr0, 8),
  u64('efer', STATE.efer),
  u64('xcr0', STATE.xcr0),
  ...array(['dr0', 'dr1', 'dr2', 'dr3'], STATE.dr, 8),
  u64('dr6', STATE.dr + 48),
  u64('dr7', STATE.dr + 56),
  u64('star', STATE.star),
  u64('lstar', STATE.lstar),
  u64('cstar', STATE.cstar),
  u64('sfmask', STATE.sfmask),
  u64('kernel_gs_base', STATE.kernelGsBase),
  u64('tsc_aux', STATE.tscAux),
  u64('sysenter_cs', STATE.sysenterCs),
  u64('sysenter_esp', STATE.sysenterEsp),
  u64('sysenter_eip', STATE.sysenterEip),
  u32('pkru', STATE.pkru),
  u32('mxcsr', STATE.mxcsr),
  ...array(numbered('ymm', 16), STATE.vec, 32),
  ...array(numbered('fpr', 8), STATE.fpr, 10, 16),
  u32('fpu.control', STATE.fpuControl),
  u32('fpu.status', STATE.fpuStatus),
  u32('fpu.tag', STATE.fpuTag),
  u32('fpu.top', STATE.fpuTop),
  u32('nmi_blocked', STATE.nmiBlocked),
];

/** RIP, RFLAGS and the interrupt shadow come first. */
const HEADER = 16;
const PLACED = PIECES.map((piece, n) => ({
  ...piece,
  at: PIECES.slice(0, n).reduce((sum, { bytes }) => sum + bytes, HEADER),
}));
const LENGTH = PIECES.reduce((sum, { bytes }) => sum + bytes, HEADER);

/** A processor's architectural state at an instruction boundary, as bytes that can be compared. */
export type Snapshot = Uint8Array;

/** RIP is the linear address; RFLAGS is computed, so that recorded and computed flags compare equal. */
export function takeSnapshot(cpu: Cpu): Snapshot {
  const snapshot = new Uint8Array(LENGTH);
  const view = new DataView(snapshot.buffer);
  view.setBigUint64(0, cpu.ip, true);
  view.setUint32(8, cpu.processor.eflags, true);
  view.setUint32(12, cpu.state.i32[STATE.shadow >> 2] === -2 ? 1 : 0, true);
  const { u8 } = cpu.state;
  for (const { at, offset, bytes } of PLACED) snapshot.set(u8.subarray(offset, offset + bytes), at);
  return snapshot;
}

export function sameSnapshot(a: Snapshot, b: Snapshot): boolean {
  for (let n = 0; n < LENGTH; n++) if (a[n] !== b[n]) return false;
  return true;
}

/** A register and its value, hexadecimal digits. */
export type Register = readonly [name: string, value: string];

export function registersOf(snapshot: Snapshot): Register[] {
  const digits = (at: number, bytes: number): string =>
    Array.from(snapshot.subarray(at, at + bytes).toReversed(), (byte) => byte.toString(16).padStart(2, '0')).join('');
  return [
    ['rip', digits(0, 8)],
    ['rflags', digits(8, 4)],
    ['interrupt_shadow', digits(12, 4)],
    ...PLACED.map(({ name, at, bytes }): Register => [name, digits(at, bytes)]),
  ];
}

export interface Difference {
  readonly name: string;
  readonly values: readonly [string, string];
}
export function differences(a: Snapshot, b: Snapshot): Difference[] {
  const right = registersOf(b);
  return registersOf(a).flatMap(([name, value], n) => {
    const other = right[n]![1];
    return value === other ? [] : [{ name, values: [value, other] as const }];
  });
}
