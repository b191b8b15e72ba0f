/**
 * The decoder against silicon on arbitrary bytes: what the host refuses with #UD must not decode, what it runs must, and
 * the next RIP tells the length. Legal instructions mutated in a byte or a prefix find more than random bytes.
 */
import { createDecoder, isFailure } from '../../src/cpu/decode/decoder.ts';
import { decoderFeatures } from '../../src/cpu/decode/opcodes.ts';
import type { DecodedInstruction } from '../../src/cpu/decode/types.ts';
import { bytesHex, describeOutcome } from './compare.ts';
import { EXCLUDED } from './exclusions.ts';
import type { Form } from './forms.ts';
import { generate } from './generate.ts';
import { policyOf } from './policy.ts';
import { Random } from './random.ts';
import { CODE_BASE, type CpuCase, type CpuResult, DATA_BASE, type Engine } from './types.ts';

export interface DecodeFinding {
  readonly code: string;
  readonly mode: 64 | 32;
  readonly text: string;
  /** Findings of the same kind are counted together. */
  readonly kind: string;
}

/** Instruction sets this project does not have but a host may, and encodings on which vendors differ. By `kind`. */
const EXPLAINED: readonly (readonly [kind: RegExp, reason: string])[] = [
  [/^refused 62 /, 'AVX-512: EVEX'],
  [/^refused vex 0f (4[1-7ab]|9[012389])( |$)/, 'AVX-512: operations on mask registers'],
  [/^refused vex 0f 3a 3[0-3]( |$)/, 'AVX-512: operations on mask registers'],
  [/^refused (vex )?0f (38 cf|3a c[ef])( |$)/, 'GFNI'],
  [/^refused 0f (2b|78|79)( |$)/, 'SSE4a'],
  [/^refused vex 0f 3a 0[01]( |$)/, 'VPERMQ, VPERMPD: AMD ignores VEX.W, the SDM demands 1'],
  [/^accepted vp(extr|insr)d$/, '32-bit code: AMD raises #UD for VEX.W1, the SDM ignores it'],
  [/^refused 0f 07( |$)/, 'SYSRET outside 64-bit code: #GP(0) at CPL 3 on AMD, #UD on Intel'],
  [/^refused 0f 00 \(lock\)/, 'LOCK VERW runs on AMD'],
  [/^refused 0f 2[02] \(lock\)/, 'LOCK MOV CR0: MOV CR8 on AMD'],
  [/^accepted (cl|st)ac$/, '#UD at CPL 3'],
  [/^accepted nop$/, '0F 0D with a register operand: #UD on AMD, NOP on Intel'],
];

const PREFIXES = [0x66, 0xf2, 0xf3, 0xf0, 0x2e, 0x64, 0x67, 0x48, 0x41, 0x44, 0x40];
const BATCH = 2048;
const CODE_OFFSET = 0x100;

/** RCX 1 keeps repeats to one iteration; every other register points into the data window. */
const REGISTERS = BigUint64Array.from({ length: 16 }, (_, i) => (i === 1 ? 1n : BigInt(DATA_BASE + 0x800 + 64 * i)));
const REGISTERS_32 = REGISTERS.map((value, i) => (i < 8 ? value : 0n));
const YMM = new Uint8Array(512);

export async function checkDecoder(
  forms: readonly Form[],
  cpu: Engine,
  cases: number,
  seed: number,
): Promise<{ cases: number; findings: DecodeFinding[] }> {
  const decode = createDecoder({ features: decoderFeatures() });
  const r = new Random(seed, 1);
  const findings: DecodeFinding[] = [];
  let done = 0;
  while (done < cases) {
    const tests: CpuCase[] = [];
    while (tests.length < BATCH) {
      const code = mutated(forms[r.below(forms.length)]!, r, seed);
      if (code !== undefined) tests.push(code);
    }
    const results = await cpu.run(tests);
    for (const [i, test] of tests.entries()) {
      // The host sees 0xCC behind the case; so does the decoder.
      const bytes = new Uint8Array(16).fill(0xcc);
      bytes.set(test.code);
      const finding = judge(test, decode(bytes, 0, 16, test.mode), results[i]!);
      if (finding === undefined || EXPLAINED.some(([kind]) => kind.test(finding.kind))) continue;
      findings.push({ ...finding, code: bytesHex(test.code), mode: test.mode });
    }
    done += tests.length;
  }
  return { cases: done, findings };
}

function mutated(form: Form, r: Random, seed: number): CpuCase | undefined {
  const generated = generate(form, seed, r.u32());
  if (generated === undefined) return undefined;
  let code = [...generated.test.code];
  switch (r.below(5)) {
    case 0:
      code = Array.from({ length: 15 }, () => r.below(256));
      break;
    case 1:
      code[r.below(code.length)] = r.below(256);
      break;
    case 2:
      code[r.below(code.length)]! ^= 1 << r.below(8);
      break;
    case 3:
      code.splice(r.below(3), 0, r.pick(PREFIXES));
      break;
    default:
      code.splice(r.below(2), 1);
  }
  const { mode } = form;
  const bytes = new Uint8Array(15).fill(0xcc);
  bytes.set(code.slice(0, 15));
  if (policyOf(bytes, mode) === 'forbidden') return undefined;
  return {
    code: bytes,
    codeOffset: CODE_OFFSET,
    mode,
    gpr: mode === 64 ? REGISTERS : REGISTERS_32,
    rflags: 2,
    fsBase: 0n,
    gsBase: 0n,
    ymm: YMM,
    mxcsr: 0x1f80,
    fx: undefined,
    memory: [],
    singleStep: true,
  };
}

type Verdict = Pick<DecodeFinding, 'kind' | 'text'> | undefined;

function judge(test: CpuCase, ours: ReturnType<ReturnType<typeof createDecoder>>, host: CpuResult): Verdict {
  const undefinedOnHost = host.outcome.kind === 'fault' && host.outcome.vector === 6;
  if (isFailure(ours)) {
    if (ours.kind === 'more') return undefined;
    const expected = ours.kind === 'ud' ? 6 : 13;
    if (host.outcome.kind === 'fault' && host.outcome.vector === expected) return undefined;
    return { kind: `refused ${ours.what}`, text: `${ours.kind} ${ours.what}; host: ${describeOutcome(host.outcome)}` };
  }
  const name = ours.row.mnemonic;
  if (undefinedOnHost) {
    return /^ud\d?$/.test(name) ? undefined : { kind: `accepted ${name}`, text: `decodes as ${name}; host: #UD` };
  }
  if (host.outcome.kind !== 'ok' || leaves(ours)) return undefined;
  const length = Number(host.rip) - CODE_BASE - test.codeOffset;
  if (length === ours.length) return undefined;
  return { kind: `length ${name}`, text: `${name} of ${ours.length} bytes; the host went on after ${length}` };
}

/** Control transfers go elsewhere; excluded instructions may do anything. */
function leaves({ row }: DecodedInstruction): boolean {
  return row.ends === true || EXCLUDED[row.mnemonic] !== undefined;
}
