/** Bytes of one instruction from its parts; no choices are made here. */
import { PREFIX } from '../../src/cpu/decode/opcode-notation.ts';
import type { Form } from './forms.ts';

/** A memory operand as encoded. */
export interface MemoryParts {
  /** 0..15, -1 none, 16 RIP. */
  readonly base: number;
  /** 0..15 (a vector register with VSIB), -1 none. */
  readonly index: number;
  readonly scale: number;
  /** Bytes of displacement: 0, 1 or 4 (2 with 16-bit addresses). */
  readonly dispBytes: 0 | 1 | 2 | 4;
  /** Signed; for RIP relative to the next instruction. */
  readonly disp: number;
  /** 16-bit addressing: ModRM.rm, else -1. */
  readonly rm16: number;
}

export interface Parts {
  readonly form: Form;
  /** Prefixes before the mandatory one and REX, in order. */
  readonly prefixes: readonly number[];
  /** ModRM.reg (with its extension bit), register in ModRM.rm or in the opcode, VEX.vvvv. */
  readonly reg: number;
  readonly rm: number;
  readonly vvvv: number;
  readonly memory: MemoryParts | undefined;
  /** Immediates, displacements of branches and moffs, already in little-endian bytes. */
  readonly tail: readonly number[];
  /** Emit a REX prefix even when nothing needs it. */
  readonly forceRex: boolean;
  /** Use the three-byte VEX prefix even when two bytes would do. */
  readonly longVex: boolean;
}

/** Throws when a part cannot be encoded. */
export function assemble(parts: Parts): Uint8Array {
  const { form, memory, reg, rm } = parts;
  const { encoding } = form;
  const bytes: number[] = [...parts.prefixes];
  const rmHigh = memory === undefined ? rm >> 3 : memory.base >= 8 && memory.base < 16 ? 1 : 0;
  const indexHigh = memory !== undefined && memory.index >= 8 ? 1 : 0;
  const regHigh = reg >> 3;
  if (encoding.vex) {
    pushVex(bytes, parts, regHigh, indexHigh, rmHigh);
  } else {
    const mandatory = mandatoryPrefix(form);
    if (mandatory !== 0) bytes.push(mandatory);
    const rex = (form.width === 'w' ? 8 : 0) | (regHigh << 2) | (indexHigh << 1) | rmHigh;
    if (rex !== 0 || parts.forceRex) {
      if (form.mode !== 64) throw new Error('REX outside 64-bit mode');
      bytes.push(0x40 | rex);
    }
    if (encoding.map > 0) bytes.push(0x0f);
    if (encoding.map === 2) bytes.push(0x38);
    if (encoding.map === 3) bytes.push(0x3a);
  }
  bytes.push(encoding.opcode + (encoding.count > 1 ? rm & 7 : 0));
  if (encoding.modrm) {
    if (memory === undefined) bytes.push(0xc0 | ((reg & 7) << 3) | (rm & 7));
    else pushMemory(bytes, reg & 7, memory, form.mode);
  }
  bytes.push(...parts.tail);
  return Uint8Array.from(bytes);
}

/** The prefix byte that selects the row, 0 for none. */
export function mandatoryPrefix(form: Form): number {
  const { prefixes } = form.encoding;
  if (prefixes & (1 << PREFIX.none)) return 0;
  if (prefixes & (1 << PREFIX.p66)) return 0x66;
  return prefixes & (1 << PREFIX.pf3) ? 0xf3 : 0xf2;
}

function pushVex(bytes: number[], parts: Parts, r: number, x: number, b: number): void {
  const { encoding, vexL, vexW } = parts.form;
  const mandatory = mandatoryPrefix(parts.form);
  const pp = mandatory === 0x66 ? 1 : mandatory === 0xf3 ? 2 : mandatory === 0xf2 ? 3 : 0;
  const low = ((~parts.vvvv & 15) << 3) | (vexL << 2) | pp;
  if (!parts.longVex && encoding.map === 1 && vexW === 0 && x === 0 && b === 0) {
    bytes.push(0xc5, ((r ^ 1) << 7) | low);
  } else {
    bytes.push(0xc4, ((r ^ 1) << 7) | ((x ^ 1) << 6) | ((b ^ 1) << 5) | encoding.map, (vexW << 7) | low);
  }
}

function pushMemory(bytes: number[], reg: number, memory: MemoryParts, mode: 64 | 32): void {
  const { base, index, scale, disp, dispBytes, rm16 } = memory;
  const modrm = (mod: number, rm: number) => bytes.push((mod << 6) | (reg << 3) | rm);
  if (rm16 >= 0) {
    modrm(dispBytes === 0 ? 0 : dispBytes === 1 ? 1 : rm16 === 6 && base < 0 ? 0 : 2, rm16);
  } else if (base === 16) {
    modrm(0, 5);
  } else if (base < 0) {
    if (index < 0 && mode === 32) {
      modrm(0, 5);
    } else {
      modrm(0, 4);
      bytes.push((scale << 6) | ((index < 0 ? 4 : index & 7) << 3) | 5);
    }
  } else {
    const mod = dispBytes === 0 ? 0 : dispBytes === 1 ? 1 : 2;
    if (index >= 0 || (base & 7) === 4) {
      modrm(mod, 4);
      bytes.push((scale << 6) | ((index < 0 ? 4 : index & 7) << 3) | (base & 7));
    } else {
      modrm(mod, base & 7);
    }
  }
  for (let i = 0; i < dispBytes; i++) bytes.push((disp >> (8 * i)) & 255);
}
