/** Byte order and header layouts of Ethernet II (no FCS), IPv4 (RFC 791) and UDP (RFC 768). */
import { onesComplementSum } from '../offload.ts';

export const ETHERNET_HEADER = 14;
export const IPV4_HEADER = 20;
export const UDP_HEADER = 8;
export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
/** Largest IPv4 packet on the virtual link without segmentation offload. */
export const MTU = 1500;
/** Offset of the IPv4 header in a frame, and of what follows it in the frames sent here, which have no options. */
export const IP = ETHERNET_HEADER;
export const L4 = ETHERNET_HEADER + IPV4_HEADER;
export const BROADCAST_MAC: Uint8Array = new Uint8Array(6).fill(0xff);
export const BROADCAST_IPV4 = 0xffff_ffff;

const MORE_FRAGMENTS = 0x2000;
const FRAGMENT_OFFSET = 0x1fff;
const DONT_FRAGMENT = 0x4000;
const TIME_TO_LIVE = 64;

export const get16 = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;

export const get32 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;

export function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}

export function put32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Sum of the pseudo-header over which TCP and UDP checksums run, folded to 16 bits. */
export function pseudoSum(source: number, destination: number, protocol: number, length: number): number {
  let sum = (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff) + protocol + length;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** A checked IPv4 packet in a frame: `l4` to `end` is what it carries. */
export interface Ipv4Packet {
  source: number;
  destination: number;
  protocol: number;
  l4: number;
  end: number;
}

/**
 * Reads the IPv4 header at offset 14 of `frame` into `packet`. False for anything malformed (version, header length, total length
 * beyond the frame, header checksum) and for fragments, which are not reassembled.
 */
export function parseIpv4Packet(frame: Uint8Array, packet: Ipv4Packet): boolean {
  if (frame.length < L4 || frame[IP]! >> 4 !== 4) return false;
  const l4 = IP + (frame[IP]! & 15) * 4;
  const end = IP + get16(frame, IP + 2);
  if (l4 < L4 || l4 > end || end > frame.length) return false;
  if ((get16(frame, IP + 6) & (MORE_FRAGMENTS | FRAGMENT_OFFSET)) !== 0) return false;
  if (onesComplementSum(frame, IP, l4) !== 0xffff) return false;
  packet.source = get32(frame, IP + 12);
  packet.destination = get32(frame, IP + 16);
  packet.protocol = frame[IP + 9]!;
  packet.l4 = l4;
  packet.end = end;
  return true;
}

export function putEthernet(frame: Uint8Array, destination: Uint8Array, source: Uint8Array, type: number): void {
  frame.set(destination, 0);
  frame.set(source, 6);
  put16(frame, 12, type);
}

/**
 * Writes an IPv4 header without options for the `frame.length - 34` bytes behind it. "Don't fragment" is set, so the identification
 * may be 0 (RFC 6864, 4.1), unless `fragment` gives one, with the offset in bytes.
 */
export function putIpv4(
  frame: Uint8Array,
  protocol: number,
  source: number,
  destination: number,
  fragment?: { readonly id: number; readonly offset: number; readonly more: boolean },
): void {
  frame[IP] = 0x45;
  frame[IP + 1] = 0;
  put16(frame, IP + 2, frame.length - IP);
  put16(frame, IP + 4, fragment?.id ?? 0);
  put16(frame, IP + 6, fragment ? (fragment.offset >> 3) | (fragment.more ? MORE_FRAGMENTS : 0) : DONT_FRAGMENT);
  frame[IP + 8] = TIME_TO_LIVE;
  frame[IP + 9] = protocol;
  put16(frame, IP + 10, 0);
  put32(frame, IP + 12, source);
  put32(frame, IP + 16, destination);
  put16(frame, IP + 10, ~onesComplementSum(frame, IP, L4) & 0xffff);
}
