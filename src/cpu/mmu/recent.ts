import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import { RECENT, STATE } from '../state.ts';

/** Bitmaps of what the TLB and the instruction TLB may hold, hashed by address (see RECENT). */
const BITS = RECENT.bytes * 8;

interface Bit {
  readonly byte: I32;
  readonly mask: I32;
}
function bitOf(f: FunctionBuilder, address: I64, shift: number): Bit {
  const index = f.let(i32.and(i32.wrap(i64.shrU(address, i64.const(shift))), i32.const(BITS - 1)));
  return { byte: i32.shrU(index, i32.const(3)), mask: i32.shl(i32.const(1), i32.and(index, i32.const(7))) };
}
const mark = (f: FunctionBuilder, map: number, b: Bit): void =>
  f.store8(b.byte, i32.or(i32.load8U(b.byte, map), b.mask), map);
const isMarked = (map: number, b: Bit): I32 => i32.ne(i32.and(i32.load8U(b.byte, map), b.mask), i32.const(0));

/** After a successful walk (STATE.walkShift): a piece of a large page is about to be cached. */
export function markLargePage(f: FunctionBuilder, linear: I64): void {
  const shift = i32.load(ZERO, STATE.walkShift);
  f.if(i32.gtU(shift, i32.const(12)), () =>
    f.if(
      i32.gtU(shift, i32.const(22)),
      () => mark(f, RECENT.large1G, bitOf(f, linear, 30)),
      // a 4 MiB page counts as both of its halves
      () => {
        mark(f, RECENT.large2M, bitOf(f, linear, 21));
        mark(f, RECENT.large2M, bitOf(f, i64.xor(linear, i64.const(1 << 21)), 21));
      },
    ),
  );
}
export const mayBeInLargePage = (f: FunctionBuilder, linear: I64): I32 =>
  i32.or(isMarked(RECENT.large2M, bitOf(f, linear, 21)), isMarked(RECENT.large1G, bitOf(f, linear, 30)));

export const markExecuted = (f: FunctionBuilder, linear: I64): void => mark(f, RECENT.executed, bitOf(f, linear, 12));
export const mayHaveBeenExecuted = (f: FunctionBuilder, linear: I64): I32 =>
  isMarked(RECENT.executed, bitOf(f, linear, 12));
