import { parseIpv4 } from './addresses.ts';
import { NetError } from './errors.ts';
import { GuestStream } from './guest-stream.ts';
import { type ForwardRule, parseForward } from './options.ts';
import { defaultGuest, type Forward, openForward } from './user/forward.ts';
import type { UserNet } from './user/user-net.ts';

export type { Forward } from './user/forward.ts';

/** A port of the gateway on which connections from the guest are accepted. */
export interface GuestListener {
  readonly port: number;
  close(): void;
}

/** The network of a machine from the program around it. All but `forward` need no sockets of the host. */
export interface NetApi {
  /**
   * A stream to a TCP port of the guest. It emits `connect` when the guest has accepted; until the guest's network is up it waits.
   * Errors have a `code`: ECONNREFUSED, ECONNRESET, ETIMEDOUT. The end of the machine closes it without an error.
   */
  connect(port: number, guestAddress?: string): GuestStream;
  /** Hands over each connection that the guest opens to this TCP port of the gateway. */
  listen(port: number, onConnection: (stream: GuestStream) => void): GuestListener;
  /** Forwards a port of the host, given as for `hostfwd=` or in parts. Rejects with NetError. */
  forward(rule: string | (Partial<ForwardRule> & Pick<ForwardRule, 'guestPort'>)): Promise<Forward>;
  readonly forwards: readonly Forward[];
}

export class UserNetApi implements NetApi {
  readonly #net: UserNet;
  readonly #forwards = new Set<Forward>();

  constructor(net: UserNet) {
    this.#net = net;
  }

  get forwards(): readonly Forward[] {
    return [...this.#forwards];
  }

  connect(port: number, guestAddress: string = defaultGuest(this.#net)): GuestStream {
    checkPort(port);
    const guest = parseIpv4(guestAddress);
    if (guest === undefined) throw new NetError(`connect: ${guestAddress} is not an IPv4 address`);
    const stream = new GuestStream(port);
    const connection = this.#net.tcp.connect(guest, port, this.#net.config.gateway, 0, stream.peer);
    if (connection === undefined) stream.destroy(new NetError(`connect: too many connections with the guest`));
    else stream.attach(connection);
    return stream;
  }

  listen(port: number, onConnection: (stream: GuestStream) => void): GuestListener {
    checkPort(port);
    const { listeners } = this.#net;
    if (listeners.has(port)) throw new NetError(`listen: port ${port} of the gateway is taken`);
    listeners.set(port, (connection) => {
      const stream = new GuestStream(connection.ends.guestPort);
      stream.attach(connection);
      // The connection has no peer before this returns.
      queueMicrotask(() => {
        if (connection.isClosed) return;
        onConnection(stream);
        connection.connected();
        stream.opened();
      });
      return stream.peer;
    });
    return { port, close: () => void listeners.delete(port) };
  }

  async forward(rule: string | (Partial<ForwardRule> & Pick<ForwardRule, 'guestPort'>)): Promise<Forward> {
    const text =
      typeof rule === 'string'
        ? rule
        : `${rule.protocol ?? 'tcp'}:${bracketed(rule.hostAddress ?? '')}:${rule.hostPort ?? 0}-${rule.guestAddress ?? ''}:${rule.guestPort}`;
    return await this.open(parseForward(text, this.#net.config));
  }

  /** Opens a forward. Rejects with NetError if the host's port cannot be bound. */
  async open(rule: ForwardRule): Promise<Forward> {
    const opened = await openForward(this.#net, rule);
    const forward: Forward = {
      ...opened,
      close: () => {
        if (this.#forwards.delete(forward)) opened.close();
      },
    };
    this.#forwards.add(forward);
    return forward;
  }

  close(): void {
    for (const forward of [...this.#forwards]) forward.close();
  }
}

const bracketed = (address: string): string => (address.includes(':') ? `[${address}]` : address);

function checkPort(port: number): void {
  if (!Number.isInteger(port) || port < 1 || port > 65535) throw new NetError(`${port} is not a port from 1 to 65535`);
}

const needsUser = (): NetError => new NetError('this needs user networking: --net user');

/** For networks that are somebody else's: there is nothing between the guest and them to connect to. */
export const noApi: NetApi = {
  connect() {
    throw needsUser();
  },
  listen() {
    throw needsUser();
  },
  forward: async () => {
    throw needsUser();
  },
  forwards: [],
};
