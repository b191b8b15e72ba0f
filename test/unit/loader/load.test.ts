import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { detectKind } from '../../../src/loader/detect.ts';
import { inspectKernel } from '../../../src/loader/inspect.ts';
import { type BootProtocol, loadKernel, type UnpackSide } from '../../../src/loader/load.ts';
import { LoadError } from '../../../src/loader/load-error.ts';
import {
  type ElfFields,
  join,
  makeBzImage,
  makeCpio,
  makeElf,
  makeMultibootHeader,
  makeNote,
  makePvhNote,
  PT_NOTE,
} from './kernels.ts';
import { PACKED, unbase64 } from './packed-sample.ts';

const code = new Uint8Array(64).fill(0x90);
const load = { paddr: 0x100_0000n, data: code };
const sizeOf = (bytes: Uint8Array): Uint8Array => new Uint8Array(Uint32Array.of(bytes.length).buffer);

const open = (bytes: Uint8Array, unpack: UnpackSide = 'host', protocol?: BootProtocol, maxOutput = 1 << 26) =>
  loadKernel({ name: 'vmlinuz', bytes }, { unpack, maxOutput, ...(protocol !== undefined && { protocol }) });

describe('detectKind', () => {
  it.each<[string, Uint8Array]>([
    ['empty', new Uint8Array(0)],
    ['bzimage', makeBzImage()],
    ['elf64', makeElf()],
    ['elf32', makeElf({ bits: 32 })],
    ['elf-other', makeElf({ machine: 183 })],
    ['elf-other', makeElf({ encoding: 2 })],
    ['gzip', unbase64(PACKED.gzip)],
    ['xz', unbase64(PACKED.xz)],
    ['zstd', unbase64(PACKED.zstd)],
    ['lzma', unbase64(PACKED.lzma)],
    ['lz4', unbase64(PACKED.lz4Legacy)],
    ['lz4', unbase64(PACKED.lz4Frame)],
    ['bzip2', unbase64(PACKED.bzip2)],
    ['cpio', makeCpio('a', code)],
    ['multiboot', join(new Uint8Array(64), makeMultibootHeader(0))],
    ['pe', Uint8Array.of(0x4d, 0x5a, 0, 0)],
    ['unknown', new Uint8Array(5000)],
  ])('%s', (kind, bytes) => {
    expect(detectKind(bytes)).toBe(kind);
  });
});

describe('bzImage', () => {
  const elf = makeElf({ programs: [{ ...load, vaddr: 0xffff_ffff_8100_0000n, memsz: 0x2000n }] });

  it.each<[string, Uint8Array]>([
    ['gzip', gzipSync(elf)],
    ['zstd', join(zstdCompressSync(elf), sizeOf(elf))],
  ])('%s payload goes to where the ELF inside it belongs', async (format, payload) => {
    const kernel = await open(makeBzImage({ payload }));
    expect(kernel).toMatchObject({ protocol: 'linux64', entry: 0x100_0000, unpacked: format });
    expect(kernel.segments).toMatchObject([{ address: 0x100_0000, memorySize: 0x2000 }]);
    expect(kernel.setup?.header.version).toBe(0x020f);
  });

  it('is left packed for the guest if wanted, or if there is nothing to unpack', async () => {
    const lzo = Uint8Array.of(0x89, 0x4c, 0x5a, 0x4f, 0, 1, 2, 3);
    for (const kernel of [
      await open(makeBzImage({ payload: gzipSync(elf) }), 'guest'),
      await open(makeBzImage()),
      await open(makeBzImage({ payload: lzo })),
    ]) {
      expect(kernel).toMatchObject({ protocol: 'linux64', entry: 0x100_0200, unpacked: undefined });
      expect(kernel.segments[0]!.address).toBe(0x100_0000);
      expect(kernel.workspace).toEqual({ start: 0x100_0000, end: 0x110_0000 });
    }
  });

  it('with a 32-bit kernel inside is entered in protected mode', async () => {
    const small = makeElf({ bits: 32, programs: [load] });
    expect(await open(makeBzImage({ payload: gzipSync(small), xloadflags: 0 }))).toMatchObject({
      protocol: 'linux32',
      entry: 0x100_0000,
    });
  });

  it('with a damaged, oversized or senseless payload gives one clear line', async () => {
    const packed = gzipSync(elf);
    packed[40] = packed[40]! ^ 0xff;
    await expect(open(makeBzImage({ payload: packed }))).rejects.toMatchObject({
      field: 'payload',
      file: 'vmlinuz',
      message: expect.stringMatching(/^vmlinuz: payload: the gzip payload cannot be unpacked: [^\n]+$/),
    });
    const bomb = gzipSync(new Uint8Array(1 << 20));
    await expect(open(makeBzImage({ payload: bomb }), 'host', undefined, 1 << 16)).rejects.toThrow('--memory');
    await expect(open(makeBzImage({ payload: gzipSync(code) }))).rejects.toThrow('vmlinuz (payload)');
  });
});

