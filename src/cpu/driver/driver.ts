import { type FunctionBuilder, type Hint, ZERO } from '../../wasm/builder.ts';
import {
  type Callable,
  type Expr,
  type Float,
  f32,
  f64,
  type I32,
  type I64,
  i32,
  i64,
  isConst,
  type V128,
  type ValType,
} from '../../wasm/expr.ts';
import { v128 } from '../../wasm/simd.ts';
import { type DecodedInstruction, FLAG, type Operand } from '../decode/types.ts';
import {
  conditionOf,
  explicitResult,
  FLAG_OP,
  type FlagRecord,
  flagMask,
  flagOf,
  packFlags,
  wordOf,
} from '../flags.ts';
import { setFault } from '../mmu/walk.ts';
import type { Bytes, FlagName, SemanticsContext, StaticFacts } from '../semantics/context.ts';
import { SYSTEM_OPERATIONS, type SystemOperation } from '../semantics/system-operations.ts';
import { EXIT, SEGMENT_ACCESS, SLOW, STATE, TLB } from '../state.ts';

const RAM = 1;

/** The raw loads and stores of memory 1, by width. */
const loadU = (width: Bytes, at: I32): I64 =>
  width === 8
    ? i64.load(at, 0, RAM)
    : width === 4
      ? i64.load32U(at, 0, RAM)
      : width === 2
        ? i64.load16U(at, 0, RAM)
        : i64.load8U(at, 0, RAM);
const loadSigned = (width: Bytes, at: I32): I64 =>
  width === 8
    ? i64.load(at, 0, RAM)
    : width === 4
      ? i64.load32S(at, 0, RAM)
      : width === 2
        ? i64.load16S(at, 0, RAM)
        : i64.load8S(at, 0, RAM);
function rawStore(f: FunctionBuilder, width: Bytes, at: I32, value: I64): void {
  if (width === 8) f.store64(at, value, 0, RAM);
  else if (width === 4) f.store32(at, i32.wrap(value), 0, RAM);
  else if (width === 2) f.store16(at, i32.wrap(value), 0, RAM);
  else f.store8(at, i32.wrap(value), 0, RAM);
}
export const signExtend = (width: number, value: I64): I64 =>
  width >= 8 ? value : width === 4 ? i64.extend32S(value) : width === 2 ? i64.extend16S(value) : i64.extend8S(value);
export const zeroExtend = (width: number, value: I64): I64 =>
  width >= 8
    ? value
    : width === 4
      ? i64.and(value, i64.const(0xffff_ffff))
      : width === 2
        ? i64.and(value, i64.const(0xffff))
        : i64.and(value, i64.const(0xff));

export function factsOf(d: DecodedInstruction, stackSize: 2 | 4 | 8): StaticFacts {
  return {
    mnemonic: d.row.mnemonic,
    mode: d.mode,
    operandSize: d.operandSize,
    addressSize: d.addressSize,
    stackSize,
    lock: d.lock,
    rep: d.rep,
    condition: d.row.condition ?? 0,
    vexL: d.vex?.l,
    rexW: d.rexW,
    operands: d.operands,
  };
}

/**
 * What both drivers share: memory through the TLB, flags, faults and exits. A driver adds where operands, registers and
 * addresses come from, and how an exit leaves its function.
 */
export abstract class Driver implements SemanticsContext {
  readonly f: FunctionBuilder;
  readonly facts: StaticFacts;
  readonly unlikely: Hint = 'unlikely';
  /** Extra SLOW bits of this driver's slow paths. */
  protected readonly slowBits: number = 0;
  /** Will nobody look at the flags this instruction sets? */
  protected readonly flagsAreDead: boolean = false;
  protected readonly d: DecodedInstruction;
  readonly #lookup: (name: string) => Callable;
  #linear: (I64 | undefined)[] | undefined;
  /** Outside 64-bit mode: effective address of a memory operand, and whether its segment was checked for a write. */
  readonly #checked = new Map<number, { readonly offset: I64; write: boolean }>();
  #rmw: (I32 | undefined)[] | undefined;

