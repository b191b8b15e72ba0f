/** The registers of a local APIC: numbers, fields, what may be read and written (SDM volume 3, chapter 11). */

/** IA32_APIC_BASE. */
export const BASE_BOOTSTRAP = 1 << 8;
export const BASE_X2APIC = 1 << 10;
export const BASE_ENABLE = 1 << 11;
export const DEFAULT_BASE = 0xfee00000;

/** Register numbers: MMIO offset / 16, MSR - 0x800 (SDM volume 3, tables 11-1 and 11-6). */
export const ID = 0x02;
export const VERSION = 0x03;
export const TASK_PRIORITY = 0x08;
export const ARBITRATION_PRIORITY = 0x09;
export const PROCESSOR_PRIORITY = 0x0a;
export const END_OF_INTERRUPT = 0x0b;
export const REMOTE_READ = 0x0c;
export const LOGICAL_DESTINATION = 0x0d;
export const DESTINATION_FORMAT = 0x0e;
export const SPURIOUS = 0x0f;
export const IN_SERVICE = 0x10;
export const TRIGGER_MODE = 0x18;
export const REQUEST = 0x20;
export const ERROR_STATUS = 0x28;
export const COMMAND_LOW = 0x30;
export const COMMAND_HIGH = 0x31;
export const LVT_FIRST = 0x32;
export const LVT_LAST = 0x37;
export const INITIAL_COUNT = 0x38;
export const CURRENT_COUNT = 0x39;
export const DIVIDE = 0x3e;
export const SELF_IPI = 0x3f;

/** Six LVT entries, version 0x14 (an integrated APIC). */
export const VERSION_VALUE = 0x0005_0014;

/** LVT entries in register order. */
export const LVT_TIMER = 0;
export const LVT_LINT0 = 3;
export const LVT_LINT1 = 4;
export const LVT_ERROR = 5;
export const LVT_WRITABLE = [0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff] as const;
export const LVT_MASKED = 0x10000;
export const LVT_LEVEL = 0x8000;
export const LVT_REMOTE_IRR = 0x4000;

export const SPURIOUS_ENABLE = 0x100;
export const SPURIOUS_WRITABLE = 0x3ff;

/** Bits of the interrupt command register (SDM volume 3, figure 11-12). */
export const COMMAND_LOGICAL = 0x800;
export const COMMAND_ASSERT = 0x4000;
export const COMMAND_LEVEL = 0x8000;
export const COMMAND_WRITABLE = 0xccfff;

export const ERROR_SEND_VECTOR = 0x20;
export const ERROR_RECEIVED_VECTOR = 0x40;
export const ERROR_REGISTER = 0x80;

/** Which registers an RDMSR may read (SDM volume 3, table 11-6). */
export const X2APIC_READABLE: readonly boolean[] = Array.from({ length: 0x100 }, (_, register) => {
  if (register >= IN_SERVICE && register <= ERROR_STATUS) return true;
  if (register >= LVT_FIRST && register <= CURRENT_COUNT) return true;
  return [ID, VERSION, TASK_PRIORITY, PROCESSOR_PRIORITY, LOGICAL_DESTINATION, SPURIOUS, COMMAND_LOW, DIVIDE].includes(
    register,
  );
});

/** The bits a WRMSR may set in each writable register; any other raises #GP. */
export const X2APIC_WRITABLE: Readonly<Record<number, number>> = {
  [TASK_PRIORITY]: 0xff,
  [END_OF_INTERRUPT]: 0,
  [SPURIOUS]: SPURIOUS_WRITABLE,
  [ERROR_STATUS]: 0,
  [COMMAND_LOW]: COMMAND_WRITABLE,
  ...Object.fromEntries(LVT_WRITABLE.map((writable, i) => [LVT_FIRST + i, writable | LVT_REMOTE_IRR | 0x1000])),
  [INITIAL_COUNT]: -1,
  [DIVIDE]: 0x0b,
  [SELF_IPI]: 0xff,
};

export function setBit(bits: Uint32Array, vector: number): void {
  bits[vector >> 5]! |= 1 << (vector & 31);
}

export function clearBit(bits: Uint32Array, vector: number): void {
  bits[vector >> 5]! &= ~(1 << (vector & 31));
}

export function testBit(bits: Uint32Array, vector: number): boolean {
  return (bits[vector >> 5]! & (1 << (vector & 31))) !== 0;
}

/** The highest vector set, or -1. */
export function highestBit(bits: Uint32Array): number {
  for (let word = 7; word >= 0; word--) {
    const value = bits[word]!;
    if (value !== 0) return (word << 5) + 31 - Math.clz32(value);
  }
  return -1;
}
