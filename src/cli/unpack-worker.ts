import { readFile } from 'node:fs/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { xz } from '../loader/decompress/xz.ts';
import { loadInitrd } from '../loader/initrd.ts';

/** The initrd named by workerData, unpacked, to the thread that asked (bin/ahead.js); undefined unless it is in xz and whole. */
async function unpack(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const bytes = await readFile(path);
  if (!xz.detect(bytes)) return undefined;
  try {
    return new Uint8Array(await loadInitrd({ name: path, bytes }, { unpack: 'host', maxOutput: 2 ** 31 }));
  } catch {
    return undefined;
  }
}

const unpacked = await unpack(workerData);
parentPort?.postMessage(unpacked, unpacked ? [unpacked.buffer] : []);
