import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Failure, run, withCleanup } from '../images/support.ts';
import type { Command, GuestRun } from './engines.ts';

export interface Bochs {
  readonly version: string;
  /** Built with its debugger (Debian's is), which waits for a command before the first instruction. */
  readonly hasDebugger: boolean;
}

const SHARE = '/usr/share/bochs';
const BOOT_LOADER = '/usr/lib/ISOLINUX/isolinux.bin';
const BOOT_LOADER_CORE = '/usr/lib/syslinux/modules/bios/ldlinux.c32';
/** Debian's packages by a file of each; Bochs has no loader for kernels, so a guest is a CD with one. */
const PACKAGES: Readonly<Record<string, string>> = {
  [`${SHARE}/BIOS-bochs-latest`]: 'bochsbios',
  [`${SHARE}/VGABIOS-lgpl-latest`]: 'vgabios',
  [BOOT_LOADER]: 'isolinux',
  [BOOT_LOADER_CORE]: 'syslinux-common',
  '/usr/bin/xorriso': 'xorriso',
};

/** Features as near to `EMULATOR_CPU`'s as its options get; the guest's own list is compared in every run. */
export const BOCHS_CPU =
  'level=6, family=6, model=15, stepping=1, mmx=1, sep=1, simd=sse4_2, apic=xapic, x86_64=1, 1g_pages=1, fsgsbase=1, ' +
  'smep=1, smap=1, xsave=0, aes=0, movbe=0, mwait=0, vmx=0, svm=0';
/** Its clock counts instructions: near to what it executes a second, timers tick at about the usual rate. */
const INSTRUCTIONS_PER_SECOND = 50_000_000;

/** Bochs if everything is there that it takes to boot a kernel, else one line that says how to get it. */
export function findBochs(
  isPresent: (path: string) => boolean = existsSync,
  help: () => string = helpText,
): Bochs | string {
  const text = help();
  const version = /Bochs x86 Emulator (\S+)/.exec(text)?.[1];
  const plugins = /LTDL_LIBRARY_PATH .*'(.*)'/.exec(text)?.[1];
  const missing = [
    ...(version === undefined ? ['bochs'] : []),
    // the one display that needs neither a window nor an open port
    ...(plugins !== undefined && isPresent(join(plugins, 'libbx_term_gui.so')) ? [] : ['bochs-term']),
    ...Object.keys(PACKAGES).flatMap((path) => (isPresent(path) ? [] : PACKAGES[path]!)),
  ];
  if (version !== undefined && missing.length === 0) return { version, hasDebugger: text.includes('-rc filename') };
  const what = version === undefined ? 'bochs is not installed' : 'bochs is installed, but not all that it boots with';
  return `${what}: no column for it (it is optional); on Debian: apt-get install ${missing.join(' ')}`;
}

/** It says its version on standard error, whatever it is asked. */
function helpText(): string {
  const { stdout, stderr } = spawnSync('bochs', ['--help'], { encoding: 'utf8' });
  return `${stdout ?? ''}${stderr ?? ''}`;
}

/** Its configuration for a guest whose files are in `directory`: no window, no sound, the serial port as a FIFO. */
export function bochsConfiguration(directory: string, memoryMegabytes: number): string {
  const file = (name: string): string => `"${join(directory, name)}"`;
  return [
    'config_interface: textconfig',
    'display_library: term',
    `romimage: file="${SHARE}/BIOS-bochs-latest"`,
    `vgaromimage: file="${SHARE}/VGABIOS-lgpl-latest"`,
    `cpu: count=1, ips=${INSTRUCTIONS_PER_SECOND}, reset_on_triple_fault=0`,
    `cpuid: ${BOCHS_CPU}`,
    `memory: guest=${memoryMegabytes}, host=${memoryMegabytes}`,
    'clock: sync=none, time0=utc',
    'ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14',
    `ata0-master: type=cdrom, path=${file('guest.iso')}, status=inserted`,
    'boot: cdrom',
    `com1: enabled=1, mode=file, dev=${file('console')}`,
    'speaker: enabled=0',
    'sound: waveoutdrv=dummy',
    `log: ${join(directory, 'log')}`,
    'panic: action=fatal',
    'error: action=report',
    'info: action=ignore',
    'debug: action=ignore',
    '',
  ].join('\n');
}

export function bootLoaderConfiguration(append: string): string {
  return [
    'DEFAULT guest',
    'PROMPT 0',
    'TIMEOUT 0',
    'LABEL guest',
    '  KERNEL /kernel',
    '  INITRD /initrd',
    `  APPEND ${append}`,
    '',
  ].join('\n');
}

/** Makes what Bochs needs for one guest in a temporary directory, which is gone after `work`. */
export async function withBochs<T>(
  { hasDebugger }: Bochs,
  guest: GuestRun,
  work: (command: Command) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'ukl-emu-bochs-'));
  const at = (...names: string[]): string => join(directory, ...names);
  const remove = (): Promise<void> => rm(directory, { recursive: true, force: true });
  return withCleanup(remove, async () => {
    await mkdir(at('cd'));
    const files = {
      kernel: guest.kernel,
      initrd: guest.initrd,
      'isolinux.bin': BOOT_LOADER,
      'ldlinux.c32': BOOT_LOADER_CORE,
    };
    for (const [name, target] of Object.entries(files)) await symlink(target, at('cd', name));
    await writeFile(at('cd', 'isolinux.cfg'), bootLoaderConfiguration(guest.append));
    const image = ['-as', 'mkisofs', '-quiet', '-f', '-o', at('guest.iso')];
    const elTorito = [
      '-b',
      'isolinux.bin',
      '-c',
      'boot.cat',
      '-no-emul-boot',
      '-boot-load-size',
      '4',
      '-boot-info-table',
    ];
    await run('xorriso', [...image, ...elTorito, at('cd')]);
    await writeFile(at('bochsrc'), bochsConfiguration(directory, guest.memoryMegabytes));
    await writeFile(at('commands'), 'continue\n');
    await run('mkfifo', [at('console')]);
    const args = ['-q', '-f', at('bochsrc'), ...(hasDebugger ? ['-rc', at('commands')] : [])];
    try {
      return await work({ command: 'bochs', args, env: { TERM: 'vt100' }, console: at('console') });
    } catch (error) {
      const log = await readFile(at('log'), 'latin1').catch(() => '');
      const panic = /^\d+p.*$/m.exec(log)?.[0] ?? '';
      throw new Failure(`${(error as Error).message} ${panic} (--without bochs leaves it out)`);
    }
  });
}
