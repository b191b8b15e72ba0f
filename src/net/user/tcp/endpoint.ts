import type { FrameOffload } from '../../backend.ts';
import { completeChecksum, onesComplementSum } from '../../offload.ts';
import type { Link } from '../link.ts';
import type { Neighbour, Neighbours } from '../neighbours.ts';
import { Alarm, type Timers } from '../timers.ts';
import {
  ETHERTYPE_IPV4,
  type Ipv4Packet,
  L4,
  PROTOCOL_TCP,
  pseudoSum,
  put16,
  put32,
  putEthernet,
  putIpv4,
} from '../wire.ts';
import { ACK_DELAY_MS, type Ends, TcpConnection } from './connection.ts';
import type { TcpPeer } from './peer.ts';
import { emptySegment, Flag, parseSegment, type Segment, TCP_HEADER } from './segment.ts';

/** All TCP connections with the guest: finding them, starting them, their timers and limits. */

const MAX_CONNECTIONS = 4096;
/** Connections the guest has asked for and the host's side has not answered; more are dropped, and asked for again. */
const MAX_OPENING = 256;
/** Bytes that all connections together may hold in one direction. */
const MEMORY = 64 << 20;
const MIN_SHARE = 16 << 10;
const MAX_SHARE = 1 << 20;

/** Acknowledgements due within this time go together. */
const ACK_SLACK_MS = 1;
const TICK_MS = 100;
/** As Linux: the first probe after two hours of silence, ten unanswered ones and it is over. */
const KEEP_ALIVE_CHECK_MS = 30_000;
const KEEP_ALIVE_IDLE_MS = 7_200_000;
const KEEP_ALIVE_INTERVAL_MS = 75_000;
const KEEP_ALIVE_PROBES = 9;
/** A handshake the guest has begun is not finished. */
const OPENING_LIMIT_MS = 130_000;

const FIRST_PORT = 1024;
const LARGEST_FRAME = 14 + 65535;

export interface TcpOptions {
  readonly link: Link;
  readonly timers: Timers;
  readonly neighbours: Neighbours;
  /** The gateway's. */
  readonly mac: Uint8Array;
  /** 32 random bits. */
  readonly random: () => number;
  /** The guest asks for a connection: the host's end of it, or what it is told instead. */
  readonly accept: (connection: TcpConnection, ends: Ends) => TcpPeer | 'refuse' | 'drop';
  /** Tells the guest by ICMP that the host of a connection cannot be reached; `seq` is that of its SYN. */
  readonly unreachable: (ends: Ends, seq: number) => void;
}

export class TcpEndpoint {
  /** Frame under construction. */
  readonly frame = new Uint8Array(LARGEST_FRAME);
  readonly mac: Uint8Array;
  /** Connections that the guest has asked for and the host's side has not answered. */
  opening = 0;
  /** Bytes a connection may hold in one direction. */
  share = MAX_SHARE;
  /** Requests for connections dropped because there are too many. */
  dropped = 0;

  readonly #options: TcpOptions;
  readonly #link: Link;
  readonly #byPorts = new Map<number, TcpConnection>();
  #count = 0;
  readonly #waiting = new Set<TcpConnection>();
  readonly #timed = new Set<TcpConnection>();
  readonly #delayed: TcpConnection[] = [];
  readonly #opened: TcpConnection[] = [];
  readonly #owing = new Set<TcpConnection>();
  #ending: TcpConnection[] = [];
  #isGuestAwake = false;
  readonly #tick: Alarm;
  readonly #ackTick: Alarm;
  readonly #keepAlive: Alarm;
  readonly #segment = emptySegment();
  readonly #sequenceOffset: number;
  #nextPort = FIRST_PORT;

  constructor(options: TcpOptions) {
    this.#options = options;
    this.#link = options.link;
    this.mac = options.mac;
    this.#sequenceOffset = options.random() | 0;
    this.#nextPort = FIRST_PORT + ((options.random() >>> 0) % (65536 - FIRST_PORT));
    this.#tick = new Alarm(options.timers, () => this.#onTick());
    this.#ackTick = new Alarm(options.timers, () => this.#flushAcks());
    this.#keepAlive = new Alarm(options.timers, () => this.#checkIdle());
  }

  get count(): number {
    return this.#count;
  }

  now(): number {
    return this.#options.timers.now();
  }

