/**
 * A WebAssembly module as text (core specification 2.0, chapters 5 and 6.5, flat form): the sections that the emulator's own
 * modules have, one instruction a line.
 */

const INTEGER_COMPARE = 'eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u';
const INTEGER = 'clz ctz popcnt add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr';
const FLOAT_COMPARE = 'eq ne lt gt le ge';
const FLOAT = 'abs neg ceil floor trunc nearest sqrt add sub mul div min max copysign';
const named = (prefix: string, names: string): string[] => names.split(' ').map((name) => `${prefix}.${name}`);
const list = (names: string): string[] => names.split(' ');

/** Names from an opcode on. */
const ONE_BYTE = new Map<number, string>();
const define = (from: number, names: readonly string[]): void =>
  names.forEach((name, n) => {
    ONE_BYTE.set(from + n, name);
  });
define(0x28, list('i32.load i64.load f32.load f64.load i32.load8_s i32.load8_u i32.load16_s i32.load16_u'));
define(0x30, list('i64.load8_s i64.load8_u i64.load16_s i64.load16_u i64.load32_s i64.load32_u'));
define(0x36, list('i32.store i64.store f32.store f64.store i32.store8 i32.store16 i64.store8 i64.store16 i64.store32'));
define(0x45, named('i32', `eqz ${INTEGER_COMPARE}`));
define(0x50, named('i64', `eqz ${INTEGER_COMPARE}`));
define(0x5b, [...named('f32', FLOAT_COMPARE), ...named('f64', FLOAT_COMPARE)]);
define(0x67, [...named('i32', INTEGER), ...named('i64', INTEGER), ...named('f32', FLOAT), ...named('f64', FLOAT)]);
define(0xa7, list('i32.wrap_i64 i32.trunc_f32_s i32.trunc_f32_u i32.trunc_f64_s i32.trunc_f64_u i64.extend_i32_s'));
define(0xad, list('i64.extend_i32_u i64.trunc_f32_s i64.trunc_f32_u i64.trunc_f64_s i64.trunc_f64_u'));
define(0xb2, list('f32.convert_i32_s f32.convert_i32_u f32.convert_i64_s f32.convert_i64_u f32.demote_f64'));
define(0xb7, list('f64.convert_i32_s f64.convert_i32_u f64.convert_i64_s f64.convert_i64_u f64.promote_f32'));
define(0xbc, list('i32.reinterpret_f32 i64.reinterpret_f64 f32.reinterpret_i32 f64.reinterpret_i64'));
define(0xc0, list('i32.extend8_s i32.extend16_s i64.extend8_s i64.extend16_s i64.extend32_s'));

const SIMD = new Map<number, string>();
const simd = (from: number, names: readonly string[]): void =>
  names.forEach((name, n) => {
    if (!name.endsWith('.-')) SIMD.set(from + n, name);
  });
const LOADS =
  'load load8x8_s load8x8_u load16x4_s load16x4_u load32x2_s load32x2_u load8_splat load16_splat load32_splat';
const SATURATING = 'add add_sat_s add_sat_u sub sub_sat_s sub_sat_u';
simd(0, named('v128', `${LOADS} load64_splat store const`));
simd(0x105, list('f32x4.relaxed_madd f32x4.relaxed_nmadd f64x2.relaxed_madd f64x2.relaxed_nmadd'));
simd(13, named('i8x16', 'shuffle swizzle'));
simd(15, list('i8x16.splat i16x8.splat i32x4.splat i64x2.splat f32x4.splat f64x2.splat'));
simd(21, named('i8x16', 'extract_lane_s extract_lane_u replace_lane'));
simd(24, named('i16x8', 'extract_lane_s extract_lane_u replace_lane'));
['i32x4', 'i64x2', 'f32x4', 'f64x2'].forEach((shape, n) => {
  simd(27 + 2 * n, named(shape, 'extract_lane replace_lane'));
});
['i8x16', 'i16x8', 'i32x4'].forEach((shape, n) => {
  simd(35 + 10 * n, named(shape, INTEGER_COMPARE));
});
simd(65, [...named('f32x4', FLOAT_COMPARE), ...named('f64x2', FLOAT_COMPARE)]);
simd(77, named('v128', 'not and andnot or xor bitselect any_true load8_lane load16_lane load32_lane load64_lane'));
simd(88, named('v128', 'store8_lane store16_lane store32_lane store64_lane load32_zero load64_zero'));
simd(94, list('f32x4.demote_f64x2_zero f64x2.promote_low_f32x4'));
simd(96, named('i8x16', 'abs neg popcnt all_true bitmask narrow_i16x8_s narrow_i16x8_u'));
simd(103, named('f32x4', 'ceil floor trunc nearest'));
simd(107, named('i8x16', `shl shr_s shr_u ${SATURATING}`));
simd(116, named('f64x2', 'ceil floor'));
simd(118, named('i8x16', 'min_s min_u max_s max_u'));
simd(122, ['f64x2.trunc', 'i8x16.avgr_u']);
simd(124, list('i16x8.extadd_pairwise_i8x16_s i16x8.extadd_pairwise_i8x16_u'));
simd(126, list('i32x4.extadd_pairwise_i16x8_s i32x4.extadd_pairwise_i16x8_u'));
const extend = (from: string): string =>
  `extend_low_${from}_s extend_high_${from}_s extend_low_${from}_u extend_high_${from}_u`;
