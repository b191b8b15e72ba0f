import type { FunctionBuilder, Hint } from '../../wasm/builder.ts';
import type { Callable, Expr, Float, I32, I64, V128, ValType } from '../../wasm/expr.ts';
import type { CodeMode, Operand } from '../decode/types.ts';
import type { SystemOperation } from './system-operations.ts';

export type Bytes = 1 | 2 | 4 | 8;
export type FlagName = 'cf' | 'pf' | 'af' | 'zf' | 'sf' | 'of';

/** What is known about an instruction when its semantics are emitted: the same in both drivers. */
export interface StaticFacts {
  readonly mnemonic: string;
  readonly mode: CodeMode;
  readonly operandSize: 2 | 4 | 8;
  readonly addressSize: 2 | 4 | 8;
  /** Width of stack accesses' address: 8 in 64-bit mode, else by SS.B. */
  readonly stackSize: 2 | 4 | 8;
  readonly lock: boolean;
  readonly rep: 'none' | 'rep' | 'repne';
  /** Condition code 0..15 of Jcc, SETcc, CMOVcc. */
  readonly condition: number;
  readonly vexL: 0 | 1 | undefined;
  readonly rexW: boolean;
  /** Kinds and widths only: register numbers, immediates and displacements come through the accessors. */
  readonly operands: readonly Pick<Operand, 'kind'>[];
}

/**
 * All an instruction may do. A semantics function does not execute the instruction: it emits wasm for it, once per form
 * in the interpreter (operands come from the decoded record at run time) and once per occurrence in the translator
 * (operands are constants, registers are wasm locals). Rules for authors:
 * - Every expression is evaluated where it is consumed. `let` what is used twice, or must be read before a write.
 * - All that can fault comes before the first change of a register, flag or memory: a faulting instruction did nothing.
 * - i64 values of narrower operands: `read` zero-extends, `readS` sign-extends; `write` uses the low bits only.
 */
export interface SemanticsContext {
  readonly f: FunctionBuilder;
  readonly facts: StaticFacts;

  // ---- operands by position (0 = destination)
  kind(i: number): Operand['kind'];
  /** Bytes of operand i (1, 2, 4, 8; 16 or 32 for vectors, 0 if none). */
  width(i: number): number;
  read(i: number): I64;
  readS(i: number): I64;
  /** `width` bytes of memory operand i, whatever its own width. */
  readMemory(i: number, width: Bytes): I64;
  /** Reads operand i and makes sure it can be written: the first half of a read-modify-write. Sign-extended. */
  modify(i: number): I64;
  /** Second half: stores into the operand that `modify` read. Also right for a register. */
  commit(i: number, value: I64): void;
  /** Writes operand i (a 32-bit register write clears the upper half). May fault for memory. */
  write(i: number, value: I64): void;
  /** The number of a segment, control or debug register, or any register operand. */
  registerNumber(i: number): I32;
  /** Effective address of memory operand i without segment base (LEA), truncated to the address size. */
  effectiveAddress(i: number): I64;
  /**
   * Linear address of memory operand i, in a local. Outside 64-bit mode the segment's limit and type are checked for
   * that `access` (by default a read).
   */
  linearAddress(i: number, access?: 'read' | 'write' | 'unchecked'): I64;
  /** Half `part` of the vector register that indexes memory operand i (VSIB). */
  indexVector(i: number, part: 0 | 1): V128;
  /** Linear address of the element of memory operand i that `index`, one of those, selects; checked for a read. */
  elementAddress(i: number, index: I64): I64;
  /** The same checks for `width` bytes at an offset in the segment of operand i. */
  checkOperandSegment(i: number, offset: I64, width: number, write: boolean): void;
  /** The same for segment number `segment`. */
  checkSegment(segment: number, offset: I64, width: number, write: boolean): void;
  /** 1 when accesses through the segment of operand i (through `segment`) must be checked one by one. */
  operandSegmentNeedsCheck(i: number): I32;
  segmentNeedsCheck(segment: number): I32;
  /** #GP(0) when an offset lies beyond the limit of CS; nothing in 64-bit mode. */
  checkCodeLimit(offset: I64): void;
  /** #GP(0) when the relative target of operand i does. */
  checkRelative(i: number): void;
  /** 1 when operand i lies in the stack segment: #SS instead of #GP. */
  inStackSegment(i: number): I32;

  // ---- implied registers
  gpr(index: number, width?: Bytes): I64;
  gprS(index: number, width?: Bytes): I64;
  setGpr(index: number, value: I64, width?: Bytes): void;
  /** Base of segment number n (0 for ES CS SS DS in 64-bit mode). */
  segmentBase(segment: number): I64;

  // ---- memory by linear address (width in bytes; fault leaves the instruction). `stack`: #SS rather than #GP.
  load(width: Bytes, linear: I64, stack?: boolean): I64;
  loadS(width: Bytes, linear: I64, stack?: boolean): I64;
  store(width: Bytes, linear: I64, value: I64, stack?: boolean): void;
  /** Faults now if [linear, linear+width) cannot be written; nothing is changed. For instructions with several stores. */
  probeWrite(width: number, linear: I64, stack?: boolean): void;
  loadV(linear: I64): V128;
  storeV(linear: I64, value: V128): void;

