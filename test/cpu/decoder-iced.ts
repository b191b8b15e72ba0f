/** iced-x86's view of an instruction, in the words of src/cpu/decode: the decoder's oracle. */
import {
  Code,
  CodeSize,
  ConditionCode,
  CpuidFeature,
  type Instruction,
  type MemorySize,
  MemorySizeExt,
  Mnemonic,
  OpKind,
  Register,
} from 'iced-x86';
import type { DecodedInstruction, MemOperand, Operand } from '../../src/cpu/decode/types.ts';

/** CPUID features of iced whose instructions our tables hold; a code that needs any other is foreign. */
const OUR_FEATURES: ReadonlySet<string> = new Set(
  `INTEL8086 INTEL8086_ONLY INTEL186 INTEL286 INTEL386 INTEL486 X64 ADX AES AVX AVX2 BMI1 BMI2 CLFLUSHOPT CLFSH CLWB CMOV
   CMPXCHG16B CPUID CX8 F16C FMA FPU FPU287 FPU387 FSGSBASE FXSR INVPCID LZCNT MMX MONITOR MOVBE MSR
   MULTIBYTENOP PAUSE PCLMULQDQ PKU POPCNT PREFETCHW PREFETCHWT1 RDPID RDPMC RDRAND RDSEED RDTSCP SEP SHA SMAP SSE
   SSE2 SSE3 SSE4_1 SSE4_2 SSSE3 SYSCALL TSC VAES VPCLMULQDQ XSAVE XSAVEC XSAVEOPT XSAVES CET_IBT`.split(/\s+/),
);

/** iced mnemonics whose name in our tables differs; families that the operand size tells apart have one name. */
const RENAMED: Readonly<Record<string, string>> = {
  pushad: 'pusha',
  popad: 'popa',
  pushfd: 'pushf',
  pushfq: 'pushf',
  popfd: 'popf',
  popfq: 'popf',
  iretd: 'iret',
  iretq: 'iret',
  cwde: 'cbw',
  cdqe: 'cbw',
  cdq: 'cwd',
  cqo: 'cwd',
  jecxz: 'jcxz',
  jrcxz: 'jcxz',
  retf: 'ret_far',
  xlatb: 'xlat',
  wait: 'fwait',
  sal: 'shl',
  reservednop: 'nop',
  fxsave64: 'fxsave',
  fxrstor64: 'fxrstor',
  xsave64: 'xsave',
  xrstor64: 'xrstor',
  xsaveopt64: 'xsaveopt',
  xsavec64: 'xsavec',
  xsaves64: 'xsaves',
  xrstors64: 'xrstors',
  sysretq: 'sysret',
  sysexitq: 'sysexit',
  fstpnce: 'fstp1',
  pcmpestri64: 'pcmpestri',
  pcmpestrm64: 'pcmpestrm',
  vpcmpestri64: 'vpcmpestri',
  vpcmpestrm64: 'vpcmpestrm',
};

/** What depends on iced's code alone. */
export interface IcedCode {
  readonly name: string;
  /** Our mnemonic. */
  readonly mnemonic: string;
  /** Condition code 0..15, or -1. */
  readonly condition: number;
  /** Needs a CPUID feature that our tables leave out. */
  readonly foreign: boolean;
  readonly count: number;
  /** Operand and address size in bytes that the code stands for; 0 where it says nothing about them. */
  readonly operandSize: number;
  readonly addressSize: number;
}

const codes = new Map<number, IcedCode>();

export function icedCode(instruction: Instruction): IcedCode {
  const known = codes.get(instruction.code);
  if (known !== undefined) return known;
  const made = describe(instruction);
  codes.set(instruction.code, made);
  return made;
}

function describe(instruction: Instruction): IcedCode {
  const name = Code[instruction.code] ?? '';
  const mnemonic = (Mnemonic[instruction.mnemonic] ?? '').toLowerCase();
  const { opCode } = instruction;
  const operandSize = opCode.operandSize / 8;
  const addressSize = opCode.addressSize / 8;
  opCode.free();
  const features = [...instruction.cpuidFeatures()].map((feature) => CpuidFeature[feature] ?? '');
  return {
    name,
    mnemonic: ourMnemonic(instruction, name, mnemonic),
    condition: /^(j|set|cmov)cc$/.test(ourMnemonic(instruction, name, mnemonic))
      ? instruction.conditionCode - ConditionCode.o
      : -1,
    foreign: !/^prefetch(w|wt1)?$/.test(mnemonic) && !features.every((feature) => OUR_FEATURES.has(feature)),
    count: instruction.opCount,
    operandSize,
    addressSize,
  };
}

