import { formatIpv4, isUnroutable, parseIpv4, parseMac, prefixMask } from './addresses.ts';
import { NetError } from './errors.ts';
import { DEFAULT_USER_NET, isGuestAddress, isInSubnet, type UserNetConfig } from './user/config.ts';

/** What the text after `--net` means: QEMU's `-netdev` syntax, plus `mac=` as `-nic` has it. */

/** Forwards a port of the host to a port of the guest. */
export interface ForwardRule {
  readonly protocol: 'tcp' | 'udp';
  /** IPv4 or IPv6 address of the host to bind. */
  readonly hostAddress: string;
  /** 0: any free one. */
  readonly hostPort: number;
  readonly guestAddress: string;
  readonly guestPort: number;
}

export type StreamAddress =
  | { readonly type: 'inet'; readonly host: string; readonly port: number }
  | { readonly type: 'unix'; readonly path: string };

export const TRANSPORTS = ['transitional', 'legacy', 'modern', 'mmio'] as const;
/** How the card is plugged in: on PCI, for drivers of either kind, legacy or modern ones only, or as a virtio-mmio window. */
export type CardTransport = (typeof TRANSPORTS)[number];

/** What an option says of the card, whatever its network. */
export interface CardOptions {
  readonly mac?: Uint8Array;
  readonly transport?: CardTransport;
}

export type NetOptions =
  | { readonly kind: 'none' }
  | (CardOptions & {
      readonly kind: 'user';
      readonly config: UserNetConfig;
      readonly forwards: readonly ForwardRule[];
    })
  | (CardOptions & { readonly kind: 'stream'; readonly server: boolean; readonly address: StreamAddress })
  | (CardOptions & { readonly kind: 'hub'; readonly id: string });

const KINDS = ['none', 'user', 'stream', 'hub'];

/** Parses the text after `--net`. Throws NetError, one line, for what cannot be. */
export function parseNet(text: string): NetOptions {
  const [kind = '', ...items] = splitOptions(text);
  const options = new Items(kind, items);
  const mac = options.take('mac', parseMacOption);
  const transport = options.take('transport', parseTransport);
  options.take('id', (value) => value);
  const card: CardOptions = { ...(mac && { mac }), ...(transport && { transport }) };
  switch (kind) {
    case 'none':
      options.end();
      return { kind };
    case 'user':
      return { kind, ...card, ...parseUser(options) };
    case 'stream':
      return { kind, ...card, ...parseStream(options) };
    case 'hub': {
      const id = options.take('hubid', (value) => value) ?? '0';
      options.end();
      return { kind, ...card, id };
    }
    default:
      throw new NetError(`net: there is no backend "${kind}"; choose one of ${KINDS.join(', ')}`);
  }
}

/** At commas; two commas stand for one in a value, as in QEMU. */
function splitOptions(text: string): string[] {
  return text.split(/(?<!,),(?!,)/).map((item) => item.replaceAll(',,', ','));
}

/** `key=value` items of one option, each to be taken once. */
class Items {
  readonly #kind: string;
  readonly #known: string[] = [];
  readonly #items: { readonly key: string; readonly value: string }[];

  constructor(kind: string, items: readonly string[]) {
    this.#kind = kind;
    this.#items = items.map((item) => {
      const at = item.indexOf('=');
      if (at <= 0) throw new NetError(`net ${kind}: "${item}" is not of the form key=value`);
      return { key: item.slice(0, at), value: item.slice(at + 1) };
    });
  }

  /** The value of `key`; parse returns undefined, or throws NetError, for one that cannot be. */
  take<T>(key: string, parse: (value: string, key: string) => T): T | undefined {
    const all = this.takeAll(key, parse);
    if (all.length > 1) throw new NetError(`net ${this.#kind}: ${key} is given twice`);
    return all[0];
  }

  takeAll<T>(key: string, parse: (value: string, key: string) => T): T[] {
    this.#known.push(key);
    const found = this.#items.filter((item) => item.key === key);
    for (const item of found) this.#items.splice(this.#items.indexOf(item), 1);
    return found.map((item) => parse(item.value, key));
  }

  /** Throws if there is an item that nobody has taken. */
  end(): void {
    const unknown = this.#items[0];
    if (unknown === undefined) return;
    const known = this.#known.join(', ');
    throw new NetError(`net ${this.#kind}: there is no option "${unknown.key}"; known are ${known}`);
  }
}

