import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type I32, i32, i64 } from '../../wasm/expr.ts';
import type { HelperDefinition } from '../helpers/definition.ts';
import { ACCESS, ITLB, JUMP_CACHE, NO_TLB, PRIVILEGE, RECENT, STATE, TLB } from '../state.ts';
import { mayBeInLargePage, mayHaveBeenExecuted } from './recent.ts';

const CR4_SMAP = 0x20_0000;
const EFLAGS_AC = 0x4_0000;
const CR0_AM = 0x4_0000;

/** Derives what depends on CPL, EFLAGS.AC, CR4.SMAP, the code mode and the generation: call after changing any of them. */
const updatePrivilege: HelperDefinition = {
  name: 'updatePrivilege',
  params: [],
  results: [],
  build(f) {
    const cpl = i32.load(ZERO, STATE.cpl);
    const user = f.let(i32.eq(cpl, i32.const(3)));
    const smap = i32.ne(i32.and(i32.load(ZERO, STATE.cr4), i32.const(CR4_SMAP)), i32.const(0));
    const ac = i32.ne(i32.and(i32.load(ZERO, STATE.eflags), i32.const(EFLAGS_AC)), i32.const(0));
    const kernel = i32.select(
      i32.and(smap, i32.eqz(ac)),
      i32.const(PRIVILEGE.supervisor),
      i32.const(PRIVILEGE.supervisorAc),
    );
    const privilege = f.let(i32.select(user, i32.const(PRIVILEGE.user), kernel));
    const table = f.let(i32.add(i32.mul(privilege, i32.const(2 * TLB.tableSize)), i32.const(TLB.base)));
    // #AC is only ever raised for ring 3 with CR0.AM and EFLAGS.AC
    const am = i32.ne(i32.and(i32.load(ZERO, STATE.cr0), i32.const(CR0_AM)), i32.const(0));
    const aligned = f.let(i32.and(user, i32.and(ac, am)));
    f.store32(ZERO, i32.select(aligned, i32.const(NO_TLB.base), table), STATE.tlbRead);
    const writeTable = i32.add(table, i32.const(TLB.tableSize));
    f.store32(ZERO, i32.select(aligned, i32.const(NO_TLB.base), writeTable), STATE.tlbWrite);
    const access = i32.select(
      i32.eq(privilege, i32.const(PRIVILEGE.supervisorAc)),
      i32.const(ACCESS.userPages),
      i32.const(0),
    );
    f.store32(ZERO, i32.select(user, i32.const(ACCESS.user), access), STATE.dataAccess);
    const key = i32.or(
      i32.shl(i32.load(ZERO, STATE.generation), i32.const(8)),
      i32.or(user, i32.shl(i32.load(ZERO, STATE.codeMode), i32.const(1))),
    );
    f.store32(ZERO, key, STATE.lookupKey);
  },
};

/** Linear addresses mean other code from now on: no jump-cache or ITLB entry made before is valid. */
const bumpGeneration: HelperDefinition = {
  name: 'bumpGeneration',
  params: [],
  results: [],
  build(f, h) {
    const next = f.let(i32.and(i32.add(i32.load(ZERO, STATE.generation), i32.const(1)), i32.const(0xff_ffff)));
    f.store32(ZERO, next, STATE.generation);
    f.memoryFill(i32.const(RECENT.executed), i32.const(0), i32.const(RECENT.bytes));
    // after a wrap an old entry could match again
    f.if(i32.eqz(next), () =>
      f.memoryFill(
        i32.const(ITLB.base),
        i32.const(0xff),
        i32.const(JUMP_CACHE.base + JUMP_CACHE.entries * JUMP_CACHE.entrySize - ITLB.base),
      ),
    );
    f.callVoid(h('updatePrivilege'), []);
  },
};

const flushTlb: HelperDefinition = {
  name: 'flushTlb',
  params: [],
  results: [],
  build(f, h) {
    f.memoryFill(i32.const(TLB.base), i32.const(0xff), i32.const(TLB.tableSize * 2 * TLB.privileges));
    f.memoryFill(i32.const(RECENT.large2M), i32.const(0), i32.const(2 * RECENT.bytes));
    f.store32(ZERO, i32.add(i32.load(ZERO, STATE.flushes), i32.const(1)), STATE.flushes);
    f.callVoid(h('bumpGeneration'), []);
  },
};

/** PKRU is part of what the TLB's entries permit. */
const writePkru: HelperDefinition = {
  name: 'writePkru',
  params: ['i32'],
  results: [],
  build(f, h) {
    f.if(i32.ne(i32.load(ZERO, STATE.pkru), f.param('i32', 0)), () => {
      f.store32(ZERO, f.param('i32', 0), STATE.pkru);
      f.callVoid(h('flushTlb'), []);
    });
  },
};

function eachTable(f: FunctionBuilder, body: (table: I32) => void): void {
  const table = f.newLocal('i32');
  f.set(table, i32.const(TLB.base));
  f.loop((again) => {
    body(f.get('i32', table));
    f.set(table, i32.add(f.get('i32', table), i32.const(TLB.tableSize)));
    f.brIf(again, i32.ltU(f.get('i32', table), i32.const(TLB.base + TLB.tableSize * 2 * TLB.privileges)));
  });
}

/** INVLPG: forgets one page in every table; the pieces of a large page too, where one may be cached. */
const invalidatePage: HelperDefinition = {
  name: 'invalidatePage',
  params: ['i64'],
  results: [],
  build(f, h) {
    const page = f.let(i64.and(f.param('i64', 0), i64.const(-4096)));
    f.if(
      mayBeInLargePage(f, page),
      () => f.callVoid(h('flushTlb'), []),
      () => {
        const index = f.let(i32.and(i32.wrap(i64.shrU(page, i64.const(8))), i32.const(TLB.indexMask)));
        eachTable(f, (table) => {
          const entry = f.let(i32.add(table, index));
          f.if(i64.eq(i64.load(entry, TLB.tag), page), () => f.store64(entry, i64.const(-1), TLB.tag));
        });
        f.if(mayHaveBeenExecuted(f, page), () => f.callVoid(h('bumpGeneration'), []));
      },
    );
  },
};

export const FLUSH_HELPERS: readonly HelperDefinition[] = [
  updatePrivilege,
  bumpGeneration,
  flushTlb,
  writePkru,
  invalidatePage,
];
