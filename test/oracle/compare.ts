/** Two results of one case: where they differ, apart from what the manual leaves open (undefined.ts). */
import { type CpuResult, DATA_BASE, LINE, type MemoryPatch, type Outcome, SELECTOR } from './types.ts';
import { APPROXIMATE_ERROR, FLUSHED_RECIPROCAL, FX_COMPARED, type Masks, TRANSCENDENTAL_ULPS } from './undefined.ts';

export interface Difference {
  /** "outcome", "rip", "rax", "rflags", "ymm3", "st2", "memory 20000040"... */
  readonly field: string;
  readonly expected: string;
  readonly actual: string;
}

export const GPR_NAMES = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
];

export const SELECTOR_NAMES = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'];

/** CF PF AF ZF SF TF IF DF OF, NT, AC, ID and the rest of what user code sees; RF is not compared. */
const RFLAGS_COMPARED = 0x3f_7fd7 & ~0x1_0000;

export function hex(value: bigint | number): string {
  return `0x${BigInt(value).toString(16)}`;
}

export function bytesHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

export function compare(masks: Masks, expected: CpuResult, actual: CpuResult): Difference[] {
  const out: Difference[] = [];
  const differ = (field: string, a: string, b: string) => out.push({ field, expected: a, actual: b });
  if (!sameOutcome(expected.outcome, actual.outcome, masks.cr2Bits)) {
    differ('outcome', describeOutcome(expected.outcome), describeOutcome(actual.outcome));
    return out;
  }
  if (expected.rip !== actual.rip) differ('rip', hex(expected.rip), hex(actual.rip));
  const ended = expected.outcome.kind === 'ok';
  const open = ended && masks.result;
  const flags = RFLAGS_COMPARED & ~(ended ? masks.flags : masks.flagsAfterFault);
  if ((expected.rflags ^ actual.rflags) & flags)
    differ('rflags', describeFlags(expected.rflags & flags), describeFlags(actual.rflags & flags));
  if (expected.fsBase !== actual.fsBase) differ('fsBase', hex(expected.fsBase), hex(actual.fsBase));
  if (expected.gsBase !== actual.gsBase) differ('gsBase', hex(expected.gsBase), hex(actual.gsBase));
  if (expected.mxcsr !== actual.mxcsr) differ('mxcsr', hex(expected.mxcsr), hex(actual.mxcsr));
  if (!open && !sameBytes(asBytes(expected.gpr), asBytes(actual.gpr))) {
    // Upper halves are undefined once 64-bit code has gone over to 32-bit code (SDM vol. 1, 3.4.1.1).
    const width = expected.selectors[1] === SELECTOR.code32 ? 0xffff_ffffn : ~0n;
    for (let i = 0; i < 16; i++) {
      const mask = ended ? width & ~(masks.registers[i] ?? 0n) : width;
      if (((expected.gpr[i]! ^ actual.gpr[i]!) & mask) !== 0n)
        differ(GPR_NAMES[i]!, hex(expected.gpr[i]!), hex(actual.gpr[i]!));
    }
  }
  for (const [i, name] of SELECTOR_NAMES.entries()) {
    if (selectorOf(expected, i) !== selectorOf(actual, i))
      differ(name, hex(expected.selectors[i]!), hex(actual.selectors[i]!));
  }
  if (!sameBytes(expected.ymm, actual.ymm)) compareVectors(masks, expected.ymm, actual.ymm, differ);
  const x87 = ended || !masks.x87AfterFault;
  if (x87 && !sameBytes(expected.fx, actual.fx)) compareX87(masks, expected.fx, actual.fx, differ);
  if (!open) compareMemory(masks, expected.memory, actual.memory, differ);
  return out;
}

/** Null selectors with RPL 1..3 count as 0: an interrupt's IRET makes them 0 at any time (SDM vol. 2, IRET). */
function selectorOf({ selectors }: CpuResult, index: number): number {
  const value = selectors[index]!;
  return value <= 3 ? 0 : value;
}

type Differ = (field: string, expected: string, actual: string) => void;

