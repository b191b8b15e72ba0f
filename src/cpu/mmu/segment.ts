import { ZERO } from '../../wasm/builder.ts';
import { i32, i64 } from '../../wasm/expr.ts';
import type { HelperDefinition } from '../helpers/definition.ts';
import { SEGMENT_ACCESS, STATE, VECTOR } from '../state.ts';
import { setFault } from './walk.ts';

const ATTRIBUTE = { writable: 2, expandDown: 4, code: 8, present: 0x80, big: 0x4000 } as const;
const SS = 2;

/**
 * The segment's checks of an access outside 64-bit mode (SDM vol. 3, 5.3 and 5.5): usable, right type, within the limit;
 * else #GP(0), or #SS(0) for SS, in the fault cells. (segment number, offset, width | SEGMENT_ACCESS). Real-address mode
 * knows only the limit. Callers may skip it where STATE.segmentCheck is 0.
 */
const checkSegment: HelperDefinition = {
  name: 'checkSegment',
  params: ['i32', 'i64', 'i32'],
  results: [],
  build(f) {
    const segment = f.param('i32', 0);
    const offset = f.param('i64', 1);
    const flags = f.param('i32', 2);
    const cell = f.let(i32.shl(segment, i32.const(2)));
    const attributes = f.let(i32.load(cell, STATE.segAccess));
    const limit = f.let(i64.load32U(cell, STATE.segLimit));
    const has = (mask: number): ReturnType<typeof i32.and> => i32.and(attributes, i32.const(mask));
    const last = f.let(
      i64.add(offset, i64.extendU(i32.sub(i32.and(flags, i32.const(SEGMENT_ACCESS.width)), i32.const(1)))),
    );
    const bad = f.newLocal('i32');
    const top = i64.select(has(ATTRIBUTE.big), i64.const(0xffff_ffff), i64.const(0xffff));
    f.set(
      bad,
      i32.select(
        i32.eq(has(ATTRIBUTE.code | ATTRIBUTE.expandDown), i32.const(ATTRIBUTE.expandDown)),
        i32.or(i64.leU(offset, limit), i64.gtU(last, top)),
        i64.gtU(last, limit),
      ),
    );
    f.if(i32.wrap(i64.and(i64.load(ZERO, STATE.cr0), i64.const(1))), () => {
      const writable = i32.eq(has(ATTRIBUTE.code | ATTRIBUTE.writable), i32.const(ATTRIBUTE.writable));
      const readable = i32.ne(has(ATTRIBUTE.code | ATTRIBUTE.writable), i32.const(ATTRIBUTE.code));
      const write = i32.and(flags, i32.const(SEGMENT_ACCESS.write));
      const usable = i32.and(i32.select(write, writable, readable), i32.ne(has(ATTRIBUTE.present), i32.const(0)));
      f.set(bad, i32.or(f.get('i32', bad), i32.eqz(usable)));
    });
    f.if(f.get('i32', bad), () =>
      setFault(f, i32.select(i32.eq(segment, i32.const(SS)), i32.const(VECTOR.ss), i32.const(VECTOR.gp)), i32.const(0)),
    );
  },
};

export const SEGMENT_HELPERS: readonly HelperDefinition[] = [checkSegment];
