import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import type { HelperDefinition } from '../helpers/definition.ts';
import { ACCESS, COUNTER, FAULT, SLOW, STATE, VECTOR } from '../state.ts';

const RAM = 1;
/** Page-fault error code: protection key. */
const PK = 0x20;
const FOUR_GIB = 0x1_0000_0000n;
const PTE = { present: 1, write: 2, user: 4, accessed: 0x20, dirty: 0x40, large: 0x80 } as const;
const CR0_PG = 0x8000_0000;
const CR0_WP = 0x1_0000;
const CR4 = { pse: 0x10, pae: 0x20, la57: 0x1000, smep: 0x10_0000, smap: 0x20_0000, pke: 0x40_0000 } as const;
const EFER = { lma: 0x400, nxe: 0x800 } as const;

const state64 = (offset: number): I64 => i64.load(ZERO, offset);
const bit64 = (value: I64, mask: number | bigint): I32 => i64.ne(i64.and(value, i64.const(mask)), i64.const(0));

export const count = (f: FunctionBuilder, counter: number, by: I64 = i64.const(1)): void => {
  const at = STATE.counters + counter * 8;
  f.store64(ZERO, i64.add(state64(at), by), at);
};

/** Sets the fault cells; the first fault of an instruction wins because nothing runs after it. */
export function setFault(f: FunctionBuilder, vector: I32 | number, error?: I32, address?: I64): void {
  const v = typeof vector === 'number' ? i32.const(vector) : vector;
  f.store32(ZERO, i32.or(v, i32.const(error ? FAULT.present | FAULT.hasError : FAULT.present)), STATE.fault);
  if (error) f.store32(ZERO, error, STATE.faultError);
  if (address) f.store64(ZERO, address, STATE.faultAddress);
}

/** 1 when a linear address is canonical: 48 bits, or 57 with CR4.LA57 (SDM vol. 1, 3.3.7.1). */
const isCanonical: HelperDefinition = {
  name: 'isCanonical',
  params: ['i64'],
  results: ['i32'],
  build(f) {
    const address = f.param('i64', 0);
    const shift = f.let(i64.select(bit64(state64(STATE.cr4), CR4.la57), i64.const(7), i64.const(16)));
    f.result(i64.eq(i64.shrS(i64.shl(address, shift), shift), address));
  },
};

/** RAM offset of a guest-physical address, or -1: RAM lies below the PCI hole and from 4 GiB up. */
const physToRam: HelperDefinition = {
  name: 'physToRam',
  params: ['i64'],
  results: ['i64'],
  build(f) {
    const phys = f.param('i64', 0);
    f.if(i64.ltU(phys, state64(STATE.ramLow)), () => f.return(phys));
    const high = f.let(i64.add(i64.sub(phys, i64.const(FOUR_GIB)), state64(STATE.ramLow)));
    f.if(i32.and(i64.geU(phys, i64.const(FOUR_GIB)), i64.ltU(high, state64(STATE.ramSize))), () => f.return(high));
    f.result(i64.const(-1));
  },
};

/**
 * Physical address for a linear one, or -1 with #PF in the fault cells. `access`: ACCESS bits. Sets A and D.
 * SDM vol. 3, chapter 4: no paging, 32-bit, PAE, 4-level and 5-level paging with 4 KiB, 2/4 MiB and 1 GiB pages.
 */
