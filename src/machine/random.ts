import type { Host } from './host.ts';

/** Where a machine's random numbers come from: RDRAND, RDSEED and virtio-rng. */
export interface RandomSource {
  /** 64 random bits. */
  next64(): bigint;
  fill(into: Uint8Array): void;
}

/**
 * A reproducible source: sfc32 (C. Doty-Humphrey, PractRand), good and fast, not secret. The same seed and stream give the
 * same numbers; streams of one seed are independent.
 */
export function seededRandom(seed: number, stream: number): RandomSource {
  let a = seed >>> 0;
  let b = Math.floor(seed / 2 ** 32) >>> 0;
  let c = stream >>> 0;
  let counter = 1;
  const next32 = (): number => {
    const result = (a + b + counter++) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + result;
    return result >>> 0;
  };
  for (let i = 0; i < 15; i++) next32();
  return sourceOf(next32);
}

/** The host's entropy, fetched in batches. */
export function hostRandom(host: Host): RandomSource {
  const batch = new Uint32Array(1024);
  let used = batch.length;
  return sourceOf(() => {
    if (used === batch.length) {
      host.entropy(new Uint8Array(batch.buffer));
      used = 0;
    }
    return batch[used++]!;
  });
}

function sourceOf(next32: () => number): RandomSource {
  return {
    next64: () => (BigInt(next32()) << 32n) | BigInt(next32()),
    fill(into) {
      for (let i = 0; i < into.length; i += 4) {
        let word = next32();
        for (let j = i; j < Math.min(i + 4, into.length); j++) {
          into[j] = word;
          word >>>= 8;
        }
      }
    },
  };
}
