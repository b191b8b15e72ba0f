import type { DmaMemory } from '../../memory/dma-memory.ts';
import type { DescriptorChain } from './chain.ts';

/** Split virtqueues (virtio 1.2, 2.7), device side. */

/** Largest queue the split format allows (2.7.1). */
export const MAX_QUEUE_SIZE = 32768;

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const AVAIL_NO_INTERRUPT = 1;
const USED_NO_NOTIFY = 1;
const DESCRIPTOR_SIZE = 16;
const MAX_INDIRECT_ENTRIES = 65535;

/** What a queue tells its owner. */
export interface QueueEvents {
  /** A used-buffer notification is due (2.7.7). */
  interrupt(): void;
  /** The ring is structurally broken: the device needs a reset (2.1.2). */
  fail(reason: string): void;
}

/** A queue as plain data; `address` is descriptor table, available ring and used ring, each as low and high word. */
export interface QueueState {
  size: number;
  ready: boolean;
  address: number[];
  nextAvail: number;
  nextUsed: number;
  signalled: number;
  inFlight: number;
}

const u16 = (bytes: Uint8Array, at: number): number => bytes[at]! | (bytes[at + 1]! << 8);
const u32 = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;

function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >> 8;
}

function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >> 8;
  bytes[at + 2] = value >> 16;
  bytes[at + 3] = value >>> 24;
}

/**
 * One split virtqueue.
 *
 * A device works in turns: any number of `pop` and `push`, then `publish`, which shows the guest what was pushed, sends
 * the interrupt if one is wanted, and lets go of the views of guest memory. A turn hands out at most `size` chains.
 * Everything read from guest memory is read once and checked after it was copied.
 */
export class VirtQueue {
  readonly maxSize: number;
  /** Size chosen by the driver; checked by `enable`. */
  size: number;
  /** Registers: descriptor table, available ring, used ring; low then high word of each. */
  readonly address = new Uint32Array(6);
  /** VIRTIO_F_INDIRECT_DESC and VIRTIO_F_EVENT_IDX as negotiated. */
  indirect = false;
  eventIndex = false;
  /** Set when the device has failed: nothing is handed out and nothing written until reset. */
  halted = false;
  /** Changes with every reset, so that a request finished later can be told from a current one. */
  generation = 0;

  readonly #memory: DmaMemory;
  readonly #events: QueueEvents;
  #ready = false;
  #nextAvail = 0;
  #nextUsed = 0;
  /** Used index the guest has been shown. */
  #published = 0;
  /** Used index up to which the guest has been interrupted, if it wanted to be. */
  #signalled = 0;
  #inFlight = 0;
  #budget = 0;
  #descriptors: Uint8Array | undefined;
  #avail: Uint8Array | undefined;
  #used: Uint8Array | undefined;

  constructor(memory: DmaMemory, maxSize: number, events: QueueEvents) {
    this.#memory = memory;
    this.maxSize = maxSize;
    this.size = maxSize;
    this.#events = events;
  }