const multiply = (from: string): string =>
  `extmul_low_${from}_s extmul_high_${from}_s extmul_low_${from}_u extmul_high_${from}_u`;
simd(128, named('i16x8', 'abs neg q15mulr_sat_s all_true bitmask narrow_i32x4_s narrow_i32x4_u'));
simd(135, named('i16x8', `${extend('i8x16')} shl shr_s shr_u ${SATURATING}`));
simd(148, ['f64x2.nearest']);
simd(149, named('i16x8', `mul min_s min_u max_s max_u - avgr_u ${multiply('i8x16')}`));
simd(160, named('i32x4', `abs neg - all_true bitmask - - ${extend('i16x8')} shl shr_s shr_u add - - sub - - -`));
simd(181, named('i32x4', `mul min_s min_u max_s max_u dot_i16x8_s - ${multiply('i16x8')}`));
simd(192, named('i64x2', `abs neg - all_true bitmask - - ${extend('i32x4')} shl shr_s shr_u add - - sub - - -`));
simd(213, named('i64x2', `mul eq ne lt_s gt_s le_s ge_s ${multiply('i32x4')}`));
simd(224, named('f32x4', 'abs neg - sqrt add sub mul div min max pmin pmax'));
simd(236, named('f64x2', 'abs neg - sqrt add sub mul div min max pmin pmax'));
simd(248, list('i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u f32x4.convert_i32x4_s f32x4.convert_i32x4_u'));
simd(252, list('i32x4.trunc_sat_f64x2_s_zero i32x4.trunc_sat_f64x2_u_zero'));
simd(254, list('f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u'));

const BULK = [
  ...list('i32.trunc_sat_f32_s i32.trunc_sat_f32_u i32.trunc_sat_f64_s i32.trunc_sat_f64_u'),
  ...list('i64.trunc_sat_f32_s i64.trunc_sat_f32_u i64.trunc_sat_f64_s i64.trunc_sat_f64_u'),
  ...list('memory.init data.drop memory.copy memory.fill'),
];
const VALUE_TYPES: Readonly<Record<number, string>> = {
  127: 'i32',
  126: 'i64',
  125: 'f32',
  124: 'f64',
  123: 'v128',
  112: 'funcref',
};

/** One function of a module. */
export interface WasmFunction {
  readonly name: string;
  /** Bytes of its body: local declarations and code. */
  readonly size: number;
  readonly text: string;
  /** The code from each note to the next, if there are notes. */
  readonly pieces: readonly WasmPiece[];
}
export interface WasmPiece {
  readonly note: string;
  readonly bytes: number;
  readonly lines: readonly string[];
}

