/**
 * Checks the prebuilt files against the manifest, then rebuilds every image in another directory and compares it:
 * `npm run images:verify [-- --prebuilt]`, with --prebuilt only the first, which takes a moment.
 */
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildImages } from './build.ts';
import { type Artefact, compare, PREBUILT_NAMES, readManifest } from './manifest.ts';
import { Failure, PREBUILT, runMain, sha256, withCleanup } from './support.ts';

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { prebuilt: { type: 'boolean' } } });
  const expected = await readManifest();
  const prebuilt: Artefact[] = [];
  for (const name of PREBUILT_NAMES) {
    const path = join(PREBUILT, name);
    const size = await stat(path).then(
      (file) => file.size,
      () => undefined,
    );
    if (size !== undefined) prebuilt.push({ name, size, sha256: await sha256(path) });
  }
  const stale = compare(
    prebuilt,
    expected.filter(({ name }) => PREBUILT_NAMES.includes(name)),
  );
  if (stale.length > 0) throw new Failure(`images/prebuilt is not what the manifest says: ${stale.join('; ')}`);
  console.log(`images/prebuilt: ${prebuilt.length} files as in images/manifest.json`);

  if (values.prebuilt) return;

  const directory = await mkdtemp(join(tmpdir(), 'ukl-emu-verify-'));
  const remove = () => rm(directory, { recursive: true, force: true });
  const rebuilt = await withCleanup(remove, () => buildImages(directory, join(directory, 'out')));
  const differences = compare(rebuilt, expected);
  if (differences.length > 0) throw new Failure(`not reproduced: ${differences.join('; ')}`);
  console.log(`rebuilt in ${directory}: ${rebuilt.length} files, all as in images/manifest.json`);
}

runMain('images:verify', main);
