/**
 * What the manual leaves open, and so is not compared: flags and results "undefined" (SDM vol. 2, the instruction's
 * reference page), approximations, and fields that CPU vendors fill differently. One entry a rule, with its source.
 */
import { FLAG, type OpcodeRow } from '../../src/cpu/decode/types.ts';
import { type Form, operandSizeOf } from './forms.ts';
import type { CpuCase } from './types.ts';

const { cf, pf, af, zf, sf, of } = FLAG;
const ALL = cf | pf | af | zf | sf | of;

interface FlagRule {
  readonly mnemonics: readonly string[];
  /** Instruction reference in SDM vol. 2, "Flags Affected". */
  readonly source: string;
  readonly flags: (count: number, bits: number) => number;
}

const FLAG_RULES: readonly FlagRule[] = [
  {
    mnemonics: ['and', 'or', 'xor', 'test'],
    source: 'AND, OR, XOR, TEST: "The state of the AF flag is undefined."',
    flags: () => af,
  },
  {
    mnemonics: ['shl', 'shr'],
    source:
      'SAL/SAR/SHL/SHR: CF undefined where the count reaches the operand size, OF but for 1-bit shifts, AF; count 0: none',
    flags: (count, bits) => (count === 0 ? 0 : af | (count === 1 ? 0 : of) | (count >= bits ? cf : 0)),
  },
  {
    mnemonics: ['sar'],
    source: 'SAL/SAR/SHL/SHR: OF undefined but for 1-bit shifts, AF; count 0: none',
    flags: (count) => (count === 0 ? 0 : af | (count === 1 ? 0 : of)),
  },
  {
    mnemonics: ['rol', 'ror', 'rcl', 'rcr'],
    source: 'RCL/RCR/ROL/ROR: "the OF flag is undefined for multi-bit rotates"',
    flags: (count) => (count <= 1 ? 0 : of),
  },
  {
    mnemonics: ['shld', 'shrd'],
    source: 'SHLD, SHRD: OF undefined but for 1-bit shifts, AF; all flags when the count exceeds the operand size',
    flags: (count, bits) => (count === 0 ? 0 : count > bits ? ALL : af | (count === 1 ? 0 : of)),
  },
  { mnemonics: ['mul', 'imul'], source: 'MUL, IMUL: SF, ZF, AF, PF undefined', flags: () => sf | zf | af | pf },
  { mnemonics: ['div', 'idiv'], source: 'DIV, IDIV: all six undefined', flags: () => ALL },
  {
    mnemonics: ['bt', 'bts', 'btr', 'btc'],
    source: 'BT, BTS, BTR, BTC: OF, SF, AF, PF undefined',
    flags: () => of | sf | af | pf,
  },
  { mnemonics: ['bsf', 'bsr'], source: 'BSF, BSR: CF, OF, SF, AF, PF undefined', flags: () => ALL & ~zf },
  { mnemonics: ['tzcnt', 'lzcnt'], source: 'TZCNT, LZCNT: OF, SF, PF, AF undefined', flags: () => of | sf | pf | af },
  { mnemonics: ['andn'], source: 'ANDN: AF, PF undefined', flags: () => af | pf },
  { mnemonics: ['bextr'], source: 'BEXTR: AF, SF, PF undefined', flags: () => af | sf | pf },
  {
    mnemonics: ['blsi', 'blsr', 'blsmsk', 'bzhi'],
    source: 'BLSI, BLSMSK, BLSR, BZHI: AF, PF undefined',
    flags: () => af | pf,
  },
  { mnemonics: ['mov_cr', 'mov_dr'], source: 'MOV to/from control and debug registers: all six', flags: () => ALL },
  { mnemonics: ['aaa', 'aas'], source: 'AAA, AAS: OF, SF, ZF, PF undefined', flags: () => of | sf | zf | pf },
  { mnemonics: ['daa', 'das'], source: 'DAA, DAS: OF undefined', flags: () => of },
  { mnemonics: ['aam', 'aad'], source: 'AAM, AAD: OF, AF, CF undefined', flags: () => of | af | cf },
];

