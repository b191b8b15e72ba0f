import { get16, get32 } from '../wire.ts';

/** TCP headers (RFC 9293, 3.1) and sequence arithmetic. */

export const TCP_HEADER = 20;
export const Flag = { fin: 0x01, syn: 0x02, rst: 0x04, psh: 0x08, ack: 0x10 } as const;

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;
const OPTION_WINDOW_SCALE = 3;
/** Largest shift there is (RFC 7323, 2.3). */
const MAX_SCALE = 14;
const DEFAULT_MSS = 536;
const MIN_MSS = 64;

/** How far sequence number `a` is ahead of `b`, negative if it is behind (RFC 9293, 3.4). */
export const ahead = (a: number, b: number): number => (a - b) | 0;

/** A received segment: header fields, and where in the frame its payload is. */
export interface Segment {
  sourcePort: number;
  destinationPort: number;
  seq: number;
  ack: number;
  flags: number;
  /** As in the header, not scaled. */
  window: number;
  payload: number;
  end: number;
  /** Options of a SYN: largest segment the sender takes, and its window's shift or undefined. */
  mss: number;
  scale: number | undefined;
}

export function emptySegment(): Segment {
  return {
    sourcePort: 0,
    destinationPort: 0,
    seq: 0,
    ack: 0,
    flags: 0,
    window: 0,
    payload: 0,
    end: 0,
    mss: DEFAULT_MSS,
    scale: undefined,
  };
}

/** Reads the TCP header in [start, end) of `frame`; false if header or data offset are not inside. */
export function parseSegment(frame: Uint8Array, start: number, end: number, segment: Segment): boolean {
  if (start + TCP_HEADER > end) return false;
  const payload = start + (frame[start + 12]! >> 4) * 4;
  if (payload < start + TCP_HEADER || payload > end) return false;
  segment.sourcePort = get16(frame, start);
  segment.destinationPort = get16(frame, start + 2);
  segment.seq = get32(frame, start + 4) | 0;
  segment.ack = get32(frame, start + 8) | 0;
  segment.flags = frame[start + 13]!;
  segment.window = get16(frame, start + 14);
  segment.payload = payload;
  segment.end = end;
  if ((segment.flags & Flag.syn) !== 0) parseOptions(frame, start + TCP_HEADER, payload, segment);
  return true;
}

/** Options that do not fit end the list; unknown ones are skipped. */
function parseOptions(frame: Uint8Array, start: number, end: number, segment: Segment): void {
  segment.mss = DEFAULT_MSS;
  segment.scale = undefined;
  let at = start;
  while (at < end) {
    const kind = frame[at]!;
    if (kind === OPTION_END) return;
    if (kind === OPTION_NOP) {
      at++;
      continue;
    }
    const length = at + 1 < end ? frame[at + 1]! : 0;
    if (length < 2 || at + length > end) return;
    if (kind === OPTION_MSS && length === 4) segment.mss = Math.max(MIN_MSS, get16(frame, at + 2));
    if (kind === OPTION_WINDOW_SCALE && length === 3) segment.scale = Math.min(MAX_SCALE, frame[at + 2]!);
    at += length;
  }
}
