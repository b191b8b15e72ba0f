import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CACHE, capture, Failure, run, sha256, withCleanup } from './support.ts';

/** A Debian package whose content is used without installing it. */
export interface Package {
  name: string;
  version: string;
  architecture: string;
  /** Absent: taken as the archive has it, on the word of its signature. */
  sha256?: string;
}

const QUIET = ['-qq', '-o', 'APT::Sandbox::User=root', '-o', 'Acquire::Retries=2', '-o', 'Acquire::http::Timeout=20'];
const ENVIRONMENT = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };

async function apt(args: readonly string[], cwd?: string): Promise<{ status: number; stderr: string }> {
  return capture('apt-get', [...QUIET, ...args], { env: ENVIRONMENT, ...(cwd === undefined ? {} : { cwd }) });
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

let updated = false;
async function updateLists(): Promise<void> {
  if (updated || !isRoot()) return;
  updated = true;
  await apt(['update']);
}

/** The versions the archive offers, newest first. */
async function offered(name: string): Promise<string[]> {
  const { stdout } = await capture('apt-cache', ['madison', name], { env: ENVIRONMENT });
  return [...stdout.toString().matchAll(/\|\s*(\S+)\s*\|/g)].map((match) => match[1]!);
}

/** One line for what apt said: no network, a version that is gone, or its own words. */
async function explain(what: string, packages: readonly { name: string; version?: string }[], stderr: string) {
  for (const { name, version } of packages) {
    const versions = await offered(name);
    if (version === undefined ? versions.length > 0 : versions.includes(version)) continue;
    if (versions.length === 0)
      return new Failure(`${what}: apt knows no package ${name}; run apt-get update (needs the network)`);
    return new Failure(
      `${what}: the Debian archive no longer has ${name} ${version} (it offers ${versions[0]}); ` +
        'pin that one in images/pins.ts and build with --update, or take the old one from snapshot.debian.org',
    );
  }
  if (
    /Could not resolve|Unable to connect|Failed to fetch|timed out|Temporary failure|Network is unreachable/.test(
      stderr,
    )
  )
    return new Failure(`${what}: the Debian archive cannot be reached; check the network and apt's sources`);
  return new Failure(`${what}: ${stderr.trim().split('\n').at(-1) ?? 'apt-get failed'}`);
}

async function installedVersions(names: readonly string[]): Promise<Map<string, string>> {
  const format = `\${Package} \${Version} \${db:Status-Status}\n`;
  const { stdout } = await capture('dpkg-query', ['-W', `-f=${format}`, ...names]);
  const versions = new Map<string, string>();
  for (const line of stdout.toString().split('\n')) {
    const [name, version, status] = line.split(' ');
    if (name && version && status === 'installed') versions.set(name, version);
  }
  return versions;
}

/** Sees to it that these tools are there: `pinned` in one version only. */
export async function requireTools(pinned: Readonly<Record<string, string>>, any: readonly string[]): Promise<void> {
  const installed = await installedVersions([...Object.keys(pinned), ...any]);
  const wanted = [
    ...Object.entries(pinned)
      .filter(([name, version]) => installed.get(name) !== version)
      .map(([name, version]) => ({ name, version })),
    ...any.filter((name) => !installed.has(name)).map((name) => ({ name })),
  ];
  if (wanted.length === 0) return;
  const words = wanted.map((p) => ('version' in p ? `${p.name}=${p.version}` : p.name));
  const command = `apt-get install -y --no-install-recommends ${words.join(' ')}`;
  if (!isRoot()) throw new Failure(`tools are missing or of another version; as root: ${command}`);
  console.log(command);
  await updateLists();
  const { status, stderr } = await apt(['install', '-y', '--no-install-recommends', '--allow-downgrades', ...words]);
  if (status !== 0) throw await explain('installing the tools', wanted, stderr);
}

/** The package's file, from the cache or the archive, with the right checksum. */
export async function fetchPackage(wanted: Package): Promise<string> {
  const cached = join(CACHE, `${wanted.name}_${wanted.version.replaceAll(':', '%3a')}_${wanted.architecture}.deb`);
  const isRight = async (path: string) => wanted.sha256 === undefined || (await sha256(path)) === wanted.sha256;
  if (
    await stat(cached).then(
      () => isRight(cached),
      () => false,
    )
  )
    return cached;

  await mkdir(CACHE, { recursive: true });
  const scratch = await mkdtemp(join(CACHE, 'download-'));
  return withCleanup(
    () => rm(scratch, { recursive: true, force: true }),
    async () => {
      const word = `${wanted.name}=${wanted.version}`;
      let { status, stderr } = await apt(['download', word], scratch);
      if (status !== 0) {
        await updateLists();
        ({ status, stderr } = await apt(['download', word], scratch));
      }
      const file = (await readdir(scratch)).find((name) => name.endsWith('.deb'));
      if (status !== 0 || file === undefined) throw await explain('downloading', [wanted], stderr);
      if (!(await isRight(join(scratch, file))))
        throw new Failure(`${word} has the sha256 ${await sha256(join(scratch, file))}, not the one in images/pins.ts`);
      await rename(join(scratch, file), cached);
      return cached;
    },
  );
}

/** Unpacks a package's files below a directory. */
export async function unpack(deb: string, directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  await run('dpkg-deb', ['-x', deb, directory]);
}

/** The newest version of a package that the archive has. */
export async function resolveNewest(name: string): Promise<Package> {
  await updateLists();
  const { stdout } = await capture('apt-cache', ['show', '--no-all-versions', name], { env: ENVIRONMENT });
  const field = (key: string) => new RegExp(`^${key}: (.*)$`, 'm').exec(stdout.toString())?.[1];
  const version = field('Version');
  if (version === undefined) throw await explain('resolving', [{ name }], '');
  const checksum = field('SHA256');
  const architecture = field('Architecture') ?? 'amd64';
  return { name, version, architecture, ...(checksum === undefined ? {} : { sha256: checksum }) };
}

/** What a package depends on, by name. */
export async function dependencies(name: string): Promise<string[]> {
  const { stdout } = await capture('apt-cache', ['show', '--no-all-versions', name], { env: ENVIRONMENT });
  const depends = /^Depends: (.*)$/m.exec(stdout.toString())?.[1] ?? '';
  return depends.split(',').map((entry) => entry.trim().split(/[ (]/)[0]!);
}
