/** Instructions the fuzzer does not compare with the host, and why; each needs tests of its own. */

import type { OpcodeRow } from '../../src/cpu/decode/types.ts';

const HOST_DEPENDENT = 'its result differs from run to run or names the host';
const LEAVES = 'enters the operating system';
const UMIP = 'Linux emulates it where the CPU has UMIP';
const XSAVE = 'the layout and XINUSE tracking are the host CPU model’s own';

export const EXCLUDED: Readonly<Record<string, string>> = {
  syscall: LEAVES,
  sysenter: LEAVES,
  sysret: LEAVES,
  sysexit: LEAVES,
  int: LEAVES,
  int1: 'cannot be told from a single step',
  rdtsc: HOST_DEPENDENT,
  rdtscp: HOST_DEPENDENT,
  rdpmc: HOST_DEPENDENT,
  rdrand: HOST_DEPENDENT,
  rdseed: HOST_DEPENDENT,
  rdpid: HOST_DEPENDENT,
  cpuid: HOST_DEPENDENT,
  xgetbv: HOST_DEPENDENT,
  rdpkru: HOST_DEPENDENT,
  wrpkru: HOST_DEPENDENT,
  sgdt: UMIP,
  sidt: UMIP,
  sldt: UMIP,
  str: UMIP,
  smsw: UMIP,
  xsave: XSAVE,
  xsaveopt: XSAVE,
  xsavec: XSAVE,
  xsaves: XSAVE,
  xrstor: XSAVE,
  xrstors: XSAVE,
  swapgs: 'group 0F 01 holds hypercalls and is not run on the host',
  lgdt: 'group 0F 01 holds hypercalls and is not run on the host',
  lidt: 'group 0F 01 holds hypercalls and is not run on the host',
  lmsw: 'group 0F 01 holds hypercalls and is not run on the host',
  invlpg: 'group 0F 01 holds hypercalls and is not run on the host',
  monitor: 'group 0F 01 holds hypercalls and is not run on the host',
  mwait: 'group 0F 01 holds hypercalls and is not run on the host',
  clac: 'group 0F 01 holds hypercalls and is not run on the host',
  stac: 'group 0F 01 holds hypercalls and is not run on the host',
  xsetbv: 'group 0F 01 holds hypercalls and is not run on the host',
};

/** Why a row is left out, or undefined. */
export function excluded(row: OpcodeRow): string | undefined {
  if (row.mnemonic === 'nop' && row.opcode.startsWith('0F 0D')) return 'register forms: NOP on Intel, #UD on AMD';
  return EXCLUDED[row.mnemonic];
}