const FLAGS_OF = new Map<string, FlagRule>();
for (const rule of FLAG_RULES) for (const mnemonic of rule.mnemonics) FLAGS_OF.set(mnemonic, rule);

/** Mnemonics whose entry here says that flags may be undefined. */
export function hasUndefinedFlags(mnemonic: string): boolean {
  return FLAGS_OF.has(mnemonic);
}

/** Random numbers may run out on the host (SDM vol. 1, 7.3.17): CF tells, and is not compared. */
const RUNS_OUT = /^rd(rand|seed)$/;

/** Flags that have no defined value after this case ran to its end. */
function undefinedFlags(form: Form, test: CpuCase): number {
  // With an unmasked #IA the SDM (FCOMI) leaves the flags as they were, AMD sets them.
  if (/^fu?comip?$/.test(form.row.mnemonic) && test.fx !== undefined && (test.fx[0]! & 1) === 0) return ALL;
  if (RUNS_OUT.test(form.row.mnemonic)) return cf;
  const rule = FLAGS_OF.get(form.row.mnemonic);
  if (rule === undefined) return 0;
  const bits = operandBits(form);
  return rule.flags(shiftCount(form, test, bits), bits);
}

function operandBits(form: Form): number {
  return form.row.operands[0]?.endsWith('b') ? 8 : operandSizeOf(form) * 8;
}

/** The count after masking (5 bits, 6 for 64-bit operands). */
function shiftCount(form: Form, test: CpuCase, bits: number): number {
  const mask = bits === 64 ? 63 : 31;
  const { operands } = form.row;
  if (operands.includes('CL')) return Number(test.gpr[1]! & BigInt(mask));
  if (operands.includes('Ib')) return test.code[test.code.length - 1]! & mask;
  return 1;
}

/**
 * The destination is undefined: SHLD and SHRD with a count above the operand size, BSWAP of a 16-bit register
 * (SDM vol. 2, SHLD "If the count is greater than the operand size", BSWAP "the result is undefined").
 */
function undefinedResult(form: Form, test: CpuCase): boolean {
  const { mnemonic } = form.row;
  if (mnemonic === 'bswap') return operandSizeOf(form) === 2;
  if (mnemonic !== 'shld' && mnemonic !== 'shrd') return false;
  const bits = operandBits(form);
  return shiftCount(form, test, bits) > bits;
}

/** RCP and RSQRT: relative error up to 1.5 * 2^-12 of each (SDM vol. 2, RCPPS); so two results differ by twice that. */
const APPROXIMATE = /^v?(rcp|rsqrt)[ps]s$/;
export const APPROXIMATE_ERROR = 3 * 2 ** -12;
/**
 * Reciprocals that an implementation may take for tiny and flush to 0: of inputs between 1.1111111111010b * 2^125 and
 * 1.00000000000110...1b * 2^126 (SDM vol. 2, RCPPS).
 */
export const FLUSHED_RECIPROCAL = 2 ** -126 * (1 + APPROXIMATE_ERROR);

/** x87 functions with an error below 1 ulp (SDM vol. 1, 8.3.10): the results of two CPUs are neighbours of the true value; C1 differs freely. */
const TRANSCENDENTAL = /^(f2xm1|fyl2x|fyl2xp1|fptan|fpatan|fsin|fcos|fsincos)$/;
export const TRANSCENDENTAL_ULPS = 1n;

/**
 * Bytes of the x87 part of an FXSAVE image that are compared: FOP, FIP, FDP and the selectors are not, since vendors
 * differ in when they update them (SDM vol. 1, 8.1.8, 8.1.9.1; AMD APM vol. 2, 11.4.4).
 */
export const FX_COMPARED = (() => {
  const compared = new Uint8Array(160).fill(1);
  compared.fill(0, 5, 32);
  return compared;
})();

const AMD_MARKS_FIRST = /^(maskmovq|cvtt?p[sd]2pi|cvtpi2p[sd])$/;
const PAGE_ONLY = /^(v?maskmov(q|dqu)|ret_far|iret|call_far|jmp_far|l[defgs]s)$/;
const LARGE_AREA = /^(xsave\w*|xrstors?|fxsave|fxrstor|fnsave|frstor|fnstenv|fldenv)$/;

