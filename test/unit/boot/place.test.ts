import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { encodeCmdline } from '../../../src/boot/cmdline.ts';
import { buildE820 } from '../../../src/boot/e820.ts';
import { encodeDescriptor } from '../../../src/boot/gdt.ts';
import { type BootOptions, type PlacedKernel, placeKernel } from '../../../src/boot/place.ts';
import { RegionMap } from '../../../src/boot/regions.ts';
import { loadKernel, type UnpackSide } from '../../../src/loader/load.ts';
import { GuestMemory } from '../../../src/memory/guest-memory.ts';
import {
  type BzImageFields,
  makeBzImage,
  makeElf,
  makeMultibootHeader,
  makeNote,
  makePvhNote,
  PT_NOTE,
} from '../loader/kernels.ts';

const MIB = 0x10_0000;
const GIB = 0x4000_0000;
const acpi = { cpus: 1, hpet: false };
const code = Uint8Array.from({ length: 64 }, (_, index) => index);
const initrd = { name: 'initrd.cpio', bytes: Uint8Array.from({ length: 5000 }, (_, index) => index) };

async function boot(
  bytes: Uint8Array,
  memory: GuestMemory,
  options: Partial<BootOptions> = {},
  unpack: UnpackSide = 'host',
): Promise<PlacedKernel> {
  const kernel = await loadKernel({ name: 'kernel.elf', bytes }, { unpack, maxOutput: memory.size });
  return placeKernel(kernel, memory, { cmdline: 'console=ttyS0', acpi, ...options });
}

function text(memory: GuestMemory, address: number): string {
  let result = '';
  for (let at = address; memory.read8(at) !== 0; at++) result += String.fromCharCode(memory.read8(at));
  return result;
}

/** No two regions share a byte, and all lie in RAM. */
function checkRegions({ regions }: PlacedKernel, memory: GuestMemory): void {
  const sorted = [...regions].sort((a, b) => a.start - b.start);
  sorted.forEach((region, index) => {
    expect(memory.contains(region.start, region.end - region.start)).toBe(true);
    const next = sorted[index + 1];
    if (next !== undefined) expect(region.end).toBeLessThanOrEqual(next.start);
  });
}

const linuxElf = makeElf({
  programs: [{ vaddr: 0xffff_ffff_8100_0000n, paddr: 0x100_0000n, data: code, memsz: 0x1_0000n }],
});
const bzImage = (fields: BzImageFields = {}) => makeBzImage({ payload: gzipSync(linuxElf), ...fields });

