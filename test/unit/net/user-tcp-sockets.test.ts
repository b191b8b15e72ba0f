import { createHash } from 'node:crypto';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { createNet, type Net } from '../../../src/net/create.ts';
import { GuestHost, type GuestTcp, ip, until } from '../../support/guest-host.ts';

/** TCP between a guest's stack and real sockets of this host, on loopback. */

const GATEWAY = ip('10.0.2.2');
const opened: { close(): unknown }[] = [];

afterEach(async () => {
  for (const resource of opened.splice(0).reverse()) await resource.close();
});

async function open(options: string): Promise<{ net: Net; guest: GuestHost; port: number }> {
  const net = await createNet(options);
  opened.push(net.backend!);
  const guest = new GuestHost(net.backend!);
  guest.announce();
  return { net, guest, port: net.api.forwards[0]?.hostPort ?? 0 };
}

async function serve(onConnection: (socket: Socket) => void): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, onConnection);
  opened.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

function client(port: number): Socket {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
  opened.push({ close: () => socket.destroy() });
  return socket;
}

const FORWARD = 'user,hostfwd=tcp:127.0.0.1:0-:5555';

function echo(guest: GuestHost, port = 5555): GuestTcp[] {
  const all: GuestTcp[] = [];
  guest.listen(port, (tcp) => {
    all.push(tcp);
    tcp.onData = (data) => tcp.write(data);
    tcp.onChange = () => {
      if (tcp.peerEnded && tcp.state === 'open') tcp.end();
    };
  });
  return all;
}

function collect(socket: Socket): { text: string; ended: boolean; closed: boolean; error: string | undefined } {
  const got = { text: '', ended: false, closed: false, error: undefined as string | undefined };
  socket.on('data', (data: Buffer) => {
    got.text += data.toString('latin1');
  });
  socket.on('end', () => {
    got.ended = true;
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    got.error = error.code;
  });
  socket.on('close', () => {
    got.closed = true;
  });
  return got;
}

function pattern(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let x = seed | 1;
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1103515245) + 12345) | 0;
    bytes[i] = x >>> 16;
  }
  return bytes;
}

const sha = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

