import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HELPERS } from '../../../../src/cpu/helpers/arith.ts';
import { ModuleBuilder } from '../../../../src/wasm/module.ts';

type Helpers = Record<string, (...args: never[]) => bigint | number>;

function compile(): Helpers {
  const m = new ModuleBuilder();
  for (const helper of HELPERS) {
    const f = m.function(helper.name, helper.params, helper.results);
    helper.build(f, (name) => {
      throw new RangeError(`${helper.name} calls ${name}`);
    });
    m.export(f);
  }
  return new WebAssembly.Instance(new WebAssembly.Module(m.encode())).exports as Helpers;
}
const helpers = compile();
const call = (name: string, ...args: (bigint | number)[]): bigint | number => helpers[name]!(...(args as never[]));
const unsigned = (value: bigint | number): bigint => BigInt.asUintN(64, BigInt(value));

/** Any 64-bit value, edges and few-bit numbers more often than not. */
const word = fc.oneof(
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  fc.constantFrom(
    0n,
    1n,
    2n,
    0x7fffffffn,
    0x80000000n,
    0xffffffffn,
    1n << 32n,
    1n << 63n,
    (1n << 63n) - 1n,
    (1n << 64n) - 1n,
  ),
  fc
    .tuple(fc.bigInt({ min: 0n, max: 0xffffn }), fc.integer({ min: 0, max: 63 }))
    .map(([v, s]) => BigInt.asUintN(64, v << BigInt(s))),
);
const runs = { numRuns: 3000 };

describe('arithmetic helpers', () => {
  it('multiply to 128 bits', () => {
    fc.assert(
      fc.property(word, word, (a, b) => {
        expect(unsigned(call('multiplyHigh', a, b))).toBe((a * b) >> 64n);
        const product = BigInt.asIntN(64, a) * BigInt.asIntN(64, b);
        expect(unsigned(call('multiplyHighSigned', a, b))).toBe(BigInt.asUintN(64, product >> 64n));
        expect(call('multiplyOverflows', a, b)).toBe(product === BigInt.asIntN(64, product) ? 0 : 1);
      }),
      runs,
    );
  });

  it('divide 128 by 64 bits', () => {
    fc.assert(
      fc.property(word, word, word, (high, low, divisor) => {
        fc.pre(divisor > 0n);
        const upper = high % divisor;
        expect(unsigned(call('divide128', upper, low, divisor))).toBe(((upper << 64n) | low) / divisor);
      }),
      runs,
    );
  });

  it('compute CRC32C', () => {
    const text = new TextEncoder().encode('123456789');
    let crc = 0xffffffff;
    for (const byte of text) crc = call('crc32c', crc, BigInt(byte), 1) as number;
    expect((crc ^ 0xffffffff) >>> 0).toBe(0xe3069283);
    fc.assert(
      fc.property(fc.integer(), word, fc.constantFrom(2, 4, 8), (start, data, width) => {
        let bytewise = start;
        for (let i = 0; i < width; i++)
          bytewise = call('crc32c', bytewise, (data >> BigInt(8 * i)) & 0xffn, 1) as number;
        expect(call('crc32c', start, BigInt.asUintN(width * 8, data), width)).toBe(bytewise);
      }),
    );
  });

  it('deposit and extract bits by a mask', () => {
    fc.assert(
      fc.property(word, word, (value, mask) => {
        let deposited = 0n;
        let extracted = 0n;
        let place = 0n;
        for (let bit = 0n; bit < 64n; bit++) {
          if (((mask >> bit) & 1n) === 0n) continue;
          deposited |= ((value >> place) & 1n) << bit;
          extracted |= ((value >> bit) & 1n) << place;
          place++;
        }
        expect(unsigned(call('depositBits', value, mask))).toBe(deposited);
        expect(unsigned(call('extractBits', value, mask))).toBe(extracted);
      }),
      runs,
    );
  });
});
