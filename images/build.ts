/**
 * Builds every image from Debian's packages: `npm run images [-- --dir DIR] [-- --only NAME] [-- --update] [-- --keep]`.
 * The images go to images/.build/out; --update also replaces the prebuilt ones and the manifest. With --only the
 * initrd and one kernel are built; the others are taken as they were built before.
 */
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { initrd } from './initrd.ts';
import {
  type Artefact,
  compare,
  KERNELS,
  type KernelSpec,
  PREBUILT_NAMES,
  readManifest,
  writeManifest,
} from './manifest.ts';
import { fetchPackage, requireTools, unpack } from './packages.ts';
import { BUILD_TIME, BUSYBOX, KERNEL_SOURCE, PINNED_TOOLS, TOOLS } from './pins.ts';
import {
  BUILD,
  childCpuSeconds,
  Failure,
  OUT,
  PREBUILT,
  replaceDirectory,
  requireRelease,
  requireSpace,
  run,
  runMain,
  sha256,
  withCleanup,
} from './support.ts';

const HERE = import.meta.dirname;
const GIGABYTES = 4;
const COMPILER = 'gcc-12';
const JOBS = `-j${cpus().length}`;

/** Nothing of the caller's environment may show in the result. */
const ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/nonexistent',
  LC_ALL: 'C',
  TZ: 'UTC',
  KBUILD_BUILD_TIMESTAMP: BUILD_TIME,
  KBUILD_BUILD_USER: 'ukl',
  KBUILD_BUILD_HOST: 'emu',
  KBUILD_BUILD_VERSION: '1',
};

/** Both builds of an application share these. */
const APP_FLAGS = (
  '-O2 -std=gnu11 -Wall -Wextra -Werror -ffreestanding -fno-PIC -fno-pie -mno-red-zone -fno-stack-protector ' +
  '-fno-asynchronous-unwind-tables -fcf-protection=none'
).split(' ');
const UKL_FLAGS = ['-DUKL', '-DBYPASS', '-mcmodel=kernel'];

class Build {
  readonly work: string;
  readonly log: string;
  readonly linux: string;

  constructor(work: string, log: string) {
    this.work = work;
    this.log = log;
    this.linux = join(work, 'linux-source-6.1');
  }

  private run(command: string, args: readonly string[], cwd = this.work): Promise<Buffer> {
    return run('nice', ['-n', '5', command, ...args], { cwd, env: ENVIRONMENT, log: this.log });
  }

  async unpackSources(): Promise<void> {
    const [kernel, busybox] = [await fetchPackage(KERNEL_SOURCE), await fetchPackage(BUSYBOX)];
    await unpack(busybox, join(this.work, 'busybox'));
    await unpack(kernel, join(this.work, 'deb'));
    // The two parts left out are large and not needed.
    const exclude = ['*/drivers/gpu/drm/amd/include/asic_reg', '*/Documentation/*/*'].map(
      (path) => `--exclude=${path}`,
    );
    await this.run('tar', ['xf', 'deb/usr/src/linux-source-6.1.tar.xz', ...exclude]);
    await rm(join(this.work, 'deb'), { recursive: true });
    const patches = (await readFile(join(HERE, 'ukl', 'series'), 'utf8')).trim().split('\n');
    for (const patch of patches)
      await this.run('patch', ['-p1', '-s', '--fuzz=0', '-i', join(HERE, 'ukl', patch)], this.linux);
  }

  private async compile(app: string, variant: string, flags: readonly string[]): Promise<string[]> {
    const objects: string[] = [];
    for (const source of ['start.S', 'runtime.c', `${app}.c`]) {
      const object = `${app}-${variant}-${source.split('.')[0]}.o`;
      await this.run(COMPILER, [...APP_FLAGS, ...flags, '-c', join(HERE, 'apps', source), '-o', object]);
      objects.push(object);
    }
    return objects;
  }

  /** An archive of one object whose every symbol has the prefix; the linker itself makes the offset table's. */
  async uklArchive(app: string): Promise<string> {
    const archive = `${app}.UKL.a`;
    const object = `${app}-ukl.o`;
    await this.run('ld', ['-r', '-o', object, ...(await this.compile(app, 'ukl', UKL_FLAGS))]);
    await this.run('objcopy', ['--prefix-symbols=ukl_', object]);
    await this.run('objcopy', ['--redefine-sym', 'ukl__GLOBAL_OFFSET_TABLE_=_GLOBAL_OFFSET_TABLE_', object]);
    await this.run('ar', ['rcsD', archive, object]);
    return join(this.work, archive);
  }

  async userProgram(app: string): Promise<Buffer> {
    const objects = await this.compile(app, 'user', []);
    const flags = ['-static', '-no-pie', '--build-id=none', '-z', 'noexecstack', '-s'];
    await this.run('ld', [...flags, '-o', `${app}-user`, ...objects]);
    return readFile(join(this.work, `${app}-user`));
  }

