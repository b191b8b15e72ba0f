import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NetError } from '../../../src/net/errors.ts';
import { parseNet } from '../../../src/net/options.ts';

describe('user', () => {
  test("the defaults are QEMU's addresses", () => {
    expect(parseNet('user')).toEqual({
      kind: 'user',
      config: {
        network: 0x0a000200,
        mask: 0xffffff00,
        gateway: 0x0a000202,
        dns: 0x0a000203,
        firstGuest: 0x0a00020f,
        hostname: undefined,
        restrict: false,
        hostLoopback: false,
      },
      forwards: [],
    });
  });

  test('another subnet moves the addresses along, unless they are given', () => {
    expect(parseNet('user,net=192.168.76.0/24,dns=192.168.76.9')).toMatchObject({
      config: { network: 0xc0a84c00, gateway: 0xc0a84c02, dns: 0xc0a84c09, firstGuest: 0xc0a84c0f },
    });
    expect(parseNet('user,net=10.1.0.0/255.255.0.0')).toMatchObject({ config: { mask: 0xffff0000 } });
  });

  test('forwards', () => {
    const parsed = parseNet(
      'user,mac=52:54:00:aa:bb:cc,hostfwd=tcp::8080-:80,hostfwd=udp:0.0.0.0:0-10.0.2.20:53,hostfwd=:[::1]:1-:2',
    );
    expect(parsed).toMatchObject({
      mac: Uint8Array.of(0x52, 0x54, 0, 0xaa, 0xbb, 0xcc),
      forwards: [
        { protocol: 'tcp', hostAddress: '127.0.0.1', hostPort: 8080, guestAddress: '10.0.2.15', guestPort: 80 },
        { protocol: 'udp', hostAddress: '0.0.0.0', hostPort: 0, guestAddress: '10.0.2.20', guestPort: 53 },
        { protocol: 'tcp', hostAddress: '::1', hostPort: 1, guestAddress: '10.0.2.15', guestPort: 2 },
      ],
    });
  });
});

test('stream, hub and none', () => {
  expect(parseNet('none')).toEqual({ kind: 'none' });
  expect(parseNet('hub,hubid=a')).toEqual({ kind: 'hub', id: 'a' });
  expect(parseNet('hub,transport=mmio')).toEqual({ kind: 'hub', id: '0', transport: 'mmio' });
  expect(parseNet('stream,addr.type=unix,addr.path=/tmp/a,,b,server=on')).toEqual({
    kind: 'stream',
    server: true,
    address: { type: 'unix', path: '/tmp/a,b' },
  });
  expect(parseNet('stream,addr.type=inet,addr.host=::1,addr.port=9')).toEqual({
    kind: 'stream',
    server: false,
    address: { type: 'inet', host: '::1', port: 9 },
  });
});

test.each([
  ['tap', 'no backend "tap"'],
  ['', 'no backend ""'],
  ['user,color=red', 'no option "color"'],
  ['user,transport=isa', 'transport=isa is none of transitional, legacy, modern, mmio'],
  ['user,net', 'not of the form key=value'],
  ['user,restrict=maybe', 'neither on nor off'],
  ['user,net=10.0.2.1/24', 'not the address of a subnet'],
  ['user,net=10.0.2.0/33', 'prefix from /8 to /27'],
  ['user,net=10.0.0.0/255.0.255.0', 'prefix from /8 to /27'],
  ['user,net=ten', 'not an IPv4 address'],
  ['user,host=10.0.3.2', 'not an address of the subnet'],
  ['user,dns=10.0.2.2', 'three different addresses'],
  ['user,dns=10.0.2.3,dns=10.0.2.4', 'given twice'],
  ['user,dhcpstart=10.0.2.255', 'not an address of the subnet'],
  ['user,hostname=-', 'not a host name'],
  ['user,mac=52:54:00', 'not of the form'],
  ['user,mac=53:54:00:00:00:01', 'multicast'],
  ['user,hostfwd=tcp:5555', 'not of the form tcp|udp:'],
  ['user,hostfwd=sctp::1-:2', 'not of the form tcp|udp:'],
  ['user,hostfwd=tcp::65536-:2', 'from 0 to 65535'],
  ['user,hostfwd=tcp::-:2', 'from 0 to 65535'],
  ['user,hostfwd=tcp::1-:0', 'from 1 to 65535'],
  [
    'user,hostfwd=tcp:example.org:1-:2',
    'net user: hostfwd=tcp:example.org:1-:2: example.org is not an address of this host',
  ],
  ['user,hostfwd=tcp::1-10.0.2.2:2', 'not an address a guest'],
  ['none,mtu=5', 'no option "mtu"'],
  ['stream', 'addr.type'],
  ['stream,addr.type=unix', 'needs addr.path'],
  ['stream,addr.type=inet,addr.host=a', 'needs addr.host=HOST and addr.port=PORT'],
  ['stream,addr.type=unix,addr.path=/a,addr.port=1', 'do not go with'],
])('%s: one line that says what is wrong', (text, problem) => {
  expect(() => parseNet(text)).toThrow(NetError);
  expect(() => parseNet(text)).toThrow(problem);
  expect(() => parseNet(text)).toThrow(/^[^\n]*$/);
});

test('whatever is written, it parses or is a NetError', () => {
  const word = fc.constantFrom(
    'user',
    'stream',
    'hub',
    'none',
    'net=',
    'hostfwd=',
    'tcp',
    ':',
    '-',
    ',',
    '10.0.2.0/',
    '=',
    '5',
    '[',
    ']',
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(word, fc.string({ maxLength: 5 })), { maxLength: 12 }), (parts) => {
      try {
        parseNet(parts.join(''));
      } catch (error) {
        expect(error).toBeInstanceOf(NetError);
      }
    }),
    { numRuns: 2000 },
  );
});
