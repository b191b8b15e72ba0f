import type { SerialPort } from '../machine/serial-port.ts';

/** One end of the console outside the machine. */
export interface SerialBackend {
  /** Joins it to the machine's port; until then nothing is read. */
  connect(port: SerialPort): void;
  /** Lets everything written reach its destination, and gives the terminal back; further calls do nothing more. */
  close(): Promise<void>;
}
