import type { HostNetwork, TcpDestination } from '../../src/net/user/host-network.ts';
import type { TcpConnection } from '../../src/net/user/tcp/connection.ts';
import type { TcpPeer } from '../../src/net/user/tcp/peer.ts';
import type { Timers } from '../../src/net/user/timers.ts';

/** Time that the test turns. */
export class ManualTimers implements Timers {
  #now = 0;
  readonly #pending = new Set<{ at: number; callback: () => void }>();

  now(): number {
    return this.#now;
  }

  get armed(): number {
    return this.#pending.size;
  }

  delay(ms: number, callback: () => void): () => void {
    const entry = { at: this.#now + ms, callback };
    this.#pending.add(entry);
    return () => void this.#pending.delete(entry);
  }

  afterTurn(callback: () => void): void {
    queueMicrotask(callback);
  }

  afterPoll(callback: () => void): void {
    queueMicrotask(callback);
  }

  /** Lets `ms` pass, in steps, with a turn for what the callbacks send. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      let next: { at: number; callback: () => void } | undefined;
      for (const entry of this.#pending) if (next === undefined || entry.at < next.at) next = entry;
      if (next === undefined || next.at > end) break;
      this.#pending.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
      await Promise.resolve();
      await Promise.resolve();
    }
    this.#now = end;
  }
}

/** The host's end of a connection, recorded. */
export class PlayedPeer implements TcpPeer {
  connection: TcpConnection | undefined;
  text = '';
  received = 0;
  queued = 0;
  isPaused = false;
  readonly events: string[] = [];
  /** Bytes are kept in `queued`, as by a socket that the other side does not read. */
  isStuck = false;

  write(data: Uint8Array): void {
    this.received += data.length;
    if (this.received < 1 << 20) this.text += Buffer.from(data).toString('latin1');
    if (this.isStuck) this.queued += data.length;
  }

  end(): void {
    this.events.push('end');
  }

  opened(): void {
    this.events.push('opened');
  }

  reset(reason: string): void {
    this.events.push(`reset ${reason}`);
  }

  closed(): void {
    this.events.push('closed');
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }
}

export interface SentDatagram {
  readonly text: string;
  readonly address: number;
  readonly port: number;
}

/** A host whose sockets are lists. */
export class PlayedHost implements HostNetwork {
  readonly connects: { connection: TcpConnection; to: TcpDestination; peer: PlayedPeer }[] = [];
  readonly sent: SentDatagram[] = [];
  readonly answers: ((data: Uint8Array, address: number, port: number) => void)[] = [];
  readonly queries: Uint8Array[] = [];
  reply: (data: Uint8Array) => void = () => {};
  hasResolver = true;
  openSockets = 0;

  connect(connection: TcpConnection, to: TcpDestination): TcpPeer {
    const peer = new PlayedPeer();
    peer.connection = connection;
    this.connects.push({ connection, to, peer });
    return peer;
  }

  openUdp(onDatagram: (data: Uint8Array, address: number, port: number) => void) {
    this.answers.push(onDatagram);
    this.openSockets++;
    return {
      send: (data: Uint8Array, address: number, port: number) => {
        this.sent.push({ text: Buffer.from(data).toString('latin1'), address, port });
      },
      close: () => void this.openSockets--,
    };
  }

  openResolver(onReply: (data: Uint8Array) => void) {
    if (!this.hasResolver) return undefined;
    this.reply = onReply;
    this.openSockets++;
    return { send: (query: Uint8Array) => void this.queries.push(query.slice()), close: () => void this.openSockets-- };
  }
}

/** Several turns of the microtask queue: the guest and the network answer each other there. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}