describe('Linux, 64-bit entry', () => {
  it('starts in long mode with RSI on boot_params', async () => {
    const memory = GuestMemory.allocate(64 * MIB);
    memory.fill(0x100_0000, 0x1_0000, 0xaa);
    const placed = await boot(bzImage(), memory, { initrd });
    checkRegions(placed, memory);
    const { entry } = placed;
    expect(entry).toMatchObject({ mode: 'long', rip: 0x100_0000, cr4: 0x20, efer: 0x500 });
    expect(entry.cr0 & 0x8000_0001).toBe(0x8000_0001 | 0);
    expect(entry.segments.cs).toMatchObject({ selector: 0x10, attributes: 0xa09b });
    expect(entry.segments.ss).toMatchObject({ selector: 0x18 });
    expect([...memory.readBytes(0x100_0000, 64)]).toEqual([...code]);
    // The rest of memsz is bss: zero, whatever was there before.
    expect(memory.readBytes(0x100_0040, 0xffc0).every((byte) => byte === 0)).toBe(true);

    const zeroPage = entry.gpr.rsi!;
    expect(memory.read32(zeroPage + 0x202)).toBe(0x5372_6448);
    expect(memory.read16(zeroPage + 0x206)).toBe(0x020f);
    expect(memory.read8(zeroPage + 0x1ef)).toBe(0);
    expect(memory.read8(zeroPage + 0x210)).toBe(0xff);
    expect(memory.read8(zeroPage + 0x211) & 1).toBe(1);
    expect(text(memory, memory.read32(zeroPage + 0x228))).toBe('console=ttyS0');
    const initrdAt = memory.read32(zeroPage + 0x218);
    expect(initrdAt % 0x1000).toBe(0);
    expect(memory.read32(zeroPage + 0x21c)).toBe(5000);
    expect([...memory.readBytes(initrdAt, 5000)]).toEqual([...initrd.bytes]);
    expect(memory.read64(zeroPage + 0x70)).toBe(0x9_fc10n);
    expect(text(memory, 0x9_fc10).slice(0, 8)).toBe('RSD PTR ');
    expect(text(memory, 0xf_0000).slice(0, 8)).toBe('RSD PTR ');
    // screen_info: no display.
    expect(memory.readBytes(zeroPage, 0x40).every((byte) => byte === 0)).toBe(true);

    expect(memory.read8(zeroPage + 0x1e8)).toBe(placed.e820.length);
    placed.e820.forEach((range, index) => {
      const at = zeroPage + 0x2d0 + index * 20;
      expect(memory.read64(at)).toBe(BigInt(range.address));
      expect(memory.read64(at + 8)).toBe(BigInt(range.size));
      expect(memory.read32(at + 16)).toBe(range.type);
    });
  });

  it('has five levels of paging as the kernel’s own decompressor would, and only then', async () => {
    const levelsOf = async (fields: BzImageFields, options: Partial<BootOptions>, unpack: UnpackSide = 'host') => {
      const memory = GuestMemory.allocate(64 * MIB);
      const placed = await boot(bzImage(fields), memory, options, unpack);
      checkRegions(placed, memory);
      const { cr3, cr4 } = placed.entry;
      // the tables lead to the identity map, whatever their number
      const levels = cr4 & 0x1000 ? 5 : 4;
      let table = BigInt(cr3);
      for (let level: number = levels; level > 2; level--) table = memory.read64(Number(table)) & ~0xfffn;
      expect(memory.read64(Number(table) + 8)).toBe(0x20_0083n);
      return levels;
    };
    const built = { xloadflags: 0x61 };
    expect(await levelsOf(built, { la57: true })).toBe(5);
    expect(await levelsOf(built, {})).toBe(4);
    expect(await levelsOf({ xloadflags: 0x21 }, { la57: true })).toBe(4);
    expect(await levelsOf(built, { la57: true, cmdline: 'quiet no5lvl' })).toBe(4);
    expect(await levelsOf(built, { la57: true }, 'guest')).toBe(4);
  });

  it('L15 copies the setup header to its own end and no further', async () => {
    const memory = GuestMemory.allocate(64 * MIB);
    const image = bzImage({ headerLength: 0x5e, cmdlineSize: 100, initSize: 0x55_0000 });
    const { entry } = await boot(image, memory);
    expect(memory.read32(entry.gpr.rsi! + 0x238)).toBe(100);
    expect(memory.read32(entry.gpr.rsi! + 0x25c)).toBe(0);
    expect(memory.read32(entry.gpr.rsi! + 0x260)).toBe(0);
  });

  it('L16 passes no setup_data, whatever the file says', async () => {
    const memory = GuestMemory.allocate(64 * MIB);
    const { entry } = await boot(bzImage({ setupData: 0x1000n }), memory);
    expect(memory.read64(entry.gpr.rsi! + 0x250)).toBe(0n);
  });

  it('makes a header of its own for a bare vmlinux', async () => {
    const memory = GuestMemory.allocate(64 * MIB);
    const { entry } = await boot(linuxElf, memory, { initrd });
    expect(memory.read16(entry.gpr.rsi! + 0x1fe)).toBe(0xaa55);
    expect(memory.read32(entry.gpr.rsi! + 0x202)).toBe(0x5372_6448);
    expect(memory.read32(entry.gpr.rsi! + 0x21c)).toBe(5000);
  });

  it('unpacked by the guest: enters 0x200 behind pref_address', async () => {
    const memory = GuestMemory.allocate(64 * MIB);
    const placed = await boot(bzImage({ prefAddress: 0x200_0000n }), memory, {}, 'guest');
    expect(placed.entry.rip).toBe(0x200_0200);
    checkRegions(placed, memory);
  });

  it('maps the first 4 GiB and all RAM one to one', async () => {
    const memory = GuestMemory.allocate(4 * GIB);
    const placed = await boot(linuxElf, memory);
    /** Walks the tables as the MMU does. */
    const translate = (address: number): number => {
      let table = placed.entry.cr3;
      for (const shift of [39, 30]) {
        const entry = Number(memory.read64(table + (Math.floor(address / 2 ** shift) % 512) * 8));
        if ((entry & 1) === 0) return -1;
        table = entry - (entry % 4096);
      }
      const entry = Number(memory.read64(table + (Math.floor(address / 2 ** 21) % 512) * 8));
      expect(entry % 256).toBe(0x83);
      return entry - (entry % 4096) + (address % 2 ** 21);
    };
    for (const address of [0, 0x7fff_ffff, 0xc000_0000, 0xfee0_0000, 4 * GIB, 5 * GIB - 1]) {
      expect(translate(address)).toBe(address);
    }
    expect(translate(5 * GIB)).toBe(-1);
    expect(placed.e820.at(-1)).toEqual({ address: 4 * GIB, size: GIB, type: 1 });
  });

  it('has the GDT of the boot protocol', async () => {
    const memory = GuestMemory.allocate(64 * MIB);
    const { entry } = await boot(linuxElf, memory);
    expect(entry.gdtr.limit).toBe(0x27);
    expect(memory.read64(entry.gdtr.base)).toBe(0n);
    expect(memory.read64(entry.gdtr.base + 0x10)).toBe(0x00af_9b00_0000_ffffn);
    expect(memory.read64(entry.gdtr.base + 0x18)).toBe(0x00cf_9300_0000_ffffn);
    expect(memory.read64(entry.gdtr.base + 0x20)).toBe(0x0000_8b00_0000_0067n);
    expect(encodeDescriptor({ selector: 8, base: 0x1234_5678, limit: 0xf_ffff, attributes: 0x4093 })).toBe(
      0x124f_9334_5678_ffffn,
    );
  });
});

