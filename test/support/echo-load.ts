import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** Mixed load for the echo server in a guest. Every byte that comes back is compared with what was sent in its place. */

export interface LoadTarget {
  readonly host: string;
  readonly port: number;
}

export interface LoadResult {
  connections: number;
  bytes: number;
  resets: number;
}

/**
 * Longest silence on a connection that waits for bytes, counted in seconds this process has lived through: where the whole machine is
 * paused for a minute, nobody is at fault.
 */
const SILENCE_SECONDS = 60;
/** Prime, so that what is lost or changes places shows whatever its length. */
const BLOCK = randomBytes(65_521);

/** `length` bytes of an endless sequence that is another for each `seed`, from `position` on. */
function sequence(seed: number, position: number, length: number): Buffer {
  const parts: Buffer[] = [];
  for (let at = (seed + position) % BLOCK.length, left = length; left > 0; at = 0) {
    const part = BLOCK.subarray(at, at + left);
    parts.push(part);
    left -= part.length;
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const between = (low: number, high: number): number => low + Math.floor(Math.random() * (high - low));

/** One connection, whose two directions each have a position in the sequence. */
class Conversation {
  readonly #socket: Socket;
  readonly #seed = between(0, BLOCK.length);
  readonly #total: LoadResult;
  #sent = 0;
  #received = 0;
  #problem: Error | undefined;
  #wake: () => void = () => {};

  private constructor(socket: Socket, total: LoadResult) {
    this.#socket = socket;
    this.#total = total;
    let silent = 0;
    const watch = setInterval(() => {
      if (++silent > SILENCE_SECONDS) socket.destroy(new Error(`nothing came for ${SILENCE_SECONDS} s`));
    }, 1000);
    socket.on('data', (chunk: Buffer) => {
      silent = 0;
      if (!sequence(this.#seed, this.#received, chunk.length).equals(chunk)) {
        socket.destroy(new Error(`wrong bytes within ${chunk.length} from byte ${this.#received} on`));
        return;
      }
      this.#received += chunk.length;
      total.bytes += chunk.length;
      this.#wake();
    });
    socket.on('error', (error) => (this.#problem = error));
    socket.on('close', () => {
      clearInterval(watch);
      this.#problem ??= new Error(`closed after ${this.#received} of ${this.#sent} bytes`);
      this.#wake();
    });
  }

  static async open({ host, port }: LoadTarget, total: LoadResult): Promise<Conversation> {
    const socket = connect({ host, port, noDelay: true, allowHalfOpen: true });
    const conversation = new Conversation(socket, total);
    await once(socket, 'connect');
    total.connections++;
    return conversation;
  }

  /** Sends bytes and does not wait. */
  send(length: number): void {
    this.#socket.write(sequence(this.#seed, this.#sent, length));
    this.#sent += length;
  }

  /** Waits for all that has been sent. */
  async echoed(): Promise<void> {
    while (this.#received < this.#sent) {
      if (this.#problem !== undefined) throw this.#problem;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** Stops reading for a while. */
  async lookAway(ms: number): Promise<void> {
    this.#socket.pause();
    await pause(ms);
    this.#socket.resume();
  }

  /** Ends this side, and waits for all bytes and the server's end. */
  async end(): Promise<void> {
    const closed = once(this.#socket, 'close');
    this.#socket.end();
    await this.echoed();
    await closed;
  }

  reset(): void {
    this.#total.resets++;
    this.#socket.resetAndDestroy();
  }
}

/** Runs everything at once until `ms` have passed. Rejects with the first wrong or missing byte. */
export async function mixedLoad(target: LoadTarget, ms: number): Promise<LoadResult> {
  const total: LoadResult = { connections: 0, bytes: 0, resets: 0 };
  const until = performance.now() + ms;
  const going = (): boolean => performance.now() < until;
  const open = (): Promise<Conversation> => Conversation.open(target, total);

  const small = async (): Promise<void> => {
    while (going()) {
      const conversation = await open();
      for (let i = 0; i < 200 && going(); i++) {
        conversation.send(between(1, 1500));
        await conversation.echoed();
        await pause(between(0, 10));
      }
      await conversation.end();
    }
  };
  const short = async (): Promise<void> => {
    for (; going(); await pause(between(0, 40))) {
      const conversation = await open();
      conversation.send(between(1, 9000));
      await conversation.end();
    }
  };
  const bulk = async (): Promise<void> => {
    for (; going(); await pause(500)) {
      const conversation = await open();
      for (let i = 0; i < 16; i++) conversation.send(between(1, 200_000));
      await conversation.end();
    }
  };
  const slow = async (): Promise<void> => {
    for (; going(); await pause(500)) {
      const conversation = await open();
      conversation.send(1_000_000);
      await conversation.lookAway(between(100, 2000));
      await conversation.end();
    }
  };
  const broken = async (): Promise<void> => {
    for (; going(); await pause(between(50, 500))) {
      const conversation = await open();
      conversation.send(between(1, 100_000));
      await pause(between(0, 20));
      conversation.reset();
    }
  };
  const crowd = async (): Promise<void> => {
    for (; going(); await pause(3000)) {
      const all = await Promise.all(Array.from({ length: 30 }, open));
      for (const conversation of all) conversation.send(between(1, 3000));
      await Promise.all(all.map((conversation) => conversation.end()));
    }
  };
  await Promise.all([small(), small(), short(), bulk(), slow(), broken(), crowd()]);
  return total;
}