class Reader {
  readonly #bytes: Uint8Array;
  at: number;
  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }
  get done(): boolean {
    return this.at >= this.#bytes.length;
  }
  byte(): number {
    return this.#bytes[this.at++]!;
  }
  u32(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  }
  signed(): bigint {
    let value = 0n;
    for (let shift = 0n; ; ) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      shift += 7n;
      if (byte < 0x80) return BigInt.asIntN(Number(shift), value);
    }
  }
  take(length: number): Uint8Array {
    this.at += length;
    return this.#bytes.subarray(this.at - length, this.at);
  }
  text(): string {
    return new TextDecoder().decode(this.take(this.u32()));
  }
  float(width: 4 | 8): number {
    const bytes = this.take(width);
    const view = new DataView(bytes.buffer, bytes.byteOffset, width);
    return width === 4 ? view.getFloat32(0, true) : view.getFloat64(0, true);
  }
}

interface Names {
  readonly functions: string[];
  readonly memories: string[];
}

/** What the code from an offset (after the local declarations) on is for. */
export interface WasmNote {
  readonly offset: number;
  readonly text: string;
}

/** The functions that a module defines; notes, by function name and in code order, become comments. */
export function disassembleWasm(
  module: Uint8Array,
  notes: ReadonlyMap<string, readonly WasmNote[]> = new Map(),
): WasmFunction[] {
  const r = new Reader(module, 8);
  const names: Names = { functions: [], memories: [] };
  const types: string[] = [];
  const functionTypes: number[] = [];
  const exported = new Map<number, string>();
  const bodies: Uint8Array[] = [];
  while (!r.done) {
    const id = r.byte();
    const end = r.u32() + r.at;
    if (id === 1) readTypes(r, types);
    else if (id === 2) readImports(r, names);
    else if (id === 3) for (let n = r.u32(); n > 0; n--) functionTypes.push(r.u32());
    else if (id === 7) readExports(r, exported);
    else if (id === 10) for (let n = r.u32(); n > 0; n--) bodies.push(r.take(r.u32()));
    r.at = end;
  }
  const imported = names.functions.length;
  functionTypes.forEach((_, n) => {
    names.functions.push(exported.get(imported + n) ?? `f${n}`);
  });
  return bodies.map((body, n) => {
    const type = functionTypes[n]!;
    const name = names.functions[imported + n]!;
    const { lines, pieces } = bodyLines(body, names, notes.get(name) ?? []);
    return { name, size: body.length, text: [`func $${name} ${types[type]}`, ...lines].join('\n'), pieces };
  });
}

function readTypes(r: Reader, types: string[]): void {
  for (let n = r.u32(); n > 0; n--) {
    r.byte();
    const [from, to] = [0, 1].map(() => Array.from({ length: r.u32() }, () => VALUE_TYPES[r.byte()]));
    types.push(`(${from!.join(' ')}) -> (${to!.join(' ')})`);
  }
}

function readImports(r: Reader, { functions, memories }: Names): void {
  for (let n = r.u32(); n > 0; n--) {
    r.text();
    const name = r.text();
    const kind = r.byte();
    if (kind === 0) {
      r.u32();
      functions.push(name);
    } else {
      if (kind === 1) r.byte();
      else memories.push(name);
      const limits = r.byte();
      r.u32();
      if (limits & 1) r.u32();
    }
  }
}

function readExports(r: Reader, exported: Map<number, string>): void {
  for (let n = r.u32(); n > 0; n--) {
    const name = r.text();
    const kind = r.byte();
    const index = r.u32();
    if (kind === 0) exported.set(index, name);
  }
}

function bodyLines(
  body: Uint8Array,
  names: Names,
  notes: readonly WasmNote[],
): { lines: string[]; pieces: WasmPiece[] } {
  const r = new Reader(body);
  const locals: string[] = [];
  for (let n = r.u32(); n > 0; n--) {
    const count = r.u32();
    locals.push(`${count} ${VALUE_TYPES[r.byte()]}`);
  }
  const lines = locals.length > 0 ? [`  locals: ${locals.join(', ')}`] : [];
  let depth = 1;
  const code = r.at;
  const pending = notes.slice();
  const pieces: { note: string; start: number; bytes: number; lines: string[] }[] = [];
  while (!r.done) {
    const at = r.at - code;
    for (; pending.length > 0 && pending[0]!.offset <= at; pending.shift()) {
      lines.push(`;; ${pending[0]!.text}`);
      pieces.push({ note: pending[0]!.text, start: at, bytes: 0, lines: [] });
    }
    const op = r.byte();
    if (op === 0x0b || op === 0x05) depth--;
    const line = `${'  '.repeat(Math.max(0, depth))}${instructionText(op, r, names)}`;
    lines.push(line);
    const piece = pieces.at(-1);
    piece?.lines.push(line);
    if (piece) piece.bytes = r.at - code - piece.start;
    if (op === 0x05 || (op >= 0x02 && op <= 0x04)) depth++;
  }
  return { lines, pieces };
}

