import { createSocket } from 'node:dgram';
import { createServer, isIPv4 } from 'node:net';
import { formatIpv4, isLoopback, isUnroutable, parseIpv4 } from '../addresses.ts';
import { bindError } from '../bind-error.ts';
import type { ForwardRule } from '../options.ts';
import { isInSubnet } from './config.ts';
import { SocketPeer } from './host-sockets.ts';
import type { UserNet } from './user-net.ts';

/** Ports of the host forwarded to a guest. */

const BACKLOG = 511;
const MAX_UDP_CLIENTS = 1024;

/** A forward that is in effect. */
export interface Forward extends ForwardRule {
  /** The port bound, also where the rule left the choice to the system. */
  readonly hostPort: number;
  /** Accepts no more; connections that exist go on. */
  close(): void;
}

/** Binds the host's port and forwards what arrives there. Rejects with NetError if it cannot be bound. */
export function openForward(net: UserNet, rule: ForwardRule): Promise<Forward> {
  return rule.protocol === 'tcp' ? forwardTcp(net, rule) : forwardUdp(net, rule);
}

async function forwardTcp(net: UserNet, rule: ForwardRule): Promise<Forward> {
  const guest = parseIpv4(rule.guestAddress)!;
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const peer = new SocketPeer(socket);
    const { remoteAddress = '', remotePort = 0 } = socket;
    const client = parseIpv4(remoteAddress.replace(/^::ffff:/, ''));
    // The guest sees the client's own address where an answer to it would come this way.
    const isVisible =
      client !== undefined && !isLoopback(client) && !isUnroutable(client) && !isInSubnet(net.config, client);
    const connection =
      (isVisible ? net.tcp.connect(guest, rule.guestPort, client, remotePort, peer) : undefined) ??
      net.tcp.connect(guest, rule.guestPort, net.config.gateway, 0, peer);
    if (connection === undefined) socket.resetAndDestroy();
    else peer.start(connection);
  });
  await new Promise<void>((resolve, reject) => {
    const onError = (error: Error): void =>
      reject(bindError('net user: hostfwd', rule.hostAddress, rule.hostPort, error));
    server.once('error', onError);
    server.listen({ host: rule.hostAddress, port: rule.hostPort, backlog: BACKLOG }, () => {
      server.off('error', onError);
      // Out of file descriptors, for one: the client sees it, the others go on.
      server.on('error', () => {});
      resolve();
    });
  });
  const address = server.address();
  return {
    ...rule,
    hostPort: typeof address === 'object' && address !== null ? address.port : rule.hostPort,
    close: () => void server.close(),
  };
}

async function forwardUdp(net: UserNet, rule: ForwardRule): Promise<Forward> {
  const guest = { address: parseIpv4(rule.guestAddress)!, port: rule.guestPort };
  const socket = createSocket({ type: isIPv4(rule.hostAddress) ? 'udp4' : 'udp6' });
  await new Promise<void>((resolve, reject) => {
    const onError = (error: Error): void =>
      reject(bindError('net user: hostfwd', rule.hostAddress, rule.hostPort, error));
    socket.once('error', onError);
    socket.bind({ address: rule.hostAddress, port: rule.hostPort, exclusive: true }, () => {
      socket.off('error', onError);
      socket.on('error', () => {});
      resolve();
    });
  });
  const clients = new Map<string, ReturnType<UserNet['openInbound']>>();
  socket.on('message', (data, { address, port }) => {
    const key = `${address} ${port}`;
    const flow = clients.get(key);
    if (flow?.push(data) === true) return;
    clients.delete(key);
    if (clients.size >= MAX_UDP_CLIENTS) {
      const [oldest, ended] = clients.entries().next().value!;
      ended.close();
      clients.delete(oldest);
    }
    const opened = net.openInbound(guest, (answer) => socket.send(Buffer.from(answer), port, address, () => {}));
    clients.set(key, opened);
    opened.push(data);
  });
  return {
    ...rule,
    hostPort: socket.address().port,
    close() {
      for (const flow of clients.values()) flow.close();
      socket.close();
    },
  };
}

/** `tcp 127.0.0.1:40123 -> 10.0.2.15:5555`. */
export function describeForward({ protocol, hostAddress, hostPort, guestAddress, guestPort }: ForwardRule): string {
  const host = hostAddress.includes(':') ? `[${hostAddress}]` : hostAddress;
  return `${protocol} ${host}:${hostPort} -> ${guestAddress}:${guestPort}`;
}

/** The address of the guest that rules without one mean. */
export const defaultGuest = (net: UserNet): string => formatIpv4(net.config.firstGuest);