  /** Initial sequence numbers grow with time, so that a pair of ports can be used again soon (RFC 9293, 3.4.1). */
  initialSequence(): number {
    return (this.#sequenceOffset + Math.floor(this.now() * 250)) | 0;
  }

  /** A TCP packet from a guest. `isChecked`: its checksum is still to be computed, hence cannot be wrong. */
  input(frame: Uint8Array, packet: Ipv4Packet, isChecked: boolean): void {
    const { l4, end, source, destination } = packet;
    const segment = this.#segment;
    if (!parseSegment(frame, l4, end, segment)) return;
    if (!isChecked) {
      const sum = pseudoSum(source, destination, PROTOCOL_TCP, end - l4);
      if (onesComplementSum(frame, l4, end, sum) !== 0xffff) return;
    }
    const connection = this.#find(source, segment.sourcePort, destination, segment.destinationPort);
    if (connection !== undefined) connection.input(segment, frame);
    else if ((segment.flags & Flag.rst) === 0) this.#inputUnknown(packet, segment);
  }

  #inputUnknown({ source, destination }: Ipv4Packet, segment: Segment): void {
    const ends = {
      guest: source,
      guestPort: segment.sourcePort,
      host: destination,
      hostPort: segment.destinationPort,
    };
    const neighbour = this.#options.neighbours.get(source);
    if ((segment.flags & (Flag.syn | Flag.ack)) !== Flag.syn) {
      this.refuse(ends, neighbour, segment);
      return;
    }
    if (this.#count >= MAX_CONNECTIONS || this.opening >= MAX_OPENING) {
      this.dropped++;
      return;
    }
    const connection = new TcpConnection(this, ends, neighbour, segment);
    this.opening++;
    this.#add(connection);
    const peer = this.#options.accept(connection, ends);
    if (typeof peer === 'string') connection.failed(peer === 'refuse' ? 'refused' : 'timeout');
    else connection.attach(peer);
  }