  // ---- vector operands. `part` 0 = low 16 bytes, 1 = high 16 bytes of a YMM.
  /** A vector register, or memory of 16 (32) bytes; `aligned`: #GP(0) unless the memory operand is aligned to its size. */
  readV(i: number, part?: 0 | 1, aligned?: boolean): V128;
  /** Low `width` bytes of a vector or MMX register, or memory of that width. */
  readLow(i: number, width: Bytes): I64;
  /** The low 4 or 8 bytes of a vector register, or memory of that width, as an f32 or f64. */
  readFloat(i: number, width: 4 | 8): Float;
  writeV(i: number, value: V128, part?: 0 | 1, aligned?: boolean): void;
  /** Writes the low bytes of a vector register and keeps the rest; memory of that width. */
  writeLow(i: number, width: Bytes, value: I64): void;
  /** Writes the low 4 or 8 bytes of vector register operand i and keeps the rest. */
  writeFloat(i: number, width: 4 | 8, value: Float): void;
  /** Zeroes bits 255:128 of vector register operand i (VEX.128 destinations). */
  zeroUpper(i: number): void;
  /** XMM register n by number (implicit XMM0 and the like). */
  xmm(index: number): V128;
  setXmm(index: number, value: V128): void;
  /** Bits 255:128 of YMM register n. */
  setUpper(index: number, value: V128): void;

  // ---- flags; a, b and result sign-extended from `width` bytes
  /** Flags of result = a - b (CMP, SUB, NEG); `borrow` 0/1 for SBB. */
  flagsSub(width: number, a: I64, b: I64, result: I64, borrow?: I32): void;
  /** Flags of result = a + b; `carry` 0/1 for ADC. */
  flagsAdd(width: number, a: I64, b: I64, result: I64, carry?: I32): void;
  /** ZF, SF, PF from the result; CF = OF = AF = 0. */
  flagsLogic(width: number, result: I64): void;
  /** ZF, SF, PF from the result; CF, OF, AF given as 0/1 (AF 0 when left out). */
  flagsResult(width: number, result: I64, cf: I32, of: I32, af?: I32): void;
  /** Sets the named flags (0/1 each) and keeps the others. */
  flagsSet(flags: Partial<Record<FlagName, I32>>): void;
  /** Sets all six from an RFLAGS-layout word. */
  flagsFromWord(word: I32): void;
  /** The six status flags as an RFLAGS-layout word. */
  flagsWord(): I32;
  flag(name: FlagName): I32;
  /** CF for an instruction that records it as it was: anything where nobody will look at its flags. */
  keptCarry(): I32;
  /** Condition code 0..15 (SDM vol. 1, appendix B) as 0/1. */
  condition(code: number): I32;
  /** Runs `body`, which sets flags, only when `condition` holds (shifts by CL). */
  flagsIf(condition: I32, body: () => void): void;

  // ---- control
  /** RIP (EIP, IP) of the next instruction, as pushed by CALL. */
  nextIp(): I64;
  /** RIP of this instruction. */
  thisIp(): I64;
  /** Goes to the relative target of operand i, always or when `condition` holds. */
  jumpRelative(i: number, condition?: I32): void;
  /** Goes to an offset in the current code segment (already of the operand's width; canonical checks made by the caller). */
  jumpTo(target: I64): void;
  /** Goes to a linear address whatever the code mode that was just set (SYSCALL, SYSRET). */
  jumpAnywhere(linear: I64): void;
  /**
   * Emits `check`, which raises what a state cell demands. Only instructions that end straight code change such a cell, so that
   * one check of it stands for those that follow.
   */
  checkOnce(cell: number, check: () => void): void;
  /** Raises an exception when `condition` holds; nothing has been changed yet. */
  raiseIf(condition: I32, vector: number, error?: I32 | number): void;
  raise(vector: number, error?: I32 | number): void;
  /** Hands the instruction to JavaScript (SYSTEM_OPERATIONS[name]); up to four i64 arguments. Ends the instruction. */
  system(name: SystemOperation, args?: readonly I64[]): void;
  /** Retires this instruction, then returns to the run loop, which looks at interrupts, modes and mappings anew. */
  endWithRefresh(): void;
  /** Retires this instruction and sleeps. */
  halt(): void;
  /** After setting IF or lowering TPR: makes sure a pending interrupt is seen after `instructions` more instructions. */
  recheckInterrupts(instructions: 0 | 1): void;
  /** The run loop must look at flags and interrupts before the next instruction (TF was set). */
  endSlice(): void;
  /** No interrupt is to be taken before the next instruction has retired (STI, MOV SS, POP SS). */
  interruptShadow(): void;
  /** Selector and offset of a far pointer: immediate or memory operand i. */
  farPointer(i: number): { selector: I64; offset: I64 };
  /** Runs a string instruction's iterations: `body` does one; see string.ts. */
  readonly budget: {
    /** Iterations that may still run in this instruction, including the first. */
    available(): I32;
    /** Tells that n iterations were done (n >= 1; the first is the instruction itself). */
    spend(n: I32): void;
    /** Leaves with this same instruction still to be finished. */
    repeat(): void;
  };

  // ---- state cells (offsets of state.ts)
  state32(offset: number): I32;
  setState32(offset: number, value: I32): void;
  state64(offset: number): I64;
  setState64(offset: number, value: I64): void;

  /** Flags argument (SLOW) of the memory slow paths, for helpers that call them; `stack`: 1 for an access through SS. */
  slowFlags(width: number, stack: I32): I32;

  // ---- shared helper functions, made once in the core module (helpers/*.ts), by name
  helper(name: string): Callable;
  call<T extends ValType>(type: T, name: string, args: readonly Expr[]): Expr<T>;
  /** Leaves the instruction if a helper has raised a fault (STATE.fault). */
  checkFault(): void;
  readonly unlikely: Hint;
}

export type Semantics = (cx: SemanticsContext) => void;
