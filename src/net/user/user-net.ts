import { isLoopback, isUnroutable } from '../addresses.ts';
import type { FrameOffload, NetBackend } from '../backend.ts';
import { gatewayMac, isGuestAddress, isInSubnet, type UserNetConfig } from './config.ts';
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpServer } from './dhcp.ts';
import type { HostNetwork } from './host-network.ts';
import { echoReply, type IcmpEnds, Unreachable, unreachable } from './icmp.ts';
import { Link } from './link.ts';
import { Neighbours } from './neighbours.ts';
import type { Ends, TcpConnection } from './tcp/connection.ts';
import { TcpEndpoint } from './tcp/endpoint.ts';
import type { TcpPeer } from './tcp/peer.ts';
import type { Timers } from './timers.ts';
import { type Datagram, parseDatagram, type UdpAddress, type UdpFlow, UdpFlows, UdpSender } from './udp.ts';
import {
  BROADCAST_IPV4,
  BROADCAST_MAC,
  ETHERNET_HEADER,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  get16,
  IP,
  type Ipv4Packet,
  L4,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  parseIpv4Packet,
  put16,
  put32,
  putIpv4,
} from './wire.ts';

/** Largest frame looked at: a 64 KiB packet and its Ethernet header. */
const MAX_FRAME = ETHERNET_HEADER + 65535;
const DNS_PORT = 53;
const LOOPBACK = 0x7f00_0001;
/** Hosts a guest's UDP port remembers having written to; only those may answer. */
const MAX_UDP_PEERS = 256;

export interface UserNetOptions {
  readonly config: UserNetConfig;
  readonly host: HostNetwork;
  readonly timers: Timers;
  /** 32 random bits. */
  readonly random: () => number;
}

/** What happened since the start. */
export interface UserNetCounters {
  framesFromGuest: number;
  /** Frames that are no Ethernet, ARP or IPv4 worth answering: too short, malformed, fragments, foreign addresses. */
  ignored: number;
}

/**
 * A network of its own for the guest, without privileges on the host: a gateway that answers ARP, DHCP and pings, forwards name
 * lookups, and carries TCP and UDP to sockets of the host.
 */
export class UserNet implements NetBackend {
  readonly name = 'user';
  readonly acceptsOffload = true;
  readonly config: UserNetConfig;
  readonly tcp: TcpEndpoint;
  readonly counters: UserNetCounters = { framesFromGuest: 0, ignored: 0 };
  /** Accepts what the guest opens to the gateway's address, by port. */
  readonly listeners = new Map<number, (connection: TcpConnection) => TcpPeer | 'refuse'>();

  /** Closes what else belongs to the network. */
  onClose: (() => void) | undefined;

  readonly #host: HostNetwork;
  readonly #mac: Uint8Array;
  readonly #link: Link;
  readonly #neighbours: Neighbours;
  readonly #dhcp: DhcpServer;
  readonly #udp: UdpSender;
  /** Guests' ports towards the world, and towards the resolver: by address and port of the guest. */
  readonly #outbound: UdpFlows;
  readonly #lookups: UdpFlows;
  /** Clients of forwarded ports: by the gateway's port that stands for each. */
  readonly #inbound: UdpFlows;
  #lastPort = 0;
  readonly #packet: Ipv4Packet = { source: 0, destination: 0, protocol: 0, l4: 0, end: 0 };
  readonly #datagram: Datagram = { sourcePort: 0, destinationPort: 0, payload: 0, end: 0 };
  #isBusy = false;
  #isClosed = false;

