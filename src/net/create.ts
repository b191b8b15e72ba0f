import { type NetApi, noApi, UserNetApi } from './api.ts';
import type { NetBackend } from './backend.ts';
import { joinHub } from './hub.ts';
import { type CardOptions, type CardTransport, type NetOptions, parseNet } from './options.ts';
import { openStream } from './stream.ts';
import type { HostNetwork } from './user/host-network.ts';
import { HostSockets, parseResolvers } from './user/host-sockets.ts';
import type { Timers } from './user/timers.ts';
import { UserNet } from './user/user-net.ts';

/** A network made from its options: what to give the card, and what the program around the machine uses. */
export interface Net {
  /** For the card; undefined for `none`: then there is no card. */
  readonly backend: NetBackend | undefined;
  /** The card's MAC address, where the options say. */
  readonly mac: Uint8Array | undefined;
  readonly transport: CardTransport | undefined;
  readonly api: NetApi;
}

/** The host, where it is not Node's. */
export interface NetHost {
  /** Resolvers for DNS forwarding, as `dns.getServers()` gives them, which is the default. */
  readonly resolvers?: readonly string[];
  readonly network?: HostNetwork;
  readonly timers?: Timers;
}

/** Timers that keep no process alive. */
const nodeTimers: Timers = {
  now: () => performance.now(),
  delay(ms, callback) {
    const timer = setTimeout(callback, ms).unref();
    return () => clearTimeout(timer);
  },
  afterTurn: (callback) => void setImmediate(callback),
  // the first comes before the event loop looks at its sockets if this is one of their callbacks
  afterPoll: (callback) => void setImmediate(() => void setImmediate(callback)),
};

/**
 * Makes the network that the text after `--net` (or its parsed form) describes, with its forwards bound. Rejects with NetError, one
 * line, if the options are wrong or a port is taken. Closing the backend closes everything.
 */
export async function createNet(options: NetOptions | string, host: NetHost = {}): Promise<Net> {
  const parsed = typeof options === 'string' ? parseNet(options) : options;
  switch (parsed.kind) {
    case 'none':
      return { backend: undefined, mac: undefined, transport: undefined, api: noApi };
    case 'stream':
      return card(parsed, await openStream(parsed), noApi);
    case 'hub':
      return card(parsed, joinHub(parsed.id), noApi);
    case 'user':
      return await createUserNet(parsed, host);
  }
}

const card = ({ mac, transport }: CardOptions, backend: NetBackend, api: NetApi): Net => ({
  backend,
  mac,
  transport,
  api,
});

async function createUserNet(parsed: NetOptions & { kind: 'user' }, host: NetHost): Promise<Net> {
  const net = new UserNet({
    config: parsed.config,
    host: host.network ?? new HostSockets(parseResolvers(host.resolvers)),
    timers: host.timers ?? nodeTimers,
    random: () => crypto.getRandomValues(new Uint32Array(1))[0]!,
  });
  const api = new UserNetApi(net);
  net.onClose = () => api.close();
  try {
    for (const rule of parsed.forwards) await api.open(rule);
  } catch (error) {
    await net.close();
    throw error;
  }
  return card(parsed, net, api);
}