  /**
   * Opens a connection to a guest; undefined if there are too many. `hostPort` 0 takes a free one.
   */
  connect(guest: number, guestPort: number, host: number, hostPort: number, peer: TcpPeer): TcpConnection | undefined {
    if (this.#count >= MAX_CONNECTIONS) return undefined;
    const port = hostPort === 0 ? this.#freePort(guest, guestPort, host) : hostPort;
    if (this.#find(guest, guestPort, host, port) !== undefined) return undefined;
    const ends = { guest, guestPort, host, hostPort: port };
    const connection = new TcpConnection(this, ends, this.#options.neighbours.get(guest), undefined);
    connection.attach(peer);
    this.#add(connection);
    connection.output();
    return connection;
  }

  /** Ports in sequence: the longest time before one is used again, for the guest's TIME-WAIT. */
  #freePort(guest: number, guestPort: number, host: number): number {
    for (;;) {
      const port = this.#nextPort;
      this.#nextPort = port === 0xffff ? FIRST_PORT : port + 1;
      if (this.#find(guest, guestPort, host, port) === undefined) return port;
    }
  }

  #find(guest: number, guestPort: number, host: number, hostPort: number): TcpConnection | undefined {
    let connection = this.#byPorts.get(guestPort * 0x1_0000 + hostPort);
    while (connection !== undefined && (connection.ends.host !== host || connection.ends.guest !== guest)) {
      connection = connection.next;
    }
    return connection;
  }

  #add(connection: TcpConnection): void {
    const key = connection.ends.guestPort * 0x1_0000 + connection.ends.hostPort;
    connection.next = this.#byPorts.get(key);
    this.#byPorts.set(key, connection);
    this.#count++;
    this.#setShare();
    this.#keepAlive.arm(KEEP_ALIVE_CHECK_MS);
  }

  /** Forgets a closed connection. */
  remove(connection: TcpConnection, wasConnecting: boolean): void {
    const key = connection.ends.guestPort * 0x1_0000 + connection.ends.hostPort;
    const first = this.#byPorts.get(key);
    if (first === connection) {
      if (connection.next === undefined) this.#byPorts.delete(key);
      else this.#byPorts.set(key, connection.next);
    } else {
      let previous = first;
      while (previous !== undefined && previous.next !== connection) previous = previous.next;
      if (previous !== undefined) previous.next = connection.next;
    }
    connection.next = undefined;
    this.#waiting.delete(connection);
    this.#timed.delete(connection);
    if (wasConnecting) this.opening--;
    this.#count--;
    this.#setShare();
  }

  #setShare(): void {
    this.share = Math.min(MAX_SHARE, Math.max(MIN_SHARE, Math.floor(MEMORY / Math.max(1, this.#count))));
  }

  // Services for connections.

  get isBlocked(): boolean {
    return this.#link.blocked;
  }

  /** Sends the first `length` bytes of `frame`; false if refused. */
  transmit(length: number, offload: FrameOffload): boolean {
    const isTaken = this.#link.transmit(this.frame.subarray(0, length), offload);
    this.#isGuestAwake ||= isTaken;
    return isTaken;
  }

  /** Sends a copy of the first `length` bytes of `frame`, now or later. */
  post(length: number): void {
    const copy = this.frame.slice(0, length);
    completeChecksum(copy, L4, 16);
    this.#link.post(copy);
  }

  /** Calls `connection.output` when the link has room; false, for the caller to return. */
  wait(connection: TcpConnection): false {
    this.#waiting.add(connection);
    return false;
  }

  /** Watches `connection.deadline`. */
  time(connection: TcpConnection): void {
    this.#timed.add(connection);
    this.#tick.arm(TICK_MS);
  }

  /** A connection has sent what it can. If that wakes the guest, it is told in one go which others have ended. */
  flushEnds(): void {
    const isAwake = this.#isGuestAwake;
    this.#isGuestAwake = false;
    if (!isAwake || this.#ending.length === 0) return;
    const ending = this.#ending;
    this.#ending = [];
    for (const connection of ending) connection.flushAck();
  }

  /** Acknowledges a few milliseconds later; the end of a connection when another sends something, if that comes before. */
  delayAck(connection: TcpConnection, isEnd: boolean): void {
    if (isEnd) this.#ending.push(connection);
    if (connection.isAckDelayed) return;
    connection.isAckDelayed = true;
    this.#delayed.push(connection);
    this.#ackTick.arm(ACK_DELAY_MS);
  }

  /** Acknowledges when this turn of the event loop is over, unless data has done so by then. */
  ackAfterTurn(connection: TcpConnection): void {
    if (this.#owing.has(connection) || this.#owing.add(connection).size > 1) return;
    this.#options.timers.afterTurn(() => {
      const owing = [...this.#owing];
      this.#owing.clear();
      for (const each of owing) each.flushAck();
    });
  }

  /** Acknowledges the guest's side of a handshake unless the host's first data, which is often on its way, does. */
  acknowledgeOpening(connection: TcpConnection): void {
    if (this.#opened.push(connection) > 1) return;
    this.#options.timers.afterPoll(() => {
      for (const opened of this.#opened.splice(0)) opened.flushOpening();
    });
  }

  resolve(neighbour: Neighbour): void {
    this.#options.neighbours.request(neighbour);
  }

  unreachable(ends: Ends, seq: number): void {
    this.#options.unreachable(ends, seq);
  }

  /** Answers a segment that belongs to no connection with a reset (RFC 9293, 3.10.7.1). */
  refuse(ends: Ends, neighbour: Neighbour, segment: Segment): void {
    if (!neighbour.known) return;
    const frame = new Uint8Array(L4 + TCP_HEADER);
    putEthernet(frame, neighbour.mac, this.mac, ETHERTYPE_IPV4);
    putIpv4(frame, PROTOCOL_TCP, ends.host, ends.guest);
    put16(frame, L4, ends.hostPort);
    put16(frame, L4 + 2, ends.guestPort);
    if ((segment.flags & Flag.ack) !== 0) {
      put32(frame, L4 + 4, segment.ack);
      frame[L4 + 13] = Flag.rst;
    } else {
      const length = segment.end - segment.payload + (segment.flags & Flag.fin) + ((segment.flags & Flag.syn) >> 1);
      put32(frame, L4 + 8, segment.seq + length);
      frame[L4 + 13] = Flag.rst | Flag.ack;
    }
    frame[L4 + 12] = (TCP_HEADER / 4) << 4;
    put16(frame, L4 + 16, pseudoSum(ends.host, ends.guest, PROTOCOL_TCP, TCP_HEADER));
    completeChecksum(frame, L4, 16);
    this.#link.post(frame);
  }

  // Events.

  /** The link has room again: those who waited go on, in turn. */
  pump(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const connection of waiting) {
      if (this.#link.blocked) this.#waiting.add(connection);
      else connection.output();
    }
  }

  /** A guest's MAC is known now: handshakes that wait for it begin. */
  onNeighbour(neighbour: Neighbour): void {
    for (const connection of this.#timed) if (connection.neighbour === neighbour) connection.open();
  }

  #onTick(): void {
    const now = this.now();
    for (const connection of this.#timed) {
      if (connection.deadline <= now) connection.timeout();
      if (connection.deadline === Number.POSITIVE_INFINITY) this.#timed.delete(connection);
    }
    if (this.#timed.size > 0) this.#tick.arm(TICK_MS);
  }

  #flushAcks(): void {
    const now = this.now();
    let next = Number.POSITIVE_INFINITY;
    for (const connection of this.#delayed.splice(0)) {
      if (connection.owesAck && connection.ackDue > now + ACK_SLACK_MS) {
        next = Math.min(next, connection.ackDue);
        this.#delayed.push(connection);
      } else {
        connection.isAckDelayed = false;
        connection.flushAck();
      }
    }
    if (this.#delayed.length > 0) this.#ackTick.arm(next - now);
  }

  #checkIdle(): void {
    const now = this.now();
    for (const connection of this.connections()) {
      const silent = now - connection.heardAt;
      if (connection.isConnecting) {
        if (silent > OPENING_LIMIT_MS) connection.kill('timeout');
      } else if (silent > KEEP_ALIVE_IDLE_MS + connection.probes * KEEP_ALIVE_INTERVAL_MS) {
        if (connection.probes < KEEP_ALIVE_PROBES) connection.probe();
        else connection.kill('timeout');
      }
    }
    if (this.#count > 0) this.#keepAlive.arm(KEEP_ALIVE_CHECK_MS);
  }

  /** All connections there are now. */
  connections(): TcpConnection[] {
    const all: TcpConnection[] = [];
    for (const first of this.#byPorts.values()) {
      for (let connection: TcpConnection | undefined = first; connection; connection = connection.next) {
        all.push(connection);
      }
    }
    return all;
  }

  /** Breaks every connection; the guest is not told. */
  close(): void {
    for (const connection of this.connections()) connection.kill('closed');
    this.#tick.cancel();
    this.#ackTick.cancel();
    this.#keepAlive.cancel();
  }
}
