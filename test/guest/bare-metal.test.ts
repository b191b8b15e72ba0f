import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KernelDirectory } from '../support/bare-kernels.ts';
import { runCli } from './support.ts';

/** Small kernels of our own, by every boot protocol, that print what they find; the same files were run under QEMU 7.2. */
const kernels = new KernelDirectory();
afterAll(() => kernels.remove());

const module1 = join(kernels.path, 'one');
const module2 = join(kernels.path, 'two');
beforeAll(() => {
  writeFileSync(module1, 'abc');
  writeFileSync(module2, gzipSync('hello'));
});

interface Boot {
  readonly code: number | null;
  readonly stderr: string;
  readonly lines: readonly string[];
  /** "name=value" lines; of several of one name the last. */
  readonly values: Readonly<Record<string, string>>;
}
async function boot(kernel: string, append: string, ...more: string[]): Promise<Boot> {
  const args = ['boot', kernel, '--append', append, '--memory', '64M', '--timeout', '20', ...more];
  const { code, stdout, stderr } = await runCli(args);
  const lines = stdout.trimEnd().split('\n');
  return { code, stderr, lines, values: Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2))) };
}

/** What no protocol leaves open: flat segments, interrupts off, A20 open. */
const FLAT = { interrupts: '0', 'cs limit': 'ffffffff', 'ss limit': 'ffffffff', 'tr limit': '67', a20: '1' };
const PROTECTED = { ...FLAT, cr0: '11', cr4: '0' };
const PLATFORM = {
  'bda com1': '3f8',
  'bda com2': '0',
  // one serial port, no display
  'bda equipment': '200',
  'bda base memory': '27f',
  ebda: '9fc0',
  unassigned: 'ff',
  unassigned16: 'ffff',
  unassigned32: 'ffffffff',
  crtc: 'ff',
  fw_cfg: '554d4551',
  'fw_cfg cpus': '1',
  'fw_cfg ram': '4000000',
  'hypervisor leaves': '40000010',
  'tsc kHz': 'f4240',
  'apic kHz': 'f4240',
  'hpet id': '8086a201',
  // femtoseconds: 100 MHz
  'hpet period': '989680',
};
const EXIT_0x15 = (0x15 << 1) | 1;

describe('Multiboot', () => {
  const modules = ['--initrd', module1, '--module', `${module2} x=1`];
  const expected = {
    ...PROTECTED,
    ...PLATFORM,
    magic: '2badb002',
    flags: '24d',
    mem_lower: '27f',
    loader: 'ukl-emu',
    bss: '0',
    'hpet counts': '1',
  };

  test.each([
    ['ELF32 at 1 MiB', 'at1m.elf', { source: 'multiboot.c', bits: 32, base: 0x10_0000 }],
    ['ELF32 below 1 MiB', 'low.elf', { source: 'multiboot.c', bits: 32, base: 0x8000 }],
    [
      'ELF64 by its address fields',
      'fields.elf',
      { source: 'multiboot.c', bits: 32, base: 0x20_0000, defines: ['AOUT'], container: 64 },
    ],
  ] as const)('%s: registers, information, modules, platform, debug exit', async (_name, file, build) => {
    const kernel = kernels.build(file, build);
    const { code, stderr, lines, values } = await boot(kernel, 'a b exit=f4:15', '--debug-exit', ...modules);
    expect(values).toMatchObject({
      ...expected,
      cmdline: `${kernel} a b exit=f4:15`,
      'linked at': build.base.toString(16),
    });
    expect(lines.filter((line) => /^module/.test(line))).toEqual([
      ...['module aligned=1', 'module size=3', 'module sum=126', `module=${module1}`],
      // as it is: nobody unpacks a module
      ...['module aligned=1', expect.stringMatching(/^module size=/), expect.stringMatching(/^module sum=/)],
      `module=${module2} x=1`,
    ]);
    expect(values['module size']).toBe(gzipSync('hello').length.toString(16));
    const map = lines.filter((line) => line.startsWith('map '));
    expect(map.slice(0, 3)).toEqual(['map 0+9fc00:1', 'map 9fc00+400:2', 'map f0000+10000:2']);
    expect(map[3]).toMatch(/^map 100000\+3[0-9a-f]{6}:1$/);
    expect(stderr).toBe('e9\n');
    expect(code).toBe(EXIT_0x15);
  });

  test('a packed kernel, and every way out', async () => {
    const kernel = join(kernels.path, 'packed.gz');
    const plain = kernels.build('plain.elf', { source: 'multiboot.c', bits: 32, base: 0x10_0000 });
    writeFileSync(kernel, gzipSync(readFileSync(plain)));
    const ways: [way: string, options: string[], code: number, message: RegExp][] = [
      ['poweroff', [], 0, /^e9\n$/],
      ['exit=501:7', ['--debug-exit=0x501'], 15, /^e9\n$/],
      ['exit=f4:7 poweroff', [], 0, /^e9\n$/],
      ['reset', [], 3, /reset/],
      ['cf9', [], 3, /reset/],
      ['triple', [], 3, /triple fault/],
      ['halt', [], 3, /halted with interrupts off/],
    ];
    for (const [way, options, code, message] of ways) {
      const result = await boot(kernel, way, ...options);
      expect([way, result.code]).toEqual([way, code]);
      expect(result.stderr).toMatch(message);
    }
  });
});

