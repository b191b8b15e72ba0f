/**
 * Boots every image under QEMU without acceleration and checks what it does: `npm run images:qemu [-- NAME...]`.
 * The results, with processor seconds, go to images/.build/qemu.json.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { access, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { checkEcho } from './echo-check.ts';
import { requireTools } from './packages.ts';
import { BUILD, childCpuSeconds, Failure, OUT, PREBUILT, run, runMain, withCleanup } from './support.ts';

const QEMU = 'qemu-system-x86_64';
const KERNEL_WORDS = 'console=ttyS0 net.ifnames=0 biosdevname=0 nowatchdog mitigations=off panic=-1';
const NO_SMAP = 'clearcpuid=smap,smep';

type Details = Record<string, number | string>;

interface Case {
  name: string;
  kernel: string;
  /** Words added to the command line. */
  append: string;
  initrd?: string;
  /** With a network card, by default on PCI. */
  network?: boolean | 'virtio-net-device';
  memory?: number;
  machine?: readonly string[];
  check: (guest: Guest) => Promise<Details>;
}

/** A running guest and what it has written so far. */
class Guest {
  readonly port: number;
  readonly scratch: string;
  output = '';
  private readonly process: ChildProcess;
  private status: number | null | undefined;
  private wake: () => void = () => {};

  constructor(process: ChildProcess, port: number, scratch: string) {
    this.process = process;
    this.port = port;
    this.scratch = scratch;
    const collect = (chunk: Buffer) => {
      this.output += chunk.toString('latin1');
      this.wake();
    };
    process.stdout?.on('data', collect);
    process.stderr?.on('data', collect);
    process.once('close', (status) => {
      this.status = status;
      this.wake();
    });
  }

