import { type LinearView, signedAddress } from '../cpu/linear-view.ts';
import { STATE } from '../cpu/state.ts';
import type { StateMemory } from '../cpu/state-memory.ts';
import type { SymbolTable } from '../loader/symbols.ts';

/** struct task_struct is smaller. */
const TASK_SIZE = 0x4000;
/** The name of the idle task, in init_task (INIT_TASK_COMM of Linux). */
const IDLE_NAME = 'swapper';
const NAME_LENGTH = 16;
const PRINTABLE = /^[\x20-\x7e]+$/;
const GS = STATE.segBase + 5 * 8;

/** The name of the task that Linux runs on the processor, found by the kernel's symbols alone. */
export class LinuxTask {
  readonly #state: StateMemory;
  readonly #view: LinearView;
  readonly #initTask: number | undefined;
  readonly #current: number | undefined;
  #nameOffset: number | undefined;

  constructor(state: StateMemory, view: LinearView, symbols: SymbolTable) {
    this.#state = state;
    this.#view = view;
    const address = (name: string): number | undefined => {
      const symbol = symbols.find(name);
      return symbol && Number(BigInt.asIntN(64, symbol.address));
    };
    this.#initTask = address('init_task');
    // since 6.2 the pointer is the first member of pcpu_hot
    this.#current = address('current_task') ?? address('pcpu_hot');
  }

  /** Undefined while there is none, or when this is no Linux whose symbols are known. */
  get name(): string | undefined {
    if (this.#initTask === undefined || this.#current === undefined) return undefined;
    this.#nameOffset ??= this.#findName(this.#initTask);
    if (this.#nameOffset === undefined) return undefined;
    // symbols of per-processor variables are offsets, except in a kernel for one processor
    const base = this.#current < 0 ? 0 : this.#perProcessorBase();
    const task = this.#view.quad(base + this.#current);
    if (task === undefined || task >= 0) return undefined;
    const name = this.#view.text(task + this.#nameOffset, NAME_LENGTH);
    return PRINTABLE.test(name) ? name : undefined;
  }

  /** The kernel's GS base, wherever SWAPGS has left it. */
  #perProcessorBase(): number {
    const base = signedAddress(this.#state, GS);
    return base < 0 ? base : signedAddress(this.#state, STATE.kernelGsBase);
  }

  #findName(initTask: number): number | undefined {
    const text = new TextDecoder('latin1').decode(this.#view.read(initTask, TASK_SIZE));
    const at = text.indexOf(IDLE_NAME);
    return at < 0 ? undefined : at;
  }
}