/**
 * Runs with RFLAGS.AC set are made of these only: for the others it is open whether, in which order or to what they check
 * alignment (SDM vol. 1, 14.9; vol. 2, FXSAVE; vol. 3, 6.15), or they make several accesses of several widths.
 */
export const checksAlignment = ({ row }: Form): boolean => !NO_ALIGNMENT.test(row.mnemonic);
const NO_ALIGNMENT =
  /^(x(save|rstor)\w*|f\w*(save|rstor|env)|fbstp|enter|pop_seg|call|ret_far|iret|call_far|jmp_far|l[defgs]s|v?p?gather\w*|v?maskmov(q|dqu))$/;

/** Low bits of CR2 that are open where an instruction makes several accesses. */
export const openCr2Bits = (mnemonic: string): bigint =>
  LARGE_AREA.test(mnemonic) ? 64n : PAGE_ONLY.test(mnemonic) ? 12n : 0n;

/** What is left out of comparing a row, in words: for docs/isa.md. */
export function openResults(row: OpcodeRow): readonly string[] {
  const { mnemonic } = row;
  const texts: string[] = [];
  const say = (condition: boolean, text: string) => condition && texts.push(text);
  const rule = FLAGS_OF.get(mnemonic);
  if (rule !== undefined) texts.push(`Undefined flags are not compared. ${rule.source}.`);
  say(mnemonic === 'bswap', 'BSWAP of a 16-bit register: undefined result (SDM vol. 2), not compared.');
  say(/^sh[lr]d$/.test(mnemonic), 'A count above the operand size: undefined result (SDM vol. 2), not compared.');
  say(
    APPROXIMATE.test(mnemonic),
    'An approximation (SDM vol. 2, RCPPS): compared within 3 * 2^-12; reciprocals next to 2^-126 may be flushed to 0.',
  );
  say(
    TRANSCENDENTAL.test(mnemonic),
    'Compared within 1 ulp; C1, which tells of rounding up, is not compared (SDM vol. 1, 8.3.10).',
  );
  say(
    /^fu?comip?$/.test(mnemonic),
    'With an unmasked #IA the SDM leaves the flags as they were, AMD sets them: not compared.',
  );
  say(RUNS_OUT.test(mnemonic), 'Random: the number and CF are not compared, the width and the other flags are.');
  say(
    /^(rdtscp?|cpuid|xgetbv|rdpid)$/.test(mnemonic),
    'Names the host or the moment: the low 32 bits of the results are not compared, the rest and the faults are.',
  );
  say(
    /^(f\w*save|f\w*env|fxrstor|frstor|xsave\w*|xrstors?)$/.test(mnemonic),
    'FIP, FDP, FOP and their selectors are not compared: vendors differ in when they are set (SDM vol. 1, 8.1.8).',
  );
  say(
    LARGE_AREA.test(mnemonic) || PAGE_ONLY.test(mnemonic),
    'CR2 is not compared, or only its page: the order of the accesses is given by no manual.',
  );
  say(
    AMD_MARKS_FIRST.test(mnemonic),
    'x87 state is not compared after a fault: AMD marks the MMX registers as used before it.',
  );
  say(/mxcsr$|^f?xrstor$/.test(mnemonic), 'Bit 17 of MXCSR is kept 0: misaligned SSE on AMD, reserved in the SDM.');
  say(
    row.size === 'f64',
    '64-bit code, 66 prefix: AMD truncates RIP, Intel ignores the prefix and so does this CPU. Not compared.',
  );
  say(mnemonic === 'movsxd', '66 prefix: reads 16 bits on Intel, 32 on AMD. Not compared.');
  say(/^(jmp_far|call_far|l[sfg]s)$/.test(mnemonic), 'REX.W: a 64-bit offset on Intel, none on AMD. Not compared.');
  return texts;
}

type ByteRange = readonly [from: number, to: number];

interface StoredImage {
  readonly mnemonics: readonly string[];
  readonly skipped: readonly ByteRange[];
}

