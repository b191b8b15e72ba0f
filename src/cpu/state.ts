/**
 * Where everything of one virtual CPU lives in wasm memory 0: the single source of offsets (bytes).
 * Guest RAM is memory 1, so no guest store can reach any of this.
 */
export const STATE = {
  /** RAX RCX RDX RBX RSP RBP RSI RDI R8..R15, 8 bytes each; slots 0..15. */
  gpr: 0,
  /** Slot 16: always zero, the absent base or index. */
  zero: 128,
  /** Slot 17: linear address of the start of the page that is being executed (RIP = pageBase + offset in page - CS base). */
  pageBase: 136,
  /** Slots 18..23: ES CS SS DS FS GS bases (ES, CS, SS, DS read as 0 in 64-bit mode). */
  segBase: 144,
  /** Linear address of the next instruction; valid outside wasm only. */
  ip: 192,
  cr0: 200,
  cr2: 208,
  cr3: 216,
  cr4: 224,
  cr8: 232,
  efer: 240,
  xcr0: 248,
  // --- lazy flags, see flags.ts
  flagA: 256,
  flagB: 264,
  flagR: 272,
  flagOp: 280,
  flagWord: 284,
  /** RFLAGS without the six status flags (IF, DF, TF, IOPL, NT, RF, VM, AC, ID, VIF, VIP); bit 1 set. */
  eflags: 288,
  cpl: 292,
  /** Instructions left until `run` must return, and what it was given (both i32). */
  budget: 296,
  budgetTotal: 300,
  /** REP iterations beyond the first of each instruction, i64, for statistics. */
  repIterations: 304,
  // --- why wasm returned, or what a slow path found
  /** 0, or FAULT.present | vector | FAULT.hasError. */
  fault: 312,
  faultError: 316,
  /** Linear address of the fault (becomes CR2 for #PF). */
  faultAddress: 320,
  /** The record being executed when wasm returned (interpreter). */
  record: 328,
  /** Nonzero while an interrupt or NMI waits for delivery: whatever sets IF or lowers TPR must look. */
  pending: 332,
  /** RAM offset of the last read-for-write, -1 when the write must take the slow path. */
  rmwHost: 336,
  /** Bases of the TLB tables for the current privilege (see TLB). */
  tlbRead: 340,
  tlbWrite: 344,
  /** Compared with jump-cache entries: generation << 8 | code mode and privilege bits. */
  lookupKey: 348,
  /** 1 = no interrupt until after the next instruction (STI, MOV SS, POP SS). */
  shadow: 352,
  /** Code mode of CS: 0 = 64-bit, 1 = 32-bit, 2 = 16-bit; + 4 when SS.B is set outside 64-bit mode. */
  codeMode: 356,
  /** Physical address bits outside this mask are reserved in page-table entries (i64). */
  physMask: 360,
  /** Bytes of RAM below the PCI hole, and in all (i64 each): physical -> RAM offset. */
  ramLow: 368,
  ramSize: 376,
  /** Address in memory 0 of the per-physical-page code map pointers (i32 each). */
  codePages: 384,
  /** Scratch for host calls: four 64-bit cells. */
  mailbox: 392,
  /** Access bits of ordinary data accesses at the current privilege: see ACCESS. */
  dataAccess: 388,
  mxcsr: 424,
  pkru: 428,
  kernelGsBase: 432,
  tscAux: 440,
  star: 448,
  lstar: 456,
  cstar: 464,
  sfmask: 472,
  /** Counters, i64 each: see COUNTER. */
  counters: 480,
  /** Bumped whenever linear addresses may mean other code (see lookupKey). */
  generation: 560,
  /** log2 of the page size of the last successful walk. */
  walkShift: 564,
  /** 1 from a MONITOR to the MWAIT or to the delivery of an interrupt or exception. */
  monitorArmed: 568,
  /** CR3 writes, INVLPG and other reasons to flush, for statistics. */
  flushes: 572,
  /** What the instruction in hand means for single stepping: see STEP. */
  singleStep: 576,
  /** 1 from the delivery of an NMI to the next IRET. */
  nmiBlocked: 580,
  /** Linear address after the instruction that called a system operation. */
  nextIp: 584,
  /** Samples written to PROFILE so far (i32, wraps). */
  profileCount: 592,
  /** Branches from region to region until the next sample. */
  edgeCountdown: 632,
  /** Nonzero while DR7 enables a data breakpoint; DR6 bits of those that the instruction in hand has met. */
  watching: 624,
  watchHits: 628,
  /** log2 of the largest page of long mode: 30, or 21 on a CPU without 1 GiB pages. */
  largestPage: 596,
  /** The key of the shape that decodeRun did not know, or 0 where it has none (see SHAPE). */
  shapeKey: 636,
  /**
   * ES CS SS DS FS GS, u32 each: 0 = outside 64-bit mode any access to any offset is good (flat, writable data), else ask
   * checkSegment. Set wherever segAccess and segLimit are.
   */
  segmentCheck: 600,
  // --- segment registers: selector and attributes, by segment number (u32 each, 6 segments, then LDTR, TR)
  selector: 640,
  /** Descriptor attributes as in bits 55:40 of the descriptor (access byte | flags << 8), u32 each. */
  segAccess: 672,
  segLimit: 704,
  gdtrBase: 736,
  idtrBase: 744,
  gdtrLimit: 752,
  idtrLimit: 756,
  ldtrBase: 760,
  trBase: 768,
  sysenterCs: 776,
  sysenterEsp: 784,
  sysenterEip: 792,
  dr: 800,
  /** Taken branches of the interpreter until the next sample. */
  branchCountdown: 864,
  /** May the unit be used: 0, or the vector + 1 of the exception (from CR0.EM, CR0.TS, CR4.OSFXSR, XCR0). */
  fpuFault: 960,
  sseFault: 964,
  avxFault: 968,
  // --- vectors and x87
  /** YMM0..15, 32 bytes each. */
  vec: 1024,
  /** x87: eight 16-byte physical registers (80 bits used): the MMX registers are their low 8 bytes. */
  fpr: 1536,
  fpuControl: 1664,
  fpuStatus: 1668,
  /** 8 bits: 1 = register holds something (abridged tag, as FXSAVE). */
  fpuTag: 1672,
  fpuTop: 1676,
  fpuIp: 1680,
  fpuDp: 1688,
  fpuOpcode: 1696,
  fpuCs: 1700,
  fpuDs: 1704,
  /** Scratch for 32-byte values of slow paths. */
  vectorScratch: 1728,
  /** Soft-float working cells: see helpers/float-core.ts. */
  softFloat: 1792,
  /** Where FXSAVE, XSAVE and FNSAVE images are put together, and operands of vector helpers. */
  image: 2048,
  end: 4096,
} as const;

