import { Duplex } from 'node:stream';
import type { TcpConnection } from './user/tcp/connection.ts';
import type { ResetReason, TcpPeer } from './user/tcp/peer.ts';

const ERRORS: Record<Exclude<ResetReason, 'closed'>, { readonly code: string; readonly text: string }> = {
  refused: { code: 'ECONNREFUSED', text: 'the guest refused the connection' },
  reset: { code: 'ECONNRESET', text: 'the guest reset the connection' },
  timeout: { code: 'ETIMEDOUT', text: 'the guest does not answer' },
};

/** Events besides those of a stream: `connect`, once the guest has accepted. */
export class GuestStream extends Duplex {
  /** The guest's port, and the one it sees on the gateway. */
  readonly guestPort: number;
  readonly #peer: StreamPeer;
  #connecting = true;

  /** Use `NetApi.connect` or `listen`. */
  constructor(guestPort: number) {
    super({ allowHalfOpen: true });
    this.guestPort = guestPort;
    this.#peer = new StreamPeer(this);
  }

  /** The guest has not accepted yet. */
  get connecting(): boolean {
    return this.#connecting;
  }

  /** The end of the guest's connection that this stream is. */
  get peer(): TcpPeer {
    return this.#peer;
  }

  /** Sets the guest's connection, once. */
  attach(connection: TcpConnection): void {
    this.#peer.connection = connection;
  }

  /** The connection stands. */
  opened(): void {
    this.#connecting = false;
    this.emit('connect');
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    // The chunk may be used again after the callback, but is kept until the guest has acknowledged it.
    this.#peer.connection?.push(Buffer.from(chunk));
    this.#peer.whenWritable(callback);
  }

  override _final(callback: () => void): void {
    this.#peer.connection?.finish();
    callback();
  }

  override _read(): void {
    this.#peer.connection?.drained();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (error !== null || !this.readableEnded || !this.writableFinished) this.#peer.connection?.abort();
    callback(error);
  }
}

class StreamPeer implements TcpPeer {
  connection: TcpConnection | undefined;
  readonly #stream: GuestStream;
  #isPaused = false;
  #waiting: (() => void) | undefined;

  constructor(stream: GuestStream) {
    this.#stream = stream;
  }

  /** Calls back when the guest takes more. */
  whenWritable(callback: () => void): void {
    if (this.#isPaused) this.#waiting = callback;
    else callback();
  }

  write(data: Uint8Array): void {
    if (!this.#stream.destroyed) this.#stream.push(Buffer.from(data));
  }

  end(): void {
    if (!this.#stream.destroyed) this.#stream.push(null);
  }

  opened(): void {
    this.#stream.opened();
  }

  reset(reason: ResetReason): void {
    // The machine has ended: no reason to bring down a program that does not listen for errors.
    if (reason === 'closed') {
      this.#stream.destroy();
      return;
    }
    const { code, text } = ERRORS[reason];
    this.#stream.destroy(Object.assign(new Error(`port ${this.#stream.guestPort}: ${text}`), { code }));
  }

  closed(): void {}

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.();
  }

  get queued(): number {
    return this.#stream.readableLength;
  }
}
