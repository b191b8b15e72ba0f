/**
 * Operations that JavaScript performs (src/cpu/system/): rare, or too entangled with tables in guest memory for wasm.
 * The semantics pass up to four i64 arguments; the operation's number is its index here.
 */
export const SYSTEM_OPERATIONS = [
  'readCr',
  'writeCr',
  'readDr',
  'writeDr',
  'rdmsr',
  'wrmsr',
  'cpuid',
  'lgdt',
  'lidt',
  'lldt',
  'ltr',
  'lmsw',
  'invlpg',
  'invpcid',
  'xsetbv',
  'loadSegment',
  'popSegment',
  'loadFarPointer',
  'farJump',
  'farCall',
  'farReturn',
  'iret',
  'softwareInterrupt',
  'sysenter',
  'sysexit',
  'verify',
  'undefined',
] as const;
export type SystemOperation = (typeof SYSTEM_OPERATIONS)[number];
