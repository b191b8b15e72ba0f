import { connect, type Socket } from 'node:net';
import { Failure } from './support.ts';

/** A connection to the echo server under test. */
class Client {
  private readonly socket: Socket;
  private received = 0;
  private wrong = false;
  private wake: () => void = () => {};
  private closed = false;
  private expected: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      const part = this.expected.subarray(this.received, this.received + chunk.length);
      this.wrong ||= !part.equals(chunk);
      this.received += chunk.length;
      this.wake();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.wake();
    });
  }

  static async open(port: number): Promise<Client> {
    const socket = connect(port, '127.0.0.1');
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', () => reject(new Failure('echo: the connection was refused')));
    });
    return new Client(socket);
  }

  private async until(done: () => boolean, what: string): Promise<void> {
    const deadline = setTimeout(() => this.socket.destroy(new Error('timeout')), 20_000);
    while (!done()) {
      if (this.closed) throw new Failure(`echo: the connection ended ${what} (${this.received} bytes came back)`);
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    clearTimeout(deadline);
    if (this.wrong) throw new Failure('echo: other bytes came back than were sent');
  }

  /** Sends and waits until just that has come back; `last` closes this side in the same breath. */
  async exchange(data: Buffer, last = false): Promise<void> {
    this.expected = data;
    this.received = 0;
    if (last) this.socket.end(data);
    else this.socket.write(data);
    await this.until(() => this.received >= data.length, 'before all came back');
  }

  /** Waits for the server to close; it must do so after we have. */
  async close(): Promise<void> {
    this.socket.end();
    await this.until(() => this.closed, 'never');
  }
}

function pattern(size: number, seed: number): Buffer {
  return Buffer.from(Array.from({ length: size }, (_, i) => (i * 7 + seed * 13) & 0xff));
}

/** What an echo server must be able to do, each part with the milliseconds it took. */
export async function checkEcho(port: number): Promise<Record<string, number>> {
  const times: Record<string, number> = {};
  const timed = async (name: string, work: () => Promise<void>) => {
    const started = performance.now();
    await work();
    times[name] = Math.round((performance.now() - started) * 10) / 10;
  };

  await timed('first', async () => (await Client.open(port)).exchange(pattern(1, 0), true));
  await timed('bytes256', async () => {
    const client = await Client.open(port);
    for (let i = 0; i < 256; i++) await client.exchange(Buffer.of(i));
    await client.close();
  });
  await timed('connections8x10x1400', async () => {
    const one = async (seed: number) => {
      const client = await Client.open(port);
      for (let i = 0; i < 10; i++) await client.exchange(pattern(1400, seed * 10 + i));
      await client.close();
    };
    await Promise.all(Array.from({ length: 8 }, (_, seed) => one(seed)));
  });
  await timed('burst9000', async () => {
    const client = await Client.open(port);
    await client.exchange(pattern(9000, 1), true);
    await client.close();
  });
  await timed('connects1000', async () => {
    for (let i = 0; i < 1000; i++) {
      const client = await Client.open(port);
      await client.exchange(Buffer.of(i & 0xff));
      await client.close();
    }
  });
  // And it must still be there after all this.
  await timed('again', async () => (await Client.open(port)).exchange(pattern(100, 2), true));
  return times;
}
