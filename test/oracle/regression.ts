/** A case and its result as a TypeScript object literal: how a difference found by the fuzzer becomes a test. */
import { bytesHex, describeOutcome, GPR_NAMES, hex } from './compare.ts';
import {
  CODE_BASE,
  type CpuCase,
  type CpuResult,
  DATA_BASE,
  initialFx,
  initialSelectors,
  type Outcome,
} from './types.ts';
import type { Masks } from './undefined.ts';

/** What is left out is at rest: registers 0, flags 2, MXCSR 1F80, x87 after FNINIT; results as before the case. */
export interface Regression {
  readonly name: string;
  /** Hexadecimal, as are all byte strings here; several instructions are separated by blanks. */
  readonly code: string;
  readonly mode?: 32;
  readonly codeOffset?: number;
  readonly gpr?: Readonly<Record<string, bigint>>;
  readonly rflags?: number;
  readonly fsBase?: bigint;
  readonly gsBase?: bigint;
  readonly ymm?: Readonly<Record<number, string>>;
  readonly mxcsr?: number;
  readonly fx?: string;
  /** By linear address. */
  readonly memory?: Readonly<Record<number, string>>;
  /** Flags that are undefined. */
  readonly undefinedFlags?: number;
  readonly expect: {
    /** Exception in the form '#PF error 0x6 cr2 0x20002000'. */
    readonly fault?: string;
    /** Default: the next instruction, or this one after a fault. */
    readonly rip?: bigint;
    readonly gpr?: Readonly<Record<string, bigint>>;
    readonly rflags?: number;
    readonly fsBase?: bigint;
    readonly gsBase?: bigint;
    readonly ymm?: Readonly<Record<number, string>>;
    readonly mxcsr?: number;
    readonly fx?: string;
    /** ES CS SS DS FS GS, when one of them changed. */
    readonly selectors?: readonly number[];
    readonly memory?: Readonly<Record<number, string>>;
  };
}

export function regressionCase(regression: Regression): CpuCase {
  const instructions = regression.code.split(' ').map(bytes);
  return {
    code: Uint8Array.from(instructions.flatMap((code) => [...code])),
    ...(instructions.length > 1 ? { lengths: instructions.map(({ length }) => length) } : {}),
    codeOffset: regression.codeOffset ?? 0,
    mode: regression.mode ?? 64,
    gpr: registers(new BigUint64Array(16), regression.gpr),
    rflags: regression.rflags ?? 2,
    fsBase: regression.fsBase ?? 0n,
    gsBase: regression.gsBase ?? 0n,
    ymm: vectors(new Uint8Array(512), regression.ymm),
    mxcsr: regression.mxcsr ?? 0x1f80,
    fx: regression.fx === undefined ? undefined : bytes(regression.fx),
    memory: patches(regression.memory),
  };
}

export function regressionResult(regression: Regression): CpuResult {
  const test = regressionCase(regression);
  const { expect } = regression;
  const start = BigInt(CODE_BASE + test.codeOffset);
  return {
    outcome: expect.fault === undefined ? { kind: 'ok' } : parseFault(expect.fault),
    rip: expect.rip ?? (expect.fault === undefined ? start + BigInt(test.code.length) : start),
    gpr: registers(test.gpr, expect.gpr),
    rflags: expect.rflags ?? test.rflags | 0x202,
    fsBase: expect.fsBase ?? test.fsBase,
    gsBase: expect.gsBase ?? test.gsBase,
    ymm: vectors(test.ymm, expect.ymm),
    mxcsr: expect.mxcsr ?? test.mxcsr,
    fx: expect.fx === undefined ? (test.fx ?? initialFx()) : bytes(expect.fx),
    selectors: expect.selectors === undefined ? initialSelectors(test.mode) : Uint16Array.from(expect.selectors),
    memory: patches(expect.memory),
  };
}

