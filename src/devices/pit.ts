import type { ByteWideDevice } from './bus.ts';
import type { Alarm, Clock } from './clock.ts';
import type { IrqLine } from './device.ts';
import type { Saveable } from './saveable.ts';
import { ticksAt, timeOfTick } from './ticks.ts';

/**
 * The 8254 interval timer of a PC (Intel 8254 datasheet, order 231164) and port 0x61, which gates channel 2 and shows its
 * output. Channel 0 interrupts, channel 1 is the refresh timer nobody sees, channel 2 serves calibration and the speaker.
 * A counter is never stepped: its value follows from the clock and the tick its count was loaded at.
 */
export const PIT_HZ = 1_193_182;

/** Device offsets: ports 0x40-0x43, and port 0x61. */
export const PIT_CONTROL_OFFSET = 3;
export const PIT_PORT_61_OFFSET = 4;

/** Access modes: bits 5:4 of the control word. */
const ACCESS_LOW = 1;
const ACCESS_HIGH = 2;

const PORT_61_GATE = 0x01;
const PORT_61_WRITABLE = 0x0f;
const PORT_61_REFRESH = 0x10;
const PORT_61_OUT2 = 0x20;
/** The refresh bit toggles once per refresh cycle, every 18 ticks (15 us). */
const REFRESH_TICKS = 18;

const NONE = -1;

export interface PitChannelState {
  /** 0..5. */
  mode: number;
  access: number;
  bcd: boolean;
  gate: boolean;
  /** The count written last, 1..65536. */
  reload: number;
  /** The count being counted down from. */
  count: number;
  /** Tick at which the counter held `count`; NONE while it waits for a count or a trigger. */
  start: number;
  /** Ticks counted when the gate stopped the counter (modes 0 and 4), or NONE. */
  stoppedAfter: number;
  /** Tick at which `reload` replaces `count` (modes 2 and 3, new count without control word), or NONE. */
  reloadAt: number;
  /** First byte of a two-byte count, or NONE. */
  writeLow: number;
  /** The next byte of a two-byte read is the high one. */
  readHigh: boolean;
  /** Latched by command until read, or NONE. */
  latchedCount: number;
  latchedStatus: number;
}

export interface PitState {
  channels: PitChannelState[];
  port61: number;
}

export interface PitOptions {
  readonly clock: Clock;
  /** Interrupt line 0. */
  readonly irq: IrqLine;
}

export class Pit implements ByteWideDevice, Saveable<PitState> {
  readonly name = 'pit';
  readonly byteWide = true;
  /** Interrupts raised by channel 0. */
  interrupts = 0;
  readonly #clock: Clock;
  readonly #irq: IrqLine;
  readonly #alarm: Alarm;
  #channels: PitChannelState[] = [];
  #port61 = 0;

  constructor(options: PitOptions) {
    this.#clock = options.clock;
    this.#irq = options.irq;
    this.#alarm = options.clock.alarm('pit channel 0', () => this.#risingEdge());
    this.reset();
  }

  read(offset: number, _width: 1 | 2 | 4): number {
    if (offset === PIT_PORT_61_OFFSET) return this.#readPort61();
    const channel = this.#channels[offset];
    // The control word cannot be read.
    return channel === undefined ? 0xff : this.#readCounter(channel);
  }

  write(offset: number, _width: 1 | 2 | 4, value: number): void {
    const byte = value & 0xff;
    if (offset === PIT_PORT_61_OFFSET) this.#writePort61(byte);
    else if (offset === PIT_CONTROL_OFFSET) this.#writeControl(byte);
    else this.#writeCounter(offset, byte);
  }

