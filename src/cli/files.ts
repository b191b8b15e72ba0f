import { open } from 'node:fs/promises';
import type { NamedBytes } from '../loader/load.ts';
import { LoadError, unreadableFile } from '../loader/load-error.ts';

/** No kernel or initrd is larger: guest memory ends at 4 GiB, and Node reads less than 2 GiB at once. */
const MAX_SIZE = 2 ** 31 - 1;

/** Reads a kernel or initrd. Rejects with LoadError. */
export async function readInput(path: string): Promise<NamedBytes> {
  try {
    const file = await open(path, 'r');
    try {
      const info = await file.stat();
      if (info.isDirectory()) throw unreadableFile(path, 'EISDIR');
      if (!info.isFile() && !info.isFIFO()) {
        throw new LoadError({ file: path, field: 'path', problem: 'is a device or socket', remedy: 'name a file' });
      }
      if (info.size > MAX_SIZE) throw unreadableFile(path, 'ERR_FS_FILE_TOO_LARGE');
      return { name: path, bytes: await file.readFile() };
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof LoadError) throw error;
    throw unreadableFile(path, (error as NodeJS.ErrnoException).code ?? String(error));
  }
}
