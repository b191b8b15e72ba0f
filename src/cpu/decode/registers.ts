/** Operands that depend on nothing but a register number or a small value, made once and shared by all instructions. */
import type { GprOperand, ImmOperand, RegOperand, Width } from './types.ts';

function gprs(width: GprOperand['width']): readonly GprOperand[] {
  return Array.from({ length: 16 }, (_, index) => ({ kind: 'gpr', index, width, high: false }) as const);
}

/** General registers by width in bytes (index 1, 2, 4, 8) and number. */
export const GPR: readonly (readonly GprOperand[])[] = [[], gprs(1), gprs(2), [], gprs(4), [], [], [], gprs(8)];

/** Byte registers without a REX prefix: numbers 4..7 are AH CH DH BH. */
export const GPR8_LEGACY: readonly GprOperand[] = Array.from({ length: 16 }, (_, index) =>
  index >= 4 && index < 8 ? { kind: 'gpr', index: index - 4, width: 1, high: true } : GPR[1]![index]!,
);

function registers(kind: RegOperand['kind'], width: Width, count: number): readonly RegOperand[] {
  return Array.from({ length: count }, (_, index) => ({ kind, index, width }));
}

export const XMM = registers('vec', 16, 16);
export const YMM = registers('vec', 32, 16);
export const MMX = registers('mmx', 8, 8);
export const ST = registers('st', 10, 8);
export const SEGMENTS = registers('seg', 2, 6);
/** By width 4 or 8. */
export const CONTROL = { 4: registers('cr', 4, 16), 8: registers('cr', 8, 16) } as const;
export const DEBUG = { 4: registers('dr', 4, 16), 8: registers('dr', 8, 16) } as const;

export const ONE: ImmOperand = { kind: 'imm', width: 1, lo: 1, hi: 0 };
