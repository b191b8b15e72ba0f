import type { FrameOffload, NetBackend } from '../../src/net/backend.ts';

/** A guest's network stack in small, written apart from the code under test: ARP, IPv4, UDP and TCP over one backend. */

const FIN = 1;
const SYN = 2;
const RST = 4;
const PSH = 8;
const ACK = 16;

const GUEST_MSS = 1460;
const GUEST_SHIFT = 7;

export const ip = (text: string): number => text.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0);

function sum16(bytes: Uint8Array, start: number, end: number, initial = 0): number {
  let sum = initial;
  for (let i = start; i < end; i += 2) sum += bytes[i]! * 256 + (i + 1 < end ? bytes[i + 1]! : 0);
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return sum;
}

export interface TcpFields {
  sourcePort: number;
  destinationPort: number;
  seq: number;
  ack: number;
  flags: number;
  window: number;
  options?: Uint8Array;
  payload?: Uint8Array;
}

export class GuestHost {
  readonly backend: NetBackend;
  readonly address: number;
  readonly mac: Uint8Array;
  gatewayMac: Uint8Array = new Uint8Array(6).fill(0xff);
  /** The card has no receive buffers. */
  isFull = false;
  /** Take this many frames, then be full. */
  room = Number.POSITIVE_INFINITY;
  /** Frames the guest loses after having taken them. */
  lose: (frame: Uint8Array) => boolean = () => false;
  /** Announce offloads, as a card that has negotiated them: super-frames and partial checksums towards the backend. */
  offload = true;
  readonly frames: { frame: Uint8Array; offload: FrameOffload | undefined }[] = [];
  readonly tcps = new Set<GuestTcp>();
  readonly listeners = new Map<number, (tcp: GuestTcp) => void>();
  readonly onUdp = new Map<number, (data: Uint8Array, address: number, port: number) => void>();
  onIcmp: (message: Uint8Array, source: number) => void = () => {};
  resetsSent = 0;
  #nextPort = 40000;
  #inbox: { frame: Uint8Array; offload: FrameOffload | undefined }[] = [];

  constructor(backend: NetBackend, address: string = '10.0.2.15') {
    this.backend = backend;
    this.address = ip(address);
    this.mac = Uint8Array.of(0x52, 0x54, 0, 0, 0, this.address & 255);
    backend.onFrame = (frame, offload) => {
      if (this.isFull || this.room <= 0) {
        this.isFull = true;
        return false;
      }
      this.room--;
      const copy = frame.slice();
      this.frames.push({ frame: copy, offload });
      if (this.frames.length > 200) this.frames.shift();
      if (!this.lose(copy)) {
        if (this.#inbox.push({ frame: copy, offload }) === 1) queueMicrotask(() => this.#drain());
      }
      return true;
    };
  }

  /** Buffers are there again. */
  makeRoom(): void {
    this.isFull = false;
    this.room = Number.POSITIVE_INFINITY;
    this.backend.onRoom?.();
  }

  #drain(): void {
    const inbox = this.#inbox;
    this.#inbox = [];
    for (const { frame, offload } of inbox) this.#input(frame, offload);
  }

  /** Says hello, so that the network knows this guest. */
  announce(): void {
    this.arp(1, this.address, this.address);
  }

  arp(operation: number, sender: number, target: number): void {
    const frame = new Uint8Array(42);
    const view = new DataView(frame.buffer);
    frame.fill(0xff, 0, 6);
    frame.set(this.mac, 6);
    view.setUint16(12, 0x0806);
    view.setUint32(14, 0x00010800);
    view.setUint16(18, 0x0604);
    view.setUint16(20, operation);
    frame.set(this.mac, 22);
    view.setUint32(28, sender);
    view.setUint32(38, target);
    this.backend.send(frame);
  }

  ipv4(protocol: number, destination: number, body: Uint8Array, offload?: FrameOffload, source = this.address): void {
    const frame = new Uint8Array(34 + body.length);
    const view = new DataView(frame.buffer);
    frame.set(this.gatewayMac, 0);
    frame.set(this.mac, 6);
    view.setUint16(12, 0x0800);
    view.setUint16(14, 0x4500);
    view.setUint16(16, 20 + body.length);
    view.setUint16(20, 0x4000);
    view.setUint8(22, 64);
    view.setUint8(23, protocol);
    view.setUint32(26, source);
    view.setUint32(30, destination);
    view.setUint16(24, 0xffff - sum16(frame, 14, 34));
    frame.set(body, 34);
    this.backend.send(frame, offload);
  }

