import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GuestMemory } from '../../../src/memory/guest-memory.ts';

const MIB = 0x10_0000;
const GIB = 0x4000_0000;

/** RAM larger than the test host needs to touch: wasm memories are committed lazily. */
const large = GuestMemory.allocate(4 * GIB);
const small = GuestMemory.allocate(16 * MIB);

describe('GuestMemory', () => {
  it('maps RAM below 3 GiB one to one and the rest from 4 GiB', () => {
    expect(large.lowSize).toBe(3 * GIB);
    expect(large.highSize).toBe(GIB);
    expect(large.toOffset(0, 1)).toBe(0);
    expect(large.toOffset(3 * GIB - 1, 1)).toBe(3 * GIB - 1);
    expect(large.toOffset(3 * GIB, 1)).toBe(-1);
    expect(large.toOffset(4 * GIB, GIB)).toBe(3 * GIB);
    expect(large.toOffset(5 * GIB, 1)).toBe(-1);
    expect(small.toOffset(4 * GIB, 1)).toBe(-1);
  });

  it('refuses ranges that cross the end of low RAM, though their offsets would be adjacent', () => {
    expect(large.contains(3 * GIB - 4, 8)).toBe(false);
    expect(large.view(3 * GIB - 4, 8)).toBeUndefined();
  });

  it('keeps bytes written above 4 GiB apart from those below', () => {
    large.write32(4 * GIB, 0x1234_5678);
    expect(large.read32(4 * GIB)).toBe(0x1234_5678);
    expect(large.read32(0)).toBe(0);
    large.write64(5 * GIB - 8, 0xfedc_ba98_7654_3210n);
    expect(large.read64(5 * GIB - 8)).toBe(0xfedc_ba98_7654_3210n);
    expect(large.read8(5 * GIB - 8)).toBe(0x10);
    expect(large.read16(5 * GIB - 2)).toBe(0xfedc);
  });

  it('never says yes to a range with a byte outside RAM', () => {
    const edge = fc.constantFrom(0, 16 * MIB, 3 * GIB, 4 * GIB, 5 * GIB, 2 ** 53 - 1);
    const address = fc.tuple(edge, fc.integer({ min: -70, max: 70 })).map(([base, delta]) => base + delta);
    fc.assert(
      fc.property(address, fc.integer({ min: 0, max: 64 }), fc.constantFrom(large, small), (start, length, memory) => {
        const inRam = (byte: number) =>
          (byte >= 0 && byte < memory.lowSize) || (byte >= 4 * GIB && byte < 4 * GIB + memory.highSize);
        const offset = memory.toOffset(start, length);
        if (offset >= 0 && length > 0) {
          expect(inRam(start) && inRam(start + length - 1)).toBe(true);
          expect(offset + length).toBeLessThanOrEqual(memory.size);
        }
      }),
    );
    for (const odd of [Number.NaN, -1, Number.POSITIVE_INFINITY]) expect(small.contains(odd, 4)).toBe(false);
    expect(small.contains(0, Number.NaN)).toBe(false);
    expect(small.contains(0, -1)).toBe(false);
  });

  it('tells of every change a bus master is about to make, by RAM offset, but not of reads', () => {
    const memory = GuestMemory.allocate(16 * MIB);
    const told: [number, number][] = [];
    memory.onDmaWrite = (offset, length) => told.push([offset, length]);
    memory.view(0x1000, 16);
    memory.read32(0x1000);
    expect(told).toEqual([]);
    memory.writable(0x1000, 16)!.fill(1);
    memory.write16(0x2000, 1);
    memory.copyIn(0x3000, new Uint8Array(3));
    memory.fill(0x4000, 5, 9);
    expect(told).toEqual([
      [0x1000, 16],
      [0x2000, 2],
      [0x3000, 3],
      [0x4000, 5],
    ]);
    expect(memory.writable(16 * MIB, 1)).toBeUndefined();
    expect(memory.writable(0, 0)).toHaveLength(0);
    expect(told).toHaveLength(4);
    expect([...memory.readBytes(0x4000, 5)]).toEqual([9, 9, 9, 9, 9]);
  });

  it('lets views change guest RAM and copies not', () => {
    const memory = GuestMemory.allocate(16 * MIB);
    memory.view(0x100, 1)![0] = 7;
    expect(memory.read8(0x100)).toBe(7);
    memory.readBytes(0x100, 1)[0] = 9;
    expect(memory.read8(0x100)).toBe(7);
  });

  it('throws on typed access outside RAM and on a memory that is too small', () => {
    expect(() => small.read32(16 * MIB - 2)).toThrow(RangeError);
    expect(() => small.copyIn(16 * MIB - 1, new Uint8Array(2))).toThrow(RangeError);
    expect(() => new GuestMemory(new WebAssembly.Memory({ initial: 1 }), 0x2_0000)).toThrow(RangeError);
  });
});
