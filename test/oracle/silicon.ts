/** The host CPU as an engine: a child process (harness.c) runs the cases and answers with the state after each. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { buildHarness } from './build.ts';
import {
  background,
  type CpuCase,
  type CpuResult,
  DATA_SIZE,
  type Engine,
  initialFx,
  initialSelectors,
  READONLY_SIZE,
} from './types.ts';
import { CASE_BYTES, decodeResults, encodeCase, encodedSize, HELLO_BYTES, RESULT_BYTES } from './wire.ts';

/** The reference CPU, recorded with every run. */
export interface ReferenceCpu {
  readonly vendor: string;
  readonly brand: string;
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
  /** XCR0: which state the operating system enabled. */
  readonly xcr0: number;
}

type Child = ChildProcessByStdio<Writable, Readable, null>;

const BATCH = 1024;
/** A batch of cases that each time out three times takes longer than this; then the child is taken for dead. */
const SILENCE_MS = 20_000;

/** Bytes from a stream, a wanted number at a time. */
class ByteReader {
  readonly #stream: Readable;
  #chunks: Buffer[] = [];
  #available = 0;
  #wake: (() => void) | undefined;
  #ended = false;

  constructor(stream: Readable) {
    this.#stream = stream;
    stream.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#available += chunk.length;
      this.#wake?.();
    });
    const end = () => {
      this.#ended = true;
      this.#wake?.();
    };
    stream.on('close', end);
    stream.on('error', end);
  }

  /** `length` bytes in a buffer of their own, or undefined when the stream ended before. */
  async take(length: number): Promise<Uint8Array | undefined> {
    while (this.#available < length) {
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    const out = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      const first = this.#chunks[0]!;
      const part = first.subarray(0, length - filled);
      out.set(part, filled);
      filled += part.length;
      if (part.length === first.length) this.#chunks.shift();
      else this.#chunks[0] = first.subarray(part.length);
    }
    this.#available -= length;
    return out;
  }

  stop(): void {
    this.#stream.destroy();
  }
}

export class Silicon implements Engine {
  readonly name = 'silicon';
  #child: Child;
  #reader: ByteReader;
  #cpu: ReferenceCpu;
  #buffer = new Uint8Array(1 << 21);
  /** Runs follow one another even when a caller does not wait. */
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(child: Child, reader: ByteReader, cpu: ReferenceCpu) {
    this.#child = child;
    this.#reader = reader;
    this.#cpu = cpu;
  }

  static async start(): Promise<Silicon> {
    const { child, reader, cpu } = await launch();
    return new Silicon(child, reader, cpu);
  }

  get cpu(): ReferenceCpu {
    return this.#cpu;
  }

  run(cases: readonly CpuCase[]): Promise<CpuResult[]> {
    const result = this.#queue.then(async () => {
      const results: CpuResult[] = [];
      for (let i = 0; i < cases.length; i += BATCH) {
        results.push(...(await this.#batch(cases.slice(i, i + BATCH))));
      }
      return results;
    });
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /** Ends the child. */
  close(): void {
    this.#child.stdin.end();
    this.#reader.stop();
    this.#child.kill('SIGKILL');
  }

  async #batch(cases: readonly CpuCase[]): Promise<CpuResult[]> {
    const results = await this.#exchange(cases);
    if (results !== undefined) return results;
    this.close();
    const { child, reader } = await launch();
    this.#child = child;
    this.#reader = reader;
    if (cases.length === 1) return [crashed(cases[0]!)];
    const half = cases.length >> 1;
    return [...(await this.#batch(cases.slice(0, half))), ...(await this.#batch(cases.slice(half)))];
  }

  /** undefined: the child died or fell silent. */
  async #exchange(cases: readonly CpuCase[]): Promise<CpuResult[] | undefined> {
    let size = 8;
    for (const test of cases) size += encodedSize(test);
    if (size > this.#buffer.length) this.#buffer = new Uint8Array(size);
    const view = new DataView(this.#buffer.buffer);
    let at = 8;
    for (const test of cases) at = encodeCase(this.#buffer, view, at, test);
    view.setUint32(0, cases.length, true);
    view.setUint32(4, at - 8, true);
    const child = this.#child;
    const timer = setTimeout(() => child.kill('SIGKILL'), SILENCE_MS);
    try {
      child.stdin.write(this.#buffer.subarray(0, at));
      const header = await this.#reader.take(8);
      if (header === undefined) return undefined;
      const answer = new DataView(header.buffer);
      const body = await this.#reader.take(answer.getUint32(4, true));
      return body === undefined ? undefined : decodeResults(body, answer.getUint32(0, true));
    } finally {
      clearTimeout(timer);
    }
  }
}

async function launch(): Promise<{ child: Child; reader: ByteReader; cpu: ReferenceCpu }> {
  const child = spawn(buildHarness(), [], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.on('error', () => undefined); // a dead child shows as the end of its output
  const reader = new ByteReader(child.stdout);
  const hello = await reader.take(HELLO_BYTES);
  if (hello === undefined) throw new Error('the silicon harness did not start');
  const view = new DataView(hello.buffer);
  if (view.getUint32(80, true) !== CASE_BYTES || view.getUint32(84, true) !== RESULT_BYTES) {
    throw new Error('harness.c and wire.ts disagree about the layout of a case');
  }
  const { data, readonly } = background();
  const contents = new Uint8Array(DATA_SIZE + READONLY_SIZE);
  contents.set(data);
  contents.set(readonly, DATA_SIZE);
  child.stdin.write(contents);
  const signature = view.getUint32(72, true);
  const baseFamily = (signature >> 8) & 15;
  const text = (from: number, length: number) =>
    Buffer.from(hello.subarray(from, from + length))
      .toString('latin1')
      .replace(/\0.*$/s, '')
      .trim();
  const cpu: ReferenceCpu = {
    vendor: text(8, 16),
    brand: text(24, 48),
    family: baseFamily === 15 ? 15 + ((signature >> 20) & 255) : baseFamily,
    model: ((signature >> 4) & 15) | ((signature >> 12) & 0xf0),
    stepping: signature & 15,
    xcr0: view.getUint32(76, true),
  };
  return { child, reader, cpu };
}

function crashed(test: CpuCase): CpuResult {
  return {
    outcome: { kind: 'crash' },
    rip: 0n,
    gpr: test.gpr,
    rflags: test.rflags,
    fsBase: test.fsBase,
    gsBase: test.gsBase,
    ymm: test.ymm,
    mxcsr: test.mxcsr,
    fx: test.fx ?? initialFx(),
    selectors: initialSelectors(test.mode),
    memory: [],
  };
}
