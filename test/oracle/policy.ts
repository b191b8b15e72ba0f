/**
 * What may not run in the oracle process, and what must be single-stepped there.
 * A case is one instruction; prefixes are skipped and its opcode looked at.
 */

/** 'forbidden': would leave, hang or change the oracle process. 'step': goes elsewhere, so no stub can follow it. */
export type Policy = 'plain' | 'step' | 'forbidden';

const FORBIDDEN_0F = new Set([
  0x05, // SYSCALL
  0x34, // SYSENTER
  0x35, // SYSEXIT
]);

/** Group 0F 01, by ModRM: memory operands and registers that fault at CPL 3 or only read; the rest holds hypercalls. */
function group0F01(modrm: number): Policy {
  const plain = [
    0xca, // CLAC
    0xcb, // STAC
    0xd0, // XGETBV
    0xd1, // XSETBV
    0xd5, // XEND
    0xd6, // XTEST
    0xf8, // SWAPGS
    0xf9, // RDTSCP
  ];
  const reg = (modrm >> 3) & 7;
  // SGDT, SIDT, SMSW, SLDT and STR are emulated by Linux where the CPU has UMIP.
  if (modrm < 0xc0) return [2, 3, 6, 7].includes(reg) ? 'plain' : 'forbidden'; // LGDT, LIDT, LMSW, INVLPG
  return reg === 6 || plain.includes(modrm) ? 'plain' : 'forbidden';
}

/** Group 9, by ModRM: CMPXCHG8B/16B, the XSAVE family; RDRAND, RDSEED, RDPID. Neither VMX nor user interrupts. */
function group0FC7(modrm: number): Policy {
  const reg = (modrm >> 3) & 7;
  if (modrm < 0xc0) return [1, 3, 4, 5].includes(reg) ? 'plain' : 'forbidden';
  return reg >= 6 ? 'plain' : 'forbidden';
}

export function policyOf(code: Uint8Array, mode: 64 | 32): Policy {
  let i = 0;
  while (i < code.length && isPrefix(code[i]!, mode)) i++;
  const opcode = code[i];
  const next = code[i + 1] ?? 0;
  if (opcode === undefined) return 'plain';
  if (opcode === 0x0f) {
    const modrm = code[i + 2] ?? 0;
    if (next === 0x00) return ((modrm >> 3) & 7) < 2 ? 'forbidden' : 'plain';
    if (next === 0x01) return group0F01(modrm);
    if (next === 0xc7) return group0FC7(modrm);
    if (FORBIDDEN_0F.has(next)) return 'forbidden';
    return next >= 0x80 && next <= 0x8f ? 'step' : 'plain';
  }
  if (opcode === 0xf1) return 'forbidden'; // INT1: see exclusions.ts
  if (opcode === 0xcd) return next === 0x80 ? 'forbidden' : 'plain'; // INT 80h is a system call
  const group5 = opcode === 0xff && [2, 3, 4, 5].includes((next >> 3) & 7);
  const far = mode === 32 && (opcode === 0x9a || opcode === 0xea);
  const near = opcode === 0xe8 || opcode === 0xe9 || opcode === 0xeb || (opcode & 0xf0) === 0x70;
  const loop = opcode >= 0xe0 && opcode <= 0xe3;
  const back = opcode === 0xc2 || opcode === 0xc3 || opcode === 0xca || opcode === 0xcb || opcode === 0xcf;
  return group5 || far || near || loop || back ? 'step' : 'plain';
}

function isPrefix(byte: number, mode: 64 | 32): boolean {
  if (mode === 64 && (byte & 0xf0) === 0x40) return true;
  return [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3].includes(byte);
}
