import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CACHE } from '../images/support.ts';
import type { Command, GuestRun } from './engines.ts';
import type { V86Guest } from './v86-guest.ts';

const ROOT = join(import.meta.dirname, '..');

/** v86, a 32-bit emulator for browsers that runs in Node too: npm's package, where somebody has installed it. */
export interface V86 {
  readonly version: string;
  /** Directory of the package. */
  readonly directory: string;
}

/** Where `node bench/linux-686.ts` puts Debian's kernel for 32-bit processors, and the release it is of. */
export const LINUX_686 = join(CACHE, 'linux-686', 'vmlinuz');
export const RELEASE_686 = 'bookworm';
export const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** SeaBIOS: npm's package has no firmware. */
const BIOS = '/usr/share/seabios/bios.bin';
const VGA_BIOS = '/usr/share/seabios/vgabios-stdvga.bin';

/** The package in `given` (itself or its node_modules) or, without that, in this project; else one line that says how to get it. */
export function findV86(given: string | undefined, isPresent: (path: string) => boolean = existsSync): V86 | string {
  const places = given === undefined ? [join(ROOT, 'node_modules/v86')] : [given, join(given, 'node_modules/v86')];
  const directory = places.find(
    (place) => isPresent(join(place, 'build/libv86.mjs')) && isPresent(join(place, 'build/v86.wasm')),
  );
  if (directory === undefined) {
    const where =
      given === undefined
        ? 'v86 is not installed'
        : `--v86 ${given}: no v86 there (build/libv86.mjs and build/v86.wasm)`;
    return `${where}: no comparison on 32-bit guests (it is optional); npm install --no-save v86, or --v86 DIR`;
  }
  if (!isPresent(BIOS) || !isPresent(VGA_BIOS)) {
    return 'v86 is installed, but no firmware for it: no comparison on 32-bit guests; on Debian: apt-get install seabios';
  }
  return { version: versionOf(directory), directory };
}

function versionOf(directory: string): string {
  try {
    const { version } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { version?: string };
    return version ?? 'unknown';
  } catch {
    return 'unknown';
  }
}

export function v86({ directory }: V86, { kernel, initrd, append, memoryMegabytes }: GuestRun): Command {
  const guest: V86Guest = { directory, bios: BIOS, vgaBios: VGA_BIOS, kernel, initrd, append, memoryMegabytes };
  return { command: process.execPath, args: [join(import.meta.dirname, 'v86-guest.ts'), JSON.stringify(guest)] };
}

/** What a 32-bit guest is made of, as far as it is there; else one line that says how to get it. */
export function missingFor32Bit(
  isPresent: (path: string) => boolean = existsSync,
  compiles: () => boolean = compiles32Bit,
): string | undefined {
  const steps = [
    ...(isPresent(LINUX_686) ? [] : ["node bench/linux-686.ts (fetches Debian's kernel, 50 MB)"]),
    ...(compiles() ? [] : ['on Debian apt-get install gcc-multilib']),
  ];
  return steps.length === 0
    ? undefined
    : `no comparison on 32-bit guests, for which something is missing: ${steps.join('; ')}`;
}

/** Whether gcc can build static 32-bit programs here. */
function compiles32Bit(): boolean {
  const arguments_ = ['-m32', '-static', '-x', 'c', '-o', '/dev/null', '-'];
  return (
    spawnSync('gcc', arguments_, { input: '#include <stdio.h>\nint main(void) { return puts(""); }\n' }).status === 0
  );
}

/** Whether this machine's kernel runs a (32-bit) program at all. */
export function runsHere(program: string): boolean {
  return spawnSync(program, [], { env: { only: 'nothing' } }).status === 0;
}
