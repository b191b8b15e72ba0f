import type { DecodedInstruction, MemOperand, Operand } from '../decode/types.ts';
import { SEGMENT } from '../decode/types.ts';

/**
 * A form is all that makes the code of a handler: mnemonic, widths, operand kinds, addressing class. Two instructions of
 * one form differ only in what their records hold (registers, immediates, displacements).
 */

/** Two-operand integer instructions whose second operand may be a register or an immediate to the same handler. */
const IMMEDIATE_AS_REGISTER = new Set(['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp', 'test', 'mov']);

/** The memory operand that the record's address fields describe: with two (MOVS, CMPS) the one that can be overridden. */
export function recordMemory(d: DecodedInstruction): MemOperand | undefined {
  let found: MemOperand | undefined;
  for (const o of d.operands) {
    if (o.kind === 'mem' && (found === undefined || o.base === 6)) found = o;
  }
  return found;
}
/** Is operand i reached through (E)DI in ES, beside another memory operand (string instructions)? */
export const isStringDestination = (d: DecodedInstruction, o: MemOperand): boolean => o !== recordMemory(d);

export const addsSegment = (d: DecodedInstruction, m: MemOperand): boolean =>
  d.mode !== 64 || m.segment === SEGMENT.fs || m.segment === SEGMENT.gs;

function operandKey(d: DecodedInstruction, o: Operand, i: number): string {
  switch (o.kind) {
    case 'gpr':
      return `r${o.width}`;
    case 'imm':
      return i === 1 && d.operands[0]!.kind === 'gpr' && IMMEDIATE_AS_REGISTER.has(d.row.mnemonic)
        ? `r${o.width}`
        : `i${o.width}`;
    case 'mem':
      return `m${o.width}${o.addressSize === 8 ? '' : `a${o.addressSize}`}${o.index >= 0 ? 'x' : ''}${addsSegment(d, o) ? 's' : ''}`;
    case 'rel':
    case 'far':
      return o.kind;
    default:
      return `${o.kind}${o.width}`;
  }
}

/** The identity of a form. */
export function formKey(d: DecodedInstruction, stackSize: number): string {
  let key = `${d.row.mnemonic} ${d.mode}.${d.operandSize}${d.addressSize}${stackSize}`;
  for (let i = 0; i < d.operands.length; i++) key += ` ${operandKey(d, d.operands[i]!, i)}`;
  if (d.row.condition !== undefined) key += ` c${d.row.condition}`;
  if (d.rep !== 'none') key += ` ${d.rep}`;
  if (d.vex) key += ` v${d.vex.l}${d.vex.w}`;
  else if (d.rexW) key += ' w';
  return d.row.cpl0 ? `${key} 0` : key;
}
