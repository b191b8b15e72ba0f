import type { Drive } from '../machine/options.ts';
import { UsageError } from './errors.ts';
import { FileBlockStore } from './file-store.ts';

export interface OpenDrives {
  readonly drives: readonly Drive[];
  close(): Promise<void>;
}

/** Opens the images that the `--drive FILE[,readonly][,discard]` options name. Rejects with UsageError or DriveError. */
export async function openDrives(specs: readonly string[]): Promise<OpenDrives> {
  const stores: FileBlockStore[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(stores.map((store) => store.close()));
  };
  try {
    for (const spec of specs) {
      const { path, ...options } = parseDrive(spec);
      stores.push(await FileBlockStore.open(path, options));
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { drives: stores.map((store, index) => ({ store, id: `drive${index}` })), close };
}

/** FILE[,readonly][,discard]; a comma in the file's name is doubled, as in QEMU. */
export function parseDrive(spec: string): { path: string; readonly: boolean; discard: boolean } {
  const parts = spec.split(/(?<!,),(?!,)/).map((part) => part.replaceAll(',,', ','));
  const [path = '', ...flags] = parts;
  if (path === '') throw new UsageError(`--drive ${spec}: names no file; use FILE[,readonly][,discard]`);
  for (const flag of flags) {
    if (flag !== 'readonly' && flag !== 'discard') {
      throw new UsageError(
        `--drive ${spec}: "${flag}" is no option of a drive; use readonly or discard (a comma in the name is written ",,")`,
      );
    }
  }
  return { path, readonly: flags.includes('readonly'), discard: flags.includes('discard') };
}
