import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { FrameOffload } from '../../../src/net/backend.ts';
import { completeChecksum, onesComplementSum, segmentTcp } from '../../../src/net/offload.ts';

const bytes = (min: number, max: number) => fc.uint8Array({ minLength: min, maxLength: max });

/** RFC 1071 by big integers: the sum of all 16-bit words modulo 2^16 - 1. */
function referenceSum(data: Uint8Array): bigint {
  let sum = 0n;
  for (let i = 0; i < data.length; i += 2) sum += BigInt((data[i]! << 8) | (data[i + 1] ?? 0));
  return sum % 0xffffn;
}

interface TcpFrame {
  frame: Uint8Array;
  ip: number;
  tcp: number;
  payload: number;
}

function buildTcp(version: 4 | 6, vlan: boolean, ipOptions: number, tcpOptions: number, data: Uint8Array): TcpFrame {
  const ip = vlan ? 18 : 14;
  const tcp = ip + (version === 4 ? 20 + 4 * ipOptions : 40);
  const payload = tcp + 20 + 4 * tcpOptions;
  const frame = Uint8Array.from({ length: payload }, (_, i) => (i * 37) & 0xff);
  const view = new DataView(frame.buffer);
  if (vlan) view.setUint16(12, 0x8100);
  view.setUint16(ip - 2, version === 4 ? 0x0800 : 0x86dd);
  if (version === 4) {
    frame[ip] = 0x45 + ipOptions;
    frame[ip + 9] = 6;
  } else {
    frame[ip] = 0x60;
    frame[ip + 6] = 6;
  }
  frame[tcp + 12] = (5 + tcpOptions) << 4;
  frame[tcp + 13] = 0x99; // CWR, ACK, PSH, FIN
  view.setUint32(tcp + 4, 0xffff_ff00);
  const whole = new Uint8Array(payload + data.length);
  whole.set(frame);
  whole.set(data, payload);
  return { frame: whole, ip, tcp, payload };
}

const gsoOf = (version: 4 | 6, gsoSize: number): FrameOffload => ({
  needsChecksum: false,
  csumStart: 0,
  csumOffset: 0,
  gso: version === 4 ? 'tcp4' : 'tcp6',
  gsoSize,
});

describe('checksums', () => {
  test('the sum agrees with arithmetic modulo 2^16 - 1', () => {
    fc.assert(
      fc.property(bytes(0, 300), (data) => {
        expect(BigInt(onesComplementSum(data, 0, data.length)) % 0xffffn).toBe(referenceSum(data));
      }),
    );
    const long = new Uint8Array(65562).fill(0xff);
    expect(onesComplementSum(long, 0, long.length)).toBe(0xffff);
  });

  test('RFC 1071, section 3: the worked example', () => {
    expect(onesComplementSum(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7), 0, 8)).toBe(0xddf2);
  });

  test('a completed checksum verifies, and only its field changes; outside the frame nothing does', () => {
    fc.assert(
      fc.property(bytes(0, 200), fc.nat(220), fc.nat(40), (data, start, offset) => {
        const frame = data.slice();
        const field = start + offset;
        const done = completeChecksum(frame, start, offset);
        expect(done).toBe(field + 2 <= data.length);
        const expected = data.slice();
        if (done) expected.set(frame.subarray(field, field + 2), field);
        expect(frame).toEqual(expected);
        if (!done || offset % 2 !== 0) return;
        const seed = (data[field]! << 8) | data[field + 1]!;
        expect(onesComplementSum(frame, start, frame.length, seed) % 0xffff).toBe(0);
      }),
    );
  });

  test('a UDP checksum of 0 is sent as all ones', () => {
    const frame = new Uint8Array(8);
    frame[0] = 0xff;
    frame[1] = 0xff;
    expect(completeChecksum(frame, 0, 6)).toBe(true);
    expect([frame[6], frame[7]]).toEqual([0xff, 0xff]);
    expect(completeChecksum(frame.fill(0).fill(0xff, 0, 2), 0, 4)).toBe(true);
    expect([frame[4], frame[5]]).toEqual([0, 0]);
  });
});

