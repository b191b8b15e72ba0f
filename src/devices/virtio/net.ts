import type { FrameOffload, NetBackend } from '../../net/backend.ts';
import { completeChecksum, segmentTcp } from '../../net/offload.ts';
import type { Alarm, Clock } from '../clock.ts';
import { DescriptorChain } from './chain.ts';
import { type VirtioDevice, type VirtioHost, VirtioType } from './device.ts';
import { NetControl, type NetControlState } from './net-control.ts';
import { formatHeader, HEADER, LEGACY_HEADER, type NetHeader, NUM_BUFFERS, parseHeader, tcpGso } from './net-header.ts';
import type { VirtQueue } from './queue.ts';

/** Network card (virtio 1.2, 5.1). */

const NetFeature = {
  csum: 0,
  guestCsum: 1,
  mtu: 3,
  mac: 5,
  guestTso4: 7,
  guestTso6: 8,
  hostTso4: 11,
  hostTso6: 12,
  mergeableBuffers: 15,
  status: 16,
  controlQueue: 17,
  controlRx: 18,
  controlVlan: 19,
  controlMac: 23,
} as const;

const RX = 0;
const TX = 1;
const CONTROL = 2;
const CONFIG_STATUS = 6;
const CONFIG_MAX_PAIRS = 8;
const CONFIG_MTU = 10;
const LINK_UP = 1;
const MIN_FRAME = 14;
/** Smallest segment Linux makes; less would let one frame become tens of thousands. */
const MIN_SEGMENT = 8;
/**
 * A driver takes back sent frames whenever it gets one, so the interrupt for this many of them may wait for that, and costs nothing then.
 */
const TX_SLACK = 8;
const TX_INTERRUPT_DELAY_NS = 2_000_000;
/** A 64 KiB datagram with its Ethernet and VLAN headers: the largest frame a driver may send with offloads. */
export const MAX_FRAME = 65562;

export interface VirtioNetOptions {
  backend: NetBackend;
  /** Six bytes. */
  mac: Uint8Array;
  /** Announced largest packet without Ethernet header, 68 to 65535; default 1500. */
  mtu?: number;
  /** Size of the receive and transmit queues, a power of two; default 256. */
  queueSize?: number;
  /** Offer checksum and segmentation offload; default true. */
  offload?: boolean;
  /** With it, the interrupt for sent frames may come a little later, or never if a received frame makes it needless. */
  clock?: Clock;
}

/** Frames and bytes since power-on, and what went wrong. */
export interface NetCounters {
  txFrames: number;
  txBytes: number;
  rxFrames: number;
  rxBytes: number;
  /** Transmit requests dropped: header, size, offload fields or descriptors were wrong. */
  txMalformed: number;
  /** Frames sent with a source address other than the card's. */
  txForeignSource: number;
  /** Frames for the guest dropped: driver not ready or link down, or a buffer was unusable or too small. */
  rxDropped: number;
  /** Frames not addressed to the card. */
  rxFiltered: number;
  /** Times a frame found the receive queue empty. */
  rxNoBuffer: number;
}

interface NetState {
  mac: number[];
  linkUp: boolean;
  starving: boolean;
  pending: Uint8Array[];
  control: NetControlState;
}

const NO_OFFLOAD: FrameOffload = { needsChecksum: false, csumStart: 0, csumOffset: 0, gso: 'none', gsoSize: 0 };

export class VirtioNet implements VirtioDevice {
  readonly name = 'virtio-net';
  readonly type = VirtioType.net;
  readonly classCode = 0x020000;
  readonly features: readonly number[];
  readonly queueSizes: readonly number[];
  readonly config = new Uint8Array(12);
  readonly counters: NetCounters = {
    txFrames: 0,
    txBytes: 0,
    rxFrames: 0,
    rxBytes: 0,
    txMalformed: 0,
    txForeignSource: 0,
    rxDropped: 0,
    rxFiltered: 0,
    rxNoBuffer: 0,
  };

