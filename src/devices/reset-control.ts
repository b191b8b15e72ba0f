import type { ByteWideDevice } from './bus.ts';
import type { Saveable } from './saveable.ts';

/** Which register asked for a reset. */
export type ResetKind = 'i8042' | 'port-92' | 'port-cf9';

const SYSTEM_RESET = 0x02;
const RESET_CPU = 0x04;
const FULL_RESET = 0x08;

/** The reset control register at port 0xCF9 (Intel ICH datasheets, "RST_CNT"): a rising RST_CPU bit resets the machine. */
export class ResetControl implements ByteWideDevice, Saveable<{ value: number }> {
  readonly name = 'reset-control';
  readonly byteWide = true;
  readonly #onReset: (kind: ResetKind) => void;
  #value = 0;

  constructor(options: { readonly onReset: (kind: ResetKind) => void }) {
    this.#onReset = options.onReset;
  }

  read(_offset: number, _width: 1 | 2 | 4): number {
    return this.#value;
  }

  write(_offset: number, _width: 1 | 2 | 4, value: number): void {
    const rising = (value & ~this.#value & RESET_CPU) !== 0;
    this.#value = value & (SYSTEM_RESET | RESET_CPU | FULL_RESET);
    if (rising) this.#onReset('port-cf9');
  }

  reset(): void {
    this.#value = 0;
  }

  save(): { value: number } {
    return { value: this.#value };
  }

  load(state: { value: number }): void {
    this.#value = state.value;
  }
}
