import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hasEntry64, parseBzImage, parseSetupHeader, versionText } from '../../../src/loader/bzimage.ts';
import { LoadError, unreadableFile } from '../../../src/loader/load-error.ts';
import { type BzImageFields, makeBzImage } from './kernels.ts';

/** The LoadError that parsing gives, or undefined. */
function failure(bytes: Uint8Array): LoadError | undefined {
  try {
    parseBzImage(bytes, 'vmlinuz');
    return undefined;
  } catch (error) {
    if (error instanceof LoadError) return error;
    throw error;
  }
}

describe('parseBzImage', () => {
  it('reads the header of a modern kernel', () => {
    const image = parseBzImage(makeBzImage({ payload: Uint8Array.of(1, 2, 3) }), 'vmlinuz');
    expect(image.header).toMatchObject({
      version: 0x020f,
      setupSects: 1,
      kernelVersion: '6.1.0-test (me@here)',
      prefAddress: 0x100_0000,
      cmdlineSize: 2047,
      relocatableKernel: true,
      end: 0x26c,
    });
    expect(image.entry).toEqual({ mode: 'linux64', address: 0x100_0200 });
    expect([...image.payload!]).toEqual([1, 2, 3]);
    expect(image.headerBytes).toHaveLength(0x26c - 0x1f1);
    expect(hasEntry64(image.header)).toBe(true);
    expect(versionText(image.header.version)).toBe('2.15');
  });

  it.each<[string, BzImageFields, string]>([
    ['L02 boot flag', { bootFlag: 0 }, 'boot_flag'],
    ['L03 magic', { magic: 'hdrs' }, 'header'],
    ['L04 version', { version: 0x01ff }, 'version'],
    ['L04 no command line pointer', { version: 0x0201 }, 'version'],
    ['L05 low kernel', { loadflags: 0 }, 'loadflags'],
    ['L08 16-bit entry only', { version: 0x0207, xloadflags: 0, code32Start: 0 }, 'code32_start'],
    ['L09 32-bit entry below 1 MiB', { xloadflags: 0, code32Start: 0xf_ffff }, 'code32_start'],
    ['L11 alignment 0', { alignment: 0 }, 'kernel_alignment'],
    ['L11 alignment no power of two', { alignment: 0x3000 }, 'kernel_alignment'],
    ['pref_address 0', { prefAddress: 0n }, 'pref_address'],
    ['L12 truncated', { syssize: 0x1000 }, 'syssize'],
    ['L13 payload offset', { payloadOffset: 0x1_0000, payloadLength: 16 }, 'payload_offset'],
    ['L13 payload length', { payloadOffset: 0x100, payloadLength: 0xffff_ffff }, 'payload_length'],
    ['header ends before loadflags', { headerLength: 4 }, 'loadflags'],
  ])('%s', (_name, fields, field) => {
    const error = failure(makeBzImage(fields));
    expect(error).toMatchObject({ file: 'vmlinuz', field });
    expect(error!.message).toMatch(/^vmlinuz: [^\n]+; [^\n]+$/);
  });

  it('L01 refuses files shorter than the header or the setup code', () => {
    expect(failure(new Uint8Array(0))).toMatchObject({ field: 'setup header', problem: 'the file is empty' });
    const image = makeBzImage();
    for (const length of [1, 0x1ff, 0x207]) expect(failure(image.subarray(0, length))?.field).toBe('setup header');
    for (const length of [0x208, 0x210]) expect(failure(image.subarray(0, length))).toBeDefined();
    expect(failure(image.subarray(0, 1024))?.field).toBe('setup_sects');
  });

  it('L06 takes setup_sects 0 for 4', () => {
    expect(parseBzImage(makeBzImage({ setupSects: 0 }), 'k').header.setupSects).toBe(4);
  });

  it('L07 refuses setup_sects 255 in a short file', () => {
    const image = makeBzImage().slice();
    image[0x1f1] = 255;
    expect(failure(image)?.field).toBe('setup_sects');
  });

  it('L12 allows the last paragraph to be incomplete', () => {
    expect(failure(makeBzImage({ codeSize: 0x301, syssize: 0x31 }))).toBeUndefined();
    expect(failure(makeBzImage({ codeSize: 0x300, syssize: 0x31 }))?.field).toBe('syssize');
  });

  it('L08 enters a kernel without XLF_KERNEL_64 in 32-bit mode', () => {
    const image = parseBzImage(makeBzImage({ xloadflags: 0, relocatable: 0 }), 'k');
    expect(image.entry).toEqual({ mode: 'linux32', address: 0x100_0000 });
  });

  it('L11 leaves the alignment of a kernel that cannot move alone', () => {
    expect(failure(makeBzImage({ relocatable: 0, alignment: 0 }))).toBeUndefined();
  });

  it('reads a field only if the version defines it', () => {
    const old = parseSetupHeader(makeBzImage({ version: 0x0204, xloadflags: 1 }), 'k');
    expect(old).toMatchObject({
      initrdAddrMax: 0x7fff_ffff,
      kernelAlignment: undefined,
      relocatableKernel: undefined,
      xloadflags: undefined,
      cmdlineSize: undefined,
      payloadOffset: undefined,
      prefAddress: undefined,
      initSize: undefined,
    });
    expect(parseSetupHeader(makeBzImage({ version: 0x0202 }), 'k').initrdAddrMax).toBeUndefined();
    expect(hasEntry64(parseSetupHeader(makeBzImage({ version: 0x020b }), 'k'))).toBe(false);
    expect(parseBzImage(makeBzImage({ version: 0x0205 }), 'k').loadAddress).toBe(0x10_0000);
  });

  it('L15 does not read beyond the end the header itself gives', () => {
    const header = parseSetupHeader(makeBzImage({ headerLength: 0x36 }), 'k');
    expect(header.end).toBe(0x238);
    expect(header.xloadflags).toBe(1);
    expect(header.cmdlineSize).toBeUndefined();
  });

  it('never fails in any other way than by LoadError, whatever the header holds', () => {
    const base = makeBzImage({ payload: new Uint8Array(16) });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0x1f1, max: 0x290 }), fc.integer({ min: 0, max: 255 })), { maxLength: 20 }),
        fc.integer({ min: 0, max: base.length }),
        (changes, length) => {
          const bytes = base.slice(0, length);
          for (const [at, value] of changes) if (at < length) bytes[at] = value;
          const error = failure(bytes);
          if (error !== undefined) expect(error.message).not.toContain('\n');
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('LoadError', () => {
  it('L17 explains what the host could not read', () => {
    expect(unreadableFile('/boot', 'EISDIR').message).toBe('/boot: path: is a directory; name the file itself');
    expect(unreadableFile('x', 'ENOENT').message).toContain('does not exist');
    expect(unreadableFile('x', 'EIO').message).toContain('EIO');
  });

  it('keeps to one line when the file name does not', () => {
    expect(unreadableFile('a\nb', 'ENOENT').message).not.toContain('\n');
  });
});
