/** Byte strings for the decoder oracle: random ones, and every opcode with the prefixes and ModRM bytes that matter. */
import type { CodeMode } from '../../src/cpu/decode/types.ts';
import { BATCH, STRIDE } from './decoder-oracle.ts';

/** xorshift32: fast, and the same everywhere for a seed. */
export function createRandom(seed: number): () => number {
  let state = seed | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

const PREFIXES = [0x66, 0xf2, 0xf3, 0x67, 0xf0, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0x48, 0x44, 0x41, 0x4f] as const;
const ESCAPES = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a], [0xc4], [0xc5]] as const;

/** A batch of random strings: half of them plain noise, half with a likely prefix and escape in front. */
export function randomBatch(random: () => number): Uint8Array {
  const data = new Uint8Array(BATCH * STRIDE);
  const words = new Uint32Array(data.buffer);
  for (let i = 0; i < words.length; i++) words[i] = random();
  for (let at = 0; at < data.length; at += 2 * STRIDE) {
    let position = at;
    const choice = random();
    for (let count = choice & 3; count > 0; count--) data[position++] = PREFIXES[random() % PREFIXES.length]!;
    for (const value of ESCAPES[(choice >>> 2) % ESCAPES.length]!) data[position++] = value;
  }
  return data;
}

/** ModRM bytes: every register form; every /digit with plain, SIB and displacement memory; a few more of each mod. */
const MODRMS: readonly number[] = [
  ...Array.from({ length: 64 }, (_, low) => 0xc0 | low),
  ...[0, 1, 2, 3, 4, 5, 6, 7].flatMap((digit) => [0, 4, 5, 6].map((rm) => (digit << 3) | rm)),
  0x43,
  0x44,
  0x45,
  0x4e,
  0x83,
  0x84,
  0x8d,
  0x96,
];

const LEGACY_PREFIXES: readonly (readonly number[])[] = [
  [],
  [0x66],
  [0xf2],
  [0xf3],
  [0x66, 0xf2],
  [0xf3, 0x66],
  [0xf2, 0xf3],
  [0xf3, 0xf2],
  [0x67],
  [0x66, 0x67],
  [0xf0],
  [0x66, 0xf0],
  [0xf0, 0xf2],
  [0xf0, 0xf3],
  [0x2e],
  [0x64],
  [0x65, 0x3e],
];
const REX_PREFIXES: readonly (readonly number[])[] = [
  [0x40],
  [0x48],
  [0x4f],
  [0x45],
  [0x42],
  [0x66, 0x48],
  [0x66, 0x4d],
  [0xf2, 0x48],
  [0xf3, 0x48],
  [0xf3, 0x41],
  [0xf2, 0x66, 0x44],
  [0xf3, 0x66, 0x49],
  [0x48, 0x66],
  [0x67, 0x4f],
  [0xf0, 0x48],
];
/** Enough to reach every row. */
const FEW_LEGACY: readonly (readonly number[])[] = [[], [0x66], [0xf2], [0xf3], [0x67], [0xf0]];
const FEW_REX: readonly (readonly number[])[] = [[0x48], [0x66, 0x48], [0xf3, 0x4f]];
const FEW_MODRMS: readonly number[] = MODRMS.filter((modrm) =>
  modrm < 0x40 ? (modrm & 7) === 4 : (modrm & 0xc7) === 0xc1,
);
const MAPS: readonly (readonly number[])[] = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];

/** Writes cases into batches and hands each full batch on. */
class Batcher {
  readonly #data = new Uint8Array(BATCH * STRIDE);
  readonly #tail: Uint32Array;
  readonly #random: () => number;
  readonly #emit: (data: Uint8Array) => void;
  #at = 0;

  constructor(random: () => number, emit: (data: Uint8Array) => void) {
    this.#random = random;
    this.#emit = emit;
    this.#tail = new Uint32Array(this.#data.buffer);
  }

  add(...parts: readonly (readonly number[])[]): void {
    const start = this.#at;
    for (let word = start >> 2; word < (start + STRIDE) >> 2; word++) this.#tail[word] = this.#random();
    let position = start;
    for (const part of parts) for (const value of part) this.#data[position++] = value;
    this.#at += STRIDE;
    if (this.#at === this.#data.length) this.#emit(this.#data);
    this.#at %= this.#data.length;
  }

  flush(): void {
    if (this.#at > 0) this.#emit(this.#data.slice(0, this.#at));
  }
}

/** Opcodes of which single ModRM bytes are rows: x87, group 7 and the hints. */
function hasWholeModrmRows(map: readonly number[], opcode: number): boolean {
  if (map.length === 0) return opcode >= 0xd8 && opcode <= 0xdf;
  return map.length === 1 && (opcode === 0x01 || opcode === 0x1e);
}

type Emit = (data: Uint8Array) => void;

/** Every opcode of every legacy map x prefixes x ModRM; `few` keeps the prefixes and ModRM bytes that reach every row. */
export function legacyCases(mode: CodeMode, random: () => number, emit: Emit, few = false): void {
  const batcher = new Batcher(random, emit);
  const legacy = few ? FEW_LEGACY : LEGACY_PREFIXES;
  const prefixes = mode === 64 ? [...legacy, ...(few ? FEW_REX : REX_PREFIXES)] : legacy;
  for (const prefix of prefixes) {
    for (const map of MAPS) {
      for (let opcode = 0; opcode < 256; opcode++) {
        const modrms = few && !hasWholeModrmRows(map, opcode) ? FEW_MODRMS : MODRMS;
        for (const modrm of modrms) batcher.add(prefix, map, [opcode, modrm]);
      }
    }
  }
  batcher.flush();
}

/** Every opcode of the three VEX maps x pp x L x W x a used and an unused vvvv x ModRM, and the two-byte form. */
export function vexCases(mode: CodeMode, random: () => number, emit: Emit, few = false): void {
  const batcher = new Batcher(random, emit);
  const extensions = mode === 64 ? [0xe0, 0x00, 0x40] : [0xe0];
  const modrms = few ? FEW_MODRMS : MODRMS;
  const vvvvs = few ? [0x78] : mode === 64 ? [0x78, 0x28] : [0x78, 0x38, 0x28];
  for (let map = 1; map <= 3; map++) {
    for (let low = 0; low < 16; low++) {
      for (const vvvv of vvvvs) {
        const last = (low & 7) | ((low & 8) << 4) | vvvv;
        const extension = extensions[(low + vvvv) % extensions.length]! | map;
        for (let opcode = 0; opcode < 256; opcode++) {
          for (const modrm of modrms) {
            batcher.add([0xc4, extension, last, opcode, modrm]);
            if (!few && map === 1 && low < 8) batcher.add([0xc5, last | 0x80, opcode, modrm]);
          }
        }
      }
    }
  }
  batcher.flush();
}
