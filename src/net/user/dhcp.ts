import type { UserNetConfig } from './config.ts';
import { isGuestAddress } from './config.ts';
import { get16, get32, put16, put32 } from './wire.ts';

/** DHCP server (RFC 2131, options RFC 2132) for the guests of one user network; answers BOOTP too. */

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;

const OPTIONS = 240;
const MAGIC_COOKIE = 0x6382_5363;
const BOOT_REQUEST = 1;
const BOOT_REPLY = 2;
const ETHERNET = 1;
const BROADCAST_FLAG = 0x8000;
/** Smallest message clients have to take (RFC 1542, 2.1). */
const MESSAGE_LENGTH = 300;
const LEASE_SECONDS = 86_400;
const MAX_LEASES = 64;

const Option = {
  pad: 0,
  subnetMask: 1,
  router: 3,
  nameServer: 6,
  hostname: 12,
  requestedAddress: 50,
  leaseTime: 51,
  messageType: 53,
  serverId: 54,
  end: 255,
} as const;

const Message = { discover: 1, offer: 2, request: 3, decline: 4, ack: 5, nak: 6, inform: 8 } as const;

interface Request {
  readonly type: number | undefined;
  readonly requested: number | undefined;
  readonly server: number | undefined;
}

export interface DhcpReply {
  readonly message: Uint8Array;
  /** Where it goes: an address the client may not answer ARP for yet, or broadcast. */
  readonly address: number;
  readonly broadcast: boolean;
  readonly mac: Uint8Array;
}

export class DhcpServer {
  readonly #config: UserNetConfig;
  /** Addresses given out, by MAC. */
  readonly #leases = new Map<string, number>();

  constructor(config: UserNetConfig) {
    this.#config = config;
  }

  /** The answer to a client's message (the UDP payload), or undefined: malformed, not for us, or nothing to say. */
  input(message: Uint8Array): DhcpReply | undefined {
    if (message.length < OPTIONS || message[0] !== BOOT_REQUEST || message[1] !== ETHERNET || message[2] !== 6) {
      return undefined;
    }
    if (get32(message, 236) !== MAGIC_COOKIE) return undefined;
    const request = parseOptions(message);
    const mac = message.slice(28, 34);
    if (request.server !== undefined && request.server !== this.#config.gateway) return undefined;
    const current = get32(message, 12);
    switch (request.type) {
      case undefined:
        return this.#reply(message, mac, undefined, this.#lease(mac));
      case Message.discover:
        return this.#reply(message, mac, Message.offer, this.#lease(mac));
      case Message.request: {
        const address = this.#lease(mac);
        const wanted = request.requested ?? current;
        const isRight = wanted === 0 || wanted === address;
        return this.#reply(message, mac, isRight ? Message.ack : Message.nak, isRight ? address : undefined);
      }
      case Message.inform:
        return this.#reply(message, mac, Message.ack, undefined, current);
      default:
        return undefined;
    }
  }

  /** The client's address: the one it had, or the next free one; undefined when all are taken. */
  #lease(mac: Uint8Array): number | undefined {
    const key = mac.join();
    const known = this.#leases.get(key);
    if (known !== undefined) return known;
    if (this.#leases.size >= MAX_LEASES) return undefined;
    const taken = new Set(this.#leases.values());
    for (let address = this.#config.firstGuest; isGuestAddress(this.#config, address); address++) {
      if (taken.has(address)) continue;
      this.#leases.set(key, address);
      return address;
    }
    return undefined;
  }

  #reply(
    request: Uint8Array,
    mac: Uint8Array,
    type: number | undefined,
    address: number | undefined,
    inUse = 0,
  ): DhcpReply | undefined {
    const { gateway, dns, mask, hostname, restrict } = this.#config;
    const isNak = type === Message.nak;
    if (address === undefined && !isNak && inUse === 0) return undefined;
    const message = new Uint8Array(MESSAGE_LENGTH + (hostname?.length ?? 0));
    message[0] = BOOT_REPLY;
    message[1] = ETHERNET;
    message[2] = 6;
    message.set(request.subarray(4, 8), 4);
    put16(message, 10, get16(request, 10));
    put32(message, 12, inUse);
    put32(message, 16, address ?? 0);
    put32(message, 20, isNak ? 0 : gateway);
    message.set(request.subarray(28, 44), 28);
    put32(message, 236, MAGIC_COOKIE);
    let at = OPTIONS;
    const option = (code: number, bytes: readonly number[]): void => {
      message.set([code, bytes.length, ...bytes], at);
      at += 2 + bytes.length;
    };
    if (type !== undefined) {
      option(Option.messageType, [type]);
      option(Option.serverId, bytes32(gateway));
    }
    if (!isNak) {
      option(Option.subnetMask, bytes32(mask));
      if (!restrict) {
        option(Option.router, bytes32(gateway));
        option(Option.nameServer, bytes32(dns));
      }
      if (type !== undefined && address !== undefined) option(Option.leaseTime, bytes32(LEASE_SECONDS));
      if (hostname !== undefined) option(Option.hostname, [...new TextEncoder().encode(hostname)]);
    }
    message[at] = Option.end;
    const broadcast = isNak || (inUse === 0 && (get16(request, 10) & BROADCAST_FLAG) !== 0);
    return { message, address: address ?? inUse, broadcast, mac };
  }
}

const bytes32 = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];

function parseOptions(message: Uint8Array): Request {
  let type: number | undefined;
  let requested: number | undefined;
  let server: number | undefined;
  let at = OPTIONS;
  while (at < message.length && message[at] !== Option.end) {
    if (message[at] === Option.pad) {
      at++;
      continue;
    }
    const length = message[at + 1] ?? 0;
    const value = at + 2;
    if (value + length > message.length) break;
    if (message[at] === Option.messageType && length === 1) type = message[value];
    if (message[at] === Option.requestedAddress && length === 4) requested = get32(message, value);
    if (message[at] === Option.serverId && length === 4) server = get32(message, value);
    at = value + length;
  }
  return { type, requested, server };
}