  /** As firmware leaves it: channel 0 in mode 3 at 18.2 Hz, channel 1 refreshing. */
  reset(): void {
    const tick = this.#tick();
    this.#channels = [
      runningChannel(3, 65536, true, tick),
      runningChannel(2, 18, true, tick),
      initialChannel(0, false),
    ];
    this.#port61 = 0;
    this.#updateInterrupt();
  }

  save(): PitState {
    return structuredClone({ channels: this.#channels, port61: this.#port61 });
  }

  load(state: PitState): void {
    const copy = structuredClone(state);
    this.#channels = copy.channels;
    this.#port61 = copy.port61;
    this.#updateInterrupt();
  }

  #tick(): number {
    return ticksAt(this.#clock.now(), PIT_HZ);
  }

  #readPort61(): number {
    const tick = this.#tick();
    let value = this.#port61;
    if ((Math.floor(tick / REFRESH_TICKS) & 1) !== 0) value |= PORT_61_REFRESH;
    if (output(this.#channels[2]!, tick)) value |= PORT_61_OUT2;
    return value;
  }

  #writePort61(byte: number): void {
    this.#port61 = byte & PORT_61_WRITABLE;
    setGate(this.#channels[2]!, (byte & PORT_61_GATE) !== 0, this.#tick());
  }

  #writeControl(byte: number): void {
    const select = byte >> 6;
    const tick = this.#tick();
    if (select === 3) {
      this.#readBack(byte, tick);
      return;
    }
    const channel = this.#channels[select]!;
    const access = (byte >> 4) & 3;
    if (access === 0) {
      latchCount(channel, tick);
      return;
    }
    const code = (byte >> 1) & 7;
    const mode = code > 5 ? code - 4 : code;
    this.#channels[select] = { ...initialChannel(mode, channel.gate), access, bcd: (byte & 1) !== 0 };
    if (select === 0) this.#updateInterrupt();
  }

  /** The read-back command latches counts and status of any channels (datasheet, "Read-Back Command"). */
  #readBack(byte: number, tick: number): void {
    for (let i = 0; i < 3; i++) {
      if ((byte & (2 << i)) === 0) continue;
      const channel = this.#channels[i]!;
      if ((byte & 0x20) === 0) latchCount(channel, tick);
      if ((byte & 0x10) === 0 && channel.latchedStatus === NONE) {
        reloadIfDue(channel, tick);
        const nullCount = channel.start === NONE || tick < channel.start || channel.reloadAt !== NONE;
        channel.latchedStatus =
          (output(channel, tick) ? 0x80 : 0) |
          (nullCount ? 0x40 : 0) |
          (channel.access << 4) |
          (channel.mode << 1) |
          (channel.bcd ? 1 : 0);
      }
    }
  }

  #readCounter(channel: PitChannelState): number {
    if (channel.latchedStatus !== NONE) {
      const status = channel.latchedStatus;
      channel.latchedStatus = NONE;
      return status;
    }
    const latched = channel.latchedCount;
    const value = latched !== NONE ? latched : encode(channel, counter(channel, this.#tick()));
    const both = channel.access !== ACCESS_LOW && channel.access !== ACCESS_HIGH;
    const high = both ? channel.readHigh : channel.access === ACCESS_HIGH;
    if (both) channel.readHigh = !high;
    if (!both || high) channel.latchedCount = NONE;
    return high ? value >> 8 : value & 0xff;
  }

  #writeCounter(index: number, byte: number): void {
    const channel = this.#channels[index];
    if (channel === undefined) return;
    let value: number;
    if (channel.access === ACCESS_LOW) value = byte;
    else if (channel.access === ACCESS_HIGH) value = byte << 8;
    else if (channel.writeLow === NONE) {
      channel.writeLow = byte;
      // The first byte of a new count stops mode 0 and takes OUT low.
      if (channel.mode === 0) {
        channel.start = NONE;
        channel.stoppedAfter = NONE;
        if (index === 0) this.#updateInterrupt();
      }
      return;
    } else {
      value = channel.writeLow | (byte << 8);
      channel.writeLow = NONE;
    }
    loadCount(channel, decode(channel, value), this.#tick());
    if (index === 0) this.#updateInterrupt();
  }

  /** OUT of channel 0 rises: the interrupt line sees an edge even where OUT was low for a single tick only. */
  #risingEdge(): void {
    this.interrupts++;
    this.#irq.set(false);
    this.#irq.set(true);
    this.#armNext(this.#tick());
  }

  #updateInterrupt(): void {
    const tick = this.#tick();
    this.#irq.set(output(this.#channels[0]!, tick));
    this.#armNext(tick);
  }

  #armNext(tick: number): void {
    const next = nextRise(this.#channels[0]!, tick);
    if (next === NONE) this.#alarm.cancel();
    else this.#alarm.set(timeOfTick(next, PIT_HZ));
  }
}

function initialChannel(mode: number, gate: boolean): PitChannelState {
  return {
    mode,
    access: 3,
    bcd: false,
    gate,
    reload: 65536,
    count: 65536,
    start: NONE,
    stoppedAfter: NONE,
    reloadAt: NONE,
    writeLow: NONE,
    readHigh: false,
    latchedCount: NONE,
    latchedStatus: NONE,
  };
}

function runningChannel(mode: number, count: number, gate: boolean, tick: number): PitChannelState {
  return { ...initialChannel(mode, gate), reload: count, count, start: tick };
}

/** A register value as a count: 0 means the largest. */
function decode(channel: PitChannelState, value: number): number {
  if (!channel.bcd) return value === 0 ? 65536 : value;
  const digits = (value >> 12) * 1000 + ((value >> 8) & 15) * 100 + ((value >> 4) & 15) * 10 + (value & 15);
  return digits === 0 ? 10_000 : digits;
}

function encode(channel: PitChannelState, count: number): number {
  if (!channel.bcd) return count & 0xffff;
  const c = count % 10_000;
  return (Math.floor(c / 1000) << 12) | ((Math.floor(c / 100) % 10) << 8) | ((Math.floor(c / 10) % 10) << 4) | (c % 10);
}

