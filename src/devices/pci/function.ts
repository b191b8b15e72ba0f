import type { Device, IrqLine } from '../device.ts';
import type { Saveable } from '../saveable.ts';
import type { MsiSink, PciAddressSpace, PciWindow } from './address-space.ts';
import { MSIX_CAPABILITY, type MsixState, MsixTable } from './msix.ts';

/** Configuration space of one PCI function (PCI 3.0, 6.1 to 6.7), header type 0. */

export const PciRegister = {
  vendor: 0x00,
  device: 0x02,
  command: 0x04,
  status: 0x06,
  revision: 0x08,
  classCode: 0x09,
  headerType: 0x0e,
  bar0: 0x10,
  subsystemVendor: 0x2c,
  subsystem: 0x2e,
  capabilities: 0x34,
  interruptLine: 0x3c,
  interruptPin: 0x3d,
} as const;

export const PciCommand = { io: 1, memory: 2, busMaster: 4, interruptDisable: 0x400 } as const;

const STATUS_INTERRUPT = 0x08;
const STATUS_CAPABILITIES = 0x10;
const BARS = 6;
const CONFIG_SIZE = 256;

export interface PciIdentity {
  vendor: number;
  device: number;
  revision: number;
  /** Base class, subclass, programming interface: 24 bits. */
  classCode: number;
  subsystemVendor?: number;
  subsystem?: number;
  /** Interrupt pin: 1 is INTA#, 0 none. */
  pin?: number;
}

export type BarKind = 'io' | 'memory';

/** A base address register; offsets seen by `target` start at the BAR's base. */
export interface Bar {
  readonly index: number;
  readonly kind: BarKind;
  /** Power of two. */
  readonly size: number;
  readonly target: Device;
}

export interface FunctionState {
  config: Uint8Array;
  intx: boolean;
  msix: MsixState | undefined;
  /** What the subclass keeps. */
  own: unknown;
}

/** A BAR's window and where it is open now. */
interface OpenWindow {
  readonly bar: Bar;
  readonly window: PciWindow;
  base: number | undefined;
}

const NO_LINE: IrqLine = { set: () => {} };

/** One function on the bus. Subclasses add BARs and capabilities in their constructor. */
export class PciFunction implements Saveable<FunctionState> {
  readonly name: string;
  readonly identity: PciIdentity;
  readonly bars: Bar[] = [];
  msix: MsixTable | undefined;

  protected readonly config = new Uint8Array(CONFIG_SIZE);
  readonly #writable = new Uint8Array(CONFIG_SIZE);
  #power = new Uint8Array(0);
  #capabilityEnd = 0x40;
  #lastCapability: number = PciRegister.capabilities;
  #msixControl = 0;
  #line: IrqLine = NO_LINE;
  #intx = false;
  #windows: OpenWindow[] = [];

  constructor(name: string, identity: PciIdentity) {
    this.name = name;
    this.identity = identity;
    this.#put16(PciRegister.vendor, identity.vendor);
    this.#put16(PciRegister.device, identity.device);
    this.config[PciRegister.revision] = identity.revision;
    for (let i = 0; i < 3; i++) this.config[PciRegister.classCode + i] = identity.classCode >> (8 * i);
    this.#put16(PciRegister.subsystemVendor, identity.subsystemVendor ?? 0);
    this.#put16(PciRegister.subsystem, identity.subsystem ?? 0);
    this.config[PciRegister.interruptPin] = identity.pin ?? 0;
    this.#writable[PciRegister.command] = PciCommand.busMaster;
    this.#writable[PciRegister.command + 1] = PciCommand.interruptDisable >> 8;
    this.#writable[PciRegister.interruptLine] = 0xff;
    // Cache line size: harmless storage that drivers set.
    this.#writable[0x0c] = 0xff;
  }

