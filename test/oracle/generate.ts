/** From a form and a number to a case: which registers, which addresses, which values. Everything follows from the seed. */
import { METHOD, type OperandSpec } from '../../src/cpu/decode/operands.ts';
import {
  awkwardOffset,
  branchTarget,
  OPERANDS_IN_CODE,
  selectorValue,
  targetAddress,
  wholeAddress,
} from './addresses.ts';
import { arrange, FOREIGN_STATE, SEVERAL_ACCESSES, XSAVES } from './arrange.ts';
import { assemble, type MemoryParts } from './assemble.ts';
import { type Form, operandSizeOf, widthBytes } from './forms.ts';
import { policyOf } from './policy.ts';
import { Random } from './random.ts';
import { CaseState } from './state.ts';
import { CODE_BASE, CODE_SIZE, type CpuCase, DATA_BASE } from './types.ts';
import { type Masks, masksOf } from './undefined.ts';
import { styleOf } from './values.ts';

export interface GeneratedCase {
  readonly form: Form;
  /** `seed:stream` finds it again. */
  readonly id: string;
  readonly test: CpuCase;
  /** Linear address of the memory operand, 0 if there is none. */
  readonly target: bigint;
  /** What is not compared, when the case is run as `test` (the original or a simpler one). */
  readonly masks: (test: CpuCase) => Masks;
}

export interface GenerateOptions {
  /** Memory operands at constant or RIP-relative addresses: nothing is known of the registers. */
  readonly absolute?: boolean;
  readonly codeOffset?: number;
  /** Also what must not run on the host: for looking at only. */
  readonly anywhere?: boolean;
}

const SEGMENT_PREFIX = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65] as const;
const r = new Random(0);

const AREA: Readonly<Record<string, number>> = {
  xsave: 832,
  xsaveopt: 832,
  xsavec: 832,
  xsaves: 832,
  xrstor: 832,
  xrstors: 832,
  fxsave: 512,
  fxrstor: 512,
  fldenv: 28,
  fnstenv: 28,
  frstor: 108,
  fnsave: 108,
};

