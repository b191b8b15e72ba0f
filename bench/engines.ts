import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
/** A command line that starts a guest with its console on standard output. */
export interface Command {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** A FIFO that the guest's console is written to instead. */
  readonly console?: string;
}
export interface GuestRun {
  readonly kernel: string;
  readonly initrd: string;
  readonly append: string;
  readonly memoryMegabytes: number;
}

/**
 * The same features on both sides: x86-64-v2 and what operating systems use beside it, without what QEMU 7.2 does not emulate.
 * The guest's /proc/cpuinfo is compared in every run (`flagDifferences`).
 */
export const EMULATOR_CPU = 'x86-64-v2,-tsc_deadline,-nonstop_tsc,-fsrm,-rdseed,-arch_capabilities';
export const QEMU_CPU =
  'qemu64,-svm,+sep,+ssse3,+sse4.1,+sse4.2,+popcnt,+rdtscp,+pdpe1gb,+fsgsbase,+smep,+smap,+umip,+rdrand,+erms,+clflushopt';

export function emulator({ kernel, initrd, append, memoryMegabytes }: GuestRun, more: readonly string[] = []): Command {
  const guest = ['--initrd', initrd, '--append', append, '--memory', `${memoryMegabytes}M`, '--cpu', EMULATOR_CPU];
  return { command: process.execPath, args: [join(ROOT, 'bin/ukl-emu.js'), 'boot', kernel, ...guest, ...more] };
}

/** One thread, as the guest has one processor. */
export function qemu({ kernel, initrd, append, memoryMegabytes }: GuestRun): Command {
  const machine = ['-accel', 'tcg,thread=single', '-cpu', QEMU_CPU, '-m', `${memoryMegabytes}M`];
  const plain = ['-nodefaults', '-nographic', '-no-reboot', '-serial', 'stdio'];
  return {
    command: 'qemu-system-x86_64',
    args: [...machine, ...plain, '-kernel', kernel, '-initrd', initrd, '-append', append],
  };
}

/** First line of `qemu-system-x86_64 --version`, or undefined when it is not installed. */
export function qemuVersion(): string | undefined {
  try {
    return execFileSync('qemu-system-x86_64', ['--version'], { encoding: 'utf8' }).split('\n')[0]!.trim();
  } catch {
    return undefined;
  }
}
export const QEMU_HINT =
  'qemu-system-x86_64 is not installed, so there is nothing to compare with; on Debian: apt-get install qemu-system-x86';
