import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type Callable, type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import type { HelperDefinition } from '../helpers/definition.ts';
import { ACCESS, BAIL, CODE_PAGE, COUNTER, SLOW, STATE, TLB, VECTOR } from '../state.ts';
import { bypassesTlb, checkAlignment, noteAccess } from './access-checks.ts';
import { markLargePage } from './recent.ts';
import { count, setFault } from './walk.ts';

/**
 * Everything a memory access may need beyond a TLB hit: walk, fill, page crossing, MMIO, pages that hold code.
 * Results are zero-extended. On a fault STATE.fault is set and the result is meaningless.
 */
const RAM = 1;
type Lookup = (name: string) => Callable;
const NOWHERE = i64.const(-1);

const tlbEntry = (linear: I64, tableCell: number): I32 =>
  i32.add(i32.and(i32.wrap(i64.shrU(linear, i64.const(8))), i32.const(TLB.indexMask)), i32.load(ZERO, tableCell));
const pageOf = (linear: I64): I64 => i64.and(linear, i64.const(-4096));

function fillTlb(f: FunctionBuilder, linear: I64, ram: I64, tableCell: number): void {
  f.if(i32.eqz(bypassesTlb()), () => {
    const entry = f.let(tlbEntry(linear, tableCell));
    f.store64(entry, pageOf(linear), TLB.tag);
    f.store32(entry, i32.wrap(i64.sub(ram, linear)), TLB.addend);
    markLargePage(f, linear);
  });
}
const codePageOf = (ram: I32): I32 =>
  i32.load(i32.add(i32.load(ZERO, STATE.codePages), i32.shl(i32.shrU(ram, i32.const(12)), i32.const(2))));

/** Translated code leaves an access to the interpreter when `condition` holds: returns from the slow path. */
function bailIf(f: FunctionBuilder, flags: I32, condition: I32): void {
  f.if(i32.and(i32.ne(i32.and(flags, i32.const(SLOW.bail)), i32.const(0)), condition), () => {
    f.store32(ZERO, i32.const(BAIL), STATE.fault);
    f.return(f.results.length > 0 ? i64.const(0) : undefined);
  });
}
const outsideRam = (ram: I64): I32 => i64.ltS(ram, i64.const(0));

/** Does the RAM page of a physical address hold code? (0 outside RAM.) */
function holdsCode(f: FunctionBuilder, h: Lookup, phys: I64): I32 {
  const ram = f.let(f.call('i64', h('physToRam'), [phys]));
  return f.choose(
    'i32',
    outsideRam(ram),
    () => i32.const(0),
    () => i32.ne(codePageOf(i32.wrap(ram)), i32.const(0)),
  );
}

const crosses = (linear: I64, width: I32): I32 =>
  i32.gtU(i32.add(i32.and(i32.wrap(linear), i32.const(0xfff)), width), i32.const(4096));
const widthOf = (flags: I32): I32 => i32.and(flags, i32.const(0xff));
const dataAccess = (extra = 0): I32 => i32.or(i32.load(ZERO, STATE.dataAccess), i32.const(extra));

/** Little-endian value of `width` (1, 2, 4, 8) bytes at a RAM offset. */
function loadRam(f: FunctionBuilder, ram: I32, width: I32): I64 {
  const value = f.newLocal('i64');
  f.set(value, i64.load8U(ram, 0, RAM));
  f.if(i32.eq(width, i32.const(8)), () => f.set(value, i64.load(ram, 0, RAM)));
  f.if(i32.eq(width, i32.const(4)), () => f.set(value, i64.load32U(ram, 0, RAM)));
  f.if(i32.eq(width, i32.const(2)), () => f.set(value, i64.load16U(ram, 0, RAM)));
  return f.get('i64', value);
}
function storeRam(f: FunctionBuilder, ram: I32, width: I32, value: I64): void {
  f.if(i32.eq(width, i32.const(8)), () => f.store64(ram, value, 0, RAM));
  f.if(i32.eq(width, i32.const(4)), () => f.store32(ram, i32.wrap(value), 0, RAM));
  f.if(i32.eq(width, i32.const(2)), () => f.store16(ram, i32.wrap(value), 0, RAM));
  f.if(i32.eq(width, i32.const(1)), () => f.store8(ram, i32.wrap(value), 0, RAM));
}

