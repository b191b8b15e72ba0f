/**
 * What may not run in the oracle process, and what must be single-stepped there.
 * A case is one instruction; prefixes are skipped and its opcode looked at.
 */

/** 'forbidden': would leave, hang or change the oracle process. 'step': goes elsewhere, so no stub can follow it. */
export type Policy = 'plain' | 'step' | 'forbidden';

const FORBIDDEN_0F = new Set([
  0x05, // SYSCALL
  0x07, // SYSRET
  0x34, // SYSENTER
  0x35, // SYSEXIT
  0x31, // RDTSC
  0xa2, // CPUID
  0xc7, // group 9: only CMPXCHG8B/16B are looked at again below
]);

export function policyOf(code: Uint8Array, mode: 64 | 32): Policy {
  let i = 0;
  while (i < code.length && isPrefix(code[i]!, mode)) i++;
  const opcode = code[i];
  const next = code[i + 1] ?? 0;
  if (opcode === undefined) return 'plain';
  if (opcode === 0x0f) {
    if (next === 0x01 && (code[i + 2] ?? 0) >= 0xc0) {
      const modrm = code[i + 2]!;
      return modrm === 0xd5 || modrm === 0xd6 || modrm === 0xd0 ? 'plain' : 'forbidden'; // XEND, XTEST, XGETBV
    }
    // SGDT, SIDT, SMSW, SLDT and STR are emulated by Linux where the CPU has UMIP.
    if (next === 0x01) return 'forbidden';
    if (next === 0x00) return (((code[i + 2] ?? 0) >> 3) & 7) < 2 ? 'forbidden' : 'plain';
    if (next === 0xc7) return (((code[i + 2] ?? 0) >> 3) & 7) === 1 ? 'plain' : 'forbidden';
    if (FORBIDDEN_0F.has(next)) return 'forbidden';
    return next >= 0x80 && next <= 0x8f ? 'step' : 'plain';
  }
  if (opcode === 0xcd) return next === 0x03 || next === 0x04 ? 'plain' : 'forbidden'; // INT n
  if (opcode === 0xf1) return 'forbidden'; // INT1 is told from a single step by DR6 only
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
