import { createDecoder, type Decode, isFailure } from '../cpu/decode/decoder.ts';
import { decoderFeatures } from '../cpu/decode/opcodes.ts';
import type { DecodedInstruction, Operand } from '../cpu/decode/types.ts';
import type { LinearView } from '../cpu/linear-view.ts';
import type { KernelMap } from './kernel-map.ts';

/** Functions are followed this far. */
const MAX_BYTES = 0x8000;
const MAX_INSTRUCTIONS = 8192;
const RSP = 4;
const RBP = 5;
const WORD = 8;
const ENDS = new Set(['ret', 'iret', 'sysret', 'ud2', 'ud1', 'ud0', 'int3', 'jmp_far', 'ret_far']);

/** A function that is being followed: as far as was needed up to now. */
interface Followed {
  readonly start: number;
  readonly code: Uint8Array;
  /** Bytes between the stack pointer and the return address, by offset of instruction; NaN when they cannot be told. */
  readonly depths: Map<number, number>;
  /** Where paths that have not been followed begin. */
  readonly paths: { readonly offset: number; readonly depth: number }[];
  /** Depth at which RBP points, once it has been made the frame pointer. */
  frame: number | undefined;
}

/**
 * How far a function has moved the stack pointer at each of its instructions, found by following its code from the start: what
 * unwinds code that keeps no frame pointer and comes without tables. 64-bit code only.
 */
export class StackDepths {
  readonly #view: LinearView;
  readonly #map: KernelMap;
  readonly #decode: Decode = createDecoder({ features: decoderFeatures() });
  readonly #functions = new Map<number, Followed>();

  constructor(view: LinearView, map: KernelMap) {
    this.#view = view;
    this.#map = map;
  }

  /** Depth before the instruction at `address` of the function that starts at `start`; undefined when no path is known to lead there. */
  at(start: number, address: number): number | undefined {
    let followed = this.#functions.get(start);
    if (followed === undefined) {
      const code = this.#view.read(start, Math.min(MAX_BYTES, this.#map.endOf(start) - start));
      followed = { start, code, depths: new Map(), paths: [{ offset: 0, depth: 0 }], frame: undefined };
      this.#functions.set(start, followed);
    }
    const { depths, paths } = followed;
    const offset = address - start;
    while (!depths.has(offset) && depths.size < MAX_INSTRUCTIONS) {
      const path = paths.pop();
      if (path === undefined) break;
      this.#follow(followed, path.offset, path.depth);
    }
    const depth = depths.get(offset);
    return Number.isNaN(depth) ? undefined : depth;
  }

  /** Follows one path up to its end or to where another has been. */
  #follow(followed: Followed, from: number, depthThere: number): void {
    const { code, depths, paths } = followed;
    let at = from;
    let depth = depthThere;
    while (at >= 0 && at < code.length && !depths.has(at)) {
      const decoded = this.#decode(code, at, code.length, 64);
      if (isFailure(decoded)) return;
      depths.set(at, depth);
      const { mnemonic } = decoded.row;
      if (ENDS.has(mnemonic)) return;
      const next = at + decoded.length;
      const [operand] = decoded.operands;
      if (operand?.kind === 'rel' && mnemonic !== 'call') paths.push({ offset: next + operand.displacement, depth });
      if (mnemonic === 'jmp') return;
      if (copiesStackPointerToFrame(decoded)) followed.frame = depth;
      depth = depthAfter(decoded, depth, followed.frame ?? Number.NaN);
      at = next;
    }
  }
}

const isRegister = (operand: Operand | undefined, index: number): boolean =>
  operand?.kind === 'gpr' && operand.width === WORD && operand.index === index;

function copiesStackPointerToFrame({ row, operands }: DecodedInstruction): boolean {
  return row.mnemonic === 'mov' && isRegister(operands[0], RBP) && isRegister(operands[1], RSP);
}

/** The depth after an instruction that began at `depth`; RBP points to depth `frame`. NaN is what cannot be told. */
function depthAfter({ row, operands }: DecodedInstruction, depth: number, frame: number): number {
  const { mnemonic } = row;
  const [first, second] = operands;
  if (mnemonic === 'push' || mnemonic === 'pushf' || mnemonic === 'push_seg') return depth + WORD;
  // POP RSP ends a visit to another stack, which StackWalker takes for no change of depth
  if (mnemonic === 'pop' && isRegister(first, RSP)) return depth;
  if (mnemonic === 'pop' || mnemonic === 'popf' || mnemonic === 'pop_seg') return depth - WORD;
  if (mnemonic === 'leave') return frame - WORD;
  if (!isRegister(first, RSP)) return depth;
  if (second?.kind === 'imm' && mnemonic === 'sub') return depth + second.lo;
  if (second?.kind === 'imm' && mnemonic === 'add') return depth - second.lo;
  if (mnemonic === 'lea' && second?.kind === 'mem' && second.index < 0) {
    if (second.base === RSP) return depth - second.dispLo;
    return second.base === RBP ? frame - second.dispLo : Number.NaN;
  }
  if (mnemonic === 'mov') return isRegister(second, RBP) ? frame : depth;
  return mnemonic === 'cmp' || mnemonic === 'test' ? depth : Number.NaN;
}