describe('segmentation', () => {
  test('segments carry the same bytes, at most gsoSize each, with headers and checksums that verify', () => {
    fc.assert(
      fc.property(
        fc.constantFrom<4 | 6>(4, 6),
        fc.boolean(),
        fc.nat(10),
        fc.nat(10),
        bytes(0, 4000),
        fc.integer({ min: 1, max: 1500 }),
        (version, vlan, ipOptions, tcpOptions, data, gsoSize) => {
          const { frame, ip, tcp, payload } = buildTcp(version, vlan, ipOptions, tcpOptions, data);
          const before = frame.slice();
          const segments: Uint8Array[] = [];
          expect(segmentTcp(frame, gsoOf(version, gsoSize), (segment) => segments.push(segment.slice()))).toBe(true);
          expect(frame).toEqual(before);
          expect(segments).toHaveLength(Math.max(1, Math.ceil(data.length / gsoSize)));
          const id = (frame[ip + 4]! << 8) | frame[ip + 5]!;
          let position = 0;
          for (const [i, segment] of segments.entries()) {
            const view = new DataView(segment.buffer);
            const size = segment.length - payload;
            const isLast = i === segments.length - 1;
            expect(size).toBe(isLast ? data.length - position : gsoSize);
            expect(segment.subarray(payload)).toEqual(data.subarray(position, position + size));
            expect(view.getUint32(tcp + 4)).toBe((0xffff_ff00 + position) >>> 0);
            expect(segment[tcp + 13]).toBe(0x10 | (i === 0 ? 0x80 : 0) | (isLast ? 0x09 : 0));
            if (version === 4) {
              expect(view.getUint16(ip + 2)).toBe(segment.length - ip);
              expect(view.getUint16(ip + 4)).toBe((id + i) & 0xffff);
              expect(onesComplementSum(segment, ip, tcp)).toBe(0xffff);
            } else {
              expect(view.getUint16(ip + 4)).toBe(segment.length - ip - 40);
            }
            const pseudo = new Uint8Array(version === 4 ? 12 : 40);
            const addresses = version === 4 ? ip + 12 : ip + 8;
            pseudo.set(segment.subarray(addresses, addresses + (version === 4 ? 8 : 32)));
            pseudo[pseudo.length - 1] = (segment.length - tcp) & 0xff;
            pseudo[pseudo.length - 2] = (segment.length - tcp) >> 8;
            pseudo[version === 4 ? 9 : 39 - 0] = version === 4 ? 6 : pseudo[39]!;
            const protocol = version === 6 ? 6 : 0;
            const seed = onesComplementSum(pseudo, 0, pseudo.length, protocol);
            expect(onesComplementSum(segment, tcp, segment.length, seed)).toBe(0xffff);
            position += size;
          }
          expect(position).toBe(data.length);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('any bytes: no exception, and nothing emitted when refused', () => {
    fc.assert(
      fc.property(
        bytes(0, 120),
        fc.nat(65535),
        fc.nat(70),
        fc.constantFrom('tcp4', 'tcp6', 'udp'),
        (data, start, size, gso) => {
          const frame = data.slice();
          if (frame.length > 14) frame.set(gso === 'tcp6' ? [0x86, 0xdd, 0x60] : [0x08, 0x00, 0x45], 12);
          let emitted = 0;
          const offload = { needsChecksum: true, csumStart: start, csumOffset: 16, gso, gsoSize: size } as FrameOffload;
          const done = segmentTcp(frame, offload, () => emitted++);
          expect(emitted > 0).toBe(done);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test.each([
    ['segments of nothing', 0, (_: TcpFrame) => {}],
    ['a protocol that is not TCP', 100, ({ frame, ip }: TcpFrame) => frame.set([17], ip + 9)],
    ['an IP header shorter than 20 bytes', 100, ({ frame, ip }: TcpFrame) => frame.set([0x44], ip)],
    ['a TCP header shorter than 20 bytes', 100, ({ frame, tcp }: TcpFrame) => frame.set([0x40], tcp + 12)],
    ['another ethertype', 100, ({ frame, ip }: TcpFrame) => frame.set([0x86, 0xdd], ip - 2)],
  ])('refuses %s', (_name, gsoSize, damage) => {
    const built = buildTcp(4, false, 0, 0, new Uint8Array(500));
    damage(built);
    expect(segmentTcp(built.frame, gsoOf(4, gsoSize), () => {})).toBe(false);
  });
});
