/** Little-endian pieces of firmware tables, as byte arrays to concatenate. */

export function u8(...values: readonly number[]): Uint8Array {
  return Uint8Array.from(values);
}

export function u16(value: number): Uint8Array {
  return u8(value, value >>> 8);
}

export function u32(value: number): Uint8Array {
  return u8(value, value >>> 8, value >>> 16, value >>> 24);
}

export function u64(value: number): Uint8Array {
  return concat(u32(value % 0x1_0000_0000), u32(Math.floor(value / 0x1_0000_0000)));
}

/** ASCII `text`, padded with `pad` or cut to `length` bytes. */
export function ascii(text: string, length: number, pad = ' '): Uint8Array {
  return new TextEncoder().encode(text.padEnd(length, pad).slice(0, length));
}

/** ASCII with a NUL; anything else, as names of the host's files may hold, becomes "?". */
export function asciiz(value: string): Uint8Array {
  return new TextEncoder().encode(`${value.replace(/[^\x20-\x7e]/g, '?')}\0`);
}

export function zeros(length: number): Uint8Array {
  return new Uint8Array(length);
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

/** The byte that makes `bytes` plus itself add up to zero modulo 256. */
export function checksumOf(bytes: Uint8Array): number {
  return -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
}