/** The literal, ready to be pasted into test/cpu/regressions.ts. */
export function formatRegression(name: string, test: CpuCase, expected: CpuResult, masks: Masks): string {
  const start = BigInt(CODE_BASE + test.codeOffset);
  const ok = expected.outcome.kind === 'ok';
  const fx = bytesHex(expected.fx);
  const selectors = expected.selectors.join();
  const expectation = [
    ok ? '' : `fault: '${describeOutcome(expected.outcome)}'`,
    expected.rip === (ok ? start + BigInt(test.code.length) : start) ? '' : `rip: ${hex(expected.rip)}n`,
    record('gpr', gprEntries(expected.gpr, test.gpr)),
    expected.rflags === (test.rflags | 0x202) ? '' : `rflags: ${hex(expected.rflags)}`,
    expected.fsBase === test.fsBase ? '' : `fsBase: ${hex(expected.fsBase)}n`,
    expected.gsBase === test.gsBase ? '' : `gsBase: ${hex(expected.gsBase)}n`,
    record('ymm', ymmEntries(expected.ymm, test.ymm)),
    expected.mxcsr === test.mxcsr ? '' : `mxcsr: ${hex(expected.mxcsr)}`,
    fx === bytesHex(test.fx ?? initialFx()) ? '' : `fx: '${fx}'`,
    selectors === initialSelectors(test.mode).join() ? '' : `selectors: [${selectors}]`,
    record(
      'memory',
      expected.memory.map((line) => `${hex(DATA_BASE + line.offset)}: '${bytesHex(line.bytes)}'`),
    ),
  ];
  const fields = [
    `name: '${name}'`,
    `code: '${separated(test)}'`,
    test.mode === 64 ? '' : `mode: ${test.mode}`,
    test.codeOffset === 0 ? '' : `codeOffset: ${hex(test.codeOffset)}`,
    record('gpr', gprEntries(test.gpr, new BigUint64Array(16))),
    test.rflags === 2 ? '' : `rflags: ${hex(test.rflags)}`,
    test.fsBase === 0n ? '' : `fsBase: ${hex(test.fsBase)}n`,
    test.gsBase === 0n ? '' : `gsBase: ${hex(test.gsBase)}n`,
    record('ymm', ymmEntries(test.ymm, new Uint8Array(512))),
    test.mxcsr === 0x1f80 ? '' : `mxcsr: ${hex(test.mxcsr)}`,
    test.fx === undefined ? '' : `fx: '${bytesHex(test.fx)}'`,
    record(
      'memory',
      test.memory.map((patch) => `${hex(DATA_BASE + patch.offset)}: '${bytesHex(patch.bytes)}'`),
    ),
    ok && masks.flags !== 0 ? `undefinedFlags: ${hex(masks.flags)}` : '',
    `expect: { ${expectation.filter((field) => field !== '').join(', ')} }`,
  ];
  return `{\n${fields
    .filter((field) => field !== '')
    .map((field) => `  ${field},\n`)
    .join('')}},`;
}

/** The code in hexadecimal, a blank between instructions. */
export function separated({ code, lengths = [code.length] }: CpuCase): string {
  let at = 0;
  return lengths.map((length) => bytesHex(code.subarray(at, (at += length)))).join(' ');
}

function record(name: string, entries: readonly string[]): string {
  return entries.length === 0 ? '' : `${name}: { ${entries.join(', ')} }`;
}

function gprEntries(now: BigUint64Array, before: BigUint64Array): string[] {
  return GPR_NAMES.flatMap((name, i) => (now[i] === before[i] ? [] : [`${name}: ${hex(now[i]!)}n`]));
}

function ymmEntries(now: Uint8Array, before: Uint8Array): string[] {
  const entries: string[] = [];
  for (let i = 0; i < 16; i++) {
    const text = bytesHex(now.subarray(32 * i, 32 * i + 32));
    if (text !== bytesHex(before.subarray(32 * i, 32 * i + 32))) entries.push(`${i}: '${text}'`);
  }
  return entries;
}

function parseFault(text: string): Outcome {
  const match = /^#(\w+) error 0x([0-9a-f]+)(?: cr2 0x([0-9a-f]+))?$/.exec(text);
  if (match === null) throw new Error(`not an exception: "${text}"`);
  const vector = Number(VECTOR_NUMBERS[match[1]!] ?? match[1]);
  const errorCode = Number.parseInt(match[2]!, 16);
  const cr2 = match[3];
  return cr2 === undefined
    ? { kind: 'fault', vector, errorCode }
    : { kind: 'fault', vector, errorCode, cr2: BigInt(`0x${cr2}`) };
}

const VECTOR_NUMBERS: Readonly<Record<string, number>> = {
  DE: 0,
  DB: 1,
  BP: 3,
  OF: 4,
  BR: 5,
  UD: 6,
  NM: 7,
  SS: 12,
  GP: 13,
  PF: 14,
  MF: 16,
  AC: 17,
  XM: 19,
};

function bytes(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'));
}

function registers(base: BigUint64Array, values: Readonly<Record<string, bigint>> | undefined): BigUint64Array {
  const out = base.slice();
  for (const [name, value] of Object.entries(values ?? {})) {
    const index = GPR_NAMES.indexOf(name);
    if (index < 0) throw new Error(`no such register: ${name}`);
    out[index] = value;
  }
  return out;
}

function vectors(base: Uint8Array, values: Readonly<Record<number, string>> | undefined): Uint8Array {
  const out = base.slice();
  for (const [index, text] of Object.entries(values ?? {})) out.set(bytes(text), 32 * Number(index));
  return out;
}

function patches(values: Readonly<Record<number, string>> | undefined): CpuCase['memory'] {
  return Object.entries(values ?? {}).map(([address, text]) => ({
    offset: Number(address) - DATA_BASE,
    bytes: bytes(text),
  }));
}
