/** CRC-32 (IEEE 802.3) and CRC-64 (ECMA-182), both reflected, as gzip and xz use them. */

const CRC32_POLYNOMIAL = 0xedb8_8320;
/** Tables 0..7: the CRC of a byte followed by that many zero bytes, so that eight bytes go in one step. */
const SLICES = 8;

const crc32Tables = makeCrc32Tables();

function makeCrc32Tables(): Uint32Array {
  const tables = new Uint32Array(SLICES * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? CRC32_POLYNOMIAL : 0);
    tables[byte] = crc;
  }
  for (let index = 256; index < tables.length; index++) {
    const previous = tables[index - 256]!;
    tables[index] = (previous >>> 8) ^ tables[previous & 0xff]!;
  }
  return tables;
}

/** CRC-32 of `bytes` as an unsigned number. */
export function crc32(bytes: Uint8Array): number {
  const table = crc32Tables;
  let crc = -1;
  let index = 0;
  for (const end = bytes.length - 7; index < end; index += 8) {
    crc ^= bytes[index]! | (bytes[index + 1]! << 8) | (bytes[index + 2]! << 16) | (bytes[index + 3]! << 24);
    crc =
      table[0x700 + (crc & 0xff)]! ^
      table[0x600 + ((crc >>> 8) & 0xff)]! ^
      table[0x500 + ((crc >>> 16) & 0xff)]! ^
      table[0x400 + (crc >>> 24)]! ^
      table[0x300 + bytes[index + 4]!]! ^
      table[0x200 + bytes[index + 5]!]! ^
      table[0x100 + bytes[index + 6]!]! ^
      table[bytes[index + 7]!]!;
  }
  for (; index < bytes.length; index++) crc = (crc >>> 8) ^ table[(crc ^ bytes[index]!) & 0xff]!;
  return ~crc >>> 0;
}

const CRC64_POLYNOMIAL_LOW = 0xd787_0f42;
const CRC64_POLYNOMIAL_HIGH = 0xc96c_5795;

/** As crc32Tables, four slices, low and high halves apart: numbers hold no 64 bits. */
const crc64Tables = makeCrc64Tables();

function makeCrc64Tables(): { readonly low: Uint32Array; readonly high: Uint32Array } {
  const low = new Uint32Array(4 * 256);
  const high = new Uint32Array(4 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let l = byte;
    let h = 0;
    for (let bit = 0; bit < 8; bit++) {
      const out = l & 1;
      l = (l >>> 1) | (h << 31);
      h >>>= 1;
      if (out !== 0) {
        l ^= CRC64_POLYNOMIAL_LOW;
        h ^= CRC64_POLYNOMIAL_HIGH;
      }
    }
    low[byte] = l;
    high[byte] = h;
  }
  for (let index = 256; index < low.length; index++) {
    const l = low[index - 256]!;
    const h = high[index - 256]!;
    low[index] = ((l >>> 8) | (h << 24)) ^ low[l & 0xff]!;
    high[index] = (h >>> 8) ^ high[l & 0xff]!;
  }
  return { low, high };
}

/** CRC-64 of `bytes`. */
export function crc64(bytes: Uint8Array): bigint {
  const { low, high } = crc64Tables;
  let l = -1;
  let h = -1;
  let index = 0;
  for (const end = bytes.length - 3; index < end; index += 4) {
    const word = l ^ (bytes[index]! | (bytes[index + 1]! << 8) | (bytes[index + 2]! << 16) | (bytes[index + 3]! << 24));
    const a = 0x300 + (word & 0xff);
    const b = 0x200 + ((word >>> 8) & 0xff);
    const c = 0x100 + ((word >>> 16) & 0xff);
    const d = word >>> 24;
    l = h ^ low[a]! ^ low[b]! ^ low[c]! ^ low[d]!;
    h = high[a]! ^ high[b]! ^ high[c]! ^ high[d]!;
  }
  for (; index < bytes.length; index++) {
    const at = (l ^ bytes[index]!) & 0xff;
    l = ((l >>> 8) | (h << 24)) ^ low[at]!;
    h = (h >>> 8) ^ high[at]!;
  }
  return (BigInt(~h >>> 0) << 32n) | BigInt(~l >>> 0);
}
