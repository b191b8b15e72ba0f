/** Instruction bytes -> {@link DecodedInstruction} (SDM vol. 2, chapter 2: instruction format). */
import {
  bucketIndex,
  buildIndex,
  type Candidate,
  fillBucket,
  hasFeatures,
  type OpcodeIndex,
  VEX_MAP,
} from './opcode-index.ts';
import { hexByte, PREFIX } from './opcode-notation.ts';
import { METHOD, type OperandSpec, WIDTH, type WidthCode } from './operands.ts';
import { CONTROL, DEBUG, GPR, GPR8_LEGACY, MMX, ONE, SEGMENTS, ST, XMM, YMM } from './registers.ts';
import {
  type CodeMode,
  type DecodedInstruction,
  type DecodeFailure,
  type ImmOperand,
  type MemOperand,
  type Operand,
  SEGMENT,
  type Width,
} from './types.ts';

export interface DecoderOptions {
  /** CPUID features the CPU has, by the names of `decoderFeatures()`; a row whose feature is missing does not exist. */
  readonly features: ReadonlySet<string>;
}

/**
 * Decodes the instruction at bytes[at]; `end` is the first index that may not be read. A failure has `kind` 'more', 'ud'
 * or 'gp'; a decoded instruction has none.
 */
export type Decode = (bytes: Uint8Array, at: number, end: number, mode: CodeMode) => DecodedInstruction | DecodeFailure;

/** Tells a failure from an instruction. */
export function isFailure(result: DecodedInstruction | DecodeFailure): result is DecodeFailure {
  return 'kind' in result;
}

const MORE: DecodeFailure = { kind: 'more' };
const TOO_LONG: DecodeFailure = { kind: 'gp', what: 'instruction longer than 15 bytes' };
const MAX_LENGTH = 15;
/** CR0 CR2 CR3 CR4 CR8. */
const CONTROL_REGISTERS = 0x11d;

/** rm -> base and index of 16-bit addressing (SDM vol. 2, table 2-1). */
const BASE_16 = [3, 3, 5, 5, 6, 7, 5, 3] as const;
const INDEX_16 = [6, 7, 6, 7, -1, -1, -1, -1] as const;

const MAP_NAMES = ['', '0f ', '0f 38 ', '0f 3a ', '', 'vex 0f ', 'vex 0f 38 ', 'vex 0f 3a '] as const;

