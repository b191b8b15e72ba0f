import { once } from 'node:events';
import type { ReadStream, WriteStream } from 'node:tty';
import type { SerialPort } from '../machine/serial-port.ts';
import { EscapeFilter } from './escape.ts';
import { type FlowControl, flowControlled } from './output.ts';
import type { SerialBackend } from './serial-backend.ts';

/** What the person at the console can ask of the program. */
export interface StdioActions extends FlowControl {
  /** Ctrl-A x. */
  quit(): void;
  /** The reader of standard output has gone. */
  outputClosed(): void;
  /** A line for standard error. */
  note(line: string): void;
}

const HELP = [
  '',
  'Ctrl-A x       quit the emulator',
  'Ctrl-A h       this help',
  'Ctrl-A Ctrl-A  send Ctrl-A to the guest',
  '',
].join('\r\n');

/** The serial console on standard input and output; a terminal becomes raw while the guest has it. */
export function connectStdio(
  input: NodeJS.ReadStream | ReadStream,
  output: NodeJS.WriteStream | WriteStream,
  actions: StdioActions,
): SerialBackend {
  const terminal = input.isTTY === true ? input : undefined;
  const escapes = terminal && new EscapeFilter();
  const restore = (): void => void terminal?.setRawMode(false);
  const raw = (): void => void terminal?.setRawMode(true);
  let stop = (): void => {};
  return {
    connect(port: SerialPort) {
      output.on('error', () => actions.outputClosed());
      const unsubscribe = port.onData(flowControlled(output, actions));
      const onData = (bytes: Buffer): void => {
        const forGuest = escapes
          ? escapes.filter(bytes, (command) => {
              if (command === 'quit') actions.quit();
              else output.write(`${HELP}\r\n`);
            })
          : bytes;
        const written = port.write(forGuest);
        // a terminal is always listened to: Ctrl-A x has to work when the guest has stopped reading
        if (terminal !== undefined) return;
        input.pause();
        void written.then(() => input.resume());
      };
      // the shell may have used the terminal while the program was stopped
      process.on('SIGCONT', raw);
      process.on('exit', restore);
      raw();
      input.on('data', onData);
      // standard input that cannot be read (closed, a directory) is input that has ended
      input.on('error', () => {});
      stop = () => {
        unsubscribe();
        input.off('data', onData);
        input.pause();
        process.off('SIGCONT', raw);
        process.off('exit', restore);
        restore();
      };
    },
    async close() {
      stop();
      if (output.writableNeedDrain) await once(output, 'drain').catch(() => {});
    },
  };
}
