import type { LinearView } from '../cpu/linear-view.ts';

/** What the call before a return address went to. */
export interface CallSite {
  /** Signed linear address, undefined for a call through a register or memory. */
  readonly target: number | undefined;
}

const DIRECT_LENGTH = 5;
const LONGEST = 7;

/** Tells return addresses in 64-bit code from other numbers, by the call instruction in front of them (SDM vol. 2, CALL). */
export class CallSites {
  readonly #view: LinearView;
  readonly #known = new Map<number, CallSite | undefined>();

  constructor(view: LinearView) {
    this.#view = view;
  }

  /** The call that returns to `address`, or undefined when none does. */
  before(address: number): CallSite | undefined {
    if (!this.#known.has(address)) this.#known.set(address, this.#look(address));
    return this.#known.get(address);
  }

  #look(address: number): CallSite | undefined {
    if (!Number.isSafeInteger(address)) return undefined;
    const bytes = this.#view.read(address - LONGEST, LONGEST);
    if (bytes.length < LONGEST) return undefined;
    if (bytes[LONGEST - DIRECT_LENGTH] === 0xe8) {
      const data = new DataView(bytes.buffer, bytes.byteOffset);
      return { target: address + data.getInt32(LONGEST - 4, true) };
    }
    for (let length = 2; length <= LONGEST; length++) {
      if (indirectLength(bytes, LONGEST - length) === length) return { target: undefined };
    }
    return undefined;
  }
}

/** Length of the FF /2 at `at`, prefix not counted; 0 when there is none. */
function indirectLength(bytes: Uint8Array, at: number): number {
  const modrm = bytes[at + 1];
  if (bytes[at] !== 0xff || modrm === undefined || ((modrm >> 3) & 7) !== 2) return 0;
  const mode = modrm >> 6;
  const base = modrm & 7;
  if (mode === 3) return 2;
  const sib = base === 4 ? 1 : 0;
  if (mode === 1) return 3 + sib;
  const hasDisplacement = mode === 2 || base === 5 || (sib === 1 && ((bytes[at + 2] ?? 0) & 7) === 5);
  return 2 + sib + (hasDisplacement ? 4 : 0);
}
