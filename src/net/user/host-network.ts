import type { TcpConnection } from './tcp/connection.ts';
import type { TcpPeer } from './tcp/peer.ts';

/** What user networking needs of the host. Implemented over Node's sockets in host-sockets.ts; played by tests. */
export interface HostNetwork {
  /**
   * Begins to connect to an IPv4 address, or to the host's resolver (TCP port 53). The outcome is told to
   * `connection.connected()` or `failed()`, not before this has returned.
   */
  connect(connection: TcpConnection, to: TcpDestination): TcpPeer;
  /** A socket for datagrams to any IPv4 address; undefined if there is none to be had. */
  openUdp(onDatagram: (data: Uint8Array, address: number, port: number) => void): HostUdpSocket | undefined;
  /** A socket to the host's resolver; undefined without one. */
  openResolver(onReply: (data: Uint8Array) => void): HostResolverSocket | undefined;
}

export type TcpDestination =
  | { readonly kind: 'address'; readonly address: number; readonly port: number }
  | { readonly kind: 'resolver' };

export interface HostUdpSocket {
  /** Sends a datagram; `data` is copied if kept. Failures are silent, as on any network. */
  send(data: Uint8Array, address: number, port: number): void;
  close(): void;
}

export interface HostResolverSocket {
  send(query: Uint8Array): void;
  close(): void;
}
