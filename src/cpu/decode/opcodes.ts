/** All opcode rows, in matching order. Adding an instruction means adding a line to one of the tables joined here. */
import { parseOpcodeTable } from './opcode-notation.ts';
import { ONE_BYTE_OPCODES } from './opcodes-one-byte.ts';
import { SSE_OPCODES } from './opcodes-sse.ts';
import { TWO_BYTE_OPCODES } from './opcodes-two-byte.ts';
import { VEX_OPCODES } from './opcodes-vex.ts';
import { X87_OPCODES } from './opcodes-x87.ts';
import type { OpcodeRow } from './types.ts';

let rows: readonly OpcodeRow[] | undefined;

/** Every row of every map. Parsed on first use, then shared: rows are compared by identity. */
export function opcodeRows(): readonly OpcodeRow[] {
  rows ??= [ONE_BYTE_OPCODES, TWO_BYTE_OPCODES, X87_OPCODES, SSE_OPCODES, VEX_OPCODES].flatMap(parseOpcodeTable);
  return rows;
}

/** Every CPUID feature name the rows use (Linux's names from /proc/cpuinfo, with "sse3" for pni and "lzcnt" for abm). */
export function decoderFeatures(): ReadonlySet<string> {
  const names = new Set<string>();
  for (const row of opcodeRows()) for (const name of row.feature?.split('+') ?? []) names.add(name);
  return names;
}