  udp(sourcePort: number, destination: number, port: number, data: Uint8Array, source = this.address): void {
    const body = new Uint8Array(8 + data.length);
    const view = new DataView(body.buffer);
    view.setUint16(0, sourcePort);
    view.setUint16(2, port);
    view.setUint16(4, body.length);
    body.set(data, 8);
    this.ipv4(17, destination, body, undefined, source);
  }

  ping(destination: number, payload: Uint8Array): void {
    const body = new Uint8Array(8 + payload.length);
    body[0] = 8;
    body.set([0x12, 0x34, 0, 1], 4);
    body.set(payload, 8);
    new DataView(body.buffer).setUint16(2, 0xffff - sum16(body, 0, body.length));
    this.ipv4(1, destination, body);
  }

  tcpSegment(destination: number, fields: TcpFields): void {
    const { options = new Uint8Array(0), payload = new Uint8Array(0) } = fields;
    const header = 20 + options.length;
    const body = new Uint8Array(header + payload.length);
    const view = new DataView(body.buffer);
    view.setUint16(0, fields.sourcePort);
    view.setUint16(2, fields.destinationPort);
    view.setUint32(4, fields.seq >>> 0);
    view.setUint32(8, fields.ack >>> 0);
    view.setUint8(12, (header / 4) << 4);
    view.setUint8(13, fields.flags);
    view.setUint16(14, fields.window);
    body.set(options, 20);
    body.set(payload, header);
    const pseudo =
      (this.address >>> 16) + (this.address & 0xffff) + (destination >>> 16) + (destination & 0xffff) + 6 + body.length;
    if (fields.flags & RST) this.resetsSent++;
    if (this.offload) {
      view.setUint16(16, sum16(new Uint8Array(0), 0, 0, pseudo));
      const gso = payload.length > GUEST_MSS ? 'tcp4' : 'none';
      this.ipv4(6, destination, body, {
        needsChecksum: true,
        csumStart: 34,
        csumOffset: 16,
        gso,
        gsoSize: gso === 'none' ? 0 : GUEST_MSS,
      });
    } else {
      view.setUint16(16, 0xffff - sum16(body, 0, body.length, pseudo));
      this.ipv4(6, destination, body);
    }
  }

  connect(destination: number, port: number, sourcePort = this.#nextPort++): GuestTcp {
    const tcp = new GuestTcp(this, sourcePort, destination, port);
    this.tcps.add(tcp);
    tcp.sendSyn();
    return tcp;
  }

  listen(port: number, onConnection: (tcp: GuestTcp) => void): void {
    this.listeners.set(port, onConnection);
  }

  #input(frame: Uint8Array, offload: FrameOffload | undefined): void {
    const view = new DataView(frame.buffer);
    const type = view.getUint16(12);
    if (type === 0x0806) {
      if (view.getUint16(20) === 1 && view.getUint32(38) === this.address) {
        this.arp(2, this.address, view.getUint32(28));
      }
      if (view.getUint16(20) === 2) this.gatewayMac = frame.slice(22, 28);
      return;
    }
    if (type !== 0x0800) throw new Error(`frame of type ${type.toString(16)}`);
    if (sum16(frame, 14, 34) !== 0xffff) throw new Error('IPv4 checksum');
    if (view.getUint16(16) !== frame.length - 14) throw new Error('IPv4 length');
    const source = view.getUint32(26);
    const protocol = frame[23]!;
    const pseudo = sum16(frame, 26, 34) + protocol + (frame.length - 34);
    if (protocol === 1) {
      if (sum16(frame, 34, frame.length) !== 0xffff) throw new Error('ICMP checksum');
      this.onIcmp(frame.slice(34), source);
    } else if (protocol === 17) {
      if (view.getUint16(20) === 0x4000 && sum16(frame, 34, frame.length, pseudo) !== 0xffff) {
        throw new Error('UDP checksum');
      }
      this.onUdp.get(view.getUint16(36))?.(frame.slice(42), source, view.getUint16(34));
    } else if (protocol === 6) {
      this.gatewayMac = frame.slice(6, 12);
      if (offload?.needsChecksum === true) {
        if (view.getUint16(50) !== sum16(new Uint8Array(0), 0, 0, pseudo)) throw new Error('partial TCP checksum');
        if (offload.csumStart !== 34 || offload.csumOffset !== 16) throw new Error('checksum offsets');
        if (offload.gso === 'none' && frame.length > 1514) throw new Error('frame larger than the MTU');
        if (offload.gso === 'tcp4' && offload.gsoSize > GUEST_MSS) throw new Error('segment larger than asked for');
      } else if (sum16(frame, 34, frame.length, pseudo) !== 0xffff) throw new Error('TCP checksum');
      this.#inputTcp(frame, view, source);
    }
  }

  #inputTcp(frame: Uint8Array, view: DataView, source: number): void {
    const header = (frame[46]! >> 4) * 4;
    const segment: Received = {
      seq: view.getUint32(38),
      ack: view.getUint32(42),
      flags: frame[47]!,
      window: view.getUint16(48),
      options: frame.slice(54, 34 + header),
      payload: frame.slice(34 + header),
    };
    const sourcePort = view.getUint16(34);
    const port = view.getUint16(36);
    for (const tcp of this.tcps) {
      if (tcp.port === port && tcp.remotePort === sourcePort && tcp.remote === source) {
        tcp.input(segment);
        return;
      }
    }
    const listener = this.listeners.get(port);
    if (listener && (segment.flags & (SYN | ACK | RST)) === SYN) {
      const tcp = new GuestTcp(this, port, source, sourcePort);
      this.tcps.add(tcp);
      tcp.accept(segment);
      listener(tcp);
    } else if (!(segment.flags & RST)) {
      const length = segment.payload.length + (segment.flags & SYN ? 1 : 0) + (segment.flags & FIN);
      this.tcpSegment(source, {
        sourcePort: port,
        destinationPort: sourcePort,
        seq: segment.flags & ACK ? segment.ack : 0,
        ack: segment.seq + length,
        flags: segment.flags & ACK ? RST : RST | ACK,
        window: 0,
      });
    }
  }
}

