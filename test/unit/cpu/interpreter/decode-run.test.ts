import { describe, expect, test } from 'vitest';
import { createDecoder, isFailure } from '../../../../src/cpu/decode/decoder.ts';
import { BOOT_ENCODINGS, instructionBytes } from '../../../../src/cpu/interpreter/boot-encodings.ts';
import { bootShapes, instantiateDecodeRun } from '../../../../src/cpu/interpreter/boot-shapes.ts';
import { CodeCache } from '../../../../src/cpu/interpreter/code-cache.ts';
import { formKey } from '../../../../src/cpu/interpreter/form.ts';
import { PSEUDO } from '../../../../src/cpu/interpreter/pseudo.ts';
import { writeRecord } from '../../../../src/cpu/interpreter/records.ts';
import { Shapes, type ShapesImage } from '../../../../src/cpu/interpreter/shapes.ts';
import { parseCpu } from '../../../../src/cpu/models.ts';
import { CODE_PAGE, COUNTER, DYNAMIC_BASE, RECORD, STATE } from '../../../../src/cpu/state.ts';
import { StateMemory } from '../../../../src/cpu/state-memory.ts';
import { createRandom, legacyCases, randomBatch } from '../../../cpu/decoder-cases.ts';
import { STRIDE } from '../../../cpu/decoder-oracle.ts';

const PAGE = 4096;

/** A code cache over two pages of RAM, with nothing else of a CPU. */
function createCache(model = 'x86-64-v3') {
  const state = new StateMemory(DYNAMIC_BASE);
  const codePages = state.allocate(8);
  const ram = new WebAssembly.Memory({ initial: 1 });
  const decode = createDecoder({ features: parseCpu(model) });
  const handlers = new Map<string, number>();
  const handlerOf = (form: string): number => {
    let handler = handlers.get(form);
    if (handler === undefined) handlers.set(form, (handler = 8 + handlers.size));
    return handler;
  };
  const shapes = new Shapes(state);
  const cache = new CodeCache({
    memory: state,
    ram: new Uint8Array(ram.buffer, 0, 2 * PAGE),
    codePages,
    forms: {
      handlerFor: (d, stackSize) => handlerOf(formKey(d, stackSize)),
    },
    decode,
    shapes,
    decodeRun: instantiateDecodeRun(state.memory, ram),
    watchPage: () => {},
    forgetLookups: () => {},
  });
  const table = (): number => state.get32(codePages);
  return {
    cache,
    state,
    decode,
    adopt: (image: ShapesImage) => shapes.adopt(image, parseCpu(model), handlerOf),
    ram: new Uint8Array(ram.buffer),
    handlerFor: (key: string) => handlers.get(key)!,
    recordAt: (offset: number) => state.get32(table() + CODE_PAGE.map + offset * 4),
    byWasm: () => state.count(STATE.counters + COUNTER.decoded * 8),
  };
}
type Cache = ReturnType<typeof createCache>;

/**
 * Decodes the bytes at `offset` and compares every record of the run with what the decoder in JavaScript makes of them: what
 * differs, or undefined.
 */
function differenceIn({ cache, state, decode, ram, handlerFor, recordAt }: Cache, offset: number): string | undefined {
  cache.decode(0, offset, 0, () => -1);
  let record = recordAt(offset);
  let at = offset;
  while (state.u16[record >> 1]! > PSEUDO.enter) {
    const made = Buffer.from(state.u8.slice(record, record + RECORD.size));
    const d = decode(ram, at, PAGE, 64);
    const where = (): string => Buffer.from(ram.subarray(at, at + 16)).toString('hex');
    if (isFailure(d)) {
      // an undefined instruction, which the shapes must not know
      const known = handlerFor('(undefined) 64.488 i4') ?? handlerFor('(too long) 64.488');
      return known === undefined ? `${where()}: ${made.toString('hex')} of no instruction` : undefined;
    }
    if (recordAt(at) !== record) return `${where()}: not at its place`;
    writeRecord(state, record, d, handlerFor(formKey(d, 8)), at);
    const expected = Buffer.from(state.u8.subarray(record, record + RECORD.size));
    if (!made.equals(expected)) {
      return `${where()} ${d.row.mnemonic}: ${made.toString('hex')} is not ${expected.toString('hex')}`;
    }
    at += d.length;
    record += RECORD.size;
  }
  return undefined;
}

describe('decodeRun', () => {
  const checkBatch = (c: Cache, random: () => number, batch: Uint8Array): void => {
    for (let at = 0; at + STRIDE <= batch.length; at += STRIDE) {
      const offset = random() % (PAGE - 2 * STRIDE);
      c.ram.set(batch.subarray(at, at + STRIDE), offset);
      const difference = differenceIn(c, offset);
      if (difference !== undefined) expect.fail(difference);
      c.cache.written(0, PAGE);
    }
  };
  test('makes the records that the decoder and writeRecord make of random bytes', () => {
    const c = createCache();
    const random = createRandom(5);
    for (let i = 0; i < 4; i++) checkBatch(c, random, randomBatch(random));
    expect(c.byWasm() / c.cache.decodedInstructions).toBeGreaterThan(0.4);
  });
  test('and of every opcode', () => {
    const c = createCache();
    const random = createRandom(6);
    legacyCases(64, random, (batch) => checkBatch(c, random, batch), true);
    expect(c.byWasm() / c.cache.decodedInstructions).toBeGreaterThan(0.25);
  });
  // the shapes come from a decoder with every feature; with fewer, F3 0F BD is BSR and not LZCNT
  test.each(['x86-64-v1', 'x86-64-v3'])('and knows as much of boots from the package, on %s', (model) => {
    const c = createCache(model);
    c.adopt(bootShapes());
    const random = createRandom(7);
    legacyCases(64, random, (batch) => checkBatch(c, random, batch.subarray(0, batch.length >> 2)), true);
    for (const hex of BOOT_ENCODINGS) {
      c.ram.fill(0xf4, 0, 64);
      c.ram.set(instructionBytes(hex));
      expect(differenceIn(c, 0)).toBeUndefined();
      c.cache.written(0, PAGE);
    }
  });
});
