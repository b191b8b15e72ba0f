import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { getServers } from 'node:dns';
import { connect, isIPv6, type Socket } from 'node:net';
import { formatIpv4, parseIpv4 } from '../addresses.ts';
import { releaseBuffer, takeBuffer } from './buffer-pool.ts';
import type { HostNetwork, HostResolverSocket, HostUdpSocket, TcpDestination } from './host-network.ts';
import type { TcpConnection } from './tcp/connection.ts';
import type { ConnectFailure, ResetReason, TcpPeer } from './tcp/peer.ts';

/** User networking over Node's sockets. */

const DNS_PORT = 53;
/** The operating system notices a dead peer after this and its own probes. */
const KEEP_ALIVE_MS = 600_000;

export interface Resolver {
  readonly address: string;
  readonly port: number;
}

/** The host's resolvers, as Node has them from the operating system; or those given, as `ADDRESS`, `ADDRESS:PORT`, `[IPV6]:PORT`. */
export function parseResolvers(servers: readonly string[] = getServers()): Resolver[] {
  return servers.map((server) => {
    const match = /^(?:\[(.*)\]|([^:]*))(?::(\d+))?$/.exec(server);
    const address = match?.[1] ?? match?.[2] ?? server;
    return { address, port: match?.[3] === undefined ? DNS_PORT : Number(match[3]) };
  });
}

/** A host's TCP socket as the far end of a guest's connection. The socket allows half-open connections. */
export class SocketPeer implements TcpPeer {
  readonly #socket: Socket;
  #connection: TcpConnection | undefined;
  #isReadEnded = false;
  #isWriteEnded = false;
  /** Bytes have gone to the socket in this turn of the event loop: more are sent together at its end. */
  #isGathering = false;
  readonly #endOfTurn = (): void => {
    this.#isGathering = false;
    this.#socket.uncork();
  };
  readonly #onWritten = (): void => this.#connection?.drained();

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    // What went wrong shows in 'close'; without a listener Node would end the process.
    socket.on('error', () => {});
  }

  /** Starts to carry the socket's bytes into `connection`. */
  start(connection: TcpConnection): void {
    this.#connection = connection;
    const socket = this.#socket;
    socket.on('data', (chunk: Buffer) => connection.push(chunk));
    socket.on('end', () => {
      this.#isReadEnded = true;
      connection.finish();
    });
    socket.on('close', (hadError) => {
      if (hadError || !this.#isReadEnded || !this.#isWriteEnded) connection.abort();
    });
    if (socket.destroyed) connection.abort();
  }

  write(data: Uint8Array): void {
    // Guest memory changes as soon as the guest runs again.
    const buffer = takeBuffer(data.length);
    if (buffer === undefined) this.#socket.write(Buffer.from(data), this.#onWritten);
    else {
      buffer.set(data);
      this.#socket.write(buffer.subarray(0, data.length), () => {
        releaseBuffer(buffer);
        this.#onWritten();
      });
    }
    if (this.#isGathering) return;
    this.#isGathering = true;
    this.#socket.cork();
    process.nextTick(this.#endOfTurn);
  }

  end(): void {
    this.#isWriteEnded = true;
    // `end` waits for the event loop's next turn, and the client with it: a guest that computes keeps it from coming.
    if (this.#isReadEnded && this.#socket.writableLength === 0) this.#socket.destroy();
    else this.#socket.end();
  }

  opened(): void {}

  reset(_reason: ResetReason): void {
    this.#socket.resetAndDestroy();
  }

  closed(): void {}

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  get queued(): number {
    return this.#socket.writableLength;
  }
}

/** Why a socket could not connect, by the system's error code. */
function connectFailure(code: string | undefined): ConnectFailure {
  switch (code) {
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EADDRNOTAVAIL':
    case 'EACCES':
    case 'EPERM':
      return 'unreachable';
    case 'ETIMEDOUT':
    case 'EMFILE':
    case 'ENFILE':
      return 'timeout';
    default:
      return 'refused';
  }
}

export class HostSockets implements HostNetwork {
  readonly #resolvers: readonly Resolver[];
  /** Index of the resolver in use: the next one's turn comes when a query has to be repeated. */
  #resolver = 0;

  constructor(resolvers: readonly Resolver[]) {
    this.#resolvers = resolvers;
  }

  connect(connection: TcpConnection, to: TcpDestination): TcpPeer {
    const resolver = this.#resolvers[this.#resolver];
    // Port 0 of the wildcard address is refused at once, as a missing resolver should be.
    const { address: host, port } =
      to.kind === 'address'
        ? { address: formatIpv4(to.address), port: to.port }
        : (resolver ?? { address: '0.0.0.0', port: 0 });
    const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
    const peer = new SocketPeer(socket);
    const onError = (error: NodeJS.ErrnoException): void => connection.failed(connectFailure(error.code));
    socket.once('error', onError);
    socket.once('connect', () => {
      socket.off('error', onError);
      connection.connected();
    });
    peer.start(connection);
    return peer;
  }

  openUdp(onDatagram: (data: Uint8Array, address: number, port: number) => void): HostUdpSocket {
    const socket = openDatagramSocket('udp4', (data, { address, port }) => {
      const source = parseIpv4(address);
      if (source !== undefined) onDatagram(data, source, port);
    });
    return {
      send: (data, address, port) => sendDatagram(socket, data, port, formatIpv4(address)),
      close: () => socket.close(),
    };
  }

  openResolver(onReply: (data: Uint8Array) => void): HostResolverSocket | undefined {
    const resolvers = this.#resolvers;
    if (resolvers.length === 0) return undefined;
    const sockets = new Map<'udp4' | 'udp6', UdpSocket>();
    let lastId: number | undefined;
    const onMessage = (data: Buffer, { address, port }: RemoteInfo): void => {
      if (resolvers.some((resolver) => resolver.address === address && resolver.port === port)) onReply(data);
    };
    return {
      send: (query) => {
        const id = (query[0] ?? 0) * 256 + (query[1] ?? 0);
        if (id === lastId) this.#resolver = (this.#resolver + 1) % resolvers.length;
        lastId = id;
        const { address, port } = resolvers[this.#resolver]!;
        const family = isIPv6(address) ? 'udp6' : 'udp4';
        let socket = sockets.get(family);
        if (socket === undefined) {
          socket = openDatagramSocket(family, onMessage);
          sockets.set(family, socket);
        }
        sendDatagram(socket, query, port, address);
      },
      close: () => {
        for (const socket of sockets.values()) socket.close();
      },
    };
  }
}

function openDatagramSocket(family: 'udp4' | 'udp6', onMessage: (data: Buffer, from: RemoteInfo) => void): UdpSocket {
  const socket = createSocket(family, onMessage);
  // A datagram that cannot be sent is lost, as on any network.
  socket.on('error', () => {});
  return socket;
}

function sendDatagram(socket: UdpSocket, data: Uint8Array, port: number, address: string): void {
  if (port === 0) return;
  socket.send(Buffer.from(data), port, address, () => {});
}
