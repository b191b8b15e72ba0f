import { createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import type { NetBackend } from './backend.ts';
import { NetError } from './errors.ts';
import { captured } from './pcap.ts';

/**
 * `backend` with its frames recorded in the file `path`, which is replaced. Rejects with NetError if it cannot be written. Once it
 * cannot be written any more (a full disk) recording stops and `onError` is told; the network goes on.
 */
export async function captureToFile(
  backend: NetBackend,
  path: string,
  onError: (error: NetError) => void = () => {},
): Promise<NetBackend> {
  const problem = (error: unknown): NetError =>
    new NetError(`pcap ${path}: ${error instanceof Error ? error.message : String(error)}`);
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, 'w');
  } catch (error) {
    throw problem(error);
  }
  const stream = createWriteStream(path, { fd: file, highWaterMark: 1 << 20 });
  let isBroken = false;
  stream.on('error', (error) => {
    if (!isBroken) onError(problem(error));
    isBroken = true;
  });
  return captured(
    backend,
    (bytes) => {
      if (!isBroken) stream.write(bytes);
    },
    () =>
      new Promise((resolve) => {
        if (isBroken) resolve();
        else stream.end(() => resolve());
      }),
  );
}
