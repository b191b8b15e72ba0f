/** Opcode rows -> lookup by map, opcode, mode, mandatory prefix and ModRM: compiled piecewise, on first use. */
import { type Encoding, parseEncoding, W_FREE_32 } from './opcode-notation.ts';
import { opcodeRows } from './opcodes.ts';
import { METHOD, type OperandSpec, parseOperand } from './operands.ts';
import type { CodeMode, OpcodeRow } from './types.ts';

/** A row ready for matching: what is left to check once map, opcode, mode, prefix, mod and reg are known. */
export interface Candidate {
  readonly row: OpcodeRow;
  readonly operands: readonly OperandSpec[];
  /** Bit sets of accepted ModRM.rm, W and VEX.L values. */
  readonly rms: number;
  readonly ws: number;
  readonly ls: number;
  readonly rexB0: boolean;
  readonly consumes66: boolean;
  /** VEX.vvvv names no operand and must be 1111b. */
  readonly vvvvUnused: boolean;
  /** ModRM.mod is taken as 3 whatever it says. */
  readonly ignoresMod: boolean;
  /** Gather: destination, index and mask must differ. */
  readonly gather: boolean;
  /** MOV Sreg: CS is refused. */
  readonly loadsSegment: boolean;
  readonly stringOperation: boolean;
  readonly lockable: boolean;
}

export interface OpcodeEntry {
  readonly modrm: boolean;
  readonly encodings: readonly Encoding[];
  /** By {@link bucketIndex}; filled on first use. */
  readonly buckets: (readonly Candidate[] | undefined)[];
}

/** 7 maps: legacy one-byte, 0F, 0F 38, 0F 3A and VEX 0F, 0F 38, 0F 3A (numbers 5..7; 4 is empty). */
const MAPS = 8;
export const VEX_MAP = 4;

const MODE_INDEX = { 16: 0, 32: 1, 64: 2 } as const;

/** Position in {@link OpcodeEntry.buckets}. `prefix` 0..3 as PREFIX; `register` is mod = 3; `reg` 0 without ModRM. */
export function bucketIndex(mode: CodeMode, prefix: number, register: boolean, reg: number): number {
  return (MODE_INDEX[mode] << 6) | (prefix << 4) | (register ? 8 : 0) | reg;
}

export type OpcodeIndex = readonly (OpcodeEntry | undefined)[];

let allEncodings: readonly Encoding[] | undefined;

/** Every row's encoding, parsed once. */
export function encodings(): readonly Encoding[] {
  allEncodings ??= opcodeRows().map(parseEncoding);
  return allEncodings;
}

/** Which rows a CPU has: `features` holds every name a row asks for. */
export function hasFeatures(row: OpcodeRow, features: ReadonlySet<string>): boolean {
  if (row.feature === undefined) return true;
  if (!row.feature.includes('+')) return features.has(row.feature);
  return row.feature.split('+').every((name) => features.has(name));
}

/** Entries by map * 256 + opcode, of the rows that `accept` takes. */
export function buildIndex(accept: (row: OpcodeRow) => boolean): OpcodeIndex {
  const index: ({ modrm: boolean; encodings: Encoding[]; buckets: undefined[] } | undefined)[] = new Array(MAPS * 256);
  index.fill(undefined);
  for (const encoding of encodings()) {
    if (!accept(encoding.row)) continue;
    for (let i = 0; i < encoding.count; i++) {
      const key = (encoding.map + (encoding.vex ? VEX_MAP : 0)) * 256 + encoding.opcode + i;
      const entry = index[key];
      if (entry === undefined) index[key] = { modrm: encoding.modrm, encodings: [encoding], buckets: [] };
      else entry.encodings.push(encoding);
    }
  }
  return index;
}

/** The candidates of one bucket, in table order. */
export function fillBucket(
  entry: OpcodeEntry,
  mode: CodeMode,
  prefix: number,
  register: boolean,
  reg: number,
): readonly Candidate[] {
  const candidates: Candidate[] = [];
  for (const encoding of entry.encodings) {
    const { only } = encoding.row;
    if (mode === 64 ? only === 'i64' : only === 'o64') continue;
    if (((encoding.prefixes >> prefix) & 1) === 0) continue;
    if (encoding.modrm && ((encoding.mods >> (register ? 1 : 0)) & (encoding.regs >> reg) & 1) === 0) continue;
    candidates.push(compile(encoding, mode));
  }
  entry.buckets[bucketIndex(mode, prefix, register, reg)] = candidates;
  return candidates;
}

function compile(encoding: Encoding, mode: CodeMode): Candidate {
  const { row } = encoding;
  const operands = row.operands.map(parseOperand);
  const methods = operands.map((operand) => operand.method);
  return {
    row,
    operands,
    rms: encoding.rms,
    ws: mode !== 64 && (encoding.ws & W_FREE_32) !== 0 ? 3 : encoding.ws & 3,
    ls: encoding.ls,
    rexB0: encoding.rexB0,
    consumes66: encoding.consumes66,
    vvvvUnused: encoding.vex && !methods.some((method) => method === METHOD.vvvv || method === METHOD.vectorVvvv),
    ignoresMod: methods.some((method) => method === METHOD.control || method === METHOD.debug),
    gather: methods.includes(METHOD.vsib),
    loadsSegment: methods[0] === METHOD.segment,
    stringOperation: row.repeats === true,
    lockable: row.lock === true,
  };
}
