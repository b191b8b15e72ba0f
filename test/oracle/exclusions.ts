/** Instructions the fuzzer does not compare with the host, and why; each has tests of its own. */

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

const SYSTEM_TABLES = 'test/cpu/system/control.test.ts, test/cpu/system/syscalls.test.ts';
const FAST_CALLS = 'test/cpu/system/segmentation.test.ts, test/guest/bare-metal.test.ts';

/** Where they are tested. */
const TESTS: Readonly<Record<string, string>> = {
  syscall: 'test/cpu/system/syscalls.test.ts, test/guest/bare-metal.test.ts, every Linux guest',
  sysenter: FAST_CALLS,
  sysexit: FAST_CALLS,
  int1: 'test/cpu/system/exceptions.test.ts',
  rdpkru: 'test/cpu/system/control.test.ts',
  wrpkru: 'test/cpu/system/control.test.ts',
  sgdt: SYSTEM_TABLES,
  sidt: SYSTEM_TABLES,
  sldt: SYSTEM_TABLES,
  str: SYSTEM_TABLES,
  smsw: SYSTEM_TABLES,
  monitor: 'test/cpu/system/monitor.test.ts',
  mwait: 'test/cpu/system/monitor.test.ts',
  nop: 'the decoder against iced-x86 (test/cpu/decoder-oracle.test.ts)',
};

export const testOf = (row: OpcodeRow): string => TESTS[row.mnemonic] ?? 'none';

/** Why a row is left out, or undefined. */
export function excluded(row: OpcodeRow): string | undefined {
  if (row.mnemonic === 'nop' && row.opcode.startsWith('0F 0D')) return 'register forms: NOP on Intel, #UD on AMD';
  return EXCLUDED[row.mnemonic];
}