describe('ELF', () => {
  const pvh = { type: PT_NOTE, data: makePvhNote(0x100_0010) };
  const linux = { type: PT_NOTE, data: makeNote('Linux', 0x101, new Uint8Array(4)) };
  const multiboot = makeMultibootHeader(2);
  it.each<[string, ElfFields, BootProtocol, number]>([
    ['bare ELF64', {}, 'linux64', 0x100_0000],
    ['Linux with a PVH note', { programs: [load, linux, pvh] }, 'linux64', 0x100_0000],
    ['another kernel with a PVH note', { programs: [load, pvh] }, 'pvh', 0x100_0010],
    ['ELF32 with a PVH note', { bits: 32, programs: [load, pvh] }, 'pvh', 0x100_0010],
    ['ELF32 with a Multiboot header', { bits: 32, programs: [load], front: multiboot }, 'multiboot', 0x100_0000],
    ['ELF64 with both', { programs: [load, pvh], front: multiboot }, 'multiboot', 0x100_0000],
  ])('%s', async (_name, fields, protocol, entry) => {
    expect(await open(makeElf(fields))).toMatchObject({ protocol, entry });
  });

  it('obeys a wish, if the file allows it', async () => {
    const file = makeElf({ programs: [load, linux, pvh] });
    expect(await open(file, 'host', 'pvh')).toMatchObject({ protocol: 'pvh', entry: 0x100_0010 });
    await expect(open(file, 'host', 'multiboot')).rejects.toMatchObject({ field: 'multiboot' });
    await expect(open(makeElf({ bits: 32 }))).rejects.toThrow('neither a Multiboot header nor a PVH note');
  });
});

describe('Multiboot', () => {
  /** A flat kernel: header at offset 64, loaded so that the file's start lies at `load`. */
  const flat = (fields: readonly number[], flags = 0x1_0002): Uint8Array => {
    const bytes = new Uint8Array(512);
    bytes.set(makeMultibootHeader(flags, fields), 64);
    return bytes;
  };

  it('is placed by the address fields of flag bit 16', async () => {
    const kernel = await open(flat([0x20_0040, 0x20_0020, 0x20_0120, 0x20_1000, 0x20_0100]));
    expect(kernel).toMatchObject({ protocol: 'multiboot', entry: 0x20_0100 });
    expect(kernel.segments).toHaveLength(1);
    expect(kernel.segments[0]).toMatchObject({ address: 0x20_0020, memorySize: 0xfe0 });
    expect(kernel.segments[0]!.data).toHaveLength(0x100);
    const whole = await open(flat([0x20_0040, 0x20_0000, 0, 0, 0x20_0000]));
    expect(whole.segments[0]).toMatchObject({ address: 0x20_0000, memorySize: 512 });
  });

  it('prefers the address fields over the ELF64 around them', async () => {
    const front = makeMultibootHeader(0x1_0000, [0x30_0078, 0x30_0000, 0, 0, 0x30_0010]);
    const kernel = await open(makeElf({ front }));
    expect(kernel).toMatchObject({ protocol: 'multiboot', entry: 0x30_0010 });
    expect(kernel.segments[0]!.address).toBe(0x30_0000);
  });

  it.each<[string, Uint8Array, string]>([
    ['load above header', flat([0x20_0000, 0x20_0040, 0, 0, 0x20_0040]), 'load_addr'],
    ['load before the file', flat([0x20_0100, 0x20_0000, 0, 0, 0x20_0000]), 'load_addr'],
    ['load end beyond the file', flat([0x20_0040, 0x20_0000, 0x20_1000, 0, 0x20_0000]), 'load_end_addr'],
    ['load end before load', flat([0x20_0040, 0x20_0000, 0x1f_0000, 0, 0x20_0000]), 'load_end_addr'],
    ['bss end inside the data', flat([0x20_0040, 0x20_0000, 0x20_0100, 0x20_0080, 0x20_0000]), 'bss_end_addr'],
    ['entry outside', flat([0x20_0040, 0x20_0000, 0, 0, 0x10_0000]), 'entry_addr'],
    ['unknown mandatory flag', flat([], 0x0008), 'Multiboot flags'],
  ])('refuses %s', async (_name, bytes, field) => {
    await expect(open(bytes)).rejects.toMatchObject({ field });
  });

  it('does not see a header with a wrong checksum, unaligned, or beyond 8 KiB', async () => {
    const late = new Uint8Array(9000);
    late.set(makeMultibootHeader(0), 8192);
    const crooked = join(new Uint8Array(65), makeMultibootHeader(0), new Uint8Array(3));
    for (const bytes of [join(makeMultibootHeader(0, [], 1)), late, crooked]) {
      expect(detectKind(bytes)).toBe('unknown');
    }
  });
});

