import { access, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { parseSymbolMap, readElfSymbols, type SymbolTable } from '../loader/symbols.ts';
import { UsageError } from './errors.ts';

/** No vmlinux is larger unpacked. */
const MAX_UNPACKED = 2 ** 31 - 1;
const ELF_MAGIC = 0x7f454c46;
const GZIP_MAGIC = 0x1f8b;

/** Symbols from an ELF file, System.map or /proc/kallsyms, gzipped or not. Rejects with UsageError. */
export async function readSymbolFile(path: string): Promise<SymbolTable> {
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(
      `--symbols ${path}: cannot be read (${error.code}); name a vmlinux, System.map or kallsyms file`,
    );
  });
  const plain = bytes.length > 2 && bytes.readUInt16BE(0) === GZIP_MAGIC ? await unpack(path, bytes) : bytes;
  const isElf = plain.length > 4 && plain.readUInt32BE(0) === ELF_MAGIC;
  const symbols = isElf ? readElfSymbols(plain) : parseSymbolMap(plain.toString('latin1'));
  if (symbols === undefined || symbols.symbols.length === 0) {
    throw new UsageError(`--symbols ${path}: holds no symbols; name a vmlinux, System.map or kallsyms file`);
  }
  return symbols;
}

/** The symbols that an ELF kernel brings along; undefined when it has none or is no ELF file. */
export async function readSymbolsIfElf(path: string): Promise<SymbolTable | undefined> {
  const bytes = await readFile(path).catch(() => undefined);
  if (bytes === undefined || bytes.length < 64 || bytes.readUInt32BE(0) !== ELF_MAGIC) return undefined;
  const symbols = readElfSymbols(bytes);
  return symbols === undefined || symbols.symbols.length === 0 ? undefined : symbols;
}

async function unpack(path: string, bytes: Uint8Array): Promise<Buffer> {
  try {
    return await promisify(gunzip)(bytes, { maxOutputLength: MAX_UNPACKED });
  } catch (error) {
    throw new UsageError(`--symbols ${path}: is damaged: ${(error as Error).message}; make it anew`);
  }
}

/** The file with the symbols of a kernel that lies beside it, by the names that builds and distributions give; undefined if none. */
export async function findSymbolFile(kernel: string): Promise<string | undefined> {
  const base = kernel.replace(/\.(bzImage|vmlinuz|vmlinux|elf)$/, '');
  const release = /^(.*\/)?(?:vmlinuz|vmlinux|bzImage)-(.+)$/.exec(kernel);
  const directory = /^(.*\/)?/.exec(kernel)?.[1] ?? '';
  const candidates = [
    `${base}.System.map.gz`,
    `${base}.System.map`,
    ...(release ? [`${release[1] ?? ''}System.map-${release[2]}`] : []),
    `${base}.vmlinux`,
    `${directory}System.map`,
  ];
  for (const candidate of candidates) {
    const exists = await access(candidate).then(
      () => true,
      () => false,
    );
    if (exists) return candidate;
  }
  return undefined;
}