function ourMnemonic(instruction: Instruction, name: string, mnemonic: string): string {
  if (instruction.isStringInstruction) return mnemonic.slice(0, -1);
  if (mnemonic === 'movsd' || mnemonic === 'cmpsd') return `${mnemonic}_sse`;
  if (
    instruction.conditionCode !== ConditionCode.None &&
    !/^(loop|fcmov|cmpb|cmpn|cmpl|cmpo|cmps|cmpp|cmpz)/.test(mnemonic)
  ) {
    if (/^j/.test(mnemonic)) return 'jcc';
    return mnemonic.startsWith('set') ? 'setcc' : 'cmovcc';
  }
  const isSegment = (operand: number) =>
    operand < instruction.opCount &&
    instruction.opKind(operand) === OpKind.Register &&
    /^[CDEFGS]S$/.test(Register[instruction.opRegister(operand)] ?? '');
  if (mnemonic === 'push' || mnemonic === 'pop') return isSegment(0) ? `${mnemonic}_seg` : mnemonic;
  if (mnemonic === 'mov') {
    if (isSegment(0) || isSegment(1)) return 'mov_seg';
    if (/_cr(_|$)/.test(name)) return 'mov_cr';
    if (/_dr(_|$)/.test(name)) return 'mov_dr';
  }
  if (/^(Call|Jmp)_(m16|ptr16)\d\d$/.test(name)) return `${mnemonic}_far`;
  return RENAMED[mnemonic] ?? mnemonic;
}

/** Register number of iced -> the text both sides are compared in. */
const REGISTER_TEXT: readonly string[] = Array.from({ length: 256 }, (_, number) => registerText(number));

function registerText(number: number): string {
  const within = (first: Register, count: number) => number >= first && number < first + count;
  if (within(Register.AL, 4)) return `r1:${number - Register.AL}`;
  if (within(Register.AH, 4)) return `r1h:${number - Register.AH}`;
  if (within(Register.SPL, 12)) return `r1:${number - Register.SPL + 4}`;
  if (within(Register.AX, 16)) return `r2:${number - Register.AX}`;
  if (within(Register.EAX, 16)) return `r4:${number - Register.EAX}`;
  if (within(Register.RAX, 16)) return `r8:${number - Register.RAX}`;
  if (within(Register.ES, 6)) return `seg:${number - Register.ES}`;
  if (within(Register.XMM0, 16)) return `vec16:${number - Register.XMM0}`;
  if (within(Register.YMM0, 16)) return `vec32:${number - Register.YMM0}`;
  if (within(Register.CR0, 16)) return `cr:${number - Register.CR0}`;
  if (within(Register.DR0, 16)) return `dr:${number - Register.DR0}`;
  if (within(Register.ST0, 8)) return `st:${number - Register.ST0}`;
  if (within(Register.MM0, 8)) return `mmx:${number - Register.MM0}`;
  return Register[number] ?? `?${number}`;
}

/** An iced base or index register as number and width in bytes. */
function addressRegister(register: Register): { readonly index: number; readonly width: number } {
  if (register === Register.None) return { index: -1, width: 0 };
  if (register === Register.RIP) return { index: 16, width: 8 };
  if (register === Register.EIP) return { index: 16, width: 4 };
  if (register >= Register.RAX && register <= Register.R15) return { index: register - Register.RAX, width: 8 };
  if (register >= Register.EAX && register <= Register.R15D) return { index: register - Register.EAX, width: 4 };
  if (register >= Register.AX && register <= Register.R15W) return { index: register - Register.AX, width: 2 };
  if (register >= Register.YMM0) return { index: register - Register.YMM0, width: 0 };
  return { index: register - Register.XMM0, width: 0 };
}

const sizes = new Map<MemorySize, number>();

function memoryBytes(size: MemorySize): number {
  let bytes = sizes.get(size);
  if (bytes === undefined) {
    bytes = MemorySizeExt.size(size);
    sizes.set(size, bytes);
  }
  return bytes;
}

function memoryText(
  width: number,
  segment: number,
  base: number,
  index: number,
  scale: number,
  address: number,
  low: number,
  high: number,
): string {
  const displacement = address === 2 ? low & 0xffff : address === 4 ? low >>> 0 : `${high >>> 0}:${low >>> 0}`;
  return `m${width}[${segment}:${base}+${index}*${scale}+${displacement}]/${address}`;
}