  constructor(f: FunctionBuilder, d: DecodedInstruction, facts: StaticFacts, lookup: (name: string) => Callable) {
    this.f = f;
    this.d = d;
    this.facts = facts;
    this.#lookup = lookup;
  }

  // ---- what a driver supplies
  protected abstract readOperand(i: number, width: Bytes, signed: boolean): I64;
  protected abstract writeOperand(i: number, width: Bytes, value: I64): void;
  /** `offset`: the effective address, where it was computed before. */
  protected abstract computeLinear(i: number, offset?: I64): I64;
  /** Number of the segment of memory operand i. */
  protected abstract segmentNumber(i: number): I32;
  /** Is a segment's check cell known to be 0 here? */
  protected isFlat(_segment: number): boolean {
    return false;
  }
  abstract effectiveAddress(i: number, index?: I64): I64;
  abstract indexVector(i: number, part: 0 | 1): V128;
  abstract inStackSegment(i: number): I32;
  abstract registerNumber(i: number): I32;
  abstract gpr(index: number, width?: Bytes): I64;
  abstract gprS(index: number, width?: Bytes): I64;
  abstract setGpr(index: number, value: I64, width?: Bytes): void;
  protected abstract farImmediate(i: number): { selector: I64; offset: I64 };
  protected abstract vectorOperand(i: number, part: 0 | 1): V128;
  protected abstract setVectorOperand(i: number, part: 0 | 1, value: V128): void;
  protected abstract vectorLow(i: number, width: Bytes): I64;
  protected abstract setVectorLow(i: number, width: Bytes, value: I64): void;
  protected abstract floatOperand(i: number, width: 4 | 8): Float;
  protected abstract setFloatOperand(i: number, width: 4 | 8, value: Float): void;
  abstract xmm(index: number): V128;
  abstract setXmm(index: number, value: V128): void;
  abstract setUpper(index: number, value: V128): void;
  protected abstract flagRecord(): FlagRecord;
  protected abstract recordFlags(op: number | I32, a?: I64, b?: I64, r?: I64, word?: I32): void;
  abstract flagsIf(condition: I32, body: () => void): void;
  /** Linear address of this instruction, and of the next. */
  protected abstract thisLinear(): I64;
  protected abstract nextLinear(): I64;
  abstract jumpRelative(i: number, condition?: I32): void;
  abstract checkRelative(i: number): void;
  abstract jumpAnywhere(linear: I64): void;
  /** Leaves the instruction with an EXIT code when `condition` holds (always without one). */
  protected abstract exit(code: number, condition?: I32): void;
  /** Leaves with a code computed at run time. */
  protected abstract exitWith(code: I32): void;
  /** Base of the read or write TLB table, as an address and a static offset. */
  protected abstract tlbTable(write: boolean): { base: I32; offset: number };
  /** Registers and flags held in locals must be in memory before JavaScript or a state-reading helper runs. */
  protected abstract spill(): void;

