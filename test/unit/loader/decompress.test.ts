import { execFileSync } from 'node:child_process';
import { deflateRawSync, gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32, crc64 } from '../../../src/loader/decompress/checksums.ts';
import { DecompressError } from '../../../src/loader/decompress/decompressor.ts';
import { portableInflateRaw } from '../../../src/loader/decompress/gzip.ts';
import { portableZstd } from '../../../src/loader/decompress/zstd.ts';
import { findDecompressor } from '../../../src/loader/decompress.ts';
import { join } from './kernels.ts';
import { makeSample, PACKED, unbase64 } from './packed-sample.ts';

const MAX = 1 << 26;
const sample = makeSample();
const formats = Object.entries(PACKED).map(([name, text]) => [name, unbase64(text)] as const);

async function unpack(bytes: Uint8Array, maxOutput = MAX) {
  const decompressor = findDecompressor(bytes);
  if (decompressor === undefined) throw new Error('no format detected');
  return decompressor.decompress(bytes, { maxOutput });
}

describe.each(formats)('%s', (_name, packed) => {
  it('gives back what the tool packed', async () => {
    const { output, consumed } = await unpack(packed);
    expect(Buffer.compare(output, sample)).toBe(0);
    expect(consumed).toBe(packed.length);
  });

  it('ends where the stream ends', async () => {
    const { output, consumed } = await unpack(join(packed, new Uint8Array(64)));
    expect(output).toHaveLength(sample.length);
    expect(consumed).toBe(packed.length);
  });

  it('stops at the bound', async () => {
    const exact = await unpack(packed, sample.length);
    expect(exact.output).toHaveLength(sample.length);
    await expect(unpack(packed, sample.length - 1)).rejects.toMatchObject({ tooLarge: true });
    await expect(unpack(packed, 100)).rejects.toBeInstanceOf(DecompressError);
  });

  it('refuses a stream cut short', async () => {
    for (const keep of [0.2, 0.5, 0.9]) {
      await expect(unpack(packed.subarray(0, Math.floor(packed.length * keep)))).rejects.toBeInstanceOf(
        DecompressError,
      );
    }
  });

  it('never fails in any other way than by DecompressError', async () => {
    const change = fc.tuple(fc.integer({ min: 4, max: packed.length - 1 }), fc.integer({ min: 1, max: 255 }));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
        const bytes = packed.slice();
        for (const [at, value] of changes) bytes[at] = bytes[at]! ^ value;
        const decompressor = findDecompressor(bytes);
        if (decompressor === undefined) return;
        await decompressor.decompress(bytes, { maxOutput: 1 << 20 }).catch((error: unknown) => {
          if (!(error instanceof DecompressError)) throw error;
        });
      }),
      { numRuns: 60 },
    );
  });
});

describe('checksums are verified', () => {
  it.each(['gzip', 'xz', 'xzX86Crc32', 'bzip2'] as const)('%s', async (name) => {
    const packed = unbase64(PACKED[name]);
    // The last bytes of the compressed data: the stream still parses, or at least must not pass.
    let refused = 0;
    for (let at = packed.length - 60; at < packed.length - 40; at++) {
      const bytes = packed.slice();
      bytes[at] = bytes[at]! ^ 1;
      const result = await unpack(bytes).catch((error: unknown) => error);
      if (result instanceof DecompressError) refused++;
      else expect(Buffer.compare((result as { output: Uint8Array }).output, sample)).toBe(0);
    }
    expect(refused).toBeGreaterThan(10);
  });
});

describe('portable unpackers, for hosts without node:zlib', () => {
  it('inflates, and finds the end of the stream by the trailer behind it', async () => {
    const member = gzipSync(sample);
    const raw = deflateRawSync(sample);
    const body = member.subarray(10);
    const { output, consumed } = await portableInflateRaw(join(body, new Uint8Array(100)), { maxOutput: MAX });
    expect(Buffer.compare(output, sample)).toBe(0);
    expect(consumed).toBe(raw.length);
    await expect(portableInflateRaw(body, { maxOutput: 100 })).rejects.toMatchObject({ tooLarge: true });
    await expect(portableInflateRaw(body.subarray(0, 200), { maxOutput: MAX })).rejects.toBeInstanceOf(DecompressError);
  });

  it('unpacks zstd', async () => {
    const { output } = await portableZstd(zstdCompressSync(sample), { maxOutput: MAX });
    expect(Buffer.compare(output, sample)).toBe(0);
    await expect(portableZstd(zstdCompressSync(sample), { maxOutput: 100 })).rejects.toMatchObject({ tooLarge: true });
  });
});

describe('checksums', () => {
  it('give the check values of their definitions', () => {
    const digits = new TextEncoder().encode('123456789');
    expect(crc32(digits)).toBe(0xcbf4_3926);
    expect(crc64(digits)).toBe(0x995d_c9bb_df19_39fan);
    expect(crc32(new Uint8Array(0))).toBe(0);
    expect(crc64(new Uint8Array(0))).toBe(0n);
  });
});

/** True when the host has the command. */
function has(command: string): boolean {
  try {
    execFileSync(command, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describe.skipIf(!has('xz'))('against the xz on this host', () => {
  const input = fc.oneof(
    fc.uint8Array({ maxLength: 3000 }),
    fc
      .tuple(fc.array(fc.integer({ min: 0xe6, max: 0xea }), { minLength: 1, maxLength: 50 }), fc.nat(200))
      .map(([bytes, times]) =>
        Uint8Array.from({ length: times * bytes.length }, (_, i) =>
          i % 5 === 4 ? (i & 64 ? 255 : 0) : bytes[i % bytes.length]!,
        ),
      ),
  );
  it.each<[string, string[]]>([
    ['xz', ['-c', '--x86', '--lzma2=preset=1,lc=1,lp=2,pb=0']],
    ['xz', ['-c', '-e', '--check=crc32']],
    ['xz', ['-c', '--format=lzma', '--lzma1=lc=3,lp=0,pb=2']],
  ])('%s %j', async (command, options) => {
    await fc.assert(
      fc.asyncProperty(input, async (bytes) => {
        const { output } = await unpack(execFileSync(command, options, { input: bytes }));
        expect(Buffer.compare(output, bytes)).toBe(0);
      }),
      { numRuns: 25 },
    );
  });
});
