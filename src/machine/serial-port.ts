import { SerialOverflowError } from './errors.ts';

/** Output kept for a reader that does not read. */
const READER_LIMIT = 16 << 20;

/** What the serial device can do with input. */
export interface SerialInput {
  /** Takes as many bytes as it has room for; returns how many. */
  receive(bytes: Uint8Array): number;
}

/**
 * The far end of the guest's serial console. Iterate it for what the guest sends (each iterator gets all output from its
 * creation on, and ends with the machine), write to it for what the guest is to read.
 */
export interface SerialPort extends AsyncIterable<Uint8Array> {
  /** Sends bytes, or text as UTF-8. Resolves when the guest's serial device has taken all of them, or the machine has ended. */
  write(data: Uint8Array | string): Promise<void>;
  /** Calls `listener` with each piece of output, at once; the result unsubscribes. */
  onData(listener: (bytes: Uint8Array) => void): () => void;
}

/** The machine's side of the port. */
export class SerialConsole implements SerialPort {
  readonly #listeners = new Set<(bytes: Uint8Array) => void>();
  readonly #readers = new Set<Reader>();
  readonly #pending: { readonly bytes: Uint8Array; taken: number; readonly done: () => void }[] = [];
  #input: SerialInput | undefined;
  #ended = false;
  #pumping = false;

  write(data: Uint8Array | string): Promise<void> {
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data.slice();
    if (this.#ended || bytes.length === 0) return Promise.resolve();
    return new Promise((done) => {
      this.#pending.push({ bytes, taken: 0, done });
      this.pump();
    });
  }

  onData(listener: (bytes: Uint8Array) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array, undefined> {
    const reader = new Reader(() => this.#readers.delete(reader));
    if (this.#ended) reader.end();
    else this.#readers.add(reader);
    return reader;
  }

  /** Connects the device, anew after each reboot. */
  connect(input: SerialInput): void {
    this.#input = input;
    this.pump();
  }

  /** The device has sent `bytes`. */
  deliver(bytes: Uint8Array): void {
    for (const listener of this.#listeners) listener(bytes);
    for (const reader of this.#readers) reader.push(bytes);
  }

  /** The device has room for input. */
  pump(): void {
    // the device may report room before `receive` has returned
    if (this.#pumping) return;
    this.#pumping = true;
    for (;;) {
      const first = this.#pending[0];
      if (first === undefined || this.#input === undefined) break;
      first.taken += this.#input.receive(first.bytes.subarray(first.taken));
      if (first.taken < first.bytes.length) break;
      this.#pending.shift();
      first.done();
    }
    this.#pumping = false;
  }

  /** The machine has ended. */
  end(): void {
    this.#ended = true;
    for (const reader of this.#readers) reader.end();
    this.#readers.clear();
    for (const { done } of this.#pending.splice(0)) done();
  }
}

type Result = IteratorResult<Uint8Array, undefined>;

class Reader implements AsyncIterator<Uint8Array, undefined> {
  readonly #onReturn: () => void;
  #queue: Uint8Array[] = [];
  #queued = 0;
  #ended = false;
  #overflowed = false;
  #waiting: ((result: Result) => void)[] = [];

  constructor(onReturn: () => void) {
    this.#onReturn = onReturn;
  }

  push(bytes: Uint8Array): void {
    if (this.#overflowed) return;
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) {
      waiting({ done: false, value: bytes });
      return;
    }
    this.#queue.push(bytes);
    this.#queued += bytes.length;
    if (this.#queued > READER_LIMIT) {
      this.#overflowed = true;
      this.#queue = [];
    }
  }

  end(): void {
    this.#ended = true;
    for (const waiting of this.#waiting.splice(0)) waiting({ done: true, value: undefined });
  }

  next(): Promise<Result> {
    if (this.#overflowed) return Promise.reject(new SerialOverflowError(READER_LIMIT));
    const value = this.#queue.shift();
    if (value !== undefined) {
      this.#queued -= value.length;
      return Promise.resolve({ done: false, value });
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  return(): Promise<Result> {
    this.#onReturn();
    this.#queue = [];
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }
}
