import type { Device } from './device.ts';
import type { Saveable } from './saveable.ts';

/**
 * The part of QEMU's firmware configuration interface that guests started without firmware ask for (QEMU documentation,
 * docs/specs/fw_cfg): a 16-bit selector at port 0x510 and a stream of bytes at 0x511. No DMA, no files.
 */
const DATA_OFFSET = 1;

export const FW_CFG_SIGNATURE = 0x00;
export const FW_CFG_ID = 0x01;
export const FW_CFG_RAM_SIZE = 0x03;
export const FW_CFG_CPU_COUNT = 0x05;
export const FW_CFG_MAX_CPUS = 0x0f;
export const FW_CFG_FILE_DIRECTORY = 0x19;

export interface FwCfgState {
  selector: number;
  position: number;
}

export interface FwCfgOptions {
  /** Bytes of RAM. */
  readonly memory: number;
  readonly processors: number;
  /** Further items by selector. */
  readonly items?: ReadonlyMap<number, Uint8Array>;
}

export class FwCfg implements Device, Saveable<FwCfgState> {
  readonly name = 'fw-cfg';
  readonly #items: ReadonlyMap<number, Uint8Array>;
  #state: FwCfgState = { selector: 0, position: 0 };

  constructor(options: FwCfgOptions) {
    this.#items = new Map([
      [FW_CFG_SIGNATURE, new TextEncoder().encode('QEMU')],
      // Bit 0: the traditional interface; no DMA.
      [FW_CFG_ID, littleEndian(1, 4)],
      [FW_CFG_RAM_SIZE, littleEndian(options.memory, 8)],
      [FW_CFG_CPU_COUNT, littleEndian(options.processors, 2)],
      [FW_CFG_MAX_CPUS, littleEndian(options.processors, 2)],
      [FW_CFG_FILE_DIRECTORY, new Uint8Array(4)],
      ...(options.items ?? []),
    ]);
  }

  /** Each read of the data port gives the next byte of the selected item, and 0 past its end. */
  read(offset: number, width: 1 | 2 | 4): number {
    if (offset !== DATA_OFFSET || width !== 1) return 0;
    const s = this.#state;
    const byte = this.#items.get(s.selector)?.[s.position];
    if (byte === undefined) return 0;
    s.position++;
    return byte;
  }

  /** Selects an item; the data port ignores writes. */
  write(offset: number, _width: 1 | 2 | 4, value: number): void {
    if (offset === DATA_OFFSET) return;
    this.#state = { selector: value & 0xffff, position: 0 };
  }

  reset(): void {
    this.#state = { selector: 0, position: 0 };
  }

  save(): FwCfgState {
    return { ...this.#state };
  }

  load(state: FwCfgState): void {
    this.#state = { ...state };
  }
}

function littleEndian(value: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let rest = value;
  for (let i = 0; i < length; i++) {
    bytes[i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return bytes;
}
