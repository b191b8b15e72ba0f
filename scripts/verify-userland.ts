/**
 * Runs the checks of images/debian-user in a Debian guest, for each CPU model, and natively (in a chroot of the same root
 * file system, as root): whatever is printed must be the same. See docs/guests.md, "Debian userland".
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { cpio, type Entry } from '../images/cpio.ts';
import { CACHE, capture, Failure, runMain } from '../images/support.ts';
import { Machine } from '../src/index.ts';

const USAGE = `npm run verify:userland -- [options]
  --cpu MODEL    CPU model, repeatable (default: max and x86-64-v1)
  --only NAMES   only these checks, separated by commas
  --engine NAME  auto (default) or interpreter
  --clock NAME   instructions (default: a run can be repeated exactly) or host
  --memory SIZE  guest RAM (default 2G)
  --minutes N    limit for each model (default 240)
  --dir DIR      what npm run images:debian-user built (default: its default)
  --kernel FILE  default: the cloud kernel that npm run images:debian fetched
  --log FILE     appends the guest's console there
  --lines        also prints each line of a check as it comes, with the guest and processor seconds that it took`;

/** Checks, programs and init.sh; the image's own may be older. */
const SOURCES = join(import.meta.dirname, '..', 'images', 'debian-user');
/** Prints figures of the machine; what it computes it verifies itself. */
const UNCOMPARED = 'openssl-speed';
/** Natively glibc chooses its functions by these; a guest of the first level has none of them. */
const WITHOUT_AVX =
  'glibc.cpu.hwcaps=-AVX2,-AVX,-FMA,-FMA4,-AVX512F,-AVX512VL,-BMI2,-ERMS,-FSRM,-SSE4_1,-SSE4_2,-SSSE3';

interface Result {
  readonly name: string;
  readonly status: number;
  readonly output: string;
  readonly errors: string;
  /** Guest seconds. */
  readonly seconds: number;
}
const decode = (lines: readonly string[]): string => Buffer.from(lines.join(''), 'base64').toString();

/** Reads the console as init.sh writes it. */
class Reader {
  readonly #progress: (line: string) => void;
  readonly #report: (result: Result) => void;
  #rest = '';
  #section: string[] = [];
  #output = '';

  constructor(progress: (line: string) => void, report: (result: Result) => void) {
    this.#progress = progress;
    this.#report = report;
  }
  add(text: string): void {
    const lines = (this.#rest + text).split(/\r*\n/);
    this.#rest = lines.pop()!;
    for (const line of lines) this.#line(line);
  }
  #line(line: string): void {
    const [word, kind, name = '', status, from, to] = line.split(' ');
    if (word !== 'verify') this.#section.push(line);
    else if (kind === 'start') this.#progress(`start ${name}`);
    else if (kind === 'line') this.#progress(line.slice('verify line '.length));
    else if (kind === 'output') this.#section = [];
    else if (kind === 'errors') {
      this.#output = decode(this.#section);
      this.#section = [];
    } else if (kind === 'end') {
      const errors = decode(this.#section);
      this.#report({ name, status: Number(status), output: this.#output, errors, seconds: Number(to) - Number(from) });
    }
  }
}

async function native(root: string, name: string, environment: NodeJS.ProcessEnv): Promise<Result> {
  const started = performance.now();
  const script = `mount -t proc proc '${root}/proc' && mount --rbind /dev '${root}/dev' && mount -t tmpfs tmpfs '${root}/tmp' &&
    mount --bind '${SOURCES}/checks' '${root}/verify/checks' && mount --bind '${SOURCES}/programs' '${root}/verify/programs' &&
    exec chroot '${root}' sh -c 'cd /tmp && exec sh /verify/checks/${name}.sh'`;
  const env = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    LC_ALL: 'C',
    ...environment,
  };
  const { status, stdout, stderr } = await capture('unshare', ['--mount', 'sh', '-c', script], { env });
  const seconds = (performance.now() - started) / 1000;
  return { name, status, output: stdout.toString(), errors: stderr, seconds };
}

/** An archive with today's checks, which the kernel unpacks over those of the image. */
function checks(): Buffer {
  const file = (path: string): Entry => ({
    kind: 'file',
    path: `verify/${path}`,
    mode: 0o755,
    content: readFileSync(join(SOURCES, path)),
  });
  const directory = (path: string): Entry[] => [
    { kind: 'directory', path: `verify/${path}` },
    ...readdirSync(join(SOURCES, path)).map((name) => file(join(path, name))),
  ];
  return cpio([file('init.sh'), ...directory('checks'), ...directory('programs')], 0);
}

/** The first line that differs. */
function difference(expected: string, actual: string): string | undefined {
  if (expected === actual) return undefined;
  const [a, b] = [expected.split('\n'), actual.split('\n')];
  const at = a.findIndex((line, i) => line !== b[i]);
  const i = at < 0 ? a.length : at;
  return `line ${i + 1}: natively "${a[i] ?? '(end)'}", in the guest "${b[i] ?? '(end)'}"`;
}

