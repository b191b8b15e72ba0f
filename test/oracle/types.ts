/**
 * One instruction, one complete user-mode state before it, one after it: what every engine
 * (the host CPU, the interpreter, the translator) is asked and what it answers.
 */

/** Two pages of code, readable and executable at CPL 3, filled with 0xCC around the case; the next page is unmapped. */
export const CODE_BASE = 0x1000_0000;
export const CODE_SIZE = 0x2000;
/** Two readable and writable, not executable pages; unmapped before and after. */
export const DATA_BASE = 0x2000_0000;
export const DATA_SIZE = 0x2000;
/** One page that can only be read; unmapped before and after. Nothing else is mapped below 4 GiB. */
export const READONLY_BASE = 0x2000_4000;
export const READONLY_SIZE = 0x1000;

/** Selectors of user code (Linux's GDT). DS, ES, FS and GS are 0 in 64-bit code, flat in 32-bit code. */
export const SELECTOR = { code32: 0x23, code64: 0x33, data: 0x2b, thread: 0x63 } as const;
/** Linux's GDT as far as user code can tell (arch/x86/kernel/cpu/common.c): by selector. 0x78 is left out: it names the CPU. */
export const GDT: readonly (readonly [selector: number, descriptor: bigint])[] = [
  [0x08, 0x00cf_9b00_0000_ffffn],
  [0x10, 0x00af_9b00_0000_ffffn],
  [0x18, 0x00cf_9300_0000_ffffn],
  [0x20, 0x00cf_fb00_0000_ffffn],
  [0x28, 0x00cf_f300_0000_ffffn],
  [0x30, 0x00af_fb00_0000_ffffn],
  [0x60, 0x00df_f300_0000_ffffn],
];
export const GDT_LIMIT = 0x7f;

/** ES CS SS DS FS GS when a case of this mode begins. */
export function initialSelectors(mode: 64 | 32): Uint16Array {
  const { code32, code64, data, thread } = SELECTOR;
  return Uint16Array.from(mode === 64 ? [0, code64, data, 0, 0, 0] : [data, code32, data, data, thread, thread]);
}

/** A run of bytes of the data window, `offset` counted from DATA_BASE. */
export interface MemoryPatch {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface CpuCase {
  /** One instruction, or several in a row (up to 64 bytes) that do not branch among themselves. */
  readonly code: Uint8Array;
  /** Lengths of the instructions when there are several. */
  readonly lengths?: readonly number[];
  /** Where it lies, from CODE_BASE: 0..CODE_SIZE - 1. */
  readonly codeOffset: number;
  readonly mode: 64 | 32;
  /** RAX RCX RDX RBX RSP RBP RSI RDI R8..R15; in mode 32 the upper halves are 0. */
  readonly gpr: BigUint64Array;
  /** Bits 1 and 9 (IF) are taken as set, TF as clear. */
  readonly rflags: number;
  readonly fsBase: bigint;
  readonly gsBase: bigint;
  /** YMM0..YMM15, 32 bytes each, little endian. */
  readonly ymm: Uint8Array;
  readonly mxcsr: number;
  /**
   * The first 160 bytes of an FXSAVE64 image (x87 header and registers; its MXCSR is not used).
   * undefined = after FNINIT, registers 0.
   */
  readonly fx: Uint8Array | undefined;
  /** Differences from `background()`; they must not overlap. */
  readonly memory: readonly MemoryPatch[];
  /** Asks the host to single-step even what its policy takes for straight-line code (bytes that may be anything). */
  readonly singleStep?: true;
}

export type Outcome =
  | { readonly kind: 'ok' }
  | { readonly kind: 'fault'; readonly vector: number; readonly errorCode: number; readonly cr2?: bigint }
  /** Did not end within 0.1 s. */
  | { readonly kind: 'timeout' }
  /** The engine itself died. */
  | { readonly kind: 'crash' };

export interface CpuResult {
  readonly outcome: Outcome;
  /** Address of the next instruction; of the faulting one after a fault (of the one behind it after a trap). */
  readonly rip: bigint;
  readonly gpr: BigUint64Array;
  /** RF is reported as 0. */
  readonly rflags: number;
  readonly fsBase: bigint;
  readonly gsBase: bigint;
  readonly ymm: Uint8Array;
  readonly mxcsr: number;
  /** 160 bytes as in the case, bytes 24..31 (MXCSR and its mask) zero. */
  readonly fx: Uint8Array;
  /** ES CS SS DS FS GS. */
  readonly selectors: Uint16Array;
  /** The 64-byte lines of the data window that differ from the case's initial contents, ascending. */
  readonly memory: readonly MemoryPatch[];
}

export interface Engine {
  readonly name: string;
  run(cases: readonly CpuCase[]): CpuResult[] | Promise<CpuResult[]>;
}

/** Bytes of an FXSAVE image that hold x87 state: header and eight 16-byte registers (SDM vol. 1, table 10-2). */
export const FX_BYTES = 160;
export const LINE = 64;

/** The contents of the data window and of the read-only page before the patches of a case: the same for all cases. */
export function background(): { readonly data: Uint8Array; readonly readonly: Uint8Array } {
  const bytes = new Uint8Array(DATA_SIZE + READONLY_SIZE);
  let state = 0x2545f491;
  for (let i = 0; i < bytes.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state >>> 24;
  }
  return { data: bytes.subarray(0, DATA_SIZE), readonly: bytes.subarray(DATA_SIZE) };
}

/** x87 state after FNINIT with all registers 0: control word 037F, all tags empty. */
export function initialFx(): Uint8Array {
  const fx = new Uint8Array(FX_BYTES);
  fx[0] = 0x7f;
  fx[1] = 0x03;
  return fx;
}

/** What a difference is narrowed down to before lines are compared. */
const BLOCK = 1024;

/** The data window of an engine that runs in this process: set up before a case, compared and restored after it. */
export class DataWindow {
  readonly #background = background().data;
  readonly #before = this.#background.slice();
  /** The live bytes, e.g. a view of guest RAM; must hold `background().data` when this is built. */
  readonly #live: Uint8Array;
  #patches: readonly MemoryPatch[] = [];

  constructor(live: Uint8Array) {
    this.#live = live;
  }

  enter(patches: readonly MemoryPatch[]): void {
    this.#patches = patches;
    for (const { offset, bytes } of patches) {
      this.#live.set(bytes, offset);
      this.#before.set(bytes, offset);
    }
  }

  /** The changed lines; afterwards the window holds the background again. */
  leave(): MemoryPatch[] {
    const changed: MemoryPatch[] = [];
    if (!this.#same(0, DATA_SIZE)) {
      for (let block = 0; block < DATA_SIZE; block += BLOCK) {
        if (this.#same(block, BLOCK)) continue;
        for (let offset = block; offset < block + BLOCK; offset += LINE) {
          if (this.#same(offset, LINE)) continue;
          changed.push({ offset, bytes: this.#live.slice(offset, offset + LINE) });
          this.#live.set(this.#before.subarray(offset, offset + LINE), offset);
        }
      }
    }
    for (const { offset, bytes } of this.#patches) {
      const original = this.#background.subarray(offset, offset + bytes.length);
      this.#live.set(original, offset);
      this.#before.set(original, offset);
    }
    return changed;
  }

  #same(offset: number, length: number): boolean {
    const live = this.#live.subarray(offset, offset + length);
    return Buffer.compare(live, this.#before.subarray(offset, offset + length)) === 0;
  }
}