  // ---- operands
  kind(i: number): Operand['kind'] {
    return this.d.operands[i]!.kind;
  }
  width(i: number): number {
    const o = this.d.operands[i]!;
    return 'width' in o ? o.width : 0;
  }
  #bytes(i: number): Bytes {
    const width = this.width(i);
    if (width !== 1 && width !== 2 && width !== 4 && width !== 8)
      throw new RangeError(`${this.facts.mnemonic}: operand ${i} has no integer width (${width})`);
    return width;
  }
  read(i: number): I64 {
    const width = this.#bytes(i);
    return this.kind(i) === 'mem'
      ? this.#load(width, this.linearAddress(i), this.inStackSegment(i), false)
      : this.readOperand(i, width, false);
  }
  readS(i: number): I64 {
    const width = this.#bytes(i);
    return this.kind(i) === 'mem'
      ? this.#load(width, this.linearAddress(i), this.inStackSegment(i), true)
      : this.readOperand(i, width, true);
  }
  modify(i: number): I64 {
    const width = this.#bytes(i);
    if (this.kind(i) !== 'mem') return this.readOperand(i, width, true);
    const { f } = this;
    const at = this.linearAddress(i, 'write');
    const host = f.newLocal('i32');
    const value = f.newLocal('i64');
    const { entry, hit } = this.#probe(width, at, true);
    f.if(
      hit,
      () => {
        f.set(host, i32.add(i32.wrap(at), i32.load(entry, this.tlbTable(true).offset + TLB.addend)));
        f.set(value, loadSigned(width, f.get('i32', host)));
      },
      () => {
        f.set(
          value,
          signExtend(width, f.call('i64', this.helper('rmwSlow'), [at, this.slowFlags(width, this.inStackSegment(i))])),
        );
        this.checkFault();
        f.set(host, i32.load(ZERO, STATE.rmwHost));
      },
      'likely',
    );
    this.#rmw ??= [];
    this.#rmw[i] = f.get('i32', host);
    return f.get('i64', value);
  }
  commit(i: number, value: I64): void {
    const width = this.#bytes(i);
    const host = this.#rmw?.[i];
    if (host === undefined) {
      this.writeOperand(i, width, value);
      return;
    }
    const { f } = this;
    // translated code has left already unless the write goes straight to RAM
    if (this.slowBits & SLOW.bail) {
      rawStore(f, width, host, value);
      return;
    }
    const v = f.let(value);
    f.if(
      i32.eq(host, i32.const(-1)),
      () => f.callVoid(this.helper('storeSlow'), [this.linearAddress(i), v, i32.const(width)]),
      () => rawStore(f, width, host, v),
      'unlikely',
    );
  }
  write(i: number, value: I64): void {
    const width = this.#bytes(i);
    if (this.kind(i) !== 'mem') this.writeOperand(i, width, value);
    else this.#store(width, this.linearAddress(i, 'write'), value, this.inStackSegment(i));
  }
  linearAddress(i: number, access: 'read' | 'write' | 'unchecked' = 'read'): I64 {
    if (this.facts.mode !== 64) return this.#segmentedAddress(i, access);
    let linear = this.#linear?.[i];
    if (linear === undefined) {
      linear = this.f.let(this.computeLinear(i));
      this.#linear ??= [];
      this.#linear[i] = linear;
    }
    return linear;
  }
  #segmentedAddress(i: number, access: 'read' | 'write' | 'unchecked'): I64 {
    let linear = this.#linear?.[i];
    const known = this.#checked.get(i);
    const offset = known?.offset ?? this.f.let(this.effectiveAddress(i));
    const write = access === 'write';
    if (access !== 'unchecked' && (known === undefined || (write && !known.write))) {
      this.checkOperandSegment(i, offset, Math.max(1, this.width(i)), write);
      this.#checked.set(i, { offset, write });
    }
    if (linear === undefined) {
      linear = this.f.let(this.computeLinear(i, offset));
      this.#linear ??= [];
      this.#linear[i] = linear;
    }
    return linear;
  }
  #emitSegmentCheck(segment: I32, offset: I64, width: number, write: boolean): void {
    const flags = i32.const(width | (write ? SEGMENT_ACCESS.write : 0));
    this.f.if(
      i32.load(i32.shl(segment, i32.const(2)), STATE.segmentCheck),
      () => {
        this.f.callVoid(this.helper('checkSegment'), [segment, offset, flags]);
        this.checkFault();
      },
      undefined,
      'unlikely',
    );
  }
  elementAddress(i: number, index: I64): I64 {
    const offset = this.f.let(this.effectiveAddress(i, index));
    this.checkOperandSegment(i, offset, this.width(i), false);
    return this.f.let(this.computeLinear(i, offset));
  }
  checkOperandSegment(i: number, offset: I64, width: number, write: boolean): void {
    if (this.facts.mode === 64) return;
    const segment = this.segmentNumber(i);
    if (isConst(segment)) this.checkSegment(segment.lo, offset, width, write);
    else this.#emitSegmentCheck(this.f.let(segment), this.f.let(offset), width, write);
  }
  checkSegment(segment: number, offset: I64, width: number, write: boolean): void {
    if (this.facts.mode === 64 || this.isFlat(segment)) return;
    this.#emitSegmentCheck(i32.const(segment), this.f.let(offset), width, write);
  }
  operandSegmentNeedsCheck(i: number): I32 {
    return this.facts.mode === 64
      ? i32.const(0)
      : i32.load(i32.shl(this.segmentNumber(i), i32.const(2)), STATE.segmentCheck);
  }
  segmentNeedsCheck(segment: number): I32 {
    return this.facts.mode === 64 || this.isFlat(segment)
      ? i32.const(0)
      : i32.load(ZERO, STATE.segmentCheck + segment * 4);
  }
  checkCodeLimit(offset: I64): void {
    if (this.facts.mode === 64 || this.isFlat(1)) return;
    this.raiseIf(i64.gtU(offset, i64.load32U(ZERO, STATE.segLimit + 4)), 13, 0);
  }
  segmentBase(segment: number): I64 {
    if (this.facts.mode === 64 && segment < 4) return i64.const(0);
    return i64.load(ZERO, STATE.segBase + segment * 8);
  }

  readMemory(i: number, width: Bytes): I64 {
    return this.#load(width, this.linearAddress(i), this.inStackSegment(i), false);
  }
  farPointer(i: number): { selector: I64; offset: I64 } {
    if (this.kind(i) === 'far') return this.farImmediate(i);
    const at = this.linearAddress(i);
    const size = this.facts.operandSize;
    const stack = this.inStackSegment(i);
    const offset = this.f.let(this.#load(size, at, stack, false));
    return { offset, selector: this.#load(2, i64.add(at, i64.const(size)), stack, false) };
  }

  // ---- memory
  #probe(width: number, at: I64, write: boolean): { entry: I32; hit: I32 } {
    const { base, offset } = this.tlbTable(write);
    const index = i32.and(i32.wrap(i64.shrU(at, i64.const(8))), i32.const(TLB.indexMask));
    const entry = this.f.let(i32.add(index, base));
    // the last byte's page must be the tag: one compare for presence, permission and page crossing
    const page = i64.and(i64.add(at, i64.const(width - 1)), i64.const(-4096));
    return { entry, hit: i64.eq(i64.load(entry, offset + TLB.tag), page) };
  }
  slowFlags(width: number, stack: I32): I32 {
    return i32.or(i32.const(width | this.slowBits), i32.shl(stack, i32.const(8)));
  }
  #load(width: Bytes, linear: I64, stack: I32, signed: boolean): I64 {
    const { f } = this;
    const at = isConst(linear) || linear.op === 0x20 ? linear : f.let(linear);
    const { entry, hit } = this.#probe(width, at, false);
    const value = f.newLocal('i64');
    f.if(
      hit,
      () => {
        const host = i32.add(i32.wrap(at), i32.load(entry, this.tlbTable(false).offset + TLB.addend));
        f.set(value, signed ? loadSigned(width, host) : loadU(width, host));
      },
      () => {
        f.set(value, f.call('i64', this.helper('loadSlow'), [at, this.slowFlags(width, stack)]));
        this.checkFault();
        if (signed && width < 8) f.set(value, signExtend(width, f.get('i64', value)));
      },
      'likely',
    );
    return f.get('i64', value);
  }
  #store(width: Bytes, linear: I64, value: I64, stack: I32): void {
    const { f } = this;
    const at = f.let(linear);
    const v = f.let(value);
    const { entry, hit } = this.#probe(width, at, true);
    f.if(
      hit,
      () => rawStore(f, width, i32.add(i32.wrap(at), i32.load(entry, this.tlbTable(true).offset + TLB.addend)), v),
      () => {
        f.callVoid(this.helper('storeSlow'), [at, v, this.slowFlags(width, stack)]);
        this.checkFault();
      },
      'likely',
    );
  }
  load(width: Bytes, linear: I64, stack = false): I64 {
    return this.#load(width, linear, i32.const(stack ? 1 : 0), false);
  }
  loadS(width: Bytes, linear: I64, stack = false): I64 {
    return this.#load(width, linear, i32.const(stack ? 1 : 0), true);
  }
  store(width: Bytes, linear: I64, value: I64, stack = false): void {
    this.#store(width, linear, value, i32.const(stack ? 1 : 0));
  }
  probeWrite(width: number, linear: I64, stack = false): void {
    const { f } = this;
    const at = f.let(linear);
    const { hit } = this.#probe(width, at, true);
    f.if(
      i32.eqz(hit),
      () => {
        f.callVoid(this.helper('probeWriteSlow'), [at, this.slowFlags(width, i32.const(stack ? 1 : 0))]);
        this.checkFault();
      },
      undefined,
      'unlikely',
    );
  }
  loadV(linear: I64): V128 {
    return this.#loadV(linear, i32.const(0));
  }
  #loadV(linear: I64, stack: I32, operandWidth = 16): V128 {
    const { f } = this;
    const at = f.let(linear);
    const { entry, hit } = this.#probe(16, at, false);
    return f.choose(
      'v128',
      hit,
      () => v128.load(i32.add(i32.wrap(at), i32.load(entry, this.tlbTable(false).offset + TLB.addend)), 0, RAM),
      () => {
        f.callVoid(this.helper('loadVectorSlow'), [at, this.slowFlags(operandWidth, stack)]);
        this.checkFault();
        return v128.load(ZERO, STATE.vectorScratch);
      },
      'likely',
    );
  }
  storeV(linear: I64, value: V128): void {
    this.#storeV(linear, value, i32.const(0));
  }
  #storeV(linear: I64, value: V128, stack: I32, operandWidth = 16): void {
    const { f } = this;
    const at = f.let(linear);
    const v = f.let(value);
    const { entry, hit } = this.#probe(16, at, true);
    f.if(
      hit,
      () => f.storeV128(i32.add(i32.wrap(at), i32.load(entry, this.tlbTable(true).offset + TLB.addend)), v, 0, RAM),
      () => {
        f.storeV128(ZERO, v, STATE.vectorScratch);
        f.callVoid(this.helper('storeVectorSlow'), [at, this.slowFlags(operandWidth, stack)]);
        this.checkFault();
      },
      'likely',
    );
  }

  // ---- vectors
  #vectorAddress(i: number, part: number, aligned: boolean): I64 {
    const linear = this.linearAddress(i);
    if (aligned && part === 0) {
      const mask = this.width(i) - 1;
      this.raiseIf(i64.ne(i64.and(linear, i64.const(mask)), i64.const(0)), 13, 0);
    }
    return i64.add(linear, i64.const(16 * part));
  }
  readV(i: number, part: 0 | 1 = 0, aligned = false): V128 {
    if (this.kind(i) !== 'mem') return this.vectorOperand(i, part);
    return this.#loadV(this.#vectorAddress(i, part, aligned), this.inStackSegment(i), part === 0 ? this.width(i) : 16);
  }
  readLow(i: number, width: Bytes): I64 {
    return this.kind(i) === 'mem'
      ? this.#load(width, this.linearAddress(i), this.inStackSegment(i), false)
      : this.vectorLow(i, width);
  }
  readFloat(i: number, width: 4 | 8): Float {
    if (this.kind(i) !== 'mem') return this.floatOperand(i, width);
    const bits = this.readLow(i, width);
    return width === 8 ? f64.reinterpret(bits) : f32.reinterpret(i32.wrap(bits));
  }
  writeFloat(i: number, width: 4 | 8, value: Float): void {
    this.setFloatOperand(i, width, value);
  }
  writeV(i: number, value: V128, part: 0 | 1 = 0, aligned = false): void {
    if (this.kind(i) !== 'mem') {
      this.setVectorOperand(i, part, value);
      return;
    }
    if (this.facts.mode !== 64) this.linearAddress(i, 'write');
    this.#storeV(this.#vectorAddress(i, part, aligned), value, this.inStackSegment(i), part === 0 ? this.width(i) : 16);
  }
  writeLow(i: number, width: Bytes, value: I64): void {
    if (this.kind(i) === 'mem') this.#store(width, this.linearAddress(i, 'write'), value, this.inStackSegment(i));
    else this.setVectorLow(i, width, value);
  }
  zeroUpper(i: number): void {
    if (this.kind(i) === 'vec') this.setVectorOperand(i, 1, v128.zero());
  }

  // ---- flags
  flagsSub(width: number, a: I64, b: I64, result: I64, borrow?: I32): void {
    const op = borrow === undefined ? FLAG_OP.sub : i32.shl(borrow, i32.const(1));
    this.recordFlags(op, signExtend(width, a), signExtend(width, b), signExtend(width, result));
  }
  flagsAdd(width: number, a: I64, b: I64, result: I64, carry?: I32): void {
    const op = carry === undefined ? FLAG_OP.add : i32.add(i32.shl(carry, i32.const(1)), i32.const(FLAG_OP.add));
    this.recordFlags(op, signExtend(width, a), signExtend(width, b), signExtend(width, result));
  }
  flagsLogic(width: number, result: I64): void {
    const r = this.f.let(signExtend(width, result));
    this.recordFlags(FLAG_OP.sub, r, i64.const(0), r);
  }
  flagsResult(width: number, result: I64, cf: I32, of: I32, af: I32 = i32.const(0)): void {
    this.recordFlags(FLAG_OP.result, undefined, undefined, signExtend(width, result), packFlags({ cf, of, af }));
  }
  flagsSet(flags: Partial<Record<FlagName, I32>>): void {
    if (this.flagsAreDead) return;
    const { zf, sf, pf, af } = flags;
    if (!(zf || sf || pf || af)) {
      this.#overrideFlags(flags.cf ?? this.flag('cf'), flags.of ?? this.flag('of'));
      return;
    }
    const kept = i32.and(this.flagsWord(), i32.const(~flagMask(flags)));
    this.flagsFromWord(i32.or(kept, packFlags(flags)));
  }
  /** CF and OF in the word, the rest of the record as it is. */
  #overrideFlags(cf: I32, of: I32): void {
    const { known, op, word } = this.flagRecord();
    // where CF and OF did not come from the word nothing else does
    const isUsed = known === undefined || known >= FLAG_OP.result;
    const kept = isUsed ? i32.and(word, i32.const(~(FLAG.cf | FLAG.of))) : i32.const(0);
    const next =
      known === undefined ? i32.or(op, i32.const(FLAG_OP.override)) : isUsed ? known : known | FLAG_OP.override;
    this.recordFlags(next, undefined, undefined, undefined, i32.or(kept, packFlags({ cf, of })));
  }
  flagsFromWord(word: I32): void {
    const w = this.f.let(i32.and(word, i32.const(0x8d5)));
    this.recordFlags(FLAG_OP.explicit, undefined, undefined, explicitResult(w), w);
  }
  flagsWord(): I32 {
    return wordOf(this.f, (name) => this.helper(name), this.flagRecord());
  }
  flag(name: FlagName): I32 {
    return flagOf(this.f, (n) => this.helper(n), name, this.flagRecord());
  }
  keptCarry(): I32 {
    return this.flagsAreDead ? i32.const(0) : this.flag('cf');
  }
  condition(code: number): I32 {
    return conditionOf(this.f, (n) => this.helper(n), code, this.flagRecord());
  }

  // ---- control
  #offsetInCode(linear: I64): I64 {
    return this.facts.mode === 64 ? linear : i64.and(i64.sub(linear, this.segmentBase(1)), i64.const(0xffff_ffff));
  }
  nextIp(): I64 {
    const ip = this.#offsetInCode(this.nextLinear());
    return this.facts.mode === 16 ? i64.and(ip, i64.const(0xffff)) : ip;
  }
  thisIp(): I64 {
    return this.#offsetInCode(this.thisLinear());
  }
  jumpTo(target: I64): void {
    this.jumpAnywhere(
      this.facts.mode === 64 ? target : i64.and(i64.add(target, this.segmentBase(1)), i64.const(0xffff_ffff)),
    );
  }
  raiseIf(condition: I32, vector: number, error?: I32 | number): void {
    this.f.if(condition, () => this.raise(vector, error), undefined, 'unlikely');
  }
  raise(vector: number, error?: I32 | number): void {
    setFault(this.f, vector, typeof error === 'number' ? i32.const(error) : error);
    this.exit(EXIT.fault);
  }
  checkFault(): void {
    this.exit(EXIT.fault, i32.load(ZERO, STATE.fault));
  }
  system(name: SystemOperation, args: readonly I64[] = []): void {
    args.forEach((value, n) => {
      this.f.store64(ZERO, value, STATE.mailbox + n * 8);
    });
    this.spill();
    this.f.store64(ZERO, this.thisLinear(), STATE.ip);
    this.f.store64(ZERO, this.nextLinear(), STATE.nextIp);
    this.exitWith(this.f.call('i32', this.helper('system'), [i32.const(SYSTEM_OPERATIONS.indexOf(name))]));
  }
  endWithRefresh(): void {
    this.f.store64(ZERO, this.nextLinear(), STATE.ip);
    this.exit(EXIT.refresh);
  }
  halt(): void {
    this.f.store64(ZERO, this.nextLinear(), STATE.ip);
    this.exit(EXIT.halt);
  }
  checkOnce(_cell: number, check: () => void): void {
    check();
  }
  abstract recheckInterrupts(instructions: 0 | 1): void;
  abstract endSlice(): void;
  abstract interruptShadow(): void;
  /** What is left of the budget after this instruction (in translated code: after its block). */
  protected abstract budgetLeft(): I32;
  protected abstract setBudgetLeft(left: I32): void;
  /** Leaves with this instruction still to be finished, nothing of the budget being left. */
  protected abstract repeat(): void;
  #countRepetitions(n: I64): void {
    this.f.store64(ZERO, i64.add(i64.load(ZERO, STATE.repIterations), n), STATE.repIterations);
  }
  get budget(): SemanticsContext['budget'] {
    return {
      available: () => i32.add(this.budgetLeft(), i32.const(1)),
      spend: (n) => {
        const extra = this.f.let(i32.sub(n, i32.const(1)));
        this.setBudgetLeft(i32.sub(this.budgetLeft(), extra));
        this.#countRepetitions(i64.extendU(extra));
      },
      repeat: () => {
        // the next iteration is this instruction's still, not the first of another
        this.#countRepetitions(i64.const(1));
        this.repeat();
      },
    };
  }

  // ---- state cells and helpers
  state32(offset: number): I32 {
    return i32.load(ZERO, offset);
  }
  setState32(offset: number, value: I32): void {
    this.f.store32(ZERO, value, offset);
  }
  state64(offset: number): I64 {
    return i64.load(ZERO, offset);
  }
  setState64(offset: number, value: I64): void {
    this.f.store64(ZERO, value, offset);
  }
  helper(name: string): Callable {
    return this.#lookup(name);
  }
  call<T extends ValType>(type: T, name: string, args: readonly Expr[]): Expr<T> {
    return this.f.call(type, this.helper(name), args);
  }
}