/** `sized`: whether the operand's size is comparable (not LEA, FXSAVE and the like). */
export function icedOperand(instruction: Instruction, position: number, sized: boolean): string {
  const kind = instruction.opKind(position);
  switch (kind) {
    case OpKind.Register:
      return REGISTER_TEXT[instruction.opRegister(position)]!;
    case OpKind.NearBranch16:
      return `rel:${(instruction.nearBranch16 - instruction.length) & 0xffff}`;
    case OpKind.NearBranch32:
      return `rel:${(instruction.nearBranch32 - instruction.length) | 0}`;
    case OpKind.NearBranch64:
      return `rel:${Number(BigInt.asIntN(64, instruction.nearBranch64)) - instruction.length}`;
    case OpKind.FarBranch16:
      return `far:${instruction.farBranchSelector}:${instruction.farBranch16}`;
    case OpKind.FarBranch32:
      return `far:${instruction.farBranchSelector}:${instruction.farBranch32 >>> 0}`;
    case OpKind.Immediate8:
      return `i1:${instruction.immediate8}`;
    case OpKind.Immediate8_2nd:
      return `i1:${instruction.immediate8_2nd}`;
    case OpKind.Immediate16:
      return `i2:${instruction.immediate16}`;
    case OpKind.Immediate32:
      return `i4:${instruction.immediate32 >>> 0}`;
    case OpKind.Immediate8to16:
      return `i2:${instruction.immediate8to16 & 0xffff}`;
    case OpKind.Immediate8to32:
      return `i4:${instruction.immediate8to32 >>> 0}`;
    case OpKind.Immediate64:
    case OpKind.Immediate8to64:
    case OpKind.Immediate32to64:
      return `i8:${BigInt.asUintN(64, instruction.immediate(position)).toString(16)}`;
    case OpKind.Memory:
      return icedMemory(instruction, sized);
    default:
      return stringMemory(instruction, kind, sized);
  }
}

function icedMemory(instruction: Instruction, sized: boolean): string {
  const base = addressRegister(instruction.memoryBase);
  const index = addressRegister(instruction.memoryIndex);
  const address = base.width || index.width || instruction.memoryDisplSize;
  let displacement = BigInt.asIntN(64, instruction.memoryDisplacementU64);
  if (base.index === 16) displacement -= BigInt(instruction.length);
  const isAl = instruction.mnemonic === Mnemonic.Xlatb;
  return memoryText(
    sized ? memoryBytes(instruction.memorySize) : 0,
    segmentOf(instruction, base.index === 4 || base.index === 5 ? 2 : 3),
    base.index,
    isAl ? -1 : index.index,
    index.index < 0 || isAl ? 0 : Math.log2(instruction.memoryIndexScale),
    address,
    Number(BigInt.asIntN(32, displacement)),
    Number(BigInt.asIntN(32, displacement >> 32n)),
  );
}

/** iced reports ES CS SS DS overrides as the operand's segment in 64-bit mode too, where they do nothing. */
function segmentOf(instruction: Instruction, fallback: number): number {
  const given = instruction.segmentPrefix;
  if (instruction.codeSize === CodeSize.Code64 && given >= Register.ES && given <= Register.DS) return fallback;
  return instruction.memorySegment - Register.ES;
}

/** The segment override as given, or -1. */
export function icedOverride(instruction: Instruction): number {
  return instruction.segmentPrefix === Register.None ? -1 : instruction.segmentPrefix - Register.ES;
}

/** The implied [rSI] and [rDI] operands. */
function stringMemory(instruction: Instruction, kind: OpKind, sized: boolean): string {
  const width = sized ? memoryBytes(instruction.memorySize) : 0;
  const isEs = kind >= OpKind.MemoryESDI;
  const segment = isEs ? 0 : segmentOf(instruction, 3);
  const register = kind <= OpKind.MemorySegRSI ? 6 : 7;
  const address = [2, 4, 8][(kind - OpKind.MemorySegSI) % 3]!;
  return memoryText(width, segment, register, -1, 0, address, 0, 0);
}

function ourMemory(operand: MemOperand): string {
  return memoryText(
    operand.width,
    operand.segment,
    operand.base,
    operand.index,
    operand.scale,
    operand.addressSize,
    operand.dispLo,
    operand.dispHi,
  );
}

/** One of our operands in the same text. */
export function ourOperand(instruction: DecodedInstruction, operand: Operand): string {
  switch (operand.kind) {
    case 'gpr':
      return `r${operand.width}${operand.high ? 'h' : ''}:${operand.index}`;
    case 'mem':
      return ourMemory(operand);
    case 'imm':
      if (operand.width === 8) {
        const value = (BigInt(operand.hi >>> 0) << 32n) | BigInt(operand.lo >>> 0);
        return `i8:${value.toString(16)}`;
      }
      return `i${operand.width}:${operand.width === 4 ? operand.lo >>> 0 : operand.lo & (operand.width === 2 ? 0xffff : 0xff)}`;
    case 'rel':
      return `rel:${instruction.operandSize === 2 ? operand.displacement & 0xffff : operand.displacement}`;
    case 'far':
      return `far:${operand.selector}:${operand.offset}`;
    case 'vec':
      return `vec${operand.width}:${operand.index}`;
    default:
      return `${operand.kind}:${operand.index}`;
  }
}
