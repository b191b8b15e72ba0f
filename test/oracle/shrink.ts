/** Makes a failing case smaller: fewer prefixes, plainer operands, nothing that does not matter. */
import { compare, type Difference } from './compare.ts';
import { type Failure, kindOf } from './fuzz.ts';
import { type CpuCase, type CpuResult, type Engine, initialFx } from './types.ts';

export interface Shrunk {
  readonly test: CpuCase;
  readonly expected: CpuResult;
  readonly actual: CpuResult;
  readonly differences: readonly Difference[];
}

type Step = (test: CpuCase) => CpuCase | undefined;

/** Segment overrides, address size and an empty REX: prefixes whose loss does not change what may differ. */
const DROPPABLE = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x67, 0x40]);

export async function shrink(failure: Failure, reference: Engine): Promise<Shrunk> {
  const { engine, generated } = failure;
  const kind = kindOf(failure.differences);
  const attempt = async (test: CpuCase): Promise<Shrunk | undefined> => {
    const [[expected], [actual]] = await Promise.all([reference.run([test]), engine.run([test])]);
    const differences = compare(generated.masks(test), expected!, actual!);
    if (differences.length === 0 || kindOf(differences) !== kind) return undefined;
    return { test, expected: expected!, actual: actual!, differences };
  };
  const { expected, actual, differences } = failure;
  let best: Shrunk = { test: generated.test, expected, actual, differences };
  for (let changed = true, rounds = 0; changed && rounds < 4; rounds++) {
    changed = false;
    for (const step of steps(best.test)) {
      const candidate = step(best.test);
      if (candidate === undefined) continue;
      const smaller = await attempt(candidate);
      if (smaller === undefined) continue;
      best = smaller;
      changed = true;
    }
  }
  return best;
}

/** Each step returns undefined when there is nothing left for it to do. */
function steps(test: CpuCase): Step[] {
  const list: Step[] = [];
  for (let i = (test.lengths?.length ?? 0) - 1; i >= 0; i--) list.push((t) => withoutInstruction(t, i));
  list.push(
    (t) => (t.codeOffset === 0 ? undefined : { ...t, codeOffset: 0 }),
    withoutPrefix,
    (t) => (t.rflags === 2 ? undefined : { ...t, rflags: 2 }),
    (t) => (t.mxcsr === 0x1f80 ? undefined : { ...t, mxcsr: 0x1f80 }),
    (t) => (t.fx === undefined ? undefined : { ...t, fx: undefined }),
    (t) => (t.fsBase === 0n ? undefined : { ...t, fsBase: 0n }),
    (t) => (t.gsBase === 0n ? undefined : { ...t, gsBase: 0n }),
    (t) => (t.ymm.every((byte) => byte === 0) ? undefined : { ...t, ymm: new Uint8Array(512) }),
  );
  for (const bit of [0, 2, 4, 6, 7, 10, 11]) {
    list.push((t) => (t.rflags & (1 << bit) ? { ...t, rflags: t.rflags & ~(1 << bit) } : undefined));
  }
  for (let i = 0; i < 16; i++) {
    for (const simple of [
      () => 0n,
      () => 1n,
      (value: bigint) => value & 0xffn,
      (value: bigint) => value & 0xffff_ffffn,
    ]) {
      list.push((t) => withGpr(t, i, simple));
    }
    list.push((t) => zeroed(t, 32 * i, 32));
    list.push((t) => zeroed(t, 32 * i + 16, 16));
    for (let lane = 0; lane < 4; lane++) list.push((t) => zeroed(t, 32 * i + 4 * lane, 4));
  }
  for (let i = 0; i < test.memory.length; i++) {
    const patch = test.memory[i]!;
    list.push((t) => (t.memory.includes(patch) ? { ...t, memory: t.memory.filter((p) => p !== patch) } : undefined));
    list.push((t) => {
      if (!t.memory.includes(patch) || patch.bytes.every((byte) => byte === 0)) return undefined;
      const plain = { offset: patch.offset, bytes: new Uint8Array(patch.bytes.length) };
      return { ...t, memory: t.memory.map((p) => (p === patch ? plain : p)) };
    });
  }
  for (let i = 0; i < 8; i++) list.push((t) => x87Zeroed(t, 32 + 16 * i, 16));
  list.push(
    (t) => x87Zeroed(t, 0, 2),
    (t) => x87Zeroed(t, 2, 2),
    (t) => x87Zeroed(t, 4, 1),
  );
  return list;
}

function withoutInstruction(test: CpuCase, index: number): CpuCase | undefined {
  const { lengths = [], code } = test;
  if (lengths.length < 2 || index >= lengths.length) return undefined;
  const from = lengths.slice(0, index).reduce((sum, length) => sum + length, 0);
  const rest = [...code.subarray(0, from), ...code.subarray(from + lengths[index]!)];
  return { ...test, code: Uint8Array.from(rest), lengths: lengths.filter((_, i) => i !== index) };
}

function withoutPrefix(test: CpuCase): CpuCase | undefined {
  if (test.lengths !== undefined || test.code.length === 1 || !DROPPABLE.has(test.code[0]!)) return undefined;
  return { ...test, code: test.code.slice(1) };
}

function withGpr(test: CpuCase, index: number, simple: (value: bigint) => bigint): CpuCase | undefined {
  const value = test.gpr[index]!;
  const wanted = simple(value);
  if (wanted >= value) return undefined;
  const gpr = test.gpr.slice();
  gpr[index] = wanted;
  return { ...test, gpr };
}

function zeroed(test: CpuCase, from: number, length: number): CpuCase | undefined {
  if (test.ymm.subarray(from, from + length).every((byte) => byte === 0)) return undefined;
  const ymm = test.ymm.slice();
  ymm.fill(0, from, from + length);
  return { ...test, ymm };
}

/** Puts a part of the x87 state back to what FNINIT gives. */
function x87Zeroed(test: CpuCase, from: number, length: number): CpuCase | undefined {
  if (test.fx === undefined) return undefined;
  const plain = initialFx().subarray(from, from + length);
  if (Buffer.compare(test.fx.subarray(from, from + length), plain) === 0) return undefined;
  const fx = test.fx.slice();
  fx.set(plain, from);
  return { ...test, fx };
}