  private async until(done: () => boolean, seconds: number, what: string): Promise<void> {
    const deadline = Date.now() + seconds * 1000;
    while (!done()) {
      const left = deadline - Date.now();
      if (left <= 0) throw new Failure(`${what} did not come in ${seconds} s`);
      if (this.status !== undefined) throw new Failure(`${what} did not come before QEMU ended (${this.status})`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Waits for a text on the serial console. */
  expect(text: string, seconds = 60): Promise<void> {
    return this.until(() => this.output.includes(text), seconds, `"${text}"`);
  }

  /** Waits for the guest to switch itself off. */
  async expectPowerOff(seconds = 120): Promise<void> {
    await this.until(() => this.status !== undefined || this.output.includes('Power down'), seconds, 'power-off');
    const deadline = Date.now() + 5000;
    while (this.status === undefined && Date.now() < deadline)
      await new Promise<void>((resolve) => {
        this.wake = resolve;
        setTimeout(resolve, 100);
      });
    if (this.status !== 0) throw new Failure(`QEMU should have ended with the guest's power-off (${this.status})`);
    if (!this.output.includes('reboot: Power down')) throw new Failure('QEMU ended without a power-off of the guest');
  }

  async stop(): Promise<void> {
    if (this.status !== undefined) return;
    this.process.kill('SIGKILL');
    while (this.status === undefined)
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
  }

  /** The uptime /init has printed. */
  initUptime(): number {
    return Number(/UKL-EMU: init ([\d.]+)/.exec(this.output)?.[1] ?? Number.NaN);
  }
}

async function echo(guest: Guest): Promise<Details> {
  await guest.expect('UKL-EMU: ready');
  return { init: guest.initUptime(), ...(await checkEcho(guest.port)) };
}

async function powerOff(guest: Guest): Promise<Details> {
  await guest.expect('UKL-EMU: init');
  await guest.expectPowerOff();
  return { init: guest.initUptime() };
}

const BENCH_NAMES = [
  ...['empty-loop', 'getppid', 'select-10', 'poll-10', 'epoll-10', 'mmap-65536', 'munmap-65536'],
  ...['page-fault-heap', 'page-fault-stack', 'context-switch', 'fork-wait'],
  ...['read', 'write'].flatMap((name) => [1, 64, 1024, 4096, 16384].map((size) => `${name}-${size}`)),
  ...['send-tcp', 'recv-tcp', 'send-unix', 'recv-unix'].flatMap((name) =>
    [1, 1024, 4096].map((size) => `${name}-${size}`),
  ),
];

function bench(variants: readonly string[]) {
  return async (guest: Guest): Promise<Details> => {
    await guest.expect('UKL-BENCH done', 180);
    await guest.expectPowerOff();
    const line = /^UKL-BENCH name=(\S+) variant=(\S+) n=(\d+) ns=(\d+\.\d) tsc=(\d+\.\d)/gm;
    const found = new Map([...guest.output.matchAll(line)].map((m) => [`${m[1]} ${m[2]}`, Number(m[4])]));
    const wanted = variants.flatMap((variant) => BENCH_NAMES.map((name) => `${name} ${variant}`));
    const missing = wanted.filter((key) => !found.has(key));
    if (missing.length > 0) throw new Failure(`no result for ${missing.join(', ')}`);
    return Object.fromEntries(found);
  };
}

async function full(guest: Guest): Promise<Details> {
  const details = await echo(guest);
  const signs = [/Brought up .*2 CPUs/, /\[vda\] /, /hpet0: /, /PM-Timer/, /PF_INET6/];
  const absent = signs.filter((sign) => !sign.test(guest.output));
  if (absent.length > 0) throw new Failure(`the kernel does not mention ${absent.join(' ')}`);
  return details;
}

async function selftest(guest: Guest): Promise<Details> {
  await guest.expect('UKL-TEST done', 120);
  const failed = [...guest.output.matchAll(/UKL-TEST name=(\S+) FAILED/g)].map((match) => match[1]);
  if (failed.length > 0) throw new Failure(`the self-test says: ${failed.join(', ')}`);
  await guest.expectPowerOff();
  return { parts: [...guest.output.matchAll(/UKL-TEST name=\S+ ok/g)].length };
}

/** 104 frames of a page, of which the kernel has given the stack a few: the others cost a double fault each. */
async function stackWalk(guest: Guest): Promise<Details> {
  await guest.expect('UKL-TEST name=stack-walk ok');
  await guest.expectPowerOff();
  let doubleFaults = 0;
  for await (const line of createInterface({ input: createReadStream(join(guest.scratch, 'int.log')) }))
    if (/^\s*\d+: v=08 e=0000/.test(line)) doubleFaults++;
  if (doubleFaults < 95 || doubleFaults > 108) throw new Failure(`${doubleFaults} double faults instead of about 101`);
  return { doubleFaults };
}

/** A processor that has SMAP, and a kernel that was not told to ignore it: the first push is one too many. */
async function smap(guest: Guest): Promise<Details> {
  await guest.expect('RIP: 00c3:');
  await guest.expect('---[ end trace');
  const [rip, rsp, cr2] = [/RIP: 00c3:(\S+)/, /RSP: [\da-f]{4}:([\da-f]+)/, /CR2: ([\da-f]+)/].map(
    (pattern) => pattern.exec(guest.output)?.[1] ?? '',
  );
  // A push: the address that faulted is the word below the stack pointer.
  if (BigInt(`0x${cr2}`) !== BigInt(`0x${rsp}`) - 8n) throw new Failure(`CR2 is ${cr2} where RSP is ${rsp}`);
  return { rip: rip!, rsp: rsp!, cr2: cr2! };
}

const WALK_LOG = 'int.log';

const CASES: readonly Case[] = [
  { name: 'echo', kernel: 'ukl-echo', append: `${NO_SMAP} app=ukl`, network: true, check: echo },
  { name: 'echo-user', kernel: 'ukl-echo', append: `${NO_SMAP} app=echo-user`, network: true, check: echo },
  { name: 'echo-64-megabytes', kernel: 'ukl-echo', append: 'app=ukl', network: true, memory: 64, check: echo },
  {
    name: 'echo-init',
    kernel: 'ukl-echo',
    append: 'rdinit=/none init=/UKL',
    network: true,
    check: async (guest) => {
      await guest.expect('UKL-EMU: ready');
      return checkEcho(guest.port);
    },
  },
  { name: 'bench', kernel: 'ukl-bench', append: 'app=ukl', check: bench(['call', 'bypass']) },
  { name: 'bench-user', kernel: 'ukl-bench', append: 'app=bench-user', check: bench(['syscall']) },
  {
    name: 'full',
    kernel: 'ukl-full',
    append: `${NO_SMAP} app=ukl`,
    network: true,
    machine: [
      ...['-smp', '2', '-drive', 'if=none,id=disk,format=raw,file=SCRATCH/disk'],
      ...['-device', 'virtio-blk-pci,drive=disk', '-device', 'virtio-rng-pci'],
    ],
    check: full,
  },
  {
    name: 'full-mmio',
    kernel: 'ukl-full',
    append: `${NO_SMAP} app=ukl`,
    network: 'virtio-net-device',
    machine: ['-M', 'microvm,acpi=off', '-device', 'virtio-rng-device'],
    check: echo,
  },
  { name: 'full-user', kernel: 'ukl-full', append: 'app=echo-user', network: true, check: echo },
  { name: 'selftest', kernel: 'ukl-selftest', append: 'app=ukl', check: selftest },
  {
    name: 'stack-walk',
    kernel: 'ukl-selftest',
    append: 'app=ukl arg=walk',
    machine: ['-d', 'int', '-D', `SCRATCH/${WALK_LOG}`],
    check: stackWalk,
  },
  { name: 'smap', kernel: 'ukl-echo', append: 'app=ukl', machine: ['-cpu', 'qemu64,+smap'], check: smap },
  {
    name: 'smap-ignored',
    kernel: 'ukl-echo',
    append: `${NO_SMAP} app=ukl`,
    network: true,
    machine: ['-cpu', 'max'],
    check: echo,
  },
  ...['initrd.cpio', 'initrd.cpio.gz', 'initrd.cpio.xz', 'initrd.cpio.lzma'].map(
    (initrd): Case => ({ name: initrd, kernel: 'ukl-echo', append: 'app=poweroff', initrd, check: powerOff }),
  ),
  { name: 'no-network-card', kernel: 'ukl-echo', append: 'ip=dhcp app=poweroff', check: powerOff },
];

/** The image from the last build, else the one in the repository. */
async function locate(name: string): Promise<string | undefined> {
  for (const directory of [OUT, PREBUILT]) {
    const path = join(directory, name);
    if (
      await access(path).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  return undefined;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Failure('no free TCP port on 127.0.0.1');
  return address.port;
}

interface Result {
  name: string;
  kernel: string;
  outcome: 'ok' | 'failed' | 'not built';
  wallSeconds: number;
  cpuSeconds: number;
  details: Details;
  reason?: string;
}

async function runCase(test: Case): Promise<Result> {
  const result = { name: test.name, kernel: test.kernel, wallSeconds: 0, cpuSeconds: 0, details: {} };
  const kernel = await locate(`${test.kernel}.bzImage`);
  const initrd = await locate(test.initrd ?? 'initrd.cpio.xz');
  if (kernel === undefined || initrd === undefined) return { ...result, outcome: 'not built' };

  const scratch = await mkdtemp(join(tmpdir(), 'ukl-emu-qemu-'));
  return withCleanup(
    () => rm(scratch, { recursive: true, force: true }),
    async () => {
      await writeFile(join(scratch, 'disk'), Buffer.alloc(8 << 20));
      const port = await freePort();
      const forward = `user,id=net,hostfwd=tcp:127.0.0.1:${port}-:5555`;
      const args = [
        ...['-accel', 'tcg', '-m', String(test.memory ?? 256), '-nodefaults', '-nographic', '-no-reboot'],
        ...['-serial', 'stdio', '-kernel', kernel, '-initrd', initrd],
        ...['-append', `${KERNEL_WORDS} ${test.network ? 'ip=dhcp ' : ''}${test.append}`],
        ...(test.network
          ? ['-netdev', forward, '-device', `${test.network === true ? 'virtio-net-pci' : test.network},netdev=net`]
          : []),
        ...(test.machine ?? []).map((word) => word.replace('SCRATCH', scratch)),
      ];
      const [cpu, started] = [childCpuSeconds(), performance.now()];
      const guest = new Guest(spawn(QEMU, args, { stdio: ['ignore', 'pipe', 'pipe'] }), port, scratch);
      const finish = async () => {
        const wallSeconds = Math.round((performance.now() - started) / 10) / 100;
        await guest.stop();
        return { ...result, wallSeconds, cpuSeconds: Math.round((childCpuSeconds() - cpu) * 100) / 100 };
      };
      return withCleanup(
        () => guest.stop(),
        async (): Promise<Result> => {
          try {
            const details = await test.check(guest);
            return { ...(await finish()), outcome: 'ok', details };
          } catch (error) {
            const reason = error instanceof Error ? error.message : String(error);
            const failed = await finish();
            await mkdir(BUILD, { recursive: true });
            await writeFile(join(BUILD, `qemu-${test.name}.log`), guest.output, 'latin1');
            return { ...failed, outcome: 'failed', reason: `${reason}; see images/.build/qemu-${test.name}.log` };
          }
        },
      );
    },
  );
}

async function main(): Promise<void> {
  await requireTools({}, ['qemu-system-x86']);
  const wanted = process.argv.slice(2);
  const unknown = wanted.find((name) => !CASES.some((test) => test.name === name));
  if (unknown !== undefined)
    throw new Failure(`no case "${unknown}"; there are ${CASES.map((test) => test.name).join(', ')}`);
  const version = (await run(QEMU, ['--version'])).toString().split('\n')[0];

  const results: Result[] = [];
  for (const test of CASES.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
    const result = await runCase(test);
    results.push(result);
    const { name, outcome, wallSeconds, cpuSeconds } = result;
    const times = `${wallSeconds.toFixed(2).padStart(7)} s ${cpuSeconds.toFixed(2).padStart(7)} CPU-s`;
    console.log(`${name.padEnd(18)} ${outcome.padEnd(9)} ${times}  ${result.reason ?? ''}`);
  }
  await mkdir(BUILD, { recursive: true });
  const report = join(BUILD, 'qemu.json');
  await writeFile(`${report}.new`, `${JSON.stringify({ qemu: version, results }, null, 2)}\n`);
  await rename(`${report}.new`, report);

  const failed = results.filter(({ outcome }) => outcome === 'failed').length;
  const missing = results.filter(({ outcome }) => outcome === 'not built').length;
  if (missing > 0) console.log(`${missing} cases need images that only npm run images makes`);
  if (failed > 0) throw new Failure(`${failed} of ${results.length} cases failed`);
}

if (import.meta.main) runMain('images:qemu', main);