describe('a packed kernel file', () => {
  it('is unpacked, as GRUB does with Multiboot kernels', async () => {
    const file = makeElf({ front: makeMultibootHeader(3) });
    const kernel = await open(gzipSync(file));
    expect(kernel).toMatchObject({ kind: 'elf64', protocol: 'multiboot', entry: 0x100_0000 });
  });

  it('is an error of one line when it is damaged or too large', async () => {
    await expect(open(gzipSync(code).subarray(0, 20))).rejects.toThrow(
      /^vmlinuz: kernel: the gzip kernel cannot be unpacked: .*/,
    );
  });
});

describe('what is no kernel', () => {
  it.each<[string, Uint8Array, string]>([
    ['empty file', new Uint8Array(0), 'is empty'],
    ['gzip of something else', gzipSync(code), 'unpacked it is no kernel'],
    ['xz of something else', unbase64(PACKED.xz), 'unpacked it is no kernel'],
    ['gzip in gzip', gzipSync(gzipSync(code)), 'unpacked it is a gzip stream'],
    ['lzop', Uint8Array.of(0x89, 0x4c, 0x5a, 0x4f, 0), 'unpack it first'],
    ['PE', Uint8Array.of(0x4d, 0x5a, 1, 2), 'UEFI'],
    ['initrd', makeCpio('init', code), '--initrd'],
    ['ARM kernel', makeElf({ machine: 183 }), 'not little-endian x86'],
    ['anything else', new TextEncoder().encode('hello world'), 'no kernel'],
  ])('%s', async (_name, bytes, text) => {
    const error = await open(bytes).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(LoadError);
    expect((error as LoadError).message).toContain(text);
    expect((error as LoadError).message).toMatch(/^vmlinuz: kind of file: [^\n]+$/);
  });
});

describe('inspectKernel', () => {
  it('describes a bzImage in plain data', () => {
    const report = inspectKernel(makeBzImage({ payload: gzipSync(code) }), 'k');
    expect(report).toMatchObject({
      kind: 'bzimage',
      bzImage: { protocol: '2.15', entry64: true, loadAddress: '0x1000000', payload: { format: 'gzip' } },
    });
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  });

  it('describes an ELF with its notes and Multiboot header', () => {
    const file = makeElf({
      programs: [load, { type: PT_NOTE, data: makePvhNote(0x100_0010) }],
      front: makeMultibootHeader(3),
    });
    expect(inspectKernel(file, 'k')).toMatchObject({
      kind: 'elf64',
      elf: { class: 64, linux: false, pvhEntry: '0x1000010', segments: [{ address: '0x1000000', memorySize: 64 }] },
      multiboot: { flags: '0x3', hasAddresses: false },
    });
    expect(inspectKernel(new Uint8Array(0), 'k')).toEqual({ file: 'k', kind: 'empty', size: 0 });
  });
});
