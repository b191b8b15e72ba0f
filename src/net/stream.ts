import { connect, createServer, type Server, type Socket } from 'node:net';
import type { NetBackend } from './backend.ts';
import { bindError } from './bind-error.ts';
import { NetError } from './errors.ts';
import type { StreamAddress } from './options.ts';
import { FrameReader, LENGTH_PREFIX } from './stream-framing.ts';

/** Frames over a stream socket, as QEMU's `-netdev stream` and Debian's passt speak it. */

/** With this much unsent, frames are dropped: the other side does not read. */
const MAX_UNSENT = 8 << 20;

export interface StreamOptions {
  /** Wait for the other side instead of connecting to it. One at a time; after it has gone the next is welcome. */
  readonly server: boolean;
  readonly address: StreamAddress;
}

/** Connects, or binds. Rejects with NetError if that fails. */
export async function openStream(options: StreamOptions): Promise<StreamBackend> {
  const { address } = options;
  const where = address.type === 'inet' ? { host: address.host, port: address.port } : { path: address.path };
  if (!options.server) {
    const socket = connect(where);
    await new Promise<void>((resolve, reject) => {
      socket.once('error', (error) =>
        reject(new NetError(`net stream: cannot connect to ${describe(address)}: ${error.message}`)),
      );
      socket.once('connect', resolve);
    });
    socket.removeAllListeners('error');
    return new StreamBackend(socket, undefined);
  }
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    const onError = (error: Error): void =>
      reject(
        address.type === 'inet'
          ? bindError('net stream', address.host, address.port, error)
          : new NetError(`net stream: cannot bind ${address.path}: ${error.message}`),
      );
    server.once('error', onError);
    server.listen(where, () => {
      server.off('error', onError);
      server.on('error', () => {});
      resolve();
    });
  });
  return new StreamBackend(undefined, server);
}

const describe = (address: StreamAddress): string =>
  address.type === 'inet' ? `${address.host}:${address.port}` : address.path;

export class StreamBackend implements NetBackend {
  readonly name = 'stream';
  onFrame: NetBackend['onFrame'];
  /** Frames dropped because there is nobody on the other side, or it does not read. */
  dropped = 0;
  readonly #server: Server | undefined;
  #socket: Socket | undefined;
  #reader = new FrameReader();

  constructor(socket: Socket | undefined, server: Server | undefined) {
    this.#server = server;
    if (socket) this.#adopt(socket);
    server?.on('connection', (accepted) => {
      if (this.#socket) accepted.destroy();
      else this.#adopt(accepted);
    });
  }

  /** The port bound, where this is a server on a TCP port. */
  get port(): number | undefined {
    const address = this.#server?.address();
    return typeof address === 'object' ? address?.port : undefined;
  }

  #adopt(socket: Socket): void {
    this.#socket = socket;
    this.#reader = new FrameReader();
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('close', () => {
      if (this.#socket === socket) this.#socket = undefined;
    });
    socket.on('data', (chunk: Buffer) => {
      this.#reader.push(chunk);
      this.#deliver();
    });
  }

  /** Hands over frames until the card has no room; then the socket has to wait. */
  #deliver(): void {
    try {
      for (let frame = this.#reader.peek(); frame !== undefined; frame = this.#reader.peek()) {
        if (this.onFrame !== undefined && !this.onFrame(frame)) {
          this.#socket?.pause();
          return;
        }
        this.#reader.shift();
      }
      this.#socket?.resume();
    } catch {
      // Not QEMU's framing: there is no way to find the next frame.
      this.#socket?.destroy();
      this.#reader = new FrameReader();
    }
  }

  send(frame: Uint8Array): void {
    const socket = this.#socket;
    if (socket === undefined || socket.destroyed || socket.writableLength > MAX_UNSENT) {
      this.dropped++;
      return;
    }
    const message = Buffer.allocUnsafe(LENGTH_PREFIX + frame.length);
    message.writeUInt32BE(frame.length, 0);
    message.set(frame, LENGTH_PREFIX);
    socket.write(message);
  }

  onRoom(): void {
    this.#deliver();
  }

  async close(): Promise<void> {
    this.#server?.close();
    this.#socket?.destroy();
  }
}
