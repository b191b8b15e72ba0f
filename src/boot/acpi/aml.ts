/** Just enough of an AML encoder for the DSDT: ACPI 6.5 chapter 20, and resource descriptors of section 6.4. */

import { ascii, concat, u8, u16, u32, zeros } from '../bytes.ts';

const ONE_OP = 0x01;
const NAME_OP = 0x08;
const BYTE_PREFIX = 0x0a;
const WORD_PREFIX = 0x0b;
const DWORD_PREFIX = 0x0c;
const SCOPE_OP = 0x10;
const BUFFER_OP = 0x11;
const PACKAGE_OP = 0x12;
const EXTENSION_PREFIX = 0x5b;
const DEVICE_OP = 0x82;

/** A name segment of up to four characters, with a leading backslash kept. */
function nameString(name: string): Uint8Array {
  return name.startsWith('\\') ? concat(ascii('\\', 1), ascii(name.slice(1), 4, '_')) : ascii(name, 4, '_');
}

/** `body` behind its own length (section 20.2.4): the length counts the bytes it is written in. */
function withPackageLength(body: Uint8Array): Uint8Array {
  if (body.length + 1 < 0x40) return concat(u8(body.length + 1), body);
  const extra = body.length + 2 < 0x1000 ? 1 : body.length + 3 < 0x10_0000 ? 2 : 3;
  const length = body.length + 1 + extra;
  const following = Uint8Array.from({ length: extra }, (_, index) => length >>> (4 + 8 * index));
  return concat(u8((extra << 6) | (length & 0x0f)), following, body);
}

export function integer(value: number): Uint8Array {
  if (value === 0) return zeros(1);
  if (value === 1) return u8(ONE_OP);
  if (value < 0x100) return u8(BYTE_PREFIX, value);
  if (value < 0x1_0000) return concat(u8(WORD_PREFIX), u16(value));
  return concat(u8(DWORD_PREFIX), u32(value));
}

/** A plug and play id such as "PNP0A03" as the number EISAID() makes of it (section 19.3.4). */
export function eisaId(id: string): Uint8Array {
  const [a = 0, b = 0, c = 0] = [...id].map((character) => character.charCodeAt(0) - 0x40);
  const vendor = (a << 10) | (b << 5) | c;
  const product = Number.parseInt(id.slice(3), 16);
  return concat(u8(DWORD_PREFIX, vendor >>> 8, vendor, product >>> 8, product));
}

export function name(called: string, value: Uint8Array): Uint8Array {
  return concat(u8(NAME_OP), nameString(called), value);
}

export function packageOf(...elements: readonly Uint8Array[]): Uint8Array {
  return concat(u8(PACKAGE_OP), withPackageLength(concat(u8(elements.length), ...elements)));
}

export function scope(called: string, ...terms: readonly Uint8Array[]): Uint8Array {
  return concat(u8(SCOPE_OP), withPackageLength(concat(nameString(called), ...terms)));
}

export function device(called: string, ...terms: readonly Uint8Array[]): Uint8Array {
  return concat(u8(EXTENSION_PREFIX, DEVICE_OP), withPackageLength(concat(nameString(called), ...terms)));
}

/** A buffer of resource descriptors, end tag included. */
export function resources(...descriptors: readonly Uint8Array[]): Uint8Array {
  const bytes = concat(...descriptors, u8(0x79, 0));
  return concat(u8(BUFFER_OP), withPackageLength(concat(integer(bytes.length), bytes)));
}

/** Section 6.4.2.5: `length` ports from `port`, 16-bit decode. */
export function ioPorts(port: number, length: number): Uint8Array {
  return concat(u8(0x47, 1), u16(port), u16(port), u8(1, length));
}

/** Section 6.4.2.1: an edge-triggered ISA interrupt. */
export function irq(line: number): Uint8Array {
  return concat(u8(0x22), u16(1 << line));
}

/** Section 6.4.3.4: memory at a fixed address. */
export function fixedMemory(base: number, length: number): Uint8Array {
  return concat(u8(0x86, 9, 0, 1), u32(base), u32(length));
}

/** Address space descriptors of a bridge (section 6.4.3.5): both ends fixed, produced for its children. */
const FIXED_WINDOW = 0x0c;

export function busNumbers(first: number, last: number): Uint8Array {
  return wordWindow(2, 0, first, last);
}

export function portWindow(first: number, last: number): Uint8Array {
  const entireRange = 3;
  return wordWindow(1, entireRange, first, last);
}

function wordWindow(type: number, typeFlags: number, first: number, last: number): Uint8Array {
  return concat(u8(0x88, 0x0d, 0, type, FIXED_WINDOW, typeFlags), ...[0, first, last, 0, last - first + 1].map(u16));
}

export function memoryWindow(first: number, last: number): Uint8Array {
  const writable = 1;
  return concat(u8(0x87, 0x17, 0, 0, FIXED_WINDOW, writable), ...[0, first, last, 0, last - first + 1].map(u32));
}
