import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseSymbolMap, readElfSymbols, SymbolTable } from '../../../src/loader/symbols.ts';
import { join, makeElf } from './kernels.ts';

const MAP = `0000000000000000 A fixed_percpu_data
ffffffff81000000 T startup_64
ffffffff81000000 T _text
ffffffff81000040 t secondary
not a line
ffffffff81000100 D data [module]
`;

describe('SymbolTable', () => {
  it('reads System.map and kallsyms, without absolute symbols', () => {
    const table = parseSymbolMap(MAP);
    expect(table.symbols.map(({ name }) => name)).toEqual(['startup_64', '_text', 'secondary', 'data']);
    expect(table.find('secondary')?.address).toBe(0xffff_ffff_8100_0040n);
    expect(table.describe(0xffff_ffff_8100_0040n)).toBe('secondary');
    expect(table.describe(0xffff_ffff_8100_005cn)).toBe('secondary+0x1c');
    expect(table.describe(0x10n)).toBe('0x10');
  });

  it('ends a symbol where its known size ends', () => {
    const table = new SymbolTable([
      { name: 'sized', address: 100n, size: 10 },
      { name: 'outer', address: 50n, size: 0 },
    ]);
    expect(table.locate(109n)?.symbol.name).toBe('sized');
    expect(table.locate(110n)).toBeUndefined();
    expect(table.locate(99n)?.offset).toBe(49);
    expect(table.locate(49n)).toBeUndefined();
  });

  it('finds the last symbol at or below an address, as a linear search does', () => {
    fc.assert(
      fc.property(fc.array(fc.bigInt({ min: 0n, max: 60n }), { maxLength: 20 }), fc.bigInt(0n, 70n), (at, address) => {
        const symbols = at.map((start, index) => ({ name: `s${index}`, address: start, size: 0 }));
        const below = at.filter((start) => start <= address).sort((a, b) => Number(b - a))[0];
        expect(new SymbolTable(symbols).locate(address)?.symbol.address).toBe(below);
      }),
    );
  });
});

describe('readElfSymbols', () => {
  /** An ELF with .symtab and .strtab appended: functions at 0x1000 and 0x1010, one undefined symbol. */
  function withSymbols(): Uint8Array {
    const base = makeElf();
    const names = new TextEncoder().encode('\0first\0second\0missing\0');
    const symbols = new Uint8Array(4 * 24);
    const data = new DataView(symbols.buffer);
    const symbol = (index: number, name: number, section: number, address: bigint, size: bigint): void => {
      data.setUint32(index * 24, name, true);
      symbols[index * 24 + 4] = 0x12;
      data.setUint16(index * 24 + 6, section, true);
      data.setBigUint64(index * 24 + 8, address, true);
      data.setBigUint64(index * 24 + 16, size, true);
    };
    symbol(1, 1, 1, 0xffff_ffff_8100_1000n, 16n);
    symbol(2, 7, 1, 0xffff_ffff_8100_1010n, 4n);
    symbol(3, 14, 0, 0n, 0n);
    const sections = new Uint8Array(3 * 64);
    const table = new DataView(sections.buffer);
    const section = (index: number, type: number, offset: number, size: number, link: number): void => {
      table.setUint32(index * 64 + 4, type, true);
      table.setBigUint64(index * 64 + 24, BigInt(offset), true);
      table.setBigUint64(index * 64 + 32, BigInt(size), true);
      table.setUint32(index * 64 + 40, link, true);
    };
    section(1, 2, base.length, symbols.length, 2);
    section(2, 3, base.length + symbols.length, names.length, 0);
    const file = join(base, symbols, names, sections);
    const header = new DataView(file.buffer);
    header.setBigUint64(40, BigInt(base.length + symbols.length + names.length), true);
    header.setUint16(58, 64, true);
    header.setUint16(60, 3, true);
    return file;
  }

  it('reads functions with their sizes', () => {
    const table = readElfSymbols(withSymbols());
    expect(table?.symbols).toEqual([
      { name: 'first', address: 0xffff_ffff_8100_1000n, size: 16 },
      { name: 'second', address: 0xffff_ffff_8100_1010n, size: 4 },
    ]);
    expect(table?.describe(0xffff_ffff_8100_1013n)).toBe('second+0x3');
    expect(table?.describe(0xffff_ffff_8100_1014n)).toBe('0xffffffff81001014');
  });

  it('gives nothing for stripped or damaged files, and never throws', () => {
    expect(readElfSymbols(makeElf())).toBeUndefined();
    const whole = withSymbols();
    for (let length = 0; length < whole.length; length += 7) readElfSymbols(whole.subarray(0, length));
    fc.assert(
      fc.property(fc.integer({ min: 0, max: whole.length - 1 }), fc.integer({ min: 0, max: 255 }), (at, value) => {
        const bytes = whole.slice();
        bytes[at] = value;
        readElfSymbols(bytes);
      }),
      { numRuns: 300 },
    );
  });
});
