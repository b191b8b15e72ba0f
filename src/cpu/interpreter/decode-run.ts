import { type FunctionBuilder, type Label, ZERO } from '../../wasm/builder.ts';
import { type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import { SEGMENT } from '../decode/types.ts';
import type { HelperDefinition } from '../helpers/definition.ts';
import {
  CELL,
  CODE_PAGE,
  COUNTER,
  OPCODE_TRAIT,
  OPCODES,
  RECORD,
  SHAPE,
  SHAPE_FLAG,
  SHAPE_KEY,
  SLOT,
  STATE,
} from '../state.ts';
import { PSEUDO } from './pseudo.ts';

const RAM = 1;
const PAGE = 4096;
const MAX_LENGTH = 15;
/** More prefixes than these are left to JavaScript. */
const MAX_PREFIXES = 4;
/** Bytes that may be looked at before the length is checked: prefixes, REX, three of opcode, ModRM, SIB, disp32, imm64. */
const LOOK_AHEAD = MAX_PREFIXES + 1 + 3 + 1 + 1 + 4 + 8;
/** Long enough that straight code is not chopped up, short enough that little is decoded in vain. */
const LONGEST_RUN = 64 * RECORD.size;
/** A run is begun where there is room for this many records, and left when there is no more than the least. */
export const ROOM = { toBegin: 8 * RECORD.size, least: 4 * RECORD.size } as const;

const has = (word: I32, mask: number): I32 => i32.and(word, i32.const(mask));

/** A mutable local with an expression to read it. */
interface Variable {
  readonly get: I32;
  set(value: I32 | number): void;
}
const variable = (f: FunctionBuilder): Variable => {
  const index = f.newLocal('i32');
  return { get: f.get('i32', index), set: (v) => f.set(index, typeof v === 'number' ? i32.const(v) : v) };
};

/** Writes a record that is no instruction. */
function writePseudo(f: FunctionBuilder, at: I32, handler: number, ipOffset: I32, value: I32): void {
  f.store32(at, i32.or(i32.const(handler), i32.shl(ipOffset, i32.const(16))), RECORD.handler);
  f.store32(at, i32.const(0), RECORD.a);
  f.store64(at, i64.const(0), RECORD.b);
  f.store64(at, i64.const(0), RECORD.disp);
  f.store64(at, i64.extendU(value), RECORD.imm);
}

/** (CELL, ModRM.reg, ModRM.rm, number in the opcode, REX or 0, record) -> address of a register operand. */
const operandCell: HelperDefinition = {
  name: 'operandCell',
  params: ['i32', 'i32', 'i32', 'i32', 'i32', 'i32'],
  results: ['i32'],
  build(f) {
    const [cell, reg, rm, low, rex, record] = [0, 1, 2, 3, 4, 5].map((i) => f.param('i32', i)) as [
      I32,
      I32,
      I32,
      I32,
      I32,
      I32,
    ];
    const base = f.let(i32.and(cell, i32.const(0xffff)));
    f.if(has(cell, CELL.own), () => f.return(i32.add(record, base)));
    const selector = f.let(has(cell, CELL.selectorMask));
    const selected = i32.select(
      i32.eq(selector, i32.const(CELL.reg)),
      reg,
      i32.select(
        i32.eq(selector, i32.const(CELL.rm)),
        rm,
        i32.select(i32.eq(selector, i32.const(CELL.opcode)), low, i32.const(0)),
      ),
    );
    const n = f.let(i32.and(selected, i32.select(has(cell, CELL.eight), i32.const(7), i32.const(15))));
    // without REX the byte registers 4 to 7 are the upper halves of the first four
    const high = i32.and(i32.eqz(rex), i32.geU(n, i32.const(4)));
    f.if(i32.and(i32.ne(has(cell, CELL.byte), i32.const(0)), high), () =>
      f.return(i32.add(base, i32.add(i32.shl(i32.sub(n, i32.const(4)), i32.const(3)), i32.const(1)))),
    );
    const shift = i32.and(i32.shrU(cell, i32.const(18)), i32.const(7));
    f.result(i32.add(base, i32.shl(n, shift)));
  },
};

/**
 * (address of CODE_PAGE, RAM page, offset in it) -> record of the instruction there, or 0: then JavaScript must decode it, and may
 * add its shape under STATE.shapeKey unless that is 0. Makes the records of a run of straight 64-bit code, as CodeCache does one
 * by one; the run stops before an instruction whose shape is not known. `offset` has no record yet.
 */
const decodeRun: HelperDefinition = {
  name: 'decodeRun',
  params: ['i32', 'i32', 'i32'],
  results: ['i32'],
  build(f, h) {
    const page = f.param('i32', 0);
    const ram = f.let(i32.shl(f.param('i32', 1), i32.const(12)));
    const offset = f.param('i32', 2);
    const at = variable(f);
    const position = variable(f);
    const record = variable(f);
    const byte = (): I32 => i32.load8U(i32.add(ram, position.get), 0, RAM);
    const skip = (n: number): void => position.set(i32.add(position.get, i32.const(n)));
    const opcodeTraits = (index: I32): I32 => i32.load8U(index, OPCODES.base);

    at.set(offset);
    f.store32(ZERO, i32.const(0), STATE.shapeKey);
    record.set(i32.load(page, CODE_PAGE.next));
    const open = f.let(i32.load(page, CODE_PAGE.open));
    f.if(i32.and(i32.geS(open, i32.const(0)), i32.ne(open, offset)), () =>
      record.set(i32.add(record.get, i32.const(RECORD.size))),
    );
    const end = f.let(i32.load(page, CODE_PAGE.end));
    f.if(i32.ltS(i32.sub(end, record.get), i32.const(ROOM.toBegin)), () => f.return(i32.const(0)));
    f.if(i32.load(page, CODE_PAGE.mode), () => f.return(i32.const(0)));
    const first = f.let(record.get);
    const lastLook = f.let(i32.sub(i32.wrap(i64.load(ZERO, STATE.ramSize)), i32.const(LOOK_AHEAD)));
    const finish = (next: I32, openAt: I32): void => {
      f.store32(page, next, CODE_PAGE.next);
      f.store32(page, openAt, CODE_PAGE.open);
      const made = i32.shrU(i32.sub(record.get, first), i32.const(5));
      const counter = STATE.counters + COUNTER.decoded * 8;
      f.store64(ZERO, i64.add(i64.load(ZERO, counter), i64.extendU(made)), counter);
      f.return(first);
    };
    const mapEntry = (): I32 => i32.add(page, i32.shl(at.get, i32.const(2)));

    f.block((stop) => {
      f.loop((next) => {
        // bytes behind the page may be read, not believed; behind the RAM there are none
        f.brIf(stop, i32.gtU(i32.add(ram, at.get), lastLook));
        f.brIf(stop, i32.geS(at.get, i32.const(PAGE)));
        f.if(i32.ne(record.get, first), () => {
          const known = f.let(i32.load(mapEntry(), CODE_PAGE.map));
          f.if(known, () => {
            writePseudo(f, record.get, PSEUDO.link, at.get, known);
            finish(i32.add(record.get, i32.const(RECORD.size)), i32.const(-1));
          });
          f.brIf(stop, i32.ltS(i32.sub(end, record.get), i32.const(ROOM.least)));
          f.brIf(stop, i32.geS(i32.sub(record.get, first), i32.const(LONGEST_RUN)));
        });
        f.scope(() => decodeOne(stop));
        f.br(next);
      });
    });
    // nothing decoded: JavaScript's turn; otherwise the run ends here for now
    f.if(i32.eq(record.get, first), () => f.return(i32.const(0)));
    writePseudo(f, record.get, PSEUDO.fall, at.get, i32.const(0));
    finish(record.get, at.get);
    f.unreachable();

    function decodeOne(stop: Label): void {
      const b = variable(f);
      const traits = variable(f);
      const key = variable(f);
      const rex = variable(f);
      rex.set(0);
      key.set(SHAPE_KEY.present);
      position.set(at.get);
      const nextByte = (): void => {
        b.set(byte());
        skip(1);
      };
      // prefixes: the last of a group counts, REX only right before the opcode
      f.block((opcode) => {
        f.loop((again) => {
          nextByte();
          f.if(i32.eq(i32.and(b.get, i32.const(0xf0)), i32.const(0x40)), () => {
            rex.set(b.get);
            nextByte();
            traits.set(opcodeTraits(b.get));
            f.brIf(stop, has(traits.get, OPCODE_TRAIT.prefix));
            f.br(opcode);
          });
          traits.set(opcodeTraits(b.get));
          f.brIf(opcode, i32.eqz(has(traits.get, OPCODE_TRAIT.prefix)));
          f.brIf(stop, i32.gtS(i32.sub(position.get, at.get), i32.const(MAX_PREFIXES)));
          const prefix = (value: number, clear: number, set: number): void =>
            f.if(i32.eq(b.get, i32.const(value)), () => {
              key.set(i32.or(i32.and(key.get, i32.const(~clear)), i32.const(set)));
              f.br(again);
            });
          const repeats = SHAPE_KEY.rep | SHAPE_KEY.repne;
          const segments = SHAPE_KEY.fs | SHAPE_KEY.gs;
          prefix(0x66, 0, SHAPE_KEY.operandSize);
          prefix(0xf3, repeats, SHAPE_KEY.rep);
          prefix(0x65, segments, SHAPE_KEY.gs);
          prefix(0xf0, 0, SHAPE_KEY.lock);
          prefix(0xf2, repeats, SHAPE_KEY.repne);
          prefix(0x64, segments, SHAPE_KEY.fs);
          f.brIf(stop, i32.eq(b.get, i32.const(0x67)));
          // ES, CS, SS, DS: nothing in 64-bit mode
          f.br(again);
        });
      });
      const map = variable(f);
      map.set(0);
      f.if(i32.eq(b.get, i32.const(0x0f)), () => {
        nextByte();
        map.set(0x100);
        f.if(i32.eq(i32.and(b.get, i32.const(0xfd)), i32.const(0x38)), () => {
          map.set(i32.add(i32.const(0x200), i32.shl(has(b.get, 2), i32.const(7))));
          nextByte();
        });
        traits.set(opcodeTraits(i32.or(map.get, b.get)));
      });
      f.brIf(stop, i32.eqz(has(traits.get, OPCODE_TRAIT.known)));
      key.set(i32.or(i32.or(key.get, i32.or(map.get, b.get)), i32.shl(has(rex.get, 8), i32.const(10))));
      f.if(has(traits.get, OPCODE_TRAIT.rexB), () => key.set(i32.or(key.get, i32.shl(has(rex.get, 1), i32.const(25)))));
      const extend = (n: I32, bit: number, up: number): I32 => i32.or(n, i32.shl(has(rex.get, bit), i32.const(up)));
      const low = f.let(extend(has(b.get, 7), 1, 3));

      // ModRM, SIB, displacement
      const reg = variable(f);
      const rm = variable(f);
      const base = variable(f);
      const index = variable(f);
      const scale = variable(f);
      const displacement = variable(f);
      for (const v of [reg, rm, scale, displacement]) v.set(0);
      base.set(SLOT.zero);
      index.set(SLOT.zero);
      f.if(has(traits.get, OPCODE_TRAIT.modrm), () => {
        nextByte();
        const mod = f.let(i32.shrU(b.get, i32.const(6)));
        reg.set(i32.and(i32.shrU(b.get, i32.const(3)), i32.const(7)));
        rm.set(has(b.get, 7));
        f.if(has(traits.get, OPCODE_TRAIT.reg), () => key.set(i32.or(key.get, i32.shl(reg.get, i32.const(19)))));
        f.if(has(traits.get, OPCODE_TRAIT.rm), () => key.set(i32.or(key.get, i32.shl(rm.get, i32.const(22)))));
        reg.set(extend(reg.get, 4, 1));
        const dword = (): void => {
          displacement.set(i32.load(i32.add(ram, position.get), 0, RAM));
          skip(4);
        };
        f.if(
          i32.eq(mod, i32.const(3)),
          () => {
            key.set(i32.or(key.get, i32.const(SHAPE_KEY.register)));
            rm.set(extend(rm.get, 1, 3));
          },
          () => {
            const noBase = (slot: number): void => {
              base.set(slot);
              dword();
            };
            key.set(i32.or(key.get, i32.const(SHAPE_KEY.memory)));
            f.if(
              i32.eq(rm.get, i32.const(4)),
              () => {
                nextByte();
                const number = f.let(extend(i32.and(i32.shrU(b.get, i32.const(3)), i32.const(7)), 2, 2));
                f.if(i32.ne(number, i32.const(4)), () => {
                  index.set(number);
                  scale.set(i32.shrU(b.get, i32.const(6)));
                  key.set(i32.or(key.get, i32.const(SHAPE_KEY.indexed)));
                });
                base.set(has(b.get, 7));
                f.if(
                  i32.and(i32.eq(base.get, i32.const(5)), i32.eqz(mod)),
                  () => noBase(SLOT.zero),
                  () => base.set(extend(base.get, 1, 3)),
                );
              },
              () =>
                f.if(
                  i32.and(i32.eq(rm.get, i32.const(5)), i32.eqz(mod)),
                  () => noBase(SLOT.pageBase),
                  () => base.set(extend(rm.get, 1, 3)),
                ),
            );
            f.if(i32.eq(mod, i32.const(1)), () => {
              displacement.set(i32.extend8S(byte()));
              skip(1);
            });
            f.if(i32.eq(mod, i32.const(2)), dword);
          },
        );
      });

      // the shape
      const shape = variable(f);
      const mask = (1 << SHAPE.bits) - 1;
      const hash = i32.shrU(i32.mul(key.get, i32.const(0x9e37_79b1)), i32.const(32 - SHAPE.bits));
      shape.set(i32.add(i32.const(SHAPE.base), i32.mul(hash, i32.const(SHAPE.size))));
      f.block((found) => {
        f.loop((probe) => {
          const entry = f.let(i32.load(shape.get, SHAPE.key));
          f.brIf(found, i32.eq(entry, key.get), 'likely');
          f.if(i32.eqz(entry), () => {
            f.store32(ZERO, key.get, STATE.shapeKey);
            f.br(stop);
          });
          const following = i32.and(
            i32.add(i32.shrU(i32.sub(shape.get, i32.const(SHAPE.base)), i32.const(5)), i32.const(1)),
            i32.const(mask),
          );
          shape.set(i32.add(i32.const(SHAPE.base), i32.shl(following, i32.const(5))));
          f.br(probe);
        });
      });
      const flags = f.let(i32.load16U(shape.get, SHAPE.flags));

      // immediate
      const size = f.let(i32.load8U(shape.get, SHAPE.immediateSize));
      const immediate = f.newLocal('i64');
      f.set(immediate, i64.extendS(i32.load(shape.get, SHAPE.immediate)));
      f.if(size, () => {
        const here = i32.add(ram, position.get);
        const signed = (yes: I64, no: I64): I64 => i64.select(has(flags, SHAPE_FLAG.signedImmediate), yes, no);
        const sizes: [number, I64][] = [
          [1, signed(i64.load8S(here, 0, RAM), i64.load8U(here, 0, RAM))],
          [4, i64.load32S(here, 0, RAM)],
          [2, signed(i64.load16S(here, 0, RAM), i64.load16U(here, 0, RAM))],
          [8, i64.load(here, 0, RAM)],
        ];
        for (const [n, value] of sizes) f.if(i32.eq(size, i32.const(n)), () => f.set(immediate, value));
        position.set(i32.add(position.get, size));
      });
      const length = f.let(i32.sub(position.get, at.get));
      f.brIf(stop, i32.gtS(length, i32.const(MAX_LENGTH)));
      f.brIf(stop, i32.gtS(i32.add(at.get, length), i32.const(PAGE)));
      const following = f.let(i64.extendU(i32.add(at.get, length)));
      f.if(has(flags, SHAPE_FLAG.relative), () => f.set(immediate, i64.add(f.get('i64', immediate), following)));

      // the record
      const to = record.get;
      const cell = (field: number): I32 =>
        f.call('i32', h('operandCell'), [i32.load(shape.get, field), reg.get, rm.get, low, rex.get, to]);
      f.store32(to, i32.or(i32.load16U(shape.get, SHAPE.handler), i32.shl(at.get, i32.const(16))), RECORD.handler);
      f.store32(to, cell(SHAPE.a), RECORD.a);
      f.store32(to, cell(SHAPE.b), RECORD.b);
      const segment = variable(f);
      segment.set(i32.load8U(shape.get, SHAPE.segmentSlot));
      f.if(
        i32.geU(has(key.get, SHAPE_KEY.indexed), i32.const(SHAPE_KEY.memory)),
        () => {
          // RSP and RBP, not R12 and R13, are in the stack segment
          const stack = i32.eq(i32.and(base.get, i32.const(0x1e)), i32.const(4));
          const fallback = i32.select(
            stack,
            i32.const(SLOT.segBase + SEGMENT.ss),
            i32.const(SLOT.segBase + SEGMENT.ds),
          );
          f.if(i32.eqz(segment.get), () => segment.set(fallback));
        },
        () => {
          base.set(i32.load8U(shape.get, SHAPE.baseSlot));
          index.set(i32.load8U(shape.get, SHAPE.indexSlot));
        },
      );
      const scaleLength = i32.or(scale.get, i32.shl(length, i32.const(4)));
      const slots = i32.or(
        i32.or(base.get, i32.shl(index.get, i32.const(8))),
        i32.or(i32.shl(segment.get, i32.const(16)), i32.shl(scaleLength, i32.const(24))),
      );
      f.store32(to, slots, RECORD.base);
      const relative = i32.eq(base.get, i32.const(SLOT.pageBase));
      const distance = i64.select(relative, following, i64.const(0));
      f.store64(to, i64.add(i64.extendS(displacement.get), distance), RECORD.disp);
      f.store64(to, f.get('i64', immediate), RECORD.imm);
      f.if(has(flags, SHAPE_FLAG.third), () => f.store32(to, cell(SHAPE.c), RECORD.c));

      // where it is found, and which bytes it depends on
      f.store32(mapEntry(), to, CODE_PAGE.map);
      const granule = (byteOffset: I32): I64 => i64.shl(i64.const(1), i64.extendU(i32.shrU(byteOffset, i32.const(6))));
      const last = i32.sub(i32.add(at.get, length), i32.const(1));
      f.store64(
        page,
        i64.or(i64.load(page, CODE_PAGE.granules), i64.or(granule(at.get), granule(last))),
        CODE_PAGE.granules,
      );
      record.set(i32.add(to, i32.const(RECORD.size)));
      at.set(i32.add(at.get, length));
      f.brIf(stop, has(flags, SHAPE_FLAG.ends));
    }
  },
};

export const DECODE_HELPERS: readonly HelperDefinition[] = [operandCell, decodeRun];