describe('Linux, 32-bit entry', () => {
  it('starts in flat protected mode with ESI on boot_params', async () => {
    const memory = GuestMemory.allocate(64 * MIB);
    const placed = await boot(makeBzImage({ xloadflags: 0 }), memory);
    expect(placed.entry).toMatchObject({ mode: 'protected32', rip: 0x100_0000, cr3: 0, cr4: 0, efer: 0 });
    expect(placed.entry.cr0).toBe(0x11);
    expect(placed.entry.segments.cs.attributes).toBe(0xc09b);
    expect(memory.read32(placed.entry.gpr.rsi! + 0x202)).toBe(0x5372_6448);
    checkRegions(placed, memory);
  });
});

describe('PVH', () => {
  it('fills hvm_start_info', async () => {
    const memory = GuestMemory.allocate(64 * MIB);
    const programs = [
      { paddr: 0x10_0000n, data: code },
      { type: PT_NOTE, data: makePvhNote(0x10_0008) },
    ];
    const file = makeElf({ bits: 32, programs, entry: 0x10_0000n });
    const modules = [{ name: 'disk a=1', bytes: new Uint8Array(10) }];
    const placed = await boot(file, memory, { initrd, modules });
    checkRegions(placed, memory);
    const { entry } = placed;
    expect(entry).toMatchObject({ mode: 'protected32', rip: 0x10_0008, cr0: 0x11 });
    const info = entry.gpr.rbx!;
    expect(memory.read32(info)).toBe(0x336e_c578);
    expect(memory.read32(info + 4)).toBe(1);
    expect(memory.read32(info + 12)).toBe(2);
    expect(text(memory, memory.read32(info + 24))).toBe('console=ttyS0');
    expect(memory.read64(info + 32)).toBe(0x9_fc10n);
    const module = memory.read32(info + 16);
    expect(memory.read64(module + 8)).toBe(5000n);
    expect([...memory.readBytes(memory.read32(module), 5000)]).toEqual([...initrd.bytes]);
    expect(text(memory, memory.read32(module + 16))).toBe('initrd.cpio');
    expect(text(memory, memory.read32(module + 32 + 16))).toBe('disk a=1');
    const map = memory.read32(info + 40);
    expect(memory.read32(info + 48)).toBe(placed.e820.length);
    expect(memory.read64(map + 24 * (placed.e820.length - 1))).toBe(BigInt(placed.e820.at(-1)!.address));
    expect(placed.e820.some(({ address, type }) => address === MIB && type === 1)).toBe(true);
    // 0xE0000-0xFFFFF is plain RAM for PVH guests: nothing of ours lies there.
    expect(placed.regions.some(({ start, end }) => start < MIB && end > 0xe_0000)).toBe(false);
  });
});

