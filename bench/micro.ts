/**
 * How long single things take inside the emulator:
 *
 *     npm run bench:micro                       # a table
 *     npm run bench:micro -- --compare REV      # and that of another commit, with ratios
 *     npm run bench:micro -- --only decoder,port --json
 *     npm run bench:micro -- --update           # writes the table into docs/benchmarks.md
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Bench } from 'tinybench';
import { createDecoder, isFailure } from '../src/cpu/decode/decoder.ts';
import { parseCpu } from '../src/cpu/models.ts';
import { VirtioRng } from '../src/devices/virtio/rng.ts';
import { loadKernel } from '../src/loader/load.ts';
import { BareMetal, USER } from '../test/support/bare-metal.ts';
import { startDevice } from '../test/support/virtio-driver.ts';
import { PciRig } from '../test/unit/devices/virtio/rig.ts';
import { LOOPS, startLoop } from './micro-guests.ts';

const ROOT = join(import.meta.dirname, '..');
/** What an old commit needs of this one. */
const FILES = ['bench/micro.ts', 'bench/micro-guests.ts'];
const GUEST_OPERATIONS = 4096;
const MILLISECONDS = 500;

interface Task {
  readonly name: string;
  /** Operations of one call. */
  readonly operations: number;
  run(): void;
}
/** Nanoseconds an operation, by task: the best of the samples, since a busy machine only ever adds. */
type Result = Readonly<Record<string, number>>;

/** Real code: the start of the kernel that comes along, as far as it decodes. */
async function decoderTask(): Promise<Task> {
  const kernel = await loadKernel(
    { name: 'ukl-echo.bzImage', bytes: readFileSync(join(ROOT, 'images/prebuilt/ukl-echo.bzImage')) },
    { unpack: 'host', maxOutput: 64 << 20 },
  );
  const code = kernel.segments[0]!.data.subarray(0x1000, 0x11000);
  const decode = createDecoder({ features: parseCpu('x86-64-v2') });
  const pass = (): number => {
    let count = 0;
    for (let at = 0; at < code.length - 15; count++) {
      const d = decode(code, at, code.length, 64);
      at += isFailure(d) ? 1 : d.length;
    }
    return count;
  };
  return { name: 'decoder: an instruction', operations: pass(), run: pass };
}

/** 30 blocks of 7 instructions: mov, add, load, lea, cmp, jump on a condition, xor. */
const REGION = `${'4889c84801d8488b13488d4c0208483bca75004831d1'.repeat(30)}ebfe`;
const REGION_INSTRUCTIONS = 30 * 7;

