import type { Drive } from '../machine/options.ts';
import { TRANSPORTS } from '../net/options.ts';
import { UsageError } from './errors.ts';
import { FileBlockStore } from './file-store.ts';

export interface OpenDrives {
  readonly drives: readonly Drive[];
  close(): Promise<void>;
}

const FORM = 'FILE[,readonly][,discard][,transport=TRANSPORT]';

/** What one `--drive` says. */
interface DriveSpec {
  readonly path: string;
  readonly readonly: boolean;
  readonly discard: boolean;
  readonly transport?: NonNullable<Drive['transport']>;
}

/** Opens the images that the `--drive` options name (`parseDrive`). Rejects with UsageError or DriveError. */
export async function openDrives(specs: readonly string[]): Promise<OpenDrives> {
  const stores: FileBlockStore[] = [];
  const drives: Drive[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(stores.map((store) => store.close()));
  };
  try {
    for (const spec of specs) {
      const { path, transport, ...options } = parseDrive(spec);
      const store = await FileBlockStore.open(path, options);
      drives.push({ store, id: `drive${stores.length}`, ...(transport && { transport }) });
      stores.push(store);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { drives, close };
}

/** FILE[,readonly][,discard][,transport=TRANSPORT]; a comma in the file's name is doubled, as in QEMU. */
export function parseDrive(spec: string): DriveSpec {
  const parts = spec.split(/(?<!,),(?!,)/).map((part) => part.replaceAll(',,', ','));
  const [path = '', ...options] = parts;
  if (path === '') throw new UsageError(`--drive ${spec}: names no file; use ${FORM}`);
  let transport: DriveSpec['transport'];
  for (const option of options) {
    const [key, value] = option.split('=', 2);
    if (key === 'transport') {
      if (transport !== undefined) throw new UsageError(`--drive ${spec}: transport is given twice`);
      transport = TRANSPORTS.find((name) => name === value);
      if (transport === undefined) {
        throw new UsageError(`--drive ${spec}: "${option}" is none of ${TRANSPORTS.join(', ')}`);
      }
    } else if (option !== 'readonly' && option !== 'discard') {
      throw new UsageError(
        `--drive ${spec}: "${option}" is no option of a drive; use readonly, discard or transport=TRANSPORT (a comma in the name is written ",,")`,
      );
    }
  }
  return {
    path,
    readonly: options.includes('readonly'),
    discard: options.includes('discard'),
    ...(transport && { transport }),
  };
}