const walk: HelperDefinition = {
  name: 'walk',
  params: ['i64', 'i32'],
  results: ['i64'],
  build(f, h) {
    const linear = f.param('i64', 0);
    const access = f.param('i32', 1);
    count(f, COUNTER.pageWalks);
    f.if(i64.eqz(i64.and(state64(STATE.cr0), i64.const(CR0_PG))), () => {
      f.store32(ZERO, i32.const(12), STATE.walkShift);
      f.return(linear);
    });
    const efer = f.let(state64(STATE.efer));
    const cr4 = f.let(state64(STATE.cr4));
    const table = f.newLocal('i64');
    const shift = f.newLocal('i64');
    const entrySize = f.newLocal('i32');
    const indexMask = f.newLocal('i64');
    const entry = f.newLocal('i64');
    const ram = f.newLocal('i64');
    /** U and W of every level, and NX of any. */
    const rights = f.newLocal('i64');
    const nx = f.newLocal('i64');
    const reserved = f.newLocal('i64');
    const fail = (error: I32): void => {
      const fetch = i32.select(
        i32.or(bit64(efer, EFER.nxe), bit64(cr4, CR4.smep)),
        i32.and(access, i32.const(ACCESS.fetch)),
        i32.const(0),
      );
      const requested = i32.or(i32.and(access, i32.const(ACCESS.write | ACCESS.user)), fetch);
      setFault(f, VECTOR.pf, i32.or(error, requested), linear);
      f.return(i64.const(-1));
    };
    f.set(rights, i64.const(PTE.write | PTE.user));
    f.set(nx, i64.const(0));
    f.set(indexMask, i64.const(511));
    f.set(entrySize, i32.const(8));
    f.set(table, i64.and(state64(STATE.cr3), i64.const(0x000f_ffff_ffff_f000n)));
    const long = f.let(bit64(efer, EFER.lma));
    f.if(
      long,
      () => f.set(shift, i64.select(bit64(cr4, CR4.la57), i64.const(48), i64.const(39))),
      () =>
        f.if(
          bit64(cr4, CR4.pae),
          () => {
            f.set(table, i64.and(state64(STATE.cr3), i64.const(0xffff_ffe0n)));
            f.set(shift, i64.const(30));
          },
          () => {
            f.set(table, i64.and(state64(STATE.cr3), i64.const(0xffff_f000n)));
            f.set(shift, i64.const(22));
            f.set(indexMask, i64.const(1023));
            f.set(entrySize, i32.const(4));
          },
        ),
    );
    const get = (local: number): I64 => f.get('i64', local);
    const legacy = i32.eq(f.get('i32', entrySize), i32.const(4));
    f.block((leaf) => {
      f.loop((next) => {
        const index = i64.and(i64.shrU(linear, get(shift)), get(indexMask));
        f.set(
          ram,
          f.call('i64', h('physToRam'), [i64.add(get(table), i64.mul(index, i64.extendU(f.get('i32', entrySize))))]),
        );
        // a table outside RAM reads as not present (docs/system.md)
        f.if(i64.ltS(get(ram), i64.const(0)), () => fail(i32.const(0)), undefined, 'unlikely');
        f.if(
          legacy,
          () => f.set(entry, i64.load32U(i32.wrap(get(ram)), 0, RAM)),
          () => f.set(entry, i64.load(i32.wrap(get(ram)), 0, RAM)),
        );
        f.if(i64.eqz(i64.and(get(entry), i64.const(PTE.present))), () => fail(i32.const(0)), undefined, 'unlikely');
        // PAE page-directory-pointer entries have no rights of their own (SDM vol. 3, 4.4.1)
        const isPdpte = f.let(i32.and(i32.eqz(long), i32.and(i64.eq(get(shift), i64.const(30)), i32.eqz(legacy))));
        f.set(reserved, i64.const(0));
        f.if(i32.eqz(legacy), () => {
          f.set(
            reserved,
            i64.and(
              i64.xor(state64(STATE.physMask), i64.const(-1)),
              i64.select(bit64(efer, EFER.nxe), i64.const(0x000f_ffff_ffff_ffffn), i64.const(0x800f_ffff_ffff_ffffn)),
            ),
          );
          // outside long mode bits 62:52 are reserved too; in a PDPTE also 63, 8:5 and 2:1
          f.if(i32.eqz(long), () => f.set(reserved, i64.or(get(reserved), i64.const(0x7ff0_0000_0000_0000n))));
          f.if(isPdpte, () => f.set(reserved, i64.or(get(reserved), i64.const(0x8000_0000_0000_01e6n))));
        });
        const isLeaf = f.let(
          i32.or(
            i64.eq(get(shift), i64.const(12)),
            i32.and(
              i32.and(bit64(get(entry), PTE.large), i64.leU(get(shift), i64.load32U(ZERO, STATE.largestPage))),
              i32.and(i32.eqz(isPdpte), i32.or(i32.eqz(legacy), bit64(cr4, CR4.pse))),
            ),
          ),
        );
        // a 4 MiB page: bit 21, and addresses beyond 40 bits do not exist
        f.if(i32.and(isLeaf, i32.and(legacy, i64.gtU(get(shift), i64.const(12)))), () =>
          f.set(reserved, i64.const(0x20_0000)),
        );
        // PS is reserved where there is no such page; a large leaf reserves the address bits below its size, PAT aside
        f.if(i32.and(long, i64.gtU(get(shift), i64.load32U(ZERO, STATE.largestPage))), () =>
          f.set(reserved, i64.or(get(reserved), i64.const(PTE.large))),
        );
        f.if(i32.and(isLeaf, i32.and(i64.gtU(get(shift), i64.const(12)), i32.eqz(legacy))), () =>
          f.set(
            reserved,
            i64.or(
              get(reserved),
              i64.and(i64.sub(i64.shl(i64.const(1), get(shift)), i64.const(1)), i64.const(0x000f_ffff_ffff_e000n)),
            ),
          ),
        );
        f.if(
          i64.ne(i64.and(get(entry), get(reserved)), i64.const(0)),
          () => fail(i32.const(1 | 8)),
          undefined,
          'unlikely',
        );
        f.if(i32.eqz(isPdpte), () => {
          f.set(rights, i64.and(get(rights), get(entry)));
          f.set(nx, i64.or(get(nx), get(entry)));
        });
        f.brIf(leaf, isLeaf);
        f.if(i32.and(i32.eqz(isPdpte), i64.eqz(i64.and(get(entry), i64.const(PTE.accessed)))), () =>
          f.store8(i32.wrap(get(ram)), i32.wrap(i64.or(get(entry), i64.const(PTE.accessed))), 0, RAM),
        );
        f.set(table, i64.and(get(entry), i64.const(0x000f_ffff_ffff_f000n)));
        f.set(shift, i64.sub(get(shift), i64.select(legacy, i64.const(10), i64.const(9))));
        f.br(next);
      });
    });
    // rights: U/S, R/W, NX, SMEP, SMAP, WP (SDM vol. 3, 4.6)
    const userPage = bit64(get(rights), PTE.user);
    const readOnly = i64.eqz(i64.and(get(rights), i64.const(PTE.write)));
    const isWrite = i32.and(access, i32.const(ACCESS.write));
    const isFetch = i32.and(access, i32.const(ACCESS.fetch));
    const deny = (condition: I32): void => f.if(condition, () => fail(i32.const(1)), undefined, 'unlikely');
    f.if(
      i32.and(access, i32.const(ACCESS.user)),
      () => {
        deny(i32.eqz(userPage));
        f.if(isWrite, () => deny(readOnly));
      },
      () => {
        f.if(userPage, () => {
          f.if(
            isFetch,
            () => deny(bit64(cr4, CR4.smep)),
            () => deny(i32.and(bit64(cr4, CR4.smap), i32.eqz(i32.and(access, i32.const(ACCESS.userPages))))),
          );
        });
        f.if(isWrite, () => deny(i32.and(readOnly, bit64(state64(STATE.cr0), CR0_WP))));
      },
    );
    f.if(isFetch, () => deny(i32.and(i64.ltS(get(nx), i64.const(0)), bit64(efer, EFER.nxe))));
    // protection keys of user pages: access disable, then write disable (SDM vol. 3, 4.6.2)
    const keyed = i32.and(i32.and(bit64(cr4, CR4.pke), long), i32.and(userPage, i32.eqz(isFetch)));
    f.if(
      keyed,
      () => {
        const key = i32.and(i32.wrap(i64.shrU(get(entry), i64.const(59))), i32.const(15));
        const pkru = f.let(i32.shrU(i32.load(ZERO, STATE.pkru), i32.shl(key, i32.const(1))));
        const user = i32.and(access, i32.const(ACCESS.user));
        const writeCounts = i32.or(user, bit64(state64(STATE.cr0), CR0_WP));
        const writeDenied = i32.and(
          i32.and(i32.ne(isWrite, i32.const(0)), i32.ne(writeCounts, i32.const(0))),
          i32.and(i32.shrU(pkru, i32.const(1)), i32.const(1)),
        );
        const denied = i32.or(i32.and(pkru, i32.const(1)), writeDenied);
        f.if(denied, () => fail(i32.const(1 | PK)), undefined, 'unlikely');
      },
      undefined,
      'unlikely',
    );
    const wanted = f.let(
      i64.or(get(entry), i64.select(isWrite, i64.const(PTE.accessed | PTE.dirty), i64.const(PTE.accessed))),
    );
    f.if(i64.ne(wanted, get(entry)), () => f.store8(i32.wrap(get(ram)), i32.wrap(wanted), 0, RAM));
    const offsetMask = f.let(i64.sub(i64.shl(i64.const(1), get(shift)), i64.const(1)));
    const offset = i64.and(linear, offsetMask);
    f.store32(ZERO, i32.wrap(get(shift)), STATE.walkShift);
    f.if(i32.and(legacy, i64.eq(get(shift), i64.const(22))), () => {
      // PSE-36: bits 20:13 of a 4 MiB entry are address bits 39:32
      const high = i64.shl(i64.and(i64.shrU(get(entry), i64.const(13)), i64.const(0xff)), i64.const(32));
      f.return(i64.or(i64.or(i64.and(get(entry), i64.const(0xffc0_0000n)), high), offset));
    });
    const frame = i64.and(get(entry), i64.xor(offsetMask, i64.const(-1)));
    f.result(i64.or(i64.and(frame, i64.const(0x000f_ffff_ffff_f000n)), offset));
  },
};

/** As `walk`, after the canonical check: #GP(0), or #SS(0) for the stack segment. `flags`: SLOW bits. */
const translate: HelperDefinition = {
  name: 'translate',
  params: ['i64', 'i32', 'i32'],
  results: ['i64'],
  build(f, h) {
    const linear = f.param('i64', 0);
    f.if(
      i32.eqz(f.call('i32', h('isCanonical'), [linear])),
      () => {
        const vector = i32.select(
          i32.and(f.param('i32', 2), i32.const(SLOW.stack)),
          i32.const(VECTOR.ss),
          i32.const(VECTOR.gp),
        );
        setFault(f, vector, i32.const(0));
        f.return(i64.const(-1));
      },
      undefined,
      'unlikely',
    );
    f.result(f.call('i64', h('walk'), [linear, f.param('i32', 1)]));
  },
};

export const WALK_HELPERS: readonly HelperDefinition[] = [isCanonical, physToRam, walk, translate];
