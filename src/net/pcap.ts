import type { FrameOffload, NetBackend } from './backend.ts';

/** Frames in the file format of libpcap, for tshark and tcpdump (draft-ietf-opsawg-pcap). */

const MAGIC_NANOSECONDS = 0xa1b2_3c4d;
const LINKTYPE_ETHERNET = 1;
const FILE_HEADER = 24;
const RECORD_HEADER = 16;
/** Super-frames of segmentation offload included. */
const SNAP_LENGTH = 262_144;

/** Takes the file's bytes in order; each array is given away. */
export type PcapSink = (bytes: Uint8Array<ArrayBuffer>) => void;

/** The header every file begins with. */
export function pcapHeader(): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(FILE_HEADER);
  const view = new DataView(header.buffer);
  view.setUint32(0, MAGIC_NANOSECONDS, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, SNAP_LENGTH, true);
  view.setUint32(20, LINKTYPE_ETHERNET, true);
  return header;
}

/** One captured frame, with its time in milliseconds since 1970. */
export function pcapRecord(frame: Uint8Array, timeMs: number): Uint8Array<ArrayBuffer> {
  const record = new Uint8Array(RECORD_HEADER + frame.length);
  const view = new DataView(record.buffer);
  const seconds = Math.floor(timeMs / 1000);
  view.setUint32(0, seconds, true);
  view.setUint32(4, Math.floor((timeMs - seconds * 1000) * 1e6), true);
  view.setUint32(8, frame.length, true);
  view.setUint32(12, frame.length, true);
  record.set(frame, RECORD_HEADER);
  return record;
}

/**
 * `backend` with every frame of both directions recorded: those from the guest as the card gives them (with offload: whole
 * super-frames, checksums unfinished), those to the guest once the card has taken them. `onClose` is awaited when it is closed.
 */
export function captured(
  backend: NetBackend,
  sink: PcapSink,
  onClose: () => Promise<void> = async () => {},
  wallClockMs: () => number = () => performance.timeOrigin + performance.now(),
): NetBackend {
  sink(pcapHeader());
  let onFrame: NetBackend['onFrame'];
  return {
    name: backend.name,
    acceptsOffload: backend.acceptsOffload === true,
    send(frame: Uint8Array, offload?: FrameOffload) {
      sink(pcapRecord(frame, wallClockMs()));
      backend.send(frame, offload);
    },
    get onFrame() {
      return onFrame;
    },
    set onFrame(handler) {
      onFrame = handler;
      backend.onFrame =
        handler &&
        ((frame, offload) => {
          const isTaken = handler(frame, offload);
          if (isTaken) sink(pcapRecord(frame, wallClockMs()));
          return isTaken;
        });
    },
    onRoom: () => backend.onRoom?.(),
    async close() {
      await backend.close();
      await onClose();
    },
  };
}
