import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type Callable, type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import { ACCESS, STATE, TLB, VECTOR } from '../state.ts';
import type { HelperDefinition } from './definition.ts';

/**
 * The common cases of interrupt delivery and IRETQ in wasm: 64-bit mode, flat segments, nothing that faults. They either
 * do the whole job or change nothing, and then src/cpu/system does it in full (SDM vol. 3, 6.14; vol. 2, IRET).
 */
const RAM = 1;
/** Descriptors of flat segments, accessed bit set, as every 64-bit kernel has them. */
const FLAT = {
  kernelCode: 0x00af_9b00_0000_ffffn,
  kernelData: 0x00cf_9300_0000_ffffn,
  userCode: 0x00af_fb00_0000_ffffn,
  userData: 0x00cf_f300_0000_ffffn,
} as const;
/** STATE.segAccess of the same. */
const ATTRIBUTES = { kernelCode: 0xa09b, kernelData: 0xc093, userCode: 0xa0fb, userData: 0xc0f3 } as const;
const EFLAGS = { tf: 0x100, if: 0x200, nt: 0x4000, rf: 0x1_0000, vm: 0x2_0000, system: 0x3f_7700 } as const;
const CR4_SMAP = 0x20_0000;
/** Exceptions that are faults: RF is set in the saved flags. */
const FAULT_VECTORS = [0, 5, 6, 7, 10, 11, 12, 13, 14, 16, 17, 19].reduce((mask, v) => mask | (1 << v), 0);

type Lookup = (name: string) => Callable;
const state32 = (offset: number): I32 => i32.load(ZERO, offset);
const state64 = (offset: number): I64 => i64.load(ZERO, offset);
/** Nonzero while DR7 enables a breakpoint. */
const breakpointsEnabled = (): I32 => i32.and(state32(STATE.dr + 56), i32.const(0xff));
const gprRsp = STATE.gpr + 4 * 8;

const probe = (f: FunctionBuilder, linear: I64, tableCell: number): { entry: I32; hit: I32 } => {
  const index = i32.and(i32.wrap(i64.shrU(linear, i64.const(8))), i32.const(TLB.indexMask));
  const entry = f.let(i32.add(index, state32(tableCell)));
  const page = i64.and(i64.add(linear, i64.const(7)), i64.const(-4096));
  return { entry, hit: i64.eq(i64.load(entry, TLB.tag), page) };
};
/** Eight bytes at the current data privilege, through the TLB. */
const loadQuad: HelperDefinition = {
  name: 'loadQuad',
  params: ['i64'],
  results: ['i64'],
  build(f, h) {
    const linear = f.param('i64', 0);
    const { entry, hit } = probe(f, linear, STATE.tlbRead);
    f.if(
      hit,
      () => f.return(i64.load(i32.add(i32.wrap(linear), i32.load(entry, TLB.addend)), 0, RAM)),
      undefined,
      'likely',
    );
    f.result(f.call('i64', h('loadSlow'), [linear, i32.const(8)]));
  },
};
const storeQuad: HelperDefinition = {
  name: 'storeQuad',
  params: ['i64', 'i64'],
  results: [],
  build(f, h) {
    const linear = f.param('i64', 0);
    const { entry, hit } = probe(f, linear, STATE.tlbWrite);
    f.if(
      hit,
      () => f.store64(i32.add(i32.wrap(linear), i32.load(entry, TLB.addend)), f.param('i64', 1), 0, RAM),
      () => f.callVoid(h('storeSlow'), [linear, f.param('i64', 1), i32.const(8)]),
      'likely',
    );
  },
};

const setSegment = (f: FunctionBuilder, segment: number, selector: I32, limit: number, attributes: number): void => {
  f.store32(ZERO, selector, STATE.selector + segment * 4);
  f.store64(ZERO, i64.const(0), STATE.segBase + segment * 8);
  f.store32(ZERO, i32.const(limit), STATE.segLimit + segment * 4);
  f.store32(ZERO, i32.const(attributes), STATE.segAccess + segment * 4);
  f.store32(ZERO, i32.const(segment === 2 && limit !== 0 ? 0 : 1), STATE.segmentCheck + segment * 4);
};
/** The descriptor of a GDT selector, or 0 when it lies beyond the table or in the LDT. */
function descriptor(f: FunctionBuilder, h: Lookup, selector: I32): I64 {
  const index = i32.and(selector, i32.const(0xfff8));
  const inTable = i32.leU(i32.add(index, i32.const(7)), state32(STATE.gdtrLimit));
  return f.choose(
    'i64',
    i32.and(inTable, i32.eqz(i32.and(selector, i32.const(4)))),
    () => f.call('i64', h('loadQuad'), [i64.add(state64(STATE.gdtrBase), i64.extendU(index))]),
    () => i64.const(0),
  );
}
const isFlat = (raw: I64, flat: bigint): I32 => i64.eq(raw, i64.const(flat));

