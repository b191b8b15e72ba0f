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

/** Bytes between the stack pointer and the return address, by address of instruction. */
type Depths = ReadonlyMap<number, number>;

/**
 * How far a function has moved the stack pointer at each of its instructions, found by following its code from the start: what
 * unwinds code that keeps no frame pointer and comes without tables. 64-bit code only.
 */
export class StackDepths {
  readonly #view: LinearView;
  readonly #map: KernelMap;
  readonly #decode: Decode = createDecoder({ features: decoderFeatures() });
  readonly #functions = new Map<number, Depths>();

  constructor(view: LinearView, map: KernelMap) {
    this.#view = view;
    this.#map = map;
  }

  /** Depth before the instruction at `address` of the function that starts at `start`; undefined when no path is known to lead there. */
  at(start: number, address: number): number | undefined {
    let depths = this.#functions.get(start);
    if (depths === undefined) {
      depths = this.#follow(start);
      this.#functions.set(start, depths);
    }
    return depths.get(address);
  }

  #follow(start: number): Depths {
    const depths = new Map<number, number>();
    const code = this.#view.read(start, MAX_BYTES);
    /** Depth at which RBP points, once it has been made the frame pointer. */
    let frame: number | undefined;
    const paths: { at: number; depth: number }[] = [{ at: start, depth: 0 }];
    for (let path = paths.pop(); path !== undefined && depths.size < MAX_INSTRUCTIONS; path = paths.pop()) {
      let { at, depth } = path;
      for (;;) {
        const offset = at - start;
        if (offset < 0 || offset >= code.length || depths.has(at)) break;
        const decoded = this.#decode(code, offset, code.length, 64);
        if (isFailure(decoded)) break;
        depths.set(at, depth);
        const { mnemonic } = decoded.row;
        if (ENDS.has(mnemonic)) break;
        const next = at + decoded.length;
        const [operand] = decoded.operands;
        if (operand?.kind === 'rel' && (mnemonic === 'jmp' || mnemonic === 'jcc' || mnemonic.startsWith('loop'))) {
          const target = next + operand.displacement;
          if (this.#map.locate(target, false).start === start) paths.push({ at: target, depth });
          if (mnemonic === 'jmp') break;
        } else if (mnemonic === 'jmp') break;
        if (copiesStackPointerToFrame(decoded)) frame = depth;
        const after = depthAfter(decoded, depth, frame);
        if (after === undefined) break;
        depth = after;
        at = next;
      }
    }
    return depths;
  }
}

const isRegister = (operand: Operand | undefined, index: number): boolean =>
  operand?.kind === 'gpr' && operand.width === WORD && operand.index === index;

function copiesStackPointerToFrame({ row, operands }: DecodedInstruction): boolean {
  return row.mnemonic === 'mov' && isRegister(operands[0], RBP) && isRegister(operands[1], RSP);
}

/** The depth after an instruction that began at `depth`, undefined when it cannot be told. */
function depthAfter(
  { row, operands }: DecodedInstruction,
  depth: number,
  frame: number | undefined,
): number | undefined {
  const { mnemonic } = row;
  const [first, second] = operands;
  if (mnemonic === 'push' || mnemonic === 'pushf' || mnemonic === 'push_seg') return depth + WORD;
  // POP RSP ends a visit to another stack, which StackWalker takes for no change of depth
  if (mnemonic === 'pop' && isRegister(first, RSP)) return depth;
  if (mnemonic === 'pop' || mnemonic === 'popf' || mnemonic === 'pop_seg') return depth - WORD;
  if (mnemonic === 'leave') return frame === undefined ? undefined : frame - WORD;
  if (!isRegister(first, RSP)) return depth;
  if (second?.kind === 'imm' && mnemonic === 'sub') return depth + second.lo;
  if (second?.kind === 'imm' && mnemonic === 'add') return depth - second.lo;
  if (mnemonic === 'lea' && second?.kind === 'mem' && second.index < 0) {
    if (second.base === RSP) return depth - second.dispLo;
    if (second.base === RBP && frame !== undefined) return frame - second.dispLo;
    return undefined;
  }
  if (mnemonic === 'mov') return isRegister(second, RBP) ? frame : depth;
  return mnemonic === 'cmp' || mnemonic === 'test' ? depth : undefined;
}
