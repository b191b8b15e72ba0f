import { describe, expect, it } from 'vitest';
import { buildHelpers } from '../../../../src/cpu/core.ts';
import { createDecoder, isFailure } from '../../../../src/cpu/decode/decoder.ts';
import { instructionText } from '../../../../src/cpu/jit/dump-guest.ts';
import { disassembleWasm } from '../../../../src/cpu/jit/dump-wasm.ts';
import { parseCpu } from '../../../../src/cpu/models.ts';
import { i32, i64 } from '../../../../src/wasm/expr.ts';
import { ModuleBuilder } from '../../../../src/wasm/module.ts';
import { v128 } from '../../../../src/wasm/simd.ts';

describe('wasm as text', () => {
  it('has names, structure, constants, memories and notes', () => {
    const m = new ModuleBuilder();
    m.importMemory({ name: 'state', initial: 1 });
    m.importMemory({ name: 'ram', initial: 0 });
    const helper = m.importFunction('helper', ['i32'], ['i64']);
    const f = m.function('region', ['i32'], ['i64']);
    const local = f.newLocal('i64');
    f.if(
      i64.eq(f.tee(local, f.call('i64', helper, [f.param('i32', 0)])), i64.const(0x1234_5678)),
      () => f.store64(i32.const(0), i64.const(-1), 24),
      () => f.storeV128(i32.const(16), v128.const(new Uint8Array(16).fill(7)), 0, 1),
    );
    f.result(f.get('i64', local));
    m.export(f);
    const [region] = disassembleWasm(m.encode(), new Map([['region', [{ offset: 0, text: 'first' }]]]));
    expect(region!.text.split('\n')).toEqual([
      'func $region (i32) -> (i64)',
      '  locals: 1 i64',
      ';; first',
      '  local.get 0',
      '  call $helper',
      '  local.tee 1',
      '  i64.const 0x12345678',
      '  i64.eq',
      '  if',
      '    i32.const 0',
      '    i64.const -1',
      '    i64.store $state offset=24',
      '  else',
      '    i32.const 16',
      `    v128.const ${Array(16).fill('07').join(' ')}`,
      '    v128.store $ram',
      '  end',
      '  local.get 1',
      'end',
    ]);
    expect(region!.pieces).toMatchObject([{ note: 'first', lines: { length: 16 } }]);
  });

  it('knows every instruction that the helpers are made of', () => {
    const functions = disassembleWasm(buildHelpers());
    expect(functions.length).toBeGreaterThan(50);
    expect(functions.flatMap(({ text }) => text.match(/opcode .*|undefined/g) ?? [])).toEqual([]);
  });
});

describe('guest code as text', () => {
  const decode = createDecoder({ features: parseCpu('x86-64-v3') });
  it.each([
    ['4889d8', 'mov rax, rbx'],
    ['88e0', 'mov al, ah'],
    ['4088f0', 'mov al, sil'],
    ['458b4c2408', 'mov r9d, dword [r12+0x8]'],
    ['488d448bf0', 'lea rax, [rbx+rcx*4-0x10]'],
    ['8b0510000000', 'mov eax, dword [0x1016]'],
    ['64488b042528000000', 'mov rax, qword fs:[0x28]'],
    ['75fe', 'jne 0x1000'],
    ['0f94c0', 'sete al'],
    ['480f4ec3', 'cmovle rax, rbx'],
    ['f348a5', 'rep movsq qword es:[rdi], qword [rsi]'],
    ['f00fb10b', 'lock cmpxchg dword [rbx], ecx'],
    ['4898', 'cdqe'],
    ['99', 'cdq'],
    ['0f20d8', 'mov rax, cr3'],
    ['c5f558c2', 'vaddpd ymm0, ymm1, ymm2'],
    ['4883e0c0', 'and rax, 0xffffffffffffffc0'],
    ['dec1', 'faddp st1, st0'],
  ])('%s is %s', (hex, text) => {
    const code = Uint8Array.from(hex.match(/../g)!, (pair) => Number.parseInt(pair, 16));
    const d = decode(code, 0, code.length, 64);
    expect(isFailure(d) ? d : instructionText(d, 0x1000n)).toBe(text);
  });
});
