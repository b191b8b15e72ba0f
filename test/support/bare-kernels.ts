import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PROGRAMS = new URL('../programs/', import.meta.url).pathname;

export interface KernelBuild {
  /** File in test/programs. */
  readonly source: string;
  readonly bits: 32 | 64;
  /** Physical address it is linked at. */
  readonly base: number;
  readonly defines?: readonly string[];
  /** Class of the ELF, if it is not that of the code. */
  readonly container?: 32 | 64;
}

/** A directory for kernels made from test/programs with the host's compiler. */
export class KernelDirectory {
  readonly path = mkdtempSync(join(tmpdir(), 'ukl-emu-kernels-'));

  /** Compiles and links; returns the file's path. */
  build(name: string, { source, bits, base, defines = [], container = bits }: KernelBuild): string {
    const file = join(this.path, name);
    execFileSync('gcc', [
      ...[`-m${bits}`, '-O1', '-ffreestanding', '-fno-pic', '-no-pie', '-mno-red-zone', '-mgeneral-regs-only'],
      ...['-fno-stack-protector', '-fno-asynchronous-unwind-tables', '-fcf-protection=none', '-nostdlib', '-static'],
      ...['-Wall', '-Wno-main', '-Wno-unused-function', '-Wno-array-bounds', '-z', 'noexecstack'],
      ...['-Wl,--build-id=none', '-Wl,--no-warn-rwx-segments', `-Wl,--defsym,BASE=${base}`],
      ...[`-Wl,-T,${PROGRAMS}bare.ld`, ...defines.map((define) => `-D${define}`), `${PROGRAMS}${source}`, '-o', file],
    ]);
    if (container !== bits) {
      const formats = { 32: 'elf32-i386', 64: 'elf64-x86-64' } as const;
      execFileSync('objcopy', ['-I', formats[bits], '-O', formats[container], file]);
    }
    return file;
  }

  remove(): void {
    rmSync(this.path, { recursive: true });
  }
}