  readonly #backend: NetBackend;
  readonly #mac: Uint8Array;
  readonly #control: NetControl;
  readonly #clock: Clock | undefined;
  readonly #txAlarm: Alarm | undefined;
  #host!: VirtioHost;
  #rx!: VirtQueue;
  #tx!: VirtQueue;
  /** A send may deliver a frame before it returns, so each direction has its own. */
  #txChain!: DescriptorChain;
  #chain!: DescriptorChain;
  /** Further buffers of a merged frame, while `#chain` holds the first. */
  #more!: DescriptorChain;
  readonly #headerBytes = new Uint8Array(HEADER);
  /** As much of it as has been negotiated. */
  #ownHeader = this.#headerBytes;
  readonly #header: NetHeader = { needsChecksum: false, gsoType: 0, gsoSize: 0, csumStart: 0, csumOffset: 0 };
  readonly #gathered = new Uint8Array(MAX_FRAME);
  readonly #heads: Uint32Array;
  readonly #written: Uint32Array;
  /** The receive queue was empty when a frame came: the next notification tells the backend. */
  #starving = false;
  /** The backend holds back a frame that the driver before this one had no buffer for. */
  #resetWhileStarving = false;
  /** Segments of a super-frame the guest could not take whole, still to be delivered. */
  #pending: Uint8Array[] = [];

  // Negotiated features, looked up once.
  #mergeable = false;
  #csum = false;
  #guestCsum = false;
  #hostTso: Record<'tcp4' | 'tcp6', boolean> = { tcp4: false, tcp6: false };
  #guestTso: Record<'tcp4' | 'tcp6' | 'udp' | 'none', boolean> = { tcp4: false, tcp6: false, udp: false, none: true };