  constructor(options: UserNetOptions) {
    const { config, host, timers, random } = options;
    this.config = config;
    this.#host = host;
    this.#mac = gatewayMac(config.gateway);
    this.#link = new Link(timers, () => this.tcp.pump());
    this.#neighbours = new Neighbours({
      mac: this.#mac,
      gateway: config.gateway,
      isOurs: (address) => this.#isOurs(address),
      isGuest: (address) => isGuestAddress(config, address),
      post: (frame) => this.#link.post(frame),
      now: () => timers.now(),
      onKnown: (neighbour) => this.tcp.onNeighbour(neighbour),
    });
    this.tcp = new TcpEndpoint({
      link: this.#link,
      timers,
      neighbours: this.#neighbours,
      mac: this.#mac,
      random,
      accept: (connection, ends) => this.#accept(connection, ends),
      unreachable: (ends, seq) => this.#unreachableTcp(ends, seq),
    });
    this.#dhcp = new DhcpServer(config);
    this.#udp = new UdpSender(this.#link, this.#neighbours, this.#mac);
    this.#outbound = new UdpFlows(timers);
    this.#lookups = new UdpFlows(timers);
    this.#inbound = new UdpFlows(timers);
  }

  get onFrame(): NetBackend['onFrame'] {
    return this.#link.onFrame;
  }

  set onFrame(onFrame: NetBackend['onFrame']) {
    this.#link.onFrame = onFrame;
  }

  onRoom(): void {
    this.#link.room();
  }

  send(frame: Uint8Array, offload?: FrameOffload): void {
    if (this.#isClosed) return;
    if (this.#isBusy || this.#link.isSending) {
      // An answer given before the question is out (another stack on this thread, not a card): its turn comes after.
      const copy = frame.slice();
      queueMicrotask(() => this.send(copy, offload));
      return;
    }
    this.#isBusy = true;
    this.counters.framesFromGuest++;
    if (!this.#input(frame, offload)) this.counters.ignored++;
    this.#isBusy = false;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.onClose?.();
    this.tcp.close();
    this.#outbound.close();
    this.#lookups.close();
    this.#inbound.close();
    this.#link.close();
  }

  /** False if the frame was ignored. */
  #input(frame: Uint8Array, offload: FrameOffload | undefined): boolean {
    if (frame.length < ETHERNET_HEADER || frame.length > MAX_FRAME) return false;
    const type = get16(frame, 12);
    if (type === ETHERTYPE_ARP) {
      this.#neighbours.input(frame);
      return true;
    }
    const packet = this.#packet;
    if (type !== ETHERTYPE_IPV4 || !parseIpv4Packet(frame, packet)) return false;
    if (isGuestAddress(this.config, packet.source)) this.#neighbours.learn(packet.source, frame, 6);
    else if (packet.source !== 0 || packet.protocol !== PROTOCOL_UDP) return false;
    const isChecked = offload?.needsChecksum === true;
    switch (packet.protocol) {
      case PROTOCOL_TCP:
        if (isInSubnet(this.config, packet.destination) && !this.#isOurs(packet.destination)) return false;
        this.tcp.input(frame, packet, isChecked);
        return true;
      case PROTOCOL_UDP:
        return this.#inputUdp(frame, packet, isChecked);
      case PROTOCOL_ICMP:
        return this.#inputIcmp(frame, packet);
      default:
        return false;
    }
  }

  #isOurs(address: number): boolean {
    return address === this.config.gateway || address === this.config.dns;
  }

  /** A host outside that the guest may try to reach. */
  #isOutside(address: number): boolean {
    return !isInSubnet(this.config, address) && !isLoopback(address) && !isUnroutable(address);
  }

  #accept(connection: TcpConnection, { host, hostPort }: Ends): TcpPeer | 'refuse' | 'drop' {
    const { gateway, dns, restrict, hostLoopback } = this.config;
    if (host === gateway) {
      const listener = this.listeners.get(hostPort);
      if (listener !== undefined) return listener(connection);
    }
    if (restrict) return 'refuse';
    if (host === gateway) {
      return hostLoopback
        ? this.#host.connect(connection, { kind: 'address', address: LOOPBACK, port: hostPort })
        : 'refuse';
    }
    if (host === dns) return hostPort === DNS_PORT ? this.#host.connect(connection, { kind: 'resolver' }) : 'refuse';
    if (!this.#isOutside(host)) return 'drop';
    return this.#host.connect(connection, { kind: 'address', address: host, port: hostPort });
  }

  #inputUdp(frame: Uint8Array, packet: Ipv4Packet, isChecked: boolean): boolean {
    const datagram = this.#datagram;
    if (!parseDatagram(frame, packet, isChecked, datagram)) return false;
    const { source, destination } = packet;
    const { sourcePort, destinationPort } = datagram;
    const { gateway, dns, restrict, hostLoopback } = this.config;
    const data = frame.subarray(datagram.payload, datagram.end);
    if (destinationPort === DHCP_SERVER_PORT && (destination === BROADCAST_IPV4 || destination === gateway)) {
      this.#inputDhcp(data);
      return true;
    }
    if (source === 0) return false;
    const guest: UdpAddress = { address: source, port: sourcePort };
    if (destination === gateway) {
      const flow = this.#inbound.get(destinationPort);
      if (flow !== undefined) {
        flow.send(data, guest);
        return true;
      }
    }
    if (restrict) return this.#reject(frame, packet, Unreachable.prohibited);
    if (destination === dns) {
      if (destinationPort !== DNS_PORT) return this.#reject(frame, packet, Unreachable.port);
      this.#lookup(data, guest);
      return true;
    }
    const isHost = destination === gateway;
    if (isHost && !hostLoopback) return this.#reject(frame, packet, Unreachable.port);
    if (!isHost && !this.#isOutside(destination)) return false;
    this.#sendOut(data, guest, { address: isHost ? LOOPBACK : destination, port: destinationPort });
    return true;
  }

  #inputDhcp(data: Uint8Array): void {
    const reply = this.#dhcp.input(data);
    if (reply === undefined) return;
    const { message, address, broadcast, mac } = reply;
    const to = { address: broadcast ? BROADCAST_IPV4 : address, port: DHCP_CLIENT_PORT };
    const from = { address: this.config.gateway, port: DHCP_SERVER_PORT };
    this.#udp.sendTo(broadcast ? BROADCAST_MAC : mac, message, from, to);
  }

  #lookup(query: Uint8Array, guest: UdpAddress): void {
    const key = guest.address * 0x1_0000 + guest.port;
    const from = { address: this.config.dns, port: DNS_PORT };
    let flow = this.#lookups.get(key);
    if (flow === undefined) {
      const socket = this.#host.openResolver((reply) => {
        this.#lookups.get(key);
        this.#udp.send(reply, from, guest);
      });
      if (socket === undefined) {
        const failure = serverFailure(query);
        if (failure !== undefined) this.#udp.send(failure, from, guest);
        return;
      }
      flow = { usedAt: 0, send: (data) => socket.send(data), close: () => socket.close() };
      this.#lookups.add(key, flow);
    }
    flow.send(query, guest);
  }

  #sendOut(data: Uint8Array, guest: UdpAddress, to: UdpAddress): void {
    const key = guest.address * 0x1_0000 + guest.port;
    let flow = this.#outbound.get(key);
    if (flow === undefined) {
      flow = this.#openOutbound(key, guest);
      if (flow === undefined) return;
      this.#outbound.add(key, flow);
    }
    flow.send(data, to);
  }

  #openOutbound(key: number, guest: UdpAddress): UdpFlow | undefined {
    const peers = new Set<number>();
    const socket = this.#host.openUdp((data, address, port) => {
      if (!peers.has(address)) return;
      this.#outbound.get(key);
      const visible = isLoopback(address) ? this.config.gateway : address;
      this.#udp.send(data, { address: visible, port }, guest);
    });
    if (socket === undefined) return undefined;
    return {
      usedAt: 0,
      send(data, to) {
        if (peers.size < MAX_UDP_PEERS) peers.add(to.address);
        socket.send(data, to.address, to.port);
      },
      close: () => socket.close(),
    };
  }

  /**
   * A client of a forwarded UDP port: its datagrams reach the guest from a port of the gateway, the guest's answers go to `answer`.
   * `push` returns false once the flow has ended for want of traffic.
   */
  openInbound(
    guest: UdpAddress,
    answer: (data: Uint8Array) => void,
  ): { push(data: Uint8Array): boolean; close(): void } {
    const port = this.#inbound.freePort(this.#lastPort);
    this.#lastPort = port;
    const flow: UdpFlow = {
      usedAt: 0,
      send: (data, from) => {
        if (from.address === guest.address && from.port === guest.port) answer(data);
      },
      close() {},
    };
    this.#inbound.add(port, flow);
    return {
      push: (data) => {
        if (this.#isClosed || this.#inbound.get(port) !== flow) return false;
        this.#udp.send(data, { address: this.config.gateway, port }, guest);
        return true;
      },
      close: () => this.#inbound.delete(port),
    };
  }

  #inputIcmp(frame: Uint8Array, packet: Ipv4Packet): boolean {
    if (!this.#isOurs(packet.destination)) return this.#reject(frame, packet, Unreachable.prohibited);
    const reply = echoReply(frame, packet, this.#icmpEnds(packet.destination, packet.source));
    if (reply === undefined) return false;
    this.#link.post(reply);
    return true;
  }

  /** Tells the guest that its packet is not carried; never about ICMP errors or broadcasts (RFC 1122, 3.2.2). */
  #reject(frame: Uint8Array, packet: Ipv4Packet, code: number): boolean {
    const isQuery = packet.protocol !== PROTOCOL_ICMP || frame[packet.l4] === 8;
    if (!isQuery || isUnroutable(packet.destination) || !this.#neighbours.get(packet.source).known) return false;
    if (isInSubnet(this.config, packet.destination) && !this.#isOurs(packet.destination)) return false;
    const ends = this.#icmpEnds(this.config.gateway, packet.source);
    this.#link.post(unreachable(code, frame.subarray(IP, packet.end), ends));
    return true;
  }

  #icmpEnds(source: number, guest: number): IcmpEnds {
    return { mac: this.#mac, guestMac: this.#neighbours.get(guest).mac, source, guest };
  }

  /** About a SYN that is gone: what the message quotes of it is made anew. */
  #unreachableTcp({ guest, guestPort, host, hostPort }: Ends, seq: number): void {
    const frame = new Uint8Array(L4 + 20);
    putIpv4(frame, PROTOCOL_TCP, guest, host);
    put16(frame, L4, guestPort);
    put16(frame, L4 + 2, hostPort);
    put32(frame, L4 + 4, seq);
    const ends = this.#icmpEnds(this.config.gateway, guest);
    this.#link.post(unreachable(Unreachable.host, frame.subarray(IP), ends));
  }
}

/** The answer to a query when there is no resolver: SERVFAIL (RFC 1035, 4.1.1). */
function serverFailure(query: Uint8Array): Uint8Array | undefined {
  if (query.length < 12 || (query[2]! & 0x80) !== 0) return undefined;
  const reply = query.slice();
  reply[2] = query[2]! | 0x80;
  reply[3] = 0x82;
  return reply;
}
