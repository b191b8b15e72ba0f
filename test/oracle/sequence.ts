/**
 * Several instructions in a row: what one leaves for the next (pending flags, registers held in locals) is compared too.
 * The first instruction brings the state; those after it use registers as they are, and memory at constant addresses.
 */
import { createDecoder, isFailure } from '../../src/cpu/decode/decoder.ts';
import { decoderFeatures } from '../../src/cpu/decode/opcodes.ts';
import { METHOD } from '../../src/cpu/decode/operands.ts';
import { FLAG, type OpcodeRow } from '../../src/cpu/decode/types.ts';
import type { Form } from './forms.ts';
import { type GeneratedCase, generate } from './generate.ts';
import { policyOf } from './policy.ts';
import { Random } from './random.ts';
import { AC } from './state.ts';
import { CODE_SIZE, type CpuCase, type MemoryPatch } from './types.ts';
import { checksAlignment, type Masks, NO_MASKS, openCr2Bits } from './undefined.ts';
import { CODE_BYTES } from './wire.ts';

const LONGEST = 8;
/** Streams of the instructions of one sequence are this far apart. */
const STRIDE = 2 ** 32;
const ALL = FLAG.of | FLAG.sf | FLAG.zf | FLAG.af | FLAG.pf | FLAG.cf;

/** Left out: what goes elsewhere, faults always, has results or flags that are not fully compared, or leaves AMD's path. */
const UNSUITED =
  /^(ud\d|ins?|outs?|cli|sti|hlt|int.*|bound|popf|shld|shrd|bswap|v?(rcp|rsqrt)[ps]s|f2xm1|fyl2x|fyl2xp1|fptan|fpatan|fsin|fcos|fsincos|fxsave|fnsave|fnstenv|maskmovq|cvtt?p[sd]2pi|cvtpi2p[sd]|cpuid|rdtscp?|rdpid|rdrand|rdseed|xgetbv|xsave\w*|xrstors?)$/;

/** Only first, where the selector is chosen: the host's descriptor 78h names its CPU (types.ts). */
const SELECTORS = /^(mov_seg|lar|lsl|verr|verw)$/;

/** Memory operands at a register's address without ModRM. */
const IMPLICIT = new Set<number>([METHOD.source, METHOD.destination, METHOD.implicit]);

const suitable = new WeakMap<readonly Form[], readonly Form[]>();

function suitableForms(forms: readonly Form[]): readonly Form[] {
  let list = suitable.get(forms);
  if (list === undefined) {
    list = forms.filter(
      ({ row, prefix }) => !row.ends && !row.cpl0 && prefix !== 'repne' && !UNSUITED.test(row.mnemonic),
    );
    suitable.set(forms, list);
  }
  return list;
}

/** undefined: no suitable instruction was found. */
export function generateSequence(forms: readonly Form[], seed: number, stream: number): GeneratedCase | undefined {
  const candidates = suitableForms(forms);
  const r = new Random(seed, stream);
  const wanted = 2 + r.below(LONGEST - 1);
  const first = pick(candidates, r);
  const codeOffset = r.oneIn(4) ? CODE_SIZE / 2 - r.below(40) : r.below(0x1000 - CODE_BYTES);
  const opening = generate(first, seed, stream, { codeOffset });
  if (opening === undefined || policyOf(opening.test.code, first.mode) !== 'plain') return undefined;

  const code = [...opening.test.code];
  const lengths = [code.length];
  const memory: MemoryPatch[] = [...opening.test.memory];
  let open = flagsLeftOpen(first.row, 0);
  let last = first;
  for (let tries = 1; lengths.length < wanted && tries < 40; tries++) {
    const form = pick(candidates, r);
    if (form.mode !== first.mode || ((form.row.reads ?? 0) & open) !== 0) continue;
    if (form.operands.some(({ method }) => IMPLICIT.has(method))) continue;
    if (SELECTORS.test(form.row.mnemonic)) continue;
    if (opening.test.rflags & AC && !checksAlignment(form)) continue;
    if (form.usesX87 !== first.usesX87 || form.usesMmx !== first.usesMmx) continue;
    const next = generate(form, seed, stream + tries * STRIDE, {
      absolute: true,
      codeOffset: codeOffset + code.length,
    });
    if (next === undefined || code.length + next.test.code.length > CODE_BYTES - 5) continue;
    if (policyOf(next.test.code, form.mode) !== 'plain') continue;
    code.push(...next.test.code);
    lengths.push(next.test.code.length);
    for (const patch of next.test.memory) if (!overlaps(memory, patch)) memory.push(patch);
    open = flagsLeftOpen(form.row, open);
    last = form;
  }
  const test: CpuCase = { ...opening.test, code: Uint8Array.from(code), lengths, memory };
  return { form: last, id: `${seed}:${stream}`, test, target: 0n, masks: sequenceMasks };
}

/** Integer instructions are chosen twice as often as their share: flags pass between them. */
function pick(forms: readonly Form[], r: Random): Form {
  const form = r.pick(forms);
  return form.usesVectors || form.usesX87 || form.usesMmx ? r.pick(forms) : form;
}

const decode = createDecoder({ features: decoderFeatures() });

function sequenceMasks({ code, mode, lengths = [code.length] }: CpuCase): Masks {
  let at = 0;
  let flags = 0;
  let flagsAfterFault = 0;
  let cr2Bits = 0n;
  for (const length of lengths) {
    const decoded = decode(code, at, at + length, mode);
    if (!isFailure(decoded)) {
      flags = flagsLeftOpen(decoded.row, flags);
      const open = openCr2Bits(decoded.row.mnemonic);
      if (open > cr2Bits) cr2Bits = open;
    }
    flagsAfterFault |= flags;
    at += length;
  }
  return { ...NO_MASKS, flags, flagsAfterFault, cr2Bits };
}

/** Flags without a defined value after `row`, given those before it; a flag that may be kept stays open. */
function flagsLeftOpen(row: OpcodeRow, open: number): number {
  const settled = (row.writes ?? 0) & ~(row.undefined ?? 0) & ~(row.maybe ?? 0);
  return ((open & ~settled) | (row.undefined ?? 0)) & ALL;
}

function overlaps(memory: readonly MemoryPatch[], { offset, bytes }: MemoryPatch): boolean {
  return memory.some((other) => other.offset < offset + bytes.length && offset < other.offset + other.bytes.length);
}
