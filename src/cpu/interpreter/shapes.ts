import { encodings } from '../decode/opcode-index.ts';
import { METHOD, type OperandSpec, parseOperand } from '../decode/operands.ts';
import type { DecodedInstruction, ImmOperand, Operand } from '../decode/types.ts';
import { CELL, OPCODE_TRAIT, OPCODES, RECORD, SHAPE, SHAPE_FLAG, SHAPE_KEY, SLOT, STATE } from '../state.ts';
import type { StateMemory } from '../state-memory.ts';
import { recordMemory } from './form.ts';
import { registerCell } from './records.ts';

/** 26 2E 36 3E 64 65 66 67 F0 F2 F3, and REX, which is one unless the opcode follows. */
const PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3];
/** EVEX, VEX. */
const EXTENSIONS = [0x62, 0xc4, 0xc5];
/** Entries that stay empty, so that a search ends soon. */
const MOST_SHAPES = 3 << (SHAPE.bits - 2);

let traits: Uint8Array | undefined;

/** OPCODE_TRAIT of every opcode of the maps without VEX, whatever features the CPU has. */
function opcodeTraits(): Uint8Array {
  if (traits) return traits;
  traits = new Uint8Array(OPCODES.size);
  for (const { row, vex, map, opcode, count, modrm, regs, rms, rexB0 } of encodings()) {
    if (vex || row.only === 'i64') continue;
    for (let i = map * 256 + opcode; i < map * 256 + opcode + count; i++) {
      traits[i]! |= OPCODE_TRAIT.known;
      if (modrm) traits[i]! |= OPCODE_TRAIT.modrm;
      if (regs !== 0xff) traits[i]! |= OPCODE_TRAIT.reg;
      if (rms !== 0xff) traits[i]! |= OPCODE_TRAIT.rm;
      if (rexB0) traits[i]! |= OPCODE_TRAIT.rexB;
    }
  }
  for (const opcode of EXTENSIONS) traits[opcode] = 0;
  for (const prefix of PREFIXES) traits[prefix] = OPCODE_TRAIT.prefix;
  for (let rex = 0x40; rex < 0x50; rex++) traits[rex] = OPCODE_TRAIT.prefix;
  return traits;
}

/** Shapes that need no learning. */
export interface ShapesImage {
  /** OPCODE_TRAIT of every opcode. */
  readonly traits: Uint8Array<ArrayBuffer>;
  /** SHAPE.size bytes each, handlers left out. */
  readonly entries: Uint8Array<ArrayBuffer>;
  /** Form and CPUID features of each ('' for none, joined by '+'). */
  readonly forms: readonly string[];
  readonly features: readonly string[];
}

/** The table by which decodeRun makes records: filled with what the decoder finds out about instructions it is shown. */
export class Shapes {
  readonly #memory: StateMemory;
  #count = 0;

  constructor(memory: StateMemory, image?: ShapesImage) {
    this.#memory = memory;
    memory.u8.set(image?.traits ?? opcodeTraits(), OPCODES.base);
  }

  /**
   * Takes those shapes of an image that exist on a CPU with `features`. They were found with every feature there is: what is
   * chosen among all instructions is chosen among fewer, if it is still there.
   */
  adopt(image: ShapesImage, features: ReadonlySet<string>, handlerOf: (form: string) => number | undefined): void {
    const { u8, u16 } = this.#memory;
    const keys = new Int32Array(image.entries.buffer, image.entries.byteOffset, image.entries.length >> 2);
    image.forms.forEach((form, i) => {
      const handler = handlerOf(form);
      if (handler === undefined || !hasAll(image.features[i]!, features)) return;
      const at = this.#emptyEntry(keys[(i * SHAPE.size) >> 2]!);
      u8.set(image.entries.subarray(i * SHAPE.size, (i + 1) * SHAPE.size), at);
      u16[(at + SHAPE.handler) >> 1] = handler;
      this.#count++;
    });
  }

  /** Shapes known. */
  get size(): number {
    return this.#count;
  }

