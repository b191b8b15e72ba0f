/** How fast wasm is emitted: an ADD of two registers and a load, flags included, as straight code by the wasm builder. */
import { Bench } from 'tinybench';
import { importHelper } from '../src/cpu/core.ts';
import { createDecoder, isFailure } from '../src/cpu/decode/decoder.ts';
import { translateRegion } from '../src/cpu/jit/translate.ts';
import { parseCpu } from '../src/cpu/models.ts';
import { SEMANTICS } from '../src/cpu/semantics/index.ts';
import { TLB } from '../src/cpu/state.ts';
import { i32, i64 } from '../src/wasm/expr.ts';
import { ModuleBuilder } from '../src/wasm/module.ts';

const COUNT = 10_000;
const decode = createDecoder({ features: parseCpu('x86-64-v2') });
const code = Uint8Array.from([0x48, 0x01, 0xd8, 0x48, 0x89, 0xc1, 0x48, 0x8b, 0x13, 0x48, 0x39, 0xca]);
const instructions: { d: Exclude<ReturnType<typeof decode>, { kind: string }>; offset: number }[] = [];
for (let at = 0; at < code.length; ) {
  const d = decode(code, at, code.length, 64);
  if (isFailure(d)) throw new Error('bench: undecodable');
  instructions.push({ d, offset: at });
  at += d.length;
}
const blocks = Array.from({ length: 25 }, (_, n) => ({
  offset: n * code.length,
  end: (n + 1) * code.length,
  instructions: instructions.map(({ d, offset }) => ({ d, offset: offset + n * code.length })),
  exit: 'fall' as const,
}));
const mode = {
  stackSize: 8 as const,
  tlbRead: TLB.base,
  tlbWrite: TLB.base,
  semantics: SEMANTICS,
  validCell: 0,
  segmented: false,
};

const bench = new Bench({ time: 1000 });
bench.add('builder: add, shift, store of locals', () => {
  const m = new ModuleBuilder();
  const f = m.function('f', [], []);
  const a = f.newLocal('i64');
  for (let n = 0; n < COUNT; n++) {
    f.set(a, i64.add(f.get('i64', a), i64.shl(f.get('i64', a), i64.const(3))));
    f.store64(i32.const(0), f.get('i64', a), n * 8);
  }
  m.encode();
});
bench.add('translator: regions of 100 instructions (add, mov, load, cmp)', () => {
  const m = new ModuleBuilder();
  for (let n = 0; n < COUNT / 100; n++) {
    translateRegion(
      m,
      `r${n}`,
      { blocks, entries: [0], continuations: [], pages: new Map([[0, 0]]) },
      mode,
      importHelper,
    );
  }
  m.encode();
});
await bench.run();
for (const task of bench.tasks) {
  const { result } = task;
  if (!('latency' in result)) throw new Error(`${task.name}: ${result.state}`);
  console.log(`${task.name}: ${(COUNT / result.latency.p50 / 1000).toFixed(2)} million a second`);
}
