import * as aes from './aes.ts';
import * as alu from './alu.ts';
import * as avx from './avx.ts';
import * as bcd from './bcd.ts';
import * as bit from './bit.ts';
import * as bmi from './bmi.ts';
import type { Semantics } from './context.ts';
import * as control from './control.ts';
import * as data from './data.ts';
import * as dotProduct from './dot-product.ts';
import * as f16c from './f16c.ts';
import * as flag from './flag.ts';
import { FMA } from './fma.ts';
import * as gather from './gather.ts';
import * as monitor from './monitor.ts';
import * as muldiv from './muldiv.ts';
import * as sha from './sha.ts';
import * as shift from './shift.ts';
import * as sseConvert from './sse-convert.ts';
import * as sseFloat from './sse-float.ts';
import * as sseInt from './sse-int.ts';
import * as sseMove from './sse-move.ts';
import * as sse4 from './sse4.ts';
import * as sse42 from './sse42.ts';
import * as string from './string.ts';
import * as system from './system.ts';
import * as undefinedCode from './undefined.ts';
import * as x87 from './x87.ts';
import * as x87Control from './x87-control.ts';
import * as x87Environment from './x87-environment.ts';
import * as x87Move from './x87-move.ts';
import * as xsave from './xsave.ts';

const MODULES: readonly Readonly<Record<string, Semantics>>[] = [
  alu,
  avx,
  bcd,
  bit,
  bmi,
  control,
  data,
  f16c,
  flag,
  FMA,
  gather,
  monitor,
  muldiv,
  sha,
  shift,
  string,
  system,
  undefinedCode,
  x87,
  x87Control,
  x87Environment,
  xsave,
  x87Move,
];

/** Modules whose exports serve the VEX encodings too, under the name with a `v` in front. */
const VEX_MODULES: readonly Readonly<Record<string, Semantics>>[] = [
  aes,
  dotProduct,
  sse4,
  sse42,
  sseConvert,
  sseFloat,
  sseInt,
  sseMove,
];

/** Names that no instruction can have: what the decoder could not decode. */
const PSEUDO_MNEMONICS: Readonly<Record<string, string>> = { undefinedOpcode: '(undefined)', tooLong: '(too long)' };

/**
 * Every instruction's meaning by mnemonic, as the opcode tables name it. Each export of the modules above is one; a name
 * that JavaScript reserves has a trailing underscore there (`in_`).
 */
export const SEMANTICS: ReadonlyMap<string, Semantics> = collect();

function collect(): Map<string, Semantics> {
  const all = new Map<string, Semantics>();
  const define = (mnemonic: string, semantics: Semantics): void => {
    if (all.has(mnemonic)) throw new Error(`semantics: "${mnemonic}" is defined twice`);
    all.set(mnemonic, semantics);
  };
  for (const module of [...MODULES, ...VEX_MODULES])
    for (const [name, semantics] of Object.entries(module))
      define(PSEUDO_MNEMONICS[name] ?? name.replace(/_$/, ''), semantics);
  for (const module of VEX_MODULES)
    for (const [name, semantics] of Object.entries(module)) define(`v${name.replace(/_sse$/, '')}`, semantics);
  return all;
}