describe('modules', () => {
  it('are refused for a Linux kernel', async () => {
    const options = { modules: [{ name: 'm', bytes: new Uint8Array(1) }] };
    await expect(boot(bzImage(), GuestMemory.allocate(64 * MIB), options)).rejects.toThrow('kernel.elf: modules: ');
  });
});

describe('Multiboot', () => {
  it('fills the information structure, segments below 1 MiB included', async () => {
    const memory = GuestMemory.allocate(32 * MIB);
    const front = makeMultibootHeader(3);
    const programs = [
      { paddr: 0x1000n, data: code, memsz: 0x8_0000n },
      { paddr: 0xe_0000n, data: code },
    ];
    const file = makeElf({ bits: 32, programs, front, entry: 0x1010n });
    const placed = await boot(file, memory, {
      cmdline: 'a b',
      initrd,
      modules: [{ name: 'second', bytes: new Uint8Array(10) }],
    });
    checkRegions(placed, memory);
    expect(placed.entry).toMatchObject({ mode: 'protected32', rip: 0x1010, gpr: { rax: 0x2bad_b002 } });
    expect([...memory.readBytes(0x1000, 64)]).toEqual([...code]);
    const info = placed.entry.gpr.rbx!;
    const flags = memory.read32(info);
    expect(flags & 0x24d).toBe(0x24d);
    expect(memory.read32(info + 4)).toBe(639);
    expect(memory.read32(info + 8)).toBeGreaterThan(30 * 1024);
    expect(text(memory, memory.read32(info + 16))).toBe('kernel.elf a b');
    expect(memory.read32(info + 20)).toBe(2);
    const modules = memory.read32(info + 24);
    expect(memory.read32(modules) % 0x1000).toBe(0);
    expect(memory.read32(modules + 4) - memory.read32(modules)).toBe(5000);
    expect(text(memory, memory.read32(modules + 8))).toBe('initrd.cpio');
    expect(text(memory, memory.read32(modules + 24))).toBe('second');
    const mapLength = memory.read32(info + 44);
    const map = memory.read32(info + 48);
    const starts: bigint[] = [];
    for (let at = map; at < map + mapLength; at += memory.read32(at) + 4) starts.push(memory.read64(at + 4));
    expect(starts).toContain(0x10_0000n);
    expect(starts).toHaveLength(placed.e820.length);
    expect(text(memory, memory.read32(info + 64))).toBe('ukl-emu');
  });
});