/** A count of 1 is illegal in the periodic modes; it counts as 2 here. */
function periodOf(channel: PitChannelState): number {
  return Math.max(channel.count, 2);
}

function isPeriodic(channel: PitChannelState): boolean {
  return channel.mode === 2 || channel.mode === 3;
}

/** Ticks counted since the count was loaded; negative before the tick that loads it. Only for a channel that has started. */
function elapsed(channel: PitChannelState, tick: number): number {
  return channel.stoppedAfter !== NONE ? channel.stoppedAfter : tick - channel.start;
}

function reloadIfDue(channel: PitChannelState, tick: number): void {
  if (channel.reloadAt === NONE || tick < channel.reloadAt) return;
  channel.start = channel.reloadAt;
  channel.count = channel.reload;
  channel.reloadAt = NONE;
}

/** The level of OUT at `tick` (datasheet, "Mode Definitions"). */
function output(channel: PitChannelState, tick: number): boolean {
  reloadIfDue(channel, tick);
  const { mode } = channel;
  if (channel.start === NONE || (isPeriodic(channel) && !channel.gate)) return mode !== 0;
  const e = elapsed(channel, tick);
  switch (mode) {
    case 0:
      return e >= channel.count;
    case 1:
      return e < 0 || e >= channel.count;
    case 2:
      return e < 0 || e % periodOf(channel) !== periodOf(channel) - 1;
    case 3:
      return e < 0 || e % periodOf(channel) < Math.ceil(periodOf(channel) / 2);
    default:
      return e !== channel.count;
  }
}

/** The value in the counter at `tick`. */
function counter(channel: PitChannelState, tick: number): number {
  reloadIfDue(channel, tick);
  if (channel.start === NONE) return channel.count;
  const e = Math.max(0, elapsed(channel, tick));
  if (channel.mode === 2) return periodOf(channel) - (e % periodOf(channel));
  if (channel.mode === 3) {
    // Each half counts down by two from the even part of the count.
    const period = periodOf(channel);
    const half = Math.ceil(period / 2);
    const phase = e % period;
    return period - (period & 1) - 2 * (phase < half ? phase : phase - half);
  }
  // The others run on after reaching zero.
  const modulus = channel.bcd ? 10_000 : 65_536;
  return (((channel.count - e) % modulus) + modulus) % modulus;
}

/** The first tick after `tick` at which OUT rises, or NONE. */
function nextRise(channel: PitChannelState, tick: number): number {
  reloadIfDue(channel, tick);
  if (channel.start === NONE || channel.stoppedAfter !== NONE) return NONE;
  const { start, count, mode } = channel;
  if (isPeriodic(channel)) {
    if (!channel.gate) return NONE;
    if (channel.reloadAt !== NONE) return channel.reloadAt;
    const period = periodOf(channel);
    return start + (Math.floor(Math.max(0, tick - start) / period) + 1) * period;
  }
  const rise = mode < 2 ? start + count : start + count + 1;
  return rise > tick ? rise : NONE;
}

function latchCount(channel: PitChannelState, tick: number): void {
  if (channel.latchedCount === NONE) channel.latchedCount = encode(channel, counter(channel, tick));
}

/** A new count: the next tick loads it; in a running periodic mode the end of the period does. */
function loadCount(channel: PitChannelState, count: number, tick: number): void {
  reloadIfDue(channel, tick);
  channel.reload = count;
  switch (channel.mode) {
    case 1:
    case 5:
      // These wait for a trigger by the gate.
      break;
    case 2:
    case 3:
      if (channel.start !== NONE && channel.gate) {
        channel.reloadAt =
          tick < channel.start
            ? channel.start
            : channel.start + (Math.floor((tick - channel.start) / periodOf(channel)) + 1) * periodOf(channel);
        break;
      }
      channel.count = count;
      channel.start = tick + 1;
      break;
    default:
      channel.count = count;
      channel.start = tick + 1;
      channel.stoppedAfter = channel.gate ? NONE : 0;
      break;
  }
}

function setGate(channel: PitChannelState, gate: boolean, tick: number): void {
  if (gate === channel.gate) return;
  reloadIfDue(channel, tick);
  channel.gate = gate;
  switch (channel.mode) {
    case 0:
    case 4:
      if (channel.start === NONE) break;
      if (!gate) channel.stoppedAfter = Math.max(0, tick - channel.start);
      else {
        channel.start = tick - channel.stoppedAfter;
        channel.stoppedAfter = NONE;
      }
      break;
    default:
      // A rising gate (re)starts the others from the count written last.
      if (!gate) break;
      if (isPeriodic(channel) && channel.start === NONE) break;
      channel.count = channel.reload;
      channel.reloadAt = NONE;
      channel.start = tick + 1;
      break;
  }
}
