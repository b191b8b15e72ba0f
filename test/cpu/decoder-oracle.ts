/** Compares our decoder with iced-x86, instruction by instruction. */
import { Decoder, DecoderOptions, Instruction, OpKind } from 'iced-x86';
import { createDecoder, type Decode, isFailure } from '../../src/cpu/decode/decoder.ts';
import { decoderFeatures } from '../../src/cpu/decode/opcodes.ts';
import type { CodeMode, DecodedInstruction, DecodeFailure, OpcodeRow } from '../../src/cpu/decode/types.ts';
import { type IcedCode, icedCode, icedOperand, icedOverride, ourOperand } from './decoder-iced.ts';

/** Bytes between the starts of two cases in a batch: more than the 15 an instruction may have. */
export const STRIDE = 16;
/** Cases in a full batch. */
export const BATCH = 8192;

export interface Difference {
  readonly bytes: string;
  readonly mode: CodeMode;
  readonly ours: string;
  readonly theirs: string;
}

export interface OracleReport {
  cases: number;
  /** Cases that decode to an instruction on both sides. */
  valid: number;
  /** By the name of the explanation. */
  readonly explained: Map<string, { count: number; readonly example: Difference }>;
  readonly unexplained: Difference[];
  unexplainedCount: number;
  /** Codes of iced met, with the row they were compared to. */
  readonly codes: Map<string, DecodedInstruction>;
}

/** The two sides of a difference. */
interface Sides {
  readonly row: OpcodeRow | undefined;
  readonly code: IcedCode | undefined;
  readonly ours: string;
  readonly theirs: string;
  readonly mode: CodeMode;
}

/** A class of differences that is not an error of our decoder, and why. The same list is docs/decoder-differences.md. */
export interface Explanation {
  readonly name: string;
  readonly reason: string;
  readonly matches: (sides: Sides) => boolean;
}

export const EXPLANATIONS: readonly Explanation[] = [
  {
    name: 'foreign',
    reason:
      'iced decodes an extension that no CPU model of ours has (EVEX, XOP, VMX, SVM, CET, 3DNow!, ...); a CPU without it ' +
      'raises #UD, or runs what the encoding means there: WBINVD for WBNOINVD, NOP for CLDEMOTE, PREFETCHIT and RDSSP',
    matches: ({ row, code }) =>
      code?.foreign === true && (row === undefined || row.mnemonic === 'nop' || row.mnemonic === 'wbinvd'),
  },
  {
    name: 'word-register',
    reason:
      'the instruction reads 16 bits of its register whatever the operand size (SDM: r/m16, r16); iced names the register ' +
      'by operand size',
    matches: ({ row, ours, theirs }) =>
      row !== undefined && READS_WORD.has(row.mnemonic) && ours === theirs.replace(/ r[48]:/g, ' r2:'),
  },
  {
    name: 'amd-syscall',
    reason: 'SYSCALL and SYSRET outside 64-bit mode exist on AMD only; Intel raises #UD (SDM vol. 2, "SYSCALL")',
    matches: ({ row, code, mode }) =>
      row === undefined && mode !== 64 && (code?.mnemonic === 'syscall' || code?.mnemonic === 'sysret'),
  },
  {
    name: 'pause-rex-b',
    reason:
      'F3 REX.B 90 exchanges R8 and rAX: PAUSE is F3 90 without REX.B (seen on silicon: F3 41 90 swaps); iced says PAUSE',
    matches: ({ row, code, ours }) => row?.mnemonic === 'xchg' && code?.name === 'Pause' && / r[248]:8 /.test(ours),
  },
];

/** REX.W has no meaning for these. */
const AT_MOST_32_BITS: ReadonlySet<string> = new Set('in out ins outs fldenv fnstenv frstor fnsave'.split(' '));

const READS_WORD: ReadonlySet<string> = new Set(['mov_seg', 'arpl', 'lldt', 'ltr', 'lmsw', 'verr', 'verw']);

export function createReport(): OracleReport {
  return { cases: 0, valid: 0, explained: new Map(), unexplained: [], unexplainedCount: 0, codes: new Map() };
}

const MAX_KEPT = 200;

export class DecoderOracle {
  readonly report: OracleReport = createReport();
  readonly #decode: Decode = createDecoder({ features: decoderFeatures() });
  readonly #instruction = new Instruction();