/** Reads `width` bytes at a physical address: RAM or a device (8 bytes as two accesses). */
const physLoad: HelperDefinition = {
  name: 'physLoad',
  params: ['i64', 'i32'],
  results: ['i64'],
  build(f, h) {
    const phys = f.param('i64', 0);
    const width = f.param('i32', 1);
    const ram = f.let(f.call('i64', h('physToRam'), [phys]));
    f.if(i64.geS(ram, i64.const(0)), () => f.return(loadRam(f, i32.wrap(ram), width)));
    count(f, COUNTER.mmio);
    f.if(i32.eq(width, i32.const(8)), () => {
      const low = f.let(i64.extendU(f.call('i32', h('mmioRead'), [phys, i32.const(4)])));
      const high = i64.extendU(f.call('i32', h('mmioRead'), [i64.add(phys, i64.const(4)), i32.const(4)]));
      f.return(i64.or(low, i64.shl(high, i64.const(32))));
    });
    f.result(i64.extendU(f.call('i32', h('mmioRead'), [phys, width])));
  },
};

/** Writes `width` bytes at a physical address; code on those bytes is dropped. */
const physStore: HelperDefinition = {
  name: 'physStore',
  params: ['i64', 'i64', 'i32'],
  results: [],
  build(f, h) {
    const phys = f.param('i64', 0);
    const value = f.param('i64', 1);
    const width = f.param('i32', 2);
    const ram = f.let(f.call('i64', h('physToRam'), [phys]));
    f.if(
      i64.geS(ram, i64.const(0)),
      () => {
        const at = f.let(i32.wrap(ram));
        storeRam(f, at, width, value);
        f.callVoid(h('codeCheck'), [at, width]);
      },
      () => {
        count(f, COUNTER.mmio);
        f.if(
          i32.eq(width, i32.const(8)),
          () => {
            f.callVoid(h('mmioWrite'), [phys, i32.const(4), i32.wrap(value)]);
            f.callVoid(h('mmioWrite'), [
              i64.add(phys, i64.const(4)),
              i32.const(4),
              i32.wrap(i64.shrU(value, i64.const(32))),
            ]);
          },
          () => f.callVoid(h('mmioWrite'), [phys, width, i32.wrap(value)]),
        );
      },
    );
  },
};

/** After a write to [ram, ram + width) within one page: tells JavaScript if a touched 64-byte granule holds code. */
const codeCheck: HelperDefinition = {
  name: 'codeCheck',
  params: ['i32', 'i32'],
  results: [],
  build(f, h) {
    const ram = f.param('i32', 0);
    const width = f.param('i32', 1);
    const page = f.let(codePageOf(ram));
    f.if(page, () => {
      const inPage = (at: I32): I64 => i64.extendU(i32.shrU(i32.and(at, i32.const(0xfff)), i32.const(6)));
      const first = i64.shl(i64.const(1), inPage(ram));
      const last = i64.shl(i64.const(1), inPage(i32.sub(i32.add(ram, width), i32.const(1))));
      // every granule from the first to the last: (last << 1) - first
      const touched = i64.sub(i64.shl(last, i64.const(1)), first);
      f.if(i64.ne(i64.and(i64.load(page, CODE_PAGE.granules), touched), i64.const(0)), () => {
        count(f, COUNTER.smcWrites);
        f.callVoid(h('codeWritten'), [ram, width]);
      });
    });
  },
};

/** An access ran over the end of its segment. */
function beyondLimit(f: FunctionBuilder, flags: I32): void {
  const stack = i32.and(flags, i32.const(SLOW.stack));
  setFault(f, i32.select(stack, i32.const(VECTOR.ss), i32.const(VECTOR.gp)), i32.const(0));
}

/** Translates both pages of a crossing access first, so that nothing happens if either faults. Yields the second page. */
function translateCrossing(
  f: FunctionBuilder,
  h: Lookup,
  linear: I64,
  flags: I32,
  access: I32,
): { first: I64; second: I64 } {
  // a non-canonical end is found before any page fault of the first page
  const end = f.let(nextPage(linear));
  f.if(i32.eqz(f.call('i32', h('isCanonical'), [end])), () => {
    f.drop(f.call('i64', h('translate'), [end, access, flags]));
    f.return(f.results.length > 0 ? i64.const(0) : undefined);
  });
  // in a flat segment of 32-bit code the access goes beyond the limit (reference CPU)
  const segmented = i32.and(i32.load(ZERO, STATE.codeMode), i32.const(3));
  f.if(i32.and(segmented, i64.eq(end, i64.const(0x1_0000_0000))), () => {
    beyondLimit(f, flags);
    f.return(f.results.length > 0 ? i64.const(0) : undefined);
  });
  const first = f.let(f.call('i64', h('translate'), [linear, access, flags]));
  f.if(i64.eq(first, NOWHERE), () => f.return(f.results.length > 0 ? i64.const(0) : undefined));
  const second = f.let(f.call('i64', h('translate'), [end, access, flags]));
  f.if(i64.eq(second, NOWHERE), () => f.return(f.results.length > 0 ? i64.const(0) : undefined));
  const ram = (phys: I64): I64 => f.call('i64', h('physToRam'), [phys]);
  bailIf(f, flags, i32.or(outsideRam(ram(first)), outsideRam(ram(second))));
  return { first, second };
}
const nextPage = (linear: I64): I64 => i64.add(pageOf(linear), i64.const(4096));

