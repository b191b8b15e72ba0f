import type { Device } from './device.ts';

/**
 * A device that sits on an 8-bit bus (the ISA devices): the bus splits wider accesses into bytes at ascending offsets, as a
 * chipset does for an 8-bit target.
 */
export interface ByteWideDevice extends Device {
  readonly byteWide: true;
}

/** Where a device answers. It can move at run time (PCI BARs), be switched off, and counts its accesses. */
export interface Mapping {
  readonly device: Device;
  readonly length: number;
  /** First port or guest-physical address, or undefined while switched off. */
  readonly base: number | undefined;
  /** Accesses since power-on. */
  readonly reads: number;
  readonly writes: number;
  /** Moves the mapping there (and switches it on). A base outside the bus's address space switches it off. */
  map(base: number): void;
  /** Switches the mapping off: its addresses read as all ones, unless another mapping lies below. */
  unmap(): void;
}

const PORTS = 0x10000;
const MAX_PORT_MAPPINGS = 255;

/** Cuts a value to an access of `width` bytes, unsigned. */
export function toWidth(value: number, width: 1 | 2 | 4): number {
  return width === 4 ? value >>> 0 : width === 2 ? value & 0xffff : value & 0xff;
}

function allOnes(width: 1 | 2 | 4): number {
  return width === 4 ? 0xffffffff : width === 2 ? 0xffff : 0xff;
}

class BusMapping implements Mapping {
  readonly device: Device;
  readonly length: number;
  readonly byteWide: boolean;
  /** Added to (address - base) to give the offset the device sees. */
  readonly firstOffset: number;
  reads = 0;
  writes = 0;
  start = -1;
  /** One past the last address; -1 while switched off, so that no access fits. */
  end = -1;
  readonly #limit: number;
  readonly #changed: () => void;

  constructor(device: Device, length: number, firstOffset: number, limit: number, changed: () => void) {
    this.device = device;
    this.length = length;
    this.firstOffset = firstOffset;
    this.byteWide = (device as Partial<ByteWideDevice>).byteWide === true;
    this.#limit = limit;
    this.#changed = changed;
  }

  get base(): number | undefined {
    return this.start < 0 ? undefined : this.start;
  }

  map(base: number): void {
    const fits = Number.isSafeInteger(base) && base >= 0 && base + this.length <= this.#limit;
    this.start = fits ? base : -1;
    this.end = fits ? base + this.length : -1;
    this.#changed();
  }

  unmap(): void {
    this.start = -1;
    this.end = -1;
    this.#changed();
  }

  read(address: number, width: 1 | 2 | 4): number {
    this.reads++;
    const offset = address - this.start + this.firstOffset;
    if (width === 1 || !this.byteWide) return toWidth(this.device.read(offset, width), width);
    let value = 0;
    for (let i = 0; i < width; i++) value |= (this.device.read(offset + i, 1) & 0xff) << (8 * i);
    return value >>> 0;
  }

  write(address: number, width: 1 | 2 | 4, value: number): void {
    this.writes++;
    const offset = address - this.start + this.firstOffset;
    if (width === 1 || !this.byteWide) {
      this.device.write(offset, width, toWidth(value, width));
      return;
    }
    for (let i = 0; i < width; i++) this.device.write(offset + i, 1, (value >>> (8 * i)) & 0xff);
  }
}

/**
 * The 64 KiB I/O port space. Unassigned ports read as all ones and swallow writes. Where mappings overlap, the one
 * registered first wins, byte by byte for single-byte accesses: so 0xCF9 can lie inside the PCI address register.
 */
export class PortBus {
  readonly #owner = new Uint8Array(PORTS);
  readonly #mappings: BusMapping[] = [];
  /** Accesses by port since power-on, assigned or not; index = port. */
  readonly reads = new Uint32Array(PORTS);
  readonly writes = new Uint32Array(PORTS);

  constructor() {
    this.#mappings.push(new BusMapping(OPEN_BUS, 0, 0, PORTS, () => {}));
  }

