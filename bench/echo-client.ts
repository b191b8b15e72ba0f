import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** A client of the echo server in the guest: what it has to be able to do, and how fast it does it. */

export interface Target {
  readonly host: string;
  readonly port: number;
}

/** Figures by name; names end in their unit. */
export type Figures = Record<string, number>;

/** Longest silence before a test is given up, counted in seconds this process has lived through: the whole machine may have been paused. */
const SILENCE_SECONDS = 30;

async function open({ host, port }: Target): Promise<Socket> {
  const socket = connect({ host, port, noDelay: true, allowHalfOpen: true });
  await once(socket, 'connect');
  let silent = 0;
  let received = 0;
  const watch = setInterval(() => {
    silent = socket.bytesRead === received ? silent + 1 : 0;
    received = socket.bytesRead;
    if (silent > SILENCE_SECONDS) socket.destroy(new Error(`nothing came back for ${SILENCE_SECONDS} s`));
  }, 1000).unref();
  socket.once('close', () => clearInterval(watch));
  return socket;
}

function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

/** Waits for the server to close as well, after all bytes have come; none may be left over. */
async function closed(socket: Socket): Promise<void> {
  socket.end();
  for await (const chunk of socket) check((chunk as Buffer).length === 0, 'bytes that nobody sent');
}

/** Bytes that come back from `socket` until it ends or `length` of them are there. */
function receive(socket: Socket, length: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let received = 0;
    const done = (error?: Error): void => {
      socket.off('data', onData).off('end', onEnd).off('error', done);
      if (error) reject(error);
      else resolve(Buffer.concat(chunks));
    };
    const onEnd = (): void => done(new Error(`the connection ended after ${received} of ${length} bytes`));
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk);
      received += chunk.length;
      if (received >= length) done();
    };
    socket.on('data', onData).on('end', onEnd).on('error', done);
  });
}

async function exchange(socket: Socket, data: Buffer): Promise<void> {
  const answer = receive(socket, data.length);
  socket.write(data);
  check((await answer).equals(data), `${data.length} bytes came back changed`);
}

/** Sends `total` bytes of pseudo-random data, reads them back and compares their SHA-256; `readerDelayMs` makes the reader slow. */
async function bulk(target: Target, total: number, readerDelayMs = 0): Promise<Figures> {
  const socket = await open(target);
  const block = randomBytes(1 << 20);
  const sent = createHash('sha256');
  const received = createHash('sha256');
  let count = 0;
  const start = performance.now();
  const writing = (async () => {
    for (let left = total; left > 0; ) {
      const part = left >= block.length ? block : block.subarray(0, left);
      sent.update(part);
      left -= part.length;
      if (!socket.write(part)) await once(socket, 'drain');
    }
    socket.end();
  })();
  if (readerDelayMs > 0) await new Promise((resolve) => setTimeout(resolve, readerDelayMs));
  for await (const chunk of socket) {
    received.update(chunk as Buffer);
    count += (chunk as Buffer).length;
  }
  await writing;
  const seconds = (performance.now() - start) / 1000;
  check(count === total, `${count} of ${total} bytes came back`);
  check(received.digest('hex') === sent.digest('hex'), `SHA-256 differs over ${total} bytes`);
  return { 'MB/s each way': total / 1e6 / seconds, MB: total / 1e6 };
}

/** Round trips of `size` bytes, one at a time, for `seconds`. */
async function lockstep(target: Target, size: number, seconds: number): Promise<Figures> {
  const socket = await open(target);
  const message = randomBytes(size);
  const times: number[] = [];
  await new Promise<void>((resolve, reject) => {
    let start = performance.now();
    let sentAt = start;
    let received = 0;
    let warm = false;
    socket.on('error', reject);
    socket.on('end', () => reject(new Error('the connection ended')));
    socket.on('data', (chunk: Buffer) => {
      if (!chunk.equals(message.subarray(received, received + chunk.length)))
        reject(new Error('other bytes came back'));
      received += chunk.length;
      if (received < size) return;
      const now = performance.now();
      times.push(now - sentAt);
      received = 0;
      if (!warm && now - start > 500) {
        // what happened until here was for both sides to get going
        warm = true;
        times.length = 0;
        start = now;
      } else if (now - start > seconds * 1000) {
        socket.removeAllListeners('data').removeAllListeners('end');
        resolve();
        return;
      }
      sentAt = performance.now();
      socket.write(message);
    });
    socket.write(message);
  });
  await closed(socket);
  const sum = times.reduce((total, time) => total + time, 0);
  times.sort((a, b) => a - b);
  const us = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))]! * 1000;
  return { 'round trips/s': times.length / (sum / 1000), 'median us': us(0.5), 'p99 us': us(0.99) };
}

/** Connections one after the other, each with one exchange and a close from this side, until the time or the number is reached. */
async function connects(target: Target, most: number, seconds: number): Promise<Figures> {
  const start = performance.now();
  let count = 0;
  while (count < most && performance.now() - start < seconds * 1000) {
    const socket = await open(target);
    await exchange(socket, Buffer.from(`connection ${count++}`));
    await closed(socket);
  }
  return { 'connections/s': count / ((performance.now() - start) / 1000), connections: count };
}

async function atOnce(target: Target, count: number): Promise<Figures> {
  const start = performance.now();
  await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const socket = await open(target);
      await exchange(socket, randomBytes(100 + i));
      await closed(socket);
    }),
  );
  return { 'all done ms': performance.now() - start };
}

async function singleBytes(target: Target): Promise<Figures> {
  const socket = await open(target);
  for (let i = 0; i < 256; i++) await exchange(socket, Buffer.of(i));
  await closed(socket);
  return {};
}

async function burst(target: Target): Promise<Figures> {
  const data = randomBytes(9000);
  const socket = await open(target);
  const answer = receive(socket, data.length);
  socket.end(data);
  check((await answer).equals(data), '9000 bytes came back changed');
  await closed(socket);
  return {};
}

/** Connections torn down while data is under way; the server has to be as well as before. */
async function resets(target: Target): Promise<Figures> {
  for (let i = 0; i < 20; i++) {
    const socket = await open(target);
    await exchange(socket, randomBytes(5000));
    socket.write(randomBytes(50_000));
    await new Promise((resolve) => setTimeout(resolve, i));
    socket.resetAndDestroy();
  }
  return singleBytes(target);
}

/** Every test by name. `scale` 1 is what the acceptance asks for; speed tests last `seconds`. */
export const TESTS: Record<string, (target: Target, scale: number, seconds: number) => Promise<Figures>> = {
  single: singleBytes,
  burst,
  reset: resets,
  parallel: (target) => atOnce(target, 200),
  slow: (target, scale) => bulk(target, Math.round(16e6 * scale), 2000),
  bulk: (target, scale) => bulk(target, Math.round(100e6 * scale)),
  connects: (target, scale) => connects(target, Math.round(10_000 * scale), Number.POSITIVE_INFINITY),
  lockstep: (target, _scale, seconds) => lockstep(target, 60, seconds),
  'connect-rate': (target, _scale, seconds) => connects(target, Number.POSITIVE_INFINITY, seconds),
};