/** Runs `body(phys, shift)` for each byte of a crossing access. */
function eachByte(
  f: FunctionBuilder,
  linear: I64,
  width: I32,
  pages: { first: I64; second: I64 },
  body: (phys: I64, shift: I64) => void,
): void {
  const i = f.newLocal('i32');
  f.set(i, i32.const(0));
  const room = f.let(i32.sub(i32.const(4096), i32.and(i32.wrap(linear), i32.const(0xfff))));
  f.loop((again) => {
    const at = f.get('i32', i);
    const phys = f.let(
      i64.select(
        i32.ltU(at, room),
        i64.add(pages.first, i64.extendU(at)),
        i64.add(pages.second, i64.extendU(i32.sub(at, room))),
      ),
    );
    body(phys, i64.extendU(i32.shl(at, i32.const(3))));
    f.set(i, i32.add(at, i32.const(1)));
    f.brIf(again, i32.ltU(f.get('i32', i), width));
  });
}

function crossingLoad(f: FunctionBuilder, h: Lookup, linear: I64, width: I32, pages: { first: I64; second: I64 }): I64 {
  const value = f.newLocal('i64');
  f.set(value, i64.const(0));
  eachByte(f, linear, width, pages, (phys, shift) =>
    f.set(value, i64.or(f.get('i64', value), i64.shl(f.call('i64', h('physLoad'), [phys, i32.const(1)]), shift))),
  );
  return f.get('i64', value);
}

const loadSlow: HelperDefinition = {
  name: 'loadSlow',
  params: ['i64', 'i32'],
  results: ['i64'],
  build(f, h) {
    const linear = f.param('i64', 0);
    const flags = f.param('i32', 1);
    const width = f.let(widthOf(flags));
    count(f, COUNTER.tlbMisses);
    checkAlignment(f, h, linear, flags);
    noteAccess(f, h, linear, width, false);
    f.if(crosses(linear, width), () => {
      const pages = translateCrossing(f, h, linear, flags, dataAccess());
      f.return(crossingLoad(f, h, linear, width, pages));
    });
    const phys = f.let(f.call('i64', h('translate'), [linear, dataAccess(), flags]));
    f.if(i64.eq(phys, NOWHERE), () => f.return(i64.const(0)));
    const ram = f.let(f.call('i64', h('physToRam'), [phys]));
    bailIf(f, flags, outsideRam(ram));
    f.if(i64.geS(ram, i64.const(0)), () => fillTlb(f, linear, ram, STATE.tlbRead));
    f.result(f.call('i64', h('physLoad'), [phys, width]));
  },
};

const storeSlow: HelperDefinition = {
  name: 'storeSlow',
  params: ['i64', 'i64', 'i32'],
  results: [],
  build(f, h) {
    const linear = f.param('i64', 0);
    const value = f.param('i64', 1);
    const flags = f.param('i32', 2);
    const width = f.let(widthOf(flags));
    count(f, COUNTER.tlbMisses);
    checkAlignment(f, h, linear, flags);
    noteAccess(f, h, linear, width, true);
    f.if(crosses(linear, width), () => {
      const pages = translateCrossing(f, h, linear, flags, dataAccess(ACCESS.write));
      bailIf(f, flags, holdsCode(f, h, pages.first));
      bailIf(f, flags, holdsCode(f, h, pages.second));
      eachByte(f, linear, width, pages, (phys, shift) =>
        f.callVoid(h('physStore'), [phys, i64.shrU(value, shift), i32.const(1)]),
      );
      f.return();
    });
    const phys = f.let(f.call('i64', h('translate'), [linear, dataAccess(ACCESS.write), flags]));
    f.if(i64.eq(phys, NOWHERE), () => f.return());
    bailIf(f, flags, outsideRam(f.call('i64', h('physToRam'), [phys])));
    bailIf(f, flags, holdsCode(f, h, phys));
    f.callVoid(h('fillWrite'), [linear, phys]);
    f.callVoid(h('physStore'), [phys, value, width]);
  },
};