/** Slot numbers (offset / 8) that a memory operand's base or index may name. */
export const SLOT = { zero: STATE.zero / 8, pageBase: STATE.pageBase / 8, segBase: STATE.segBase / 8 } as const;

/** What a page walk is asked for: bits 1, 2 and 4 as in the #PF error code (SDM vol. 3, 4.7). */
export const ACCESS = {
  write: 2,
  user: 4,
  fetch: 16,
  /** a supervisor access that may touch user pages */ userPages: 0x100,
} as const;
/** Flags argument of the slow paths: width in bytes | these. */
export const SLOW = {
  stack: 0x100,
  /** Called from translated code: anything but plain RAM is left to the interpreter (STATE.fault = BAIL). */
  bail: 0x200,
  /** Never #AC, however misaligned. */
  anyAlignment: 0x400,
} as const;
/** Flags argument of checkSegment. */
export const SEGMENT_ACCESS = { width: 0xff, write: 0x100 } as const;
/** STATE.singleStep. */
export const STEP = {
  /** The trap of EFLAGS.TF is not due after this instruction. */
  none: 0,
  due: 1,
  /** MOV SS or POP SS: no debug exception before the next instruction has retired (SDM vol. 3, 6.8.3). */
  inhibited: 2,
} as const;
/** In STATE.fault: no fault, but translated code must leave this instruction to the interpreter. */
export const BAIL = 0x4000_0000;
/** A physical page that holds decoded or translated code: bitmap of 64-byte granules, then a record per byte offset. */
export const CODE_PAGE = {
  granules: 0,
  /** STATE.codeMode its records were decoded for */ mode: 8,
  /** Where the next record goes, and the end of the space for it. */
  next: 12,
  end: 16,
  /**
   * When straight code goes on at this offset, its record may overwrite the pseudo record at `next` that ends the run before it:
   * a conditional branch not taken then needs no lookup. -1 when there is none.
   */
  open: 20,
  map: 24,
  size: 24 + 4096 * 4,
} as const;

/**
 * Which regions of the linear address space may have large pages in the TLB, and which pages have been executed, since the
 * last flush: bitmaps hashed by address, so that INVLPG of an ordinary data page forgets nothing else.
 */
