import { expect, test } from 'vitest';
import { KVM_SYSTEM_TIME_MSR, KVM_WALL_CLOCK_MSR, KvmClock } from '../../../src/devices/kvm-clock.ts';
import { GuestMemory } from '../../../src/memory/guest-memory.ts';

function bench() {
  const time = { now: 5_000, tscOffset: 0 };
  const memory = GuestMemory.allocate(0x10_0000);
  const clock = { now: () => time.now, startOfDay: 946_684_800_250, alarm: () => expect.unreachable() };
  const device = new KvmClock({ clock, memory, tsc: () => time.now + time.tscOffset });
  /** System time as a guest computes it (Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW). */
  const guestTime = (at: number): bigint => {
    const delta = BigInt(time.now + time.tscOffset) - memory.read64(at + 8);
    const shifted = delta << BigInt(memory.read8(at + 28));
    return memory.read64(at + 16) + ((shifted * BigInt(memory.read32(at + 24))) >> 32n);
  };
  return { time, memory, device, guestTime };
}

test('system time is exact, and stays so when the guest writes the counter', () => {
  const { time, memory, device, guestTime } = bench();
  expect(device.writeMsr(KVM_SYSTEM_TIME_MSR, 0x2001n)).toBe(true);
  expect(device.readMsr(KVM_SYSTEM_TIME_MSR)).toBe(0x2001n);
  const version = memory.read32(0x2000);
  expect(version % 2).toBe(0);
  expect(version).toBeGreaterThan(0);
  expect(memory.read8(0x2000 + 29)).toBe(1);
  time.now = 1_234_567_890_123;
  expect(guestTime(0x2000)).toBe(1_234_567_890_123n);
  time.tscOffset = 99;
  device.tscChanged();
  time.now += 1000;
  expect(guestTime(0x2000)).toBe(1_234_567_891_123n);
  expect(memory.read32(0x2000)).toBe(version + 2);
});

test('wall clock is the time of day at power-on', () => {
  const { memory, device } = bench();
  expect(device.writeMsr(KVM_WALL_CLOCK_MSR, 0x3000n)).toBe(true);
  expect(memory.read32(0x3000) % 2).toBe(0);
  expect([memory.read32(0x3004), memory.read32(0x3008)]).toEqual([946_684_800, 250_000_000]);
});

test('nothing is written while it is off, outside RAM, or for another register', () => {
  const { memory, device } = bench();
  for (const value of [0x2000n, 0xf_fff1n, 0x1000_0001n, 0xffff_ffff_ffff_ff01n]) {
    expect(device.writeMsr(KVM_SYSTEM_TIME_MSR, value)).toBe(true);
    expect(device.writeMsr(KVM_WALL_CLOCK_MSR, value | 0xf_ffff_0000_0000n)).toBe(true);
  }
  expect(memory.readBytes(0, 0x10_0000).every((byte) => byte === 0)).toBe(true);
  expect(device.writeMsr(0x4b56_4d02, 1n)).toBe(false);
  expect(device.readMsr(0x4b56_4d02)).toBeUndefined();
});

test('state survives saving', () => {
  const { device, memory, guestTime, time } = bench();
  device.writeMsr(KVM_SYSTEM_TIME_MSR, 0x2001n);
  const saved = structuredClone(device.save());
  device.load({ systemTime: 0n, wallClock: 0n, version: 0 });
  device.tscChanged();
  expect(memory.read32(0x2000)).toBe(2);
  device.load(saved);
  device.tscChanged();
  expect(memory.read32(0x2000)).toBe(4);
  time.now += 7;
  expect(guestTime(0x2000)).toBe(5_007n);
});
