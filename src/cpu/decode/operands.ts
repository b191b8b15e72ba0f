/**
 * SDM operand codes (vol. 2, A.2.1 addressing methods and A.2.2 operand types) -> what the decoder extracts.
 *
 * Beyond the SDM's letters: `Z` general register in the opcode's low three bits; `BB` [rBX] of XLAT, `DI` [DS:rDI] of
 * MASKMOVQ and `AX` with type m ([DS:rAX] of MONITOR), given as operands so that their segment is visible; `VM` a VSIB
 * operand with the element type after it; `sIb` a byte sign-extended to the operand size; two codes joined (`RyMb`) give
 * the register form's and the memory form's width. Types beyond the SDM's: `n` 8 bytes in 64-bit mode, else 4;
 * `h` `f` `e` half, a quarter, an eighth of the vector length; `t` 10 bytes.
 */

/** How an operand is encoded. */
export const METHOD = {
  /** E: ModRM.rm, general register or memory; also R and M alone. */
  rm: 0,
  /** G: ModRM.reg general register. */
  reg: 1,
  /** Z: opcode low bits. */
  low: 2,
  /** Fixed general register. */
  fixed: 3,
  /** B: VEX.vvvv general register. */
  vvvv: 4,
  segment: 5,
  fixedSegment: 6,
  control: 7,
  debug: 8,
  /** V: ModRM.reg vector. */
  vectorReg: 9,
  /** W and U: ModRM.rm vector or memory. */
  vectorRm: 10,
  /** H: VEX.vvvv vector. */
  vectorVvvv: 11,
  /** L: imm8[7:4] vector. */
  vectorIs4: 12,
  xmm0: 13,
  mmxReg: 14,
  mmxRm: 15,
  /** Sign-extended immediate of the operand's width (at most 4 bytes unless Iv). */
  immediate: 16,
  unsignedByte: 17,
  signedByte: 18,
  unsignedWord: 19,
  /** B8+r: the full operand width, 8 bytes with REX.W. */
  wideImmediate: 20,
  one: 21,
  relativeByte: 22,
  relative: 23,
  far: 24,
  /** O: moffs. */
  offset: 25,
  /** [DS:rSI], overridable. */
  source: 26,
  /** [ES:rDI]. */
  destination: 27,
  /** [DS:register], overridable. */
  implicit: 28,
  st0: 29,
  sti: 30,
  vsib: 31,
} as const;
export type Method = (typeof METHOD)[keyof typeof METHOD];

/** Operand types; the first group is a constant number of bytes. */
export const WIDTH = {
  none: 0,
  b: 1,
  w: 2,
  d: 3,
  q: 4,
  t: 5,
  dq: 6,
  qq: 7,
  /** Operand size: 2, 4, 8. */
  v: 8,
  /** 2 or 4. */
  z: 9,
  /** 4 or 8 by REX.W. */
  y: 10,
  /** Native: 4, or 8 in 64-bit mode. */
  n: 11,
  /** Vector length. */
  x: 12,
  h: 13,
  f: 14,
  e: 15,
  /** Far pointer: offset of the operand size and a selector. */
  p: 16,
  /** Pseudo-descriptor: 6, or 10 in 64-bit mode. */
  s: 17,
  /** Two words or doublewords (BOUND). */
  a: 18,
} as const;
export type WidthCode = (typeof WIDTH)[keyof typeof WIDTH];

export interface OperandSpec {
  readonly method: Method;
  /** Of the register form, and of memory where `memoryWidth` does not differ. */
  readonly width: WidthCode;
  readonly memoryWidth: WidthCode;
  /** Register number of a fixed register. */
  readonly fixed: number;
}

const WIDTHS: Readonly<Record<string, WidthCode>> = {
  '': WIDTH.none,
  m: WIDTH.none,
  b: WIDTH.b,
  w: WIDTH.w,
  d: WIDTH.d,
  q: WIDTH.q,
  t: WIDTH.t,
  dq: WIDTH.dq,
  qq: WIDTH.qq,
  v: WIDTH.v,
  z: WIDTH.z,
  y: WIDTH.y,
  n: WIDTH.n,
  x: WIDTH.x,
  ps: WIDTH.x,
  pd: WIDTH.x,
  ss: WIDTH.d,
  sd: WIDTH.q,
  h: WIDTH.h,
  f: WIDTH.f,
  e: WIDTH.e,
  p: WIDTH.p,
  s: WIDTH.s,
  a: WIDTH.a,
};

