import * as alu from './alu.ts';
import * as bcd from './bcd.ts';
import * as bit from './bit.ts';
import * as bmi from './bmi.ts';
import type { Semantics } from './context.ts';
import * as control from './control.ts';
import * as data from './data.ts';
import * as flag from './flag.ts';
import * as muldiv from './muldiv.ts';
import * as shift from './shift.ts';
import * as string from './string.ts';
import * as system from './system.ts';
import * as undefinedCode from './undefined.ts';

const MODULES: readonly Readonly<Record<string, Semantics>>[] = [
  alu,
  bcd,
  bit,
  bmi,
  control,
  data,
  flag,
  muldiv,
  shift,
  string,
  system,
  undefinedCode,
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
  for (const module of MODULES)
    for (const [name, semantics] of Object.entries(module)) {
      const mnemonic = PSEUDO_MNEMONICS[name] ?? name.replace(/_$/, '');
      if (all.has(mnemonic)) throw new Error(`semantics: "${mnemonic}" is defined twice`);
      all.set(mnemonic, semantics);
    }
  return all;
}
