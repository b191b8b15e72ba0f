import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type Callable, type Float, f32, f64, type I32, type I64, i32, i64, type V128 } from '../../wasm/expr.ts';
import { v128 } from '../../wasm/simd.ts';
import type { DecodedInstruction, MemOperand } from '../decode/types.ts';
import { SEGMENT } from '../decode/types.ts';
import { Driver, factsOf } from '../driver/driver.ts';
import { type FlagRecord, stateFlags } from '../flags.ts';
import type { Bytes } from '../semantics/context.ts';
import { EXIT, RECORD, SLOT, STATE } from '../state.ts';
import { addsSegment, isStringDestination } from './form.ts';

/** How a handler leaves: a function of its own returns a code, a case of the big switch branches. */
export interface HandlerExits {
  exit(code: number, condition?: I32): void;
  exitWith(code: I32): void;
  /** The branch in hand is taken to `target` (linear); intra-page targets may be remembered in the record. */
  branch(target: () => I64, condition: I32 | undefined): void;
}

const loadCell = (width: Bytes, at: I32, signed: boolean, offset = 0): I64 => {
  switch (width) {
    case 8:
      return i64.load(at, offset);
    case 4:
      return signed ? i64.load32S(at, offset) : i64.load32U(at, offset);
    case 2:
      return signed ? i64.load16S(at, offset) : i64.load16U(at, offset);
    default:
      return signed ? i64.load8S(at, offset) : i64.load8U(at, offset);
  }
};
/** Where the record keeps a pointer to register operand i; the fourth takes the place of the immediate. */
const POINTER = [RECORD.a, RECORD.b, RECORD.c, RECORD.imm] as const;

/** The interpreter's side of the semantics: operands come from the decoded record in memory 0. */
export class InterpreterContext extends Driver {
  readonly #record: I32;
  readonly #exits: HandlerExits;

  constructor(
    f: FunctionBuilder,
    record: I32,
    d: DecodedInstruction,
    stackSize: 2 | 4 | 8,
    lookup: (name: string) => Callable,
    exits: HandlerExits,
  ) {
    super(f, d, factsOf(d, stackSize), lookup);
    this.#record = record;
    this.#exits = exits;
  }

