/**
 * Kernels and programs nobody here wrote, as `npm run images:debian` fetches them. By hand, since they take minutes:
 * `UKL_EMU_DEBIAN=1 npx vitest run --project guest test/guest/debian.test.ts` (`-t installer` for one of them).
 * UKL_EMU_ENGINE=interpreter runs them without the translator.
 */
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Machine, type MachineOptions } from '../../src/index.ts';
import { ENGINE, recordSerial } from './support.ts';

const IMAGES = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'ukl-emu', 'debian');
const MISSING =
  process.env['UKL_EMU_DEBIAN'] === '1'
    ? existsSync(join(IMAGES, 'index.json'))
      ? undefined
      : `skipped: no images in ${IMAGES}; npm run images:debian fetches them`
    : 'skipped: takes minutes; UKL_EMU_DEBIAN=1 runs it';

if (MISSING !== undefined && process.env['UKL_EMU_DEBIAN'] === '1') console.warn(MISSING);

const SECOND = 1000;
const PROMPT = /\nukl# /;
const COMMAND_LIMIT = 120 * SECOND;
const BOOT_LIMIT = 240 * SECOND;
const SHELL = 'console=ttyS0 net.ifnames=0 biosdevname=0 app=shell';

const image = (name: string) => ({ name, bytes: readFileSync(join(IMAGES, name)) });

function debian(kernel: 'cloud' | 'amd64', options: Partial<MachineOptions> = {}): Promise<Machine> {
  return Machine.create({
    kernel: image(`${kernel}.vmlinuz`),
    initrd: image(`${kernel}.initrd.cpio.gz`),
    cmdline: SHELL,
    clock: 'instructions',
    engine: ENGINE,
    ...options,
  });
}

/** Boots to the shell. */
async function boot(machine: Machine): Promise<Machine> {
  void machine.run();
  await machine.waitFor(PROMPT, BOOT_LIMIT);
  return machine;
}

/** What a command at the shell's prompt prints. */
async function command(machine: Machine, line: string): Promise<string> {
  await machine.serial.write(`${line}; echo "=$?="\r`);
  const [text] = await machine.waitFor(/\r\n[\s\S]*?=0=\r/, COMMAND_LIMIT);
  await machine.waitFor(/ukl# /, COMMAND_LIMIT);
  return text;
}

/** What any Linux must be able to do, whatever the processor and the memory. */
async function checkShell(machine: Machine): Promise<void> {
  const cpus = await command(machine, 'cat /proc/cpuinfo');
  expect(cpus).toMatch(/model name\s*: ukl-emu/);
  expect(cpus).toContain('GenuineIntel');
  expect(await command(machine, 'uname -a')).toMatch(/Linux .*Debian 6\.1\..* x86_64/);
  expect(await command(machine, 'ls -lR /bin /etc /lib | wc -l')).toMatch(/\n[1-9]\d{2,}\r/);
  expect(await command(machine, 'dd if=/dev/urandom bs=64k count=16 | sha256sum')).toMatch(/[\da-f]{64} {2}-/);
  // FIPS 180-2, appendix B.1
  expect(await command(machine, 'printf abc | sha256sum')).toContain(
    'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
  );
  expect(await command(machine, 'free -m')).toMatch(/Mem: +\d+/);
  expect(await command(machine, 'dmesg | tail')).toContain('[');
  expect(await command(machine, 'dmesg | grep -cE "Call Trace|BUG:|Oops|WARNING: CPU"; true')).toContain('\n0\r');
  await machine.serial.write('poweroff -f\r');
}

function shellTest(name: string, kernel: 'cloud' | 'amd64', options: Partial<MachineOptions> = {}): void {
  test(name, { timeout: BOOT_LIMIT + 8 * COMMAND_LIMIT }, async () => {
    await using machine = await boot(await debian(kernel, options));
    await checkShell(machine);
    expect(await machine.run()).toEqual({ kind: 'power-off' });
  });
}

describe.skipIf(MISSING !== undefined)(`Debian${MISSING === undefined ? '' : ` (${MISSING})`}`, () => {
  for (const kernel of ['cloud', 'amd64'] as const) {
    for (const cpu of ['x86-64-v1', 'x86-64-v2', 'x86-64-v3', 'max']) {
      shellTest(`${kernel} kernel on ${cpu}`, kernel, { cpu });
    }
    shellTest(`${kernel} kernel unpacks itself and its initrd`, kernel, { unpack: 'guest' });
    shellTest(`${kernel} kernel with the clock of the host`, kernel, { clock: 'host' });
  }
  shellTest('cloud kernel with memory above 4 GiB', 'cloud', { memory: '4G' });

  // this kernel warns of MSI without an APIC, on any machine
  test('without ACPI the machine halts at the end', { timeout: BOOT_LIMIT + 8 * COMMAND_LIMIT }, async () => {
    await using machine = await boot(await debian('cloud', { cmdline: `${SHELL} acpi=off pci=nomsi` }));
    await checkShell(machine);
    expect((await machine.run()).kind).toBe('halted');
  });

  test('the translator changes nothing', { timeout: 2 * BOOT_LIMIT }, async () => {
    const run = async (engine: 'auto' | 'interpreter') => {
      await using machine = await debian('cloud', { engine, exitOn: PROMPT });
      const output = recordSerial(machine);
      const { kind } = await machine.run();
      const { instructions, repIterations, interrupts, exceptions } = machine.stats();
      return { kind, output: output(), instructions, repIterations, interrupts, exceptions };
    };
    const interpreted = await run('interpreter');
    expect(interpreted.kind).toBe('matched');
    expect(await run('auto')).toEqual(interpreted);
  });

  test('installer to its first question', { timeout: 1200 * SECOND }, async () => {
    await using machine = await Machine.create({
      kernel: image('installer.vmlinuz'),
      initrd: image('installer.initrd.gz'),
      cmdline: 'console=ttyS0',
      memory: '1G',
      engine: ENGINE,
      timeoutMs: 1000 * SECOND,
      exitOn: /Choose the language/,
    });
    expect((await machine.run()).kind).toBe('matched');
  });

  test('memtest86+ passes once over 64 MiB', { timeout: 1200 * SECOND }, async () => {
    await using machine = await Machine.create({
      kernel: image('memtest86+x64.bin'),
      cmdline: 'console=ttyS0,115200',
      memory: '64M',
      engine: ENGINE,
      timeoutMs: 1000 * SECOND,
      exitOn: /Pass: +1 +Errors: 0/,
    });
    expect((await machine.run()).kind).toBe('matched');
  });

  test('iPXE, which wants a BIOS, is refused', async () => {
    await expect(Machine.create({ kernel: image('ipxe.lkrn') })).rejects.toThrow(/ipxe\.lkrn/);
  });
});
