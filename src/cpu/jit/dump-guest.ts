import type { DecodedInstruction, MemOperand, Operand } from '../decode/types.ts';

const GPR64 = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15'.split(' ');
const CONDITIONS = 'o no b ae e ne be a s ns p np l ge le g'.split(' ');
const SEGMENTS = 'es cs ss ds fs gs'.split(' ');
const SIZES: Readonly<Record<number, string>> = {
  1: 'byte',
  2: 'word',
  4: 'dword',
  6: 'fword',
  8: 'qword',
  10: 'tbyte',
  16: 'xmmword',
  32: 'ymmword',
};
const RIP = 16;
const SUFFIX: Readonly<Record<number, string>> = { 1: 'b', 2: 'w', 4: 'd', 8: 'q' };
const STRINGS = new Set('movs stos lods cmps scas ins outs'.split(' '));
/** What the operand size makes of CBW and CWD (SDM vol. 2). */
const BY_SIZE: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  cbw: { 2: 'cbw', 4: 'cwde', 8: 'cdqe' },
  cwd: { 2: 'cwd', 4: 'cdq', 8: 'cqo' },
};

/** Name of a general register at a width in bytes. */
export function registerName(index: number, width: number, high = false): string {
  const wide = GPR64[index]!;
  if (width === 8) return wide;
  if (index >= 8) return wide + { 1: 'b', 2: 'w', 4: 'd' }[width];
  const short = wide.slice(1);
  if (width === 4) return `e${short}`;
  if (width === 2) return short;
  if (high) return `${short[0]}h`;
  return short.endsWith('x') ? `${short[0]}l` : `${short}l`;
}

const hex = (value: bigint | number): string => `0x${value.toString(16)}`;
const signedHex = (value: bigint): string => (value < 0n ? `-${hex(-value)}` : hex(value));

/** One instruction in Intel's notation; `at` is its linear address. */
export function instructionText(d: DecodedInstruction, at: bigint): string {
  const prefix = `${d.lock ? 'lock ' : ''}${d.rep === 'none' ? '' : `${d.rep} `}`;
  const operands = d.operands.map((operand) => operandText(operand, d, at)).join(', ');
  return `${prefix}${mnemonicText(d)}${operands && ` ${operands}`}`;
}

function mnemonicText({ row, operands, operandSize }: DecodedInstruction): string {
  const { mnemonic, condition } = row;
  if (condition !== undefined && mnemonic.endsWith('cc')) return mnemonic.slice(0, -2) + CONDITIONS[condition];
  if (STRINGS.has(mnemonic)) return mnemonic + (SUFFIX[widthOf(operands[0]) ?? operandSize] ?? '');
  const sized = BY_SIZE[mnemonic]?.[operandSize];
  return sized ?? mnemonic.replace(/_(cr|dr|seg|sse)$/, '').replace('_far', ' far');
}

const widthOf = (operand: Operand | undefined): number | undefined =>
  operand !== undefined && 'width' in operand ? operand.width : undefined;

function operandText(operand: Operand, d: DecodedInstruction, at: bigint): string {
  switch (operand.kind) {
    case 'gpr':
      return registerName(operand.index, operand.width, operand.high);
    case 'imm': {
      const value = (BigInt(operand.hi) << 32n) | BigInt(operand.lo >>> 0);
      return hex(BigInt.asUintN(operand.width * 8, value));
    }
    case 'rel':
      return hex(BigInt.asUintN(64, at + BigInt(d.length + operand.displacement)));
    case 'far':
      return `${hex(operand.selector)}:${hex(operand.offset)}`;
    case 'mem':
      return memoryText(operand, d, at);
    case 'vec':
      return `${operand.width === 32 ? 'ymm' : 'xmm'}${operand.index}`;
    case 'mmx':
      return `mm${operand.index}`;
    case 'st':
      return `st${operand.index}`;
    case 'seg':
      return SEGMENTS[operand.index]!;
    case 'cr':
    case 'dr':
      return `${operand.kind}${operand.index}`;
  }
}

function memoryText(m: MemOperand, d: DecodedInstruction, at: bigint): string {
  const displacement = (BigInt(m.dispHi) << 32n) | BigInt(m.dispLo >>> 0);
  const size = SIZES[m.width];
  const implied = m.base === 4 || m.base === 5 ? 2 : 3;
  const segment = m.segment === implied || m.segment === 3 ? '' : `${SEGMENTS[m.segment]}:`;
  const parts: string[] = [];
  if (m.base === RIP) {
    parts.push(hex(BigInt.asUintN(64, at + BigInt(d.length) + displacement)));
  } else {
    if (m.base >= 0) parts.push(registerName(m.base, m.addressSize));
    if (m.index >= 0) parts.push(`${registerName(m.index, m.addressSize)}${m.scale > 0 ? `*${1 << m.scale}` : ''}`);
    if (parts.length === 0) parts.push(hex(BigInt.asUintN(m.addressSize * 8, displacement)));
    else if (displacement !== 0n) parts.push(signedHex(displacement));
  }
  return `${size ? `${size} ` : ''}${segment}[${parts.join('+').replace('+-', '-')}]`;
}
