/** The state a case starts from, while it is being chosen. */
import type { Form } from './forms.ts';
import type { Random } from './random.ts';
import { type CpuCase, DATA_BASE, DATA_SIZE, FX_BYTES, type MemoryPatch } from './types.ts';
import { checksAlignment } from './undefined.ts';
import { edge64, f80, fillStyled, type Style } from './values.ts';

const STATUS_FLAGS = 0x8d5;
const DF = 0x400;
const NT = 0x4000;
/** RFLAGS.AC. */
export const AC = 0x4_0000;

/** Vector registers of cases that do not use them: never to be changed. */
const BYSTANDERS = new Uint8Array(512).map((_, i) => (i * 37 + (i >> 5) * 11 + 1) & 255);

const MXCSR_CHOICES = [0x1f80, 0x1f80, 0x1fa0, 0x1fbf, 0x1f80, 0x3f80, 0x5f80, 0x7f80, 0x9f80, 0x1fc0, 0x9fc0, 0xffc0];

const scratch = new Uint32Array(2);

/** States are cut from larger buffers: a buffer each would keep the garbage collector busier than all the rest. */
const SLAB = 64 * 1024;
let slab = new ArrayBuffer(SLAB);
let slabUsed = 0;

/** Offset of `length` zero bytes in `slab`. */
function cut(length: number): number {
  if (slabUsed + length > SLAB) {
    slab = new ArrayBuffer(SLAB);
    slabUsed = 0;
  }
  slabUsed += length;
  return slabUsed - length;
}

export class CaseState {
  readonly gpr: BigUint64Array;
  readonly #words: Uint32Array;
  readonly ymm: Uint8Array;
  readonly fx: Uint8Array | undefined;
  mxcsr = 0x1f80;
  rflags: number;
  readonly fsBase: bigint;
  readonly gsBase: bigint;
  readonly form: Form;
  readonly style: Style;
  readonly #r: Random;
  readonly #patches: MemoryPatch[] = [];