export const RECENT = { large2M: 0x1000, large1G: 0x1200, executed: 0x1400, bytes: 0x200, total: 0x600 } as const;

export const FAULT = { present: 0x100, hasError: 0x200 } as const;
export const VECTOR = {
  de: 0,
  db: 1,
  nmi: 2,
  bp: 3,
  of: 4,
  br: 5,
  ud: 6,
  nm: 7,
  df: 8,
  ts: 10,
  np: 11,
  ss: 12,
  gp: 13,
  pf: 14,
  mf: 16,
  ac: 17,
  mc: 18,
  xm: 19,
} as const;

export const COUNTER = {
  tlbMisses: 0,
  lookups: 1,
  smcWrites: 2,
  mmio: 3,
  pageWalks: 4,
  /** Times a region was entered, and left because the interpreter must do an instruction. */
  regionEntries: 5,
  regionInterprets: 6,
  /** Exceptions delivered without leaving wasm. */
  fastExceptions: 7,
  /** Instructions retired by regions. */
  regionInstructions: 8,
  /** Instructions decoded by decodeRun. */
  decoded: 9,
} as const;

/**
 * Software TLB: direct-mapped, three privileges (supervisor, supervisor that may touch user pages, user) times
 * read and write; entry = tag i64 (linear page address, or -1) and addend i32 (RAM offset = linear address + addend).
 */
export const TLB = {
  base: 0x4000,
  entries: 1024,
  entrySize: 16,
  tag: 0,
  addend: 8,
  /** Byte mask applied to (address >> 8). */
  indexMask: 0x3ff0,
  tableSize: 0x4000,
  privileges: 3,
  /** Tables: read at base + privilege * 2 * tableSize, write one table further. */
} as const;
export const PRIVILEGE = { supervisor: 0, supervisorAc: 1, user: 2 } as const;
const tlbEnd = TLB.base + TLB.tableSize * 2 * TLB.privileges;

/** Instruction TLB: linear page + key -> physical page; entry = tag i64, key u32, RAM page number u32. */
export const ITLB = { base: tlbEnd, entries: 1024, entrySize: 16, tag: 0, key: 8, page: 12 } as const;
/**
 * Jump cache: linear address + key -> record; entry = tag i64, key u32, record u32. Where a region is known to begin there, also
 * its slot in the table of functions and the number of its entry (u32 each): slot -1 where not.
 */
export const JUMP_CACHE = {
  base: ITLB.base + ITLB.entries * ITLB.entrySize,
  entries: 4096,
  entrySize: 32,
  tag: 0,
  key: 8,
  record: 12,
  slot: 16,
  number: 20,
} as const;
/**
 * Ring of samples: where a branch went (record, lookup key, page base), and for a branch from region to region the record and
 * page base of the entry by which the region it left had been entered (else 0).
 */
export const PROFILE = {
  base: JUMP_CACHE.base + JUMP_CACHE.entries * JUMP_CACHE.entrySize,
  entries: 1024,
  entrySize: 32,
  record: 0,
  key: 4,
  pageBase: 8,
  from: 16,
  /** STATE.tlbRead at the time. */
  tlbRead: 20,
  fromBase: 24,
  /** Every how many taken branches of the interpreter one is sampled, on average. */
  period: 32,
  /** Every how many branches from region to region one is sampled, on average. */
  edgePeriod: 256,
  /** A RET between regions counts as this fraction of one. */
  jumpWeight: 8,
} as const;
/**
 * A TLB table without entries, read and write alike: while alignment is checked every access takes the slow path. All
 * tags are -1, and fillTlb leaves it alone.
 */
export const NO_TLB = { base: PROFILE.base + PROFILE.entries * PROFILE.entrySize, size: TLB.tableSize } as const;
/** What decodeRun must know of an opcode before it has its shape: OPCODE_TRAIT by map * 256 + opcode. */
export const OPCODES = { base: NO_TLB.base + NO_TLB.size, size: 4 * 256 } as const;
export const OPCODE_TRAIT = {
  modrm: 1,
  /** ModRM.reg, ModRM.rm, REX.B choose between instructions. */
  reg: 2,
  rm: 4,
  rexB: 8,
  /** There are instructions; without it decodeRun leaves the opcode to JavaScript. */
  known: 0x40,
  prefix: 0x80,
} as const;
/**
 * Shapes: how the record of an instruction comes about, by all that selects it: opcode, prefixes, addressing class, and the
 * ModRM fields where they choose. An open hash table in memory 0; JavaScript adds what its decoder has found out.
 */