function asBytes(words: BigUint64Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** TASK_SIZE_MAX of Linux with 4-level paging. */
const USER_END = 0x7fff_ffff_f000n;

const ALIGNMENT_OR_PAGE = new Set([14, 17]);

function sameOutcome(a: Outcome, b: Outcome, cr2Bits: bigint): boolean {
  if (a.kind !== 'fault' || b.kind !== 'fault') return a.kind === b.kind;
  // One priority class, in which the order is a CPU's own (SDM vol. 3, table 6-2).
  if (ALIGNMENT_OR_PAGE.has(a.vector) && ALIGNMENT_OR_PAGE.has(b.vector) && a.vector !== b.vector) return true;
  if (a.vector !== b.vector) return false;
  if ((a.cr2 ?? 0n) >> cr2Bits !== (b.cr2 ?? 0n) >> cr2Bits) return false;
  // Linux sets P in the error code of an address above user space, to tell user code nothing (arch/x86/mm/fault.c).
  const kernel = a.cr2 !== undefined && a.cr2 >= USER_END;
  return ((a.errorCode ^ b.errorCode) & (kernel ? ~1 : ~0)) === 0;
}

export function describeOutcome(outcome: Outcome): string {
  if (outcome.kind !== 'fault') return outcome.kind;
  const cr2 = outcome.cr2 === undefined ? '' : ` cr2 ${hex(outcome.cr2)}`;
  return `#${VECTORS[outcome.vector] ?? outcome.vector} error ${hex(outcome.errorCode)}${cr2}`;
}

const VECTORS = [
  'DE',
  'DB',
  'NMI',
  'BP',
  'OF',
  'BR',
  'UD',
  'NM',
  'DF',
  '9',
  'TS',
  'NP',
  'SS',
  'GP',
  'PF',
  '15',
  'MF',
  'AC',
  'MC',
  'XM',
];

const FLAG_NAMES: readonly (readonly [bit: number, name: string])[] = [
  [0x800, 'OF'],
  [0x400, 'DF'],
  [0x80, 'SF'],
  [0x40, 'ZF'],
  [0x10, 'AF'],
  [4, 'PF'],
  [1, 'CF'],
  [0x100, 'TF'],
  [0x4000, 'NT'],
  [0x40000, 'AC'],
  [0x200000, 'ID'],
];

export function describeFlags(flags: number): string {
  const names = FLAG_NAMES.filter(([bit]) => flags & bit).map(([, name]) => name);
  return `${hex(flags)} (${names.join(' ')})`;
}

function compareVectors(masks: Masks, expected: Uint8Array, actual: Uint8Array, differ: Differ): void {
  for (let i = 0; i < 16; i++) {
    const a = expected.subarray(32 * i, 32 * i + 32);
    const b = actual.subarray(32 * i, 32 * i + 32);
    if (sameBytes(a, b) || (masks.approximate && lanesClose(a, b))) continue;
    differ(`ymm${i}`, bytesHex(a), bytesHex(b));
  }
}

function lanesClose(a: Uint8Array, b: Uint8Array): boolean {
  const x = new DataView(a.buffer, a.byteOffset, 32);
  const y = new DataView(b.buffer, b.byteOffset, 32);
  for (let i = 0; i < 32; i += 4) {
    if (x.getUint32(i) === y.getUint32(i)) continue;
    const p = x.getFloat32(i, true);
    const q = y.getFloat32(i, true);
    const flushed = p === 0 || q === 0;
    if (flushed && Math.max(Math.abs(p), Math.abs(q)) <= FLUSHED_RECIPROCAL && isNegative(p) === isNegative(q))
      continue;
    if (!Number.isFinite(p) || !Number.isFinite(q) || Math.abs(p - q) > APPROXIMATE_ERROR * Math.abs(p)) return false;
  }
  return true;
}

const isNegative = (x: number): boolean => x < 0 || Object.is(x, -0);

function compareX87(masks: Masks, expected: Uint8Array, actual: Uint8Array, differ: Differ): void {
  const header = (fx: Uint8Array) => {
    const bytes = fx.slice(0, 32);
    for (let i = 0; i < 32; i++) if (!FX_COMPARED[i]) bytes[i] = 0;
    if (masks.transcendental) bytes[3]! &= ~2;
    return bytes;
  };
  if (!sameBytes(header(expected), header(actual))) {
    const describe = (fx: Uint8Array) => {
      const word = (at: number) => hex(fx[at]! | (fx[at + 1]! << 8));
      return `control ${word(0)} status ${word(2)} tags ${hex(fx[4]!)}`;
    };
    differ('x87', describe(expected), describe(actual));
  }
  for (let i = 0; i < 8; i++) {
    const a = expected.subarray(32 + 16 * i, 42 + 16 * i);
    const b = actual.subarray(32 + 16 * i, 42 + 16 * i);
    if (sameBytes(a, b) || (masks.transcendental && ulpsApart(a, b) <= TRANSCENDENTAL_ULPS)) continue;
    differ(`st${i}`, reversed(a), reversed(b));
  }
}

/** Distance of two extended reals of one sign as integers (exponent and significand as one number). */
function ulpsApart(a: Uint8Array, b: Uint8Array): bigint {
  const value = (bytes: Uint8Array) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 10);
    return (BigInt(view.getUint16(8, true) & 0x7fff) << 63n) + BigInt.asUintN(63, view.getBigUint64(0, true));
  };
  if ((a[9]! ^ b[9]!) & 0x80) return 1n << 80n;
  const distance = value(a) - value(b);
  return distance < 0n ? -distance : distance;
}

function reversed(bytes: Uint8Array): string {
  return bytesHex(bytes.slice().reverse());
}

function compareMemory(
  masks: Masks,
  expected: readonly MemoryPatch[],
  actual: readonly MemoryPatch[],
  differ: Differ,
): void {
  let i = 0;
  let j = 0;
  while (i < expected.length || j < actual.length) {
    const a = expected[i];
    const b = actual[j];
    const where = Math.min(a?.offset ?? 1 << 30, b?.offset ?? 1 << 30);
    const field = `memory ${hex(DATA_BASE + where)}`;
    if (a?.offset !== where) differ(field, 'unchanged', bytesHex(b!.bytes));
    else if (b?.offset !== where) differ(field, bytesHex(a.bytes), 'unchanged');
    else if (!sameLine(masks, where, a.bytes, b.bytes)) differ(field, bytesHex(a.bytes), bytesHex(b.bytes));
    if (a?.offset === where) i++;
    if (b?.offset === where) j++;
  }
}

function sameLine(masks: Masks, offset: number, a: Uint8Array, b: Uint8Array): boolean {
  if (sameBytes(a, b)) return true;
  const distance = DATA_BASE + offset - Number(masks.target);
  for (let k = 0; k < LINE; k++) {
    const skipped = masks.skipped.some(([from, to]) => distance + k >= from && distance + k < to);
    if (a[k] !== b[k] && !skipped) return false;
  }
  return true;
}
