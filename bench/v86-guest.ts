/**
 * Boots a Linux kernel in v86 with its console on standard output: `node bench/v86-guest.ts JSON`, the words of `V86Guest`. It runs until it
 * is killed.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

export interface V86Guest {
  /** Of v86's package. */
  readonly directory: string;
  readonly bios: string;
  readonly vgaBios: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly append: string;
  readonly memoryMegabytes: number;
}

/** As much of v86's interface as is used here. */
interface Library {
  readonly V86: new (
    options: object,
  ) => {
    add_listener(event: 'serial0-output-byte', listener: (byte: number) => void): void;
  };
}

const MEGABYTE = 1 << 20;

async function main(guest: V86Guest): Promise<void> {
  const { V86 }: Library = await import(pathToFileURL(join(guest.directory, 'build/libv86.mjs')).href);
  const image = (path: string) => ({ buffer: new Uint8Array(readFileSync(path)).buffer });
  const emulator = new V86({
    wasm_path: join(guest.directory, 'build/v86.wasm'),
    memory_size: guest.memoryMegabytes * MEGABYTE,
    vga_memory_size: 2 * MEGABYTE,
    bios: image(guest.bios),
    vga_bios: image(guest.vgaBios),
    bzimage: image(guest.kernel),
    initrd: image(guest.initrd),
    cmdline: guest.append,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
    autostart: true,
  });
  let line: number[] = [];
  emulator.add_listener('serial0-output-byte', (byte) => {
    line.push(byte);
    if (byte !== 10) return;
    process.stdout.write(Buffer.from(line));
    line = [];
  });
}

if (import.meta.main) await main(JSON.parse(process.argv[2] ?? '{}') as V86Guest);