  /**
   * Puts a device at [base, base + length) (base undefined: not yet). The device sees offset `firstOffset` at the first
   * port, so one device can have several port ranges.
   */
  register(device: Device, base: number | undefined, length: number, firstOffset = 0): Mapping {
    if (this.#mappings.length > MAX_PORT_MAPPINGS) throw new RangeError('more than 255 port mappings in one machine');
    const mapping = new BusMapping(device, length, firstOffset, PORTS, () => this.#rebuild());
    this.#mappings.push(mapping);
    if (base !== undefined) mapping.map(base);
    return mapping;
  }

  get mappings(): readonly Mapping[] {
    return this.#mappings.slice(1);
  }

  read(port: number, width: 1 | 2 | 4): number {
    const p = port & 0xffff;
    this.reads[p]!++;
    const mapping = this.#mappings[this.#owner[p]!]!;
    if (p + width <= mapping.end) return mapping.read(p, width);
    return this.#readBytes(p, width);
  }

  write(port: number, width: 1 | 2 | 4, value: number): void {
    const p = port & 0xffff;
    this.writes[p]!++;
    const mapping = this.#mappings[this.#owner[p]!]!;
    if (p + width <= mapping.end) {
      mapping.write(p, width, value);
      return;
    }
    for (let i = 0; i < width && p + i < PORTS; i++) {
      const owner = this.#owner[p + i]!;
      if (owner !== 0) this.#mappings[owner]!.write(p + i, 1, (value >>> (8 * i)) & 0xff);
    }
  }

  /** An access that no mapping holds whole: byte by byte, all ones where nothing answers. */
  #readBytes(port: number, width: 1 | 2 | 4): number {
    let value = 0;
    for (let i = 0; i < width; i++) {
      const owner = port + i < PORTS ? this.#owner[port + i]! : 0;
      value |= (owner === 0 ? 0xff : this.#mappings[owner]!.read(port + i, 1)) << (8 * i);
    }
    return value >>> 0;
  }

  #rebuild(): void {
    this.#owner.fill(0);
    for (let id = this.#mappings.length - 1; id > 0; id--) {
      const mapping = this.#mappings[id]!;
      if (mapping.start >= 0) this.#owner.fill(id, mapping.start, mapping.end);
    }
  }
}

/** Stands for the ports nobody owns; never called, since its mapping fits no access. */
const OPEN_BUS: Device = {
  name: 'open bus',
  read: (_offset, width) => allOnes(width),
  write: () => {},
  reset: () => {},
};

const PHYSICAL_LIMIT = 2 ** 52;

/** A piece of the address space that belongs to one mapping. */
interface Segment {
  readonly start: number;
  readonly end: number;
  readonly mapping: BusMapping;
}

/**
 * Memory-mapped devices by guest-physical address (below 2^52). Unassigned addresses read as all ones and swallow writes.
 * Where mappings overlap, the one registered first wins, so that a moved BAR cannot cover an interrupt controller.
 */
export class MmioBus {
  readonly #mappings: BusMapping[] = [];
  #segments: Segment[] = [];
  #last: Segment | undefined;
  /** Accesses that found no device. */
  unassignedReads = 0;
  unassignedWrites = 0;
  /** Upper half of the value returned by the latest `read64`. */
  high = 0;

  /** Puts a device at [base, base + length) (base undefined: not yet). The device sees `firstOffset` at the first byte. */
  register(device: Device, base: number | undefined, length: number, firstOffset = 0): Mapping {
    const mapping = new BusMapping(device, length, firstOffset, PHYSICAL_LIMIT, () => this.#rebuild());
    this.#mappings.push(mapping);
    if (base !== undefined) mapping.map(base);
    return mapping;
  }

  get mappings(): readonly Mapping[] {
    return this.#mappings;
  }

  read(address: number, width: 1 | 2 | 4): number {
    const segment = this.#find(address);
    if (segment !== undefined && address + width <= segment.end) return segment.mapping.read(address, width);
    if (segment === undefined && this.#find(address + width - 1) === undefined) {
      this.unassignedReads++;
      return allOnes(width);
    }
    let value = 0;
    for (let i = 0; i < width; i++) {
      value |= (this.#find(address + i)?.mapping.read(address + i, 1) ?? 0xff) << (8 * i);
    }
    return value >>> 0;
  }

  write(address: number, width: 1 | 2 | 4, value: number): void {
    const segment = this.#find(address);
    if (segment !== undefined && address + width <= segment.end) {
      segment.mapping.write(address, width, value);
      return;
    }
    if (segment === undefined && this.#find(address + width - 1) === undefined) {
      this.unassignedWrites++;
      return;
    }
    for (let i = 0; i < width; i++) {
      this.#find(address + i)?.mapping.write(address + i, 1, (value >>> (8 * i)) & 0xff);
    }
  }

  /** An 8-byte read as two 4-byte reads, low first: returns the low half and leaves the high half in `high`. */
  read64(address: number): number {
    const low = this.read(address, 4);
    this.high = this.read(address + 4, 4);
    return low;
  }

  /** An 8-byte write as two 4-byte writes, low first. */
  write64(address: number, low: number, high: number): void {
    this.write(address, 4, low);
    this.write(address + 4, 4, high);
  }

  #find(address: number): Segment | undefined {
    const last = this.#last;
    if (last !== undefined && address >= last.start && address < last.end) return last;
    let low = 0;
    let high = this.#segments.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const segment = this.#segments[middle]!;
      if (address < segment.start) high = middle - 1;
      else if (address >= segment.end) low = middle + 1;
      else {
        this.#last = segment;
        return segment;
      }
    }
    return undefined;
  }

  /** Cuts the overlapping mappings into disjoint segments sorted by address. */
  #rebuild(): void {
    const mapped = this.#mappings.filter((m) => m.start >= 0);
    const edges = [...new Set(mapped.flatMap((m) => [m.start, m.end]))].sort((a, b) => a - b);
    const segments: Segment[] = [];
    for (let i = 0; i + 1 < edges.length; i++) {
      const start = edges[i]!;
      const end = edges[i + 1]!;
      const mapping = mapped.find((m) => m.start <= start && m.end >= end);
      if (mapping === undefined) continue;
      const previous = segments.at(-1);
      if (previous !== undefined && previous.mapping === mapping && previous.end === start) {
        segments[segments.length - 1] = { start: previous.start, end, mapping };
      } else {
        segments.push({ start, end, mapping });
      }
    }
    this.#segments = segments;
    this.#last = undefined;
  }
}