function parseMacOption(value: string): Uint8Array {
  const mac = parseMac(value);
  if (mac === undefined) throw new NetError(`net: mac=${value} is not of the form 52:54:00:12:34:56`);
  if ((mac[0]! & 1) !== 0) throw new NetError(`net: mac=${value} is a multicast address; make its first byte even`);
  return mac;
}

function parseTransport(value: string): CardTransport {
  const transport = TRANSPORTS.find((name) => name === value);
  if (transport === undefined) throw new NetError(`net: transport=${value} is none of ${TRANSPORTS.join(', ')}`);
  return transport;
}

function parseAddress(value: string, key: string): number {
  const address = parseIpv4(value);
  if (address === undefined) throw new NetError(`net user: ${key}=${value} is not an IPv4 address`);
  return address;
}

function parseSwitch(value: string, key: string): boolean {
  if (['on', 'yes', 'y', 'true'].includes(value)) return true;
  if (['off', 'no', 'n', 'false'].includes(value)) return false;
  throw new NetError(`net: ${key}=${value} is neither on nor off`);
}

function parseUser(options: Items): { config: UserNetConfig; forwards: ForwardRule[] } {
  const subnet = options.take('net', parseSubnet);
  const { network, mask } = subnet ?? DEFAULT_USER_NET;
  const within = (address: number): number => (network | (address & ~DEFAULT_USER_NET.mask)) >>> 0;
  const config: UserNetConfig = {
    network,
    mask,
    gateway: options.take('host', parseAddress) ?? within(DEFAULT_USER_NET.gateway),
    dns: options.take('dns', parseAddress) ?? within(DEFAULT_USER_NET.dns),
    firstGuest: options.take('dhcpstart', parseAddress) ?? within(DEFAULT_USER_NET.firstGuest),
    hostname: options.take('hostname', parseHostname),
    restrict: options.take('restrict', parseSwitch) ?? false,
    hostLoopback: options.take('hostloopback', parseSwitch) ?? false,
  };
  const forwards = options.takeAll('hostfwd', (value) => parseForward(value, config));
  options.end();
  checkConfig(config);
  return { config, forwards };
}

function parseSubnet(value: string): { network: number; mask: number } {
  const [address = '', length] = value.split('/');
  const network = parseAddress(address, 'net');
  const asMask = length === undefined ? undefined : parseIpv4(length);
  const prefix =
    asMask !== undefined
      ? 32 - Math.log2((~asMask >>> 0) + 1)
      : Number(length === undefined ? 24 : /^\d+$/.test(length) ? length : Number.NaN);
  if (!Number.isInteger(prefix) || prefix < 8 || prefix > 27) {
    throw new NetError(`net user: net=${value} is not a subnet with a prefix from /8 to /27, like 10.0.2.0/24`);
  }
  const mask = prefixMask(prefix);
  if ((network & ~mask) >>> 0 !== 0 || isUnroutable(network)) {
    throw new NetError(`net user: net=${value} is not the address of a subnet, like 10.0.2.0/24`);
  }
  return { network, mask };
}

function parseHostname(value: string): string {
  if (!/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/i.test(value)) {
    throw new NetError(`net user: hostname=${value} is not a host name of letters, digits and hyphens`);
  }
  return value;
}

