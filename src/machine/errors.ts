import { describeExit, type MachineExit } from './exit.ts';

/** An option that cannot be used. `message` is one line naming the option, what is wrong and what to do. */
export class OptionError extends Error {
  override readonly name = 'OptionError';
  readonly option: string;

  constructor(option: string, problem: string) {
    super(`${option}: ${problem}`);
    this.option = option;
  }
}

/** `waitFor` was given up because the pattern did not come in time. */
export class WaitTimeoutError extends Error {
  override readonly name = 'WaitTimeoutError';
  readonly pattern: RegExp;
  /** The end of what the guest had printed. */
  readonly tail: string;

  constructor(pattern: RegExp, timeoutMs: number, tail: string) {
    super(`no ${pattern} on the serial console within ${timeoutMs} ms; the output ends with ${JSON.stringify(tail)}`);
    this.pattern = pattern;
    this.tail = tail;
  }
}

/** The machine ended before what was waited for had happened. */
export class MachineEndedError extends Error {
  override readonly name = 'MachineEndedError';
  readonly exit: MachineExit;

  constructor(waitingFor: string, exit: MachineExit, tail: string) {
    super(`${describeExit(exit)} before ${waitingFor}; the output ends with ${JSON.stringify(tail)}`);
    this.exit = exit;
  }
}

/** A reader of the serial console left more output unread than is kept for it. */
export class SerialOverflowError extends Error {
  override readonly name = 'SerialOverflowError';

  constructor(limit: number) {
    super(`a reader of the serial console is more than ${limit} bytes behind the guest`);
  }
}