/** undefined: the choices gave something that must not run on the host. */
export function generate(
  form: Form,
  seed: number,
  stream: number,
  options: GenerateOptions = {},
): GeneratedCase | undefined {
  r.reseed(seed, stream);
  const { mode, encoding, row } = form;
  const registers = mode === 64 ? 16 : 8;
  const operandSize = operandSizeOf(form);
  // Whether the elements of a masked move wrap with short addresses is nowhere written down.
  const masked = /^v?p?maskmov/.test(row.mnemonic);
  const shortAddress = !masked && r.percent(/^(jcxz|loop)/.test(row.mnemonic) ? 30 : row.repeats ? 10 : 4);
  const addressSize = mode === 64 ? (shortAddress ? 4 : 8) : shortAddress ? 2 : 4;
  const style = styleOf(row.mnemonic, r);
  const state = new CaseState(r, form, style);

  const prefixes: number[] = [];
  const segment = chooseSegment(form, prefixes);
  if (addressSize !== (mode === 64 ? 8 : 4)) prefixes.push(0x67);
  if (form.width === '66') prefixes.push(0x66);
  if (form.prefix === 'lock') prefixes.push(0xf0);
  if (form.prefix === 'rep') prefixes.push(0xf3);
  if (form.prefix === 'repne') prefixes.push(0xf2);
  addOddPrefix(form, prefixes);
  if (prefixes.length > 1 && r.oneIn(2)) prefixes.reverse();

  const uses = (method: number) => form.operands.some((operand) => operand.method === method);
  let reg = chooseFromMask(encoding.regs, uses(METHOD.segment) || uses(METHOD.mmxReg) ? 8 : registers);
  if (encoding.regs === 0xff && uses(METHOD.segment)) reg = r.below(8);
  let rm = chooseFromMask(encoding.rms, uses(METHOD.mmxRm) ? 8 : registers);
  if (encoding.rexB0) rm &= 7;
  if (!encoding.modrm && encoding.count === 1) reg = rm = 0;
  const vvvv = uses(METHOD.vectorVvvv) || uses(METHOD.vvvv) ? r.below(registers) : r.oneIn(60) ? r.below(registers) : 0;

  const { tail, immediate } = chooseTail(form, operandSize);
  const vsib = form.operands.find((operand) => operand.method === METHOD.vsib);
  const memoryOperand = form.kind === 'mem' ? form.operands.find(isMemory) : undefined;
  const memorySize =
    memoryOperand === undefined
      ? 0
      : (AREA[row.mnemonic] ?? (widthBytes(memoryOperand.memoryWidth, operandSize, form) || 8));
  const context = { form, state, r, operandSize, addressSize, segment, immediate, reg, rm, memorySize };
  const moffs = arrange(context, 'before');
  let memory: MemoryParts | undefined;
  let target = 0n;
  if (form.kind === 'mem') {
    const several = SEVERAL_ACCESSES.test(row.mnemonic);
    target = several ? wholeAddress(r, memorySize, mode) : targetAddress(r, memorySize, mode);
    if (awkwardOffset(target, memorySize, state.segmentBase(segment), mode)) target = BigInt(DATA_BASE + 0x1000);
    // Which parts of an image go on at offset 0 behind the last one is nowhere written down.
    const offset = BigInt.asUintN(8 * addressSize, target - state.segmentBase(segment));
    if (row.mnemonic in AREA && offset + BigInt(memorySize) > 1n << BigInt(8 * addressSize) && shortAddress)
      return undefined;
    memory = chooseMemory(form, state, addressSize, segment, target, vsib !== undefined, options.absolute);
    state.patchStyled(target, Math.min(memorySize, 512));
  }
  const addressRegisters = memory === undefined ? [] : [memory.base, memory.index];
  arrange({ ...context, target, addressRegisters }, 'after');

  const parts = {
    form,
    prefixes,
    reg,
    rm,
    vvvv,
    memory,
    tail: moffs ?? tail,
    forceRex: mode === 64 && r.percent(row.operands.some((code) => /b$/.test(code)) ? 30 : 6),
    longVex: r.oneIn(2),
  };
  let code = assemble(parts);
  const codeOffset = options.codeOffset ?? chooseCodeOffset(row.mnemonic);
  if (memory?.base === 16) {
    const next = BigInt(CODE_BASE + codeOffset + code.length);
    const disp = Number(BigInt.asIntN(32, target - state.segmentBase(segment) - next));
    code = assemble({ ...parts, memory: { ...memory, disp } });
  }
  // See arrange.ts: the memory operand's base may have been RSP.
  if (row.mnemonic === 'call_far' && state.get(4) > 0xffff_ffffn) return undefined;
  // AVX-512 and what else the host has beyond this CPU stays out of its hands.
  if (XSAVES.test(row.mnemonic) && state.get(0) & FOREIGN_STATE) return undefined;
  if (code.length > 15 || (!options.anywhere && policyOf(code, mode) === 'forbidden')) return undefined;
  const masks = (test: CpuCase) => masksOf(form, test, target, rm);
  return { form, id: `${seed}:${stream}`, test: state.finish(code, codeOffset), target, masks };
}

/** Anywhere in the code pages, across their border and at their end, but not where operands may lie. */
function chooseCodeOffset(mnemonic: string): number {
  if (r.oneIn(6)) return CODE_SIZE / 2 - r.below(16);
  // Whether UD0 and UD1 fetch their ModRM byte and displacement before #UD differs.
  if (r.oneIn(24) && !/^ud[01]$/.test(mnemonic)) return CODE_SIZE - r.below(16) - 1;
  const offset = r.below(CODE_SIZE - 64);
  const from = OPERANDS_IN_CODE.offset - 32;
  return offset >= from && offset < OPERANDS_IN_CODE.offset + OPERANDS_IN_CODE.length ? offset - 0x600 : offset;
}

function isMemory(operand: OperandSpec): boolean {
  const { method } = operand;
  return method === METHOD.rm || method === METHOD.vectorRm || method === METHOD.mmxRm || method === METHOD.vsib;
}