  /** Called by the bus when the function is plugged in; the configuration space as it is then is the power-on state. */
  connect(space: PciAddressSpace, line: IrqLine): void {
    this.#line = line;
    this.#power = this.config.slice();
    this.#windows = this.bars.map((bar) => {
      const buses = bar.kind === 'io' ? space.ports : space.mmio;
      return { bar, window: buses.register(bar.target, undefined, bar.size), base: undefined };
    });
  }

  addBar(bar: Bar): void {
    if (bar.index >= BARS || (bar.size & (bar.size - 1)) !== 0) throw new RangeError(`${this.name}: BAR ${bar.index}`);
    this.bars.push(bar);
    const at = PciRegister.bar0 + 4 * bar.index;
    const mask = ~(bar.size - 1);
    for (let i = 0; i < 4; i++) this.#writable[at + i] = mask >> (8 * i);
    this.config[at] = bar.kind === 'io' ? 1 : 0;
    this.#writable[PciRegister.command]! |= bar.kind === 'io' ? PciCommand.io : PciCommand.memory;
  }

  /** Appends a capability; `body` follows the two header bytes, `writable` masks its bits. Returns its offset. */
  addCapability(id: number, body: Uint8Array, writable?: Uint8Array): number {
    const at = this.#capabilityEnd;
    const length = (2 + body.length + 3) & ~3;
    if (at + length > CONFIG_SIZE) throw new RangeError(`${this.name}: capabilities exceed the configuration space`);
    this.config[this.#lastCapability] = at;
    this.config[at] = id;
    this.config.set(body, at + 2);
    if (writable !== undefined) this.#writable.set(writable, at + 2);
    this.config[PciRegister.status]! |= STATUS_CAPABILITIES;
    this.#lastCapability = at + 1;
    this.#capabilityEnd = at + length;
    return at;
  }

  /** Gives the function an MSI-X table in a BAR of its own. */
  addMsix(barIndex: number, vectors: number, deliver: MsiSink): MsixTable {
    const table = new MsixTable(`${this.name}-msix`, vectors, deliver);
    this.addBar({ index: barIndex, kind: 'memory', size: table.size, target: table });
    const body = new Uint8Array(10);
    const view = new DataView(body.buffer);
    view.setUint16(0, vectors - 1, true);
    view.setUint32(2, barIndex, true);
    view.setUint32(6, table.pendingOffset | barIndex, true);
    const at = this.addCapability(MSIX_CAPABILITY, body, Uint8Array.of(0, 0xc0));
    this.#msixControl = at + 2;
    this.msix = table;
    return table;
  }

  /** Level of the function's INTx output, before the command register's interrupt disable. */
  setIntx(level: boolean): void {
    if (level === this.#intx) return;
    this.#intx = level;
    this.#driveIntx();
  }

  /** Reads `width` bytes; bytes outside the 256 are all-ones. */
  readConfig(offset: number, width: 1 | 2 | 4): number {
    let value = 0;
    for (let i = width - 1; i >= 0; i--) value = value * 256 + (this.config[offset + i] ?? 0xff);
    return value;
  }

  writeConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    const end = Math.min(offset + width, CONFIG_SIZE);
    for (let at = offset; at < end; at++) {
      const mask = this.#writable[at]!;
      this.config[at] = (this.config[at]! & ~mask) | ((value >>> (8 * (at - offset))) & mask);
    }
    const touches = (from: number, length: number): boolean => offset < from + length && end > from;
    if (touches(PciRegister.command, 2)) this.#driveIntx();
    if (touches(PciRegister.command, 2) || touches(PciRegister.bar0, 4 * BARS)) this.#moveWindows();
    if (this.msix !== undefined && touches(this.#msixControl, 2)) this.msix.control = this.get16(this.#msixControl);
  }

  /** Base of a BAR that is decoded now; undefined if disabled, at 0 or running over the top of its space. */
  barBase({ index, kind, size }: Bar): number | undefined {
    const enable = kind === 'io' ? PciCommand.io : PciCommand.memory;
    if ((this.get16(PciRegister.command) & enable) === 0) return undefined;
    const register = this.get32(PciRegister.bar0 + 4 * index);
    const base = register - (register % size);
    // The all-ones of sizing would otherwise put a window over the top of memory for a moment.
    return base !== 0 && base + size <= (kind === 'io' ? 0xffff : 0xffff_ffff) ? base : undefined;
  }

  reset(): void {
    if (this.#power.length !== 0) this.config.set(this.#power);
    this.msix?.reset();
    this.setIntx(false);
    this.#driveIntx();
    this.#moveWindows();
  }

  save(): FunctionState {
    return { config: this.config.slice(), intx: this.#intx, msix: this.msix?.save(), own: this.saveOwn() };
  }

  /** Throws a RangeError for a state of another function. */
  load(state: FunctionState): void {
    if (state.config.length !== CONFIG_SIZE || (state.msix === undefined) !== (this.msix === undefined)) {
      throw new RangeError(`${this.name}: saved PCI state is of another function`);
    }
    for (let at = 0; at < CONFIG_SIZE; at++) {
      const mask = this.#writable[at]!;
      this.config[at] = (this.config[at]! & ~mask) | (state.config[at]! & mask);
    }
    if (state.msix !== undefined) this.msix?.load(state.msix, this.get16(this.#msixControl));
    this.#intx = state.intx;
    this.loadOwn(state.own);
    this.#driveIntx();
    this.#moveWindows();
  }

  protected get16(at: number): number {
    return this.config[at]! | (this.config[at + 1]! << 8);
  }

  protected get32(at: number): number {
    return this.get16(at) + this.get16(at + 2) * 0x1_0000;
  }

  /** State of a subclass, part of `save` and `load`. */
  protected saveOwn(): unknown {
    return undefined;
  }

  protected loadOwn(_state: unknown): void {}

  #put16(at: number, value: number): void {
    this.config[at] = value;
    this.config[at + 1] = value >> 8;
  }

  #driveIntx(): void {
    const level = this.#intx && (this.get16(PciRegister.command) & PciCommand.interruptDisable) === 0;
    const status = this.config[PciRegister.status]!;
    // The status bit shows the request even while the command register keeps it off the pin (PCI 3.0, 6.2.3).
    this.config[PciRegister.status] = this.#intx ? status | STATUS_INTERRUPT : status & ~STATUS_INTERRUPT;
    this.#line.set(level);
  }

  #moveWindows(): void {
    for (const open of this.#windows) {
      const base = this.barBase(open.bar);
      if (base === open.base) continue;
      open.base = base;
      if (base === undefined) open.window.unmap();
      else open.window.map(base);
    }
  }
}
