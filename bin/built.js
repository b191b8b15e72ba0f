// Which program to run: what is built starts several times sooner than the sources, but a checkout's may be stale.
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Has everything that is built from been left alone since? The package has no sources. */
export function isBuilt() {
  const built = modified(join(root, 'dist/cli/main.js'));
  return (
    built !== undefined && newest(join(root, 'src')) <= built && (modified(join(root, 'package.json')) ?? 0) <= built
  );
}

/** Time of the last change in a folder, of names as well as of contents; 0 without the folder. */
function newest(folder) {
  let time = modified(folder);
  if (time === undefined) return 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    time = Math.max(time, entry.isDirectory() ? newest(path) : (modified(path) ?? 0));
  }
  return time;
}

function modified(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs;
}
