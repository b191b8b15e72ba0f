import { describe, expect, test } from 'vitest';
import { encodings } from '../../../../src/cpu/decode/opcode-index.ts';
import { parseEncoding, parseOpcodeTable } from '../../../../src/cpu/decode/opcode-notation.ts';
import { decoderFeatures, opcodeRows } from '../../../../src/cpu/decode/opcodes.ts';
import { METHOD, parseOperand, WIDTH } from '../../../../src/cpu/decode/operands.ts';
import { FLAG } from '../../../../src/cpu/decode/types.ts';

describe('opcode tables', () => {
  test('a row with every attribute', () => {
    const [row] = parseOpcodeTable(
      '@cx16\nREX.W 0F C7 /1 | cmpxchg16b | Mdq | lock cpl0 ends d64 o64 r=c w=z u=oa m=z',
    );
    expect(row).toEqual({
      opcode: 'REX.W 0F C7 /1',
      mnemonic: 'cmpxchg16b',
      operands: ['Mdq'],
      feature: 'cx16',
      lock: true,
      cpl0: true,
      ends: true,
      size: 'd64',
      only: 'o64',
      reads: FLAG.cf,
      writes: FLAG.zf,
      undefined: FLAG.of | FLAG.af,
      maybe: FLAG.zf,
    });
  });
  test('condition codes become sixteen rows that read their flags', () => {
    const rows = parseOpcodeTable('0F 90+cc /r | setcc | Eb |');
    expect(rows.map((row) => row.opcode)).toEqual([...'0123456789ABCDEF'].map((digit) => `0F 9${digit} /r`));
    expect(rows.map((row) => row.condition)).toEqual(rows.map((_, index) => index));
    expect(rows[6]?.reads).toBe(FLAG.cf | FLAG.zf);
    expect(rows[15]?.reads).toBe(FLAG.zf | FLAG.sf | FLAG.of);
  });
  test('a feature for each VEX length splits the row', () => {
    const rows = parseOpcodeTable('@avx/avx2\nVEX.66.0F.WIG FC /r | vpaddb | Vx,Hx,Wx |');
    expect(rows.map(({ opcode, feature }) => [opcode, feature])).toEqual([
      ['VEX.128.66.0F.WIG FC /r', 'avx'],
      ['VEX.256.66.0F.WIG FC /r', 'avx2'],
    ]);
  });
  test('mistakes in a table are refused', () => {
    expect(() => parseOpcodeTable('90 | nop | | lokc')).toThrow('unknown attribute "lokc"');
    expect(() => parseOpcodeTable('90 | nop | | w=q')).toThrow('unknown flag letter "q"');
    expect(() => parseOperand('Ek')).toThrow('unknown operand type "k"');
    expect(() => parseOperand('?')).toThrow('unknown operand code "?"');
    const [row] = parseOpcodeTable('VEX.512.66.0F FC /r | vpaddb | Vx |');
    expect(() => parseEncoding(row!)).toThrow('unknown "VEX.512.66.0F"');
  });
  test('encodings', () => {
    const one = (text: string) => parseEncoding(parseOpcodeTable(text)[0]!);
    expect(one('66 0F 38 00 /r | pshufb | Vdq,Wdq |')).toMatchObject({
      map: 2,
      opcode: 0,
      prefixes: 2,
      consumes66: true,
    });
    expect(one('D8 C0+i | fadd | ST0,STi |')).toMatchObject({ modrm: true, mods: 2, regs: 1, rms: 0xff });
    expect(one('0F 01 F8 | swapgs | |')).toMatchObject({ map: 1, opcode: 1, mods: 2, regs: 0x80, rms: 1 });
    expect(one('50+r | push | Zv | d64')).toMatchObject({ modrm: false, count: 8, prefixes: 15 });
    expect(one('VEX.LZ.F2.0F3A.W0 F0 /r | rorx | Gy,Ey,Ib |')).toMatchObject({ vex: true, map: 3, ls: 1, prefixes: 8 });
  });
  test('operand codes', () => {
    expect(parseOperand('RyMb')).toEqual({ method: METHOD.rm, width: WIDTH.y, memoryWidth: WIDTH.b, fixed: 0 });
    expect(parseOperand('Wss')).toMatchObject({ method: METHOD.vectorRm, width: WIDTH.d });
    expect(parseOperand('VMq')).toMatchObject({ method: METHOD.vsib, width: WIDTH.q });
  });
});

describe('the tables as a whole', () => {
  test('every row parses, and rows of one opcode agree on having ModRM', () => {
    const modrm = new Map<string, boolean>();
    for (const encoding of encodings()) {
      for (const code of encoding.row.operands) parseOperand(code);
      for (let i = 0; i < encoding.count; i++) {
        const key = `${encoding.vex} ${encoding.map} ${encoding.opcode + i}`;
        expect(modrm.get(key) ?? encoding.modrm, encoding.row.opcode).toBe(encoding.modrm);
        modrm.set(key, encoding.modrm);
      }
    }
    expect(opcodeRows().length).toBeGreaterThan(1400);
  });
  test('no row appears twice', () => {
    const seen = opcodeRows().map(
      ({ opcode, mnemonic, operands, only }) => `${opcode}|${mnemonic}|${operands}|${only}`,
    );
    expect(seen.filter((text, index) => seen.indexOf(text) !== index)).toEqual([]);
  });
  test('maybe is part of what is written or undefined', () => {
    for (const { opcode, writes = 0, undefined: undefinedFlags = 0, maybe = 0 } of opcodeRows()) {
      expect(maybe & ~(writes | undefinedFlags), opcode).toBe(0);
    }
  });
  test('features', () => {
    expect([...decoderFeatures()].sort()).toEqual(
      `3dnowprefetch adx aes avx avx2 bmi1 bmi2 clflush clflushopt clwb cmov cx16 cx8 f16c fma fpu fsgsbase fxsr invpcid
       lahf_lm lzcnt mmx monitor movbe msr pclmulqdq pku popcnt rdpid rdrand rdseed rdtscp sep sha_ni smap sse sse2 sse3
       sse4_1 sse4_2 ssse3 syscall tsc vaes vpclmulqdq xsave xsavec xsaveopt xsaves`.split(/\s+/),
    );
  });
});
