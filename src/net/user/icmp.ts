import { completeChecksum, onesComplementSum } from '../offload.ts';
import { ETHERTYPE_IPV4, type Ipv4Packet, L4, PROTOCOL_ICMP, put16, putEthernet, putIpv4 } from './wire.ts';

/** ICMP (RFC 792): echo answered by the gateway, and messages about what cannot be reached. */

const ECHO_REPLY = 0;
const UNREACHABLE = 3;
const ECHO = 8;
const HEADER = 8;
const CHECKSUM_OFFSET = 2;
/** Of the packet in question a message quotes this much behind the IPv4 header. */
const QUOTED = 8;

export const Unreachable = { host: 1, port: 3, prohibited: 13 } as const;

export interface IcmpEnds {
  readonly mac: Uint8Array;
  readonly guestMac: Uint8Array;
  /** Who speaks, and to which guest. */
  readonly source: number;
  readonly guest: number;
}

/** The reply to an echo request; undefined for anything else, or a wrong checksum. */
export function echoReply(frame: Uint8Array, { l4, end }: Ipv4Packet, ends: IcmpEnds): Uint8Array | undefined {
  if (end - l4 < HEADER || frame[l4] !== ECHO || frame[l4 + 1] !== 0) return undefined;
  if (onesComplementSum(frame, l4, end) !== 0xffff) return undefined;
  const reply = icmpFrame(end - l4, ends);
  reply.set(frame.subarray(l4 + 4, end), L4 + 4);
  reply[L4] = ECHO_REPLY;
  completeChecksum(reply, L4, CHECKSUM_OFFSET);
  return reply;
}

/** "Destination unreachable" about a packet, of which `quoted` holds the IPv4 header and at least the next eight bytes. */
export function unreachable(code: number, quoted: Uint8Array, ends: IcmpEnds): Uint8Array {
  const length = Math.min(quoted.length, (quoted[0]! & 15) * 4 + QUOTED);
  const message = icmpFrame(HEADER + length, ends);
  message[L4] = UNREACHABLE;
  message[L4 + 1] = code;
  message.set(quoted.subarray(0, length), L4 + HEADER);
  completeChecksum(message, L4, CHECKSUM_OFFSET);
  return message;
}

function icmpFrame(length: number, { mac, guestMac, source, guest }: IcmpEnds): Uint8Array {
  const frame = new Uint8Array(L4 + length);
  putEthernet(frame, guestMac, mac, ETHERTYPE_IPV4);
  putIpv4(frame, PROTOCOL_ICMP, source, guest);
  put16(frame, L4 + CHECKSUM_OFFSET, 0);
  return frame;
}
