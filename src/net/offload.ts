import type { FrameOffload } from './backend.ts';

/** The work a card with offloads does in place of the driver: checksums and TCP segmentation, on whole frames. */

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const ETHERTYPE_VLAN = 0x8100;
const ETHERNET_HEADER = 14;
const PROTOCOL_TCP = 6;
const UDP_CHECKSUM_OFFSET = 6;
const TCP_FIN = 0x01;
const TCP_PUSH = 0x08;
const TCP_CWR = 0x80;

const u16 = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;

function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}

const u32 = (bytes: Uint8Array, at: number): number => u16(bytes, at) * 0x1_0000 + u16(bytes, at + 2);

function putU32(bytes: Uint8Array, at: number, value: number): void {
  putU16(bytes, at, value >>> 16);
  putU16(bytes, at + 2, value & 0xffff);
}

/** Ones' complement sum (RFC 1071) of bytes [start, end) added to `initial`, folded to 16 bits, not inverted. */
export function onesComplementSum(bytes: Uint8Array, start: number, end: number, initial = 0): number {
  let sum = initial;
  let at = start;
  for (; at + 1 < end; at += 2) sum += (bytes[at]! << 8) | bytes[at + 1]!;
  if (at < end) sum += bytes[at]! << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x1_0000);
  return sum;
}

/**
 * Finishes a partial checksum in place: the field at csumStart + csumOffset holds the pseudo-header's sum and takes the
 * checksum of [csumStart, end) (virtio 1.2, 5.1.6.2.1). False, touching nothing, if the field is not inside the frame.
 */
export function completeChecksum(frame: Uint8Array, csumStart: number, csumOffset: number): boolean {
  const field = csumStart + csumOffset;
  if (field + 2 > frame.length) return false;
  const checksum = ~onesComplementSum(frame, csumStart, frame.length) & 0xffff;
  // A UDP checksum of 0 would mean "none" (RFC 768).
  putU16(frame, field, checksum === 0 && csumOffset === UDP_CHECKSUM_OFFSET ? 0xffff : checksum);
  return true;
}

/** Where the headers of a TCP frame are. */
interface TcpLayout {
  readonly version: 4 | 6;
  readonly ip: number;
  readonly tcp: number;
  readonly payload: number;
}

/** Finds the headers of an unfragmented TCP frame; `transport` is where the driver says TCP starts, or -1. */
function tcpLayout(frame: Uint8Array, gso: FrameOffload['gso'], transport: number): TcpLayout | undefined {
  if (frame.length < ETHERNET_HEADER) return undefined;
  let ip = ETHERNET_HEADER;
  let type = u16(frame, 12);
  if (type === ETHERTYPE_VLAN && frame.length >= ETHERNET_HEADER + 4) {
    type = u16(frame, 16);
    ip += 4;
  }
  let tcp: number;
  const version = gso === 'tcp4' ? 4 : 6;
  if (version === 4) {
    if (type !== ETHERTYPE_IPV4 || frame.length < ip + 20 || frame[ip]! >> 4 !== 4) return undefined;
    const headerLength = (frame[ip]! & 15) * 4;
    if (headerLength < 20 || frame[ip + 9] !== PROTOCOL_TCP) return undefined;
    tcp = ip + headerLength;
  } else {
    if (type !== ETHERTYPE_IPV6 || frame.length < ip + 40 || frame[ip]! >> 4 !== 6) return undefined;
    // Extension headers: the driver knows where TCP starts.
    if (frame[ip + 6] !== PROTOCOL_TCP && transport < ip + 40) return undefined;
    tcp = frame[ip + 6] === PROTOCOL_TCP ? ip + 40 : transport;
  }
  if (frame.length < tcp + 20) return undefined;
  const tcpHeader = (frame[tcp + 12]! >> 4) * 4;
  if (tcpHeader < 20 || frame.length < tcp + tcpHeader) return undefined;
  return { version, ip, tcp, payload: tcp + tcpHeader };
}

/** Sum of the pseudo-header of a TCP segment of `length` bytes (RFC 9293, 3.1; RFC 8200, 8.1). */
function pseudoHeaderSum(frame: Uint8Array, { version, ip }: TcpLayout, length: number): number {
  const addresses = version === 4 ? ip + 12 : ip + 8;
  const size = version === 4 ? 8 : 32;
  return onesComplementSum(frame, addresses, addresses + size, PROTOCOL_TCP + length);
}

/**
 * Cuts a TCP super-frame into segments of at most `gsoSize` payload bytes, all checksums complete, and hands each to
 * `emit` (in one buffer, overwritten by the next). Returns false, having emitted nothing, for a frame that is not what
 * `gso` says.
 */
export function segmentTcp(frame: Uint8Array, offload: FrameOffload, emit: (segment: Uint8Array) => void): boolean {
  const { gso, gsoSize } = offload;
  if ((gso !== 'tcp4' && gso !== 'tcp6') || gsoSize === 0) return false;
  const layout = tcpLayout(frame, gso, offload.needsChecksum ? offload.csumStart : -1);
  if (layout === undefined) return false;
  const { version, ip, tcp, payload } = layout;
  const total = frame.length - payload;
  const buffer = new Uint8Array(payload + Math.min(gsoSize, total));
  const sequence = u32(frame, tcp + 4);
  const flags = frame[tcp + 13]!;
  let offset = 0;
  let index = 0;
  do {
    const size = Math.min(gsoSize, total - offset);
    const isLast = offset + size === total;
    const segment = buffer.subarray(0, payload + size);
    segment.set(frame.subarray(0, payload));
    segment.set(frame.subarray(payload + offset, payload + offset + size), payload);
    if (version === 4) {
      putU16(segment, ip + 2, segment.length - ip);
      putU16(segment, ip + 4, (u16(frame, ip + 4) + index) & 0xffff);
      putU16(segment, ip + 10, 0);
      putU16(segment, ip + 10, ~onesComplementSum(segment, ip, tcp) & 0xffff);
    } else {
      putU16(segment, ip + 4, segment.length - ip - 40);
    }
    putU32(segment, tcp + 4, (sequence + offset) % 0x1_0000_0000);
    let segmentFlags = flags;
    if (!isLast) segmentFlags &= ~(TCP_FIN | TCP_PUSH);
    if (index > 0) segmentFlags &= ~TCP_CWR;
    segment[tcp + 13] = segmentFlags;
    const tcpLength = segment.length - tcp;
    putU16(segment, tcp + 16, 0);
    const sum = onesComplementSum(segment, tcp, segment.length, pseudoHeaderSum(segment, layout, tcpLength));
    putU16(segment, tcp + 16, ~sum & 0xffff);
    emit(segment);
    offset += size;
    index++;
  } while (offset < total);
  return true;
}