/** A decoder for a CPU with the given features. Stateless between calls; a few milliseconds to make. */
export function createDecoder(options: DecoderOptions): Decode {
  const index = buildIndex((row) => hasFeatures(row, options.features));
  let absent: OpcodeIndex | undefined;

  // State of the instruction being decoded, shared by the functions below so that a decode allocates only its result.
  let code: Uint8Array = new Uint8Array(0);
  let position = 0;
  let limit = 0;
  let tooLong = false;
  let overrun = false;
  let mode: CodeMode = 64;
  let operandPrefix = false;
  let rex = 0;
  let override = -1;
  let operandSize: 2 | 4 | 8 = 4;
  let addressSize: 2 | 4 | 8 = 8;
  let vexL = 0;
  let vvvv = 0;
  let wideW = false;
  let opcode = 0;
  let mod = 0;
  let reg = 0;
  let rm = 0;
  // Memory operand of ModRM.
  let base = -1;
  let indexRegister = -1;
  let scale = 0;
  let displacement = 0;
  let memorySegment: number = SEGMENT.ds;
  let invalid = '';

  function byte(): number {
    if (position < limit) return code[position++]!;
    overrun = true;
    return 0;
  }
  /** What a read beyond `limit` means. */
  function stopped(): DecodeFailure {
    return tooLong ? TOO_LONG : MORE;
  }
  function word(): number {
    return byte() | (byte() << 8);
  }
  function dword(): number {
    return byte() | (byte() << 8) | (byte() << 16) | (byte() << 24);
  }
  function signedByte(): number {
    return (byte() << 24) >> 24;
  }

  function parseModrm(): void {
    const modrm = byte();
    mod = modrm >> 6;
    reg = (modrm >> 3) & 7;
    rm = modrm & 7;
  }

  /** Override, or the default; ES CS SS DS overrides do nothing in 64-bit mode. */
  function segmentOr(fallback: number): number {
    return override >= 0 && (mode !== 64 || override >= SEGMENT.fs) ? override : fallback;
  }

  function parseMemory(vsib: boolean): void {
    let segment: number = SEGMENT.ds;
    indexRegister = -1;
    scale = 0;
    displacement = 0;
    if (addressSize === 2) {
      if (vsib) invalid = '16-bit VSIB';
      base = BASE_16[rm as 0];
      indexRegister = INDEX_16[rm as 0];
      if (mod === 1) displacement = signedByte();
      else if (mod === 2) displacement = (word() << 16) >> 16;
      else if (rm === 6) {
        base = -1;
        displacement = (word() << 16) >> 16;
      }
      if (base === 5) segment = SEGMENT.ss;
      memorySegment = segmentOr(segment);
      return;
    }
    if (rm === 4) {
      const sib = byte();
      scale = sib >> 6;
      indexRegister = ((sib >> 3) & 7) | ((rex & 2) << 2);
      if (indexRegister === 4 && !vsib) {
        indexRegister = -1;
        scale = 0;
      }
      base = sib & 7;
      if (base === 5 && mod === 0) {
        base = -1;
        displacement = dword();
      } else {
        if (base === 4 || base === 5) segment = SEGMENT.ss;
        base |= (rex & 1) << 3;
        if (base > 7) segment = SEGMENT.ds;
      }
    } else if (rm === 5 && mod === 0) {
      if (vsib) invalid = 'VSIB without SIB';
      base = mode === 64 ? 16 : -1;
      displacement = dword();
    } else {
      if (vsib) invalid = 'VSIB without SIB';
      base = rm | ((rex & 1) << 3);
      if (base === 5) segment = SEGMENT.ss;
    }
    if (mod === 1) displacement = signedByte();
    else if (mod === 2) displacement = dword();
    memorySegment = segmentOr(segment);
  }

  function bytesOf(width: WidthCode): Width {
    switch (width) {
      case WIDTH.none:
        return 0;
      case WIDTH.b:
        return 1;
      case WIDTH.w:
        return 2;
      case WIDTH.d:
        return 4;
      case WIDTH.q:
        return 8;
      case WIDTH.t:
        return 10;
      case WIDTH.dq:
        return 16;
      case WIDTH.qq:
        return 32;
      case WIDTH.v:
        return operandSize;
      case WIDTH.z:
        return operandSize === 2 ? 2 : 4;
      case WIDTH.y:
        return mode === 64 && wideW ? 8 : 4;
      case WIDTH.n:
        return mode === 64 ? 8 : 4;
      case WIDTH.x:
        return vexL === 1 ? 32 : 16;
      case WIDTH.h:
        return vexL === 1 ? 16 : 8;
      case WIDTH.f:
        return vexL === 1 ? 8 : 4;
      case WIDTH.e:
        return vexL === 1 ? 4 : 2;
      case WIDTH.p:
        return operandSize === 2 ? 4 : operandSize === 4 ? 6 : 10;
      case WIDTH.s:
        return mode === 64 ? 10 : 6;
      case WIDTH.a:
        return operandSize === 2 ? 4 : 8;
    }
  }

  function general(number: number, width: Width): Operand {
    return width === 1 && rex === 0 ? GPR8_LEGACY[number]! : GPR[width]![number]!;
  }

  function vector(number: number, width: Width): Operand {
    return width === 32 ? YMM[number]! : XMM[number]!;
  }

  function modrmMemory(width: Width): MemOperand {
    return {
      kind: 'mem',
      width,
      base,
      index: indexRegister,
      scale,
      dispLo: displacement,
      dispHi: displacement >> 31,
      segment: memorySegment,
      addressSize,
    };
  }

  function registerMemory(register: number, width: Width, segment: number): MemOperand {
    return { kind: 'mem', width, base: register, index: -1, scale: 0, dispLo: 0, dispHi: 0, segment, addressSize };
  }

  function immediate(width: Width, lo: number): ImmOperand {
    return { kind: 'imm', width: width as ImmOperand['width'], lo, hi: lo >> 31 };
  }

  /** moffs: as wide as addresses; zero-extended. */
  function absoluteMemory(width: Width): MemOperand {
    const dispLo = addressSize === 2 ? word() : dword();
    const dispHi = addressSize === 8 ? dword() : 0;
    const segment = segmentOr(SEGMENT.ds);
    return { kind: 'mem', width, base: -1, index: -1, scale: 0, dispLo, dispHi, segment, addressSize };
  }

  function operand(spec: OperandSpec): Operand {
    switch (spec.method) {
      case METHOD.rm:
        if (mod === 3) return general(rm | ((rex & 1) << 3), bytesOf(spec.width));
        return modrmMemory(bytesOf(spec.memoryWidth));
      case METHOD.reg:
        return general(reg | ((rex & 4) << 1), bytesOf(spec.width));
      case METHOD.low:
        return general((opcode & 7) | ((rex & 1) << 3), bytesOf(spec.width));
      case METHOD.fixed:
        return GPR[bytesOf(spec.width)]![spec.fixed]!;
      case METHOD.vvvv:
        return general(vvvv, bytesOf(spec.width));
      case METHOD.segment:
        if (reg > 5) invalid = 'no such segment register';
        return SEGMENTS[reg] ?? SEGMENTS[0]!;
      case METHOD.fixedSegment:
        return SEGMENTS[spec.fixed]!;
      case METHOD.control: {
        const number = reg | ((rex & 4) << 1);
        if (((CONTROL_REGISTERS >> number) & 1) === 0) invalid = 'no such control register';
        return CONTROL[mode === 64 ? 8 : 4][number]!;
      }
      case METHOD.debug:
        if ((rex & 4) !== 0) invalid = 'no such debug register';
        return DEBUG[mode === 64 ? 8 : 4][reg]!;
      case METHOD.vectorReg:
        return vector(reg | ((rex & 4) << 1), bytesOf(spec.width));
      case METHOD.vectorRm:
        if (mod === 3) return vector(rm | ((rex & 1) << 3), bytesOf(spec.width));
        return modrmMemory(bytesOf(spec.memoryWidth));
      case METHOD.vectorVvvv:
        return vector(vvvv, bytesOf(spec.width));
      case METHOD.vectorIs4:
        return vector(mode === 64 ? byte() >> 4 : (byte() >> 4) & 7, bytesOf(spec.width));
      case METHOD.xmm0:
        return XMM[0]!;
      case METHOD.mmxReg:
        return MMX[reg]!;
      case METHOD.mmxRm:
        return mod === 3 ? MMX[rm]! : modrmMemory(bytesOf(spec.memoryWidth));
      case METHOD.immediate: {
        const width = bytesOf(spec.width);
        return immediate(width, width === 2 ? (word() << 16) >> 16 : dword());
      }
      case METHOD.unsignedByte:
        return { kind: 'imm', width: 1, lo: byte(), hi: 0 };
      case METHOD.signedByte:
        return immediate(bytesOf(spec.width), signedByte());
      case METHOD.unsignedWord:
        return { kind: 'imm', width: 2, lo: word(), hi: 0 };
      case METHOD.wideImmediate: {
        if (operandSize === 2) return immediate(2, (word() << 16) >> 16);
        const lo = dword();
        return operandSize === 8 ? { kind: 'imm', width: 8, lo, hi: dword() } : immediate(4, lo);
      }
      case METHOD.one:
        return ONE;
      case METHOD.relativeByte:
        return { kind: 'rel', displacement: signedByte() };
      case METHOD.relative:
        return { kind: 'rel', displacement: operandSize === 2 ? (word() << 16) >> 16 : dword() };
      case METHOD.far: {
        const offset = operandSize === 2 ? word() : dword() >>> 0;
        return { kind: 'far', selector: word(), offset };
      }
      case METHOD.offset:
        return absoluteMemory(bytesOf(spec.width));
      case METHOD.source:
        return registerMemory(6, bytesOf(spec.width), segmentOr(SEGMENT.ds));
      case METHOD.destination:
        return registerMemory(7, bytesOf(spec.width), SEGMENT.es);
      case METHOD.implicit:
        return registerMemory(spec.fixed, bytesOf(spec.width), segmentOr(SEGMENT.ds));
      case METHOD.st0:
        return ST[0]!;
      case METHOD.sti:
        return ST[rm]!;
      case METHOD.vsib:
        return modrmMemory(bytesOf(spec.width));
    }
  }

  function undefinedOpcode(map: number, reason: string): DecodeFailure {
    return { kind: 'ud', what: `${MAP_NAMES[map as 0]}${hexByte(opcode).toLowerCase()} (${reason})` };
  }

  /** Why no row matched: a row that this CPU model lacks, or none at all. */
  function noRow(map: number, prefix: number): DecodeFailure {
    absent ??= buildIndex((row) => !hasFeatures(row, options.features));
    const entry = absent[map * 256 + opcode];
    if (entry !== undefined) {
      if (entry.modrm && index[map * 256 + opcode] === undefined) {
        parseModrm();
        if (overrun) return stopped();
      }
      const bucket = fillBucket(entry, mode, prefix, entry.modrm && mod === 3, entry.modrm ? reg : 0);
      const candidate = bucket.find((one) => ((one.rms >> rm) & 1) === 1) ?? bucket[0];
      if (candidate !== undefined) return undefinedOpcode(map, `${candidate.row.mnemonic}, cpu model`);
    }
    return undefinedOpcode(map, 'undefined');
  }

  /** Operand size by mode, prefixes, W and the row's size rule (SDM vol. 1, table 3-4; 66 on near branches: ignored). */
  function sizeOf(candidate: Candidate, vex: boolean): 2 | 4 | 8 {
    const narrow = operandPrefix && !candidate.consumes66 && !vex;
    if (mode !== 64) return (mode === 16) === narrow || vex || candidate.consumes66 ? 4 : 2;
    const { size } = candidate.row;
    if (wideW || size === 'f64') return 8;
    if (narrow) return 2;
    return size === 'd64' ? 8 : 4;
  }

  function gatherConflict(): boolean {
    const destination = reg | ((rex & 4) << 1);
    return destination === indexRegister || destination === vvvv || indexRegister === vvvv;
  }

  return function decode(bytes, at, end, codeMode) {
    code = bytes;
    position = at;
    limit = Math.min(end, at + MAX_LENGTH);
    tooLong = end - at >= MAX_LENGTH;
    overrun = false;
    mode = codeMode;
    operandPrefix = false;
    rex = 0;
    override = -1;
    addressSize = codeMode === 64 ? 8 : codeMode === 32 ? 4 : 2;
    vexL = 0;
    vvvv = 0;
    invalid = '';
    let lock = false;
    let repeat: DecodedInstruction['rep'] = 'none';

    prefixes: for (;;) {
      opcode = byte();
      switch (opcode) {
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
          // A null prefix in 64-bit mode does not undo an FS or GS override.
          if (codeMode !== 64 || override < SEGMENT.fs) override = (opcode >> 3) & 3;
          break;
        case 0x64:
        case 0x65:
          override = opcode & 7;
          break;
        case 0x66:
          operandPrefix = true;
          break;
        case 0x67:
          addressSize = codeMode === 32 ? 2 : 4;
          break;
        case 0xf0:
          lock = true;
          break;
        case 0xf2:
          repeat = 'repne';
          break;
        case 0xf3:
          repeat = 'rep';
          break;
        default:
          if (codeMode !== 64 || (opcode & 0xf0) !== 0x40) break prefixes;
          rex = opcode;
          continue;
      }
      rex = 0;
    }

    let map = 0;
    let prefix: number;
    let vex = false;
    wideW = (rex & 8) !== 0;
    if (
      (opcode === 0xc4 || opcode === 0xc5) &&
      (codeMode === 64 || (position < limit && (code[position]! & 0xc0) === 0xc0))
    ) {
      vex = true;
      const first = byte();
      const last = opcode === 0xc5 ? first : byte();
      if (overrun) return stopped();
      const select = opcode === 0xc5 ? 1 : first & 0x1f;
      // refused only when all of it was fetched: a page fault comes first
      if (lock || operandPrefix || repeat !== 'none' || rex !== 0) invalid = 'prefix before vex';
      rex = 0x40 | (~first & 0x80 ? 4 : 0);
      wideW = false;
      if (opcode === 0xc4) {
        rex |= (~first & 0x60) >> 5;
        wideW = (last & 0x80) !== 0;
      }
      vvvv = (~last >> 3) & 15;
      vexL = (last >> 2) & 1;
      prefix = last & 3;
      if (select === 0 || select > 3) return undefinedOpcode(0, 'vex');
      map = VEX_MAP + select;
      opcode = byte();
    } else {
      if (opcode === 0x0f) {
        map = 1;
        opcode = byte();
        if (opcode === 0x38 || opcode === 0x3a) {
          map = opcode === 0x38 ? 2 : 3;
          opcode = byte();
        }
      }
      prefix =
        repeat === 'rep' ? PREFIX.pf3 : repeat === 'repne' ? PREFIX.pf2 : operandPrefix ? PREFIX.p66 : PREFIX.none;
    }
    if (overrun) return stopped();

    mod = 0;
    reg = 0;
    rm = 0;
    const entry = index[map * 256 + opcode];
    if (entry === undefined) return noRow(map, prefix);
    if (entry.modrm) {
      parseModrm();
      if (overrun) return stopped();
    }
    const bucket =
      entry.buckets[bucketIndex(codeMode, prefix, mod === 3, reg)] ??
      fillBucket(entry, codeMode, prefix, mod === 3, reg);
    let candidate: Candidate | undefined;
    for (let i = 0; i < bucket.length; i++) {
      const one = bucket[i]!;
      if (((one.rms >> rm) & (one.ws >> (wideW ? 1 : 0)) & (one.ls >> vexL) & 1) === 0) continue;
      if (one.rexB0 && (rex & 1) !== 0) continue;
      candidate = one;
      break;
    }
    if (candidate === undefined) return noRow(map, prefix);
    if (candidate.ignoresMod) mod = 3;
    operandSize = sizeOf(candidate, vex);
    if (vex && codeMode !== 64) {
      if (candidate.vvvvUnused && vvvv !== 0) invalid = 'vex.vvvv';
      vvvv &= 7;
      rex &= 0x40;
    } else if (candidate.vvvvUnused && vvvv !== 0) invalid = 'vex.vvvv';
    if (entry.modrm && mod !== 3) parseMemory(candidate.gather);

    const specs = candidate.operands;
    let operands: Operand[];
    switch (specs.length) {
      case 0:
        operands = [];
        break;
      case 1:
        operands = [operand(specs[0]!)];
        break;
      case 2:
        operands = [operand(specs[0]!), operand(specs[1]!)];
        break;
      default:
        operands = specs.map(operand);
    }
    if (overrun) return stopped();
    if (lock && !(candidate.lockable && mod !== 3)) return undefinedOpcode(map, 'lock');
    if (invalid !== '') return undefinedOpcode(map, invalid);
    if (candidate.gather && gatherConflict()) return undefinedOpcode(map, 'gather registers overlap');
    if (candidate.loadsSegment && reg === SEGMENT.cs) return undefinedOpcode(map, 'mov to cs');
    return {
      row: candidate.row,
      length: position - at,
      mode: codeMode,
      operandSize,
      addressSize,
      lock,
      rep: candidate.stringOperation ? repeat : 'none',
      segment: override,
      operands,
      vex: vex ? { l: vexL as 0 | 1, w: wideW ? 1 : 0 } : undefined,
      rexW: wideW,
    };
  };
}
