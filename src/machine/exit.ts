/** How a run ended. */
export type MachineExit =
  /** The guest switched itself off (ACPI S5). */
  | { readonly kind: 'power-off' }
  /** The serial output matched `exitOn`; `match` is the text that did. */
  | { readonly kind: 'matched'; readonly match: string }
  /** The guest asked for a reset, and `allowReboot` is off. */
  | { readonly kind: 'reset' }
  /** An exception while delivering a double fault; `vector` is the exception that began it. */
  | { readonly kind: 'triple-fault'; readonly vector: number; readonly ip: bigint }
  /** HLT with interrupts off: nothing can wake the guest. */
  | { readonly kind: 'halted'; readonly ip: bigint }
  /** The guest wrote v to the debug-exit port; `code` is (v << 1) | 1. */
  | { readonly kind: 'debug-exit'; readonly code: number }
  /** `timeoutMs` of host time have passed. */
  | { readonly kind: 'timeout'; readonly timeoutMs: number }
  /** `stop()` was called. */
  | { readonly kind: 'stopped' };

/** One line for a person. */
export function describeExit(exit: MachineExit): string {
  switch (exit.kind) {
    case 'power-off':
      return 'the guest powered off';
    case 'matched':
      return `the guest printed ${JSON.stringify(exit.match)}`;
    case 'reset':
      return 'the guest asked for a reset';
    case 'triple-fault':
      return `the guest died: triple fault after exception ${exit.vector} at 0x${exit.ip.toString(16)}`;
    case 'halted':
      return `the guest died: halted with interrupts off at 0x${exit.ip.toString(16)}`;
    case 'debug-exit':
      return `the guest ended the run with code ${exit.code}`;
    case 'timeout':
      return `the guest was still running after ${exit.timeoutMs / 1000} s`;
    case 'stopped':
      return 'the machine was stopped';
  }
}
