import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BUSYBOX, KERNEL_SOURCE, PINNED_TOOLS } from './pins.ts';
import { Failure } from './support.ts';

/** A kernel to build; those of one tree share their objects and differ in the final link. */
export interface KernelSpec {
  name: string;
  tree: string;
  app: string;
  config: readonly string[];
}

export const KERNELS: readonly KernelSpec[] = [
  { name: 'ukl-echo', tree: 'small', app: 'echo', config: ['small.config', 'ukl.config'] },
  { name: 'ukl-bench', tree: 'small', app: 'syscall-bench', config: ['small.config', 'ukl.config'] },
  { name: 'ukl-selftest', tree: 'small', app: 'selftest', config: ['small.config', 'ukl.config', 'tls.config'] },
  { name: 'ukl-full', tree: 'full', app: 'echo', config: ['full.config', 'ukl.config'] },
];

export const COMMAND_LINE =
  'console=ttyS0 net.ifnames=0 biosdevname=0 nowatchdog clearcpuid=smap,smep mitigations=off ip=dhcp app=ukl';

/** What the repository and the npm package contain. */
export const PREBUILT_NAMES: readonly string[] = [
  'ukl-echo.bzImage',
  'ukl-echo.System.map.gz',
  'ukl-bench.bzImage',
  'ukl-bench.System.map.gz',
  'initrd.cpio.xz',
];

export interface Artefact {
  name: string;
  sha256: string;
  size: number;
}

interface ManifestEntry extends Artefact {
  /** In images/prebuilt, or only where it has been built. */
  prebuilt: boolean;
  config?: readonly string[];
  application?: string;
  source: string;
  licence: string;
  commandLine?: string;
}

interface Manifest {
  tools: Readonly<Record<string, string>>;
  images: ManifestEntry[];
}

const PATH = join(import.meta.dirname, 'manifest.json');

function entry(artefact: Artefact): ManifestEntry {
  const prebuilt = PREBUILT_NAMES.includes(artefact.name);
  const kernel = KERNELS.find((spec) => artefact.name.startsWith(`${spec.name}.`));
  if (kernel === undefined) {
    const source = `${BUSYBOX.name} ${BUSYBOX.version}, images/initrd, images/apps`;
    return { ...artefact, prebuilt, source, licence: 'GPL-2.0-only (busybox), MIT (the rest)' };
  }
  const bootable = /\.(bzImage|vmlinux)$/.test(artefact.name);
  return {
    ...artefact,
    prebuilt,
    config: kernel.config.map((name) => `images/config/${name}`),
    application: `images/apps/${kernel.app}.c`,
    source: `${KERNEL_SOURCE.name} ${KERNEL_SOURCE.version}, images/ukl`,
    licence: 'GPL-2.0-only',
    ...(bootable ? { commandLine: COMMAND_LINE } : {}),
  };
}

export async function writeManifest(artefacts: readonly Artefact[]): Promise<void> {
  const manifest: Manifest = { tools: PINNED_TOOLS, images: artefacts.map(entry) };
  await writeFile(PATH, `${JSON.stringify(manifest, null, 2)}\n`);
}

export async function readManifest(): Promise<Artefact[]> {
  const text = await readFile(PATH, 'utf8').catch(() => {
    throw new Failure('images/manifest.json is missing: build with --update to write one');
  });
  const { images } = JSON.parse(text) as Manifest;
  return images;
}

/** One line for each image that is not what it should be. */
export function compare(actual: readonly Artefact[], expected: readonly Artefact[]): string[] {
  const names = [...new Set([...actual, ...expected].map(({ name }) => name))].sort();
  return names.flatMap((name) => {
    const [is, should] = [actual, expected].map((list) => list.find((artefact) => artefact.name === name));
    if (is?.sha256 === should?.sha256) return [];
    return [`${name}: is ${is?.sha256 ?? 'missing'}, images/manifest.json says ${should?.sha256 ?? 'nothing of it'}`];
  });
}
