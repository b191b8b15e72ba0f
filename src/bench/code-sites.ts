import { createDecoder, type Decode, isFailure } from '../cpu/decode/decoder.ts';
import { decoderFeatures } from '../cpu/decode/opcodes.ts';
import type { LinearView } from '../cpu/linear-view.ts';
import type { CodeLocation, KernelMap } from '../profile/kernel-map.ts';

/** Instructions that change privilege or interrupt masking: what system calls spend their time on beside work. */
export const TRANSITIONS = ['syscall', 'sysret', 'iret', 'swapgs', 'cli', 'sti', 'pushf', 'popf'] as const;
export type Transition = (typeof TRANSITIONS)[number];

/** One instruction in the guest's code. */
export interface CodeSite {
  readonly location: CodeLocation;
  readonly transition: Transition | undefined;
  readonly writesCr3: boolean;
  /** Carries a repeat prefix. */
  readonly repeats: boolean;
}

const LONGEST_INSTRUCTION = 15;

/** What is known of every instruction met, numbered in the order of their first execution. */
export class CodeSites {
  readonly sites: CodeSite[] = [];
  readonly #map: KernelMap;
  readonly #view: LinearView;
  readonly #decode: Decode = createDecoder({ features: decoderFeatures() });
  readonly #numbers = new Map<number, number>();

  constructor(map: KernelMap, view: LinearView) {
    this.#map = map;
    this.#view = view;
  }

  /** The number of the 64-bit instruction at a signed linear address, which must be mapped now if it is met for the first time. */
  number(linear: number, ring3: boolean): number {
    const known = this.#numbers.get(linear);
    if (known !== undefined) return known;
    const bytes = this.#view.read(linear, LONGEST_INSTRUCTION);
    const decoded = this.#decode(bytes, 0, bytes.length, 64);
    const instruction = isFailure(decoded) ? undefined : decoded;
    const mnemonic = instruction?.row.mnemonic;
    const operand = instruction?.operands[0];
    this.sites.push({
      location: this.#map.locate(linear, ring3),
      transition: TRANSITIONS.find((name) => name === mnemonic),
      writesCr3: mnemonic === 'mov_cr' && operand?.kind === 'cr' && operand.index === 3,
      repeats: (instruction?.rep ?? 'none') !== 'none',
    });
    this.#numbers.set(linear, this.sites.length - 1);
    return this.sites.length - 1;
  }
}
