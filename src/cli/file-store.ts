import { execFile } from 'node:child_process';
import { type FileHandle, open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import type { BlockStore } from '../devices/virtio/block-store.ts';

/** A disk whose bytes are a regular file on the host, read and written without blocking the emulator. */

export interface FileStoreOptions {
  readonly?: boolean;
  /** Give discarded ranges back to the host's file system. */
  discard?: boolean;
}

/** A drive that cannot be opened; the message is one line for the user. */
export class DriveError extends Error {
  override readonly name = 'DriveError';
  readonly path: string;

  constructor(path: string, reason: string, cause?: unknown) {
    super(`drive ${path}: ${reason}`, { cause });
    this.path = path;
  }
}

const SECTOR = 512;
const run = promisify(execFile);

const DIRECTORY = 'is a directory, not a disk image';

const REASONS: Record<string, string> = {
  ENOENT: 'no such file (create one, e.g. with: truncate -s 1G FILE)',
  EACCES: 'permission denied (use readonly if it may only be read)',
  EROFS: 'its file system is read-only (use readonly)',
  EISDIR: DIRECTORY,
};

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return (code !== undefined ? REASONS[code] : undefined) ?? message;
}

export class FileBlockStore implements BlockStore {
  readonly size: number;
  readonly readonly: boolean;
  readonly canDiscard: boolean;
  readonly #path: string;
  readonly #file: FileHandle;

  private constructor(path: string, file: FileHandle, size: number, options: FileStoreOptions) {
    this.#path = path;
    this.#file = file;
    this.size = size;
    this.readonly = options.readonly ?? false;
    this.canDiscard = options.discard ?? false;
  }

  /** Opens a raw image; a tail of less than a sector is left out. Rejects with a DriveError. */
  static async open(path: string, options: FileStoreOptions = {}): Promise<FileBlockStore> {
    let file: FileHandle;
    try {
      file = await open(path, options.readonly === true ? 'r' : 'r+');
    } catch (error) {
      throw new DriveError(path, reasonOf(error), error);
    }
    const info = await file.stat();
    const size = info.size - (info.size % SECTOR);
    if (info.isFile() && size > 0) return new FileBlockStore(resolve(path), file, size, options);
    await file.close();
    const reason = info.isDirectory() ? DIRECTORY : 'is not a regular file of at least 512 bytes';
    throw new DriveError(path, reason);
  }

  async readAt(offset: number, into: Uint8Array): Promise<void> {
    let done = 0;
    while (done < into.length) {
      const { bytesRead } = await this.#file.read(into, done, into.length - done, offset + done);
      if (bytesRead === 0) {
        // Someone has shortened the file: what is gone reads as zeroes.
        into.fill(0, done);
        return;
      }
      done += bytesRead;
    }
  }

  async writeAt(offset: number, bytes: Uint8Array): Promise<void> {
    let done = 0;
    while (done < bytes.length) {
      const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, offset + done);
      done += bytesWritten;
    }
  }

  async flush(): Promise<void> {
    if (!this.readonly) await this.#file.datasync();
  }

  /** Punches a hole. Node has no call for it, so util-linux's `fallocate` does it; without that the range stays as it is. */
  async discard(offset: number, length: number): Promise<void> {
    const range = ['--offset', String(offset), '--length', String(length)];
    await run('fallocate', ['--punch-hole', ...range, this.#path]).catch(() => undefined);
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