  constructor(options: VirtioNetOptions) {
    const { backend, mac, mtu = 1500, queueSize = 256, offload = true, clock } = options;
    this.#clock = clock;
    this.#txAlarm = clock?.alarm('virtio-net transmit', () => void this.#tx.publish());
    this.#backend = backend;
    this.#mac = mac.slice(0, 6);
    this.#control = new NetControl(this.config.subarray(0, 6));
    this.queueSizes = [queueSize, queueSize, 64];
    this.#heads = new Uint32Array(queueSize);
    this.#written = new Uint32Array(queueSize);
    const { mac: macFeature, status, mtu: mtuFeature, mergeableBuffers } = NetFeature;
    const { csum, guestCsum, guestTso4, guestTso6, hostTso4, hostTso6 } = NetFeature;
    const { controlQueue, controlRx, controlVlan, controlMac } = NetFeature;
    this.features = [
      ...[macFeature, status, mtuFeature, mergeableBuffers, controlQueue, controlRx, controlVlan, controlMac],
      ...(offload ? [csum, guestCsum, guestTso4, guestTso6, hostTso4, hostTso6] : []),
    ];
    this.config.set(this.#mac);
    this.config[CONFIG_STATUS] = LINK_UP;
    this.config[CONFIG_MAX_PAIRS] = 1;
    this.config[CONFIG_MTU] = mtu;
    this.config[CONFIG_MTU + 1] = mtu >> 8;
    backend.onFrame = (frame, frameOffload) => this.#receive(frame, frameOffload);
  }

  attach(host: VirtioHost): void {
    this.#host = host;
    this.#rx = host.queues[RX]!;
    this.#tx = host.queues[TX]!;
    this.#txChain = new DescriptorChain(host.memory);
    this.#chain = new DescriptorChain(host.memory);
    this.#more = new DescriptorChain(host.memory);
  }

  activate(): void {
    this.#applyFeatures();
    this.#rx.suppressNotification();
    this.#rx.publish();
    if (this.#resetWhileStarving) this.#backend.onRoom?.();
    this.#resetWhileStarving = false;
  }

  notify(queue: number): void {
    if (queue === TX) this.#transmit();
    else if (queue === RX) this.#refilled();
    else if (queue === CONTROL) this.#control.serve(this.#host.queues[CONTROL]!, this.#txChain);
  }

  /** Legacy drivers set the address by writing it to the configuration space (5.1.4.2). */
  writeConfig(offset: number, value: number): void {
    if (offset < 6 && !this.#host.isModern && !this.#host.has(NetFeature.controlMac)) this.config[offset] = value;
  }

  get #isLinkUp(): boolean {
    return this.config[CONFIG_STATUS] === LINK_UP;
  }

  /** Plugs the cable in or out; the driver is told. Without it frames go nowhere, in either direction. */
  setLink(up: boolean): void {
    const status = up ? LINK_UP : 0;
    if (this.config[CONFIG_STATUS] === status) return;
    this.config[CONFIG_STATUS] = status;
    this.#host.configChanged();
  }

  reset(): void {
    this.config.set(this.#mac);
    this.#resetWhileStarving ||= this.#starving;
    this.#starving = false;
    this.#pending = [];
    this.#txAlarm?.cancel();
    this.#control.reset();
  }

  save(): NetState {
    return {
      mac: [...this.config.subarray(0, 6)],
      linkUp: this.#isLinkUp,
      starving: this.#starving,
      pending: this.#pending.map((segment) => segment.slice()),
      control: this.#control.save(),
    };
  }

  load(saved: unknown): void {
    const state = saved as NetState;
    if (this.#host.live) this.#applyFeatures();
    this.config.set(state.mac.slice(0, 6));
    this.config[CONFIG_STATUS] = state.linkUp ? LINK_UP : 0;
    this.#starving = state.starving;
    this.#pending = state.pending.map((segment) => segment.slice());
    this.#control.load(state.control);
    // one may be owed
    this.#setTxAlarm();
  }

  #applyFeatures(): void {
    const has = (feature: number): boolean => this.#host.has(feature);
    this.#mergeable = has(NetFeature.mergeableBuffers);
    this.#ownHeader = this.#headerBytes.subarray(0, this.#mergeable || this.#host.isModern ? HEADER : LEGACY_HEADER);
    this.#csum = has(NetFeature.csum);
    this.#guestCsum = has(NetFeature.guestCsum);
    this.#hostTso = { tcp4: has(NetFeature.hostTso4), tcp6: has(NetFeature.hostTso6) };
    // Segmentation needs partial checksums (5.1.3.1).
    this.#guestTso.tcp4 = this.#guestCsum && has(NetFeature.guestTso4);
    this.#guestTso.tcp6 = this.#guestCsum && has(NetFeature.guestTso6);
  }

  #transmit(): void {
    const tx = this.#tx;
    const chain = this.#txChain;
    do {
      while (tx.pop(chain)) {
        if (!this.#sendChain(chain)) this.counters.txMalformed++;
        tx.push(chain.head, 0);
      }
    } while (tx.armNotification());
    if (tx.publish(this.#txAlarm === undefined ? 0 : TX_SLACK)) this.#setTxAlarm();
  }

  #setTxAlarm(): void {
    if (this.#clock === undefined || this.#txAlarm === undefined) return;
    const now = this.#clock.now();
    // moving it has a price; up to half of it is not worth that
    const { at = now } = this.#txAlarm;
    if (at - now < TX_INTERRUPT_DELAY_NS / 2) this.#txAlarm.set(now + TX_INTERRUPT_DELAY_NS);
  }

  /** Sends one chain; false if it is malformed and was dropped. */
  #sendChain(chain: DescriptorChain): boolean {
    const headerSize = this.#ownHeader.length;
    const length = chain.readableLength - headerSize;
    if (chain.malformed || chain.writableLength !== 0 || length < MIN_FRAME || length > MAX_FRAME) return false;
    chain.gather(0, this.#ownHeader);
    const header = this.#header;
    parseHeader(this.#headerBytes, header);
    let frame = chain.readableView(headerSize, length);
    if (frame === undefined) {
      frame = this.#gathered.subarray(0, length);
      chain.gather(headerSize, frame);
    }
    const needsChecksum = this.#csum && header.needsChecksum;
    if (needsChecksum && header.csumStart + header.csumOffset + 2 > length) return false;
    const type = tcpGso(header.gsoType);
    const gso = type !== undefined && this.#hostTso[type] ? type : 'none';
    if (gso !== 'none' && header.gsoSize < MIN_SEGMENT) return false;
    if (!this.#isLinkUp) return true;
    for (let i = 0; i < 6; i++) {
      if (frame[6 + i] === this.config[i]) continue;
      this.counters.txForeignSource++;
      break;
    }
    this.counters.txFrames++;
    this.counters.txBytes += length;
    if (!needsChecksum && gso === 'none') {
      this.#backend.send(frame);
      return true;
    }
    const { csumStart, csumOffset, gsoSize } = header;
    return this.#sendOffloaded(frame, { needsChecksum, csumStart, csumOffset, gso, gsoSize });
  }

  /** Sends a frame whose checksum or segmentation is left undone, doing it here if the backend cannot. */
  #sendOffloaded(frame: Uint8Array, offload: FrameOffload): boolean {
    if (this.#backend.acceptsOffload === true) {
      this.#backend.send(frame, offload);
      return true;
    }
    if (offload.gso !== 'none') return segmentTcp(frame, offload, (segment) => this.#backend.send(segment));
    const own = this.#gathered.subarray(0, frame.length);
    // The checksum is not the driver's to see in its buffer.
    if (frame.buffer !== own.buffer) own.set(frame);
    completeChecksum(own, offload.csumStart, offload.csumOffset);
    this.#backend.send(own);
    return true;
  }

  /** New receive buffers: delivers what waited, then lets the backend go on. */
  #refilled(): void {
    if (!this.#starving) return;
    this.#starving = false;
    this.#rx.suppressNotification();
    if (this.#deliverPending()) this.#backend.onRoom?.();
    this.#rx.publish();
  }

  /** Takes a frame for the guest; false when the receive queue has no room for it now. */
  #receive(frame: Uint8Array, offload: FrameOffload = NO_OFFLOAD): boolean {
    const { counters } = this;
    if (
      !this.#host.live ||
      !this.#rx.ready ||
      !this.#isLinkUp ||
      frame.length < MIN_FRAME ||
      frame.length > MAX_FRAME
    ) {
      counters.rxDropped++;
      return true;
    }
    if (!this.#deliverPending()) return false;
    if (!this.#control.accepts(frame)) {
      counters.rxFiltered++;
      return true;
    }
    if (!this.#guestTso[offload.gso]) {
      const isTcp = segmentTcp(frame, offload, (segment) => this.#pending.push(segment.slice()));
      if (!isTcp) counters.rxDropped++;
      this.#deliverPending();
      return true;
    }
    if (!offload.needsChecksum) return this.#deliver(frame, offload.gso === 'none' ? undefined : offload);
    if (offload.csumStart + offload.csumOffset + 2 > frame.length) {
      counters.rxDropped++;
      return true;
    }
    if (this.#guestCsum) return this.#deliver(frame, offload);
    const complete = frame.slice();
    completeChecksum(complete, offload.csumStart, offload.csumOffset);
    return this.#deliver(complete, undefined);
  }

  #deliverPending(): boolean {
    while (this.#pending.length > 0) {
      if (!this.#deliver(this.#pending[0]!, undefined)) return false;
      this.#pending.shift();
    }
    return true;
  }

  /** Puts one frame into receive buffers; false when there are too few, in which case none is used. */
  #deliver(frame: Uint8Array, offload: FrameOffload | undefined): boolean {
    const rx = this.#rx;
    const header = this.#ownHeader;
    formatHeader(this.#headerBytes, offload);
    const total = header.length + frame.length;
    let used = 0;
    let done = 0;
    let usable = true;
    while (usable && done < total) {
      const chain = used === 0 ? this.#chain : this.#more;
      if (!this.#popReceive(chain)) {
        if (!this.#host.live) {
          rx.publish();
          this.counters.rxDropped++;
          return true;
        }
        if (used === rx.size) break;
        rx.rewind(used);
        rx.publish();
        this.#starving = true;
        this.counters.rxNoBuffer++;
        return false;
      }
      const room = chain.writableLength;
      usable = !chain.malformed && chain.readableCount === 0 && room >= (used === 0 ? header.length : 1);
      if (!this.#mergeable && room < total) usable = false;
      this.#heads[used] = chain.head;
      this.#written[used] = Math.min(room, total - done);
      if (usable) this.#fill(chain, header, frame, done);
      used++;
      done += room;
    }
    const delivered = usable && done >= total;
    if (delivered && used > 1) {
      this.#chain.scatter(NUM_BUFFERS, Uint8Array.of(used, used >> 8));
    }
    for (let i = 0; i < used; i++) rx.push(this.#heads[i]!, delivered ? this.#written[i]! : 0);
    rx.publish();
    if (delivered) {
      this.counters.rxFrames++;
      this.counters.rxBytes += frame.length;
    } else {
      this.counters.rxDropped++;
    }
    return true;
  }

  /** Pops a receive buffer, asking for a notification when there is none. */
  #popReceive(chain: DescriptorChain): boolean {
    return this.#rx.pop(chain) || (this.#rx.armNotification() && this.#rx.pop(chain));
  }

  /** Writes what belongs at position `done` of header and frame into a buffer. */
  #fill(chain: DescriptorChain, header: Uint8Array, frame: Uint8Array, done: number): void {
    if (done === 0) {
      chain.scatter(0, header);
      chain.scatter(header.length, frame);
    } else {
      chain.scatter(0, frame.subarray(done - header.length));
    }
  }
}
