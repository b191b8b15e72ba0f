import { expect, test } from 'vitest';
import { parseCpu } from '../../../src/cpu/models.ts';
import { InstructionClock } from '../../../src/devices/clock.ts';
import * as layout from '../../../src/layout.ts';
import { Board } from '../../../src/machine.ts';
import { GuestMemory } from '../../../src/memory/guest-memory.ts';

const HPET = { configuration: 0x10, counter: 0xf0, timer0: 0x100, comparator0: 0x108 } as const;
const HPET_ENABLE = 1;
const HPET_LEGACY = 2;
/** Tn_INT_ENB_CNF, and Tn_32MODE_CNF: the comparator's high half starts as all ones. */
const HPET_TIMER_INTERRUPT = 0x104;

function build() {
  let now = 0;
  const clock = new InstructionClock(() => now);
  const board = new Board({
    memory: GuestMemory.allocate(16 << 20),
    clock,
    features: parseCpu('x86-64-v2'),
    virtio: [],
    random: () => 0n,
    onSerial: () => {},
    onDebugConsole: () => {},
    onPowerOff: () => {},
    onReset: () => {},
    debugExit: undefined,
    engine: 'interpreter',
  });
  const { ports, mmio } = board;
  return {
    board,
    outb: (port: number, value: number) => ports.write(port, 1, value),
    hpet: (offset: number, value: number) => mmio.write(layout.HPET_BASE + offset, 4, value),
    pass: (ns: number) => {
      now += ns;
      clock.fire();
    },
    /** Is interrupt line 0 requested at the master PIC? (8259A: OCW3 0x0a reads IRR next.) */
    line0: () => {
      ports.write(layout.PIC_MASTER_PORT, 1, 0x0a);
      return (ports.read(layout.PIC_MASTER_PORT, 1) & 1) !== 0;
    },
  };
}

test('while the HPET replaces legacy interrupts, the PIT does not reach line 0, and the HPET does', () => {
  const { outb, hpet, pass, line0 } = build();
  // edge-triggered PIC, line 0 open, PIT: one-shot (mode 0) of 1000 ticks, 838 us
  for (const [offset, value] of [
    [0, 0x11],
    [1, 0x20],
    [1, 4],
    [1, 1],
    [1, 0xfe],
  ] as const) {
    outb(layout.PIC_MASTER_PORT + offset, value);
  }
  const startPit = (): void => {
    outb(layout.PIT_PORT + 3, 0x30);
    outb(layout.PIT_PORT, 1000 & 0xff);
    outb(layout.PIT_PORT, 1000 >> 8);
  };
  startPit();
  hpet(HPET.configuration, HPET_ENABLE | HPET_LEGACY);
  pass(2_000_000);
  expect(line0()).toBe(false);
  // 200,000 ticks of 10 ns have passed; the comparator matches 1 ms later
  hpet(HPET.timer0, HPET_TIMER_INTERRUPT);
  hpet(HPET.comparator0, 300_000);
  pass(900_000);
  expect(line0()).toBe(false);
  pass(200_000);
  expect(line0()).toBe(true);
});

test('without the HPET the PIT has line 0', () => {
  const { outb, pass, line0 } = build();
  outb(layout.PIT_PORT + 3, 0x30);
  outb(layout.PIT_PORT, 1000 & 0xff);
  outb(layout.PIT_PORT, 1000 >> 8);
  pass(2_000_000);
  expect(line0()).toBe(true);
});
