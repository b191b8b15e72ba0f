/**
 * Builds a Debian userland for guests: `npm run images:debian-user [-- --dir DIR]`. debootstrap (as root) makes the root
 * file system; the checks of images/debian-user go into it, and all of it becomes an initramfs for Debian's cloud kernel,
 * which `npm run images:debian` fetches. scripts/verify-userland.ts runs the checks. Everything stays outside git.
 */
import { chmod, cp, mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { CACHE, capture, Failure, replaceDirectory, requireSpace, run, runMain } from './support.ts';

const SUITE = 'bookworm';
const MIRROR = 'http://deb.debian.org/debian';
const PACKAGES = [
  'busybox-static',
  'gawk',
  'gcc',
  'libc6-dev',
  'libpython3.11-testsuite',
  'openssl',
  'perl',
  'python3',
  'stress-ng',
];
/** What no check needs. */
const SUPERFLUOUS = [
  'boot',
  'usr/share/doc',
  'usr/share/info',
  'usr/share/locale',
  'usr/share/man',
  'usr/share/X11',
  'usr/share/zoneinfo',
  'usr/lib/gcc/x86_64-linux-gnu/12/lto1',
  'usr/lib/gcc/x86_64-linux-gnu/12/libasan.a',
  'usr/lib/gcc/x86_64-linux-gnu/12/libtsan.a',
  'usr/lib/x86_64-linux-gnu/libasan.so.8.0.0',
  'usr/lib/x86_64-linux-gnu/libtsan.so.2.0.0',
  'usr/lib/x86_64-linux-gnu/liblsan.so.0.0.0',
  'usr/share/perl/5.36.0/unicore/Name.pl',
  'var/lib/dpkg/info',
  'var/cache/apt',
  'var/lib/apt/lists',
];
const GIGABYTES = 3;
const SOURCES = join(import.meta.dirname, 'debian-user');

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

async function debootstrap(root: string): Promise<void> {
  if (process.getuid?.() !== 0) throw new Failure('debootstrap must be run by root');
  for (const tool of ['debootstrap', 'cpio']) {
    const { status } = await capture('sh', ['-c', `command -v ${tool}`]);
    if (status !== 0) throw new Failure(`${tool} is not installed: apt-get install ${tool}`);
  }
  console.log(`debootstrap ${SUITE}: ${PACKAGES.join(' ')}`);
  await run('debootstrap', ['--variant=minbase', `--include=${PACKAGES.join()}`, SUITE, root, MIRROR]);
}

/** The checks, a key that they sign with, and compiled modules whatever the clock says of their age. */
async function furnish(root: string): Promise<void> {
  for (const path of SUPERFLUOUS) await rm(join(root, path), { recursive: true, force: true });
  const verify = join(root, 'verify');
  await rm(verify, { recursive: true, force: true });
  await cp(SOURCES, verify, { recursive: true });
  await chmod(join(verify, 'init.sh'), 0o755);
  await run('chroot', [root, 'openssl', 'genrsa', '-out', '/verify/rsa.pem', '2048']);
  const compile = 'python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3.11';
  // some files of the test package are wrong on purpose
  await capture('chroot', [root, 'sh', '-c', compile]);
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { dir: { type: 'string' } } });
  const out = values.dir === undefined ? join(CACHE, 'debian-user') : resolve(values.dir);
  await mkdir(out, { recursive: true });
  await requireSpace(out, GIGABYTES);
  const root = join(out, 'root');
  if (!(await exists(root))) await replaceDirectory(root, debootstrap);
  await furnish(root);
  const archive = join(out, 'initrd.cpio');
  await run('sh', ['-c', `cd '${root}' && find . -print0 | cpio --null --create --format=newc --quiet >'${archive}'`]);
  await writeFile(join(out, 'packages.txt'), await run('chroot', [root, 'dpkg-query', '-W']));
  console.log(`${archive}: ${Math.round((await stat(archive)).size / 1e6)} MB`);
}

runMain('images:debian-user', main);
