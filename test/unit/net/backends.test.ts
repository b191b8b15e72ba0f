import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import type { NetBackend } from '../../../src/net/backend.ts';
import { createNet } from '../../../src/net/create.ts';
import { NetError } from '../../../src/net/errors.ts';
import { Hub } from '../../../src/net/hub.ts';
import { captureToFile } from '../../../src/net/pcap-file.ts';
import { openStream } from '../../../src/net/stream.ts';
import { FrameReader } from '../../../src/net/stream-framing.ts';
import { GuestHost, ip, until } from '../../support/guest-host.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'ukl-net-'));
  cleanups.push(() => rmSync(path, { recursive: true }));
  return path;
}

function received(backend: NetBackend): { frames: Uint8Array[]; isFull: boolean } {
  const state = { frames: [] as Uint8Array[], isFull: false };
  backend.onFrame = (frame) => {
    if (state.isFull) return false;
    state.frames.push(frame.slice());
    return true;
  };
  return state;
}

const frame = (first: number, length = 60): Uint8Array => new Uint8Array(length).fill(first);
const firsts = (frames: readonly Uint8Array[]): number[] => frames.map((bytes) => bytes[0]!);

describe('hub', () => {
  test('what one sends all others get, in order, also when one has no room', () => {
    const hub = new Hub();
    const ports = [hub.port(), hub.port(), hub.port()];
    const got = ports.map(received);
    got[2]!.isFull = true;
    for (let i = 1; i <= 3; i++) ports[0]!.send(frame(i));
    got[2]!.isFull = false;
    ports[2]!.onRoom!();
    ports[0]!.send(frame(4));
    expect(got.map(({ frames }) => firsts(frames))).toEqual([[], [1, 2, 3, 4], [1, 2, 3, 4]]);
  });

  test('a card without room for long loses the newest, and one that has gone is forgotten', async () => {
    let empty = 0;
    const hub = new Hub(() => empty++);
    const [a, b] = [hub.port(), hub.port()];
    const got = received(b);
    got.isFull = true;
    for (let i = 0; i < 1000; i++) a.send(frame(i & 255));
    got.isFull = false;
    b.onRoom!();
    expect(got.frames.length).toBe(256);
    await b.close();
    a.send(frame(1));
    expect(got.frames.length).toBe(256);
    await a.close();
    expect(empty).toBe(1);
  });

  test('two guests of the same hub talk TCP', async () => {
    const nets = await Promise.all(['hub,hubid=x', 'hub,hubid=x', 'hub,hubid=y'].map((text) => createNet(text)));
    const [a, b, c] = nets;
    cleanups.push(() => Promise.all(nets.map(({ backend }) => backend?.close())));
    const one = new GuestHost(a!.backend!, '10.0.2.15');
    const two = new GuestHost(b!.backend!, '10.0.2.16');
    const other = new GuestHost(c!.backend!, '10.0.2.17');
    two.listen(7, (tcp) => {
      tcp.onData = (data) => tcp.write(data);
    });
    one.gatewayMac = two.mac;
    const tcp = one.connect(ip('10.0.2.16'), 7);
    const data = new Uint8Array(300_000).fill(5);
    tcp.write(data);
    await until(() => tcp.received === data.length);
    expect(other.frames.length).toBe(0);
  });
});

