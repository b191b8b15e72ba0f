/** bzip2 streams, as the bzip2 1.0.8 sources define them: Huffman, move-to-front, run lengths, Burrows-Wheeler. */

import { DecompressError, type DecompressOptions, type Decompressor } from './decompressor.ts';
import { OutputBuffer } from './output.ts';

const BLOCK_MAGIC_HIGH = 0x314159;
const BLOCK_MAGIC_LOW = 0x265359;
const END_MAGIC_HIGH = 0x177245;
const END_MAGIC_LOW = 0x385090;
const GROUP_SIZE = 50;
const MAX_CODE_LENGTH = 20;
const MAX_SYMBOLS = 258;
const RUN_A = 0;
const RUN_B = 1;

export const bzip2: Decompressor = {
  name: 'bzip2',
  detect: (bytes) =>
    bytes[0] === 0x42 && bytes[1] === 0x5a && bytes[2] === 0x68 && bytes[3]! >= 0x31 && bytes[3]! <= 0x39,
  async decompress(bytes, options) {
    const output = new OutputBuffer(options, bytes.length);
    const bits = new BitReader(bytes, 4);
    const blockSize = (bytes[3]! - 0x30) * 100_000;
    const links = new Uint32Array(blockSize);
    let streamCrc = 0;
    for (;;) {
      const high = bits.read(24);
      const low = bits.read(24);
      const crc = ((bits.read(16) << 16) | bits.read(16)) >>> 0;
      if (high === END_MAGIC_HIGH && low === END_MAGIC_LOW) {
        if (crc !== streamCrc) throw new DecompressError('the bzip2 checksum does not match');
        return { output: output.finish(), consumed: bits.alignedOffset() };
      }
      if (high !== BLOCK_MAGIC_HIGH || low !== BLOCK_MAGIC_LOW) throw damaged();
      const start = output.length;
      unpackBlock(bits, links, output);
      if (blockCrc(output.bytes, start, output.length) !== crc) {
        throw new DecompressError('a bzip2 block checksum does not match');
      }
      streamCrc = (((streamCrc << 1) | (streamCrc >>> 31)) ^ crc) >>> 0;
      report(options, bits, output);
    }
  },
};

function report(options: DecompressOptions, bits: BitReader, output: OutputBuffer): void {
  options.onProgress?.(bits.alignedOffset(), output.length);
}

/** Bits from the most significant down. */
class BitReader {
  readonly #bytes: Uint8Array;
  #offset: number;
  #buffer = 0;
  #count = 0;

  constructor(bytes: Uint8Array, offset: number) {
    this.#bytes = bytes;
    this.#offset = offset;
  }