  constructor(r: Random, form: Form, style: Style) {
    this.#r = r;
    this.form = form;
    this.style = style;
    const at = cut(128);
    this.gpr = new BigUint64Array(slab, at, 16);
    this.#words = new Uint32Array(slab, at, 32);
    const registers = form.mode === 64 ? 16 : 8;
    for (let i = 0; i < registers; i++) edge64(this.#words, 2 * i, r);
    if (form.mode === 32) for (let i = 0; i < 8; i++) this.#words[2 * i + 1] = 0;
    if (!r.percent(25)) this.set(4, BigInt(DATA_BASE + 0x400 + 8 * r.below(0x380)));
    this.rflags = (r.u32() & STATUS_FLAGS) | 2 | (r.percent(form.row.repeats ? 50 : 10) ? DF : 0);
    if (form.row.mnemonic === 'iret' && r.oneIn(8)) this.rflags |= NT;
    if (checksAlignment(form) && r.oneIn(16)) this.rflags |= AC;
    this.fsBase = BigInt(DATA_BASE) + BigInt(r.below(64) * 8);
    this.gsBase = r.oneIn(4) ? 0n : BigInt(DATA_BASE) - BigInt(r.below(0x10000));
    if (form.usesVectors) {
      const vectors = cut(512);
      this.ymm = new Uint8Array(slab, vectors, 512);
      for (let i = 0; i < 16; i++) {
        // Equal operands: comparisons, differences of zero.
        if (i > 0 && r.oneIn(5)) this.ymm.copyWithin(32 * i, 32 * (i - 1), 32 * i);
        else fillStyled(this.ymm.subarray(32 * i, 32 * i + 32), style, r);
      }
      this.mxcsr = r.oneIn(12) ? r.u32() & 0xffff : r.pick(MXCSR_CHOICES);
    } else {
      this.ymm = BYSTANDERS;
      if (/mxcsr|fx|^x(save|rstor)/.test(form.row.mnemonic)) this.mxcsr = r.u32() & 0xffff;
    }
    const fp = form.usesX87 || form.usesMmx || /^(fx|xsave|xrstor|cvtp|cvttp)/.test(form.row.mnemonic);
    this.fx = fp ? this.#x87(form.usesMmx) : undefined;
  }

  static edge(r: Random): Uint32Array {
    edge64(scratch, 0, r);
    return scratch;
  }

  set(register: number, value: bigint): void {
    this.gpr[register] = this.form.mode === 32 ? BigInt.asUintN(32, value) : BigInt.asUintN(64, value);
  }

  get(register: number): bigint {
    return this.gpr[register]!;
  }

  /** Replaces the low `bytes` bytes of a register. */
  setLow(register: number, bytes: number, value: bigint): void {
    const keep = (this.get(register) >> BigInt(8 * bytes)) << BigInt(8 * bytes);
    this.set(register, keep | BigInt.asUintN(8 * bytes, value));
  }

  segmentBase(segment: number): bigint {
    return segment === 4 ? this.fsBase : segment === 5 ? this.gsBase : 0n;
  }

  /** Contents of the style at an address; nothing where it is not in the data window or already set. */
  patchStyled(address: bigint, length: number): void {
    if (length === 0) return;
    const bytes = new Uint8Array(length);
    fillStyled(bytes, this.form.usesX87 && length === 10 && this.style !== 'bcd' ? 'f80' : this.style, this.#r);
    this.patch(address, bytes);
  }

  /** The part of `bytes` that lies in the data window, unless an earlier patch has a byte of it. */
  patch(address: bigint, bytes: Uint8Array): boolean {
    const far = address < BigInt(DATA_BASE - 512) || address >= BigInt(DATA_BASE + DATA_SIZE);
    if (far) return false;
    const start = Number(address) - DATA_BASE;
    const from = Math.max(start, 0);
    const to = Math.min(start + bytes.length, DATA_SIZE);
    if (to <= from) return false;
    const overlaps = this.#patches.some((p) => p.offset < to && from < p.offset + p.bytes.length);
    if (overlaps) return false;
    this.#patches.push({ offset: from, bytes: bytes.slice(from - start, to - start) });
    return true;
  }

  patchNumber(address: bigint, value: bigint, length: number): void {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) bytes[i] = Number((value >> BigInt(8 * i)) & 255n);
    this.patch(address, bytes);
  }

  /** Replaces the contents that an earlier patch gave, where it holds all of them. */
  repatch(address: bigint, value: bigint, length: number): void {
    const offset = Number(address) - DATA_BASE;
    for (const { offset: start, bytes } of this.#patches) {
      if (offset < start || offset + length > start + bytes.length) continue;
      for (let i = 0; i < length; i++) bytes[offset - start + i] = Number((value >> BigInt(8 * i)) & 255n);
    }
  }

  /** The initial contents of `length` bytes at `address` where a patch holds all of them. */
  patched(address: bigint, length: number): bigint | undefined {
    const offset = Number(address) - DATA_BASE;
    for (const p of this.#patches) {
      if (offset < p.offset || offset + length > p.offset + p.bytes.length) continue;
      let value = 0n;
      for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(p.bytes[offset - p.offset + i]!);
      return value;
    }
    return undefined;
  }

  /** Index register of a gather: small numbers, so that most elements lie in the window. */
  vsibIndices(register: number, r: Random): void {
    const lanes = new DataView(this.ymm.buffer, this.ymm.byteOffset + 32 * register, 32);
    const wide = /q(ps|pd|q|d)$/.test(this.form.row.mnemonic);
    for (let i = 0; i < 32; i += wide ? 8 : 4) {
      const value = r.oneIn(24) ? r.u32() | 0 : r.below(120) - 40;
      lanes.setInt32(i, value, true);
      if (wide) lanes.setInt32(i + 4, value < 0 ? -1 : 0, true);
    }
  }

  finish(code: Uint8Array, codeOffset: number): CpuCase {
    return {
      code,
      codeOffset,
      mode: this.form.mode,
      gpr: this.gpr,
      rflags: this.rflags,
      fsBase: this.fsBase,
      gsBase: this.gsBase,
      ymm: this.ymm,
      mxcsr: this.mxcsr,
      fx: this.fx,
      memory: this.#patches,
    };
  }

  /** An FXSAVE image (SDM vol. 1, table 10-2). ES and B agree with the flags and masks. */
  #x87(mmx: boolean): Uint8Array {
    const r = this.#r;
    const image = cut(FX_BYTES);
    const fx = new Uint8Array(slab, image, FX_BYTES);
    let control = 0x037f;
    if (!r.percent(55)) control = 0x40 | (r.u32() & 0x0f00) | (r.oneIn(4) ? r.u32() & 0x3f : 0x3f);
    let status = r.u32() & (0x4700 | 0x3800);
    if (r.oneIn(3)) status |= r.u32() & 0x7f;
    const pending = status & ~control & 0x3f;
    if (pending !== 0 && !r.oneIn(12)) status &= ~pending;
    if (status & ~control & 0x3f) status |= 0x8080;
    const tags = r.percent(55) ? 0xff : r.percent(30) ? 0 : r.below(256);
    fx[0] = control;
    fx[1] = control >> 8;
    fx[2] = status;
    fx[3] = status >> 8;
    fx[4] = tags;
    for (let i = 0; i < 8; i++) {
      const st = 32 + 16 * i;
      if (mmx && !r.oneIn(4)) {
        fillStyled(fx.subarray(st, st + 8), this.style, r);
        fx[st + 8] = 0xff;
        fx[st + 9] = 0xff;
      } else {
        f80(fx, st, r);
      }
    }
    return fx;
  }
}
