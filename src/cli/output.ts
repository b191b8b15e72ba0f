import type { Writable } from 'node:stream';

/** What the guest's console may ask of the machine. */
export interface FlowControl {
  /** Too much is waiting for its reader: the guest has to wait, too. */
  hold(): void;
  /** The reader has caught up. */
  release(): void;
}

/** Output that may wait for its reader. */
const LIMIT = 1 << 20;

/** Writes to `stream` what it is called with, and holds the guest while the reader is far behind. */
export function flowControlled(stream: Writable, flow: FlowControl): (bytes: Uint8Array) => void {
  let isHeld = false;
  const release = (): void => {
    if (!isHeld) return;
    isHeld = false;
    flow.release();
  };
  stream.on('drain', release);
  stream.on('close', release);
  stream.on('error', release);
  return (bytes) => {
    stream.write(bytes);
    if (isHeld || stream.writableLength <= LIMIT) return;
    isHeld = true;
    flow.hold();
  };
}
