// Unpacks an initrd in xz, which costs a tenth of a second, on another thread while the program is still being loaded.
import { statSync } from 'node:fs';
import { Worker } from 'node:worker_threads';

/** Larger ones are left to the program, which shows how far it is. */
const MOST = 4 << 20;

/**
 * What `boot` with these arguments will want unpacked: { path, unpacked }, the latter a promise of the bytes, or of undefined where
 * the program is to do it itself (and to say what is wrong). undefined when there is nothing to do.
 */
export function unpackAhead(args, worker) {
  const path = args[0] === 'boot' ? initrdOf(args) : undefined;
  if (path === undefined) return undefined;
  const file = statSync(path, { throwIfNoEntry: false });
  if (file === undefined || !file.isFile() || file.size > MOST) return undefined;
  const unpacked = new Promise((resolve) => {
    const thread = new Worker(worker, { workerData: path });
    thread.on('message', resolve);
    thread.on('error', () => resolve(undefined));
    thread.on('exit', () => resolve(undefined));
  });
  return { path, unpacked };
}

function initrdOf(args) {
  const at = args.findIndex((arg) => arg === '--initrd' || arg.startsWith('--initrd='));
  if (at < 0) return undefined;
  return args[at] === '--initrd' ? args[at + 1] : args[at].slice('--initrd='.length);
}