function instructionText(op: number, r: Reader, names: Names): string {
  switch (op) {
    case 0x00:
      return 'unreachable';
    case 0x01:
      return 'nop';
    case 0x02:
    case 0x03:
    case 0x04:
      return `${['block', 'loop', 'if'][op - 2]}${blockType(r)}`;
    case 0x05:
      return 'else';
    case 0x0b:
      return 'end';
    case 0x0c:
      return `br ${r.u32()}`;
    case 0x0d:
      return `br_if ${r.u32()}`;
    case 0x0e:
      return `br_table ${Array.from({ length: r.u32() + 1 }, () => r.u32()).join(' ')}`;
    case 0x0f:
      return 'return';
    case 0x10:
      return `call $${names.functions[r.u32()]}`;
    case 0x12:
      return `return_call $${names.functions[r.u32()]}`;
    case 0x11:
    case 0x13: {
      const type = r.u32();
      r.u32();
      return `${op === 0x11 ? 'call_indirect' : 'return_call_indirect'} type ${type}`;
    }
    case 0x1a:
      return 'drop';
    case 0x1b:
      return 'select';
    case 0x20:
    case 0x21:
    case 0x22:
      return `local.${['get', 'set', 'tee'][op - 0x20]} ${r.u32()}`;
    case 0x23:
    case 0x24:
      return `global.${op === 0x23 ? 'get' : 'set'} ${r.u32()}`;
    case 0x3f:
    case 0x40:
      return `memory.${op === 0x3f ? 'size' : 'grow'} $${names.memories[r.u32()]}`;
    case 0x41:
      return `i32.const ${r.signed()}`;
    case 0x42: {
      const value = r.signed();
      return `i64.const ${value < -4096n || value > 4096n ? `0x${BigInt.asUintN(64, value).toString(16)}` : value}`;
    }
    case 0x43:
      return `f32.const ${r.float(4)}`;
    case 0x44:
      return `f64.const ${r.float(8)}`;
    case 0xfc:
      return bulkText(r, names);
    case 0xfd:
      return simdText(r, names);
    default: {
      const name = ONE_BYTE.get(op) ?? `opcode 0x${op.toString(16)}`;
      return op >= 0x28 && op <= 0x3e ? `${name}${memoryOperand(r, names)}` : name;
    }
  }
}

function blockType(r: Reader): string {
  const type = r.signed();
  if (type === -64n) return '';
  return ` ${type < 0n ? VALUE_TYPES[Number(type) + 128] : `type ${type}`}`;
}

/** Memory and offset; alignment is a hint only. */
function memoryOperand(r: Reader, names: Names): string {
  const flags = r.u32();
  const memory = flags & 0x40 ? r.u32() : 0;
  const offset = r.u32();
  return ` $${names.memories[memory]}${offset === 0 ? '' : ` offset=${offset}`}`;
}

function bulkText(r: Reader, names: Names): string {
  const op = r.u32();
  const name = BULK[op] ?? `opcode 0xfc ${op}`;
  if (op === 10) return `${name} $${names.memories[r.u32()]} $${names.memories[r.u32()]}`;
  if (op === 11) return `${name} $${names.memories[r.u32()]}`;
  return name;
}

function simdText(r: Reader, names: Names): string {
  const op = r.u32();
  const name = SIMD.get(op) ?? `opcode 0xfd ${op}`;
  const bytes = (): string => Array.from(r.take(16), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
  if (op <= 11 || op === 92 || op === 93) return `${name}${memoryOperand(r, names)}`;
  if (op === 12 || op === 13) return `${name} ${bytes()}`;
  if (op >= 84 && op <= 91) return `${name}${memoryOperand(r, names)} lane ${r.byte()}`;
  return op >= 21 && op <= 34 ? `${name} ${r.byte()}` : name;
}
