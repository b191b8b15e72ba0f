/** Instructions the fuzzer does not compare with the host, and why; each needs tests of its own. */

import type { OpcodeRow } from '../../src/cpu/decode/types.ts';

const LEAVES = 'enters the operating system';
const UMIP = 'Linux emulates it where the CPU has UMIP';
const PKU = 'the host has no protection keys, or uses them itself';

export const EXCLUDED: Readonly<Record<string, string>> = {
  syscall: LEAVES,
  sysenter: LEAVES,
  sysexit: '#UD in long mode on AMD, #GP(0) at CPL 3 on Intel',
  int1: 'hypervisors on AMD hosts deliver it as a fault, with RIP at the instruction',
  rdpkru: PKU,
  wrpkru: PKU,
  sgdt: UMIP,
  sidt: UMIP,
  sldt: UMIP,
  str: UMIP,
  smsw: UMIP,
  monitor: 'a hypervisor may let it run at any privilege, or refuse it',
  mwait: 'a hypervisor may let it run at any privilege, or refuse it',
};

/** Why a row is left out, or undefined. */
export function excluded(row: OpcodeRow): string | undefined {
  if (row.mnemonic === 'nop' && row.opcode.startsWith('0F 0D')) return 'register forms: NOP on Intel, #UD on AMD';
  return EXCLUDED[row.mnemonic];
}