/** (vector, has an error code, error code, is an exception) -> 1 when delivered from STATE.ip, 0 when nothing was done. */
const deliverFast: HelperDefinition = {
  name: 'deliverFast',
  params: ['i32', 'i32', 'i32', 'i32'],
  results: ['i32'],
  build(f, h) {
    const vector = f.param('i32', 0);
    const giveUp = (): void => {
      f.store32(ZERO, i32.const(0), STATE.fault);
      f.callVoid(h('updatePrivilege'), []);
      f.return(i32.const(0));
    };
    const refuse = (condition: I32): void => f.if(condition, giveUp, undefined, 'unlikely');
    const quad = (linear: I64): I64 => f.let(f.call('i64', h('loadQuad'), [linear]));
    const offset = f.let(i32.shl(vector, i32.const(4)));
    f.if(
      i32.or(
        // single steps and breakpoints are the run loop's business
        i32.or(
          i32.or(state32(STATE.codeMode), i32.and(state32(STATE.eflags), i32.const(EFLAGS.tf))),
          i32.or(breakpointsEnabled(), i32.eq(vector, i32.const(VECTOR.db))),
        ),
        i32.gtU(i32.add(offset, i32.const(15)), state32(STATE.idtrLimit)),
      ),
      () => f.return(i32.const(0)),
    );
    // the processor reads its tables and writes its stack as the supervisor, whatever CPL is
    const smap = i32.and(state32(STATE.cr4), i32.const(CR4_SMAP));
    const table = f.let(i32.select(smap, i32.const(TLB.base), i32.const(TLB.base + 2 * TLB.tableSize)));
    f.store32(ZERO, table, STATE.tlbRead);
    f.store32(ZERO, i32.add(table, i32.const(TLB.tableSize)), STATE.tlbWrite);
    f.store32(ZERO, i32.select(smap, i32.const(0), i32.const(ACCESS.userPages)), STATE.dataAccess);
    const gate = i64.add(state64(STATE.idtrBase), i64.extendU(offset));
    const low = quad(gate);
    const high = quad(i64.add(gate, i64.const(8)));
    // present, interrupt or trap gate, any DPL
    const access = i32.wrap(i64.shrU(low, i64.const(40)));
    refuse(i32.ne(i32.and(access, i32.const(0x9e)), i32.const(0x8e)));
    const selector = f.let(i32.and(i32.wrap(i64.shrU(low, i64.const(16))), i32.const(0xffff)));
    refuse(i32.eqz(isFlat(descriptor(f, h, selector), FLAT.kernelCode)));
    const cpl = f.let(state32(STATE.cpl));
    const ist = f.let(i32.and(i32.wrap(i64.shrU(low, i64.const(32))), i32.const(7)));
    const rsp = f.newLocal('i64');
    f.set(rsp, state64(gprRsp));
    f.if(i32.or(ist, cpl), () => {
      const at = f.let(i32.select(ist, i32.add(i32.shl(ist, i32.const(3)), i32.const(0x24 - 8)), i32.const(4)));
      refuse(i32.gtU(i32.add(at, i32.const(7)), state32(STATE.segLimit + 7 * 4)));
      f.set(rsp, f.call('i64', h('loadQuad'), [i64.add(state64(STATE.trBase), i64.extendU(at))]));
    });
    const target = f.let(
      i64.or(
        i64.or(i64.and(low, i64.const(0xffff)), i64.and(i64.shrU(low, i64.const(32)), i64.const(0xffff_0000))),
        i64.shl(high, i64.const(32)),
      ),
    );
    refuse(i32.load(ZERO, STATE.fault));
    const canonical = (x: I64): I32 => f.call('i32', h('isCanonical'), [x]);
    refuse(i32.eqz(i32.and(canonical(f.get('i64', rsp)), canonical(target))));
    f.set(rsp, i64.and(f.get('i64', rsp), i64.const(-16)));
    const flags = f.let(f.call('i32', h('readFlags'), []));
    const isFault = i32.and(
      f.param('i32', 3),
      i32.and(i32.shrU(i32.const(FAULT_VECTORS), vector), i32.ltU(vector, i32.const(32))),
    );
    const saved = i32.or(flags, i32.shl(isFault, i32.const(16)));
    const push = (value: I64): void => {
      f.set(rsp, i64.sub(f.get('i64', rsp), i64.const(8)));
      f.callVoid(h('storeQuad'), [f.get('i64', rsp), value]);
    };
    push(i64.extendU(state32(STATE.selector + 2 * 4)));
    push(state64(gprRsp));
    push(i64.extendU(saved));
    push(i64.extendU(state32(STATE.selector + 4)));
    push(state64(STATE.ip));
    f.if(f.param('i32', 1), () => push(i64.extendU(f.param('i32', 2))));
    // a push that faults is done over by the slow path, which finds the same fault
    refuse(i32.load(ZERO, STATE.fault));
    setSegment(f, 1, i32.and(selector, i32.const(0xfffc)), -1, ATTRIBUTES.kernelCode);
    f.if(cpl, () => setSegment(f, 2, i32.const(0), 0, 0x4092));
    f.store64(ZERO, f.get('i64', rsp), gprRsp);
    f.store64(ZERO, target, STATE.ip);
    f.store32(ZERO, i32.const(0), STATE.cpl);
    f.store32(ZERO, i32.const(0), STATE.monitorArmed);
    const interruptGate = i32.eqz(i32.and(i32.wrap(i64.shrU(low, i64.const(40))), i32.const(1)));
    const cleared = i32.or(
      i32.const(EFLAGS.tf | EFLAGS.nt | EFLAGS.rf | EFLAGS.vm),
      i32.mul(interruptGate, i32.const(EFLAGS.if)),
    );
    f.store32(ZERO, i32.and(state32(STATE.eflags), i32.xor(cleared, i32.const(-1))), STATE.eflags);
    f.callVoid(h('updatePrivilege'), []);
    f.result(i32.const(1));
  },
};

