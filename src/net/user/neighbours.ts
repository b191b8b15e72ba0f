import { BROADCAST_MAC, ETHERTYPE_ARP, get16, get32, put16, put32, putEthernet } from './wire.ts';

/** Guests on the link and their MAC addresses (ARP, RFC 826). */

const ARP_LENGTH = 28;
const ARP_FRAME = 14 + ARP_LENGTH;
const OPERATION_REQUEST = 1;
const OPERATION_REPLY = 2;
/** One machine is the rule, some machines on a hub the exception; a guest that invents addresses gets no further. */
const MAX_NEIGHBOURS = 64;
/** Milliseconds between two requests for the same address. */
const REQUEST_INTERVAL_MS = 500;

export interface Neighbour {
  readonly address: number;
  /** All zero while unknown. */
  readonly mac: Uint8Array;
  known: boolean;
  requestedAt: number;
}

export interface NeighbourOptions {
  /** MAC of the gateway, which answers for every address in `isOurs`. */
  readonly mac: Uint8Array;
  readonly gateway: number;
  readonly isOurs: (address: number) => boolean;
  readonly isGuest: (address: number) => boolean;
  readonly post: (frame: Uint8Array) => void;
  readonly now: () => number;
  /** A guest's MAC has become known. */
  readonly onKnown: (neighbour: Neighbour) => void;
}

export class Neighbours {
  readonly #options: NeighbourOptions;
  readonly #table = new Map<number, Neighbour>();

  constructor(options: NeighbourOptions) {
    this.#options = options;
  }

  /** The entry of a guest's address, made if there is room in the table (otherwise the oldest gives way). */
  get(address: number): Neighbour {
    let neighbour = this.#table.get(address);
    if (neighbour === undefined) {
      if (this.#table.size >= MAX_NEIGHBOURS) this.#table.delete(this.#table.keys().next().value!);
      neighbour = { address, mac: new Uint8Array(6), known: false, requestedAt: Number.NEGATIVE_INFINITY };
      this.#table.set(address, neighbour);
    }
    return neighbour;
  }

  /** Notes that `address` is at the MAC in `frame` at `offset`, as every frame from a guest shows. */
  learn(address: number, frame: Uint8Array, offset: number): void {
    if (!this.#options.isGuest(address)) return;
    const neighbour = this.get(address);
    const { mac } = neighbour;
    if (neighbour.known) {
      let same = true;
      for (let i = 0; i < 6; i++) if (mac[i] !== frame[offset + i]) same = false;
      if (same) return;
    }
    for (let i = 0; i < 6; i++) mac[i] = frame[offset + i]!;
    neighbour.known = true;
    this.#options.onKnown(neighbour);
  }

  /** Asks who has the address, unless that was asked just now. */
  request(neighbour: Neighbour): void {
    const { now, mac, gateway, post } = this.#options;
    if (now() - neighbour.requestedAt < REQUEST_INTERVAL_MS) return;
    neighbour.requestedAt = now();
    post(arpFrame(OPERATION_REQUEST, mac, gateway, BROADCAST_MAC, neighbour.address));
  }

  /** An ARP frame from the guest. */
  input(frame: Uint8Array): void {
    if (frame.length < ARP_FRAME) return;
    const isEthernetIpv4 = get32(frame, 14) === 0x0001_0800 && get16(frame, 18) === 0x0604;
    const operation = get16(frame, 20);
    if (!isEthernetIpv4 || (operation !== OPERATION_REQUEST && operation !== OPERATION_REPLY)) return;
    const sender = get32(frame, 28);
    this.learn(sender, frame, 22);
    const target = get32(frame, 38);
    // A probe for an address of ours (sender 0, RFC 5227) has to be answered too: it is taken.
    if (operation !== OPERATION_REQUEST || !this.#options.isOurs(target) || target === sender) return;
    this.#options.post(arpFrame(OPERATION_REPLY, this.#options.mac, target, frame.slice(22, 28), sender));
  }
}

function arpFrame(operation: number, mac: Uint8Array, sender: number, to: Uint8Array, target: number): Uint8Array {
  const frame = new Uint8Array(ARP_FRAME);
  putEthernet(frame, to, mac, ETHERTYPE_ARP);
  put32(frame, 14, 0x0001_0800);
  put16(frame, 18, 0x0604);
  put16(frame, 20, operation);
  frame.set(mac, 22);
  put32(frame, 28, sender);
  if (operation === OPERATION_REPLY) frame.set(to, 32);
  put32(frame, 38, target);
  return frame;
}
