import type { DecodedInstruction, Operand } from '../decode/types.ts';
import { RECORD, SLOT, STATE } from '../state.ts';
import type { StateMemory } from '../state-memory.ts';
import { recordMemory } from './form.ts';

const POINTER = [RECORD.a, RECORD.b, RECORD.c, RECORD.imm] as const;

/** The address in memory 0, or the number, that stands for a register operand. */
export function registerCell(o: Operand): number {
  switch (o.kind) {
    case 'gpr':
      return STATE.gpr + o.index * 8 + (o.high ? 1 : 0);
    case 'vec':
      return STATE.vec + o.index * 32;
    case 'mmx':
      return STATE.fpr + o.index * 16;
    case 'st':
    case 'seg':
    case 'cr':
    case 'dr':
      return o.index;
    default:
      throw new RangeError(`${o.kind} is no register operand`);
  }
}

/** Writes the record of `d`, which stands at `ipOffset` of its page, to address `at` of memory 0. */
export function writeRecord(
  memory: StateMemory,
  at: number,
  d: DecodedInstruction,
  handler: number,
  ipOffset: number,
): void {
  const { u8, u16, u32, i32 } = memory;
  for (let i = at >> 2; i < (at + RECORD.size) >> 2; i++) i32[i] = 0;
  u16[(at + RECORD.handler) >> 1] = handler;
  u16[(at + RECORD.ipOffset) >> 1] = ipOffset;
  let scale = 0;
  const m = recordMemory(d);
  u8[at + RECORD.base] = SLOT.zero;
  u8[at + RECORD.index] = SLOT.zero;
  u8[at + RECORD.segment] = SLOT.zero;
  if (m) {
    const ripRelative = m.base === 16;
    u8[at + RECORD.base] = ripRelative ? SLOT.pageBase : m.base < 0 ? SLOT.zero : m.base;
    u8[at + RECORD.index] = m.index < 0 ? SLOT.zero : m.index;
    u8[at + RECORD.segment] = SLOT.segBase + m.segment;
    scale = m.scale;
    const lo = ripRelative ? m.dispLo + ipOffset + d.length : m.dispLo;
    i32[(at + RECORD.disp) >> 2] = lo;
    // a RIP-relative sum may leave 32 bits
    i32[(at + RECORD.disp + 4) >> 2] = ripRelative ? Math.floor(lo / 0x1_0000_0000) : m.dispHi;
  }
  u8[at + RECORD.scaleLength] = scale | (d.length << 4);
  const longImmediate = !d.operands.some((o, i) => i >= 2 && o.kind !== 'imm' && o.kind !== 'mem');
  d.operands.forEach((o, i) => {
    switch (o.kind) {
      case 'mem':
        return;
      case 'imm':
        if (i === 1 && d.operands[0]!.kind === 'imm') {
          // ENTER has two immediates and no memory operand: the second takes the displacement's place
          i32[(at + RECORD.disp) >> 2] = o.lo;
          u32[(at + RECORD.b) >> 2] = at + RECORD.disp;
          return;
        }
        i32[(at + RECORD.imm) >> 2] = o.lo;
        if (longImmediate) i32[(at + RECORD.imm + 4) >> 2] = o.hi;
        if (i < 2) u32[(at + POINTER[i]!) >> 2] = at + RECORD.imm;
        return;
      case 'rel': {
        const target = ipOffset + d.length + o.displacement;
        i32[(at + RECORD.imm) >> 2] = target;
        i32[(at + RECORD.imm + 4) >> 2] = Math.floor(target / 0x1_0000_0000);
        return;
      }
      case 'far':
        i32[(at + RECORD.imm) >> 2] = o.offset;
        u32[(at + RECORD.b) >> 2] = o.selector;
        return;
      default:
        u32[(at + POINTER[i]!) >> 2] = registerCell(o);
    }
  });
}
