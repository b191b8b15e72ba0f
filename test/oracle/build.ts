/** Builds the native harness on demand, into a cache outside git, keyed by its source. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('./harness.c', import.meta.url));
const CACHE = fileURLToPath(new URL('../../.cache/oracle/', import.meta.url));
const FLAGS = ['-O2', '-mavx2', '-mfsgsbase', '-fno-stack-protector', '-Wall', '-Wextra'];

/** Path of the executable. Throws with gcc's message when it cannot be built. */
export function buildHarness(): string {
  const key = createHash('sha256').update(readFileSync(SOURCE)).update(FLAGS.join(' ')).digest('hex').slice(0, 16);
  const path = `${CACHE}harness-${key}`;
  if (existsSync(path)) return path;
  mkdirSync(CACHE, { recursive: true });
  const unfinished = `${path}.${process.pid}`;
  execFileSync('gcc', [...FLAGS, '-o', unfinished, SOURCE], { stdio: ['ignore', 'inherit', 'inherit'] });
  renameSync(unfinished, path);
  return path;
}

/** Why the host cannot serve as the oracle, or undefined when it can. */
export function siliconMissing(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'the silicon oracle needs Linux on x86-64';
  try {
    execFileSync('gcc', ['--version'], { stdio: 'ignore' });
  } catch {
    return 'the silicon oracle needs gcc';
  }
  const flags =
    readFileSync('/proc/cpuinfo', 'utf8')
      .match(/^flags\s*:(.*)$/m)?.[1]
      ?.split(' ') ?? [];
  const missing = ['avx2', 'fsgsbase', 'xsave'].filter((flag) => !flags.includes(flag));
  return missing.length > 0 ? `the silicon oracle needs a CPU with ${missing.join(', ')}` : undefined;
}