/** IRETQ from 64-bit kernel code to flat 64-bit code; 1 when done (STATE.ip is the target), 0 when nothing was done. */
const iretFast: HelperDefinition = {
  name: 'iretFast',
  params: [],
  results: ['i32'],
  build(f, h) {
    const giveUp = (): void => {
      f.store32(ZERO, i32.const(0), STATE.fault);
      f.return(i32.const(0));
    };
    const refuse = (condition: I32): void => f.if(condition, giveUp, undefined, 'unlikely');
    refuse(
      i32.or(i32.or(state32(STATE.codeMode), state32(STATE.cpl)), i32.and(state32(STATE.eflags), i32.const(EFLAGS.nt))),
    );
    // an IRET that unblocks NMIs, or whose RF matters
    refuse(i32.or(state32(STATE.nmiBlocked), breakpointsEnabled()));
    const top = f.let(state64(gprRsp));
    const pop = (n: number): I64 => f.let(f.call('i64', h('loadQuad'), [i64.add(top, i64.const(8 * n))]));
    const [rip, cs64, flags64, rsp, ss64] = [pop(0), pop(1), pop(2), pop(3), pop(4)] as const;
    const cs = f.let(i32.and(i32.wrap(cs64), i32.const(0xffff)));
    const ss = f.let(i32.and(i32.wrap(ss64), i32.const(0xffff)));
    const flags = f.let(i32.wrap(flags64));
    refuse(i32.load(ZERO, STATE.fault));
    refuse(i32.and(flags, i32.const(EFLAGS.tf | EFLAGS.vm)));
    refuse(i32.eqz(f.call('i32', h('isCanonical'), [rip])));
    const user = f.let(i32.eq(i32.and(cs, i32.const(3)), i32.const(3)));
    const code = f.let(descriptor(f, h, cs));
    const data = f.let(descriptor(f, h, ss));
    f.if(
      user,
      () => {
        refuse(i32.eqz(i32.and(isFlat(code, FLAT.userCode), isFlat(data, FLAT.userData))));
        refuse(i32.ne(i32.and(ss, i32.const(3)), i32.const(3)));
        // a data segment that the user may not keep would have to be cleared
        for (const segment of [0, 3, 4, 5]) {
          const dpl = i32.and(state32(STATE.segAccess + segment * 4), i32.const(0x60));
          const selector = i32.and(state32(STATE.selector + segment * 4), i32.const(0xfffc));
          refuse(i32.and(i32.ne(selector, i32.const(0)), i32.ne(dpl, i32.const(0x60))));
        }
      },
      () => {
        refuse(i32.ne(i32.and(i32.or(cs, ss), i32.const(3)), i32.const(0)));
        const nullStack = i32.eqz(i32.and(ss, i32.const(0xfffc)));
        refuse(i32.eqz(i32.and(isFlat(code, FLAT.kernelCode), i32.or(nullStack, isFlat(data, FLAT.kernelData)))));
      },
    );
    refuse(i32.load(ZERO, STATE.fault));
    f.if(
      user,
      () => {
        setSegment(f, 1, cs, -1, ATTRIBUTES.userCode);
        setSegment(f, 2, ss, -1, ATTRIBUTES.userData);
        f.store32(ZERO, i32.const(3), STATE.cpl);
      },
      () => {
        setSegment(f, 1, cs, -1, ATTRIBUTES.kernelCode);
        f.if(
          i32.and(ss, i32.const(0xfffc)),
          () => setSegment(f, 2, ss, -1, ATTRIBUTES.kernelData),
          () => setSegment(f, 2, ss, 0, 0x4092),
        );
      },
    );
    f.store64(ZERO, rsp, gprRsp);
    f.store64(ZERO, rip, STATE.ip);
    f.store32(
      ZERO,
      i32.or(i32.and(flags, i32.const(EFLAGS.system & ~(EFLAGS.vm | EFLAGS.rf))), i32.const(2)),
      STATE.eflags,
    );
    f.callVoid(h('writeStatusFlags'), [flags]);
    f.callVoid(h('updatePrivilege'), []);
    f.result(i32.const(1));
  },
};

export const INTERRUPT_HELPERS: readonly HelperDefinition[] = [loadQuad, storeQuad, deliverFast, iretFast];
