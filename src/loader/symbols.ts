/** Names for code addresses, from an ELF symbol table, a System.map or /proc/kallsyms. Addresses are bigint: kernels live beyond 2^53. */

export interface GuestSymbol {
  readonly name: string;
  readonly address: bigint;
  /** Bytes, 0 when the source does not tell. */
  readonly size: number;
}

export interface SymbolLocation {
  readonly symbol: GuestSymbol;
  /** Bytes from the symbol's start. */
  readonly offset: number;
}

const SHT_SYMTAB = 2;
const STT_OBJECT = 1;
const STT_FUNC = 2;
const STT_NOTYPE = 0;
const SHN_UNDEF = 0;
const SHN_ABS = 0xfff1;
/** Text and data of every binding, as nm prints them; what is absolute, undefined or debugging names no address. */
const MAP_LINE = /^([0-9a-f]{8,16}) ([A-Za-z]) (\S+)/;
const MAP_TYPES = 'tTwWvVdDbBrRiI';

/** Symbols in ascending order of address, for lookup by address and by name. */
export class SymbolTable {
  readonly symbols: readonly GuestSymbol[];
  readonly #byName = new Map<string, GuestSymbol>();

  constructor(symbols: readonly GuestSymbol[]) {
    this.symbols = [...symbols].sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
    for (const symbol of this.symbols) if (!this.#byName.has(symbol.name)) this.#byName.set(symbol.name, symbol);
  }

  find(name: string): GuestSymbol | undefined {
    return this.#byName.get(name);
  }

  /** The symbol that holds `address`: the last one at or below it, unless its known size ends before. */
  locate(address: bigint): SymbolLocation | undefined {
    let low = 0;
    let high = this.symbols.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.symbols[middle]!.address <= address) low = middle + 1;
      else high = middle;
    }
    const nearest = this.symbols[low - 1];
    if (nearest === undefined) return undefined;
    // Of several symbols at one address the first of the source is meant, unless it ends before.
    let first = low - 1;
    while (this.symbols[first - 1]?.address === nearest.address) first--;
    const offset = address - nearest.address;
    const symbol = this.symbols.slice(first, low).find(({ size }) => size === 0 || offset < BigInt(size));
    return symbol === undefined ? undefined : { symbol, offset: Number(offset) };
  }

  /** "name+0x1c", or the bare address in hexadecimal when no symbol holds it. */
  describe(address: bigint): string {
    const location = this.locate(address);
    if (location === undefined) return `0x${address.toString(16)}`;
    const { symbol, offset } = location;
    return offset === 0 ? symbol.name : `${symbol.name}+0x${offset.toString(16)}`;
  }
}

/** The symbols of System.map or /proc/kallsyms; lines of another form are passed over. */
export function parseSymbolMap(text: string): SymbolTable {
  const symbols: GuestSymbol[] = [];
  for (const line of text.split('\n')) {
    const [, address, type, name] = MAP_LINE.exec(line) ?? [];
    if (address === undefined || type === undefined || name === undefined || !MAP_TYPES.includes(type)) continue;
    symbols.push({ name, address: BigInt(`0x${address}`), size: 0 });
  }
  return new SymbolTable(symbols);
}

/**
 * The functions and objects in .symtab of the ELF file `bytes`; undefined when there is none or it is damaged, since a
 * kernel boots without. Read here because elfy offers no symbols.
 */
export function readElfSymbols(bytes: Uint8Array): SymbolTable | undefined {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    return bytes[4] === 2 ? readSymtab(data, ELF64) : readSymtab(data, ELF32);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Where the fields are, for both classes (System V ABI, "Sections" and "Symbol Table"). */
interface SymbolLayout {
  readonly shoff: (data: DataView) => number;
  readonly shentsizeAt: number;
  /** Within a section header: sh_offset, sh_size, sh_link. */
  readonly section: (data: DataView, at: number) => { offset: number; size: number; link: number };
  readonly symbolSize: number;
  readonly symbol: (data: DataView, at: number) => { info: number; section: number; address: bigint; size: number };
}

const ELF64: SymbolLayout = {
  shoff: (data) => Number(data.getBigUint64(40, true)),
  shentsizeAt: 58,
  section: (data, at) => ({
    offset: Number(data.getBigUint64(at + 24, true)),
    size: Number(data.getBigUint64(at + 32, true)),
    link: data.getUint32(at + 40, true),
  }),
  symbolSize: 24,
  symbol: (data, at) => ({
    info: data.getUint8(at + 4),
    section: data.getUint16(at + 6, true),
    address: data.getBigUint64(at + 8, true),
    size: Number(data.getBigUint64(at + 16, true)),
  }),
};

const ELF32: SymbolLayout = {
  shoff: (data) => data.getUint32(32, true),
  shentsizeAt: 46,
  section: (data, at) => ({
    offset: data.getUint32(at + 16, true),
    size: data.getUint32(at + 20, true),
    link: data.getUint32(at + 24, true),
  }),
  symbolSize: 16,
  symbol: (data, at) => ({
    info: data.getUint8(at + 12),
    section: data.getUint16(at + 14, true),
    address: BigInt(data.getUint32(at + 4, true)),
    size: data.getUint32(at + 8, true),
  }),
};

function readSymtab(data: DataView, layout: SymbolLayout): SymbolTable | undefined {
  const table = layout.shoff(data);
  const entrySize = data.getUint16(layout.shentsizeAt, true);
  const sections = data.getUint16(layout.shentsizeAt + 2, true);
  for (let index = 0; table !== 0 && index < sections; index++) {
    const at = table + index * entrySize;
    if (data.getUint32(at + 4, true) !== SHT_SYMTAB) continue;
    const symtab = layout.section(data, at);
    const strings = layout.section(data, table + symtab.link * entrySize);
    const symbols: GuestSymbol[] = [];
    for (let offset = 0; offset + layout.symbolSize <= symtab.size; offset += layout.symbolSize) {
      const nameAt = strings.offset + data.getUint32(symtab.offset + offset, true);
      const { info, section, address, size } = layout.symbol(data, symtab.offset + offset);
      const type = info & 0xf;
      if (section === SHN_UNDEF || section === SHN_ABS) continue;
      if (type !== STT_FUNC && type !== STT_OBJECT && type !== STT_NOTYPE) continue;
      const name = textAt(data, nameAt);
      if (name !== '') symbols.push({ name, address, size });
    }
    return new SymbolTable(symbols);
  }
  return undefined;
}

function textAt(data: DataView, offset: number): string {
  let end = offset;
  while (data.getUint8(end) !== 0) end++;
  return new TextDecoder('latin1').decode(new Uint8Array(data.buffer, data.byteOffset + offset, end - offset));
}
