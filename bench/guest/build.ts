import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cpio } from '../../images/cpio.ts';
import { BUILD_SECONDS } from '../../images/pins.ts';
import { CACHE, Failure } from '../../images/support.ts';

export type Width = 64 | 32;

const HEADERS = ['tests.h'];
/** Static, so that guest and host run the same bytes; loops stay loops instead of becoming calls of memset. */
const FLAGS = ['-O2', '-static', '-fno-tree-loop-distribute-patterns', '-Wall', '-Wextra'];
/** The hot loop at 64 places is 64-bit assembly. In 32-bit code doubles are SSE's too, as they are in 64-bit code. */
const VARIANTS: Readonly<Record<Width, { readonly sources: readonly string[]; readonly flags: readonly string[] }>> = {
  64: { sources: ['compute-set.c', 'tests.c', 'alignment.c'], flags: FLAGS },
  32: { sources: ['compute-set.c', 'tests.c'], flags: [...FLAGS, '-m32', '-march=pentium4', '-mfpmath=sse'] },
};

/** The compute set as a program of this machine and as an initrd with it as /init. */
export interface GuestProgram {
  readonly program: string;
  readonly initrd: string;
  /** SHA-256 of the program: figures of different builds are not to be compared. */
  readonly sha256: string;
}

/** Built once for each state of the sources, into the user's cache. */
export function buildGuestProgram(width: Width = 64): GuestProgram {
  const { sources, flags } = VARIANTS[width];
  const source = (name: string): string => join(import.meta.dirname, name);
  const hash = createHash('sha256').update(flags.join(' '));
  for (const name of [...sources, ...HEADERS]) hash.update(readFileSync(source(name)));
  const directory = join(CACHE, 'bench', hash.digest('hex').slice(0, 16));
  const [program, initrd] = [join(directory, 'compute-set'), join(directory, 'compute-set.cpio')];
  if (!existsSync(initrd)) {
    const fresh = `${directory}.${process.pid}`;
    mkdirSync(fresh, { recursive: true });
    try {
      execFileSync('gcc', [...flags, '-o', join(fresh, 'compute-set'), ...sources.map(source)], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
    } catch (error) {
      rmSync(fresh, { recursive: true });
      throw new Failure(
        (error as NodeJS.ErrnoException).code === 'ENOENT'
          ? 'gcc is not installed, and the compute set is built with it; on Debian: apt-get install gcc libc6-dev'
          : `the compute set cannot be built: ${(error as { stderr?: Buffer }).stderr?.toString().trim() ?? error}`,
      );
    }
    const content = readFileSync(join(fresh, 'compute-set'));
    const archive = cpio(
      [
        { kind: 'directory', path: 'dev' },
        { kind: 'directory', path: 'proc' },
        { kind: 'device', path: 'dev/console', major: 5, minor: 1 },
        { kind: 'file', path: 'init', mode: 0o755, content },
      ],
      BUILD_SECONDS,
    );
    writeFileSync(join(fresh, 'compute-set.cpio'), archive);
    rmSync(directory, { recursive: true, force: true });
    renameSync(fresh, directory);
  }
  return { program, initrd, sha256: createHash('sha256').update(readFileSync(program)).digest('hex') };
}
