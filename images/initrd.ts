import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cpio, type Entry } from './cpio.ts';
import { BUILD_SECONDS } from './pins.ts';
import { run } from './support.ts';

/** The initial file system of every guest: busybox, our /init, and the applications as ordinary programs. */
export async function initrd(busybox: string, programs: Readonly<Record<string, Uint8Array>>): Promise<Buffer> {
  const own = (name: string) => readFile(join(import.meta.dirname, 'initrd', name));
  const applets = (await run(busybox, ['--list'])).toString().trim().split('\n');
  const names = [...new Set(applets)].filter((name) => name !== 'busybox' && !(name in programs)).sort();
  const entries: Entry[] = [
    ...['bin', 'dev', 'etc', 'lib', 'proc', 'sys', 'tmp'].map((path): Entry => ({ kind: 'directory', path })),
    // Before devtmpfs is mounted there is a console, and what an application needs that runs as init=.
    { kind: 'device', path: 'dev/console', major: 5, minor: 1 },
    { kind: 'device', path: 'dev/null', major: 1, minor: 3 },
    { kind: 'device', path: 'dev/zero', major: 1, minor: 5 },
    { kind: 'file', path: 'init', mode: 0o755, content: await own('init') },
    { kind: 'file', path: 'bin/dhcp-script', mode: 0o755, content: await own('dhcp-script') },
    { kind: 'file', path: 'bin/busybox', mode: 0o755, content: await readFile(busybox) },
    ...Object.entries(programs).map(
      ([name, content]): Entry => ({ kind: 'file', path: `bin/${name}`, mode: 0o755, content }),
    ),
    ...names.map((name): Entry => ({ kind: 'link', path: `bin/${name}`, target: 'busybox' })),
  ];
  return cpio(entries, BUILD_SECONDS);
}