describe('firmware data', () => {
  it('has vectors of a BIOS that refuses', async () => {
    const memory = GuestMemory.allocate(64 * MIB);
    await boot(linuxElf, memory);
    const handler = (vector: number): number => memory.read16(vector * 4 + 2) * 16 + memory.read16(vector * 4);
    for (let vector = 0; vector < 256; vector++) {
      // in the EBDA, after the tables there
      expect(handler(vector)).toBeGreaterThanOrEqual(0x9_fc80);
      expect(handler(vector)).toBeLessThan(0xa_0000);
    }
    // INT 15h: or byte [bp + 6], 1 ... mov ah, 0x86; iret
    expect([...memory.readBytes(handler(0x15) + 3, 8)]).toEqual([0x80, 0x4e, 6, 1, 0x5d, 0xb4, 0x86, 0xcf]);
    // INT 11h and 12h: words of the BIOS data area
    expect([memory.read8(handler(0x11) + 7), memory.read8(handler(0x12) + 7)]).toEqual([0x10, 0x13]);
  });

  it('is where guests look for it', async () => {
    const memory = GuestMemory.allocate(64 * MIB);
    const placed = await boot(linuxElf, memory, { acpi: { cpus: 2, hpet: true } });
    expect(memory.read16(0x400)).toBe(0x3f8);
    expect(memory.read16(0x40e)).toBe(0x9fc0);
    expect(memory.read16(0x413)).toBe(639);
    expect(memory.read8(0x9_fc00)).toBe(1);
    expect(text(memory, 0x9_fc40).slice(0, 4)).toBe('_MP_');
    const mpTable = memory.read32(0x9_fc44);
    expect(text(memory, mpTable).slice(0, 4)).toBe('PCMP');
    const tables = placed.regions.find(({ name }) => name === 'firmware tables')!;
    expect(mpTable).toBeGreaterThan(tables.start);
    expect(mpTable + memory.read16(mpTable + 4)).toBeLessThanOrEqual(tables.end);
    expect(placed.e820.find(({ address }) => address === tables.start)?.type).toBe(2);
  });
});

describe('what does not fit', () => {
  const small = () => GuestMemory.allocate(16 * MIB);

  it('L10 does not recommend memory that cannot be had', async () => {
    const high = bzImage({ prefAddress: 0x1_0000_0000n });
    await expect(boot(high, small(), {}, 'guest')).rejects.toThrow(
      /init_size: .*; link the kernel to addresses below 0xc0000000/,
    );
  });

  it('L10 names the sizes', async () => {
    await expect(boot(bzImage(), small())).rejects.toThrow(
      /PT_LOAD: the kernel needs \[0x1000000, 0x1010000\), guest RAM is 16 MiB; use --memory 32M or more/,
    );
    await expect(boot(bzImage({ initSize: 0x400_0000 }), small(), {}, 'guest')).rejects.toMatchObject({
      field: 'init_size',
    });
    const huge = bzImage({ initSize: 0xffff_ffff, prefAddress: 0x100_0000n });
    await expect(boot(huge, GuestMemory.allocate(64 * MIB), {}, 'guest')).rejects.toMatchObject({ field: 'init_size' });
  });

  it('L14 refuses a command line that is too long or not printable', async () => {
    const image = bzImage({ cmdlineSize: 20 });
    const memory = GuestMemory.allocate(64 * MIB);
    await expect(boot(image, memory, { cmdline: 'x'.repeat(21) })).rejects.toThrow(
      'cmdline_size: the command line has 21 characters, this kernel takes 20; shorten --append',
    );
    expect(encodeCmdline('x'.repeat(20), 20, 'k')).toHaveLength(21);
    for (const wrong of ['a\0b', 'tab\t', 'ä', '\u{1f600}', 'line\n']) {
      await expect(boot(image, memory, { cmdline: wrong })).rejects.toMatchObject({ field: 'command line' });
    }
    const old = makeBzImage({ version: 0x0205 });
    await expect(boot(old, memory, { cmdline: 'x'.repeat(256) }, 'guest')).rejects.toThrow('this kernel takes 255');
  });

  it('an initrd beyond RAM or initrd_addr_max is refused, one that just fits is placed below it', async () => {
    const memory = GuestMemory.allocate(64 * MIB);
    const big = { name: 'initrd', bytes: new Uint8Array(60 * MIB) };
    await expect(boot(bzImage(), memory, { initrd: big })).rejects.toMatchObject({ file: 'initrd', field: 'initrd' });
    const low = bzImage({ initrdAddrMax: 0x17f_ffff });
    const placed = await boot(low, memory, { initrd });
    expect(memory.read32(placed.entry.gpr.rsi! + 0x218)).toBe(0x17f_e000);
    const tight = bzImage({ initrdAddrMax: 0x10_1000 });
    await expect(boot(tight, memory, { initrd })).rejects.toThrow('initrd_addr_max');
  });

  it('an initrd never overlaps the kernel', async () => {
    const memory = GuestMemory.allocate(32 * MIB);
    const middle = makeElf({ programs: [{ paddr: 0x1f0_0000n, data: code, memsz: 0xf_0000n }], entry: 0x1f0_0000n });
    const placed = await boot(middle, memory, { initrd: { name: 'initrd', bytes: new Uint8Array(0x2_0000) } });
    checkRegions(placed, memory);
    expect(placed.regions.find(({ name }) => name === 'initrd')!.end).toBeLessThanOrEqual(0x1f0_0000);
  });

  it('a kernel on top of the BIOS data area or beyond RAM is refused', async () => {
    const low = makeElf({ programs: [{ paddr: 0x400n, data: code }], entry: 0x400n });
    await expect(boot(low, small())).rejects.toThrow('overlaps the BIOS data area');
    const high = makeElf({ programs: [{ paddr: 0x2_0000_0000n, data: code }], entry: 0x2_0000_0000n });
    await expect(boot(high, small())).rejects.toMatchObject({ field: 'PT_LOAD' });
    const full = makeElf({ programs: [{ paddr: 0x10_0000n, data: code, memsz: 15n << 20n }], entry: 0x10_0000n });
    await expect(boot(full, small())).rejects.toMatchObject({ field: 'memory' });
  });

  it('conventional memory in use sends the boot structures to the top of low memory', async () => {
    const memory = small();
    const programs = [
      { paddr: 0x1000n, data: code, memsz: 0x9_e000n },
      { type: PT_NOTE, data: makeNote('Linux', 0x101, new Uint8Array(4)) },
    ];
    const placed = await boot(makeElf({ programs, entry: 0x1000n }), memory);
    checkRegions(placed, memory);
    expect(placed.entry.gpr.rsi).toBeGreaterThan(MIB);
    expect(placed.entry.cr3).toBeGreaterThan(MIB);
  });
});

