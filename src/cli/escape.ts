/** What the keys after Ctrl-A ask for. */
export type EscapeCommand = 'quit' | 'help' | 'unknown';

const CTRL_A = 0x01;

/** Divides terminal input into bytes for the guest and commands (Ctrl-A x, Ctrl-A h; Ctrl-A Ctrl-A sends one Ctrl-A). */
export class EscapeFilter {
  #escaped = false;

  /** Calls `onCommand` for each command found in `bytes`; returns what is for the guest. */
  filter(bytes: Uint8Array, onCommand: (command: EscapeCommand) => void): Uint8Array {
    const output: number[] = [];
    for (const byte of bytes) {
      if (!this.#escaped) {
        if (byte === CTRL_A) this.#escaped = true;
        else output.push(byte);
        continue;
      }
      this.#escaped = false;
      switch (byte) {
        case CTRL_A:
          output.push(byte);
          break;
        case 0x78: // x
          onCommand('quit');
          break;
        case 0x68: // h
        case 0x3f: // ?
          onCommand('help');
          break;
        default:
          onCommand('unknown');
      }
    }
    return Uint8Array.from(output);
  }
}