  /** The next `count` (at most 24) bits. */
  read(count: number): number {
    while (this.#count < count) {
      if (this.#offset >= this.#bytes.length) throw new DecompressError('the bzip2 data ends early');
      this.#buffer = (this.#buffer << 8) | this.#bytes[this.#offset++]!;
      this.#count += 8;
    }
    this.#count -= count;
    return (this.#buffer >>> this.#count) & ((1 << count) - 1);
  }

  /** The next MAX_CODE_LENGTH bits without taking them; zeros stand in for what lies beyond the end. */
  peek(): number {
    while (this.#count < MAX_CODE_LENGTH) {
      this.#buffer = (this.#buffer << 8) | (this.#bytes[this.#offset++] ?? 0);
      this.#count += 8;
    }
    return (this.#buffer >>> (this.#count - MAX_CODE_LENGTH)) & ((1 << MAX_CODE_LENGTH) - 1);
  }

  /** Takes `count` of the bits that peek has shown. */
  skip(count: number): void {
    this.#count -= count;
    if (this.#offset - (this.#count >> 3) > this.#bytes.length) {
      throw new DecompressError('the bzip2 data ends early');
    }
  }

  /** Offset of the first byte of which no bit has been read. */
  alignedOffset(): number {
    return this.#offset - (this.#count >> 3);
  }
}

/**
 * Canonical Huffman code, by length: the first bit pattern (filled up to MAX_CODE_LENGTH bits) that is no longer of this
 * length, and what to add to a code for its index into the symbols.
 */
interface HuffmanCode {
  readonly shortest: number;
  readonly limit: Int32Array;
  readonly base: Int32Array;
  readonly symbols: Uint16Array;
}

function unpackBlock(bits: BitReader, links: Uint32Array, output: OutputBuffer): void {
  if (bits.read(1) !== 0) throw new DecompressError('the bzip2 data is randomised, a form obsolete since 1997');
  const origin = bits.read(24);
  const symbols = readSymbolMap(bits);
  const alphabet = symbols.length + 2;
  const selectors: { readonly codes: readonly HuffmanCode[]; readonly order: Uint8Array } = readCodes(bits, alphabet);
  const counts = new Uint32Array(256);
  const length = readSymbols(bits, selectors, symbols, alphabet, links, counts);
  if (origin >= length) throw damaged();
  undoBurrowsWheeler(links, counts, length, origin, output);
}

/** The byte values in use, two-level bit map. */
function readSymbolMap(bits: BitReader): Uint8Array {
  const used = bits.read(16);
  const symbols: number[] = [];
  for (let row = 0; row < 16; row++) {
    if ((used & (0x8000 >> row)) === 0) continue;
    const map = bits.read(16);
    for (let column = 0; column < 16; column++) if (map & (0x8000 >> column)) symbols.push(row * 16 + column);
  }
  if (symbols.length === 0) throw damaged();
  return Uint8Array.from(symbols);
}

function readCodes(bits: BitReader, alphabet: number): { codes: HuffmanCode[]; order: Uint8Array } {
  const groups = bits.read(3);
  const selectorCount = bits.read(15);
  if (groups < 2 || groups > 6 || selectorCount === 0) throw damaged();
  const recent = Uint8Array.from({ length: groups }, (_, index) => index);
  const order = new Uint8Array(selectorCount);
  for (let index = 0; index < selectorCount; index++) {
    let rank = 0;
    while (bits.read(1) !== 0) if (++rank >= groups) throw damaged();
    const group = recent[rank]!;
    recent.copyWithin(1, 0, rank);
    recent[0] = group;
    order[index] = group;
  }
  const codes: HuffmanCode[] = [];
  for (let group = 0; group < groups; group++) {
    const lengths = new Uint8Array(alphabet);
    let length = bits.read(5);
    for (let symbol = 0; symbol < alphabet; symbol++) {
      while (bits.read(1) !== 0) length += bits.read(1) === 0 ? 1 : -1;
      if (length < 1 || length > MAX_CODE_LENGTH) throw damaged();
      lengths[symbol] = length;
    }
    codes.push(makeCode(lengths));
  }
  return { codes, order };
}

function makeCode(lengths: Uint8Array): HuffmanCode {
  const limit = new Int32Array(MAX_CODE_LENGTH + 1);
  const base = new Int32Array(MAX_CODE_LENGTH + 1);
  const symbols = new Uint16Array(MAX_SYMBOLS);
  let next = 0;
  let code = 0;
  for (let length = 1; length <= MAX_CODE_LENGTH; length++) {
    base[length] = next - code;
    for (let symbol = 0; symbol < lengths.length; symbol++) {
      if (lengths[symbol] !== length) continue;
      symbols[next++] = symbol;
      code++;
    }
    limit[length] = code << (MAX_CODE_LENGTH - length);
    code <<= 1;
  }
  return { shortest: Math.min(...lengths), limit, base, symbols };
}

/** Decodes Huffman symbols, runs and move-to-front into `links` (low bytes) and counts the bytes; returns their number. */
function readSymbols(
  bits: BitReader,
  { codes, order }: { readonly codes: readonly HuffmanCode[]; readonly order: Uint8Array },
  symbols: Uint8Array,
  alphabet: number,
  links: Uint32Array,
  counts: Uint32Array,
): number {
  const recent = symbols.slice();
  const endOfBlock = alphabet - 1;
  let length = 0;
  let run = 0;
  let runWeight = 1;
  let group = -1;
  let left = 0;
  let code = codes[0]!;
  for (;;) {
    if (left-- === 0) {
      group++;
      if (group >= order.length) throw damaged();
      code = codes[order[group]!]!;
      left = GROUP_SIZE - 1;
    }
    const symbol = readSymbol(bits, code);
    if (symbol === RUN_A || symbol === RUN_B) {
      run += runWeight << symbol;
      runWeight <<= 1;
      if (run > links.length) throw damaged();
      continue;
    }
    if (run > 0) {
      const byte = recent[0]!;
      if (length + run > links.length) throw damaged();
      links.fill(byte, length, length + run);
      counts[byte] = counts[byte]! + run;
      length += run;
      run = 0;
      runWeight = 1;
    }
    if (symbol === endOfBlock) return length;
    const rank = symbol - 1;
    const byte = recent[rank];
    if (byte === undefined || length >= links.length) throw damaged();
    recent.copyWithin(1, 0, rank);
    recent[0] = byte;
    counts[byte]!++;
    links[length++] = byte;
  }
}

function readSymbol(bits: BitReader, { shortest, limit, base, symbols }: HuffmanCode): number {
  const pattern = bits.peek();
  for (let length = shortest; length <= MAX_CODE_LENGTH; length++) {
    if (pattern >= limit[length]!) continue;
    bits.skip(length);
    return symbols[(pattern >> (MAX_CODE_LENGTH - length)) + base[length]!]!;
  }
  throw damaged();
}

/** Follows the permutation from `origin` and expands the runs of the first stage (four equal bytes, then a count). */
function undoBurrowsWheeler(
  links: Uint32Array,
  counts: Uint32Array,
  length: number,
  origin: number,
  output: OutputBuffer,
): void {
  let sum = 0;
  for (let byte = 0; byte < 256; byte++) {
    const count = counts[byte]!;
    counts[byte] = sum;
    sum += count;
  }
  for (let index = 0; index < length; index++) {
    const slot = counts[links[index]! & 0xff]!++;
    links[slot] = (links[slot]! & 0xff) | (index << 8);
  }
  let at = links[origin]! >>> 8;
  let previous = -1;
  let repeats = 0;
  for (let index = 0; index < length; index++) {
    const entry = links[at]!;
    at = entry >>> 8;
    const byte = entry & 0xff;
    if (repeats === 4) {
      output.reserve(byte);
      output.bytes.fill(previous, output.length, output.length + byte);
      output.length += byte;
      repeats = 0;
      previous = -1;
      continue;
    }
    repeats = byte === previous ? repeats + 1 : 1;
    previous = byte;
    output.reserve(1);
    output.bytes[output.length++] = byte;
  }
}

const crcTable = makeCrcTable();

/** CRC-32 with the most significant bit first, unlike gzip's. */
function makeCrcTable(): Int32Array {
  return Int32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte << 24;
    for (let bit = 0; bit < 8; bit++) crc = (crc << 1) ^ (crc < 0 ? 0x04c1_1db7 : 0);
    return crc;
  });
}

function blockCrc(bytes: Uint8Array, start: number, end: number): number {
  let crc = -1;
  for (let index = start; index < end; index++) crc = (crc << 8) ^ crcTable[((crc >>> 24) ^ bytes[index]!) & 0xff]!;
  return ~crc >>> 0;
}

function damaged(): DecompressError {
  return new DecompressError('the bzip2 data is damaged');
}