  #pointer(i: number): I32 {
    return i32.load(this.#record, POINTER[i]!);
  }
  protected readOperand(i: number, width: Bytes, signed: boolean): I64 {
    const o = this.d.operands[i]!;
    if (o.kind === 'imm' && i >= 2) {
      if (!this.#immediateIsShort()) return loadCell(width, this.#record, signed, RECORD.imm);
      const value = i64.load32S(this.#record, RECORD.imm);
      return signed || width === 8 ? value : i64.and(value, i64.const((1n << BigInt(width * 8)) - 1n));
    }
    if (o.kind === 'seg') return i64.load32U(i32.shl(this.registerNumber(i), i32.const(2)), STATE.selector);
    return loadCell(width, this.#pointer(i), signed);
  }
  /** A third register operand leaves the immediate 32 bits. */
  #immediateIsShort(): boolean {
    return this.d.operands.some((o, i) => i >= 2 && o.kind !== 'imm' && o.kind !== 'mem');
  }
  protected writeOperand(i: number, width: Bytes, value: I64): void {
    this.#storeRegister(this.#pointer(i), 0, width, value);
  }
  #storeRegister(at: I32, offset: number, width: Bytes, value: I64): void {
    const { f } = this;
    if (width === 8) f.store64(at, value, offset);
    else if (width === 4) f.store64(at, i64.extendU(i32.wrap(value)), offset);
    else if (width === 2) f.store16(at, i32.wrap(value), offset);
    else f.store8(at, i32.wrap(value), offset);
  }
  registerNumber(i: number): I32 {
    const o = this.d.operands[i]!;
    if (o.kind === 'gpr') return i32.shrU(this.#pointer(i), i32.const(3));
    return this.#pointer(i);
  }
  protected farImmediate(_i: number): { selector: I64; offset: I64 } {
    return { selector: i64.load32U(this.#record, RECORD.b), offset: i64.load32U(this.#record, RECORD.imm) };
  }
  gpr(index: number, width: Bytes = 8): I64 {
    return loadCell(width, ZERO, false, STATE.gpr + index * 8);
  }
  gprS(index: number, width: Bytes = 8): I64 {
    return loadCell(width, ZERO, true, STATE.gpr + index * 8);
  }
  setGpr(index: number, value: I64, width: Bytes = 8): void {
    this.#storeRegister(ZERO, STATE.gpr + index * 8, width, value);
  }

  // ---- addresses
  #slot(field: number): I64 {
    return i64.load(i32.shl(i32.load8U(this.#record, field), i32.const(3)));
  }
  effectiveAddress(i: number, index?: I64): I64 {
    const m = this.d.operands[i] as MemOperand;
    const mask = (ea: I64): I64 =>
      m.addressSize === 8 ? ea : i64.and(ea, i64.const(m.addressSize === 4 ? 0xffff_ffff : 0xffff));
    if (isStringDestination(this.d, m)) return mask(this.gpr(7));
    let ea = i64.add(this.#slot(RECORD.base), i64.load(this.#record, RECORD.disp));
    if (m.index >= 0) {
      const scale = i64.extendU(i32.and(i32.load8U(this.#record, RECORD.scaleLength), i32.const(3)));
      ea = i64.add(ea, i64.shl(index ?? this.#slot(RECORD.index), scale));
    }
    return mask(ea);
  }
  protected segmentNumber(i: number): I32 {
    if (isStringDestination(this.d, this.d.operands[i] as MemOperand)) return i32.const(SEGMENT.es);
    return i32.sub(i32.load8U(this.#record, RECORD.segment), i32.const(SLOT.segBase));
  }
  protected computeLinear(i: number, offset?: I64): I64 {
    const m = this.d.operands[i] as MemOperand;
    const ea = offset ?? this.effectiveAddress(i);
    if (isStringDestination(this.d, m)) {
      return this.d.mode === 64 ? ea : i64.and(i64.add(ea, this.segmentBase(SEGMENT.es)), i64.const(0xffff_ffff));
    }
    if (!addsSegment(this.d, m)) return ea;
    const linear = i64.add(ea, this.#slot(RECORD.segment));
    return this.d.mode === 64 ? linear : i64.and(linear, i64.const(0xffff_ffff));
  }
  inStackSegment(i: number): I32 {
    if (isStringDestination(this.d, this.d.operands[i] as MemOperand)) return i32.const(0);
    return i32.eq(i32.load8U(this.#record, RECORD.segment), i32.const(SLOT.segBase + SEGMENT.ss));
  }

  // ---- vectors
  indexVector(_i: number, part: 0 | 1): V128 {
    return v128.load(i32.shl(i32.load8U(this.#record, RECORD.index), i32.const(5)), STATE.vec + 16 * part);
  }
  protected vectorOperand(i: number, part: 0 | 1): V128 {
    return v128.load(this.#pointer(i), 16 * part);
  }
  protected setVectorOperand(i: number, part: 0 | 1, value: V128): void {
    this.f.storeV128(this.#pointer(i), value, 16 * part);
  }
  protected vectorLow(i: number, width: Bytes): I64 {
    return loadCell(width, this.#pointer(i), false);
  }
  protected setVectorLow(i: number, width: Bytes, value: I64): void {
    const at = this.#pointer(i);
    if (width === 4) this.f.store32(at, i32.wrap(value));
    else this.#storeRegister(at, 0, width, value);
  }
  protected floatOperand(i: number, width: 4 | 8): Float {
    return width === 8 ? f64.load(this.#pointer(i)) : f32.load(this.#pointer(i));
  }
  protected setFloatOperand(i: number, width: 4 | 8, value: Float): void {
    this.f.storeFloat(width, this.#pointer(i), value);
  }
  xmm(index: number): V128 {
    return v128.load(ZERO, STATE.vec + index * 32);
  }
  setXmm(index: number, value: V128): void {
    this.f.storeV128(ZERO, value, STATE.vec + index * 32);
  }
  setUpper(index: number, value: V128): void {
    this.f.storeV128(ZERO, value, STATE.vec + index * 32 + 16);
  }

  // ---- flags live in the state
  protected flagRecord(): FlagRecord {
    return stateFlags;
  }
  protected recordFlags(op: number | I32, a?: I64, b?: I64, r?: I64, word?: I32): void {
    const { f } = this;
    // evaluate before storing: the parts may read the record that is being replaced
    const op32 = typeof op === 'number' ? i32.const(op) : f.let(op);
    const parts = [a, b, r].map((e) => e && f.let(e));
    const w = word && f.let(word);
    if (parts[0]) f.store64(ZERO, parts[0], STATE.flagA);
    if (parts[1]) f.store64(ZERO, parts[1], STATE.flagB);
    if (parts[2]) f.store64(ZERO, parts[2], STATE.flagR);
    if (w) f.store32(ZERO, w, STATE.flagWord);
    f.store32(ZERO, op32, STATE.flagOp);
  }
  flagsIf(condition: I32, body: () => void): void {
    this.f.if(condition, body);
  }

  // ---- control
  protected thisLinear(): I64 {
    return i64.add(i64.load(ZERO, STATE.pageBase), i64.extendU(i32.load16U(this.#record, RECORD.ipOffset)));
  }
  protected nextLinear(): I64 {
    const length = i32.shrU(i32.load8U(this.#record, RECORD.scaleLength), i32.const(4));
    const offset = i32.add(i32.load16U(this.#record, RECORD.ipOffset), length);
    return i64.add(i64.load(ZERO, STATE.pageBase), i64.extendU(offset));
  }
  /** Outside 64-bit mode: the instruction pointer that a relative branch leads to. */
  #relativeTarget(): I64 {
    const linear = i64.add(i64.load(ZERO, STATE.pageBase), i64.load(this.#record, RECORD.imm));
    const mask = this.facts.operandSize === 2 ? 0xffff : 0xffff_ffff;
    return i64.and(i64.sub(linear, this.segmentBase(SEGMENT.cs)), i64.const(mask));
  }
  checkRelative(_i: number): void {
    if (this.facts.mode !== 64) this.checkCodeLimit(this.#relativeTarget());
  }
  jumpRelative(_i: number, condition?: I32): void {
    const { mode } = this.facts;
    this.#exits.branch(() => {
      if (mode === 64) return i64.add(i64.load(ZERO, STATE.pageBase), i64.load(this.#record, RECORD.imm));
      const ip = this.f.let(this.#relativeTarget());
      this.checkCodeLimit(ip);
      return i64.and(i64.add(ip, this.segmentBase(SEGMENT.cs)), i64.const(0xffff_ffff));
    }, condition);
  }
  jumpAnywhere(target: I64): void {
    this.f.store64(ZERO, target, STATE.ip);
    this.exit(EXIT.jump);
  }
  recheckInterrupts(instructions: 0 | 1): void {
    this.f.if(
      i32.load(ZERO, STATE.pending),
      () => this.f.callVoid(this.helper('cutBudget'), [i32.const(instructions)]),
      undefined,
      'unlikely',
    );
  }
  endSlice(): void {
    this.f.callVoid(this.helper('cutBudget'), [i32.const(0)]);
  }
  interruptShadow(): void {
    this.f.store32(ZERO, i32.load(ZERO, STATE.budget), STATE.shadow);
  }
  protected budgetLeft(): I32 {
    return i32.load(ZERO, STATE.budget);
  }
  protected setBudgetLeft(left: I32): void {
    this.f.store32(ZERO, left, STATE.budget);
  }
  protected repeat(): void {
    this.f.store64(ZERO, this.thisLinear(), STATE.ip);
    this.exit(EXIT.repeat);
  }
  protected exit(code: number, condition?: I32): void {
    this.#exits.exit(code, condition);
  }
  protected exitWith(code: I32): void {
    this.#exits.exitWith(code);
  }
  protected tlbTable(write: boolean): { base: I32; offset: number } {
    return { base: i32.load(ZERO, write ? STATE.tlbWrite : STATE.tlbRead), offset: 0 };
  }
  protected spill(): void {
    // everything is in the state already
  }
}