interface Received {
  seq: number;
  ack: number;
  flags: number;
  window: number;
  options: Uint8Array;
  payload: Uint8Array;
}

/** One connection of the guest; it acknowledges at once and sends as fast as the window allows. */
export class GuestTcp {
  readonly host: GuestHost;
  readonly port: number;
  readonly remote: number;
  readonly remotePort: number;
  state: 'syn-sent' | 'syn-received' | 'open' | 'closed' = 'syn-sent';
  wasReset = false;
  peerEnded = false;
  /** Bytes received in order, and how many of them the application has read (the window shows the rest). */
  readonly chunks: Uint8Array[] = [];
  received = 0;
  read = 0;
  /** Application reads everything at once. */
  isReading = true;
  bufferSize = 256 * 1024;
  onData: (data: Uint8Array) => void = () => {};
  onChange: () => void = () => {};
  duplicates = 0;
  outOfOrder = 0;
  mss = 0;
  remoteShift = 0;
  useScale = true;
  #seq: number;
  #una: number;
  #ack = 0;
  /** Last acknowledgement sent. */
  #said = 0;
  #window = 0;
  #out: Uint8Array[] = [];
  #ended = false;
  #finSent = false;
  finAcked = false;

  constructor(host: GuestHost, port: number, remote: number, remotePort: number) {
    this.host = host;
    this.port = port;
    this.remote = remote;
    this.remotePort = remotePort;
    // Wraps around soon.
    this.#seq = 0xffff_f000;
    this.#una = this.#seq;
  }

  get unsent(): number {
    return this.#out.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  get remoteWindow(): number {
    return this.#window;
  }