/** Enters a translation into the write table, unless the page is a device's or holds code. */
const fillWrite: HelperDefinition = {
  name: 'fillWrite',
  params: ['i64', 'i64'],
  results: [],
  build(f, h) {
    const linear = f.param('i64', 0);
    const ram = f.let(f.call('i64', h('physToRam'), [f.param('i64', 1)]));
    f.if(i64.geS(ram, i64.const(0)), () =>
      f.if(i32.eqz(codePageOf(i32.wrap(ram))), () => {
        fillTlb(f, linear, ram, STATE.tlbWrite);
      }),
    );
  },
};

/**
 * First half of a read-modify-write that missed the write table: the value, and STATE.rmwHost = RAM offset for the
 * second half, or -1 when that must go through storeSlow (device, crossing, code).
 */
const rmwSlow: HelperDefinition = {
  name: 'rmwSlow',
  params: ['i64', 'i32'],
  results: ['i64'],
  build(f, h) {
    const linear = f.param('i64', 0);
    const flags = f.param('i32', 1);
    const width = f.let(widthOf(flags));
    count(f, COUNTER.tlbMisses);
    checkAlignment(f, h, linear, flags);
    noteAccess(f, h, linear, width, true);
    f.store32(ZERO, i32.const(-1), STATE.rmwHost);
    f.if(crosses(linear, width), () => {
      bailIf(f, flags, i32.const(1));
      const pages = translateCrossing(f, h, linear, flags, dataAccess(ACCESS.write));
      f.return(crossingLoad(f, h, linear, width, pages));
    });
    const phys = f.let(f.call('i64', h('translate'), [linear, dataAccess(ACCESS.write), flags]));
    f.if(i64.eq(phys, NOWHERE), () => f.return(i64.const(0)));
    const ram = f.let(f.call('i64', h('physToRam'), [phys]));
    bailIf(f, flags, outsideRam(ram));
    bailIf(f, flags, holdsCode(f, h, phys));
    f.callVoid(h('fillWrite'), [linear, phys]);
    f.if(i64.geS(ram, i64.const(0)), () =>
      f.if(i32.eqz(codePageOf(i32.wrap(ram))), () => f.store32(ZERO, i32.wrap(ram), STATE.rmwHost)),
    );
    f.result(f.call('i64', h('physLoad'), [phys, width]));
  },
};

/** Faults if [linear, linear + width) cannot be written (width a power of two up to 64); fills the write table. */
const probeWriteSlow: HelperDefinition = {
  name: 'probeWriteSlow',
  params: ['i64', 'i32'],
  results: [],
  build(f, h) {
    const linear = f.param('i64', 0);
    const flags = f.param('i32', 1);
    checkAlignment(f, h, linear, flags);
    f.if(crosses(linear, widthOf(flags)), () => {
      translateCrossing(f, h, linear, flags, dataAccess(ACCESS.write));
      f.return();
    });
    const phys = f.let(f.call('i64', h('translate'), [linear, dataAccess(ACCESS.write), flags]));
    f.if(i64.eq(phys, NOWHERE), () => f.return());
    f.callVoid(h('fillWrite'), [linear, phys]);
  },
};

/**
 * Both ends of an operand must be canonical, and below 4 GiB outside 64-bit mode, whatever faults its first page may hold in
 * store.
 */
function checkEnd(f: FunctionBuilder, h: Lookup, linear: I64, flags: I32): void {
  const end = f.let(i64.add(linear, i64.extendU(i32.sub(widthOf(flags), i32.const(1)))));
  const segmented = i32.ne(i32.and(i32.load(ZERO, STATE.codeMode), i32.const(3)), i32.const(0));
  f.if(i32.and(segmented, i64.gtU(end, i64.const(0xffff_ffff))), () => {
    beyondLimit(f, flags);
    f.return();
  });
  f.if(i32.eqz(f.call('i32', h('isCanonical'), [end])), () => {
    f.drop(f.call('i64', h('translate'), [end, i32.const(0), flags]));
    f.return();
  });
}
/** 16 bytes into STATE.vectorScratch; the width in `flags` is the whole operand's (32 for the first half of a YMM). */
const loadVectorSlow: HelperDefinition = {
  name: 'loadVectorSlow',
  params: ['i64', 'i32'],
  results: [],
  build(f, h) {
    const linear = f.param('i64', 0);
    const flags = f.param('i32', 1);
    const half = (at: I64, cell: number): void =>
      f.store64(ZERO, f.call('i64', h('loadSlow'), [at, i32.or(i32.const(8), i32.and(flags, i32.const(-256)))]), cell);
    checkEnd(f, h, linear, flags);
    checkAlignment(f, h, linear, flags);
    half(linear, STATE.vectorScratch);
    f.if(i32.load(ZERO, STATE.fault), () => f.return());
    half(i64.add(linear, i64.const(8)), STATE.vectorScratch + 8);
  },
};