function widthOf(type: string): WidthCode {
  const width = WIDTHS[type];
  if (width === undefined) throw new Error(`opcode table: unknown operand type "${type}"`);
  return width;
}

function spec(method: Method, width: WidthCode, fixed = 0, memoryWidth = width): OperandSpec {
  return { method, width, memoryWidth, fixed };
}

const FIXED: Readonly<Record<string, OperandSpec>> = {
  '1': spec(METHOD.one, WIDTH.b),
  AL: spec(METHOD.fixed, WIDTH.b, 0),
  AX: spec(METHOD.fixed, WIDTH.w, 0),
  eAX: spec(METHOD.fixed, WIDTH.z, 0),
  rAX: spec(METHOD.fixed, WIDTH.v, 0),
  CL: spec(METHOD.fixed, WIDTH.b, 1),
  DX: spec(METHOD.fixed, WIDTH.w, 2),
  ES: spec(METHOD.fixedSegment, WIDTH.w, 0),
  CS: spec(METHOD.fixedSegment, WIDTH.w, 1),
  SS: spec(METHOD.fixedSegment, WIDTH.w, 2),
  DS: spec(METHOD.fixedSegment, WIDTH.w, 3),
  FS: spec(METHOD.fixedSegment, WIDTH.w, 4),
  GS: spec(METHOD.fixedSegment, WIDTH.w, 5),
  XMM0: spec(METHOD.xmm0, WIDTH.dq),
  ST0: spec(METHOD.st0, WIDTH.t),
  STi: spec(METHOD.sti, WIDTH.t),
  sIb: spec(METHOD.signedByte, WIDTH.v),
  Ib: spec(METHOD.unsignedByte, WIDTH.b),
  Iw: spec(METHOD.unsignedWord, WIDTH.w),
  Iz: spec(METHOD.immediate, WIDTH.v),
  Iv: spec(METHOD.wideImmediate, WIDTH.v),
  Jb: spec(METHOD.relativeByte, WIDTH.none),
  Jz: spec(METHOD.relative, WIDTH.none),
  Ap: spec(METHOD.far, WIDTH.p),
  BBb: spec(METHOD.implicit, WIDTH.b, 3),
  AXm: spec(METHOD.implicit, WIDTH.none, 0),
  DIq: spec(METHOD.implicit, WIDTH.q, 7),
  DIdq: spec(METHOD.implicit, WIDTH.dq, 7),
};

const METHODS: Readonly<Record<string, Method>> = {
  E: METHOD.rm,
  R: METHOD.rm,
  M: METHOD.rm,
  G: METHOD.reg,
  Z: METHOD.low,
  B: METHOD.vvvv,
  S: METHOD.segment,
  C: METHOD.control,
  D: METHOD.debug,
  V: METHOD.vectorReg,
  W: METHOD.vectorRm,
  U: METHOD.vectorRm,
  H: METHOD.vectorVvvv,
  L: METHOD.vectorIs4,
  P: METHOD.mmxReg,
  Q: METHOD.mmxRm,
  N: METHOD.mmxRm,
  O: METHOD.offset,
  X: METHOD.source,
  Y: METHOD.destination,
};

const parsed = new Map<string, OperandSpec>();

/** One operand code of a row. Throws on a code it does not know: the tables are our own. */
export function parseOperand(code: string): OperandSpec {
  const known = parsed.get(code) ?? FIXED[code];
  if (known !== undefined) return known;
  const result = parseCode(code);
  parsed.set(code, result);
  return result;
}

function parseCode(code: string): OperandSpec {
  if (code.startsWith('VM')) return spec(METHOD.vsib, widthOf(code.slice(2)));
  const method = METHODS[code.charAt(0)];
  if (method === undefined) throw new Error(`opcode table: unknown operand code "${code}"`);
  const memory = code.indexOf('M', 1);
  if (memory > 0) return spec(method, widthOf(code.slice(1, memory)), 0, widthOf(code.slice(memory + 1)));
  return spec(method, widthOf(code.slice(1)));
}