describe('stream', () => {
  test('the framing survives any cutting of the byte stream', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 20 }),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
        (frames, cuts) => {
          const stream = Buffer.concat(
            frames.flatMap((bytes) => [Buffer.from([0, 0, bytes.length >> 8, bytes.length]), bytes]),
          );
          const reader = new FrameReader();
          const got: Uint8Array[] = [];
          for (let at = 0, i = 0; at < stream.length; i++) {
            const end = at + cuts[i % cuts.length]!;
            reader.push(stream.subarray(at, end));
            at = end;
            for (let next = reader.peek(); next !== undefined; next = reader.peek()) {
              got.push(next.slice());
              reader.shift();
            }
          }
          expect(got).toEqual(frames.map((bytes) => new Uint8Array(bytes)));
        },
      ),
    );
  });

  test('a server and a client exchange frames; a full card holds them back; after a client the next is welcome', async () => {
    const server = await openStream({ server: true, address: { type: 'inet', host: '127.0.0.1', port: 0 } });
    cleanups.push(() => server.close());
    const address = { type: 'inet', host: '127.0.0.1', port: server.port! } as const;
    const client = await openStream({ server: false, address });
    const atServer = received(server);
    const atClient = received(client);
    atServer.isFull = true;
    for (let i = 0; i < 200; i++) client.send(frame(i, 60 + i * 7));
    await until(() => {
      server.send(frame(9));
      return atClient.frames.length > 0;
    });
    expect(atServer.frames.length).toBe(0);
    atServer.isFull = false;
    server.onRoom!();
    await until(() => atServer.frames.length === 200);
    expect(atServer.frames.map((bytes) => bytes.length)).toEqual(Array.from({ length: 200 }, (_, i) => 60 + i * 7));
    await client.close();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const next = await openStream({ server: false, address });
    cleanups.push(() => next.close());
    next.send(frame(77));
    await until(() => atServer.frames.at(-1)?.[0] === 77);
  });

  test('a peer that does not speak the framing is hung up on', async () => {
    const server = await openStream({ server: true, address: { type: 'inet', host: '127.0.0.1', port: 0 } });
    cleanups.push(() => server.close());
    const got = received(server);
    const socket = connect({ host: '127.0.0.1', port: server.port! });
    let isClosed = false;
    socket.on('error', () => {});
    socket.on('close', () => {
      isClosed = true;
    });
    socket.write('GET / HTTP/1.0\r\n\r\n');
    await until(() => isClosed);
    expect(got.frames).toEqual([]);
  });

  test.runIf(spawnSync('passt', ['--version']).status === 0)('passt answers ARP over a UNIX socket', async () => {
    const path = join(directory(), 'passt.sock');
    execFileSync('passt', ['--socket', path, '--quiet', '--runas', '0', '--pid', `${path}.pid`], { stdio: 'ignore' });
    cleanups.push(() => {
      try {
        process.kill(Number(readFileSync(`${path}.pid`, 'utf8')));
      } catch {
        // It ends by itself with its only client.
      }
    });
    const { backend } = await createNet(`stream,addr.type=unix,addr.path=${path}`);
    cleanups.push(() => backend!.close());
    const guest = new GuestHost(backend!, '10.9.9.9');
    const asking = setInterval(() => guest.arp(1, guest.address, ip('10.9.9.1')), 50);
    cleanups.push(() => clearInterval(asking));
    await until(() => guest.gatewayMac[0] !== 0xff, 5000, 'ARP reply of passt');
  });
});

describe('what cannot be is said in one line', () => {
  test('a port in use', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => taken.close());
    const { port } = taken.address() as AddressInfo;
    const attempt = createNet(`user,hostfwd=tcp::0-:1,hostfwd=tcp::${port}-:5555`);
    await expect(attempt).rejects.toThrow(NetError);
    await expect(attempt).rejects.toThrow(`127.0.0.1:${port} is in use`);
  });

  test('nobody to connect to, an address of somebody else, a directory that is not there', async () => {
    await expect(createNet('stream,addr.type=unix,addr.path=/nowhere/x')).rejects.toThrow('net stream: cannot connect');
    await expect(createNet('user,hostfwd=tcp:192.0.2.1:0-:1')).rejects.toThrow('not an address of this host');
    await expect(createNet('user,hostfwd=udp:192.0.2.1:0-:1')).rejects.toThrow('not an address of this host');
    const net = await createNet('user');
    cleanups.push(() => net.backend!.close());
    await expect(captureToFile(net.backend!, '/nowhere/x.pcap')).rejects.toThrow('pcap /nowhere/x.pcap');
  });
});

