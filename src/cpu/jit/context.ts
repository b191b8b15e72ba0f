import { type FunctionBuilder, type Label, ZERO } from '../../wasm/builder.ts';
import {
  type Callable,
  type Expr,
  type Float,
  type I32,
  type I64,
  i32,
  i64,
  isConst,
  type V128,
  type ValType,
} from '../../wasm/expr.ts';
import { v128 } from '../../wasm/simd.ts';
import type { DecodedInstruction, GprOperand, MemOperand, RegOperand } from '../decode/types.ts';
import { SEGMENT } from '../decode/types.ts';
import { Driver, factsOf, signExtend, zeroExtend } from '../driver/driver.ts';
import type { FlagRecord } from '../flags.ts';
import type { Bytes } from '../semantics/context.ts';
import { EXIT, SLOW, STATE } from '../state.ts';
import { directTarget, isIndirect } from './discover.ts';
import { TARGET_ENTRY, type TargetTable } from './target-table.ts';
import { loadLow, storeLow, type VectorLocals } from './vector-locals.ts';

/** What all instructions of a region share: guest registers and flags as wasm locals, and the ways out. */
export interface RegionFrame {
  readonly f: FunctionBuilder;
  readonly lookup: (name: string) => Callable;
  /** Local of each general register. */
  readonly gpr: readonly number[];
  /** Registers the region may have changed: written back on the way out. */
  readonly dirty: Set<number>;
  readonly used: Set<number>;
  readonly flags: {
    readonly op: number;
    readonly a: number;
    readonly b: number;
    readonly r: number;
    readonly word: number;
  };
  readonly vectors: VectorLocals;
  /** i64 local: linear address of the start of the page that the region's offsets count from. */
  readonly base: number;
  /** i32 local: instructions left. */
  readonly budget: number;
  /** i64 local for the address to leave to, i32 local for the EXIT code. */
  readonly ip: number;
  readonly code: number;
  /** i32 locals: offset from `base` to leave to, and what a faulting instruction gives back to the budget. */
  readonly at: number;
  readonly refund: number;
  /** Leave with `ip` and `code` set. */
  leave: Label;
  /** Leave for a fault or because the interpreter must do the instruction: `at` and `refund` set. */
  fault: Label;
  /** TLB tables of the privilege the region was made for. */
  readonly tlbRead: number;
  readonly tlbWrite: number;
  /** The op of the flag record where it is known while emitting. */
  knownFlags: number | undefined;
  /** State cells that the block has checked (SemanticsContext.checkOnce). */
  readonly checkedCells: Set<number>;
  /** Registers whose upper half is known to be zero at this point. */
  readonly zeroExtended: Set<number>;
  /** Offsets that the region's calls come back to, and that its other indirect branches go to. */
  readonly continuations: Targets;
  readonly indirect: Targets;
  /** Goes to a block of the region, or out, at an offset from `base`. */
  branchTo(offset: number): void;
}

/** Offsets within the region that indirect branches may go to; a table where there are many. */
export interface Targets {
  readonly offsets: readonly number[];
  readonly table: TargetTable | undefined;
}

/** The translator's side of the semantics: operands are constants, registers are locals. */
export class TranslatorContext extends Driver {
  protected override readonly slowBits = SLOW.bail;
  readonly #frame: RegionFrame;
  /** Offset of the instruction from the frame's base, and how many instructions of its block are not retired before it. */
  readonly #offset: number;
  readonly #unretired: number;
  protected override readonly flagsAreDead: boolean;
  readonly #setsCode: boolean;
  /** Nesting at the instruction's top level. */
  readonly #depth: number;
  /** Has the instruction ended its block by an unconditional transfer? */
  ended = false;

  constructor(
    frame: RegionFrame,
    d: DecodedInstruction,
    at: {
      readonly offset: number;
      readonly unretired: number;
      readonly flagsDead: boolean;
      readonly stackSize: 2 | 4 | 8;
      /** The instruction ends its block and may change the EXIT code with which the region is left. */
      readonly setsCode: boolean;
    },
  ) {
    super(frame.f, d, factsOf(d, at.stackSize), frame.lookup);
    this.#frame = frame;
    this.#offset = at.offset;
    this.#unretired = at.unretired;
    this.flagsAreDead = at.flagsDead;
    this.#setsCode = at.setsCode;
    this.#depth = frame.f.depth;
    if (at.setsCode) frame.f.set(frame.code, i32.const(EXIT.jump));
  }