/** Pushes an override now and then; returns FS or GS (4, 5) when one of them is in effect. */
function chooseSegment(form: Form, prefixes: number[]): number {
  if (!r.percent(10)) return -1;
  let segment = r.percent(75) ? 4 + r.below(2) : r.below(4);
  // The elements of a gather run over 4 GiB in a segment with a base: see addresses.ts.
  if (form.mode === 32 && form.operands.some(({ method }) => method === METHOD.vsib)) segment &= 3;
  // Nor whether a masked store that stores nothing is a write to a code segment.
  if (segment === 1 && /maskmov/.test(form.row.mnemonic)) segment = 3;
  // 2E and 3E are branch hints on conditional jumps, which change nothing.
  prefixes.push(SEGMENT_PREFIX[segment]!);
  return segment >= 4 || form.mode === 32 ? segment : -1;
}

/** LOCK where it is illegal, prefixes before VEX, F2 and F3 where nothing uses them. */
function addOddPrefix(form: Form, prefixes: number[]): void {
  const { encoding, row } = form;
  // AMD reads LOCK MOV CR0 as MOV CR8 (APM vol. 3, MOV CRn), and takes LOCK VERW.
  if (r.oneIn(80) && form.prefix === '' && !/^(mov_cr|verw)$/.test(row.mnemonic)) prefixes.push(0xf0);
  else if (encoding.vex && r.oneIn(80)) prefixes.push(r.pick([0x66, 0xf2, 0xf3]));
  // AMD takes F2 and F3 on LOOPE and LOOPNE as part of the condition; on NOP they make another instruction.
  else if (
    encoding.map === 0 &&
    encoding.prefixes === 15 &&
    !/^(loop|nop|xchg)/.test(row.mnemonic) &&
    !row.repeats &&
    r.oneIn(50)
  ) {
    prefixes.push(r.pick([0xf2, 0xf3]));
  }
}

function chooseFromMask(mask: number, count: number): number {
  if (mask === 0xff) return r.below(count);
  let value = r.below(8);
  while (!(mask & (1 << value))) value = (value + 1) & 7;
  return value;
}

const BYTE_IMMEDIATES = [0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 63, 64, 0x7f, 0x80, 0xff];

/** Immediate and displacement bytes, and the (first) immediate's value. */
function chooseTail(form: Form, operandSize: number): { tail: number[]; immediate: number } {
  const tail: number[] = [];
  let immediate = -1;
  for (const { method } of form.operands) {
    switch (method) {
      case METHOD.unsignedByte:
      case METHOD.signedByte: {
        const value = r.oneIn(2) ? r.pick(BYTE_IMMEDIATES) : r.below(256);
        if (immediate < 0) immediate = value;
        tail.push(value);
        break;
      }
      case METHOD.vectorIs4:
        tail.push((r.below(form.mode === 64 ? 16 : 8) << 4) | (r.oneIn(4) ? r.below(16) : 0));
        break;
      case METHOD.relativeByte:
        tail.push(r.below(256));
        break;
      case METHOD.unsignedWord:
        // A far return reads the outer stack before it finds that there is none.
        immediate = r.oneIn(3) && form.row.mnemonic !== 'ret_far' ? r.below(0x10000) : r.below(0x100);
        pushLittle(tail, immediate, 2);
        break;
      case METHOD.immediate:
        pushEdge(tail, Math.min(operandSize, 4));
        break;
      case METHOD.wideImmediate:
        pushEdge(tail, operandSize);
        break;
      case METHOD.far:
        pushLittle(tail, Number(branchTarget(r, 32)), operandSize === 2 ? 2 : 4);
        pushLittle(tail, selectorValue(r), 2);
        break;
      case METHOD.relative: {
        const near = r.below(0x1000) - 0x800;
        pushLittle(tail, r.percent(70) ? near : r.u32(), form.mode === 32 && operandSize === 2 ? 2 : 4);
        break;
      }
      default:
    }
  }
  return { tail, immediate };
}

function pushLittle(to: number[], value: number, bytes: number): void {
  for (let i = 0; i < bytes; i++) to.push((value >> (8 * i)) & 255);
}