test.runIf(spawnSync('tshark', ['--version']).status === 0)(
  'tshark reads what was captured',
  async () => {
    const path = join(directory(), 'net.pcap');
    const net = await createNet('user,hostfwd=tcp::0-:5555');
    const backend = await captureToFile(net.backend!, path);
    const guest = new GuestHost(backend);
    guest.announce();
    guest.listen(5555, (tcp) => {
      tcp.onData = (data) => tcp.write(data);
      tcp.onChange = () => {
        if (tcp.peerEnded) tcp.end();
      };
    });
    const socket: Socket = connect({ host: '127.0.0.1', port: net.api.forwards[0]!.hostPort });
    let got = '';
    socket.on('data', (data: Buffer) => {
      got += data;
    });
    socket.end('needle in a haystack');
    await until(() => got.length > 0 && guest.tcps.size === 0);
    await backend.close();
    const fields = execFileSync(
      'tshark',
      ['-r', path, '-T', 'fields', '-e', '_ws.col.Protocol', '-e', 'tcp.flags.str', '-e', 'tcp.len'],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    const lines = fields
      .trim()
      .split('\n')
      .map((line) => line.split('\t'));
    expect(lines[0]![0]).toBe('ARP');
    const flags = lines.filter(([protocol]) => protocol === 'TCP').map(([, text]) => text!.replaceAll('·', ''));
    expect(flags[0]).toBe('S');
    expect(flags[1]).toBe('AS');
    expect(lines.filter(([, , length]) => length === '20').length).toBe(2);
    expect(flags.filter((text) => text.includes('F')).length).toBe(2);
    expect(flags.filter((text) => text.includes('R')).length).toBe(0);
  },
  20_000,
);

describe('the program around the machine', () => {
  async function open() {
    const net = await createNet('user');
    cleanups.push(() => net.backend!.close());
    const guest = new GuestHost(net.backend!);
    guest.announce();
    return { net, guest };
  }

  test('a stream into the guest, without sockets', async () => {
    const { net, guest } = await open();
    guest.listen(5555, (tcp) => {
      tcp.onData = (data) => tcp.write(data);
      tcp.onChange = () => {
        if (tcp.peerEnded) tcp.end();
      };
    });
    const stream = net.api.connect(5555);
    let isConnected = false;
    stream.on('connect', () => {
      isConnected = true;
    });
    const data = Buffer.alloc(3 << 20, 'abcdefg');
    stream.end(data);
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    expect(isConnected).toBe(true);
    expect(Buffer.concat(chunks).equals(data)).toBe(true);
    await until(() => guest.tcps.size === 0);
  });

  test('errors have codes', async () => {
    const { net, guest } = await open();
    const code = (port: number): Promise<string | undefined> =>
      new Promise((resolve) => {
        const stream = net.api.connect(port);
        stream.on('error', (error: NodeJS.ErrnoException) => resolve(error.code));
        stream.write('x');
      });
    expect(await code(1)).toBe('ECONNREFUSED');
    guest.listen(2, (tcp) => {
      tcp.onData = () => tcp.reset();
    });
    expect(await code(2)).toBe('ECONNRESET');
    const stream = net.api.connect(3);
    const ended = new Promise((resolve) => stream.once('close', () => resolve(stream.errored)));
    guest.listen(3, () => {});
    await until(() => guest.tcps.size === 1);
    await net.backend!.close();
    expect(await ended).toBeNull();
  });

  test('a destroyed stream resets the guest', async () => {
    const { net, guest } = await open();
    let wasReset = false;
    guest.listen(2, (tcp) => {
      tcp.onChange = () => {
        wasReset = tcp.wasReset;
      };
    });
    const stream = net.api.connect(2);
    await until(() => !stream.connecting);
    stream.destroy();
    await until(() => wasReset);
  });

  test('a reader that does not read stops the guest', async () => {
    const { net, guest } = await open();
    const size = 16 << 20;
    guest.listen(2, (tcp) => tcp.write(new Uint8Array(size)));
    const stream = net.api.connect(2);
    await until(() => !stream.connecting);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const tcp = [...guest.tcps][0]!;
    expect(tcp.unsent).toBeGreaterThan(size / 2);
    let length = 0;
    stream.on('data', (chunk: Buffer) => {
      length += chunk.length;
    });
    await until(() => length === size);
  });

  test('connections the guest opens to the gateway', async () => {
    const { net, guest } = await open();
    const listener = net.api.listen(8080, (stream) => {
      stream.on('data', (data: Buffer) => stream.end(`hello ${data}`));
    });
    expect(() => net.api.listen(8080, () => {})).toThrow(NetError);
    const tcp = guest.connect(ip('10.0.2.2'), 8080);
    tcp.write('guest');
    await until(() => tcp.peerEnded);
    expect(tcp.text).toBe('hello guest');
    tcp.end();
    await until(() => tcp.state === 'closed');
    listener.close();
    const refused = guest.connect(ip('10.0.2.2'), 8080);
    await until(() => refused.wasReset);
  });

  test('forwards come and go', async () => {
    const { net, guest } = await open();
    guest.listen(80, (tcp) => tcp.write('hi'));
    const forward = await net.api.forward({ guestPort: 80 });
    expect(net.api.forwards).toEqual([forward]);
    const answer = await new Promise<string>((resolve) => {
      const socket = connect({ host: '127.0.0.1', port: forward.hostPort });
      socket.on('error', () => {});
      socket.once('data', (data: Buffer) => resolve(data.toString()));
    });
    expect(answer).toBe('hi');
    forward.close();
    expect(net.api.forwards).toEqual([]);
    const error = await new Promise<string | undefined>((resolve) => {
      connect({ host: '127.0.0.1', port: forward.hostPort }).once('error', (e: NodeJS.ErrnoException) =>
        resolve(e.code),
      );
    });
    expect(error).toBe('ECONNREFUSED');
    await expect(net.api.forward('tcp:1')).rejects.toThrow(NetError);
  });

  test('other backends say that they cannot', async () => {
    const { api } = await createNet('none');
    expect(() => api.connect(1)).toThrow('--net user');
  });
});
