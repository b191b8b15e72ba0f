import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import type { HelperDefinition } from '../helpers/definition.ts';
import { markExecuted, markLargePage } from '../mmu/recent.ts';
import { count } from '../mmu/walk.ts';
import { ACCESS, CODE_PAGE, COUNTER, ITLB, JUMP_CACHE, STATE } from '../state.ts';

/** Where the jump cache would keep the record for a linear address, and whether it does. */
export function jumpCacheEntry(f: FunctionBuilder, ip: I64): { entry: I32; hit: I32 } {
  const hash = i32.and(i32.wrap(i64.xor(ip, i64.shrU(ip, i64.const(12)))), i32.const(JUMP_CACHE.entries - 1));
  const entry = f.let(i32.add(i32.mul(hash, i32.const(JUMP_CACHE.entrySize)), i32.const(JUMP_CACHE.base)));
  const sameKey = i32.eq(i32.load(entry, JUMP_CACHE.key), i32.load(ZERO, STATE.lookupKey));
  return { entry, hit: i32.and(i64.eq(i64.load(entry, JUMP_CACHE.tag), ip), sameKey) };
}

/**
 * The record for a linear address, or 0: then STATE.fault tells of a fault, else JavaScript must decode.
 * Jump cache first, then ITLB and the page's code map. Sets STATE.pageBase on success.
 */
const lookup: HelperDefinition = {
  name: 'lookup',
  params: ['i64'],
  results: ['i32'],
  build(f, h) {
    const ip = f.param('i64', 0);
    const { entry: cached, hit } = jumpCacheEntry(f, ip);
    f.if(
      hit,
      () => {
        f.store64(ZERO, i64.and(ip, i64.const(-4096)), STATE.pageBase);
        f.return(i32.load(cached, JUMP_CACHE.record));
      },
      undefined,
      'likely',
    );
    count(f, COUNTER.lookups);
    const page = f.let(f.call('i32', h('fetchPage'), [ip]));
    f.if(i32.ltS(page, i32.const(0)), () => f.return(i32.const(0)));
    const map = f.let(i32.load(i32.add(i32.load(ZERO, STATE.codePages), i32.shl(page, i32.const(2)))));
    f.if(i32.eqz(map), () => f.return(i32.const(0)));
    f.if(i32.ne(i32.load(map, CODE_PAGE.mode), i32.load(ZERO, STATE.codeMode)), () => f.return(i32.const(0)));
    const offset = i32.shl(i32.and(i32.wrap(ip), i32.const(0xfff)), i32.const(2));
    const record = f.newLocal('i32');
    f.set(record, i32.load(i32.add(map, offset), CODE_PAGE.map));
    f.if(i32.eqz(f.get('i32', record)), () => {
      f.set(record, f.call('i32', h('decodeRun'), [map, page, i32.and(i32.wrap(ip), i32.const(0xfff))]));
      f.if(i32.eqz(f.get('i32', record)), () => f.return(i32.const(0)));
    });
    f.store64(cached, ip, JUMP_CACHE.tag);
    f.store32(cached, i32.load(ZERO, STATE.lookupKey), JUMP_CACHE.key);
    f.store32(cached, f.get('i32', record), JUMP_CACHE.record);
    f.store32(cached, i32.const(-1), JUMP_CACHE.slot);
    f.store64(ZERO, i64.and(ip, i64.const(-4096)), STATE.pageBase);
    f.result(f.get('i32', record));
  },
};

/** RAM page number that instructions at a linear address come from; -1 on a fault (STATE.fault), -2 outside RAM. */
const fetchPage: HelperDefinition = {
  name: 'fetchPage',
  params: ['i64'],
  results: ['i32'],
  build(f, h) {
    const ip = f.param('i64', 0);
    const key = i32.load(ZERO, STATE.lookupKey);
    const page = f.let(i64.and(ip, i64.const(-4096)));
    const index = i32.and(i32.wrap(i64.shrU(ip, i64.const(12))), i32.const(ITLB.entries - 1));
    const entry = f.let(i32.add(i32.shl(index, i32.const(4)), i32.const(ITLB.base)));
    f.if(i32.and(i64.eq(i64.load(entry, ITLB.tag), page), i32.eq(i32.load(entry, ITLB.key), key)), () =>
      f.return(i32.load(entry, ITLB.page)),
    );
    const user = i32.eq(i32.load(ZERO, STATE.cpl), i32.const(3));
    const access = i32.select(user, i32.const(ACCESS.fetch | ACCESS.user), i32.const(ACCESS.fetch));
    const phys = f.let(f.call('i64', h('translate'), [ip, access, i32.const(0)]));
    f.if(i64.eq(phys, i64.const(-1)), () => f.return(i32.const(-1)));
    const ram = f.let(f.call('i64', h('physToRam'), [phys]));
    f.if(i64.ltS(ram, i64.const(0)), () => f.return(i32.const(-2)));
    const ramPage = f.let(i32.wrap(i64.shrU(ram, i64.const(12))));
    markExecuted(f, page);
    markLargePage(f, page);
    f.store64(entry, page, ITLB.tag);
    f.store32(entry, key, ITLB.key);
    f.store32(entry, ramPage, ITLB.page);
    f.result(ramPage);
  },
};

/** Lowers what is left of the budget, without losing count of what was executed. */
const cutBudget: HelperDefinition = {
  name: 'cutBudget',
  params: ['i32'],
  results: [],
  build(f) {
    const left = f.param('i32', 0);
    const budget = f.let(i32.load(ZERO, STATE.budget));
    f.if(i32.gtS(budget, left), () => {
      f.store32(ZERO, i32.sub(i32.load(ZERO, STATE.budgetTotal), i32.sub(budget, left)), STATE.budgetTotal);
      f.store32(ZERO, left, STATE.budget);
    });
  },
};

export const LOOKUP_HELPERS: readonly HelperDefinition[] = [lookup, fetchPage, cutBudget];
