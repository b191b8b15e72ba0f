/**
 * Fetches images that nobody here wrote, to try an emulator on: `npm run images:debian [-- --dir DIR]`.
 * They are Debian's kernels (with an initrd of ours that carries their virtio modules), its installer, memtest86+ and
 * iPXE. They stay in the cache, outside git: index.json lists them with their checksums.
 */
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { cpio, type Entry } from './cpio.ts';
import { dependencies, fetchPackage, type Package, resolveNewest, unpack } from './packages.ts';
import { BUILD_SECONDS } from './pins.ts';
import {
  CACHE,
  Failure,
  PREBUILT,
  replaceDirectory,
  requireSpace,
  run,
  runMain,
  sha256,
  withCleanup,
} from './support.ts';

const GIGABYTES = 2;

/** What a guest of ours may meet; those a kernel has built in are not in its package. */
const MODULES = ['virtio_pci', 'virtio_mmio', 'virtio_net', 'virtio_blk', 'virtio_rng', 'af_packet'];

interface Image {
  name: string;
  package: string;
  version: string;
  sha256: string;
  /** What QEMU or the emulator is to be given with it. */
  initrd?: string;
  commandLine?: string;
  megabytes?: number;
}

async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function find(directory: string, pattern: RegExp, what: string): Promise<string> {
  const path = (await filesBelow(directory)).find((file) => pattern.test(file));
  if (path === undefined) throw new Failure(`${what}: no file in it matches ${pattern}; its layout has changed`);
  return path;
}

/** The modules and all that they need, each after what it needs. */
async function modulesInOrder(files: readonly string[]): Promise<Map<string, Uint8Array>> {
  const byName = new Map(files.map((file) => [basename(file).replace(/\.ko$/, '').replaceAll('-', '_'), file]));
  const ordered = new Map<string, Uint8Array>();
  const add = async (name: string): Promise<void> => {
    const file = byName.get(name);
    if (file === undefined || ordered.has(basename(file))) return;
    const content = await readFile(file);
    // The section .modinfo holds strings, one of them the names of the modules this one needs.
    const needs = /\0depends=([^\0]*)\0/.exec(content.toString('latin1'))?.[1] ?? '';
    for (const needed of needs.split(',')) await add(needed.replaceAll('-', '_'));
    ordered.set(basename(file), content);
  };
  for (const name of MODULES) await add(name);
  return ordered;
}

/** Our initrd with a second archive behind it; the kernel unpacks one after the other. */
async function initrdWithModules(scratch: string, unpacked: string): Promise<Buffer> {
  const files = (await filesBelow(join(unpacked, 'lib/modules'))).filter((file) => file.endsWith('.ko'));
  const modules = await modulesInOrder(files);
  if (modules.size === 0) throw new Failure(`${unpacked}: no module of ${MODULES.join(', ')} is in it`);
  const directory = 'lib/modules';
  const added: Entry[] = [
    { kind: 'directory', path: directory },
    { kind: 'file', path: `${directory}/order`, mode: 0o644, content: Buffer.from([...modules.keys()].join('\n')) },
    ...[...modules].map(
      ([name, content]): Entry => ({ kind: 'file', path: `${directory}/${name}`, mode: 0o644, content }),
    ),
  ];
  const ours = await run('xz', ['-dc', join(PREBUILT, 'initrd.cpio.xz')]);
  const archive = join(scratch, 'initrd.cpio');
  await writeFile(archive, Buffer.concat([ours, cpio(added, BUILD_SECONDS)]));
  return run('gzip', ['-9nc', archive]);
}

class Collection {
  readonly images: Image[] = [];
  private readonly scratch: string;
  private readonly out: string;

  constructor(scratch: string, out: string) {
    this.scratch = scratch;
    this.out = out;
  }

  private async open(name: string): Promise<{ from: Package; unpacked: string }> {
    const from = await resolveNewest(name);
    console.log(`${from.name} ${from.version}`);
    const unpacked = join(this.scratch, name);
    await unpack(await fetchPackage(from), unpacked);
    return { from, unpacked };
  }

  private async keep(from: Package, name: string, content: string | Buffer, more: Partial<Image> = {}): Promise<void> {
    const path = join(this.out, name);
    if (typeof content === 'string') await copyFile(content, path);
    else await writeFile(path, content);
    this.images.push({ name, package: from.name, version: from.version, sha256: await sha256(path), ...more });
  }

  /** A kernel by its metapackage, whose name stays while the kernel's changes. */
  async kernel(name: string, metapackage: string): Promise<void> {
    await resolveNewest(metapackage);
    const real = (await dependencies(metapackage)).find((dependency) => /^linux-image-\d/.test(dependency));
    if (real === undefined) throw new Failure(`${metapackage} depends on no kernel; its layout has changed`);
    const { from, unpacked } = await this.open(real);
    const initrd = `${name}.initrd.cpio.gz`;
    const commandLine = 'console=ttyS0 net.ifnames=0 biosdevname=0 app=shell';
    const vmlinuz = await find(join(unpacked, 'boot'), /vmlinuz-/, real);
    await this.keep(from, `${name}.vmlinuz`, vmlinuz, { initrd, commandLine });
    await this.keep(from, initrd, await initrdWithModules(this.scratch, unpacked));
  }

  async installer(): Promise<void> {
    const { from, unpacked } = await this.open('debian-installer-12-netboot-amd64');
    const directory = /\/text\/debian-installer\/amd64\//;
    const [linux, initrd] = [/linux$/, /initrd\.gz$/].map((end) => new RegExp(directory.source + end.source));
    // With less memory it first asks whether to go on.
    const more = { commandLine: 'console=ttyS0', megabytes: 1024 };
    const name = 'installer.initrd.gz';
    await this.keep(from, 'installer.vmlinuz', await find(unpacked, linux!, from.name), { initrd: name, ...more });
    await this.keep(from, name, await find(unpacked, initrd!, from.name));
  }

  async memtest(): Promise<void> {
    const { from, unpacked } = await this.open('memtest86+');
    const path = await find(unpacked, /mt86\+x64$|memtest86\+x64\.bin$/, from.name);
    await this.keep(from, 'memtest86+x64.bin', path, { commandLine: 'console=ttyS0,115200' });
  }

  async ipxe(): Promise<void> {
    const { from, unpacked } = await this.open('ipxe');
    await this.keep(from, 'ipxe.lkrn', await find(unpacked, /ipxe\.lkrn$/, from.name));
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { dir: { type: 'string' } } });
  const out = values.dir === undefined ? join(CACHE, 'debian') : resolve(values.dir);
  await requireSpace(CACHE, GIGABYTES);
  const scratch = await mkdtemp(join(CACHE, 'unpack-'));
  const remove = () => rm(scratch, { recursive: true, force: true });
  await withCleanup(remove, () =>
    replaceDirectory(out, async (fresh) => {
      const collection = new Collection(scratch, fresh);
      await collection.kernel('cloud', 'linux-image-cloud-amd64');
      await collection.kernel('amd64', 'linux-image-amd64');
      await collection.installer();
      await collection.memtest();
      await collection.ipxe();
      await writeFile(join(fresh, 'index.json'), `${JSON.stringify(collection.images, null, 2)}\n`);
      for (const image of collection.images) console.log(`${image.sha256}  ${image.name}`);
    }),
  );
  console.log(`in ${out}`);
}

runMain('images:debian', main);
