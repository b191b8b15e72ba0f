/**
 * Debian's cloud kernel on a network, with servers of this host and in the guest. By hand, with the images of `npm run images:debian`:
 * `UKL_EMU_DEBIAN=1 npx vitest run --project guest test/guest/net-debian.test.ts`; the last test needs wrk (apt-get install wrk).
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { homedir, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Machine, type MachineOptions } from '../../src/index.ts';
import { createNet } from '../../src/net/create.ts';
import { expectSerial, type GuestShell, guestShell } from '../../src/testing.ts';
import { startNameServer } from '../support/dns-server.ts';
import { ENGINE } from './support.ts';

const IMAGES = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'ukl-emu', 'debian');
const SKIPPED = process.env['UKL_EMU_DEBIAN'] !== '1' || !existsSync(join(IMAGES, 'index.json'));
const WRK_SECONDS = Number(process.env['UKL_EMU_WRK_SECONDS'] ?? 60);
const BOOT_MS = 240_000;

const image = (name: string) => ({ name, bytes: readFileSync(join(IMAGES, name)) });

/** A Debian guest at its prompt; its card has an address by DHCP, from /init. */
async function boot(
  net: string,
  resolvers: readonly string[],
  more: Partial<MachineOptions> = {},
): Promise<{ machine: Machine; shell: GuestShell }> {
  const machine = await Machine.create({
    kernel: image('cloud.vmlinuz'),
    initrd: image('cloud.initrd.cpio.gz'),
    cmdline: 'console=ttyS0 net.ifnames=0 biosdevname=0 app=shell',
    engine: ENGINE,
    net: [await createNet(net, { resolvers })],
    ...more,
  });
  onTestFinished(async () => void (await machine.stop()));
  machine.run().catch(() => {});
  await expectSerial(machine, /\nukl# /, BOOT_MS);
  const shell = guestShell(machine);
  // the kernel's messages about the link would come between the commands' words
  await shell.run('dmesg -n 1');
  return { machine, shell };
}

/** An address of this host that is not its loopback. */
function outsideAddress(): string | undefined {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
}

describe.skipIf(SKIPPED)('Debian on a user network', () => {
  test('udhcpc, ping, nslookup and wget', async () => {
    const page = Buffer.alloc(3_000_000, 'a page of some length\n');
    const server = createServer((request, response) => {
      if (request.url === '/page') response.end(page);
      else response.writeHead(404).end();
    });
    server.listen(0, '0.0.0.0');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const names = await startNameServer({ 'gateway.example': '10.0.2.2', 'nowhere.example': '10.0.2.77' });
    onTestFinished(() => {
      server.close();
      names.close();
    });
    const { shell } = await boot('user,hostloopback=on,hostname=debian', [names.address]);

    const lease = await shell.run('ip addr flush dev eth0; udhcpc -n -q -i eth0 -s /bin/dhcp-script');
    expect(lease.output).toContain('lease of 10.0.2.15 obtained');
    expect(lease.status).toBe(0);
    expect((await shell.run('cat /etc/resolv.conf')).output).toBe('nameserver 10.0.2.3\n');

    const ping = await shell.run('ping -c 3 10.0.2.2');
    expect(ping.output).toContain('3 packets transmitted, 3 packets received, 0% packet loss');
    expect(ping.status).toBe(0);

    const lookup = await shell.run('nslookup gateway.example');
    expect(lookup.output).toMatch(/Name:\s+gateway\.example\nAddress:\s+10\.0\.2\.2\n/);
    expect((await shell.run('nslookup missing.example')).output).toContain("can't find missing.example: NXDOMAIN");
    expect(names.queries).toContain('gateway.example');

    const sum = createHash('sha256').update(page).digest('hex');
    const fetch = await shell.run(`wget -q -O - http://gateway.example:${port}/page | sha256sum`);
    expect(fetch).toEqual({ output: `${sum}  -\n`, status: 0 });
    const outside = outsideAddress();
    if (outside !== undefined) {
      expect((await shell.run(`wget -q -O - http://${outside}:${port}/page | sha256sum`)).output).toBe(`${sum}  -\n`);
    }
    expect((await shell.run(`wget -q -O - http://gateway.example:${port}/none`)).status).toBe(1);
    expect((await shell.run('wget -O - http://gateway.example:1/')).output).toContain('Connection refused');
    expect((await shell.run('dmesg | grep -ciE "call trace|oops|virtio.*error"')).output).toBe('0\n');
  });

  test('the gateway’s address does not lead to this host, unless the options say so', async () => {
    const server = createServer((_, response) => response.end());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const { shell } = await boot('user', []);
    const { port } = server.address() as AddressInfo;
    expect((await shell.run(`wget -O - http://10.0.2.2:${port}/`)).output).toContain('Connection refused');
    expect((await shell.run('nslookup gateway.example')).output).toMatch(/SERVFAIL|no servers could be reached/);
  });

  test(`a web server in the guest under wrk for ${WRK_SECONDS} s`, {
    timeout: 300_000 + WRK_SECONDS * 1000,
  }, async () => {
    const { machine, shell } = await boot('user,hostfwd=tcp:127.0.0.1:0-:80', []);
    const made = await shell.run(
      'mkdir /tmp/www; yes hello | head -c 2000 > /tmp/www/index.html; httpd -p 80 -h /tmp/www',
    );
    expect(made.status).toBe(0);
    const url = `http://127.0.0.1:${machine.net.forwards[0]!.hostPort}/`;
    expect(await (await fetch(url)).text()).toHaveLength(2000);
    const args = ['-t', '1', '-c', '8', '-d', String(WRK_SECONDS), '--latency', url];
    const { stdout } = await promisify(execFile)('wrk', args);
    console.log(stdout);
    expect(stdout).toMatch(/[1-9]\d* requests in/);
    expect(stdout).not.toMatch(/Socket errors|Non-2xx/);
    expect(await (await fetch(url)).text()).toHaveLength(2000);
    expect((await shell.run('echo well')).output).toBe('well\n');
  });
});
