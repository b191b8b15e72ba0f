import type { FrameOffload } from '../../backend.ts';
import { onesComplementSum } from '../../offload.ts';
import type { Neighbour } from '../neighbours.ts';
import { ETHERTYPE_IPV4, IP, L4, MTU, PROTOCOL_TCP, pseudoSum, put16, put32, putEthernet, putIpv4 } from '../wire.ts';
import type { TcpEndpoint } from './endpoint.ts';
import type { ConnectFailure, ResetReason, TcpPeer } from './peer.ts';
import { RoundTrip } from './round-trip.ts';
import { ahead, Flag, type Segment, TCP_HEADER } from './segment.ts';
import { SendQueue } from './send-queue.ts';

/** One TCP connection with the guest, as a host next to it on a lossless link would hold it (RFC 9293). */

const OUR_MSS = MTU - 40;
/** Shift of the windows announced to the guest: up to 2 MiB. */
const WINDOW_SHIFT = 5;
const MAX_IP_PACKET = 65535;
const HEADERS = L4 + TCP_HEADER;
const CHECKSUM_OFFSET = 16;

/** About 13 minutes. */
const MAX_RETRIES = 18;
const SYN_INTERVAL_MS = 250;
/** An attempt to reach a guest that has not booted yet. */
const SYN_GIVE_UP_MS = 300_000;
const DUPLICATE_ACKS = 3;
const MIN_ACK_SEGMENTS = 2;
const MAX_ACK_SEGMENTS = 8;
/** This much is acknowledged at once. */
const MOST_OWED = 64 << 10;
export const ACK_DELAY_MS = 5;

type State =
  /** The guest asked, the host's side is being connected. */
  | 'connecting'
  /** SYN sent to the guest. */
  | 'syn-sent'
  /** SYN and ACK sent to the guest. */
  | 'syn-received'
  /** Both ways; either may have ended since. */
  | 'open'
  | 'closed';

/** The two ends as the guest sees them. */
export interface Ends {
  readonly guest: number;
  readonly guestPort: number;
  readonly host: number;
  readonly hostPort: number;
}

export class TcpConnection {
  readonly ends: Ends;
  readonly neighbour: Neighbour;
  #peer!: TcpPeer;
  /** Another connection with the same ports (see TcpEndpoint). */
  next: TcpConnection | undefined;
  /** Time of the next retransmission or probe; Infinity while nothing is due. */
  deadline = Number.POSITIVE_INFINITY;
  /** Time of the last sign of life of the guest. */
  heardAt: number;
  /** Keep-alive probes sent since. */
  probes = 0;
  /** In the endpoint's list of delayed acknowledgements, and when the oldest byte's is due. */
  isAckDelayed = false;
  ackDue = 0;

  readonly #tcp: TcpEndpoint;
  readonly #header: Uint8Array;
  readonly #ipSum: number;
  readonly #pseudoSum: number;
  #tso: FrameOffload = segmentation(OUR_MSS);
  #mss = OUR_MSS;
  #state: State;
  readonly #startedAt: number;

  // Towards the guest; `queue` begins with the byte at `una` once the SYN is acknowledged.
  readonly #queue = new SendQueue();
  #una: number;
  #nxt: number;
  /** Highest `nxt` so far: a timeout moves `nxt` back. */
  #max: number;
  #window = 0;
  #windowSeq = 0;
  #windowAck = 0;
  #scale = 0;
  #maxWindow = 0;
  #finQueued = false;
  /** Sequence number after our FIN, once it has been sent. */
  #finEnd = Number.NaN;
  #isPaused = false;
  /** After a timeout one segment goes at a time until an acknowledgement comes. */
  #isRecovering = false;
  #duplicates = 0;
  /** End of what was sent when a loss was noticed; acknowledgements below it mean another loss. */
  #recover: number;
  #retries = 0;
  readonly #roundTrip = new RoundTrip();

  // From the guest.
  #rcvNxt = 0;
  /** Right edge of the window announced. */
  #edge = 0;
  #acked = 0;
  #rcvShift = 0;
  #finReceived = false;
  #ackNow = false;
  /** The guest's part of a handshake that the host began has not been acknowledged. */
  #isOpeningOwed = false;
  /** Bytes for which an acknowledgement waits until the guest has run for a while, but no longer. */
  #ackEvery = 0;