  /** Configures the kernel from fragments alone, each line of which must hold in the result. */
  private async configure(objects: string, spec: KernelSpec): Promise<void> {
    let text = '';
    for (const name of spec.config) text += await readFile(join(HERE, 'config', name), 'utf8');
    await mkdir(objects, { recursive: true });
    const fragment = join(objects, 'fragment.config');
    await writeFile(fragment, text);
    await this.run('make', ['-s', `O=${objects}`, `KCONFIG_ALLCONFIG=${fragment}`, ...MAKE, 'allnoconfig'], this.linux);
    const lines = new Set((await readFile(join(objects, '.config'), 'utf8')).split('\n'));
    for (const line of text.split('\n')) {
      const [symbol, value] = line.split('=');
      if (!symbol?.startsWith('CONFIG_')) continue;
      const holds = value === 'n' ? !lines.has(`${symbol}=y`) : lines.has(line);
      if (!holds) throw new Failure(`${spec.config.join(' + ')}: the kernel's configuration does not take "${line}"`);
    }
  }

  async kernel(spec: KernelSpec, out: string): Promise<void> {
    // Below the source, so that the paths in the images are relative.
    const objects = join(this.linux, `objects-${spec.tree}`);
    await copyFile(await this.uklArchive(spec.app), join(this.linux, 'UKL.a'));
    await this.configure(objects, spec);
    await this.run('make', ['-s', `O=${objects}`, JOBS, ...MAKE, 'bzImage'], this.linux);
    await copyFile(join(objects, 'arch/x86/boot/bzImage'), join(out, `${spec.name}.bzImage`));
    await copyFile(join(objects, 'vmlinux'), join(out, `${spec.name}.vmlinux`));
    const map = await run('gzip', ['-9nc', join(objects, 'System.map')]);
    await writeFile(join(out, `${spec.name}.System.map.gz`), map);
  }

  async initrds(out: string): Promise<void> {
    const path = join(out, 'initrd.cpio');
    const programs = {
      'echo-server': await this.userProgram('echo'),
      'syscall-bench': await this.userProgram('syscall-bench'),
    };
    await writeFile(path, await initrd(join(this.work, 'busybox/bin/busybox'), programs));
    await writeFile(`${path}.gz`, await run('gzip', ['-9nc', path]));
    // A larger dictionary would have to fit into the guest's memory.
    await writeFile(`${path}.xz`, await run('xz', ['-T1', '--check=crc32', '--lzma2=dict=1MiB', '-c', path]));
    await writeFile(`${path}.lzma`, await run('xz', ['-T1', '--format=lzma', '--lzma1=dict=1MiB', '-c', path]));
  }
}

const MAKE = ['ARCH=x86_64', `CC=${COMPILER}`, `HOSTCC=${COMPILER}`];

/** Builds everything below `base`, into `out`; or `only` one kernel, and takes the others from what is in `out`. */
export async function buildImages(base: string, out: string, keep = false, only?: string): Promise<Artefact[]> {
  requireRelease();
  await requireSpace(base, GIGABYTES);
  await requireTools(PINNED_TOOLS, TOOLS);
  const work = await mkdtemp(join(base, 'work-'));
  const log = join(base, 'build.log');
  await rm(log, { force: true });
  const build = new Build(work, log);
  const started = Date.now();
  const say = (text: string) => console.log(`${((Date.now() - started) / 60000).toFixed(1)} min  ${text}`);
  await withCleanup(
    async () => {
      if (!keep) await rm(work, { recursive: true, force: true });
    },
    () =>
      replaceDirectory(out, async (fresh) => {
        say('sources');
        await build.unpackSources();
        say('initrd');
        await build.initrds(fresh);
        for (const spec of KERNELS) {
          if (only === undefined || spec.name === only) {
            say(spec.name);
            await build.kernel(spec, fresh);
          } else {
            for (const name of ['bzImage', 'vmlinux', 'System.map.gz'].map((suffix) => `${spec.name}.${suffix}`)) {
              await copyFile(join(out, name), join(fresh, name));
            }
          }
        }
      }),
  );
  say('done');
  const artefacts: Artefact[] = [];
  for (const name of await readdir(out)) {
    const content = await readFile(join(out, name));
    artefacts.push({ name, sha256: await sha256(join(out, name)), size: content.length });
  }
  return artefacts.sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      dir: { type: 'string' },
      only: { type: 'string' },
      update: { type: 'boolean' },
      keep: { type: 'boolean' },
    },
  });
  const { only } = values;
  if (only !== undefined && !KERNELS.some(({ name }) => name === only)) {
    throw new Failure(`--only ${only}: name one of ${KERNELS.map(({ name }) => name).join(', ')}`);
  }
  const started = Date.now();
  const base = values.dir === undefined ? BUILD : resolve(values.dir);
  const out = values.dir === undefined ? OUT : join(base, 'out');
  const artefacts = await buildImages(base, out, values.keep, only);
  for (const { name, sha256, size } of artefacts) console.log(`${sha256}  ${String(size).padStart(9)}  ${name}`);
  console.log(
    `${((Date.now() - started) / 60000).toFixed(1)} minutes, ${(childCpuSeconds() / 60).toFixed(1)} of processor time`,
  );
  if (values.update) {
    await replaceDirectory(PREBUILT, async (fresh) => {
      for (const name of PREBUILT_NAMES) await copyFile(join(out, name), join(fresh, name));
    });
    await writeManifest(artefacts);
    console.log('images/prebuilt and images/manifest.json are now these');
    return;
  }
  const differences = compare(artefacts, await readManifest());
  console.log(differences.length === 0 ? 'all as in images/manifest.json' : differences.join('\n'));
}

if (import.meta.main) runMain('images', main);