export const SHAPE = {
  base: OPCODES.base + OPCODES.size,
  /** log2 of the number of entries. */
  bits: 13,
  size: 32,
  /** Bit 31 is set in every key; 0 is an empty entry. */
  key: 0,
  handler: 4,
  /** SHAPE_FLAG. */
  flags: 6,
  /** Where the record's operand pointers come from: see CELL. */
  a: 8,
  b: 12,
  c: 16,
  /** Bytes of immediate: 0, 1, 2, 4 or 8. */
  immediateSize: 20,
  /** Slots of a memory operand that ModRM does not give (string instructions). */
  baseSlot: 24,
  indexSlot: 25,
  /** With ModRM: of an overridden segment, else 0. */
  segmentSlot: 26,
  /** Value where there are no bytes of it. */
  immediate: 28,
} as const;
/** Bits of a shape's key beyond opcode and map (bits 9:0). */
export const SHAPE_KEY = {
  operandSize: 1 << 10,
  rep: 1 << 11,
  repne: 2 << 11,
  rexW: 1 << 13,
  fs: 1 << 14,
  gs: 2 << 14,
  lock: 1 << 16,
  /** Register, memory without index, memory with index; 0 without ModRM. */
  register: 1 << 17,
  memory: 2 << 17,
  indexed: 3 << 17,
  reg: 1 << 19,
  rm: 1 << 22,
  rexB: 1 << 25,
  present: 1 << 31,
} as const;
export const SHAPE_FLAG = {
  /** The run ends after it. */
  ends: 1,
  signedImmediate: 2,
  /** The immediate is a distance from the next instruction. */
  relative: 4,
  /** The third operand is a register: its cell takes the place of the immediate's upper half. */
  third: 8,
} as const;
/** A register operand of a shape: address = base (bits 15:0) + register number << shift, by these fields. */
export const CELL = {
  /** Where the register's number is: 0 nowhere, 1 ModRM.reg, 2 ModRM.rm, 3 the opcode. */
  selector: 1 << 16,
  selectorMask: 3 << 16,
  reg: 1 << 16,
  rm: 2 << 16,
  opcode: 3 << 16,
  shift: 1 << 18,
  /** SPL or AH by the presence of REX. */
  byte: 1 << 21,
  /** The record's own immediate: base counts from the record. */
  own: 1 << 22,
  /** REX does not extend the number (MMX). */
  eight: 1 << 23,
} as const;
/** From here on memory 0 is handed out at run time: code-page tables, then decoded records. */
export const DYNAMIC_BASE = SHAPE.base + (SHAPE.size << SHAPE.bits);

/** One decoded instruction as the interpreter reads it (32 bytes). */
export const RECORD = {
  handler: 0,
  /** Offset of the instruction in its page. */
  ipOffset: 2,
  /** Addresses in memory 0 of operands 0 and 1: a register, or the record's own immediate. */
  a: 4,
  b: 8,
  /** Slots of base, index and segment base. */
  base: 12,
  index: 13,
  segment: 14,
  /** scale (bits 1:0) | length << 4. */
  scaleLength: 15,
  disp: 16,
  /** Branches have no memory operand: the record of the target when it is on the same page and known, else 0. */
  target: 16,
  imm: 24,
  /** Third register operand; the immediate then has 32 bits. */
  c: 28,
  size: 32,
} as const;

/** How a handler or region ended. */
export const EXIT = {
  /** Go on with the next record. */
  next: 0,
  /** Control went to the linear address in STATE.ip. */
  jump: 1,
  /** STATE.fault tells; the instruction did nothing. */
  fault: 2,
  /** Budget spent; STATE.ip is the next instruction. */
  budget: 3,
  /** No record for STATE.ip: JavaScript must decode. */
  decode: 4,
  /** HLT retired. */
  halt: 5,
  /** Control registers or the like changed: STATE.ip is the next instruction, look everything up anew. */
  refresh: 6,
  /** A system instruction for JavaScript: STATE.ip is still this instruction's. */
  system: 7,
  /** A REP instruction ran out of budget in the middle: STATE.ip is the same instruction. */
  repeat: 8,
  /** Translated code has come to an instruction that the interpreter must do: STATE.ip. */
  interpret: 9,
  /** As jump, by a RET out of a region; seen by the dispatcher only. */
  return: 10,
} as const;