describe('E820', () => {
  it('splits RAM around the hole and leaves no overlap', () => {
    const map = buildE820(3 * GIB, GIB, { start: 3 * GIB - 0x2000, end: 3 * GIB - 0x1000 });
    expect(map).toEqual([
      { address: 0, size: 0x9_fc00, type: 1 },
      { address: 0x9_fc00, size: 0x400, type: 2 },
      { address: 0xf_0000, size: 0x1_0000, type: 2 },
      { address: MIB, size: 3 * GIB - 0x2000 - MIB, type: 1 },
      { address: 3 * GIB - 0x2000, size: 0x1000, type: 2 },
      { address: 3 * GIB - 0x1000, size: 0x1000, type: 1 },
      { address: 4 * GIB, size: GIB, type: 1 },
    ]);
  });
});

describe('RegionMap', () => {
  it('finds room from either end, around what is taken', () => {
    const map = new RegionMap();
    expect(map.take('a', 0x2000, 0x3000)).toBeUndefined();
    expect(map.take('b', 0x2fff, 0x4000)?.name).toBe('a');
    const search = { from: 0x1000, to: 0x6000, align: 0x1000 } as const;
    expect(map.allocate('c', 0x1800, { ...search, direction: 'up' })).toBe(0x3000);
    expect(map.allocate('d', 0x1000, { ...search, direction: 'down' })).toBe(0x5000);
    expect(map.allocate('e', 0x1000, { ...search, direction: 'down' })).toBe(0x1000);
    expect(map.allocate('f', 0x1000, { ...search, direction: 'up' })).toBeUndefined();
  });
});
