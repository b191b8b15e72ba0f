/** Instructions on the flags themselves (SDM vol. 2, "LAHF", "SAHF", "CLC", "STC", "CMC", "CLD", "STD"). */
import { i32, i64 } from '../../wasm/expr.ts';
import { FLAG } from '../decode/types.ts';
import { STATE } from '../state.ts';
import type { Semantics } from './context.ts';
import { OFF, ON, RAX } from './shared.ts';

const AH_FLAGS = FLAG.sf | FLAG.zf | FLAG.af | FLAG.pf | FLAG.cf;

/** AH from SF, ZF, AF, PF, CF; bit 1 reads as 1. */
export const lahf: Semantics = (cx) => {
  const flags = i32.or(i32.and(cx.flagsWord(), i32.const(AH_FLAGS)), i32.const(2));
  cx.setGpr(RAX, i64.or(cx.gpr(RAX, 1), i64.shl(i64.extendU(flags), i64.const(8))), 2);
};

export const sahf: Semantics = (cx) => {
  const overflow = i32.and(cx.flagsWord(), i32.const(FLAG.of));
  const others = i32.and(i32.wrap(i64.shrU(cx.gpr(RAX, 2), i64.const(8))), i32.const(AH_FLAGS));
  cx.flagsFromWord(cx.f.let(i32.or(overflow, others)));
};

export const clc: Semantics = (cx) => cx.flagsSet({ cf: OFF });
export const stc: Semantics = (cx) => cx.flagsSet({ cf: ON });
export const cmc: Semantics = (cx) => cx.flagsSet({ cf: cx.f.let(i32.eqz(cx.flag('cf'))) });

export const cld: Semantics = (cx) =>
  cx.setState32(STATE.eflags, i32.and(cx.state32(STATE.eflags), i32.const(~FLAG.df)));
export const std: Semantics = (cx) => cx.setState32(STATE.eflags, i32.or(cx.state32(STATE.eflags), i32.const(FLAG.df)));
