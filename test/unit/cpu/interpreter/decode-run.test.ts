import { describe, expect, test } from 'vitest';
import { createDecoder, isFailure } from '../../../../src/cpu/decode/decoder.ts';
import { CodeCache } from '../../../../src/cpu/interpreter/code-cache.ts';
import { DECODE_HELPERS } from '../../../../src/cpu/interpreter/decode-run.ts';
import { formKey } from '../../../../src/cpu/interpreter/form.ts';
import { PSEUDO } from '../../../../src/cpu/interpreter/pseudo.ts';
import { writeRecord } from '../../../../src/cpu/interpreter/records.ts';
import { parseCpu } from '../../../../src/cpu/models.ts';
import { CODE_PAGE, COUNTER, DYNAMIC_BASE, RECORD, STATE } from '../../../../src/cpu/state.ts';
import { StateMemory } from '../../../../src/cpu/state-memory.ts';
import type { Callable } from '../../../../src/wasm/expr.ts';
import { ModuleBuilder } from '../../../../src/wasm/module.ts';
import { createRandom, legacyCases, randomBatch } from '../../../cpu/decoder-cases.ts';
import { STRIDE } from '../../../cpu/decoder-oracle.ts';

const PAGE = 4096;

/** A code cache over two pages of RAM, with nothing else of a CPU. */
function createCache() {
  const state = new StateMemory(DYNAMIC_BASE);
  const codePages = state.allocate(8);
  const ram = new WebAssembly.Memory({ initial: 1 });
  const m = new ModuleBuilder();
  m.importMemory({ name: 'state', initial: 1 });
  m.importMemory({ name: 'ram', initial: 0 });
  const functions = new Map<string, Callable>();
  for (const helper of DECODE_HELPERS) {
    const f = m.function(helper.name, helper.params, helper.results);
    functions.set(helper.name, f);
    helper.build(f, (name) => functions.get(name)!);
    m.export(f);
  }
  const env = { state: state.memory, ram };
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(m.encode()), { env });
  const decode = createDecoder({ features: parseCpu('x86-64-v3') });
  const handlers = new Map<string, number>();
  const cache = new CodeCache({
    memory: state,
    ram: new Uint8Array(ram.buffer, 0, 2 * PAGE),
    codePages,
    forms: {
      handlerFor(d, stackSize) {
        const key = formKey(d, stackSize);
        let handler = handlers.get(key);
        if (handler === undefined) handlers.set(key, (handler = 8 + handlers.size));
        return handler;
      },
    },
    decode,
    decodeRun: exports['decodeRun'] as (page: number, ramPage: number, offset: number) => number,
    watchPage: () => {},
    forgetLookups: () => {},
  });
  const table = (): number => state.get32(codePages);
  return {
    cache,
    state,
    decode,
    ram: new Uint8Array(ram.buffer),
    handlerFor: (key: string) => handlers.get(key)!,
    recordAt: (offset: number) => state.get32(table() + CODE_PAGE.map + offset * 4),
    byWasm: () => state.count(STATE.counters + COUNTER.decoded * 8),
  };
}
type Cache = ReturnType<typeof createCache>;

/** Decodes the bytes at `offset` and compares every record of the run with what the decoder in JavaScript makes of them. */
function checkRun({ cache, state, decode, ram, handlerFor, recordAt }: Cache, offset: number): void {
  cache.decode(0, offset, 0, () => -1);
  let record = recordAt(offset);
  let at = offset;
  while (state.u16[record >> 1]! > PSEUDO.enter) {
    const made = state.u8.slice(record, record + RECORD.size);
    const d = decode(ram, at, PAGE, 64);
    const bytes = Buffer.from(ram.subarray(at, at + 16)).toString('hex');
    if (isFailure(d)) {
      // an undefined instruction, which the shapes must not know
      expect(handlerFor('(undefined) 64.488 i4') ?? handlerFor('(undefined) 64.488 r4'), bytes).toBeDefined();
      return;
    }
    expect(recordAt(at), bytes).toBe(record);
    writeRecord(state, record, d, handlerFor(formKey(d, 8)), at);
    expect(Buffer.from(made).toString('hex'), `${bytes} ${d.row.mnemonic}`).toBe(
      Buffer.from(state.u8.subarray(record, record + RECORD.size)).toString('hex'),
    );
    at += d.length;
    record += RECORD.size;
  }
}

describe('decodeRun', () => {
  const checkBatch = (c: Cache, random: () => number, batch: Uint8Array): void => {
    for (let at = 0; at + STRIDE <= batch.length; at += STRIDE) {
      const offset = random() % (PAGE - 2 * STRIDE);
      c.ram.set(batch.subarray(at, at + STRIDE), offset);
      checkRun(c, offset);
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
});
