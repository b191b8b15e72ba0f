/**
 * Cases in which the emulator once differed from the host CPU, as printed by `npm run fuzz:cpu`, and a few that fix the
 * oracle's own behaviour. Expected results are the host CPU's.
 */
import type { Regression } from '../oracle/regression.ts';
import { FLOAT_REGRESSIONS } from './regressions-float.ts';

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
  {
    name: 'ENTER: both immediates',
    code: 'c8010001',
    gpr: { rsp: 0x2000_0100n, rbp: 0x2000_0080n },
    memory: { 536871032: '1122334455667788', 536871104: '00'.repeat(64) },
    expect: {
      gpr: { rsp: 0x2000_00efn, rbp: 0x2000_00f8n },
      memory: { 536871104: `${'00'.repeat(48)}f8000020000000008000002000000000` },
    },
  },
  {
    name: 'INS with REP and a count of 0 asks for permission all the same',
    code: 'f3666d',
    expect: { fault: '#GP error 0x0' },
  },
  {
    name: 'a 32-byte store reports the address that faulted',
    code: 'c5fc1103',
    gpr: { rbx: 0x2000_45c4n },
    expect: { fault: '#PF error 0x7 cr2 0x200045c4' },
  },
  {
    name: 'a vector operand across the end of the canonical addresses is #GP, not the page fault of its first part',
    code: 'c44175765a79',
    gpr: { r10: 0x7fff_ffff_ff6an },
    expect: { fault: '#GP error 0x0' },
  },
  {
    name: 'the same through RSP is #SS',
    code: 'c5f1761424',
    gpr: { rsp: 0x7fff_ffff_fff4n },
    expect: { fault: '#SS error 0x0' },
  },
  {
    name: 'an unmasked denormal operand withholds the inexactness of the result',
    code: 'c4e17f59f0',
    mode: 32,
    ymm: { 0: `00000000ffff0f00${'00'.repeat(24)}` },
    mxcsr: 0x5700,
    expect: { fault: '#XM error 0x0', mxcsr: 0x5712 },
  },
  {
    name: 'an unmasked overflow is inexact only if digits were lost',
    code: 'c4e1c058c7',
    mode: 32,
    ymm: { 7: `00000000ffff7f7f${'00'.repeat(24)}` },
    mxcsr: 0x7359,
    expect: { fault: '#XM error 0x0' },
  },
  {
    name: 'a branch with a 66 prefix truncates EIP',
    code: '66709b',
    mode: 32,
    rflags: 0x802,
    expect: { rip: 0xff9en },
  },
  {
    name: 'FXSAVE probes all 512 bytes',
    code: '0fae03',
    gpr: { rbx: 0x2000_1f00n },
    memory: { 536878848: '00'.repeat(256) },
    expect: { fault: '#PF error 0x6 cr2 0x200020ff' },
  },
  {
    name: 'a missing page behind a bad prefix is a page fault, not #UD',
    code: 'f2c4e17d29ea',
    mode: 32,
    codeOffset: 0x1ffb,
    expect: { fault: '#PF error 0x14 cr2 0x10002000' },
  },
  {
    name: 'LAR through a non-canonical stack address is #SS',
    code: '66440f028434910d0000',
    gpr: { rsi: 0x0cfc_d3a2_d3a2_c6a6n },
    expect: { fault: '#SS error 0x0' },
  },
  {
    name: 'a write through CS is #GP in 32-bit code',
    code: '2ef0010500080020',
    mode: 32,
    expect: { fault: '#GP error 0x0' },
  },
  {
    name: 'a carry that one instruction leaves and another takes',
    code: '4801c8 4811d3 9f',
    gpr: { rax: 0xffff_ffff_ffff_ffffn, rcx: 1n, rbx: 0xffff_ffff_ffff_ffffn },
    expect: { gpr: { rax: 0x5700n, rbx: 0n }, rflags: 0x257 },
  },
  {
    name: 'FXSAVE through a non-canonical misaligned stack address is #SS',
    code: '0fae0424',
    gpr: { rsp: 0x52c0_7dbb_c069_eb56n },
    expect: { fault: '#SS error 0x0' },
  },
  {
    name: 'FXRSTOR of which only the end is non-canonical is #GP when misaligned',
    code: '0fae0c24',
    gpr: { rsp: 0x7fff_ffff_fe01n },
    expect: { fault: '#GP error 0x0' },
  },
  {
    name: 'FXSAVE through CS is a write to a code segment',
    code: '2e0fae03',
    mode: 32,
    gpr: { rbx: 0x2000_0000n },
    expect: { fault: '#GP error 0x0' },
  },
  {
    name: 'FXSAVE beyond 4 GiB goes on at 0 in 32-bit code',
    code: '0fae03',
    mode: 32,
    gpr: { rbx: 0xffff_fe10n },
    expect: { fault: '#PF error 0x6 cr2 0xf' },
  },
  {
    name: 'a 32-byte store through CS is #GP before the page fault',
    code: '2ec4e1fe7f73cc',
    mode: 32,
    expect: { fault: '#GP error 0x0' },
  },
  {
    name: 'a vector load over the end of 32-bit segments is #GP, not the page fault of its first part',
    code: 'c5fc1003',
    mode: 32,
    gpr: { rbx: 0xffff_ffe8n },
    expect: { fault: '#GP error 0x0' },
  },
  {
    name: 'the same through ESP is #SS',
    code: '0f100424',
    mode: 32,
    gpr: { rsp: 0xffff_fff8n },
    expect: { fault: '#SS error 0x0' },
  },
  ...FLOAT_REGRESSIONS,
];
