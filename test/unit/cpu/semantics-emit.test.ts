import { describe, expect, it } from 'vitest';
import { importHelper } from '../../../src/cpu/core.ts';
import { createDecoder, isFailure } from '../../../src/cpu/decode/decoder.ts';
import { decoderFeatures, opcodeRows } from '../../../src/cpu/decode/opcodes.ts';
import type { CodeMode, DecodedInstruction } from '../../../src/cpu/decode/types.ts';
import { formKey } from '../../../src/cpu/interpreter/form.ts';
import { buildHandlersModule } from '../../../src/cpu/interpreter/handlers.ts';
import * as alu from '../../../src/cpu/semantics/alu.ts';
import * as bcd from '../../../src/cpu/semantics/bcd.ts';
import * as bit from '../../../src/cpu/semantics/bit.ts';
import * as bmi from '../../../src/cpu/semantics/bmi.ts';
import * as control from '../../../src/cpu/semantics/control.ts';
import * as data from '../../../src/cpu/semantics/data.ts';
import * as flag from '../../../src/cpu/semantics/flag.ts';
import { SEMANTICS } from '../../../src/cpu/semantics/index.ts';
import * as muldiv from '../../../src/cpu/semantics/muldiv.ts';
import * as shift from '../../../src/cpu/semantics/shift.ts';
import * as string from '../../../src/cpu/semantics/string.ts';

const INTEGER = [alu, bcd, bit, bmi, control, data, flag, muldiv, shift, string].flatMap((module) =>
  Object.keys(module).map((name) => name.replace(/_$/, '')),
);
const decode = createDecoder({ features: decoderFeatures() });

/** Prefixes, opcode, ModRM and SIB values that reach every map, width, repetition and addressing class. */
const PREFIXES = [[], [0x66], [0x67], [0xf3], [0xf2], [0x48], [0x66, 0x67], [0x67, 0xf3], [0xf3, 0x48], [0x64]];
const MAPS = [[], [0x0f], [0x0f, 0x38], [0xc4, 0xe2], [0xc4, 0xe3]];
const VEX_TAILS = [0x00, 0x78, 0x79, 0x7a, 0x7b, 0xf8, 0xf9, 0xfa, 0xfb];
/** Register, [base], [base+disp32], SIB with index. */
const ADDRESSING = [
  [0xc1, 0],
  [0x01, 0],
  [0x81, 0],
  [0x04, 0x4b],
];

function* encodings(): Generator<Uint8Array> {
  for (const prefix of PREFIXES)
    for (const map of MAPS)
      for (let opcode = 0; opcode < 256; opcode++)
        for (let reg = 0; reg < 8; reg++)
          for (const [modrm, sib] of ADDRESSING) {
            const tail = [opcode, modrm! | (reg << 3), sib!, 1, 2, 3, 4, 5, 6, 7, 8];
            if (map[0] !== 0xc4) yield Uint8Array.from([...prefix, ...map, ...tail]);
            else if (prefix.length === 0) for (const vex of VEX_TAILS) yield Uint8Array.from([...map, vex, ...tail]);
          }
}

/** One example of every form of the integer instructions that the encodings above reach. */
function examples(mode: CodeMode, stackSize: number): Map<string, DecodedInstruction> {
  const found = new Map<string, DecodedInstruction>();
  const wanted = new Set(INTEGER);
  for (const bytes of encodings()) {
    const d = decode(bytes, 0, bytes.length, mode);
    if (isFailure(d) || !wanted.has(d.row.mnemonic)) continue;
    const key = formKey(d, stackSize);
    if (!found.has(key)) found.set(key, d);
  }
  return found;
}

describe('integer semantics', () => {
  it('have a row in the opcode tables each', () => {
    const rows = new Set(opcodeRows().map((row) => row.mnemonic));
    expect(INTEGER.filter((name) => !rows.has(name))).toEqual([]);
  });
  it('exist for every row of the opcode tables', () => {
    expect(opcodeRows().flatMap(({ mnemonic }) => (SEMANTICS.has(mnemonic) ? [] : [mnemonic]))).toEqual([]);
  });

  it.each([
    [64, 8, 900],
    [32, 4, 900],
    [16, 2, 900],
  ] as const)('emit valid wasm for every form in %i-bit mode', (mode, stackSize, atLeast) => {
    const forms = examples(mode, stackSize);
    const invalid: string[] = [];
    const met = new Set<string>();
    for (const [key, example] of forms) {
      const semantics = SEMANTICS.get(example.row.mnemonic)!;
      met.add(example.row.mnemonic);
      const bytes = buildHandlersModule([{ example, stackSize, semantics }], importHelper);
      if (!WebAssembly.validate(bytes)) invalid.push(key);
    }
    expect(invalid).toEqual([]);
    expect(forms.size).toBeGreaterThan(atLeast);
    const only = new Map(opcodeRows().map((row) => [row.mnemonic, row.only]));
    const here = mode === 64 ? 'i64' : 'o64';
    const absent = INTEGER.filter(
      (name) => !met.has(name) && only.get(name) !== here && name !== 'endbr32' && name !== 'endbr64',
    );
    expect(absent).toEqual([]);
  });
});
