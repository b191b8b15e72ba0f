import type { MachineExit } from '../machine/exit.ts';

/** Exit codes of the program; docs/cli.md lists them. */
export const EXIT_CODE = {
  ok: 0,
  /** The guest ended without the `--exit-on` match. */
  noMatch: 1,
  /** `lockstep` has found a difference. */
  different: 1,
  usage: 2,
  guestDied: 3,
  timeout: 4,
  /** As sysexits.h: EX_SOFTWARE. */
  internal: 70,
} as const;

/** What the program's exit code is after the run `exit`, when `--exit-on` was given or not. */
export function exitCode(exit: MachineExit, expectsMatch: boolean): number {
  switch (exit.kind) {
    case 'matched':
      return EXIT_CODE.ok;
    case 'power-off':
      return expectsMatch ? EXIT_CODE.noMatch : EXIT_CODE.ok;
    case 'reset':
    case 'triple-fault':
    case 'halted':
      return EXIT_CODE.guestDied;
    case 'debug-exit':
      return exit.code;
    case 'timeout':
      return EXIT_CODE.timeout;
    case 'stopped':
      return EXIT_CODE.ok;
  }
}