  /** Takes the shape of `d`, which decodeRun has just met without knowing it, if it is one that can be described. */
  learn(d: DecodedInstruction, handler: number): boolean {
    const key = this.#memory.i32[STATE.shapeKey >> 2]!;
    if (key === 0 || this.#count >= MOST_SHAPES || d.mode !== 64 || d.addressSize !== 8 || d.vex) return false;
    const shape = describe(d, key);
    if (!shape) return false;
    const { memory, at } = { memory: this.#memory, at: this.#emptyEntry(key) };
    this.#count++;
    memory.i32[(at + SHAPE.key) >> 2] = key;
    memory.u16[(at + SHAPE.handler) >> 1] = handler;
    memory.u16[(at + SHAPE.flags) >> 1] = shape.flags;
    [SHAPE.a, SHAPE.b, SHAPE.c].forEach((field, i) => {
      memory.set32(at + field, shape.cells[i] ?? 0);
    });
    memory.u8[at + SHAPE.immediateSize] = shape.immediateSize;
    memory.u8[at + SHAPE.baseSlot] = shape.base;
    memory.u8[at + SHAPE.indexSlot] = SLOT.zero;
    memory.u8[at + SHAPE.segmentSlot] = shape.segment;
    memory.i32[(at + SHAPE.immediate) >> 2] = shape.immediate;
    return true;
  }

  #emptyEntry(key: number): number {
    let entry = Math.imul(key, 0x9e37_79b1) >>> (32 - SHAPE.bits);
    while (this.#memory.get32(SHAPE.base + entry * SHAPE.size) !== 0) entry = (entry + 1) & ((1 << SHAPE.bits) - 1);
    return SHAPE.base + entry * SHAPE.size;
  }
}

function hasAll(names: string, features: ReadonlySet<string>): boolean {
  return names === '' || names.split('+').every((name) => features.has(name));
}

interface Shape {
  flags: number;
  readonly cells: number[];
  immediateSize: number;
  immediate: number;
  base: number;
  segment: number;
}

/** undefined where writeRecord does something that decodeRun does not. */
function describe(d: DecodedInstruction, key: number): Shape | undefined {
  const shape: Shape = {
    flags: d.row.ends ? SHAPE_FLAG.ends : 0,
    cells: [],
    immediateSize: 0,
    immediate: 0,
    base: SLOT.zero,
    segment: 0,
  };
  if (d.operands.length > 3) return undefined;
  const inModrm = (key & SHAPE_KEY.indexed) >>> 0 >= SHAPE_KEY.memory;
  let hasImmediate = false;
  let modrmMemory = false;
  for (let i = 0; i < d.operands.length; i++) {
    const o = d.operands[i]!;
    const spec = parseOperand(d.row.operands[i]!);
    switch (o.kind) {
      case 'mem':
        if (isModrm(spec)) modrmMemory = true;
        else if (!isFixedMemory(spec)) return undefined;
        break;
      case 'imm':
      case 'rel': {
        const size = immediateSize(spec, d);
        if (size === undefined || hasImmediate) return undefined;
        hasImmediate = true;
        shape.immediateSize = size;
        if (o.kind === 'rel') shape.flags |= SHAPE_FLAG.relative | SHAPE_FLAG.signedImmediate;
        else {
          if (isSigned(spec)) shape.flags |= SHAPE_FLAG.signedImmediate;
          if (size === 0) shape.immediate = (o as ImmOperand).lo;
          if (i < 2) shape.cells[i] = CELL.own | RECORD.imm;
        }
        break;
      }
      default: {
        const cell = cellOf(spec, o);
        if (cell === undefined) return undefined;
        shape.cells[i] = cell;
        if (i === 2) shape.flags |= SHAPE_FLAG.third;
      }
    }
  }
  // a memory form has one operand there, and nothing else in memory
  if (modrmMemory !== inModrm) return undefined;
  const memories = d.operands.filter((o) => o.kind === 'mem');
  if (modrmMemory && memories.length > 1) return undefined;
  const m = recordMemory(d);
  if (!modrmMemory) {
    shape.base = m ? m.base : SLOT.zero;
    shape.segment = m ? SLOT.segBase + m.segment : SLOT.zero;
  } else if ((key & (SHAPE_KEY.fs | SHAPE_KEY.gs)) !== 0) shape.segment = SLOT.segBase + m!.segment;
  // a third register operand and an immediate share their place: its upper half is not kept
  if ((shape.flags & SHAPE_FLAG.third) !== 0 && hasImmediate) return undefined;
  return shape;
}

const MODRM_METHODS: readonly number[] = [METHOD.rm, METHOD.vectorRm, METHOD.mmxRm];
const isModrm = (spec: OperandSpec): boolean => MODRM_METHODS.includes(spec.method);
const isFixedMemory = (spec: OperandSpec): boolean =>
  spec.method === METHOD.source || spec.method === METHOD.destination || spec.method === METHOD.implicit;

const isSigned = ({ method }: OperandSpec): boolean => method !== METHOD.unsignedByte && method !== METHOD.unsignedWord;

/** Bytes of an immediate or a relative distance. */
function immediateSize({ method }: OperandSpec, d: DecodedInstruction): number | undefined {
  switch (method) {
    case METHOD.one:
      return 0;
    case METHOD.unsignedByte:
    case METHOD.signedByte:
    case METHOD.relativeByte:
      return 1;
    case METHOD.unsignedWord:
      return 2;
    case METHOD.wideImmediate:
      return d.operandSize;
    case METHOD.immediate: {
      const imm = d.operands.find((o) => o.kind === 'imm');
      return imm?.width === 2 ? 2 : 4;
    }
    case METHOD.relative:
      return d.operandSize === 2 ? 2 : 4;
    default:
      return undefined;
  }
}

/** CELL of a register operand. */
function cellOf({ method }: OperandSpec, o: Operand): number | undefined {
  const gpr = STATE.gpr | (CELL.shift * 3) | (o.kind === 'gpr' && o.width === 1 ? CELL.byte : 0);
  const vector = STATE.vec | (CELL.shift * 5);
  const mmx = STATE.fpr | (CELL.shift * 4) | CELL.eight;
  switch (method) {
    case METHOD.rm:
      return CELL.rm | gpr;
    case METHOD.reg:
      return CELL.reg | gpr;
    case METHOD.low:
      return CELL.opcode | gpr;
    case METHOD.vectorReg:
      return CELL.reg | vector;
    case METHOD.vectorRm:
      return CELL.rm | vector;
    case METHOD.mmxReg:
      return CELL.reg | mmx;
    case METHOD.mmxRm:
      return CELL.rm | mmx;
    case METHOD.fixed:
    case METHOD.xmm0:
    case METHOD.st0:
      return registerCell(o);
    default:
      return undefined;
  }
}
