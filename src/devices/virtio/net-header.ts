import type { FrameOffload } from '../../net/backend.ts';

/** struct virtio_net_hdr (virtio 1.2, 5.1.6). */

/** Bytes of the header: without and with num_buffers. */
export const LEGACY_HEADER = 10;
export const HEADER = 12;

export const NUM_BUFFERS = 10;

const FLAG_NEEDS_CSUM = 1;
const GSO_ECN = 0x80;
const GSO_NUMBERS = { none: 0, tcp4: 1, udp: 3, tcp6: 4 } as const;

/** Header fields as the driver wrote them, unchecked. */
export interface NetHeader {
  needsChecksum: boolean;
  gsoType: number;
  gsoSize: number;
  csumStart: number;
  csumOffset: number;
}

const u16 = (bytes: Uint8Array, at: number): number => bytes[at]! | (bytes[at + 1]! << 8);

export function parseHeader(bytes: Uint8Array, into: NetHeader): void {
  into.needsChecksum = (bytes[0]! & FLAG_NEEDS_CSUM) !== 0;
  into.gsoType = bytes[1]! & ~GSO_ECN;
  into.gsoSize = u16(bytes, 4);
  into.csumStart = u16(bytes, 6);
  into.csumOffset = u16(bytes, 8);
}

/** Name of a segmentation type a driver may send; undefined for none and for those not known here. */
export function tcpGso(gsoType: number): 'tcp4' | 'tcp6' | undefined {
  return gsoType === GSO_NUMBERS.tcp4 ? 'tcp4' : gsoType === GSO_NUMBERS.tcp6 ? 'tcp6' : undefined;
}

/** Writes the header of a frame for the guest; num_buffers is 1 until the device knows better. */
export function formatHeader(into: Uint8Array, offload: FrameOffload | undefined): void {
  into.fill(0);
  into[NUM_BUFFERS] = 1;
  if (offload === undefined) return;
  if (offload.needsChecksum) {
    into[0] = FLAG_NEEDS_CSUM;
    into[6] = offload.csumStart;
    into[7] = offload.csumStart >> 8;
    into[8] = offload.csumOffset;
    into[9] = offload.csumOffset >> 8;
  }
  if (offload.gso !== 'none') {
    into[1] = GSO_NUMBERS[offload.gso];
    into[4] = offload.gsoSize;
    into[5] = offload.gsoSize >> 8;
  }
}
