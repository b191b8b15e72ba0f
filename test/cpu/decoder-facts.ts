/** What rows say about an instruction besides its encoding, compared with iced-x86's facts about the same instruction. */
import { FlowControl, type Instruction, RflagsBits } from 'iced-x86';
import { type DecodedInstruction, FLAG } from '../../src/cpu/decode/types.ts';

const FLAGS: readonly (readonly [letter: string, ours: number, theirs: number])[] = [
  ['o', FLAG.of, RflagsBits.OF],
  ['s', FLAG.sf, RflagsBits.SF],
  ['z', FLAG.zf, RflagsBits.ZF],
  ['a', FLAG.af, RflagsBits.AF],
  ['p', FLAG.pf, RflagsBits.PF],
  ['c', FLAG.cf, RflagsBits.CF],
  ['d', FLAG.df, RflagsBits.DF],
  ['i', FLAG.if, RflagsBits.IF],
];

function ourLetters(set: number): string {
  return FLAGS.filter(([, ours]) => (set & ours) !== 0)
    .map(([letter]) => letter)
    .join('');
}

function theirLetters(set: number): string {
  return FLAGS.filter(([, , theirs]) => (set & theirs) !== 0)
    .map(([letter]) => letter)
    .join('');
}

/** False for an instance whose flags depend on its operands in a way the row cannot say (shift by an immediate 0 or 1). */
export function showsAllFlags(instruction: DecodedInstruction): boolean {
  if (instruction.row.maybe === undefined) return true;
  if (instruction.row.repeats === true) return instruction.rep !== 'none';
  const last = instruction.operands.at(-1);
  return last?.kind !== 'imm' || ((last.lo & 31) > 1 && (last.lo & 31) < 8);
}

/** A line for each fact that differs: flags read, written and undefined, privilege, LOCK, flow of control. */
export function compareFacts(ours: DecodedInstruction, theirs: Instruction): string[] {
  const { row } = ours;
  const differences: string[] = [];
  const check = (what: string, mine: string | boolean, other: string | boolean) => {
    if (mine !== other) differences.push(`${what}: ours ${mine}, iced ${other}`);
  };
  const undefinedFlags = row.undefined ?? 0;
  check('flags read', ourLetters(row.reads ?? 0), theirLetters(theirs.rflagsRead));
  check(
    'flags written',
    ourLetters((row.writes ?? 0) & ~undefinedFlags),
    theirLetters(theirs.rflagsModified & ~theirs.rflagsUndefined),
  );
  check('flags undefined', ourLetters(undefinedFlags), theirLetters(theirs.rflagsUndefined));
  // iced also calls privileged what IOPL and the I/O permission map guard.
  if (!IOPL_SENSITIVE.has(row.mnemonic)) check('privileged', row.cpl0 === true, theirs.isPrivileged);
  const { opCode } = theirs;
  check('lock', row.lock === true, opCode.canUseLockPrefix);
  opCode.free();
  if (theirs.flowControl !== FlowControl.Next) check('ends', row.ends === true, true);
  return differences;
}

const IOPL_SENSITIVE: ReadonlySet<string> = new Set(['in', 'out', 'ins', 'outs', 'cli', 'sti']);