describe('PVH', () => {
  test.each([32, 64] as const)('ELF%i: start info, and 0xE0000-0xFFFFF is plain RAM', async (container) => {
    const kernel = kernels.build(`pvh${container}.elf`, { source: 'pvh.c', bits: 32, base: 0x10_0000, container });
    const more = ['--initrd', module1, '--module', `${module2} y`];
    const { code, lines, values } = await boot(kernel, 'c exit=f4:15', '--debug-exit', ...more);
    expect(values).toMatchObject({
      ...PROTECTED,
      ...PLATFORM,
      magic: '336ec578',
      version: '1',
      cmdline: 'c exit=f4:15',
      'ram at 1 MiB': '1',
      // its checksum, and "RSD "
      rsdp: '0',
      'rsdp signature': '20445352',
      'in BIOS area': '0',
      'BIOS area differs': '0',
    });
    expect(lines).toContain(`module=${module1}`);
    expect(lines).toContain(`module=${module2} y`);
    expect(code).toBe(EXIT_0x15);
  });
});

test('a bare ELF64 is entered as Linux is', async () => {
  const kernel = kernels.build('linux64.elf', { source: 'linux64.c', bits: 64, base: 0x20_0000 });
  const { code, values } = await boot(kernel, 'd exit=f4:15', '--debug-exit', '--initrd', module1);
  expect(values).toMatchObject({
    ...FLAT,
    ...PLATFORM,
    cs: '10',
    cr0: '80000031',
    cr4: '20',
    efer: '500',
    aligned: '1',
    cmdline: 'd exit=f4:15',
    'initrd size': '3',
    'initrd sum': '126',
    e820: '5',
    rsdp: '9fc10',
    'hpet counts': '1',
  });
  expect(code).toBe(EXIT_0x15);
});

/**
 * Vector, error code and CR2 of each exception that modes.S meets. QEMU 7.2 gives the same but for those marked: it takes PG
 * without PE, reports #GP where the SDM says #SS, and writes a non-canonical base.
 */
const MODES = [
  ...['protected32 .', 'protected16 .', 'real .', 'unreal .', 'user32 .', 'gate32 .', 'sysexit32 .', 'pae .'],
  ...['compatible .', 'long .', 'user_compatible .', 'gate64 .', 'sysexit64 .', 'protected_again .', 'real_again .'],
  'p: 6 0 0', // UD2
  'p: 3 0 0', // INT3
  'p: d f000 0', // selector beyond the GDT
  'p: d 68 0', // SS from a code segment
  'p: 0 0 0', // DIV by 0
  'p: d 10a 0', // INT 21h beyond the IDT: error code = vector * 8 + 2
  'p: 5 0 0', // BOUND
  'p: d 0 0', // PG without PE: not QEMU
  'u: d 0 0', // IN from a port that the bitmap denies
  'u: d 0 0', // CLI
  'u: d 0 0', // HLT
  'u: d 0 0', // MOV from CR0
  'u: d 6a 0', // INT 0Dh through a gate of ring 0
  'u: d 10 0', // SS of ring 0
  'a: e 0 600123', // PAE: read of a page that is not present
  'a: e 2 600456', // write
  'a: e 0 600010', // fetch: no I/D bit while NXE is off
  'l: 6 0 0',
  'l: e 0 600123',
  'l: e 2 600456',
  'l: d 0 0', // non-canonical address
  'l: c 0 0', // the same by way of RBP: QEMU has d
  'l: d 0 0', // WRMSR of a non-canonical base: not QEMU
  'l: e 10 600010', // fetch, NXE on
  'l: d 0 0', // reserved bit of CR4
  'l: 6 0 0', // CALL ptr16:32
  'l: 6 0 0', // PUSH ES
  'c: 6 0 0', // compatibility mode, ring 3: UD2
  'c: 6 0 0', // SYSCALL, as Intel has it
  'c: d 0 0', // IN
  'c: e 4 600789', // user
];

test.each(['interpreter', 'auto'])('all modes and back, with their faults: %s', async (engine) => {
  const build = { source: 'modes.S', bits: 64, container: 32, base: 0xa000 } as const;
  const kernel = kernels.build('modes.elf', build);
  const { code, lines } = await boot(kernel, '', '--debug-exit', '--engine', engine);
  expect(lines.map((line) => line.trim())).toEqual(MODES);
  expect(code).toBe((0x2a << 1) | 1);
});
