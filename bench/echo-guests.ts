import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Target } from './echo-client.ts';

/** Guests with the echo server: under this emulator with either engine, and under QEMU. */

const file = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));
const KERNEL = file('images/prebuilt/ukl-echo.bzImage');
const INITRD = file('images/prebuilt/initrd.cpio.xz');
const WORDS = 'console=ttyS0 net.ifnames=0 biosdevname=0 nowatchdog clearcpuid=smap,smep mitigations=off ip=dhcp';
const READY_MS = 120_000;
/** Ticks of /proc/PID/stat a second (`getconf CLK_TCK`). */
const TICKS = 100;

export interface EchoGuest {
  readonly kind: string;
  readonly pid: number;
  readonly target: Target;
  /** Of its process so far, user and system. */
  readonly cpuSeconds: () => number;
  stop(): void;
}

/** CPU seconds of a process, from /proc (Linux). */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/** Resident bytes of a process, from /proc (Linux). */
export function residentBytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
  return Number(match?.[1]) * 1024;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** `kind` is an engine of ours (`auto`, `interpreter`) or `qemu`. Resolves when the server listens. */
export async function startGuest(kind: string, app = 'ukl'): Promise<EchoGuest> {
  const port = await freePort();
  const forward = `hostfwd=tcp:127.0.0.1:${port}-:5555`;
  const boot = ['-kernel', KERNEL, '-initrd', INITRD, '-append', `${WORDS} app=${app}`];
  const child =
    kind === 'qemu'
      ? spawn('qemu-system-x86_64', [
          ...['-accel', 'tcg', '-m', '256', '-nodefaults', '-nographic', '-no-reboot', '-serial', 'stdio', ...boot],
          ...['-netdev', `user,id=net,${forward}`, '-device', 'virtio-net-pci,netdev=net'],
        ])
      : spawn(process.execPath, [
          ...(process.env['ECHO_NODE_OPTIONS']?.split(' ') ?? []),
          file('bin/ukl-emu.js'),
          ...['boot', KERNEL, '--initrd', INITRD, '--append', `${WORDS} app=${app}`, '--memory', '256M'],
          ...['--engine', kind, '--net', `user,${forward}`],
        ]);
  process.once('exit', () => child.kill('SIGKILL'));
  await ready(child, kind);
  const pid = child.pid!;
  return {
    kind,
    pid,
    target: { host: '127.0.0.1', port },
    cpuSeconds: () => cpuSeconds(pid),
    stop: () => void child.kill('SIGTERM'),
  };
}

function ready(child: ChildProcess, kind: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = '';
    const timer = setTimeout(
      () => reject(new Error(`${kind}: not ready in ${READY_MS / 1000} s\n${output}`)),
      READY_MS,
    );
    const onData = (chunk: Buffer): void => {
      output = (output + chunk.toString('latin1')).slice(-10_000);
      if (!output.includes('UKL-EMU: ready')) return;
      clearTimeout(timer);
      resolve();
    };
    child.stdout!.on('data', onData);
    child.stderr!.on('data', onData);
    child.once('error', reject);
    child.once('close', (code) => reject(new Error(`${kind}: ended with ${code} before it was ready\n${output}`)));
  });
}
