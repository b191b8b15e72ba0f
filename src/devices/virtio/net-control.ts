import type { DescriptorChain } from './chain.ts';
import type { VirtQueue } from './queue.ts';

/** Control queue and receive filter of the network card (virtio 1.2, 5.1.6.5). */

const CLASS_RX = 0;
const CLASS_MAC = 1;
const CLASS_VLAN = 2;
const RX_PROMISCUOUS = 0;
const RX_ALL_MULTICAST = 1;
const MAC_TABLE_SET = 0;
const MAC_ADDRESS_SET = 1;
const VLAN_COMMANDS = 2;
const ACK_OK = 0;
const ACK_ERROR = 1;
/** Addresses kept of each kind; with more, everything of that kind is let through, which is allowed (5.1.6.5.2). */
const MAX_ADDRESSES = 64;
/** Longest command looked at: two address tables of twice what is kept. */
const MAX_COMMAND = 2 + 2 * (4 + 6 * 2 * MAX_ADDRESSES);

export interface NetControlState {
  promiscuous: boolean;
  allMulticast: boolean;
  unicast: string[] | undefined;
  multicast: string[] | undefined;
}

const key = (bytes: Uint8Array, at: number): string => bytes.subarray(at, at + 6).join();

export class NetControl {
  /** The card's current address, in its configuration space. */
  readonly #mac: Uint8Array;
  #promiscuous = true;
  #allMulticast = true;
  /** Addresses let through; undefined: all. */
  #unicast: Set<string> | undefined = new Set();
  #multicast: Set<string> | undefined = new Set();
  readonly #command = new Uint8Array(MAX_COMMAND);

  constructor(mac: Uint8Array) {
    this.#mac = mac;
  }

  /** Everything gets through until the driver sets the filter; one that cannot never does. */
  reset(): void {
    this.#promiscuous = true;
    this.#allMulticast = true;
    this.#unicast = new Set();
    this.#multicast = new Set();
  }

  /** Whether a frame is for the guest. */
  accepts(frame: Uint8Array): boolean {
    if (this.#promiscuous) return true;
    if ((frame[0]! & 1) !== 0) {
      if (this.#allMulticast || this.#multicast === undefined) return true;
      return frame.subarray(0, 6).every((byte) => byte === 0xff) || this.#multicast.has(key(frame, 0));
    }
    for (let i = 0; i < 6; i++) {
      if (frame[i] !== this.#mac[i]) return this.#unicast === undefined || this.#unicast.has(key(frame, 0));
    }
    return true;
  }

  /** Serves the queue: one command a chain, answered in its last writable byte. */
  serve(queue: VirtQueue, chain: DescriptorChain): void {
    do {
      while (queue.pop(chain)) {
        let written = 0;
        if (!chain.malformed && chain.writableLength > 0) {
          const command = this.#command.subarray(0, chain.gather(0, this.#command));
          const known = chain.readableLength <= MAX_COMMAND && this.#execute(command);
          written = chain.scatter(0, Uint8Array.of(known ? ACK_OK : ACK_ERROR));
        }
        queue.push(chain.head, written);
      }
    } while (queue.armNotification());
    queue.publish();
  }

  save(): NetControlState {
    return {
      promiscuous: this.#promiscuous,
      allMulticast: this.#allMulticast,
      unicast: this.#unicast && [...this.#unicast],
      multicast: this.#multicast && [...this.#multicast],
    };
  }

  load(state: NetControlState): void {
    this.#promiscuous = state.promiscuous;
    this.#allMulticast = state.allMulticast;
    this.#unicast = state.unicast && new Set(state.unicast);
    this.#multicast = state.multicast && new Set(state.multicast);
  }

  #execute(command: Uint8Array): boolean {
    if (command.length < 3) return false;
    const [commandClass, kind] = command;
    if (commandClass === CLASS_RX && command.length === 3) {
      if (kind === RX_PROMISCUOUS) this.#promiscuous = command[2] !== 0;
      else if (kind === RX_ALL_MULTICAST) this.#allMulticast = command[2] !== 0;
      else return false;
      return true;
    }
    if (commandClass === CLASS_MAC) {
      if (kind === MAC_TABLE_SET) return this.#setTables(command);
      if (kind !== MAC_ADDRESS_SET || command.length !== 8) return false;
      this.#mac.set(command.subarray(2));
      return true;
    }
    // Frames of every VLAN are let through, so adding and removing an identifier changes nothing.
    return commandClass === CLASS_VLAN && kind! < VLAN_COMMANDS && command.length === 4 && command[3]! < 16;
  }

  /** Two tables, unicast then multicast: a 32-bit count and the addresses. */
  #setTables(command: Uint8Array): boolean {
    const view = new DataView(command.buffer, command.byteOffset, command.length);
    const tables: (Set<string> | undefined)[] = [];
    let at = 2;
    for (let table = 0; table < 2; table++) {
      if (at + 4 > command.length) return false;
      const count = view.getUint32(at, true);
      at += 4;
      if (at + 6 * count > command.length) return false;
      const addresses = new Set<string>();
      for (let i = 0; i < count; i++) addresses.add(key(command, at + 6 * i));
      tables.push(count > MAX_ADDRESSES ? undefined : addresses);
      at += 6 * count;
    }
    if (at !== command.length) return false;
    [this.#unicast, this.#multicast] = tables;
    return true;
  }
}
