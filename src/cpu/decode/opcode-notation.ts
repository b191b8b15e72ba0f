/**
 * Reads the opcode tables: one line a row, `opcode | mnemonic | operands | attributes`, in the notation of the SDM
 * (vol. 2, 3.1.1.1 and 3.1.1.2) with these additions:
 * - `70+cc`   sixteen rows, one a condition code;
 * - `E8+i`    a ModRM byte whose r/m field is free (the SDM writes D8 C0+i for x87 only);
 * - `NFx`     neither F2 nor F3 (66 is an operand-size prefix); a row without any of NP, NFx, 66, F2, F3 ignores them;
 * - `mem`, `reg`  the ModRM form where no operand tells it; `REX.B0` = REX.B must be clear.
 *
 * Attributes: `lock`, `cpl0`, `ends`, `rep`, `d64`, `f64`, `i64`, `o64` as in {@link OpcodeRow}; flags as `r=` read,
 * `w=` written, `u=` undefined, `m=` kept for some operands, each a string of o s z a p c d i t.
 * A line `@feature` sets the CPUID feature of the rows after it (`@` alone: none); `@avx/avx2` names one for VEX.128
 * and another for VEX.256, splitting a row that serves both lengths.
 */
import { FLAG, type FlagSet, type OpcodeRow } from './types.ts';

/** Mandatory prefix in effect: the bit numbers of {@link Encoding.prefixes}. */
export const PREFIX = { none: 0, p66: 1, pf3: 2, pf2: 3 } as const;

/** The opcode column, parsed: which bytes select the row. All fields ending in `s` are bit sets of accepted values. */
export interface Encoding {
  readonly row: OpcodeRow;
  readonly vex: boolean;
  /** 0 one-byte, 1 0F, 2 0F 38, 3 0F 3A. */
  readonly map: number;
  /** First opcode byte and how many consecutive ones the row covers (1 or 8). */
  readonly opcode: number;
  readonly count: number;
  readonly prefixes: number;
  /** The 66 prefix selects the row, so it is not an operand-size prefix. */
  readonly consumes66: boolean;
  readonly modrm: boolean;
  /** Bit 0 memory forms, bit 1 register forms. */
  readonly mods: number;
  readonly regs: number;
  readonly rms: number;
  readonly ws: number;
  readonly ls: number;
  readonly rexB0: boolean;
}

const FLAG_LETTERS: Readonly<Record<string, number>> = {
  o: FLAG.of,
  s: FLAG.sf,
  z: FLAG.zf,
  a: FLAG.af,
  p: FLAG.pf,
  c: FLAG.cf,
  d: FLAG.df,
  i: FLAG.if,
  t: FLAG.tf,
};

/** Flags read by condition codes 0..7 and, inverted, their odd partners (SDM vol. 1, appendix B). */
const CONDITION_FLAGS: readonly FlagSet[] = ['o', 'c', 'z', 'cz', 's', 'p', 'so', 'zso'].map(flagSet);