  /** Compares every case of a batch: `data.length / STRIDE` byte strings of which up to 15 bytes are read. */
  run(data: Uint8Array, mode: CodeMode): void {
    const decoder = new Decoder(mode, data, DecoderOptions.None);
    for (let at = 0; at + STRIDE <= data.length; at += STRIDE) {
      decoder.position = at;
      decoder.ip = 0n;
      decoder.decodeOut(this.#instruction);
      this.#compare(data, at, mode);
    }
    decoder.free();
  }

  #compare(data: Uint8Array, at: number, mode: CodeMode): void {
    const { report } = this;
    const theirs = this.#instruction;
    const result = this.#decode(data, at, at + STRIDE, mode);
    report.cases++;
    const failed = isFailure(result);
    if (failed && theirs.isInvalid) return;
    if (failed || theirs.isInvalid) {
      const code = theirs.isInvalid ? undefined : icedCode(theirs);
      const row = failed ? undefined : result.row;
      this.#differ(data, at, { row, code, ours: describe(result), theirs: code?.name ?? 'invalid', mode });
      return;
    }
    report.valid++;
    const code = icedCode(theirs);
    let ours = canonicalOurs(result);
    const size = AT_MOST_32_BITS.has(result.row.mnemonic) && result.operandSize === 8 ? 4 : result.operandSize;
    if (code.operandSize !== 0 && code.operandSize !== size) ours += ` os${result.operandSize}`;
    if (code.addressSize !== 0 && code.addressSize !== result.addressSize) ours += ` as${result.addressSize}`;
    const other = canonicalTheirs(theirs, code, result);
    if (ours !== other) this.#differ(data, at, { row: result.row, code, ours, theirs: other, mode });
    else if (!report.codes.has(code.name)) report.codes.set(code.name, result);
    if ((report.cases & 15) === 0) this.#checkTruncation(data, at, mode, result);
  }

  /** With one byte less the instruction is incomplete; with exactly its bytes it is the same. */
  #checkTruncation(data: Uint8Array, at: number, mode: CodeMode, whole: DecodedInstruction): void {
    const less = this.#decode(data, at, at + whole.length - 1, mode);
    const same = this.#decode(data, at, at + whole.length, mode);
    if (!isFailure(less) || less.kind !== 'more' || isFailure(same) || same.length !== whole.length) {
      const ours = `truncated: ${describe(less)}`;
      this.#differ(data, at, { row: whole.row, code: undefined, ours, theirs: 'more', mode });
    }
  }

  #differ(data: Uint8Array, at: number, sides: Sides): void {
    const explanation = EXPLANATIONS.find((one) => one.matches(sides));
    const { mode, ours, theirs } = sides;
    const known = explanation === undefined ? undefined : this.report.explained.get(explanation.name);
    if (known !== undefined) {
      known.count++;
      return;
    }
    const bytes = [...data.subarray(at, at + STRIDE - 1)].map((value) => value.toString(16).padStart(2, '0')).join('');
    const difference: Difference = { bytes, mode, ours, theirs };
    if (explanation !== undefined) {
      this.report.explained.set(explanation.name, { count: 1, example: difference });
      return;
    }
    this.report.unexplainedCount++;
    if (this.report.unexplained.length < MAX_KEPT) this.report.unexplained.push(difference);
  }
}

function describe(result: DecodedInstruction | DecodeFailure): string {
  if (!isFailure(result)) return canonicalOurs(result);
  return result.kind === 'more' ? 'more' : `${result.kind}: ${result.what}`;
}

function canonicalOurs(instruction: DecodedInstruction): string {
  const { row } = instruction;
  let text = `${row.mnemonic} ${row.condition ?? -1} #${instruction.length}`;
  if (instruction.segment >= 0) text += ` s${instruction.segment}`;
  if (instruction.lock) text += ' lock';
  if (instruction.rep !== 'none') text += ` ${instruction.rep}`;
  for (let i = 0; i < instruction.operands.length; i++) {
    if (!IMPLIED.has(row.operands[i]!)) text += ` ${ourOperand(instruction, instruction.operands[i]!)}`;
  }
  return text;
}

/** Operands that our rows spell out and iced leaves implicit. */
const IMPLIED: ReadonlySet<string> = new Set(['XMM0', 'AXm']);

function canonicalTheirs(theirs: Instruction, code: IcedCode, ours: DecodedInstruction): string {
  let text = `${code.mnemonic} ${code.condition} #${theirs.length}`;
  const override = icedOverride(theirs);
  if (override >= 0) text += ` s${override}`;
  if (theirs.hasLockPrefix) text += ' lock';
  if (ours.row.repeats === true) {
    if (theirs.hasRepnePrefix) text += ' repne';
    else if (theirs.hasRepPrefix) text += ' rep';
  }
  // MASKMOVQ and MASKMOVDQU: iced puts the implied memory operand first, the SDM's operand column lacks it.
  const memoryFirst = theirs.op0Kind >= OpKind.MemorySegDI && theirs.op0Kind <= OpKind.MemorySegRDI;
  for (let i = 0; i < code.count; i++) {
    const position = memoryFirst ? (i + 1) % 3 : i;
    const unsized = ours.row.operands[i] === 'M';
    text += ` ${icedOperand(theirs, position, !unsized)}`;
  }
  return text;
}