/** 16 bytes from STATE.vectorScratch. */
const storeVectorSlow: HelperDefinition = {
  name: 'storeVectorSlow',
  params: ['i64', 'i32'],
  results: [],
  build(f, h) {
    const linear = f.param('i64', 0);
    const flags = f.param('i32', 1);
    const kind = f.let(i32.and(flags, i32.const(-256)));
    checkEnd(f, h, linear, flags);
    checkAlignment(f, h, linear, flags);
    f.callVoid(h('probeWriteSlow'), [linear, i32.or(i32.const(16), kind)]);
    f.if(i32.load(ZERO, STATE.fault), () => f.return());
    const half = (at: I64, cell: number): void =>
      f.callVoid(h('storeSlow'), [at, i64.load(ZERO, cell), i32.or(i32.const(8), kind)]);
    half(linear, STATE.vectorScratch);
    half(i64.add(linear, i64.const(8)), STATE.vectorScratch + 8);
  },
};

/**
 * For block moves: how far plain RAM goes. RAM offset in the low half, bytes (1..wanted, within one page) in the high
 * half; -1 when the first byte is a device's, holds code (writes) or would fault: then one element goes the slow way.
 */
const span = (name: string, write: boolean): HelperDefinition => ({
  name,
  params: ['i64', 'i32'],
  results: ['i64'],
  build(f, h) {
    const linear = f.param('i64', 0);
    f.if(bypassesTlb(), () => f.return(NOWHERE), undefined, 'unlikely');
    const room = f.let(i32.sub(i32.const(4096), i32.and(i32.wrap(linear), i32.const(0xfff))));
    const bytes = f.let(i32.select(i32.ltU(f.param('i32', 1), room), f.param('i32', 1), room));
    const tableCell = write ? STATE.tlbWrite : STATE.tlbRead;
    const entry = f.let(tlbEntry(linear, tableCell));
    const answer = (ram: I32): I64 => i64.or(i64.shl(i64.extendU(bytes), i64.const(32)), i64.extendU(ram));
    f.if(i64.eq(i64.load(entry, TLB.tag), pageOf(linear)), () =>
      f.return(answer(i32.add(i32.load(entry, TLB.addend), i32.wrap(linear)))),
    );
    const phys = f.let(f.call('i64', h('translate'), [linear, dataAccess(write ? ACCESS.write : 0), i32.const(0)]));
    f.if(i64.eq(phys, NOWHERE), () => {
      f.store32(ZERO, i32.const(0), STATE.fault);
      f.return(NOWHERE);
    });
    const ram = f.let(f.call('i64', h('physToRam'), [phys]));
    f.if(i64.ltS(ram, i64.const(0)), () => f.return(NOWHERE));
    if (write) f.if(codePageOf(i32.wrap(ram)), () => f.return(NOWHERE));
    fillTlb(f, linear, ram, tableCell);
    f.result(answer(i32.wrap(ram)));
  },
});

/** A new code page: forgets every write translation to it, so that writes are noticed. */
const dropWriteMappings: HelperDefinition = {
  name: 'dropWriteMappings',
  params: ['i32'],
  results: [],
  build(f) {
    const ramPage = f.param('i32', 0);
    for (let privilege = 0; privilege < TLB.privileges; privilege++) {
      const table = TLB.base + (privilege * 2 + 1) * TLB.tableSize;
      const at = f.newLocal('i32');
      f.set(at, i32.const(table));
      f.loop((again) => {
        const entry = f.get('i32', at);
        const page = i32.shrU(i32.add(i32.load(entry, TLB.addend), i32.wrap(i64.load(entry, TLB.tag))), i32.const(12));
        f.if(i32.eq(page, ramPage), () => f.store64(entry, i64.const(-1), TLB.tag));
        f.set(at, i32.add(entry, i32.const(TLB.entrySize)));
        f.brIf(again, i32.ltU(f.get('i32', at), i32.const(table + TLB.tableSize)));
      });
    }
  },
};

export const MEMORY_HELPERS: readonly HelperDefinition[] = [
  physLoad,
  physStore,
  codeCheck,
  loadSlow,
  storeSlow,
  fillWrite,
  rmwSlow,
  probeWriteSlow,
  loadVectorSlow,
  storeVectorSlow,
  span('spanRead', false),
  span('spanWrite', true),
  dropWriteMappings,
];