  // ---- registers
  #local(index: number): I64 {
    this.#frame.used.add(index);
    return this.f.get('i64', this.#frame.gpr[index]!);
  }
  #readRegister(index: number, width: Bytes, high: boolean, signed: boolean): I64 {
    let value = this.#local(index);
    if (high) value = i64.shrU(value, i64.const(8));
    if (width === 8) return value;
    if (signed) return signExtend(width, value);
    return width === 4 && this.#frame.zeroExtended.has(index) ? value : zeroExtend(width, value);
  }
  #writeRegister(index: number, width: Bytes, high: boolean, value: I64): void {
    const { f } = this;
    const frame = this.#frame;
    const local = frame.gpr[index]!;
    frame.used.add(index);
    frame.dirty.add(index);
    if (width === 8) {
      f.set(local, value);
      frame.zeroExtended.delete(index);
      return;
    }
    if (width === 4) {
      f.set(local, isConst(value) ? i64.and(value, i64.const(0xffff_ffff)) : i64.extendU(i32.wrap(value)));
      // a write that may not happen says nothing about the register afterwards
      if (f.depth === this.#depth) frame.zeroExtended.add(index);
      else frame.zeroExtended.delete(index);
      return;
    }
    const shift = high ? 8 : 0;
    const mask = (width === 2 ? 0xffffn : 0xffn) << BigInt(shift);
    const part = i64.shl(zeroExtend(width, value), i64.const(shift));
    f.set(local, i64.or(i64.and(f.get('i64', local), i64.const(~mask)), part));
  }
  protected readOperand(i: number, width: Bytes, signed: boolean): I64 {
    const o = this.d.operands[i]!;
    if (o.kind === 'gpr') return this.#readRegister(o.index, width, o.high, signed);
    if (o.kind === 'imm') {
      if (width === 8) return i64.halves(o.lo, o.hi);
      const bits = BigInt(width * 8);
      const value = (BigInt(o.hi) << 32n) | BigInt(o.lo >>> 0);
      return i64.const(signed ? BigInt.asIntN(Number(bits), value) : BigInt.asUintN(Number(bits), value));
    }
    if (o.kind === 'seg') return i64.load32U(ZERO, STATE.selector + o.index * 4);
    throw new RangeError(`${this.facts.mnemonic}: operand ${i} (${o.kind}) is no integer`);
  }
  protected writeOperand(i: number, width: Bytes, value: I64): void {
    const o = this.d.operands[i] as GprOperand;
    this.#writeRegister(o.index, width, o.high, value);
  }
  registerNumber(i: number): I32 {
    const o = this.d.operands[i]!;
    return i32.const('index' in o ? o.index : 0);
  }
  protected farImmediate(i: number): { selector: I64; offset: I64 } {
    const o = this.d.operands[i]!;
    if (o.kind !== 'far') throw new RangeError('no far pointer');
    return { selector: i64.const(o.selector), offset: i64.const(o.offset >>> 0) };
  }
  gpr(index: number, width: Bytes = 8): I64 {
    return this.#readRegister(index, width, false, false);
  }
  gprS(index: number, width: Bytes = 8): I64 {
    return this.#readRegister(index, width, false, true);
  }
  setGpr(index: number, value: I64, width: Bytes = 8): void {
    this.#writeRegister(index, width, false, value);
  }

  // ---- addresses
  effectiveAddress(i: number, index?: I64): I64 {
    const m = this.d.operands[i] as MemOperand;
    let ea = i64.halves(m.dispLo, m.dispHi);
    if (m.base === 16) ea = i64.add(this.nextLinear(), ea);
    else if (m.base >= 0) ea = i64.add(this.#local(m.base), ea);
    if (m.index >= 0) ea = i64.add(i64.shl(index ?? this.#local(m.index), i64.const(m.scale)), ea);
    if (m.addressSize === 8) return ea;
    return i64.and(ea, i64.const(m.addressSize === 4 ? 0xffff_ffff : 0xffff));
  }
  protected segmentNumber(i: number): I32 {
    return i32.const((this.d.operands[i] as MemOperand).segment);
  }
  /** A region outside 64-bit mode is entered only while these are (see emitPrologue). */
  protected override isFlat(segment: number): boolean {
    return segment < SEGMENT.fs && segment !== SEGMENT.cs;
  }
  override checkCodeLimit(_offset: I64): void {
    // CS has none then
  }
  protected computeLinear(i: number, offset?: I64): I64 {
    const m = this.d.operands[i] as MemOperand;
    const ea = offset ?? this.effectiveAddress(i);
    if (this.d.mode !== 64) return i64.and(i64.add(ea, this.segmentBase(m.segment)), i64.const(0xffff_ffff));
    return m.segment >= SEGMENT.fs ? i64.add(ea, this.segmentBase(m.segment)) : ea;
  }
  inStackSegment(i: number): I32 {
    return i32.const((this.d.operands[i] as MemOperand).segment === SEGMENT.ss ? 1 : 0);
  }

  // ---- vectors: XMM and YMM registers where the region keeps them, MMX registers in the state
  #vectorOf(i: number): RegOperand {
    const o = this.d.operands[i]!;
    if (o.kind === 'vec' || o.kind === 'mmx') return o;
    throw new RangeError(`${this.facts.mnemonic}: operand ${i} (${o.kind}) is no vector`);
  }
  indexVector(i: number, part: 0 | 1): V128 {
    return this.#frame.vectors.read((this.d.operands[i] as MemOperand).index, part);
  }
  protected vectorOperand(i: number, part: 0 | 1): V128 {
    const { kind, index } = this.#vectorOf(i);
    return kind === 'mmx' ? v128.load(ZERO, STATE.fpr + index * 16) : this.#frame.vectors.read(index, part);
  }
  protected setVectorOperand(i: number, part: 0 | 1, value: V128): void {
    const { kind, index } = this.#vectorOf(i);
    if (kind === 'mmx') this.f.storeV128(ZERO, value, STATE.fpr + index * 16);
    else this.#frame.vectors.write(index, part, value);
  }
  protected vectorLow(i: number, width: Bytes): I64 {
    const o = this.d.operands[i]!;
    if (o.kind === 'gpr') return this.#readRegister(o.index, width, false, false);
    const { kind, index } = this.#vectorOf(i);
    return kind === 'mmx' ? loadLow(width, STATE.fpr + index * 16) : this.#frame.vectors.readLow(index, width);
  }
  protected setVectorLow(i: number, width: Bytes, value: I64): void {
    const { kind, index } = this.#vectorOf(i);
    if (kind === 'mmx') storeLow(this.f, width, STATE.fpr + index * 16, value);
    else this.#frame.vectors.writeLow(index, width, value);
  }
  protected floatOperand(i: number, width: 4 | 8): Float {
    return this.#frame.vectors.readFloat(this.#vectorOf(i).index, width);
  }
  protected setFloatOperand(i: number, width: 4 | 8, value: Float): void {
    this.#frame.vectors.writeFloat(this.#vectorOf(i).index, width, value);
  }
  xmm(index: number): V128 {
    return this.#frame.vectors.read(index, 0);
  }
  setXmm(index: number, value: V128): void {
    this.#frame.vectors.write(index, 0, value);
  }
  setUpper(index: number, value: V128): void {
    this.#frame.vectors.write(index, 1, value);
  }

  // ---- flags
  protected flagRecord(): FlagRecord {
    const { f } = this;
    const { flags, knownFlags } = this.#frame;
    return {
      known: knownFlags,
      op: f.get('i32', flags.op),
      a: f.get('i64', flags.a),
      b: f.get('i64', flags.b),
      r: f.get('i64', flags.r),
      word: f.get('i32', flags.word),
    };
  }
  protected recordFlags(op: number | I32, a?: I64, b?: I64, r?: I64, word?: I32): void {
    if (this.flagsAreDead) return;
    const { f } = this;
    const frame = this.#frame;
    const { flags } = frame;
    // all parts are evaluated before any is stored: they may read the record that is being replaced
    const parts: [number, I64 | I32][] = [];
    if (a) parts.push([flags.a, a]);
    if (b) parts.push([flags.b, b]);
    if (r) parts.push([flags.r, r]);
    if (word) parts.push([flags.word, word]);
    parts.push([flags.op, typeof op === 'number' ? i32.const(op) : op]);
    f.setAll(parts);
    frame.knownFlags = typeof op === 'number' ? op : isConst(op) ? op.lo : undefined;
  }
  flagsIf(condition: I32, body: () => void): void {
    if (isConst(condition)) {
      if (condition.lo !== 0) body();
      return;
    }
    const before = this.#frame.knownFlags;
    this.f.if(condition, body);
    if (this.#frame.knownFlags !== before) this.#frame.knownFlags = undefined;
  }

  // ---- control
  #linear(offset: number): I64 {
    return i64.add(this.f.get('i64', this.#frame.base), i64.const(offset));
  }
  protected thisLinear(): I64 {
    return this.#linear(this.#offset);
  }
  protected nextLinear(): I64 {
    return this.#linear(this.#offset + this.d.length);
  }
  checkRelative(_i: number): void {
    // as in checkCodeLimit
  }
  jumpRelative(i: number, condition?: I32): void {
    const target = i === 0 ? directTarget({ d: this.d, offset: this.#offset }) : undefined;
    if (target === undefined) throw new RangeError('no relative target');
    if (condition === undefined) {
      this.#frame.branchTo(target);
      this.ended = true;
    } else this.f.if(condition, () => this.#frame.branchTo(target));
  }
  jumpAnywhere(linear: I64): void {
    const { continuations, indirect, branchTo, base } = this.#frame;
    const isReturn = this.facts.mnemonic === 'ret';
    const within = isReturn ? continuations : isIndirect(this.d) ? indirect : undefined;
    const code = isReturn ? EXIT.return : EXIT.jump;
    if (within === undefined || within.offsets.length === 0) {
      this.#leaveFor(linear, code);
      return;
    }
    const { f } = this;
    const { table, offsets } = within;
    const offset = f.let(i64.sub(linear, f.get('i64', base)));
    if (table) {
      const slot = i32.and(i32.shrU(i32.wrap(offset), i32.const(table.shift)), i32.const(table.mask));
      const at = f.let(i32.shl(slot, i32.const(4)));
      f.if(i64.eq(i64.load(at, table.address + TARGET_ENTRY.offset), offset), () => {
        f.switch(
          i32.load(at, table.address + TARGET_ENTRY.number),
          table.targets.map((target) => () => branchTo(target)),
          () => f.unreachable(),
        );
      });
    } else {
      for (const target of offsets) f.if(i64.eq(offset, i64.const(target)), () => branchTo(target));
    }
    this.#leaveFor(i64.add(offset, f.get('i64', base)), code);
  }
  #leaveFor(linear: I64, code: number): void {
    this.f.set(this.#frame.ip, linear);
    if (!this.#setsCode) this.f.set(this.#frame.code, i32.const(code));
    this.f.br(this.#frame.leave);
    this.ended = true;
  }
  /** Instructions of the block that the interpreter would not have charged yet. */
  #afterThis(): I32 {
    return i32.add(this.f.get('i32', this.#frame.budget), i32.const(this.#unretired - 1));
  }
  override checkOnce(cell: number, check: () => void): void {
    const { checkedCells } = this.#frame;
    if (checkedCells.has(cell)) return;
    check();
    if (this.f.depth === this.#depth) checkedCells.add(cell);
  }
  recheckInterrupts(_instructions: 0 | 1): void {
    // such an instruction ends its block: the way out tells the run loop, which knows of the shadow
    const pending = i32.load(ZERO, STATE.pending);
    this.f.set(this.#frame.code, i32.select(pending, i32.const(EXIT.refresh), this.f.get('i32', this.#frame.code)));
  }
  endSlice(): void {
    this.f.set(this.#frame.code, i32.const(EXIT.refresh));
  }
  interruptShadow(): void {
    this.f.store32(ZERO, this.#afterThis(), STATE.shadow);
  }
  protected budgetLeft(): I32 {
    return this.f.get('i32', this.#frame.budget);
  }
  protected setBudgetLeft(left: I32): void {
    this.f.set(this.#frame.budget, left);
  }
  protected repeat(): void {
    const { f } = this;
    const { ip, code, leave } = this.#frame;
    // what the rest of the block has been charged is there for the interpreter to go on with
    const rest = this.#unretired - 1;
    if (rest > 0) {
      this.#leaveAt(rest);
      return;
    }
    f.set(ip, this.thisLinear());
    f.set(code, i32.const(EXIT.repeat));
    f.br(leave);
  }
  /** Leaves this instruction for a fault, or to the interpreter where there is none. */
  #leaveAt(refund: number): void {
    const { f } = this;
    f.set(this.#frame.at, i32.const(this.#offset));
    f.set(this.#frame.refund, i32.const(refund));
    f.br(this.#frame.fault);
  }
  override call<T extends ValType>(type: T, name: string, args: readonly Expr[]): Expr<T> {
    // the clock counts instructions: it must see what the interpreter would show
    if (name === 'readTsc') this.f.store32(ZERO, this.#afterThis(), STATE.budget);
    return super.call(type, name, args);
  }
  /** Leaves for the next instruction; `code` was set when the instruction began. */
  leaveAfter(condition?: I32): void {
    const out = (): void => {
      this.f.set(this.#frame.ip, this.nextLinear());
      this.f.br(this.#frame.leave);
    };
    if (condition) this.f.if(condition, out, undefined, 'unlikely');
    else {
      out();
      this.ended = true;
    }
  }
  protected exit(code: number, condition?: I32): void {
    if (code !== EXIT.fault) throw new RangeError(`${this.facts.mnemonic}: not for the translator`);
    const out = (): void => this.#leaveAt(this.#unretired);
    if (condition === undefined) out();
    else this.f.if(condition, out, undefined, 'unlikely');
  }
  protected exitWith(_code: I32): void {
    throw new RangeError(`${this.facts.mnemonic}: not for the translator`);
  }
  protected tlbTable(write: boolean): { base: I32; offset: number } {
    return { base: i32.const(0), offset: write ? this.#frame.tlbWrite : this.#frame.tlbRead };
  }
  protected spill(): void {
    throw new RangeError(`${this.facts.mnemonic}: not for the translator`);
  }
}