function flagSet(letters: string): FlagSet {
  let set = 0;
  for (const letter of letters) {
    const bit = FLAG_LETTERS[letter];
    if (bit === undefined) throw new Error(`opcode table: unknown flag letter "${letter}"`);
    set |= bit;
  }
  return set;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const FLAG_COLUMNS = { r: 'reads', w: 'writes', u: 'undefined', m: 'maybe' } as const;

function applyAttribute(row: Mutable<OpcodeRow>, attribute: string): void {
  if (attribute.charAt(1) === '=') {
    const column = FLAG_COLUMNS[attribute.charAt(0) as keyof typeof FLAG_COLUMNS];
    if (column === undefined) throw new Error(`opcode table: unknown attribute "${attribute}"`);
    row[column] = flagSet(attribute.slice(2));
    return;
  }
  switch (attribute) {
    case 'lock':
    case 'cpl0':
    case 'ends':
      row[attribute] = true;
      return;
    case 'rep':
      row.repeats = true;
      return;
    case 'd64':
    case 'f64':
      row.size = attribute;
      return;
    case 'i64':
    case 'o64':
      row.only = attribute;
      return;
    default:
      throw new Error(`opcode table: unknown attribute "${attribute}" in "${row.opcode} ${row.mnemonic}"`);
  }
}

/** Table text -> rows, in order (an earlier row wins over a later one that also matches). */
export function parseOpcodeTable(text: string): OpcodeRow[] {
  const rows: OpcodeRow[] = [];
  let feature = '';
  for (const line of text.split('\n')) {
    const trimmed = line.trim();
    if (trimmed === '') continue;
    if (trimmed.startsWith('@')) {
      feature = trimmed.slice(1);
      continue;
    }
    const [opcode = '', mnemonic = '', operands = '', attributes = ''] = trimmed.split('|');
    const row: Mutable<OpcodeRow> = {
      opcode: opcode.trim(),
      mnemonic: mnemonic.trim(),
      operands: operands.trim() === '' ? [] : operands.trim().split(','),
    };
    if (attributes !== '') for (const attribute of attributes.trim().split(' ')) applyAttribute(row, attribute);
    addRow(rows, row, feature);
  }
  return rows;
}

function addRow(rows: OpcodeRow[], row: Mutable<OpcodeRow>, feature: string): void {
  const slash = feature.indexOf('/');
  if (slash >= 0) {
    const [short, long] = [feature.slice(0, slash), feature.slice(slash + 1)];
    if (row.opcode.startsWith('VEX.256.')) rows.push({ ...row, feature: long });
    else if (/^VEX\.(128|LZ|L0|LIG)\./.test(row.opcode)) rows.push({ ...row, feature: short });
    else {
      rows.push({ ...row, opcode: row.opcode.replace('VEX.', 'VEX.128.'), feature: short });
      rows.push({ ...row, opcode: row.opcode.replace('VEX.', 'VEX.256.'), feature: long });
    }
    return;
  }
  if (feature !== '') row.feature = feature;
  const conditional = row.opcode.indexOf('+cc');
  if (conditional < 0) {
    rows.push(row);
    return;
  }
  const base = Number.parseInt(row.opcode.slice(conditional - 2, conditional), 16);
  for (let condition = 0; condition < 16; condition++) {
    const opcode = row.opcode.slice(0, conditional - 2) + hexByte(base + condition) + row.opcode.slice(conditional + 3);
    rows.push({ ...row, opcode, condition, reads: CONDITION_FLAGS[condition >> 1]! });
  }
}

/** Upper-case two-digit hexadecimal, as opcodes are written. */
export function hexByte(value: number): string {
  return value.toString(16).toUpperCase().padStart(2, '0');
}

const NONE = 1 << PREFIX.none;
const P66 = 1 << PREFIX.p66;
const PF3 = 1 << PREFIX.pf3;
const PF2 = 1 << PREFIX.pf2;
const PREFIX_SETS: Readonly<Record<string, number>> = { NP: NONE, '66': P66, F3: PF3, F2: PF2, NFx: NONE | P66 };
const VEX_MAPS: Readonly<Record<string, number>> = { '0F': 1, '0F38': 2, '0F3A': 3 };

/** The opcode column of a row -> what selects it. Throws on notation it does not know: the tables are our own. */
export function parseEncoding(row: OpcodeRow): Encoding {
  const encoding: Mutable<Encoding> = {
    row,
    vex: false,
    map: 0,
    opcode: -1,
    count: 1,
    prefixes: NONE | P66 | PF3 | PF2,
    consumes66: false,
    modrm: false,
    mods: 3,
    regs: 0xff,
    rms: 0xff,
    ws: 3,
    ls: 3,
    rexB0: false,
  };
  for (const token of row.opcode.split(' ')) applyToken(encoding, token);
  for (const code of row.operands) {
    const first = code.charAt(0);
    if (code.startsWith('VM') || first === 'M') encoding.mods &= 1;
    else if ((first === 'R' && !code.includes('M')) || first === 'U' || first === 'N') encoding.mods &= 2;
  }
  // MOV to and from control and debug registers ignores the mod field (SDM vol. 2, "MOV-Move to/from Control Registers").
  if (row.mnemonic === 'mov_cr' || row.mnemonic === 'mov_dr') encoding.mods = 3;
  // Outside 64-bit mode VEX.W does not choose a general register's width, so the W0 form takes both values.
  if (encoding.vex && encoding.ws === 1 && row.operands.some((code) => /^[EGRB]/.test(code)))
    encoding.ws = 1 | W_FREE_32;
  return encoding;
}

/** In {@link Encoding.ws}: W is ignored outside 64-bit mode. */
export const W_FREE_32 = 4;

function applyToken(encoding: Mutable<Encoding>, token: string): void {
  if (encoding.opcode < 0) {
    const prefixes = PREFIX_SETS[token];
    if (prefixes !== undefined && !encoding.vex && encoding.map === 0) {
      encoding.prefixes = prefixes;
      encoding.consumes66 = prefixes === P66;
      return;
    }
    if (token.startsWith('VEX.')) {
      applyVex(encoding, token);
      return;
    }
    if (token === 'REX.W') {
      encoding.ws = 2;
      return;
    }
    if (token === '0F' && encoding.map === 0) {
      encoding.map = 1;
      return;
    }
    if (encoding.map === 1 && !encoding.vex && (token === '38' || token === '3A')) {
      encoding.map = token === '38' ? 2 : 3;
      return;
    }
    encoding.opcode = Number.parseInt(token.slice(0, 2), 16);
    if (token.endsWith('+r')) encoding.count = 8;
    return;
  }
  if (token === 'mem' || token === 'reg') {
    encoding.modrm = true;
    encoding.mods &= token === 'mem' ? 1 : 2;
  } else if (token === 'REX.B0') {
    encoding.rexB0 = true;
  } else if (token.charAt(0) === '/') {
    encoding.modrm = true;
    if (token !== '/r') encoding.regs = 1 << Number(token.charAt(1));
  } else {
    const modrm = Number.parseInt(token.slice(0, 2), 16);
    encoding.modrm = true;
    encoding.mods = 2;
    encoding.regs = 1 << ((modrm >> 3) & 7);
    if (!token.endsWith('+i')) encoding.rms = 1 << (modrm & 7);
  }
}

type VexPart = Pick<Encoding, 'map' | 'prefixes' | 'ls' | 'ws'>;

const vexTokens = new Map<string, VexPart>();

function applyVex(encoding: Mutable<Encoding>, token: string): void {
  let part = vexTokens.get(token);
  if (part === undefined) {
    part = parseVex(token);
    vexTokens.set(token, part);
  }
  encoding.vex = true;
  encoding.map = part.map;
  encoding.prefixes = part.prefixes;
  encoding.ls = part.ls;
  encoding.ws = part.ws;
}

function parseVex(token: string): VexPart {
  const vex: Mutable<VexPart> = { map: 0, prefixes: 0, ls: 3, ws: 3 };
  for (const part of token.split('.')) {
    const prefixes = PREFIX_SETS[part];
    const map = VEX_MAPS[part];
    if (prefixes !== undefined) vex.prefixes = prefixes;
    else if (map !== undefined) vex.map = map;
    else if (part === '128' || part === 'LZ' || part === 'L0') vex.ls = 1;
    else if (part === '256' || part === 'L1') vex.ls = 2;
    else if (part === 'W0') vex.ws = 1;
    else if (part === 'W1') vex.ws = 2;
    else if (part !== 'VEX' && part !== 'WIG' && part !== 'LIG') throw new Error(`opcode table: unknown "${token}"`);
  }
  return vex;
}
