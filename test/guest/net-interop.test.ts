/**
 * Programs nobody here wrote on the other side of the wire: Debian's passt as the network, tshark as the reader of a capture. Skipped
 * where they are not installed (apt-get install passt tshark).
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { createNet } from '../../src/net/create.ts';
import { captureToFile } from '../../src/net/pcap-file.ts';
import { mixedLoad } from '../support/echo-load.ts';
import { cmdline, echoMachine } from './support.ts';

const MISSING = ['passt', 'tshark'].filter((program) => spawnSync(program, ['--version']).error !== undefined);
const READY_MS = 120_000;

/** A directory that passt can use after it has given up being root. */
async function sharedDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'ukl-emu-passt-'));
  await chmod(directory, 0o777);
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

async function freePort(): Promise<number> {
  const net = await createNet('user,hostfwd=tcp:127.0.0.1:0-:1');
  const { hostPort } = net.api.forwards[0]!;
  await net.backend!.close();
  return hostPort;
}

function tshark(file: string, args: readonly string[]): string {
  const { stdout, stderr, status } = spawnSync('tshark', ['-r', file, ...args], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

test.skipIf(MISSING.length > 0)(
  `passt carries the echo server’s bytes, tshark reads the capture${MISSING.length > 0 ? ` (not installed: ${MISSING})` : ''}`,
  async () => {
    const directory = await sharedDirectory();
    const path = join(directory, 'socket');
    const port = await freePort();
    const passt = spawn('passt', ['--foreground', '--socket', path, '-t', `127.0.0.1/${port}:5555`]);
    onTestFinished(() => void passt.kill('SIGKILL'));
    let log = '';
    passt.stderr.on('data', (text) => (log += text));
    passt.once('error', (error) => (log += error));
    const stream = async (tries = 50): ReturnType<typeof createNet> =>
      createNet(`stream,addr.type=unix,addr.path=${path}`).catch(async (error) => {
        if (tries === 0) throw new Error(`${error}\n${log}`);
        await new Promise((resolve) => setTimeout(resolve, 100));
        return stream(tries - 1);
      });
    const net = await stream();
    const capture = join(directory, 'net.pcap');
    const backend = await captureToFile(net.backend!, capture, (error) => (log += error));
    const machine = await echoMachine('ukl', {
      cmdline: cmdline('ukl', 'clearcpuid=smap,smep ip=dhcp'),
      timeoutMs: 2 * READY_MS,
      net: [{ ...net, backend }],
    });
    onTestFinished(async () => void (await machine.stop()));
    machine.run().catch(() => {});
    await machine.waitFor(/UKL-EMU: ready/, READY_MS);
    const { bytes, connections } = await mixedLoad({ host: '127.0.0.1', port }, 4000);
    expect(bytes).toBeGreaterThan(10_000);
    expect(connections).toBeGreaterThan(5);
    const socket = connect({ host: '127.0.0.1', port });
    socket.write('a mark in the capture');
    expect(String((await once(socket, 'data'))[0])).toBe('a mark in the capture');
    socket.destroy();
    await machine.stop();

    // nothing is offloaded on a stream: every checksum is on the wire, and right
    const checks = ['ip', 'tcp', 'udp'].flatMap((protocol) => ['-o', `${protocol}.check_checksum:TRUE`]);
    const wrong = ['ip', 'tcp', 'udp'].map((protocol) => `${protocol}.checksum.status == 0`).join(' || ');
    expect(tshark(capture, [...checks, '-Y', wrong])).toBe('');
    expect(tshark(capture, ['-Y', 'dhcp', '-T', 'fields', '-e', 'dhcp.option.dhcp']).split('\n')).toEqual(
      expect.arrayContaining(['1', '2', '3', '5']),
    );
    expect(tshark(capture, ['-Y', 'tcp contains "a mark in the capture"']).trim().split('\n').length).toBeGreaterThan(
      1,
    );
    // mss of a card: no frame is larger than the MTU allows
    expect(tshark(capture, ['-Y', 'frame.len > 1514'])).toBe('');
  },
);
