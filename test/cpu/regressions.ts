/**
 * Cases in which the emulator once differed from the host CPU, as printed by `npm run fuzz:cpu`, and a few that fix the
 * oracle's own behaviour. Expected results are the host CPU's.
 */
import type { Regression } from '../oracle/regression.ts';

export const REGRESSIONS: readonly Regression[] = [
  {
    name: 'add sets all six flags',
    code: '4801c8',
    gpr: { rax: 0x7fff_ffff_ffff_ffffn, rcx: 1n },
    expect: { gpr: { rax: 0x8000_0000_0000_0000n }, rflags: 0xa96 },
  },
  {
    name: 'a store across the end of mapped memory changes nothing',
    code: '488903',
    gpr: { rax: 0x1122_3344_5566_7788n, rbx: 0x2000_1ffcn },
    expect: { fault: '#PF error 0x6 cr2 0x20002000' },
  },
  {
    name: 'a locked add on read-only memory faults as a write',
    code: 'f0480103',
    gpr: { rbx: 0x2000_4000n },
    expect: { fault: '#PF error 0x7 cr2 0x20004000' },
  },
  {
    name: 'rep stos keeps what it did before a fault',
    code: 'f3aa',
    gpr: { rax: 0xaan, rcx: 4n, rdi: 0x2000_1ffen },
    memory: { 536879040: '00'.repeat(64) },
    expect: {
      fault: '#PF error 0x6 cr2 0x20002000',
      gpr: { rcx: 2n, rdi: 0x2000_2000n },
      memory: { 536879040: `${'00'.repeat(62)}aaaa` },
    },
  },
  {
    name: 'division overflow',
    code: '48f7f1',
    gpr: { rax: 0n, rcx: 1n, rdx: 1n },
    expect: { fault: '#DE error 0x0' },
  },
  {
    name: 'a return to a non-canonical address faults at the return',
    code: 'c3',
    gpr: { rsp: 0x2000_0000n },
    memory: { 536870912: '0000000000000080' },
    expect: { fault: '#GP error 0x0' },
  },
  {
    name: 'inc of a 32-bit register in compatibility mode',
    code: '40',
    mode: 32,
    gpr: { rax: 0xffff_ffffn },
    rflags: 3,
    expect: { gpr: { rax: 0n }, rflags: 0x257 },
  },
];
