import { type LinearView, signedAddress } from '../cpu/linear-view.ts';
import { STATE } from '../cpu/state.ts';
import type { StateMemory } from '../cpu/state-memory.ts';

const GATE_SIZE = 16;
const PRESENT = 0x8000;
const LONGEST_INSTRUCTION = 15;

export interface Handler {
  readonly vector: number;
  /** Address of its first instruction. */
  readonly entry: number;
}

/** A handler that has been entered; `begun` when its first instruction has been executed. */
export interface Entered extends Handler {
  readonly begun: boolean;
}

/** The guest's interrupt and exception handlers, by its 64-bit IDT (SDM vol. 3, 6.14.1). */
export class HandlerTable {
  readonly #state: StateMemory;
  readonly #view: LinearView;
  #handlers: readonly Handler[] = [];

  constructor(state: StateMemory, view: LinearView) {
    this.#state = state;
    this.#view = view;
  }

  /** The handler that has just been entered, when the next instruction is at `ip`; vector -1 when it cannot be told. */
  entered(ip: number): Entered {
    let found = this.#find(ip);
    if (found === undefined) {
      this.#handlers = this.#read();
      found = this.#find(ip);
    }
    return found ?? { vector: -1, entry: ip, begun: false };
  }

  #find(ip: number): Entered | undefined {
    const here = this.#handlers.find(({ entry }) => entry === ip);
    if (here !== undefined) return { ...here, begun: false };
    const before = this.#handlers.findLast(({ entry }) => ip > entry && ip <= entry + LONGEST_INSTRUCTION);
    return before && { ...before, begun: true };
  }

  /** In ascending order of address. */
  #read(): Handler[] {
    const base = signedAddress(this.#state, STATE.idtrBase);
    const bytes = this.#view.read(base, this.#state.get32(STATE.idtrLimit) + 1);
    const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const handlers: Handler[] = [];
    for (let at = 0; at + GATE_SIZE <= bytes.length; at += GATE_SIZE) {
      if (!(data.getUint16(at + 4, true) & PRESENT)) continue;
      const low = data.getUint16(at, true) + data.getUint16(at + 6, true) * 0x1_0000;
      handlers.push({ vector: at / GATE_SIZE, entry: data.getInt32(at + 8, true) * 0x1_0000_0000 + low });
    }
    return handlers.sort((a, b) => a.entry - b.entry);
  }
}
