/** Operating mode of the code being decoded: CS.L / CS.D (SDM vol. 3, 3.4.5). */
export type CodeMode = 16 | 32 | 64;

/** Operand width in bytes; 0 where the operand has none (LEA, INVLPG) or the area is larger than 64 bytes (FXSAVE). */
export type Width = 0 | 1 | 2 | 4 | 6 | 8 | 10 | 16 | 32;

/** General register numbers as encoded (RAX RCX RDX RBX RSP RBP RSI RDI R8..R15). */
export interface GprOperand {
  readonly kind: 'gpr';
  readonly index: number;
  readonly width: 1 | 2 | 4 | 8;
  /** AH CH DH BH: `index` is then 0..3 (the register that holds it) and bits 15:8 are meant. */
  readonly high: boolean;
}
/** Segment numbers as encoded: ES CS SS DS FS GS. */
export const SEGMENT = { es: 0, cs: 1, ss: 2, ds: 3, fs: 4, gs: 5 } as const;
export interface MemOperand {
  readonly kind: 'mem';
  readonly width: Width;
  /** 0..15, -1 none, 16 = RIP of the next instruction. */
  readonly base: number;
  /** 0..15, -1 none; for a VSIB operand a vector register number. */
  readonly index: number;
  /** log2 of the factor: 0..3. */
  readonly scale: number;
  /** 64-bit displacement, sign-extended, as two int32 halves. */
  readonly dispLo: number;
  readonly dispHi: number;
  /** Effective segment, override and default (SS for RSP/RBP bases) already applied. */
  readonly segment: number;
  /** 2, 4 or 8: width of the address calculation. */
  readonly addressSize: 2 | 4 | 8;
}
/** An immediate, sign-extended (or zero-extended where the SDM says so) to 64 bits, as two int32 halves. */
export interface ImmOperand {
  readonly kind: 'imm';
  readonly width: 1 | 2 | 4 | 8;
  readonly lo: number;
  readonly hi: number;
}
/** Relative branch target: displacement from the next instruction. */
export interface RelOperand {
  readonly kind: 'rel';
  readonly displacement: number;
}
/** ptr16:16, ptr16:32. */
export interface FarOperand {
  readonly kind: 'far';
  readonly selector: number;
  readonly offset: number;
}
/** Any other register: vector (xmm/ymm by width 16/32), MMX, x87 stack, segment, control, debug. */
export interface RegOperand {
  readonly kind: 'vec' | 'mmx' | 'st' | 'seg' | 'cr' | 'dr';
  readonly index: number;
  readonly width: Width;
}
export type Operand = GprOperand | MemOperand | ImmOperand | RelOperand | FarOperand | RegOperand;

/** Why decoding stopped short. 'more' = the bytes end inside the instruction (page boundary). */
export type DecodeFailure =
  | { readonly kind: 'more' }
  | {
      readonly kind: 'ud' /** name for the statistics, e.g. "0f 3a 44 (pclmulqdq, cpu model)" */;
      readonly what: string;
    }
  | { readonly kind: 'gp' /** longer than 15 bytes */; readonly what: string };

export type FlagSet = number;
/** RFLAGS bits, usable as a mask. */
export const FLAG = { cf: 1, pf: 4, af: 0x10, zf: 0x40, sf: 0x80, tf: 0x100, if: 0x200, df: 0x400, of: 0x800 } as const;

/** One opcode, in the SDM's notation (vol. 2, appendix A): what it is, never what it does. */
export interface OpcodeRow {
  /** e.g. "01 /r", "66 0F 38 00 /r", "VEX.128.66.0F.WIG FC /r", "F3 0F BC /r". */
  readonly opcode: string;
  /** Lower-case Intel mnemonic without condition or width suffix variants that the operands already tell; the key into SEMANTICS. */
  readonly mnemonic: string;
  /** SDM operand codes: "Ev", "Gv", "Iz", "M", "Vx", "Wx", "Hx", "rAX", "1", "CL"... */
  readonly operands: readonly string[];
  /** CPUID feature that must be present, else #UD (or the next matching row): "sse2", "bmi1"; "aes+avx" needs both. */
  readonly feature?: string;
  /** LOCK allowed with a memory destination. */
  readonly lock?: true;
  /** Privileged: #GP(0) when CPL > 0 (checked by the drivers before the semantics run). */
  readonly cpl0?: true;
  /** Default/forced 64-bit operand size, invalid in 64-bit mode, only in 64-bit mode (SDM superscripts d64 f64 i64 o64). */
  readonly size?: 'd64' | 'f64';
  readonly only?: 'i64' | 'o64';
  /** Flags read; given a defined value (for at least some operands); left undefined (for at least some operands). */
  readonly reads?: FlagSet;
  readonly writes?: FlagSet;
  readonly undefined?: FlagSet;
  /**
   * Part of `writes` and `undefined` that keeps its old value for some operands (shift by CL = 0, REP CMPS with rCX = 0).
   * Liveness must count these as read as well; where the count is an immediate its value settles the matter.
   */
  readonly maybe?: FlagSet;
  /** Nothing after it may be decoded into the same run: jumps, calls, returns, HLT, mode and mapping changes. */
  readonly ends?: true;
  /** Condition code 0..15 for Jcc, SETcc, CMOVcc (mnemonic is then "jcc", "setcc", "cmovcc"). */
  readonly condition?: number;
  /** String instruction: F3 and F2 act as repeat prefixes. */
  readonly repeats?: true;
}

/** What was fetched; no behaviour. */
export interface DecodedInstruction {
  readonly row: OpcodeRow;
  readonly length: number;
  readonly mode: CodeMode;
  /**
   * Effective operand size in bytes (2, 4, 8) after prefixes, REX.W and the row's size rule. 8 with REX.W even where the
   * instruction has no 64-bit form (IN, OUT, INS, OUTS, x87 environment): the operands' own widths are right there too.
   */
  readonly operandSize: 2 | 4 | 8;
  readonly addressSize: 2 | 4 | 8;
  readonly lock: boolean;
  /** 'rep' = F3, 'repne' = F2 when they act as repeat prefixes (mandatory prefixes are consumed by the row). */
  readonly rep: 'none' | 'rep' | 'repne';
  /** Segment override as given, or -1. */
  readonly segment: number;
  readonly operands: readonly Operand[];
  /** VEX.L / VEX.W / VEX.vvvv presence, undefined for legacy encodings. */
  readonly vex: { readonly l: 0 | 1; readonly w: 0 | 1 } | undefined;
  /** REX.W or VEX.W. */
  readonly rexW: boolean;
}