function processorSeconds(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1e6;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      cpu: { type: 'string', multiple: true, default: ['max', 'x86-64-v1'] },
      only: { type: 'string' },
      engine: { type: 'string', default: 'auto' },
      clock: { type: 'string', default: 'instructions' },
      memory: { type: 'string', default: '2G' },
      minutes: { type: 'string', default: '240' },
      dir: { type: 'string', default: join(CACHE, 'debian-user') },
      kernel: { type: 'string', default: join(CACHE, 'debian', 'cloud.vmlinuz') },
      log: { type: 'string' },
      lines: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  if (process.getuid?.() !== 0) throw new Failure('the native runs need root, for chroot');
  const { engine, clock } = values;
  if (engine !== 'auto' && engine !== 'interpreter') throw new Failure(`--engine ${engine}: not auto or interpreter`);
  if (clock !== 'instructions' && clock !== 'host') throw new Failure(`--clock ${clock}: not instructions or host`);
  const root = resolve(values.dir, 'root');
  const all = readdirSync(join(SOURCES, 'checks')).map((file) => basename(file, '.sh'));
  const only = values.only?.split(',') ?? all;
  const unknown = only.filter((name) => !all.includes(name));
  if (unknown.length > 0) throw new Failure(`no check ${unknown.join()}; there are ${all.join(', ')}`);
  const image = (path: string) => ({ name: basename(path), bytes: readFileSync(path) });
  const initrd = Buffer.concat([readFileSync(join(values.dir, 'initrd.cpio')), checks()]);

  let wrong = 0;
  for (const cpu of values.cpu) {
    const old = cpu.startsWith('x86-64-v1') || cpu.startsWith('qemu64');
    const expected = new Map<string, Result>();
    for (const name of only) expected.set(name, await native(root, name, old ? { GLIBC_TUNABLES: WITHOUT_AVX } : {}));
    const seen = new Set<string>();
    const report = (guest: Result): void => {
      seen.add(guest.name);
      const host = expected.get(guest.name);
      const failed =
        guest.status === 0 ? undefined : `status ${guest.status}: ${(guest.errors || guest.output).slice(-1500)}`;
      const compared = guest.name !== UNCOMPARED;
      const lines = guest.output.split('\n');
      const wrongLines = lines.filter((line) => line.endsWith('WRONG')).join(', ') || undefined;
      const differs = compared && host ? difference(host.output, guest.output) : undefined;
      const problem = failed ?? wrongLines ?? differs;
      if (problem !== undefined) wrong++;
      const right = compared ? `as natively (${lines.length - 1} lines)` : 'right';
      const processor = `processor ${(processorSeconds(started) - begun).toFixed(1)} s`;
      const times = `native ${host?.seconds.toFixed(1)} s, guest ${guest.seconds.toFixed(1)} s, ${processor}`;
      console.log(`${cpu} ${guest.name}: ${problem === undefined ? right : `WRONG, ${problem}`} (${times})`);
    };
    let begun = 0;
    let last = { guest: 0, processor: 0 };
    const progress = (line: string): void => {
      const now = { guest: machine.stats().guestNs / 1e9, processor: processorSeconds(started) };
      if (line.startsWith('start ')) begun = now.processor;
      if (!values.lines) return;
      const [guest, processor] = [now.guest - last.guest, now.processor - last.processor];
      console.log(`  ${line} (guest ${guest.toFixed(2)} s, processor ${processor.toFixed(1)} s)`);
      last = now;
    };
    const reader = new Reader(progress, report);
    const started = process.cpuUsage();
    await using machine = await Machine.create({
      kernel: image(values.kernel),
      initrd: { name: 'initrd.cpio', bytes: initrd },
      cmdline: `console=ttyS0 quiet mitigations=off rdinit=/verify/init.sh verify=${only.join()}`,
      memory: values.memory,
      cpu,
      engine,
      clock,
      timeoutMs: Number(values.minutes) * 60_000,
    });
    machine.serial.onData((bytes) => {
      const text = Buffer.from(bytes).toString();
      if (values.log !== undefined) writeFileSync(values.log, text, { flag: 'a' });
      reader.add(text);
    });
    const exit = await machine.run();
    const missing = only.filter((name) => !seen.has(name));
    if (missing.length > 0) {
      wrong++;
      console.log(`${cpu}: the guest ended (${exit.kind}) without ${missing.join(', ')}`);
    }
    const undefinedCodes = Object.entries(machine.stats().unimplemented);
    if (undefinedCodes.length > 0)
      console.log(`${cpu} undefined: ${undefinedCodes.map(([k, n]) => `${k} x${n}`).join(', ')}`);
    console.log(`${cpu}: ${processorSeconds(started).toFixed(0)} processor seconds`);
  }
  console.log(`checks=${only.length * values.cpu.length} wrong=${wrong}`);
  process.exitCode = wrong === 0 ? 0 : 1;
}

runMain('verify:userland', main);
