import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { PREBUILT } from '../images/support.ts';

export const ECHO_KERNEL = join(PREBUILT, 'ukl-echo.bzImage');
export const INITRD_XZ = join(PREBUILT, 'initrd.cpio.xz');

/** A guest that is booted up to some output. */
export interface BootGuest {
  readonly name: string;
  readonly title: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly append: string;
  readonly memoryMegabytes: number;
  readonly until: RegExp;
  readonly timeoutSeconds: number;
  /** Left out by --quick. */
  readonly slow: boolean;
}

const CONSOLE = 'console=ttyS0 net.ifnames=0 biosdevname=0';

/** Those of Debian come from `npm run images:debian`. */
export function bootGuests(debian: string): readonly BootGuest[] {
  return [
    {
      name: 'ukl-ready',
      title: 'UKL image to `ready`, xz initrd',
      kernel: ECHO_KERNEL,
      initrd: INITRD_XZ,
      append: `${CONSOLE} nowatchdog clearcpuid=smap,smep mitigations=off app=ukl`,
      memoryMegabytes: 256,
      until: /UKL-EMU: ready/,
      timeoutSeconds: 120,
      slow: false,
    },
    {
      name: 'cloud-prompt',
      title: 'Debian cloud kernel to the prompt',
      kernel: join(debian, 'cloud.vmlinuz'),
      initrd: join(debian, 'cloud.initrd.cpio.gz'),
      append: `${CONSOLE} app=shell`,
      memoryMegabytes: 512,
      until: /\nukl# /,
      timeoutSeconds: 300,
      slow: false,
    },
    {
      name: 'installer-language',
      title: 'Debian installer to "Choose language"',
      kernel: join(debian, 'installer.vmlinuz'),
      initrd: join(debian, 'installer.initrd.gz'),
      append: 'console=ttyS0',
      memoryMegabytes: 1024,
      until: /Choose the language/,
      timeoutSeconds: 900,
      slow: true,
    },
  ];
}

export const isPresent = ({ kernel, initrd }: BootGuest): boolean => existsSync(kernel) && existsSync(initrd);