describe('a forwarded port', () => {
  test('carries bytes both ways and ends in order', async () => {
    const { guest, port } = await open(FORWARD);
    const tcps = echo(guest);
    const socket = client(port);
    const got = collect(socket);
    socket.write('a');
    await until(() => got.text === 'a');
    socket.write('hello');
    await until(() => got.text === 'ahello');
    expect(tcps[0]!.remote).toBe(GATEWAY);
    expect(tcps[0]!.mss).toBe(1460);
    socket.end();
    await until(() => got.closed);
    expect(got.error).toBeUndefined();
    await until(() => guest.tcps.size === 0);
  });

  test('reaches a guest that appears later', async () => {
    const net = await createNet(FORWARD);
    opened.push(net.backend!);
    const socket = client(net.api.forwards[0]!.hostPort);
    const got = collect(socket);
    socket.write('early');
    await new Promise((resolve) => setTimeout(resolve, 50));
    const guest = new GuestHost(net.backend!);
    echo(guest);
    guest.announce();
    await until(() => got.text === 'early');
  });

  test('a guest that refuses resets the client', async () => {
    const { port } = await open(FORWARD);
    const got = collect(client(port));
    await until(() => got.closed);
    expect(got.error).toBe('ECONNRESET');
  });

  test('a reset by the client reaches the guest', async () => {
    const { guest, port } = await open(FORWARD);
    const tcps = echo(guest);
    const socket = client(port);
    const got = collect(socket);
    socket.write('x');
    await until(() => got.text === 'x');
    socket.resetAndDestroy();
    await until(() => tcps[0]!.wasReset);
  });

  test('a reset by the guest reaches the client', async () => {
    const { guest, port } = await open(FORWARD);
    guest.listen(5555, (tcp) => {
      tcp.onData = () => tcp.reset();
    });
    const socket = client(port);
    const got = collect(socket);
    socket.write('x');
    await until(() => got.closed);
    expect(got.error).toBe('ECONNRESET');
  });

  test('either side may end first and still receive', async () => {
    const { guest, port } = await open(FORWARD);
    let tcp: GuestTcp | undefined;
    guest.listen(5555, (accepted) => {
      tcp = accepted;
    });
    const socket = client(port);
    const got = collect(socket);
    socket.end('request');
    await until(() => tcp?.peerEnded === true);
    expect(tcp!.text).toBe('request');
    tcp!.write('answer after the end');
    await until(() => got.text === 'answer after the end');
    tcp!.end();
    await until(() => got.closed && guest.tcps.size === 0);

    const second = client(port);
    const got2 = collect(second);
    await until(() => tcp !== undefined && guest.tcps.size === 1);
    await until(() => tcp!.state === 'open');
    tcp!.end();
    await until(() => got2.ended);
    second.write('still talking');
    await until(() => tcp!.text === 'still talking');
    second.end();
    await until(() => got2.closed && guest.tcps.size === 0);
  });

  test.each([
    ['with offloads', true],
    ['segment by segment', false],
  ])('carries 10 MB each way unchanged, %s', async (_name, offload) => {
    const { guest, port } = await open(FORWARD);
    guest.offload = offload;
    const size = 10 << 20;
    const up = pattern(size, 1);
    const down = pattern(size, 2);
    let tcp: GuestTcp | undefined;
    guest.listen(5555, (accepted) => {
      tcp = accepted;
      accepted.bufferSize = 1 << 20;
      accepted.onChange = () => {
        if (accepted.state === 'open' && !accepted.peerEnded) accepted.write(down);
        if (accepted.peerEnded) accepted.end();
      };
    });
    const socket = client(port);
    const hash = createHash('sha256');
    let length = 0;
    let ended = false;
    socket.on('data', (data: Buffer) => {
      hash.update(data);
      length += data.length;
    });
    socket.on('end', () => {
      ended = true;
    });
    socket.end(up);
    await until(() => ended && tcp?.peerEnded === true, 20_000);
    expect(length).toBe(size);
    expect(hash.digest('hex')).toBe(sha(down));
    expect(tcp!.received).toBe(size);
    expect(sha(tcp!.data)).toBe(sha(up));
    expect(tcp!.outOfOrder + tcp!.duplicates).toBe(0);
  });

  test('1,000 connections one after the other, and 200 at once', async () => {
    const { guest, port } = await open(FORWARD);
    echo(guest);
    for (let i = 0; i < 1000; i++) {
      const socket = connect({ host: '127.0.0.1', port, noDelay: true });
      const text = `hello ${i}`;
      socket.write(text);
      const answer = await new Promise<string>((resolve, reject) => {
        socket.once('data', (data: Buffer) => resolve(data.toString()));
        socket.once('error', reject);
      });
      expect(answer).toBe(text);
      socket.end();
    }
    const all = Array.from({ length: 200 }, (_, i) => {
      const socket = client(port);
      const got = collect(socket);
      socket.end(`number ${i}`);
      return got;
    });
    await until(() => all.every((got) => got.closed));
    for (const [i, got] of all.entries()) expect(got.text).toBe(`number ${i}`);
    await until(() => guest.tcps.size === 0);
  });

  test('a client that does not read closes the window of the guest, and opens it again', async () => {
    const { guest, port } = await open(FORWARD);
    let tcp: GuestTcp | undefined;
    guest.listen(5555, (accepted) => {
      tcp = accepted;
    });
    const socket = client(port);
    socket.pause();
    await until(() => tcp?.state === 'open');
    const data = pattern(64 << 20, 3);
    tcp!.write(data);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const stuck = tcp!.unsent;
    expect(stuck).toBeGreaterThan(32 << 20);
    const hash = createHash('sha256');
    let length = 0;
    socket.on('data', (chunk: Buffer) => {
      hash.update(chunk);
      length += chunk.length;
    });
    socket.resume();
    await until(() => length === data.length, 20_000);
    expect(hash.digest('hex')).toBe(sha(data));
  });

  test('a guest that does not read stops the client', async () => {
    const { guest, port } = await open(FORWARD);
    let tcp: GuestTcp | undefined;
    guest.listen(5555, (accepted) => {
      tcp = accepted;
      accepted.isReading = false;
    });
    const socket = client(port);
    const data = pattern(32 << 20, 4);
    socket.write(data);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(tcp!.received).toBeLessThanOrEqual(tcp!.bufferSize);
    // The window is announced in units of 128 bytes.
    expect(tcp!.received).toBeGreaterThan(tcp!.bufferSize - 128);
    expect(socket.writableLength).toBe(data.length);
    tcp!.isReading = true;
    tcp!.consume(tcp!.received);
    await until(() => tcp!.received === data.length, 20_000);
    expect(sha(tcp!.data)).toBe(sha(data));
  });
});

describe('connections of the guest to the host', () => {
  test('reach the loopback through the gateway if that is allowed', async () => {
    const port = await serve((socket) => {
      socket.on('data', (data) => socket.write(`you said ${data}`));
      socket.on('end', () => socket.end());
    });
    const { guest } = await open('user,hostloopback=on');
    const tcp = guest.connect(GATEWAY, port);
    tcp.write('hi');
    await until(() => tcp.text === 'you said hi');
    tcp.end();
    await until(() => tcp.state === 'closed');
    expect(tcp.wasReset).toBe(false);
  });

  test('are refused where nobody listens, and where loopback is off', async () => {
    const port = await serve(() => {
      throw new Error('reached');
    });
    const { guest } = await open('user');
    const blocked = guest.connect(GATEWAY, port);
    await until(() => blocked.wasReset);
    const { guest: other } = await open('user,hostloopback=on');
    const refused = other.connect(GATEWAY, 1);
    await until(() => refused.wasReset);
  });
});