/** A machine whose interpreter has run the region's code once, so that the translator knows all of it. */
function prepared(onModule?: (module: { readonly bytes: Uint8Array }) => void): {
  machine: BareMetal;
  know: () => void;
} {
  const machine = new BareMetal('translator', 'x86-64-v2', { threshold: 1_000_000, ...(onModule && { onModule }) });
  machine.enter('user');
  machine.cpu.processor.setGpr(3, BigInt(USER.data));
  const code = Uint8Array.from(REGION.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  return {
    machine,
    know: () => {
      machine.ram.set(code, machine.codeRam);
      machine.cpu.ramWritten(machine.codeRam, code.length);
      machine.cpu.ip = BigInt(machine.codeAt);
      machine.cpu.run(REGION_INSTRUCTIONS);
      machine.cpu.ip = BigInt(machine.codeAt);
    },
  };
}

/** The same code again and again: each write to it drops the region. */
function translationTask(): Task {
  const { machine, know } = prepared();
  return {
    name: 'translation: a guest instruction, from bytes to a region',
    operations: REGION_INSTRUCTIONS,
    run: () => {
      know();
      if (!machine.cpu.translateHere()) throw new Error('micro: nothing was translated');
    },
  };
}

/** A module of one region; a custom section makes each new to V8. */
function compileTask(): Task | undefined {
  let bytes: Uint8Array | undefined;
  const { machine, know } = prepared((module) => {
    bytes = module.bytes.slice();
  });
  know();
  machine.cpu.translateHere();
  // commits from before `onModule`
  if (!bytes) return undefined;
  let count = 0;
  const module = new Uint8Array(bytes.length + 8);
  module.set(bytes);
  module.set([0, 6, 1, 0x6e], bytes.length);
  return {
    name: `wasm compile: a module of ${bytes.length} bytes`,
    operations: 1,
    run: () => {
      new DataView(module.buffer).setUint32(module.length - 4, count++);
      new WebAssembly.Module(module);
    },
  };
}

function virtqueueTask(): Task {
  const rig = new PciRig(new VirtioRng((into) => into.fill(1)));
  const driver = rig.modern();
  const ring = startDevice(driver, rig.memory)[0]!;
  return {
    name: 'virtqueue: offer, kick, serve, collect',
    operations: 1,
    run: () => {
      ring.add({ address: 0x10_0000, length: 64, writable: true });
      driver.kick(0);
      if (ring.collect().length !== 1) throw new Error('micro: the device did not answer');
    },
  };
}

async function guestTasks(): Promise<Task[]> {
  return Promise.all(
    LOOPS.map(async (loop) => {
      const run = await startLoop(loop);
      return { name: loop.name, operations: GUEST_OPERATIONS, run: () => run(GUEST_OPERATIONS) };
    }),
  );
}

async function measure(only: readonly string[]): Promise<Result> {
  const compile = compileTask();
  const tasks = [
    await decoderTask(),
    translationTask(),
    ...(compile ? [compile] : []),
    ...(await guestTasks()),
    virtqueueTask(),
  ].filter(({ name }) => only.length === 0 || only.some((word) => name.toLowerCase().includes(word.toLowerCase())));
  const bench = new Bench({ time: MILLISECONDS, warmupTime: MILLISECONDS / 2 });
  for (const task of tasks) bench.add(task.name, () => task.run());
  await bench.run();
  return Object.fromEntries(
    bench.tasks.map(({ name, result }) => {
      if (!('latency' in result)) throw new Error(`${name}: ${'error' in result ? result.error : result.state}`);
      return [name, (result.latency.min * 1e6) / tasks.find((task) => task.name === name)!.operations];
    }),
  );
}

/** This program in another process, of this checkout or of another commit. */
function measureIn(directory: string, only: readonly string[]): Result {
  const words = ['--json', ...(only.length > 0 ? ['--only', only.join()] : [])];
  const output = execFileSync(process.execPath, [join(directory, 'bench/micro.ts'), ...words], { encoding: 'utf8' });
  return JSON.parse(output) as Result;
}

/** In turns, twice each; the better of the two. */
function compare(revision: string, only: readonly string[]): void {
  const directory = mkdtempSync(join(tmpdir(), 'ukl-emu-micro-'));
  const git = (...args: string[]): void => void execFileSync('git', ['-C', ROOT, ...args], { stdio: 'pipe' });
  try {
    git('worktree', 'add', '--detach', '--force', directory, revision);
    for (const file of FILES) copyFileSync(join(ROOT, file), join(directory, file));
    if (!existsSync(join(directory, 'node_modules')))
      symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
    const runs = [0, 1].map(() => ({ old: measureIn(directory, only), now: measureIn(ROOT, only) }));
    const best = (side: 'old' | 'now', name: string): number =>
      Math.min(...runs.map((run) => run[side][name] ?? Number.POSITIVE_INFINITY));
    console.log(`| ns | ${revision} | now | now / ${revision} |\n| --- | ---: | ---: | ---: |`);
    for (const name of Object.keys(runs[0]!.now)) {
      const [old, now] = [best('old', name), best('now', name)];
      const known = Number.isFinite(old);
      console.log(
        `| ${name} | ${known ? old.toPrecision(3) : ''} | ${now.toPrecision(3)} | ${known ? (now / old).toFixed(2) : ''} |`,
      );
    }
  } finally {
    git('worktree', 'remove', '--force', directory);
    rmSync(directory, { recursive: true, force: true });
  }
}

const { values } = parseArgs({
  options: {
    compare: { type: 'string' },
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
    update: { type: 'boolean', default: false },
  },
});
const only = values.only?.split(',') ?? [];
if (values.compare !== undefined) compare(values.compare, only);
else {
  const result = await measure(only);
  if (values.json) console.log(JSON.stringify(result));
  else {
    const rows = Object.entries(result).map(
      ([name, ns]) => `| ${name} | ${ns.toPrecision(3)} | ${Math.round(1e9 / ns).toLocaleString('en')} |`,
    );
    const text = ['| | ns | a second |', '| --- | ---: | ---: |', ...rows].join('\n');
    console.log(text);
    if (values.update) await updateDocument(text);
  }
}

/** Imported when needed: an old commit that is compared with has no such modules. */
async function updateDocument(text: string): Promise<void> {
  const [{ environment }, { insertSection }] = await Promise.all([import('./context.ts'), import('./report.ts')]);
  const path = join(ROOT, 'docs/benchmarks.md');
  const { date, processor, node, commit } = environment();
  const from = `\`npm run bench:micro\`, ${date}, commit ${commit}, ${processor}, Node ${node}.`;
  writeFileSync(path, insertSection(readFileSync(path, 'utf8'), 'micro', `${text}\n\n${from}`));
}
