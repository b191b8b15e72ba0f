import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterEach, describe, expect, test } from 'vitest';
import { createNet, type Net } from '../../../src/net/create.ts';
import { startNameServer } from '../../support/dns-server.ts';
import { GuestHost, ip, until } from '../../support/guest-host.ts';

/** UDP and name lookups between a guest's stack and real sockets of this host, on loopback. */

const GATEWAY = ip('10.0.2.2');
const DNS = ip('10.0.2.3');
const opened: { close(): unknown }[] = [];

afterEach(async () => {
  for (const resource of opened.splice(0).reverse()) await resource.close();
});

async function open(options: string, resolvers: readonly string[] = []): Promise<{ net: Net; guest: GuestHost }> {
  const net = await createNet(options, { resolvers });
  opened.push(net.backend!);
  const guest = new GuestHost(net.backend!);
  guest.announce();
  return { net, guest };
}

async function bind(address = '127.0.0.1'): Promise<{ socket: Socket; port: number; got: string[] }> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  opened.push(socket);
  socket.bind(0, address);
  await once(socket, 'listening');
  const got: string[] = [];
  socket.on('message', (data) => got.push(data.toString('latin1')));
  return { socket, port: socket.address().port, got };
}

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

/** A query for the A record of `name` (RFC 1035, 4.1). */
const query = (id: number, name: string): Buffer =>
  Buffer.concat([
    Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
    ...name.split('.').map((label) => Buffer.concat([Buffer.of(label.length), latin1(label)])),
    Buffer.from([0, 0, 1, 0, 1]),
  ]);

describe('a forwarded UDP port', () => {
  test('answers each client, up to a full frame', async () => {
    const { net, guest } = await open('user,hostfwd=udp::0-:53');
    const { hostPort } = net.api.forwards[0]!;
    guest.onUdp.set(53, (data, address, port) => guest.udp(53, address, port, Buffer.concat([latin1('re: '), data])));
    const [a, b] = [await bind(), await bind()];
    for (const { socket } of [a, b]) socket.connect(hostPort, '127.0.0.1');
    await Promise.all([a, b].map(({ socket }) => once(socket, 'connect')));
    a.socket.send('from a');
    b.socket.send('from b');
    await until(() => a.got.length === 1 && b.got.length === 1);
    a.socket.send(latin1('x'.repeat(1400)));
    await until(() => a.got.length === 2);
    expect(a.got).toEqual(['re: from a', `re: ${'x'.repeat(1400)}`]);
    expect(b.got).toEqual(['re: from b']);
  });

  test('goes on after the forward of another, and not after its own end', async () => {
    const { net, guest } = await open('user');
    const first = await net.api.forward('udp::0-:7');
    const second = await net.api.forward('udp:127.0.0.1:0-:7');
    let heard = 0;
    guest.onUdp.set(7, () => heard++);
    const client = await bind();
    first.close();
    client.socket.send('x', second.hostPort, '127.0.0.1');
    await until(() => heard === 1);
    second.close();
    client.socket.send('x', second.hostPort, '127.0.0.1');
    const third = await net.api.forward(`udp:127.0.0.1:${second.hostPort}-:8`);
    guest.onUdp.set(8, () => (heard += 10));
    client.socket.send('x', third.hostPort, '127.0.0.1');
    await until(() => heard >= 11);
    expect(heard).toBe(11);
  });

  const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'));
  test.skipIf(!hasIpv6)('takes IPv6 clients', async () => {
    const { net, guest } = await open('user,hostfwd=udp:[::1]:0-:7');
    guest.onUdp.set(7, (data, address, port) => guest.udp(7, address, port, data));
    const client = await bind('::1');
    client.socket.send('six', net.api.forwards[0]!.hostPort, '::1');
    await until(() => client.got.length === 1);
    expect(client.got).toEqual(['six']);
  });
});

test('a guest and a UDP server of this host', async () => {
  const { guest } = await open('user,hostloopback=on');
  const { socket, port } = await bind();
  socket.on('message', (data, from) => socket.send(`${data} from this host`, from.port, from.address));
  const got: string[] = [];
  guest.onUdp.set(4000, (data, address, from) =>
    got.push(`${Buffer.from(data)} ${address === GATEWAY} ${from === port}`),
  );
  guest.udp(4000, GATEWAY, port, latin1('hello'));
  await until(() => got.length === 1);
  expect(got).toEqual(['hello from this host true true']);
});

describe('name lookups', () => {
  test('are answered by the host’s name server; the next one is asked when a query is repeated', async () => {
    // nobody answers on this one
    const silent = await bind();
    const names = await startNameServer({ 'echo.example': '192.0.2.55' });
    opened.push(names);
    const { guest } = await open('user', [`127.0.0.1:${silent.port}`, names.address]);
    const answers: Buffer[] = [];
    guest.onUdp.set(5000, (data, address) => answers.push(Buffer.from(data).subarray(address === DNS ? 0 : Infinity)));
    guest.udp(5000, DNS, 53, query(0x1234, 'echo.example'));
    await until(() => silent.got.length === 1);
    expect(answers).toHaveLength(0);
    guest.udp(5000, DNS, 53, query(0x1234, 'echo.example'));
    await until(() => answers.length === 1);
    expect(answers[0]!.subarray(0, 4).toString('hex')).toBe('12348180');
    expect([...answers[0]!.subarray(-4)]).toEqual([192, 0, 2, 55]);
    // and keeps being asked
    guest.udp(5000, DNS, 53, query(0x1235, 'missing.example'));
    await until(() => answers.length === 2);
    expect(answers[1]!.readUInt16BE(2)).toBe(0x8183);
    expect(names.queries).toEqual(['echo.example', 'missing.example']);
    expect(silent.got).toHaveLength(1);
  });

  test('over TCP reach the name server too', async () => {
    const server = createServer((socket) => {
      socket.on('data', (data) => socket.end(`answer to ${data}`));
      // the network ends before this connection does
      socket.on('error', () => {});
    });
    opened.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { guest } = await open('user', [`127.0.0.1:${(server.address() as AddressInfo).port}`]);
    const tcp = guest.connect(DNS, 53);
    let got = '';
    tcp.onData = (data) => (got += Buffer.from(data).toString());
    await until(() => tcp.state === 'open');
    tcp.write('a question');
    await until(() => tcp.peerEnded);
    expect(got).toBe('answer to a question');
  });

  test('without a name server are refused', async () => {
    const { guest } = await open('user');
    const tcp = guest.connect(DNS, 53);
    await until(() => tcp.wasReset);
    expect(tcp.state).not.toBe('open');
  });
});
