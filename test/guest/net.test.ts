import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { describe, expect, onTestFinished, test } from 'vitest';
import { bootGuest, expectSerial, type GuestOptions, guestShell } from '../../src/testing.ts';
import { cmdline, ECHO_KERNEL, ENGINE, INITRD } from './support.ts';

const READY_MS = 120_000;

const guest = (app: string, net: string, ip = 'dhcp'): GuestOptions => ({
  kernel: ECHO_KERNEL,
  initrd: INITRD,
  cmdline: cmdline(app, `clearcpuid=smap,smep ip=${ip}`),
  memory: '256M',
  engine: ENGINE,
  timeoutMs: 280_000,
  net,
});

/** Everything the stream gives until it ends. */
async function all(stream: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const sha = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

describe('the echo server inside UKL', () => {
  test('answers clients of every manner', async (context) => {
    const machine = await bootGuest(guest('ukl', 'user,hostfwd=tcp:127.0.0.1:0-:5555'), context);
    await expectSerial(machine, /UKL-EMU: ready/, READY_MS);
    const port = machine.net.forwards[0]!.hostPort;
    const open = async (): Promise<Socket> => {
      const socket = connect({ host: '127.0.0.1', port, noDelay: true, allowHalfOpen: true });
      await once(socket, 'connect');
      return socket;
    };
    const exchange = async (socket: Socket, data: Buffer): Promise<Buffer> => {
      const chunks: Buffer[] = [];
      let length = 0;
      socket.write(data);
      while (length < data.length) {
        const [chunk] = (await once(socket, 'data')) as [Buffer];
        chunks.push(chunk);
        length += chunk.length;
      }
      return Buffer.concat(chunks);
    };

    // single bytes, then 60 at a time
    const socket = await open();
    for (const byte of Buffer.from('abc')) expect(await exchange(socket, Buffer.of(byte))).toEqual(Buffer.of(byte));
    for (let i = 0; i < 200; i++) {
      const message = Buffer.alloc(60, i);
      expect(await exchange(socket, message)).toEqual(message);
    }
    socket.end();
    expect(await all(socket)).toHaveLength(0);

    // a burst, then the end at once
    const burst = randomBytes(9000);
    const second = await open();
    second.end(burst);
    expect((await all(second)).equals(burst)).toBe(true);

    // one after the other, then many at once
    for (let i = 0; i < 100; i++) {
      const each = await open();
      expect((await exchange(each, Buffer.from(`connection ${i}`))).toString()).toBe(`connection ${i}`);
      each.end();
      each.resume();
    }
    await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const each = await open();
        each.end(`number ${i}`);
        expect((await all(each)).toString()).toBe(`number ${i}`);
      }),
    );

    // a reset in the middle
    const broken = await open();
    await exchange(broken, randomBytes(5000));
    broken.write(randomBytes(50_000));
    broken.resetAndDestroy();

    // a slow reader; more than all buffers on the way hold
    const data = randomBytes(8 << 20);
    const slow = await open();
    slow.end(data);
    slow.pause();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const echoed = await all(slow);
    expect(echoed.length).toBe(data.length);
    expect(sha(echoed)).toBe(sha(data));

    // without a socket
    const stream = machine.net.connect(5555);
    stream.end(burst);
    expect((await all(stream)).equals(burst)).toBe(true);
  });
});

test.each(['legacy', 'modern'])('a %s card', async (transport) => {
  const machine = await bootGuest(guest('ukl', `user,transport=${transport}`), { onTestFinished });
  await expectSerial(machine, /UKL-EMU: ready/, READY_MS);
  const stream = machine.net.connect(5555);
  const data = randomBytes(100_000);
  stream.end(data);
  expect((await all(stream)).equals(data)).toBe(true);
});

describe('an ordinary userland', () => {
  test('reaches the gateway by ping, servers of this host and of this program by HTTP', async (context) => {
    const server = createHttpServer((request, response) => response.end(`you asked for ${request.url}\n`));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    context.onTestFinished(() => void server.close());
    const machine = await bootGuest(guest('shell', 'user,hostloopback=on'), context);
    machine.net.listen(8080, (stream) => {
      stream.once('data', () => stream.end('HTTP/1.0 200 OK\r\n\r\nfrom the program\n'));
    });
    await expectSerial(machine, /ukl# /, READY_MS);
    const shell = guestShell(machine);
    const { output, status } = await shell.run('ping -c 2 -W 5 10.0.2.2');
    expect(output).toContain('2 packets received');
    expect(status).toBe(0);
    const { port } = server.address() as AddressInfo;
    expect(await shell.run(`wget -q -O - http://10.0.2.2:${port}/path`)).toEqual({
      output: 'you asked for /path\n',
      status: 0,
    });
    expect((await shell.run('wget -q -O - http://10.0.2.2:8080/')).output).toBe('from the program\n');
    expect((await shell.run('wget -q -O - http://10.0.2.2:1/')).status).not.toBe(0);
    expect((await shell.run('sh -c "exit 7"')).status).toBe(7);
  });
});

test('two machines on a hub ping each other', async (context) => {
  const address = (last: number): string => `10.0.2.${last}:::255.255.255.0::eth0:off`;
  const server = await bootGuest(guest('ukl', 'hub', address(16)), context);
  const client = await bootGuest(guest('shell', 'hub,mac=52:54:00:12:34:57', address(15)), context);
  await Promise.all([
    expectSerial(server, /UKL-EMU: ready/, 2 * READY_MS),
    expectSerial(client, /ukl# /, 2 * READY_MS),
  ]);
  const shell = guestShell(client);
  expect((await shell.run('ping -c 2 -W 9 10.0.2.16')).output).toContain('2 packets received');
  expect((await shell.run('echo hello over UKL | nc -w 5 10.0.2.16 5555')).output).toBe('hello over UKL\n');
});
