import { constants } from 'node:os';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Calls `onSignal` with the exit code (128 + number) of a signal that would have ended the program; a second one does end it. */
export function catchSignals(onSignal: (code: number) => void): { release(): void } {
  let caught = false;
  const handlers = SIGNALS.map((signal) => {
    const code = 128 + constants.signals[signal];
    const handler = (): void => {
      if (caught) process.exit(code);
      caught = true;
      onSignal(code);
    };
    process.on(signal, handler);
    return { signal, handler };
  });
  return {
    release() {
      for (const { signal, handler } of handlers) process.off(signal, handler);
    },
  };
}
