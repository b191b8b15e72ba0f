import { connect, type Socket } from 'node:net';

/** A client of GDB's remote serial protocol (GDB manual, appendix E) over a Unix socket, as far as QEMU's stub is asked here. */
export class GdbRemote {
  readonly #socket: Socket;
  readonly #packets: string[] = [];
  readonly #waiting: { resolve: (packet: string) => void; reject: (reason: Error) => void }[] = [];
  #received = '';
  #failed: Error | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (data) => this.#receive(data.toString('latin1')));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('QEMU has closed its gdb port')));
  }

  static connect(path: string): Promise<GdbRemote> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new GdbRemote(socket));
      });
    });
  }

  /** Sends a packet; resolves with the answer. */
  async ask(packet: string): Promise<string> {
    this.send(packet);
    return await this.#next();
  }

  send(packet: string): void {
    let sum = 0;
    for (const c of packet) sum = (sum + c.charCodeAt(0)) & 0xff;
    this.#socket.write(`$${packet}#${sum.toString(16).padStart(2, '0')}`);
  }

  /** Runs a command of QEMU's monitor; resolves with what it prints. */
  async monitor(command: string): Promise<string> {
    this.send(`qRcmd,${Buffer.from(command).toString('hex')}`);
    for (let output = ''; ; ) {
      const packet = await this.#next();
      if (packet === 'OK') return output;
      if (!packet.startsWith('O')) throw new Error(`monitor command "${command}": ${packet}`);
      output += Buffer.from(packet.slice(1), 'hex').toString();
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #next(): Promise<string> {
    const packet = this.#packets.shift();
    if (packet !== undefined) return Promise.resolve(packet);
    if (this.#failed) return Promise.reject(this.#failed);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  #receive(data: string): void {
    this.#received += data;
    for (;;) {
      const match = /\$([^#]*)#../.exec(this.#received);
      if (match === null) return;
      this.#received = this.#received.slice(match.index + match[0].length);
      this.#socket.write('+');
      const waiting = this.#waiting.shift();
      if (waiting) waiting.resolve(match[1]!);
      else this.#packets.push(match[1]!);
    }
  }

  #fail(error: Error): void {
    this.#failed ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failed);
  }
}
