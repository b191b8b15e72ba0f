import { completeChecksum, onesComplementSum } from '../offload.ts';
import type { Link } from './link.ts';
import type { Neighbours } from './neighbours.ts';
import { Alarm, type Timers } from './timers.ts';
import {
  ETHERTYPE_IPV4,
  get16,
  IPV4_HEADER,
  type Ipv4Packet,
  L4,
  MTU,
  PROTOCOL_UDP,
  pseudoSum,
  put16,
  putEthernet,
  putIpv4,
  UDP_HEADER,
} from './wire.ts';

/** UDP (RFC 768) with the guest: datagrams in and out, and the flows that address translation keeps. */

const MAX_FLOWS = 1024;
/** A flow ends after two minutes of silence (RFC 4787, 4.3). */
const IDLE_MS = 120_000;
const CHECK_MS = 10_000;
const CHECKSUM_OFFSET = 6;
/** Payload of an IPv4 fragment: as much as fits in multiples of eight bytes. */
const FRAGMENT = (MTU - IPV4_HEADER) & ~7;
const FIRST_PORT = 1024;

/** A UDP datagram's ports and the place of its payload in the frame. */
export interface Datagram {
  sourcePort: number;
  destinationPort: number;
  payload: number;
  end: number;
}

/** Reads a UDP header; false if its length or checksum is wrong. */
export function parseDatagram(frame: Uint8Array, packet: Ipv4Packet, isChecked: boolean, datagram: Datagram): boolean {
  const { l4, end, source, destination } = packet;
  if (l4 + UDP_HEADER > end) return false;
  const length = get16(frame, l4 + 4);
  if (length < UDP_HEADER || l4 + length > end) return false;
  if (!isChecked && get16(frame, l4 + CHECKSUM_OFFSET) !== 0) {
    const sum = pseudoSum(source, destination, PROTOCOL_UDP, length);
    if (onesComplementSum(frame, l4, l4 + length, sum) !== 0xffff) return false;
  }
  datagram.sourcePort = get16(frame, l4);
  datagram.destinationPort = get16(frame, l4 + 2);
  datagram.payload = l4 + UDP_HEADER;
  datagram.end = l4 + length;
  return true;
}

export interface UdpAddress {
  readonly address: number;
  readonly port: number;
}

/** Sends datagrams to guests, in fragments where they are larger than the link's MTU. */
export class UdpSender {
  readonly #link: Link;
  readonly #neighbours: Neighbours;
  readonly #mac: Uint8Array;
  #fragmentId = 0;

  constructor(link: Link, neighbours: Neighbours, mac: Uint8Array) {
    this.#link = link;
    this.#neighbours = neighbours;
    this.#mac = mac;
  }

  /** To a guest by its address; lost if its MAC is not known yet. */
  send(data: Uint8Array, from: UdpAddress, to: UdpAddress): void {
    const neighbour = this.#neighbours.get(to.address);
    if (neighbour.known) this.sendTo(neighbour.mac, data, from, to);
    else this.#neighbours.request(neighbour);
  }

  sendTo(mac: Uint8Array, data: Uint8Array, from: UdpAddress, to: UdpAddress): void {
    const length = UDP_HEADER + data.length;
    if (length > 0xffff - IPV4_HEADER) return;
    const frame = new Uint8Array(L4 + length);
    frame.set(data, L4 + UDP_HEADER);
    put16(frame, L4, from.port);
    put16(frame, L4 + 2, to.port);
    put16(frame, L4 + 4, length);
    put16(frame, L4 + CHECKSUM_OFFSET, pseudoSum(from.address, to.address, PROTOCOL_UDP, length));
    completeChecksum(frame, L4, CHECKSUM_OFFSET);
    if (IPV4_HEADER + length <= MTU) {
      putEthernet(frame, mac, this.#mac, ETHERTYPE_IPV4);
      putIpv4(frame, PROTOCOL_UDP, from.address, to.address);
      this.#link.post(frame);
      return;
    }
    const id = (this.#fragmentId = (this.#fragmentId % 0xffff) + 1);
    for (let offset = 0; offset < length; offset += FRAGMENT) {
      const part = new Uint8Array(L4 + Math.min(FRAGMENT, length - offset));
      part.set(frame.subarray(L4 + offset, L4 + offset + FRAGMENT), L4);
      putEthernet(part, mac, this.#mac, ETHERTYPE_IPV4);
      putIpv4(part, PROTOCOL_UDP, from.address, to.address, { id, offset, more: offset + FRAGMENT < length });
      this.#link.post(part);
    }
  }
}

/** One translated flow: a guest's port, or a client of a forwarded port. */
export interface UdpFlow {
  usedAt: number;
  /** Datagrams from the guest. */
  send(data: Uint8Array, to: UdpAddress): void;
  close(): void;
}

/** Flows by number, bounded, ended when idle. */
export class UdpFlows {
  readonly #flows = new Map<number, UdpFlow>();
  readonly #timers: Timers;
  readonly #check: Alarm;

  constructor(timers: Timers) {
    this.#timers = timers;
    this.#check = new Alarm(timers, () => this.#expire());
  }

  get size(): number {
    return this.#flows.size;
  }

  /** The flow, marked as used. */
  get(key: number): UdpFlow | undefined {
    const flow = this.#flows.get(key);
    if (flow !== undefined) flow.usedAt = this.#timers.now();
    return flow;
  }

  add(key: number, flow: UdpFlow): void {
    if (this.#flows.size >= MAX_FLOWS) this.#removeOldest();
    flow.usedAt = this.#timers.now();
    this.#flows.set(key, flow);
    this.#check.arm(CHECK_MS);
  }

  /** A free number from 1024 to 65535, tried in sequence from `start` on. */
  freePort(start: number): number {
    let port = start;
    do port = port >= 0xffff || port < FIRST_PORT ? FIRST_PORT : port + 1;
    while (this.#flows.has(port));
    return port;
  }

  delete(key: number): void {
    this.#flows.get(key)?.close();
    this.#flows.delete(key);
  }

  close(): void {
    this.#check.cancel();
    for (const key of [...this.#flows.keys()]) this.delete(key);
  }

  #removeOldest(): void {
    let oldest: number | undefined;
    let at = Number.POSITIVE_INFINITY;
    for (const [key, flow] of this.#flows) {
      if (flow.usedAt >= at) continue;
      oldest = key;
      at = flow.usedAt;
    }
    if (oldest !== undefined) this.delete(oldest);
  }

  #expire(): void {
    const limit = this.#timers.now() - IDLE_MS;
    for (const [key, flow] of this.#flows) if (flow.usedAt < limit) this.delete(key);
    if (this.#flows.size > 0) this.#check.arm(CHECK_MS);
  }
}
