/**
 * Runs the checks of images/debian-user in a Debian guest, for each CPU model, and natively (in a chroot of the same root
 * file system, as root): whatever is printed must be the same. See docs/guests.md, "Debian userland".
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
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
  --log FILE     appends the guest's console there`;

/** Checks that know by themselves what is right, and print times or "WRONG": natively they are not run. */
const SELF_CHECKING = /^(stress-|openssl-speed$|python-)/;
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
  readonly #report: (result: Result) => void;
  #rest = '';
  #section: string[] = [];
  #output = '';
  done = false;

  constructor(report: (result: Result) => void) {
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
    else if (kind === 'output') this.#section = [];
    else if (kind === 'errors') {
      this.#output = decode(this.#section);
      this.#section = [];
    } else if (kind === 'end') {
      const errors = decode(this.#section);
      this.#report({ name, status: Number(status), output: this.#output, errors, seconds: Number(to) - Number(from) });
    } else if (kind === 'done') this.done = true;
  }
}

async function native(root: string, name: string, environment: NodeJS.ProcessEnv): Promise<Result> {
  const started = performance.now();
  const script = `mount -t proc proc '${root}/proc' && mount --rbind /dev '${root}/dev' && mount -t tmpfs tmpfs '${root}/tmp' &&
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

/** The first line that differs. */
function difference(expected: string, actual: string): string | undefined {
  if (expected === actual) return undefined;
  const [a, b] = [expected.split('\n'), actual.split('\n')];
  const at = a.findIndex((line, i) => line !== b[i]);
  const i = at < 0 ? a.length : at;
  return `line ${i + 1}: natively "${a[i] ?? '(end)'}", in the guest "${b[i] ?? '(end)'}"`;
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
  const all = readdirSync(join(root, 'verify', 'checks')).map((file) => basename(file, '.sh'));
  const only = values.only?.split(',') ?? all;
  const unknown = only.filter((name) => !all.includes(name));
  if (unknown.length > 0) throw new Failure(`no check ${unknown.join()}; there are ${all.join(', ')}`);
  const image = (path: string) => ({ name: basename(path), bytes: readFileSync(path) });

  let wrong = 0;
  for (const cpu of values.cpu) {
    const old = cpu.startsWith('x86-64-v1') || cpu.startsWith('qemu64');
    const expected = new Map<string, Result>();
    for (const name of only)
      if (!SELF_CHECKING.test(name))
        expected.set(name, await native(root, name, old ? { GLIBC_TUNABLES: WITHOUT_AVX } : {}));
    const seen = new Set<string>();
    const report = (guest: Result): void => {
      seen.add(guest.name);
      const host = expected.get(guest.name);
      const failed =
        guest.status === 0 ? undefined : `status ${guest.status}: ${(guest.errors || guest.output).slice(-1500)}`;
      const lines = guest.output.split('\n');
      const differs = host
        ? difference(host.output, guest.output)
        : lines.filter((line) => line.endsWith('WRONG')).join(', ') || undefined;
      const problem = failed ?? differs;
      if (problem !== undefined) wrong++;
      const right = host ? 'as natively' : `right (${lines.length - 1} lines)`;
      const times = `${host ? `native ${host.seconds.toFixed(1)} s, ` : ''}guest ${guest.seconds.toFixed(1)} s`;
      console.log(`${cpu} ${guest.name}: ${problem === undefined ? right : `WRONG, ${problem}`} (${times})`);
    };
    const reader = new Reader(report);
    const started = process.cpuUsage();
    await using machine = await Machine.create({
      kernel: image(values.kernel),
      initrd: image(join(values.dir, 'initrd.cpio')),
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
    const used = process.cpuUsage(started);
    const missing = only.filter((name) => !seen.has(name));
    if (missing.length > 0) {
      wrong++;
      console.log(`${cpu}: the guest ended (${exit.kind}) without ${missing.join(', ')}`);
    }
    const undefinedCodes = Object.entries(machine.stats().unimplemented);
    if (undefinedCodes.length > 0)
      console.log(`${cpu} undefined: ${undefinedCodes.map(([k, n]) => `${k} x${n}`).join(', ')}`);
    console.log(`${cpu}: ${((used.user + used.system) / 1e6).toFixed(0)} processor seconds`);
  }
  console.log(`checks=${only.length * values.cpu.length} wrong=${wrong}`);
  process.exitCode = wrong === 0 ? 0 : 1;
}

runMain('verify:userland', main);