  /** @param syn the guest's SYN, or undefined for a connection to the guest */
  constructor(tcp: TcpEndpoint, ends: Ends, neighbour: Neighbour, syn: Segment | undefined) {
    this.#tcp = tcp;
    this.ends = ends;
    this.neighbour = neighbour;
    this.#state = syn ? 'connecting' : 'syn-sent';
    this.#startedAt = tcp.now();
    this.heardAt = this.#startedAt;
    this.#una = tcp.initialSequence();
    this.#nxt = this.#una;
    this.#max = this.#una;
    this.#recover = this.#una;
    if (syn) this.#takeSyn(syn);
    const header = new Uint8Array(HEADERS);
    this.#header = header;
    putEthernet(header, neighbour.mac, tcp.mac, ETHERTYPE_IPV4);
    putIpv4(header, PROTOCOL_TCP, ends.host, ends.guest);
    put16(header, IP + 2, 0);
    put16(header, IP + 10, 0);
    this.#ipSum = onesComplementSum(header, IP, L4);
    this.#pseudoSum = pseudoSum(ends.host, ends.guest, PROTOCOL_TCP, 0);
    put16(header, L4, ends.hostPort);
    put16(header, L4 + 2, ends.guestPort);
  }

  get isClosed(): boolean {
    return this.#state === 'closed';
  }

  /** The guest has asked, the host's side is not there yet. */
  get isConnecting(): boolean {
    return this.#state === 'connecting';
  }

  /** Sets the host's end, once. */
  attach(peer: TcpPeer): void {
    this.#peer = peer;
  }

  // Called by the peer.

