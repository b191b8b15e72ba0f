import type { ByteWideDevice } from './bus.ts';
import type { Device } from './device.ts';
import type { Saveable } from './saveable.ts';

/** What remains of a device without state in a snapshot. */
export type NoState = Record<string, never>;

/** Ends the machine with an exit code, as QEMU's isa-debug-exit: writing v exits with (v << 1) | 1. */
export class DebugExit implements Device, Saveable<NoState> {
  readonly name = 'debug-exit';
  readonly #onDebugExit: (code: number) => void;

  /** @param options.onDebugExit gets the exit code, cut to the 8 bits an exit code has */
  constructor(options: { readonly onDebugExit: (code: number) => void }) {
    this.#onDebugExit = options.onDebugExit;
  }

  read(_offset: number, _width: 1 | 2 | 4): number {
    return 0;
  }

  write(_offset: number, _width: 1 | 2 | 4, value: number): void {
    this.#onDebugExit(((value << 1) | 1) & 0xff);
  }

  reset(): void {}

  save(): NoState {
    return {};
  }

  load(): void {}
}

const DEBUG_CONSOLE_PRESENT = 0xe9;
const CONSOLE_BATCH = 1024;

/** The Bochs debug console at port 0xE9: bytes written go to the sink, reading 0xE9 says that it is there. */
export class DebugConsole implements ByteWideDevice, Saveable<NoState> {
  readonly name = 'debug-console';
  readonly byteWide = true;
  readonly #sink: (bytes: Uint8Array) => void;
  readonly #buffer = new Uint8Array(CONSOLE_BATCH);
  #length = 0;

  /** @param options.sink takes batches: 1024 bytes, or what there is at each `flush()`; the array is the sink's own */
  constructor(options: { readonly sink: (bytes: Uint8Array) => void }) {
    this.#sink = options.sink;
  }

  read(_offset: number, _width: 1 | 2 | 4): number {
    return DEBUG_CONSOLE_PRESENT;
  }

  write(_offset: number, _width: 1 | 2 | 4, value: number): void {
    this.#buffer[this.#length++] = value;
    if (this.#length === CONSOLE_BATCH) this.flush();
  }

  /** Hands what has gathered to the sink; the machine calls it after each slice. */
  flush(): void {
    if (this.#length === 0) return;
    const bytes = this.#buffer.slice(0, this.#length);
    this.#length = 0;
    this.#sink(bytes);
  }

  reset(): void {}

  save(): NoState {
    return {};
  }

  load(): void {}
}

export interface PostPortState {
  code: number;
}

/** The POST code latch at port 0x80, which kernels also write to for its delay. */
export class PostPort implements ByteWideDevice, Saveable<PostPortState> {
  readonly name = 'post';
  readonly byteWide = true;
  #code = 0;

  /** The byte written last. */
  get code(): number {
    return this.#code;
  }

  read(_offset: number, _width: 1 | 2 | 4): number {
    return this.#code;
  }

  write(_offset: number, _width: 1 | 2 | 4, value: number): void {
    this.#code = value & 0xff;
  }

  reset(): void {
    this.#code = 0;
  }

  save(): PostPortState {
    return { code: this.#code };
  }

  load(state: PostPortState): void {
    this.#code = state.code;
  }
}