/** Byte ranges of images in memory that are not compared, from the operand's address. */
const STORED_IMAGES: readonly StoredImage[] = [
  // The same of XSAVE, whose legacy region ends with bytes that it does not write.
  {
    mnemonics: ['xsave', 'xsaveopt', 'xsavec'],
    skipped: [
      [5, 24],
      [28, 32],
    ],
  },
  // FOP, FIP, FDP; MXCSR_MASK; the reserved and available bytes (SDM vol. 1, table 10-2).
  {
    mnemonics: ['fxsave'],
    skipped: [
      [5, 24],
      [28, 32],
      [416, 512],
    ],
  },
  // FIP, FCS, FOP, FDP, FDS in the 32-bit and 16-bit formats (SDM vol. 1, figures 8-9 and 8-11), and reserved words.
  {
    mnemonics: ['fnstenv', 'fnsave'],
    skipped: [
      [2, 4],
      [6, 28],
    ],
  },
];

/** Registers that name the host or the moment: by number, with the bits that are not compared. */
type LooseRegisters = Readonly<Record<number, bigint>>;

const LOW = 0xffff_ffffn;
const ALL_BITS = 0xffff_ffff_ffff_ffffn;

/**
 * Time-stamp counters, CPUID, XCR0, the processor's number and random numbers: what is compared is which registers are
 * written, to what width, the flags and the faults.
 */
function looseRegisters(form: Form, rm: number): LooseRegisters {
  switch (form.row.mnemonic) {
    case 'rdtsc':
    case 'xgetbv':
      return { 0: LOW, 2: LOW };
    case 'rdtscp':
      return { 0: LOW, 1: LOW, 2: LOW };
    case 'cpuid':
      return { 0: LOW, 1: LOW, 2: LOW, 3: LOW };
    case 'rdpid':
      return { [rm]: LOW };
    case 'rdrand':
    case 'rdseed': {
      const bits = 8 * operandSizeOf(form);
      return { [rm]: bits === 64 ? ALL_BITS : (1n << BigInt(bits)) - 1n };
    }
    default:
      return NOTHING;
  }
}
const NOTHING: LooseRegisters = {};

/** What of a case's result is not compared. */
export interface Masks {
  /** Flags without a defined value when the instruction ran to its end. */
  readonly flags: number;
  /** Flags without a defined value when a fault ended the case: what earlier instructions of a sequence left. */
  readonly flagsAfterFault: number;
  /** Registers and memory are undefined when it did. */
  readonly result: boolean;
  /** Bits of registers that are not compared when it did. */
  readonly registers: LooseRegisters;
  readonly approximate: boolean;
  readonly transcendental: boolean;
  /** Low bits of CR2 that are not compared: areas of many bytes are probed in an order that no manual gives. */
  readonly cr2Bits: bigint;
  /** Is x87 state left out after a fault? AMD marks the MMX registers as used before the access or #XM that faults. */
  readonly x87AfterFault: boolean;
  /** Bytes of the memory operand at `target` that are left out. */
  readonly target: bigint;
  readonly skipped: readonly ByteRange[];
}

export const NO_MASKS: Masks = {
  flags: 0,
  flagsAfterFault: 0,
  result: false,
  registers: NOTHING,
  approximate: false,
  transcendental: false,
  cr2Bits: 0n,
  x87AfterFault: false,
  target: 0n,
  skipped: [],
};

/** `target`: linear address of the memory operand; `rm`: register in ModRM.rm. */
export function masksOf(form: Form, test: CpuCase, target: bigint, rm: number): Masks {
  const { mnemonic } = form.row;
  return {
    flags: undefinedFlags(form, test),
    flagsAfterFault: 0,
    result: undefinedResult(form, test),
    registers: looseRegisters(form, rm),
    approximate: APPROXIMATE.test(mnemonic),
    transcendental: TRANSCENDENTAL.test(mnemonic),
    cr2Bits: openCr2Bits(mnemonic),
    x87AfterFault: AMD_MARKS_FIRST.test(mnemonic),
    target,
    skipped: STORED_IMAGES.find((image) => image.mnemonics.includes(mnemonic))?.skipped ?? [],
  };
}
