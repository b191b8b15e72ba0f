/**
 * Checks what the opcode tables declare (flags read, written, kept; LOCK; privilege) against a CPU, without an emulator:
 * each case runs once as it is and once with each status flag inverted.
 */
import { FLAG, type OpcodeRow } from '../../src/cpu/decode/types.ts';
import { bytesHex } from './compare.ts';
import { enumerateForms, type Form } from './forms.ts';
import { generate } from './generate.ts';
import type { CpuCase, CpuResult, Engine } from './types.ts';

const STATUS: readonly (readonly [name: string, bit: number])[] = [
  ['o', FLAG.of],
  ['s', FLAG.sf],
  ['z', FLAG.zf],
  ['a', FLAG.af],
  ['p', FLAG.pf],
  ['c', FLAG.cf],
  ['d', FLAG.df],
];

interface Observed {
  row: OpcodeRow;
  ended: number;
  cases: number;
  vectors: Set<number>;
  /** Some case left the flag different from its input. */
  changed: number;
  /** Some case let the flag through: out = in for both input values. */
  kept: number;
  /** Something besides the flag itself depends on it, or the flag comes out otherwise than kept or overwritten. */
  read: number;
  lockAccepted: boolean;
  example: string;
}

/** One line a finding. `inputs`: cases for each form. */
export async function checkDeclared(
  rows: readonly OpcodeRow[],
  cpu: Engine,
  inputs: number,
  seed: number,
): Promise<string[]> {
  const observed = new Map<OpcodeRow, Observed>();
  for (const form of enumerateForms(rows)) {
    const entry = observed.get(form.row) ?? {
      row: form.row,
      ended: 0,
      cases: 0,
      vectors: new Set(),
      changed: 0,
      kept: 0,
      read: 0,
      lockAccepted: false,
      example: '',
    };
    observed.set(form.row, entry);
    await observe(form, entry, cpu, inputs, seed);
  }
  return [...observed.values()].flatMap(findings);
}

async function observe(form: Form, entry: Observed, cpu: Engine, inputs: number, seed: number): Promise<void> {
  const tests: CpuCase[] = [];
  for (let stream = 0; stream < inputs; stream++) {
    const generated = generate(form, seed, stream);
    if (generated === undefined || illegalLock(form, generated.test.code)) continue;
    tests.push(generated.test);
    for (const [, bit] of STATUS) tests.push({ ...generated.test, rflags: generated.test.rflags ^ bit });
  }
  const results = await cpu.run(tests);
  const stride = STATUS.length + 1;
  for (let i = 0; i < tests.length; i += stride) {
    const base = results[i]!;
    entry.cases++;
    if (base.outcome.kind === 'fault') entry.vectors.add(base.outcome.vector);
    if (base.outcome.kind !== 'ok') continue;
    entry.ended++;
    entry.example = bytesHex(tests[i]!.code);
    if (form.prefix === 'lock') entry.lockAccepted = true;
    const input = tests[i]!.rflags;
    for (const [k, [, bit]] of STATUS.entries()) {
      const flipped = results[i + 1 + k]!;
      if (((base.rflags ^ input) | (flipped.rflags ^ input ^ bit)) & bit) entry.changed |= bit;
      else entry.kept |= bit;
      if (dependsOn(bit, base, flipped)) entry.read |= bit;
    }
  }
}

function dependsOn(bit: number, base: CpuResult, flipped: CpuResult): boolean {
  const same = (a: Uint8Array | BigUint64Array, b: Uint8Array | BigUint64Array) =>
    Buffer.compare(
      Buffer.from(a.buffer, a.byteOffset, a.byteLength),
      Buffer.from(b.buffer, b.byteOffset, b.byteLength),
    ) === 0;
  return (
    base.outcome.kind !== flipped.outcome.kind ||
    base.rip !== flipped.rip ||
    ((base.rflags ^ flipped.rflags) & ~bit) !== 0 ||
    !same(base.gpr, flipped.gpr) ||
    !same(base.ymm, flipped.ymm) ||
    !same(base.fx, flipped.fx) ||
    base.memory.length !== flipped.memory.length ||
    base.memory.some((line, i) => !same(line.bytes, flipped.memory[i]!.bytes))
  );
}

function illegalLock(form: Form, code: Uint8Array): boolean {
  return form.prefix !== 'lock' && code.subarray(0, 4).includes(0xf0);
}

function letters(flags: number): string {
  return STATUS.filter(([, bit]) => flags & bit)
    .map(([letter]) => letter)
    .join('');
}

/** Not privileged in themselves: they need IOPL >= CPL (SDM vol. 1, 19.5.1), a gate or CR4.PCE. */
const MAY_BE_ALLOWED = /^(ins?|outs?|cli|sti|int|rdpmc)$/;
/** #UD, not #GP, at CPL 3. */
const REFUSED = /^(ud\d?|clac|stac)$/;
/** Another result each time. */
const UNREPEATABLE = /^rd(tscp?|rand|seed)$/;

function findings({ row, ended, cases, vectors, changed, kept, read, lockAccepted, example }: Observed): string[] {
  const out: string[] = [];
  const name = `${row.opcode} | ${row.mnemonic} | ${row.operands.join(',')}`;
  const say = (text: string) => out.push(`${name}: ${text} (e.g. ${example || 'no case ended'})`);
  const { reads = 0, writes = 0, undefined: open = 0, maybe = 0 } = row;
  const only = (vector: number) => vectors.size === 1 && vectors.has(vector);
  if (ended === 0 && only(6) && !REFUSED.test(row.mnemonic)) say(`#UD in all ${cases} cases`);
  if (row.cpl0 && ended > 0) say('declared cpl0 but ran at CPL 3');
  if (!row.cpl0 && ended === 0 && only(13) && !MAY_BE_ALLOWED.test(row.mnemonic))
    say('#GP(0) in all cases but not declared cpl0');
  if (row.lock && !lockAccepted && ended > 0) say('declared lock, but no locked case ended');
  if (ended === 0) return out;
  const unexpected = changed & ~(writes | open);
  if (unexpected !== 0) say(`changes ${letters(unexpected)}, declared neither written nor undefined`);
  const never = writes & ~changed & (FLAG.of | FLAG.sf | FLAG.zf | FLAG.af | FLAG.pf | FLAG.cf | FLAG.df);
  if (never !== 0) say(`declares ${letters(never)} written, but never changes it`);
  const sometimes = writes & changed & kept & ~maybe & ~reads;
  if (sometimes !== 0) say(`keeps ${letters(sometimes)} in some cases, not declared with m=`);
  const dependence = read & ~reads;
  if (dependence !== 0 && !UNREPEATABLE.test(row.mnemonic)) say(`depends on ${letters(dependence)}, not declared read`);
  // CMC: a flag that is its own and only input does not show as read.
  const idle = reads & ~writes & ~read & (FLAG.of | FLAG.sf | FLAG.zf | FLAG.af | FLAG.pf | FLAG.cf);
  if (idle !== 0) say(`declares ${letters(idle)} read, no dependence seen`);
  return out;
}
