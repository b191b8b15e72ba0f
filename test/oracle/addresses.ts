/** Where memory operands go: aligned and not, across pages, into unmapped, read-only and non-canonical memory. */
import type { Random } from './random.ts';
import { CODE_BASE, CODE_SIZE, DATA_BASE, DATA_SIZE, READONLY_BASE, READONLY_SIZE } from './types.ts';

const PAGE = 0x1000;

/** Part of the code pages that no case's code occupies: an operand must not see the harness's stub. */
export const OPERANDS_IN_CODE = { offset: 0x1400, length: 0x400 } as const;

/** A linear address for an operand of `size` bytes. */
export function targetAddress(r: Random, size: number, mode: 64 | 32): bigint {
  const choice = r.below(100);
  const align = size <= 1 ? 1 : size <= 2 ? 2 : size <= 4 ? 4 : size <= 8 ? 8 : size <= 16 ? 16 : size <= 32 ? 32 : 64;
  const room = DATA_SIZE - Math.max(size, 1);
  if (choice < 44) return BigInt(DATA_BASE + Math.floor(r.below(room + 1) / align) * align);
  if (choice < 65) return BigInt(DATA_BASE + r.below(room + 1));
  const inside = 1 + r.below(Math.max(size - 1, 1));
  if (choice < 76) return BigInt(DATA_BASE + PAGE - inside);
  if (choice < 81) return BigInt(DATA_BASE + room);
  if (choice < 85) return BigInt(DATA_BASE + DATA_SIZE - inside);
  if (choice < 88) return BigInt(DATA_BASE - inside);
  if (choice < 90) return BigInt(DATA_BASE + DATA_SIZE + r.below(PAGE));
  if (choice < 93) return BigInt(READONLY_BASE + r.below(READONLY_SIZE - Math.min(size, PAGE - 1)));
  if (choice < 94) return BigInt(READONLY_BASE + READONLY_SIZE - inside);
  if (choice < 96) return BigInt(CODE_BASE + OPERANDS_IN_CODE.offset + r.below(OPERANDS_IN_CODE.length - size));
  if (choice < 97) return BigInt(r.below(PAGE));
  if (mode === 32) return BigInt(0xffff_f000 + r.below(PAGE - 600));
  if (choice < 98) return 0xffff_8000_0000_0000n + BigInt(r.below(1 << 30));
  switch (r.below(4)) {
    case 0:
      return 0x0000_8000_0000_0000n + BigInt(r.below(64));
    case 1:
      return 0x0000_8000_0000_0000n - BigInt(inside);
    case 2:
      return 0xffff_7fff_ffff_ff00n + BigInt(r.below(128));
    default:
      return (BigInt(0x1_0000 + r.below(0x7000_0000)) << 32n) | BigInt(r.u32());
  }
}

/** As targetAddress, but all of it on one page: where the order of several accesses is nowhere written down. */
export function wholeAddress(r: Random, size: number, mode: 64 | 32): bigint {
  for (;;) {
    const address = targetAddress(r, size, mode);
    if (address >> 12n === (address + BigInt(size) - 1n) >> 12n) return address;
  }
}

/**
 * Is the offset of `size` bytes at `linear` in a segment with a base one to keep away from? In 64-bit code AMD wants the
 * offset to be canonical too, Intel the linear address only. In 32-bit code an offset that runs over 4 GiB exceeds the limit
 * of a segment with a base, which the emulator does not check (see docs/fuzzing.md).
 */
export function awkwardOffset(linear: bigint, size: number, base: bigint, mode: 64 | 32): boolean {
  if (base === 0n) return false;
  if (mode === 64) return linear >= 0x7fff_0000_0000n;
  return BigInt.asUintN(32, linear - base) + BigInt(size) > 0x1_0000_0000n;
}

/** Where a branch goes: mostly into the code pages, now and then nowhere. */
export function branchTarget(r: Random, mode: 64 | 32): bigint {
  const choice = r.below(20);
  if (choice < 13) return BigInt(CODE_BASE + r.below(CODE_SIZE));
  if (choice < 15) return BigInt(DATA_BASE + r.below(DATA_SIZE));
  if (choice < 17 || mode === 32) return BigInt(r.u32());
  if (choice < 18) return BigInt(r.below(0x7fff)) * 0x1_0000_0000n + BigInt(r.u32());
  if (choice < 19) return 0x0000_8000_0000_0000n - BigInt(r.below(3));
  return BigInt(r.u32()) * 0x1_0000_0000n + BigInt(r.u32());
}

/** Selectors of every kind: null, user and kernel, code and data, of the local table, beyond the limit. Not 0x78 (GDT). */
export function selectorValue(r: Random): number {
  if (r.oneIn(6)) {
    const value = r.u32() & 0xffff;
    return (value & ~7) === 0x78 ? 0 : value;
  }
  if (r.oneIn(4)) return r.pick([0, 1, 2, 3]);
  return r.pick([
    0x23, 0x2b, 0x2b, 0x33, 0x63, 0x63, 0x20, 0x28, 0x2a, 0x30, 0x08, 0x10, 0x18, 0x1b, 0x13, 0x40, 0x43, 0x50, 0x60,
    0x6b, 0x2f, 0x67, 0x83,
  ]);
}