function checkConfig(config: UserNetConfig): void {
  const { network, mask, gateway, dns, firstGuest } = config;
  const broadcast = (network | ~mask) >>> 0;
  for (const [key, address] of [
    ['host', gateway],
    ['dns', dns],
    ['dhcpstart', firstGuest],
  ] as const) {
    if (isInSubnet(config, address) && address !== network && address !== broadcast) continue;
    throw new NetError(`net user: ${key}=${formatIpv4(address)} is not an address of the subnet`);
  }
  if (gateway === dns || !isGuestAddress(config, firstGuest)) {
    throw new NetError('net user: host, dns and dhcpstart have to be three different addresses');
  }
}

/**
 * Parses `[tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT`; without HOSTADDR 127.0.0.1, without GUESTADDR the first address
 * that DHCP gives out. An IPv6 HOSTADDR is written in brackets. Throws NetError.
 */
export function parseForward(text: string, config: UserNetConfig): ForwardRule {
  const match = /^(tcp|udp|):(\[[^\]]*\]|[^:]*):(\d*)-([^:]*):(\d+)$/.exec(text);
  if (!match) {
    throw new NetError(
      `net user: hostfwd=${text} is not of the form tcp|udp:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT`,
    );
  }
  const [, protocol, hostText = '', hostPortText = '', guestText = '', guestPortText = ''] = match;
  const hostAddress = hostText === '' ? '127.0.0.1' : hostText.replace(/^\[(.*)\]$/, '$1');
  const isIpv6 = hostText.startsWith('[') && /^[0-9a-f:]+(%\w+)?$/i.test(hostAddress) && hostAddress.includes(':');
  if (!isIpv6 && parseIpv4(hostAddress) === undefined) {
    throw new NetError(
      `net user: hostfwd=${text}: ${hostText} is not an address of this host; write 127.0.0.1, 0.0.0.0 or [::1]`,
    );
  }
  const hostPort = hostPortText === '' ? -1 : Number(hostPortText);
  if (hostPort < 0 || hostPort > 65535) {
    throw new NetError(`net user: hostfwd=${text}: the host's port "${hostPortText}" is not a number from 0 to 65535`);
  }
  const guestPort = Number(guestPortText);
  if (guestPort < 1 || guestPort > 65535) {
    throw new NetError(
      `net user: hostfwd=${text}: the guest's port "${guestPortText}" is not a number from 1 to 65535`,
    );
  }
  const guest = guestText === '' ? config.firstGuest : parseIpv4(guestText);
  if (guest === undefined || !isGuestAddress(config, guest)) {
    throw new NetError(`net user: hostfwd=${text}: ${guestText} is not an address a guest of this subnet can have`);
  }
  return {
    protocol: protocol === 'udp' ? 'udp' : 'tcp',
    hostAddress,
    hostPort,
    guestAddress: formatIpv4(guest),
    guestPort,
  };
}

function parseStream(options: Items): { server: boolean; address: StreamAddress } {
  const server = options.take('server', parseSwitch) ?? false;
  const type = options.take('addr.type', (value) => value);
  const host = options.take('addr.host', (value) => value);
  const portText = options.take('addr.port', (value) => value);
  const path = options.take('addr.path', (value) => value);
  options.end();
  if (type === 'unix') {
    if (path === undefined || path === '') throw new NetError('net stream: addr.type=unix needs addr.path=FILE');
    if (host !== undefined || portText !== undefined) {
      throw new NetError('net stream: addr.host and addr.port do not go with addr.type=unix');
    }
    return { server, address: { type, path } };
  }
  if (type !== 'inet') throw new NetError('net stream: say addr.type=inet or addr.type=unix');
  if (path !== undefined) throw new NetError('net stream: addr.path does not go with addr.type=inet');
  const port = Number(portText ?? Number.NaN);
  if (host === undefined || host === '' || !Number.isInteger(port) || port < (server ? 0 : 1) || port > 65535) {
    throw new NetError('net stream: addr.type=inet needs addr.host=HOST and addr.port=PORT');
  }
  return { server, address: { type, host, port } };
}