  get data(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.chunks));
  }

  get text(): string {
    return Buffer.from(this.data).toString('latin1');
  }

  sendSyn(): void {
    this.#segment(SYN, undefined, this.#una);
    this.#seq = (this.#una + 1) >>> 0;
  }

  accept(syn: Received): void {
    this.state = 'syn-received';
    this.#takeSyn(syn);
    this.#segment(SYN | ACK, undefined, this.#una);
    this.#seq = (this.#una + 1) >>> 0;
  }

  #takeSyn(syn: Received): void {
    this.#ack = (syn.seq + 1) >>> 0;
    this.remoteShift = -1;
    for (let i = 0; i < syn.options.length; ) {
      const kind = syn.options[i]!;
      if (kind === 0) break;
      if (kind === 1) {
        i++;
        continue;
      }
      if (kind === 2) this.mss = syn.options[i + 2]! * 256 + syn.options[i + 3]!;
      if (kind === 3) this.remoteShift = syn.options[i + 2]!;
      i += syn.options[i + 1]!;
    }
    this.#window = syn.window;
  }

  get #freeWindow(): number {
    return Math.max(0, this.bufferSize - (this.received - this.read));
  }

  #segment(flags: number, payload?: Uint8Array, seq = this.#seq): void {
    const isSyn = (flags & SYN) !== 0;
    this.#said = this.#ack;
    const shift = isSyn || !this.useScale ? 0 : GUEST_SHIFT;
    this.host.tcpSegment(this.remote, {
      sourcePort: this.port,
      destinationPort: this.remotePort,
      seq,
      ack: flags & ACK ? this.#ack : 0,
      flags,
      window: Math.min(0xffff, this.#freeWindow >> shift),
      ...(isSyn && { options: Uint8Array.of(2, 4, 5, 0xb4, ...(this.useScale ? [1, 3, 3, GUEST_SHIFT] : [])) }),
      ...(payload && { payload }),
    });
  }

  write(data: Uint8Array | string): void {
    this.#out.push(typeof data === 'string' ? Buffer.from(data, 'latin1') : data);
    this.#push();
  }

  end(): void {
    this.#ended = true;
    this.#push();
  }

  reset(): void {
    this.#segment(RST | ACK);
    this.#close();
  }

  /** An acknowledgement without news. */
  acknowledge(): void {
    this.#segment(ACK);
  }

  /** The application reads `length` more bytes of what has come; the window is announced again. */
  consume(length: number): void {
    this.read += length;
    this.#segment(ACK);
  }

  /** Sends the same bytes again from the last acknowledged one. */
  repeat(payload: Uint8Array, back: number): void {
    this.#segment(ACK | PSH, payload, (this.#seq - back) >>> 0);
  }

  /** Sends bytes `gap` beyond the next. */
  leap(payload: Uint8Array, gap: number): void {
    this.#segment(ACK | PSH, payload, (this.#seq + gap) >>> 0);
  }

  #push(): void {
    if (this.state !== 'open') return;
    while (this.#out.length > 0) {
      const room = this.#window - ((this.#seq - this.#una) >>> 0);
      const chunk = this.#out[0]!;
      const size = Math.min(chunk.length, room, this.host.offload ? 60_000 : GUEST_MSS);
      if (size <= 0) return;
      this.#segment(ACK | (size === chunk.length ? PSH : 0), chunk.subarray(0, size));
      this.#seq = (this.#seq + size) >>> 0;
      if (size === chunk.length) this.#out.shift();
      else this.#out[0] = chunk.subarray(size);
    }
    if (this.#ended && !this.#finSent) {
      this.#finSent = true;
      this.#segment(ACK | FIN);
      this.#seq = (this.#seq + 1) >>> 0;
    }
  }

  #close(): void {
    this.state = 'closed';
    this.host.tcps.delete(this);
    this.onChange();
  }

  input(segment: Received): void {
    const { flags, seq, ack, payload } = segment;
    if (flags & RST) {
      this.wasReset = true;
      this.#close();
      return;
    }
    if (this.state === 'syn-sent') {
      if (!(flags & SYN)) return;
      this.#takeSyn(segment);
      this.#una = ack;
      this.state = 'open';
      this.#segment(ACK);
      this.onChange();
      this.#push();
      return;
    }
    if (flags & SYN) {
      if (this.state === 'syn-received') this.#segment(SYN | ACK, undefined, this.#una);
      return;
    }
    if (this.state === 'syn-received') {
      this.state = 'open';
      this.onChange();
    }
    if (((ack - this.#una) | 0) >= 0 && ((this.#seq - ack) | 0) >= 0) this.#una = ack;
    this.#window = segment.window << Math.max(0, this.remoteShift);
    if (this.#finSent && this.#una === this.#seq) this.finAcked = true;
    const offset = (seq - this.#ack) | 0;
    const length = payload.length + (flags & FIN);
    if (length > 0) {
      if (this.peerEnded && offset >= 0) throw new Error('bytes after the end');
      if (offset > 0) this.outOfOrder++;
      else if (offset < 0) this.duplicates++;
      else {
        const free = this.#freeWindow;
        const taken = payload.subarray(0, free);
        if (taken.length > 0) {
          this.chunks.push(taken);
          this.received += taken.length;
          this.#ack = (this.#ack + taken.length) >>> 0;
          if (this.isReading) this.read = this.received;
          this.onData(taken);
        }
        if (flags & FIN && taken.length === payload.length && !this.peerEnded) {
          this.#ack = (this.#ack + 1) >>> 0;
          this.peerEnded = true;
          this.onChange();
        }
      }
      const isSaid = this.#said === this.#ack && offset === 0 && this.#freeWindow > 0;
      if (this.state === 'open' && !isSaid) this.#segment(ACK);
    } else if (offset !== 0) this.#segment(ACK);
    this.#push();
    if (this.peerEnded && this.finAcked) this.#close();
  }
}

/** Resolves when `condition` holds, looking after every turn of the event loop; rejects after `ms`. */
export async function until(condition: () => boolean, ms = 5000, what = 'condition'): Promise<void> {
  const end = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`${what} not met within ${ms} ms`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