  /** The driver has enabled the queue and its addresses were acceptable. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Chains handed out by `pop` and not yet pushed. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Checks size, alignment and place of the rings (2.7.1, 2.7.2) and starts the queue; false leaves it off. */
  enable(): boolean {
    const size = this.size;
    if (size === 0 || size > this.maxSize || (size & (size - 1)) !== 0) return false;
    const descriptors = this.#ring(0);
    const avail = this.#ring(1);
    const used = this.#ring(2);
    if (descriptors % 16 !== 0 || avail % 2 !== 0 || used % 4 !== 0) return false;
    if (!this.#memory.contains(descriptors, size * DESCRIPTOR_SIZE)) return false;
    if (!this.#memory.contains(avail, this.#availLength())) return false;
    if (!this.#memory.contains(used, this.#usedLength())) return false;
    this.#ready = true;
    return true;
  }

  /** Stops the queue and forgets everything the driver set. */
  reset(): void {
    this.#close();
    this.#ready = false;
    this.#nextAvail = 0;
    this.#nextUsed = 0;
    this.#published = 0;
    this.#signalled = 0;
    this.#inFlight = 0;
    this.size = this.maxSize;
    this.address.fill(0);
    this.indirect = false;
    this.eventIndex = false;
    this.halted = false;
    this.generation++;
  }

  /** Stops the queue, keeping its registers (QueueReady = 0, or a legacy queue address of 0). */
  disable(): void {
    const size = this.size;
    const address = this.address.slice();
    const { indirect, eventIndex, halted } = this;
    this.reset();
    this.size = size;
    this.address.set(address);
    this.indirect = indirect;
    this.eventIndex = eventIndex;
    this.halted = halted;
  }

  /** Takes the next available chain into `chain`; false when there is none, or the ring turned out to be broken. */
  pop(chain: DescriptorChain): boolean {
    if (!this.#open()) return false;
    const avail = this.#avail!;
    const pending = (u16(avail, 2) - this.#nextAvail) & 0xffff;
    if (pending === 0 || this.#budget === 0) return false;
    const size = this.size;
    if (pending > size) return this.#fail(`available index is ${pending} ahead in a queue of ${size}`);
    if (this.#inFlight >= size) return this.#fail(`more than ${size} buffers in flight`);
    const head = u16(avail, 4 + 2 * (this.#nextAvail & (size - 1)));
    if (head >= size) return this.#fail(`available ring names descriptor ${head} of ${size}`);
    if (!this.#walk(chain, head)) return false;
    this.#nextAvail = (this.#nextAvail + 1) & 0xffff;
    this.#inFlight++;
    this.#budget--;
    return true;
  }

  /** Gives back the `count` chains popped last, as if they had never been taken. */
  rewind(count: number): void {
    this.#nextAvail = (this.#nextAvail - count) & 0xffff;
    this.#inFlight -= count;
    this.#budget += count;
  }

  /** Returns a chain with `written` bytes written to it; the guest sees it after `publish`. */
  push(head: number, written: number): void {
    if (!this.#open()) return;
    const at = 4 + 8 * (this.#nextUsed & (this.size - 1));
    putU32(this.#used!, at, head);
    putU32(this.#used!, at + 4, written);
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
    this.#inFlight--;
  }

  /**
   * Ends a turn: shows the pushed chains to the guest and interrupts it unless it asked not to be (2.7.7.2). With event index, an
   * interrupt for no more than `slack` chains is put off: true says that it is owed, by a later call.
   */
  publish(slack = 0): boolean {
    if (this.#nextUsed !== this.#published && this.#open()) {
      putU16(this.#used!, 2, this.#nextUsed);
      this.#published = this.#nextUsed;
    }
    let wanted = false;
    let owed = false;
    if (this.#published !== this.#signalled && this.#open()) {
      const event = this.eventIndex ? u16(this.#avail!, 4 + 2 * this.size) : this.#signalled;
      const due = (this.#published - event) & 0xffff;
      wanted = this.eventIndex
        ? due !== 0 && due <= ((this.#published - this.#signalled) & 0xffff)
        : (u16(this.#avail!, 0) & AVAIL_NO_INTERRUPT) === 0;
      owed = wanted && this.eventIndex && due <= slack;
      this.#signalled = owed ? event : this.#published;
    }
    this.#close();
    if (wanted && !owed) this.#events.interrupt();
    return owed;
  }

  /** Asks for a notification with the next buffer (2.7.10); true when one is there already, so look again. */
  armNotification(): boolean {
    if (!this.#open()) return false;
    if (this.eventIndex) putU16(this.#used!, 4 + 8 * this.size, this.#nextAvail);
    else putU16(this.#used!, 0, 0);
    return this.#budget > 0 && u16(this.#avail!, 2) !== this.#nextAvail;
  }

  /** Tells the driver that notifications are not needed for now; with event index, the stale event says so already. */
  suppressNotification(): void {
    if (!this.eventIndex && this.#open()) putU16(this.#used!, 0, USED_NO_NOTIFY);
  }

  save(): QueueState {
    return {
      size: this.size,
      ready: this.#ready,
      address: [...this.address],
      nextAvail: this.#nextAvail,
      nextUsed: this.#published,
      signalled: this.#signalled,
      inFlight: this.#inFlight,
    };
  }

  /** Restores a saved queue (the features must be set before). Throws a RangeError for a state `save` cannot have made. */
  load(state: QueueState): void {
    const { indirect, eventIndex } = this;
    this.reset();
    this.indirect = indirect;
    this.eventIndex = eventIndex;
    this.size = state.size & 0xffff;
    this.address.set(state.address.slice(0, 6));
    if (state.ready && !this.enable()) throw new RangeError('virtqueue: saved size or ring addresses are not valid');
    if (state.inFlight < 0 || state.inFlight > this.maxSize) throw new RangeError('virtqueue: saved in-flight count');
    this.#nextAvail = state.nextAvail & 0xffff;
    this.#nextUsed = state.nextUsed & 0xffff;
    this.#published = this.#nextUsed;
    this.#signalled = state.signalled & 0xffff;
    this.#inFlight = state.inFlight;
  }

  #ring(index: 0 | 1 | 2): number {
    return this.address[2 * index]! + this.address[2 * index + 1]! * 0x1_0000_0000;
  }

  #availLength(): number {
    return (this.eventIndex ? 6 : 4) + 2 * this.size;
  }

  #usedLength(): number {
    return (this.eventIndex ? 6 : 4) + 8 * this.size;
  }

  #open(): boolean {
    if (this.#used !== undefined) return true;
    if (!this.#ready || this.halted) return false;
    this.#descriptors = this.#memory.view(this.#ring(0), this.size * DESCRIPTOR_SIZE);
    this.#avail = this.#memory.view(this.#ring(1), this.#availLength());
    this.#used = this.#memory.writable(this.#ring(2), this.#usedLength());
    this.#budget = this.size;
    if (this.#descriptors !== undefined && this.#avail !== undefined && this.#used !== undefined) return true;
    return this.#fail('rings are not in RAM');
  }

  #close(): void {
    this.#descriptors = undefined;
    this.#avail = undefined;
    this.#used = undefined;
  }

  #fail(reason: string): false {
    this.#close();
    this.#events.fail(reason);
    return false;
  }

  #walk(chain: DescriptorChain, head: number): boolean {
    chain.begin(head);
    let table = this.#descriptors!;
    let entries = this.size;
    let index = head;
    let inTable = false;
    let left = entries;
    for (;;) {
      if (left-- === 0) return this.#fail('descriptors form a loop');
      const at = index * DESCRIPTOR_SIZE;
      const address = u32(table, at) + u32(table, at + 4) * 0x1_0000_0000;
      const length = u32(table, at + 8);
      const flags = u16(table, at + 12);
      const next = u16(table, at + 14);
      if ((flags & INDIRECT) !== 0) {
        if (!this.indirect) return this.#fail('indirect descriptor without VIRTIO_F_INDIRECT_DESC');
        if (inTable) return this.#fail('indirect descriptor inside an indirect table');
        if (length === 0 || length % DESCRIPTOR_SIZE !== 0) return this.#fail(`indirect table of ${length} bytes`);
        entries = length / DESCRIPTOR_SIZE;
        if (entries > MAX_INDIRECT_ENTRIES) return this.#fail(`indirect table of ${entries} entries`);
        const indirect = this.#memory.view(address, length);
        if (indirect === undefined) return this.#fail('indirect table is not in RAM');
        table = indirect;
        index = 0;
        inTable = true;
        left = entries;
        continue;
      }
      if (length !== 0 && !chain.add(address, length, (flags & WRITE) !== 0)) {
        return this.#fail(chain.full ? 'descriptor chain too long' : 'readable descriptor after a writable one');
      }
      if ((flags & NEXT) === 0) return true;
      if (next >= entries) return this.#fail(`next descriptor ${next} of ${entries}`);
      index = next;
    }
  }
}
