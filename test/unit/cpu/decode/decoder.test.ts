import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createDecoder, isFailure } from '../../../../src/cpu/decode/decoder.ts';
import { decoderFeatures } from '../../../../src/cpu/decode/opcodes.ts';
import type { CodeMode, DecodedInstruction, MemOperand, Operand } from '../../../../src/cpu/decode/types.ts';

const everything = createDecoder({ features: decoderFeatures() });

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(hex.replaceAll(' ', '').match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

function decode(hex: string, mode: CodeMode = 64): DecodedInstruction {
  const bytes = bytesOf(hex);
  const result = everything(bytes, 0, bytes.length, mode);
  if (isFailure(result)) throw new Error(`${hex}: ${JSON.stringify(result)}`);
  expect(result.length).toBe(bytes.length);
  return result;
}

function failure(hex: string, mode: CodeMode = 64, decoder = everything): string {
  const bytes = bytesOf(hex);
  const result = decoder(bytes, 0, bytes.length, mode);
  return isFailure(result) ? result.kind : result.row.mnemonic;
}

function memory(instruction: DecodedInstruction, position: number): MemOperand {
  const operand = instruction.operands[position];
  if (operand?.kind !== 'mem') throw new Error('not a memory operand');
  return operand;
}

const gpr = (index: number, width: 1 | 2 | 4 | 8, high = false): Operand => ({ kind: 'gpr', index, width, high });

describe('prefixes', () => {
  test('REX counts directly before the opcode only', () => {
    expect(decode('48 89 c1').operands).toEqual([gpr(1, 8), gpr(0, 8)]);
    expect(decode('48 66 89 c1').operands).toEqual([gpr(1, 2), gpr(0, 2)]);
    expect(decode('48 41 89 c1').operands).toEqual([gpr(9, 4), gpr(0, 4)]);
  });
  test('any REX turns AH CH DH BH into SPL BPL SIL DIL', () => {
    expect(decode('88 e0').operands).toEqual([gpr(0, 1), gpr(0, 1, true)]);
    expect(decode('40 88 e0').operands).toEqual([gpr(0, 1), gpr(4, 1)]);
  });
  test('F2 and F3 win over 66, the last of them over the other', () => {
    expect(decode('66 f3 0f 58 c1').row.mnemonic).toBe('addss');
    expect(decode('f3 66 0f 58 c1').row.mnemonic).toBe('addss');
    expect(decode('f3 f2 0f 58 c1').row.mnemonic).toBe('addsd');
    expect(decode('f2 f3 0f 58 c1').row.mnemonic).toBe('addss');
    expect(decode('66 0f 58 c1').row.mnemonic).toBe('addpd');
  });
  test('66 beside a mandatory F2 or F3 still sets the operand size', () => {
    expect(decode('66 f3 0f b8 c1').operands).toEqual([gpr(0, 2), gpr(1, 2)]);
    expect(decode('66 f2 0f 38 f1 c1').operands).toEqual([gpr(0, 4), gpr(1, 2)]);
    expect(decode('66 0f 38 f6 c1').operands).toEqual([gpr(0, 4), gpr(1, 4)]);
  });
  test('CS DS ES SS overrides do nothing in 64-bit mode and do not undo FS and GS', () => {
    expect(memory(decode('2e 8b 00'), 1).segment).toBe(3);
    expect(memory(decode('2e 8b 00', 32), 1).segment).toBe(1);
    expect(memory(decode('64 3e 8b 00'), 1).segment).toBe(4);
    expect(memory(decode('3e 65 8b 45 00'), 1).segment).toBe(5);
    expect(memory(decode('36 a4'), 1).segment).toBe(3);
    expect(memory(decode('36 a4', 32), 1).segment).toBe(2);
    expect(memory(decode('36 a4', 32), 0).segment).toBe(0);
  });
  test('LOCK needs a lockable instruction with a memory destination', () => {
    expect(decode('f0 01 08').lock).toBe(true);
    expect(failure('f0 01 c8')).toBe('ud');
    expect(failure('f0 03 08')).toBe('ud');
    expect(failure('f0 39 08')).toBe('ud');
    expect(failure('f0 90')).toBe('ud');
    expect(failure('f0 0f 20 c0')).toBe('ud');
    expect(decode('f0 48 0f c7 0e').row.mnemonic).toBe('cmpxchg16b');
  });
  test('F2 and F3 repeat string instructions only', () => {
    expect(decode('f3 a4').rep).toBe('rep');
    expect(decode('f2 ae').rep).toBe('repne');
    expect(decode('f3 01 c8').rep).toBe('none');
    expect(decode('f3 0f 10 c1').rep).toBe('none');
  });
  test('66 is ignored on near branches in 64-bit mode (Intel), not elsewhere', () => {
    expect(decode('66 e9 01 00 00 00')).toMatchObject({ operandSize: 8, operands: [{ kind: 'rel', displacement: 1 }] });
    expect(decode('66 e9 01 80', 32)).toMatchObject({ operandSize: 2, operands: [{ displacement: -32767 }] });
    expect(decode('66 c3').operandSize).toBe(8);
    expect(decode('66 50').operandSize).toBe(2);
  });
});

describe('VEX', () => {
  test('66 F2 F3 LOCK and REX before it are refused', () => {
    expect(decode('c5 f5 fc d1').row.mnemonic).toBe('vpaddb');
    for (const prefix of ['66', 'f2', 'f3', 'f0', '48']) expect(failure(`${prefix} c5 f5 fc d1`)).toBe('ud');
    expect(memory(decode('64 67 c5 f5 fc 10'), 2)).toMatchObject({ segment: 4, addressSize: 4 });
  });
  test('an unused vvvv must be 1111b', () => {
    expect(decode('c5 f8 28 c1').row.mnemonic).toBe('vmovaps');
    expect(failure('c5 f0 28 c1')).toBe('ud');
  });
  test('C4 and C5 with mod != 3 are LES and LDS outside 64-bit mode, 62 is BOUND', () => {
    expect(decode('c4 07', 32).row.mnemonic).toBe('les');
    expect(decode('c5 07', 16).row.mnemonic).toBe('lds');
    expect(decode('62 07', 32).row.mnemonic).toBe('bound');
    expect(failure('62 c7', 32)).toBe('ud');
    expect(decode('c5 f8 28 c1', 32).row.mnemonic).toBe('vmovaps');
    expect(failure('c4', 32)).toBe('more');
    expect(failure('62 f1 7c 48 28 c1')).toBe('ud');
  });
  test('registers from R X B vvvv and is4', () => {
    const { operands } = decode('c4 43 35 4a c2 b0');
    expect(operands.map((operand) => (operand.kind === 'vec' ? operand.index : -1))).toEqual([8, 9, 10, 11]);
    expect(decode('c4 c3 65 4a d1 b0').operands).toMatchObject([
      { index: 2 },
      { index: 3 },
      { index: 9 },
      { index: 11 },
    ]);
  });
  test('gathers: SIB required, three different registers', () => {
    expect(decode('c4 e2 69 90 0c 18').operands).toMatchObject([
      { index: 1 },
      { kind: 'mem', index: 3, base: 0, width: 4 },
      { index: 2 },
    ]);
    expect(failure('c4 e2 69 90 14 18')).toBe('ud');
    expect(failure('c4 e2 69 90 08')).toBe('ud');
  });
  test('W does not choose the width of a general register outside 64-bit mode', () => {
    expect(decode('c4 e1 f9 6e c0').row.mnemonic).toBe('vmovq');
    expect(decode('c4 e1 f9 6e c0', 32).row.mnemonic).toBe('vmovd');
  });
});

describe('addresses', () => {
  test('RIP-relative in 64-bit mode, absolute with a SIB or in 32-bit mode', () => {
    expect(memory(decode('8b 05 fc ff ff ff'), 1)).toMatchObject({ base: 16, index: -1, dispLo: -4, dispHi: -1 });
    expect(memory(decode('8b 04 25 00 00 00 80'), 1)).toMatchObject({ base: -1, dispLo: -0x80000000, dispHi: -1 });
    expect(memory(decode('8b 05 fc ff ff ff', 32), 1)).toMatchObject({ base: -1, dispLo: -4 });
  });
  test('RSP and RBP bases take SS, R12 and R13 DS', () => {
    expect(memory(decode('8b 04 24'), 1)).toMatchObject({ base: 4, index: -1, segment: 2 });
    expect(memory(decode('8b 45 00'), 1)).toMatchObject({ base: 5, segment: 2 });
    expect(memory(decode('41 8b 04 24'), 1)).toMatchObject({ base: 12, segment: 3 });
    expect(memory(decode('41 8b 45 00'), 1)).toMatchObject({ base: 13, segment: 3 });
    expect(memory(decode('42 8b 04 60'), 1)).toMatchObject({ base: 0, index: 12, scale: 1 });
  });
  test('16-bit forms', () => {
    expect(memory(decode('8b 00', 16), 1)).toMatchObject({ base: 3, index: 6, segment: 3, addressSize: 2 });
    expect(memory(decode('8b 02', 16), 1)).toMatchObject({ base: 5, index: 6, segment: 2 });
    expect(memory(decode('8b 06 34 12', 16), 1)).toMatchObject({ base: -1, index: -1, dispLo: 0x1234, segment: 3 });
    expect(memory(decode('67 8b 00', 16), 1)).toMatchObject({ base: 0, addressSize: 4 });
  });
  test('moffs are as wide as addresses', () => {
    expect(memory(decode('48 a1 88 77 66 55 44 33 22 11'), 1)).toMatchObject({
      dispLo: 0x55667788,
      dispHi: 0x11223344,
      width: 8,
    });
    expect(memory(decode('67 a0 88 77 66 f5'), 1)).toMatchObject({ addressSize: 4, dispHi: 0 });
  });
});

describe('operands', () => {
  test('immediates are extended to the operand size', () => {
    expect(decode('48 83 c0 ff').operands[1]).toEqual({ kind: 'imm', width: 8, lo: -1, hi: -1 });
    expect(decode('66 81 c0 00 80').operands[1]).toEqual({ kind: 'imm', width: 2, lo: -0x8000, hi: -1 });
    expect(decode('c1 e0 ff').operands[1]).toEqual({ kind: 'imm', width: 1, lo: 255, hi: 0 });
    expect(decode('48 b8 01 00 00 00 02 00 00 00').operands[1]).toEqual({ kind: 'imm', width: 8, lo: 1, hi: 2 });
    expect(decode('c2 00 80').operands[0]).toEqual({ kind: 'imm', width: 2, lo: 0x8000, hi: 0 });
  });
  test('implied operands with a segment are spelled out', () => {
    expect(memory(decode('64 d7'), 0)).toMatchObject({ base: 3, segment: 4, width: 1 });
    expect(memory(decode('0f f7 c1'), 2)).toMatchObject({ base: 7, width: 8 });
    expect(memory(decode('67 0f 01 c8'), 0)).toMatchObject({ base: 0, addressSize: 4 });
  });
  test('far pointers', () => {
    expect(decode('ea 78 56 34 12 cd ab', 32).operands).toEqual([
      { kind: 'far', selector: 0xabcd, offset: 0x12345678 },
    ]);
    expect(memory(decode('48 ff 28'), 0).width).toBe(10);
    expect(memory(decode('0f 01 10'), 0).width).toBe(10);
    expect(memory(decode('0f 01 10', 32), 0).width).toBe(6);
  });
  test('MOV to control registers ignores mod; only CR0 2 3 4 8 exist', () => {
    expect(decode('0f 22 18').operands).toEqual([{ kind: 'cr', index: 3, width: 8 }, gpr(0, 8)]);
    expect(decode('44 0f 20 c0').operands[1]).toMatchObject({ index: 8 });
    expect(failure('0f 20 c8')).toBe('ud');
    expect(failure('44 0f 21 c0')).toBe('ud');
  });
  test('segment registers: no MOV to CS, none beyond GS', () => {
    expect(decode('8e d8').operands[0]).toEqual({ kind: 'seg', index: 3, width: 2 });
    expect(failure('8e c8')).toBe('ud');
    expect(failure('8e f0')).toBe('ud');
    expect(decode('8c c8').operands[1]).toMatchObject({ index: 1 });
  });
});

describe('modes and features', () => {
  test('opcodes of one mode only', () => {
    for (const hex of ['06', '27', '60', '82 c0 00', '9a 00 00 00 00 00 00', 'ce', 'd4 0a']) {
      expect(failure(hex)).toBe('ud');
      expect(failure(hex, 32)).not.toBe('ud');
    }
    expect(decode('63 c8').row.mnemonic).toBe('movsxd');
    expect(decode('63 c8', 32).row.mnemonic).toBe('arpl');
    expect(decode('40', 32).row.mnemonic).toBe('inc');
    expect(failure('0f 05', 32)).toBe('ud');
  });
  test('90 is NOP, PAUSE or XCHG', () => {
    expect(decode('90').row.mnemonic).toBe('nop');
    expect(decode('f3 90').row.mnemonic).toBe('pause');
    expect(decode('41 90').operands).toEqual([gpr(8, 4), gpr(0, 4)]);
    expect(decode('f3 41 90').row.mnemonic).toBe('xchg');
  });
  test('TZCNT and LZCNT are BSF and BSR on a CPU without them', () => {
    const plain = createDecoder({ features: new Set() });
    expect(failure('f3 0f bc c1')).toBe('tzcnt');
    expect(failure('f3 0f bc c1', 64, plain)).toBe('bsf');
    expect(failure('f3 0f bd c1', 64, plain)).toBe('bsr');
  });
  test('a missing feature is named', () => {
    const plain = createDecoder({ features: new Set(['sse2']) });
    expect(plain(bytesOf('66 0f 3a 44 c1 00'), 0, 6, 64)).toEqual({
      kind: 'ud',
      what: '0f 3a 44 (pclmulqdq, cpu model)',
    });
    expect(plain(bytesOf('c5 f5 fc d1'), 0, 4, 64)).toEqual({ kind: 'ud', what: 'vex 0f fc (vpaddb, cpu model)' });
    expect(plain(bytesOf('0f 04'), 0, 2, 64)).toEqual({ kind: 'ud', what: '0f 04 (undefined)' });
  });
  test('hint space is NOP', () => {
    for (const hex of [
      '0f 18 38',
      '0f 1a c0',
      '0f 1e c8',
      'f3 0f 1e c8',
      '0f 1f 44 00 00',
      '66 2e 0f 1f 84 00 00 00 00 00',
    ]) {
      expect(decode(hex).row.mnemonic).toBe('nop');
    }
    expect(decode('f3 0f 1e fa').row.mnemonic).toBe('endbr64');
  });
});

describe('limits', () => {
  test('an instruction of 15 bytes is fine, one more is #GP', () => {
    expect(decode(`${'66 '.repeat(13)}01 c8`).length).toBe(15);
    expect(failure(`${'66 '.repeat(14)}01 c8`)).toBe('gp');
    expect(failure(`${'66 '.repeat(16)}`)).toBe('gp');
    expect(failure(`${'66 '.repeat(9)}c7 80 00 00 00 00 00 00`)).toBe('gp');
  });
  test('bytes that end early ask for more', () => {
    for (const hex of ['', '66', '0f', '0f 38', '48 8b', '8b 80 00', '8b 04', 'b8 00 00', 'c4 e2', 'c8 00 00']) {
      expect(failure(hex)).toBe('more');
    }
  });
  test('any bytes: a verdict, never an exception, and each prefix of an instruction asks for more', () => {
    const mode = fc.constantFrom<CodeMode>(16, 32, 64);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 24 }), mode, (bytes, codeMode) => {
        const whole = everything(bytes, 0, bytes.length, codeMode);
        if (isFailure(whole)) return;
        expect(whole.length).toBeGreaterThan(0);
        expect(whole.length).toBeLessThanOrEqual(15);
        expect(everything(bytes, 0, whole.length, codeMode)).toEqual(whole);
        for (let end = 0; end < whole.length; end++) {
          expect(everything(bytes, 0, end, codeMode)).toEqual({ kind: 'more' });
        }
      }),
      { numRuns: 2000 },
    );
  });
});
