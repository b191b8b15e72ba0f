import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type Callable, type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import type { HelperDefinition } from '../helpers/definition.ts';
import { NO_TLB, SLOW, STATE, VECTOR } from '../state.ts';
import { setFault } from './walk.ts';

/** What only slow paths look at: alignment checks and data breakpoints keep the TLB from being used at all. */

/** Is the current TLB table the one that stays empty? */
export const alignmentChecked = (): I32 => i32.eq(i32.load(ZERO, STATE.tlbRead), i32.const(NO_TLB.base));
/** No translation may be entered into the TLB now. */
export const bypassesTlb = (): I32 => i32.or(alignmentChecked(), i32.load(ZERO, STATE.watching));

/**
 * #AC(0) for a misaligned access of as many bytes as `flags` (SLOW) say, a power of two, where it is checked (SDM vol. 3,
 * 6.15 #AC); more than 16 bytes are checked for 16 (reference CPU; the SDM leaves vectors open). What cannot be addressed at
 * all is left to the translation: #GP and #SS come first.
 */
export function checkAlignment(f: FunctionBuilder, h: (name: string) => Callable, linear: I64, flags: I32): void {
  f.if(
    alignmentChecked(),
    () => {
      const last = f.let(i32.sub(i32.and(flags, i32.const(0xff)), i32.const(1)));
      const end = f.let(i64.add(linear, i64.extendU(last)));
      const misaligned = i32.ne(i32.and(i32.wrap(linear), i32.and(last, i32.const(15))), i32.const(0));
      const checked = i32.eqz(i32.and(flags, i32.const(SLOW.anyAlignment)));
      const segmented = i32.ne(i32.and(i32.load(ZERO, STATE.codeMode), i32.const(3)), i32.const(0));
      const within = i32.eqz(i32.and(segmented, i64.gtU(end, i64.const(0xffff_ffff))));
      const canonical = (address: I64): I32 => f.call('i32', h('isCanonical'), [address]);
      const addressed = i32.and(within, i32.and(canonical(linear), canonical(end)));
      f.if(i32.and(i32.and(misaligned, checked), addressed), () => {
        setFault(f, VECTOR.ac, i32.const(0));
        f.return(f.results.length > 0 ? i64.const(0) : undefined);
      });
    },
    undefined,
    'unlikely',
  );
}
/** Notes data breakpoints on [linear, linear + width). */
export function noteAccess(
  f: FunctionBuilder,
  h: (name: string) => Callable,
  linear: I64,
  width: I32,
  write: boolean,
): void {
  f.if(
    i32.load(ZERO, STATE.watching),
    () => f.callVoid(h('meetBreakpoints'), [linear, width, i32.const(write ? 1 : 0)]),
    undefined,
    'unlikely',
  );
}

/** R/W fields of DR7: data writes; data reads and writes. */
const WRITES = 1;
const READS_AND_WRITES = 3;

/** Adds the DR6 bits of enabled data breakpoints that an access meets to STATE.watchHits (SDM vol. 3, 17.2.4 and 17.2.5). */
const meetBreakpoints: HelperDefinition = {
  name: 'meetBreakpoints',
  params: ['i64', 'i32', 'i32'],
  results: [],
  build(f) {
    const linear = f.param('i64', 0);
    const end = f.let(i64.add(linear, i64.extendU(f.param('i32', 1))));
    const dr7 = f.let(i32.load(ZERO, STATE.dr + 56));
    for (let n = 0; n < 4; n++) {
      const field = (shift: number): I32 => i32.and(i32.shrU(dr7, i32.const(shift)), i32.const(3));
      const kind = f.let(field(16 + 4 * n));
      // 1, 2, 8 and 4 bytes, aligned
      const code = field(18 + 4 * n);
      const size = f.let(i32.and(i32.shrU(i32.const(0x4821), i32.shl(code, i32.const(2))), i32.const(15)));
      const start = f.let(i64.and(i64.load(ZERO, STATE.dr + n * 8), i64.sub(i64.const(0), i64.extendU(size))));
      const overlaps = i32.and(i64.ltU(linear, i64.add(start, i64.extendU(size))), i64.gtU(end, start));
      const matches = i32.or(
        i32.eq(kind, i32.const(READS_AND_WRITES)),
        i32.and(i32.eq(kind, i32.const(WRITES)), f.param('i32', 2)),
      );
      const enabled = i32.ne(field(2 * n), i32.const(0));
      f.if(i32.and(enabled, i32.and(matches, overlaps)), () =>
        f.store32(ZERO, i32.or(i32.load(ZERO, STATE.watchHits), i32.const(1 << n)), STATE.watchHits),
      );
    }
  },
};

export const ACCESS_CHECK_HELPERS: readonly HelperDefinition[] = [meetBreakpoints];