  /** The host's side of a connection the guest asked for is there. */
  connected(): void {
    if (this.#state !== 'connecting') return;
    this.#state = 'syn-received';
    this.#tcp.opening--;
    this.output();
  }

  /** Bytes for the guest; the chunk is not to be changed any more. */
  push(chunk: Uint8Array): void {
    if (this.#state === 'closed' || this.#finQueued) return;
    this.#queue.push(chunk);
    if (!this.#isPaused && this.#queue.cost >= this.#tcp.share) {
      this.#isPaused = true;
      this.#peer.pause();
    }
    this.output();
  }

  /** The host sends no more. */
  finish(): void {
    if (this.#state === 'closed' || this.#finQueued) return;
    this.#finQueued = true;
    this.output();
  }

  /** The host's side broke: the guest gets a reset. */
  abort(): void {
    if (this.#state === 'closed') return;
    this.#sendReset();
    this.#close();
  }

  /** The host's side of a connection the guest asked for cannot be made. */
  failed(failure: ConnectFailure): void {
    if (this.#state !== 'connecting') return;
    if (failure === 'refused') this.#sendReset();
    else if (failure === 'unreachable') this.#tcp.unreachable(this.ends, (this.#rcvNxt - 1) | 0);
    this.#close();
  }

  /** The host has taken some of what `peer.queued` counted. */
  drained(): void {
    if (this.#state !== 'open' || this.#finReceived) return;
    const gain = ahead(this.#rightEdge(), this.#edge);
    const announced = ahead(this.#edge, this.#rcvNxt);
    // Silly window avoidance (RFC 9293, 3.8.6.2.2), and no word about a window that is wide anyway.
    if (gain < 2 * this.#mss || announced >= this.#tcp.share / 2) return;
    this.#ackNow = true;
    this.output();
  }

  // Called by the endpoint.

  /** Begins a connection to the guest, or tries again at once now that the guest is there. */
  open(): void {
    if (this.#state !== 'syn-sent') return;
    this.#nxt = this.#una;
    this.output();
  }

  /** A segment of this connection. */
  input(segment: Segment, frame: Uint8Array): void {
    this.heardAt = this.#tcp.now();
    this.probes = 0;
    switch (this.#state) {
      case 'connecting':
        if ((segment.flags & Flag.rst) !== 0) this.#fail('reset');
        return;
      case 'syn-sent':
        this.#inputSynSent(segment);
        return;
      case 'syn-received':
      case 'open':
        this.#inputSynchronized(segment, frame);
    }
  }

  #inputSynSent(segment: Segment): void {
    const { flags } = segment;
    if ((flags & Flag.ack) === 0 || segment.ack !== ((this.#una + 1) | 0)) {
      // An old connection of the guest's with the same ports: it answers the reset and then the SYN (RFC 9293, 3.5.1).
      if ((flags & Flag.ack) !== 0 && (flags & Flag.rst) === 0) this.#tcp.refuse(this.ends, this.neighbour, segment);
      return;
    }
    if ((flags & Flag.rst) !== 0) {
      this.#fail('refused');
      return;
    }
    if ((flags & Flag.syn) === 0) return;
    this.#takeSyn(segment);
    this.#una = segment.ack;
    this.#nxt = this.#una;
    this.#max = this.#una;
    this.#recover = this.#una;
    this.#setWindow(segment, segment.window);
    this.#established();
    this.#isOpeningOwed = true;
    this.#peer.opened();
    this.output();
    if (this.#isOpeningOwed) this.#tcp.acknowledgeOpening(this);
  }

  /** Ends the handshake, unless data has done so. */
  flushOpening(): void {
    if (this.#state === 'open' && this.#isOpeningOwed) this.#acknowledge();
  }

  #established(): void {
    this.#state = 'open';
    this.#retries = 0;
    this.deadline = Number.POSITIVE_INFINITY;
  }

  #inputSynchronized(segment: Segment, frame: Uint8Array): void {
    const { flags } = segment;
    const offset = ahead(segment.seq, this.#rcvNxt);
    if ((flags & Flag.rst) !== 0) {
      // In the window but not exact: ask, for it may be forged (RFC 5961, 3.2).
      if (offset === 0) this.#fail('reset');
      else if (offset > 0 && ahead(segment.seq, this.#edge) < 0) this.#acknowledge();
      return;
    }
    if ((flags & Flag.syn) !== 0) {
      if (this.#state === 'syn-received' && offset === -1) {
        this.#nxt = this.#una;
        this.output();
      } else this.#acknowledge();
      return;
    }
    if ((flags & Flag.ack) === 0) return;
    const length = segment.end - segment.payload + (flags & Flag.fin);
    // Nothing of it is new (a retransmission or a probe), or something before it is missing.
    if (offset > 0 || (offset < 0 && offset + length <= 0)) this.#ackNow = true;
    if (offset > 0 && ahead(segment.seq, this.#edge) > 0) {
      this.output();
      return;
    }
    if (this.#state === 'syn-received') {
      if (segment.ack !== this.#max || this.#max === this.#una) {
        this.#tcp.refuse(this.ends, this.neighbour, segment);
        return;
      }
      this.#una = segment.ack;
      this.#nxt = segment.ack;
      this.#recover = segment.ack;
      this.#established();
      this.#setWindow(segment, segment.window << this.#scale);
    } else if (!this.#takeAck(segment, length)) return;
    if (offset <= 0 && offset + length > 0) this.#takeData(segment, frame, -offset);
    if (this.#state === 'open') this.output();
  }

  /** Acknowledgement and window; false if the segment is to be dropped. */
  #takeAck(segment: Segment, length: number): boolean {
    const { ack } = segment;
    if (ahead(ack, this.#max) > 0) {
      this.#acknowledge();
      return false;
    }
    const window = segment.window << this.#scale;
    const progress = ahead(ack, this.#una);
    if (progress > 0) this.#advance(ack, progress);
    else if (progress === 0 && length === 0 && window === this.#window && this.#max !== this.#una) {
      if (window === 0) this.#retries = 0;
      else if (++this.#duplicates === DUPLICATE_ACKS && ahead(this.#recover, this.#una) <= 0) {
        this.#recover = this.#max;
        this.#resendFirst();
      }
    }
    const newer = ahead(segment.seq, this.#windowSeq);
    if (progress >= 0 && (newer > 0 || (newer === 0 && ahead(ack, this.#windowAck) >= 0))) {
      this.#setWindow(segment, window);
    }
    return this.#state === 'open';
  }

  /** The guest has acknowledged everything up to `ack`. */
  #advance(ack: number, progress: number): void {
    const data = Math.min(progress, this.#queue.length);
    this.#queue.release(data);
    this.#una = ack;
    if (ahead(ack, this.#nxt) > 0) this.#nxt = ack;
    this.#duplicates = 0;
    this.#retries = 0;
    this.#isRecovering = false;
    const now = this.#tcp.now();
    this.#roundTrip.acknowledged(ack, now);
    if (ahead(this.#recover, ack) > 0) this.#resendFirst();
    else this.#recover = ack;
    this.deadline = this.#max === ack ? Number.POSITIVE_INFINITY : now + this.#roundTrip.timeout;
    if (this.#isPaused && this.#queue.cost <= this.#tcp.share / 2) {
      this.#isPaused = false;
      this.#peer.resume();
    }
    if (this.#finReceived && this.#isFinAcked) this.#finishClosing();
  }

  get #isFinAcked(): boolean {
    return this.#finQueued && this.#queue.length === 0 && this.#una === this.#max && this.#max === this.#finEnd;
  }

  #setWindow(segment: Segment, window: number): void {
    this.#window = window;
    this.#windowSeq = segment.seq;
    this.#windowAck = segment.ack;
    if (window > this.#maxWindow) this.#maxWindow = window;
  }

  /** What `seq` carries beyond its first `skip` units, which were here before. */
  #takeData(segment: Segment, frame: Uint8Array, skip: number): void {
    if (this.#finReceived) {
      this.#ackNow = true;
      return;
    }
    const wasAcknowledged = this.#acked === this.#rcvNxt;
    const start = segment.payload + skip;
    const room = ahead(this.#edge, this.#rcvNxt);
    const length = Math.min(segment.end - start, room);
    const isCut = length < segment.end - start;
    if (length > 0) {
      this.#rcvNxt = (this.#rcvNxt + length) | 0;
      if (this.#ackEvery < MAX_ACK_SEGMENTS * this.#mss) this.#ackEvery += length >> 3;
      this.#peer.write(frame.subarray(start, start + length));
      if (this.#state === 'closed') return;
    }
    if (isCut) this.#ackNow = true;
    else if ((segment.flags & Flag.fin) !== 0) {
      this.#rcvNxt = (this.#rcvNxt + 1) | 0;
      this.#finReceived = true;
      this.#peer.end();
      if (this.#state === 'closed') return;
    }
    const owed = ahead(this.#rcvNxt, this.#acked);
    if (owed >= Math.min(MOST_OWED, this.#tcp.share / 2)) this.#ackNow = true;
    else if (this.#ackNow) return;
    // A guest that computes sends larger frames if it is not disturbed for each; one that waits for this is idle, which ends the turn.
    else if (owed >= this.#ackEvery) this.#tcp.ackAfterTurn(this);
    else {
      if (wasAcknowledged) this.ackDue = this.heardAt + ACK_DELAY_MS;
      this.#tcp.delayAck(this, this.#finReceived && this.#isFinAcked);
    }
  }

  #takeSyn(syn: Segment): void {
    this.#rcvNxt = (syn.seq + 1) | 0;
    this.#acked = this.#rcvNxt;
    this.#edge = this.#rcvNxt;
    this.#mss = Math.min(OUR_MSS, syn.mss);
    this.#tso = segmentation(this.#mss);
    this.#ackEvery = MIN_ACK_SEGMENTS * this.#mss;
    this.#scale = syn.scale ?? 0;
    this.#rcvShift = syn.scale === undefined ? 0 : WINDOW_SHIFT;
    this.#setWindow(syn, syn.window);
  }

  /** Where the window towards us could end; never left of what was announced. */
  #rightEdge(): number {
    const limit = this.#rcvShift === 0 ? 0xffff : this.#tcp.share;
    const window = Math.max(0, Math.min(limit, this.#tcp.share - this.#peer.queued));
    const edge = (this.#rcvNxt + window) | 0;
    return ahead(edge, this.#edge) > 0 ? edge : this.#edge;
  }

  #acknowledge(): void {
    this.#ackNow = true;
    this.output();
  }

  /** The guest has sent something that it has not been told has come. */
  get owesAck(): boolean {
    return this.#state === 'open' && this.#acked !== this.#rcvNxt;
  }

  /** A delayed acknowledgement's time has come. */
  flushAck(): void {
    if (this.owesAck) this.#acknowledge();
  }

  /** Sends what may be sent; what the link refuses is sent when the endpoint calls again. */
  output(): void {
    this.#output();
    this.#tcp.flushEnds();
  }

  #output(): void {
    switch (this.#state) {
      case 'syn-sent':
        if (this.#nxt === this.#una) this.#sendSyn(Flag.syn);
        return;
      case 'syn-received':
        if (this.#nxt === this.#una) this.#sendSyn(Flag.syn | Flag.ack);
        return;
      case 'open':
        while (this.#outputOne());
        if (this.#state === 'open' && this.#ackNow) this.#sendSegment(this.#acceptableSeq, 0, 0);
        if (this.#finReceived && this.#isFinAcked) this.#finishClosing();
    }
  }

  /** A sequence number inside the guest's window, which what has been sent may not be. */
  get #acceptableSeq(): number {
    return ahead(this.#max, this.#una) > this.#window ? (this.#una + this.#window) | 0 : this.#max;
  }

  /** Sends the next segment of data, or the FIN; false when there is none to send now. */
  #outputOne(): boolean {
    if (this.#isRecovering && this.#nxt !== this.#una) return false;
    const sent = ahead(this.#nxt, this.#una);
    const rest = this.#queue.length - sent;
    const room = this.#window - sent;
    const isFinDue = this.#finQueued && this.#nxt !== this.#finEnd && rest < room;
    let length = Math.min(rest, room, this.#isRecovering ? this.#mss : MAX_IP_PACKET - 40);
    if (length <= 0) {
      if (isFinDue && rest === 0) return this.#sendFin(0);
      if (room <= 0 && sent === 0 && this.#hasUnacknowledged) this.#startTimer();
      return false;
    }
    if (length < rest) {
      // Whole segments, except that a window smaller than those it has had is not waited for (RFC 9293, 3.8.6.2.1).
      if (length > this.#mss) length -= length % this.#mss;
      else if (length < this.#mss && sent > 0 && length < this.#maxWindow / 2) return false;
    } else if (isFinDue) return this.#sendFin(length);
    return this.#sendSegment(this.#nxt, length, length === rest ? Flag.psh : 0);
  }

  #sendFin(length: number): boolean {
    if (!this.#sendSegment(this.#nxt, length, Flag.psh | Flag.fin)) return false;
    this.#finEnd = this.#nxt;
    return true;
  }

  /** Sends `length` bytes from sequence number `seq` on and moves `nxt` behind them if they are the next; false if refused. */
  #sendSegment(seq: number, length: number, extraFlags: number): boolean {
    const tcp = this.#tcp;
    const { frame } = tcp;
    if (tcp.isBlocked) return tcp.wait(this);
    if (length > 0) this.#queue.copy(ahead(seq, this.#una), length, frame, HEADERS);
    const edge = this.#rightEdge();
    this.#putHeader(seq, Flag.ack | extraFlags, ahead(edge, this.#rcvNxt) >>> this.#rcvShift, HEADERS + length);
    if (!tcp.transmit(HEADERS + length, length > this.#mss ? this.#tso : CHECKSUM_ONLY)) return tcp.wait(this);
    const announced = (this.#rcvNxt + ((ahead(edge, this.#rcvNxt) >>> this.#rcvShift) << this.#rcvShift)) | 0;
    if (ahead(announced, this.#edge) > 0) this.#edge = announced;
    this.#acked = this.#rcvNxt;
    this.#ackNow = false;
    this.#isOpeningOwed = false;
    const units = length + (extraFlags & Flag.fin);
    if (units === 0 || seq !== this.#nxt) return true;
    this.#nxt = (seq + units) | 0;
    if (ahead(this.#nxt, this.#max) > 0) {
      this.#roundTrip.sent(this.#nxt, tcp.now());
      this.#max = this.#nxt;
    }
    this.#startTimer();
    return true;
  }

  #sendSyn(flags: number): void {
    const tcp = this.#tcp;
    this.deadline = tcp.now() + SYN_INTERVAL_MS;
    tcp.time(this);
    if (!this.neighbour.known) {
      tcp.resolve(this.neighbour);
      return;
    }
    const { frame } = tcp;
    frame[HEADERS] = 2;
    frame[HEADERS + 1] = 4;
    put16(frame, HEADERS + 2, OUR_MSS);
    let end = HEADERS + 4;
    const scaled = (flags & Flag.ack) === 0 || this.#rcvShift !== 0;
    if (scaled) {
      put32(frame, end, 0x0103_0300 | WINDOW_SHIFT);
      end += 4;
    }
    // The window of a SYN is never scaled.
    const window = Math.min(0xffff, tcp.share);
    this.#putHeader(this.#una, flags, window, end);
    if (tcp.isBlocked || !tcp.transmit(end, CHECKSUM_ONLY)) {
      tcp.wait(this);
      return;
    }
    this.#nxt = (this.#una + 1) | 0;
    this.#max = this.#nxt;
    this.#edge = (this.#rcvNxt + window) | 0;
    this.#acked = this.#rcvNxt;
  }

  #putHeader(seq: number, flags: number, window: number, end: number): void {
    const { frame } = this.#tcp;
    const options = (flags & Flag.syn) !== 0 ? end - HEADERS : 0;
    frame.set(this.#header);
    frame.set(this.neighbour.mac);
    const total = end - IP;
    put16(frame, IP + 2, total);
    const sum = this.#ipSum + total;
    put16(frame, IP + 10, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff);
    put32(frame, L4 + 4, seq);
    put32(frame, L4 + 8, (flags & Flag.ack) !== 0 ? this.#rcvNxt : 0);
    frame[L4 + 12] = ((TCP_HEADER + options) / 4) << 4;
    frame[L4 + 13] = flags;
    put16(frame, L4 + 14, Math.min(0xffff, window));
    const partial = this.#pseudoSum + (end - L4);
    put16(frame, L4 + CHECKSUM_OFFSET, (partial & 0xffff) + (partial >>> 16));
    put16(frame, L4 + 18, 0);
  }

  #sendReset(): void {
    if (!this.neighbour.known) return;
    const flags = this.#state === 'syn-sent' ? Flag.rst : Flag.rst | Flag.ack;
    this.#putHeader(this.#max, flags, 0, HEADERS);
    this.#tcp.post(HEADERS);
  }

  #startTimer(): void {
    if (this.deadline !== Number.POSITIVE_INFINITY) return;
    this.deadline = this.#tcp.now() + this.#roundTrip.timeout;
    this.#tcp.time(this);
  }

  /** The deadline has passed. */
  timeout(): void {
    this.deadline = Number.POSITIVE_INFINITY;
    if (this.#state === 'open') this.#retransmit();
    else if (this.#state === 'syn-sent' || this.#state === 'syn-received') {
      this.#nxt = this.#una;
      if (this.#tcp.now() - this.#startedAt > SYN_GIVE_UP_MS) this.kill('timeout');
      else this.output();
    }
  }

  #retransmit(): void {
    // What could not even be sent is no loss.
    if (this.#tcp.isBlocked) {
      this.#startTimer();
      return;
    }
    if (++this.#retries > MAX_RETRIES) {
      this.kill('timeout');
      return;
    }
    this.#roundTrip.double();
    this.#nxt = this.#una;
    if (this.#window === 0) this.#probeWindow();
    else {
      this.#isRecovering = true;
      this.#recover = this.#una;
      this.#duplicates = 0;
      this.output();
    }
    if (this.#hasUnacknowledged) this.#startTimer();
  }

  get #hasUnacknowledged(): boolean {
    return this.#queue.length > 0 || (this.#finQueued && !this.#isFinAcked);
  }

  /** One byte (or the FIN) beyond a closed window, so that its opening cannot be missed (RFC 9293, 3.8.6.1). */
  #probeWindow(): void {
    if (this.#queue.length > 0) this.#sendSegment(this.#nxt, 1, 0);
    else if (this.#finQueued) this.#sendFin(0);
    // It may well be refused: what comes next starts with it again.
    this.#nxt = this.#una;
    this.#roundTrip.forget();
  }

  /** Sends the first unacknowledged segment again. */
  #resendFirst(): void {
    this.#roundTrip.forget();
    const length = Math.min(this.#mss, this.#queue.length);
    if (length > 0) this.#sendSegment(this.#una, length, 0);
  }

  /** Asks a silent guest whether it is still there, with a byte it has had already. */
  probe(): void {
    this.probes++;
    this.#sendSegment((this.#una - 1) | 0, 0, 0);
  }

  #fail(reason: ResetReason): void {
    this.#close();
    this.#peer.reset(reason);
  }

  /** Ends it from the host: the guest gets a reset, the peer is told. */
  kill(reason: ResetReason): void {
    if (this.#state === 'closed') return;
    this.#sendReset();
    this.#fail(reason);
  }

  /** Both FINs are acknowledged once our last acknowledgement is out. */
  #finishClosing(): void {
    if (this.#ackNow || this.#acked !== this.#rcvNxt) return;
    this.#close();
    this.#peer.closed();
  }

  #close(): void {
    const wasConnecting = this.#state === 'connecting';
    this.#state = 'closed';
    this.deadline = Number.POSITIVE_INFINITY;
    this.#queue.clear();
    this.#tcp.remove(this, wasConnecting);
  }
}

const CHECKSUM_ONLY: FrameOffload = {
  needsChecksum: true,
  csumStart: L4,
  csumOffset: CHECKSUM_OFFSET,
  gso: 'none',
  gsoSize: 0,
};

const segmentation = (gsoSize: number): FrameOffload => ({ ...CHECKSUM_ONLY, gso: 'tcp4', gsoSize });