function pushEdge(to: number[], bytes: number): void {
  const words = CaseState.edge(r);
  for (let i = 0; i < bytes; i++) to.push((words[i >> 2]! >>> (8 * (i & 3))) & 255);
}

/** Addressing mode and displacement; sets base and index registers so that the operand lies at `target`. */
function chooseMemory(
  form: Form,
  state: CaseState,
  addressSize: number,
  segment: number,
  target: bigint,
  vsib: boolean,
  absolute = false,
): MemoryParts {
  const { mode } = form;
  const registers = mode === 64 ? 16 : 8;
  const offset = BigInt.asUintN(addressSize * 8, target - state.segmentBase(segment));
  if (addressSize === 2) return chooseMemory16(state, Number(offset));
  let choice = vsib ? 60 : absolute ? r.pick([80, 94]) : r.below(100);
  const reachable = BigInt.asIntN(32, offset) === BigInt.asIntN(addressSize * 8, offset);
  if (!reachable && choice >= 80) choice -= 60;
  if (choice >= 94 && mode === 64) {
    return { base: 16, index: -1, scale: 0, dispBytes: 4, disp: 0, rm16: -1 };
  }
  const base = choice >= 80 ? -1 : r.below(registers);
  let index = choice < 45 || (choice >= 80 && choice < 88) ? -1 : r.below(registers);
  const scale = index < 0 ? 0 : r.below(4);
  let scaled = 0n;
  if (vsib) {
    state.vsibIndices(index, r);
  } else if (index >= 0) {
    if (index === 4 || index === base) index = (base + 1) & 7 || 1;
    if (index === 4) index = base === 5 ? 6 : 5;
    const small = r.percent(60) || base < 0;
    const value = small ? BigInt(r.below(80) - 16) : BigInt(r.u32()) * 0x1_0001_0001n;
    state.set(index, BigInt.asUintN(64, value));
    if (mode === 32) state.set(index, BigInt.asUintN(32, value));
    scaled = value << BigInt(scale);
  }
  if (base < 0) {
    const disp = Number(BigInt.asIntN(32, offset - scaled));
    return { base, index, scale, dispBytes: 4, disp, rm16: -1 };
  }
  const needsDisp = (base & 7) === 5;
  const dispBytes = r.pick(needsDisp ? ([1, 4] as const) : ([0, 1, 4] as const));
  const disp =
    dispBytes === 0 ? 0 : dispBytes === 1 ? (r.u32() << 24) >> 24 : r.oneIn(3) ? r.u32() | 0 : r.below(0x2000) - 0x1000;
  let value = BigInt.asUintN(addressSize * 8, offset - scaled - BigInt(disp));
  // Bits above a short address must not matter.
  if (mode === 64 && addressSize === 4) value |= BigInt(r.u32()) << 32n;
  state.set(base, value);
  return { base, index, scale, dispBytes, disp, rm16: -1 };
}

/** BX+SI, BX+DI, BP+SI, BP+DI, SI, DI, BP or disp16, BX (SDM vol. 2, table 2-1). */
const BASES16 = [
  [3, 6],
  [3, 7],
  [5, 6],
  [5, 7],
  [6, -1],
  [7, -1],
  [5, -1],
  [3, -1],
] as const;

function chooseMemory16(state: CaseState, offset: number): MemoryParts {
  const rm16 = r.below(8);
  if (rm16 === 6 && r.oneIn(2)) return { base: -1, index: -1, scale: 0, dispBytes: 2, disp: offset, rm16 };
  const [base, index] = BASES16[rm16]!;
  const dispBytes = rm16 === 6 ? r.pick([1, 2] as const) : r.pick([0, 1, 2] as const);
  const disp = dispBytes === 0 ? 0 : dispBytes === 1 ? (r.u32() << 24) >> 24 : r.below(0x10000);
  const indexValue = index < 0 ? 0 : r.below(0x10000);
  if (index >= 0) state.set(index, BigInt(((r.u32() & 0xffff0000) | indexValue) >>> 0));
  state.set(base, BigInt(((r.u32() & 0xffff0000) | ((offset - disp - indexValue) & 0xffff)) >>> 0));
  return { base, index, scale: 0, dispBytes, disp, rm16 };
}
