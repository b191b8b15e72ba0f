import { Decoder, DecoderOptions, Instruction } from 'iced-x86';
import { describe, expect, test } from 'vitest';
import { createDecoder, isFailure } from '../../src/cpu/decode/decoder.ts';
import { decoderFeatures, opcodeRows } from '../../src/cpu/decode/opcodes.ts';
import type { CodeMode, OpcodeRow } from '../../src/cpu/decode/types.ts';
import { createRandom, legacyCases, randomBatch, vexCases } from './decoder-cases.ts';
import { compareFacts, showsAllFlags } from './decoder-facts.ts';
import { icedCode } from './decoder-iced.ts';
import { BATCH, DecoderOracle, STRIDE } from './decoder-oracle.ts';

const MODES: readonly CodeMode[] = [64, 32, 16];

describe('decoder against iced-x86', () => {
  test('random byte strings decode alike', () => {
    const oracle = new DecoderOracle();
    const random = createRandom(20_240_601);
    for (let done = 0, turn = 0; done < 200_000; done += BATCH, turn++) {
      oracle.run(randomBatch(random), MODES[turn % MODES.length]!);
    }
    expect(oracle.report.unexplained).toEqual([]);
    expect(oracle.report.cases).toBeGreaterThanOrEqual(200_000);
    expect(oracle.report.valid).toBeGreaterThan(oracle.report.cases / 2);
  });

  test('every row is reached, and encodings and facts agree', () => {
    const oracle = new DecoderOracle();
    const decode = createDecoder({ features: decoderFeatures() });
    const unreached = new Set<OpcodeRow>(opcodeRows());
    const met = new Set<string>();
    const differences: string[] = [];
    const random = createRandom(7);
    const theirs = new Instruction();
    for (const mode of MODES) {
      const check = (data: Uint8Array) => {
        oracle.run(data, mode);
        const decoder = new Decoder(mode, data, DecoderOptions.None);
        for (let at = 0; at < data.length; at += STRIDE) {
          const ours = decode(data, at, at + STRIDE, mode);
          if (isFailure(ours) || !unreached.has(ours.row) || !showsAllFlags(ours)) continue;
          decoder.position = at;
          decoder.decodeOut(theirs);
          if (theirs.isInvalid) continue;
          const { name, foreign } = icedCode(theirs);
          if (foreign) continue;
          unreached.delete(ours.row);
          met.add(name);
          differences.push(
            ...compareFacts(ours, theirs).map((line) => `${ours.row.opcode} ${ours.row.mnemonic}: ${line}`),
          );
        }
        decoder.free();
      };
      legacyCases(mode, random, check, true);
      if (mode !== 16) vexCases(mode, random, check, true);
    }
    expect(oracle.report.unexplained).toEqual([]);
    expect(differences).toEqual([]);
    expect([...unreached].map((row) => `${row.opcode} ${row.mnemonic}`)).toEqual([]);
    expect(met.size).toBeGreaterThan(1000);
  });
});
