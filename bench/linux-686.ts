/**
 * Fetches Debian's kernel for 32-bit processors, for the comparison with v86: `node bench/linux-686.ts`. It stays in the cache, outside
 * git. apt gets a directory and a list of sources of its own, so that nothing of this system changes and no foreign architecture is
 * added to it.
 */
import { copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CACHE,
  Failure,
  replaceDirectory,
  requireSpace,
  run,
  runMain,
  sha256,
  withCleanup,
} from '../images/support.ts';
import { KEYRING, LINUX_686, RELEASE_686 } from './v86.ts';

const GIGABYTES = 0.5;
const ARCHIVE = 'http://deb.debian.org/debian';

async function fetchKernel(scratch: string): Promise<void> {
  for (const directory of ['lists/partial', 'archives/partial', 'parts']) {
    await mkdir(join(scratch, directory), { recursive: true });
  }
  const configuration = [
    'APT::Architecture "i386";',
    'APT::Architectures { "i386"; };',
    'APT::Sandbox::User "root";',
    `Dir::State "${scratch}";`,
    'Dir::State::status "/dev/null";',
    `Dir::Cache "${scratch}";`,
    `Dir::Etc::sourcelist "${join(scratch, 'sources.list')}";`,
    `Dir::Etc::sourceparts "${join(scratch, 'parts')}";`,
    'Acquire::Languages "none";',
    '',
  ];
  await writeFile(join(scratch, 'apt.conf'), configuration.join('\n'));
  await writeFile(join(scratch, 'sources.list'), `deb [signed-by=${KEYRING}] ${ARCHIVE} ${RELEASE_686} main\n`);
  const env = { ...process.env, LC_ALL: 'C', APT_CONFIG: join(scratch, 'apt.conf') };
  await run('apt-get', ['-qq', 'update'], { env });
  const shown = (await run('apt-cache', ['show', '--no-all-versions', 'linux-image-686'], { env })).toString();
  const name = /^Depends:.*?(linux-image-\d\S*-686)\b/m.exec(shown)?.[1];
  if (name === undefined) throw new Failure('linux-image-686 depends on no kernel; its layout has changed');
  await run('apt-get', ['-qq', 'download', name], { env, cwd: scratch });
  const deb = (await readdir(scratch)).find((file) => file.endsWith('.deb'));
  if (deb === undefined) throw new Failure(`apt-get download ${name} has left no package`);
  const unpacked = join(scratch, 'unpacked');
  await run('dpkg-deb', ['-x', join(scratch, deb), unpacked]);
  await replaceDirectory(join(LINUX_686, '..'), async (fresh) => {
    await copyFile(join(unpacked, 'boot', name.replace('linux-image', 'vmlinuz')), join(fresh, 'vmlinuz'));
    await writeFile(join(fresh, 'package'), `${deb}\n`);
  });
  console.log(`${await sha256(LINUX_686)}  ${LINUX_686} (${deb})`);
}

async function main(): Promise<void> {
  await requireSpace(CACHE, GIGABYTES);
  const scratch = await mkdtemp(join(CACHE, 'linux-686-'));
  await withCleanup(
    () => rm(scratch, { recursive: true, force: true }),
    () => fetchKernel(scratch),
  );
}

runMain('linux-686', main);
