import { ApicBus } from './apic-bus.ts';
import type { Clock } from './clock.ts';
import type { IrqLine } from './device.ts';
import { IoApic, type IoApicState } from './ioapic.ts';
import { LocalApic, type LocalApicState } from './lapic.ts';
import { Pic, type PicState } from './pic.ts';
import type { Saveable } from './saveable.ts';

/** Interrupt lines: 0..15 reach the PIC and the IOAPIC, 16..23 the IOAPIC alone. */
const LINES = 24;
const ISA_LINES = 16;
const CASCADE_LINE = 2;

export interface InterruptsState {
  pic: PicState;
  ioApic: IoApicState;
  localApics: LocalApicState[];
}

export interface InterruptsOptions {
  readonly clock: Clock;
  /** Processors, each with a local APIC whose ID is its number; the first boots (default 1). */
  readonly processors?: number;
  readonly ioApicId?: number;
  readonly x2apic?: boolean;
  readonly physicalAddressBits?: number;
}

/**
 * The interrupt controllers of the machine and the wires between them, as on every PC: INTR of the PIC goes to LINT0 of the
 * bootstrap processor and to IOAPIC pin 0, ISA line 0 (the timer) to IOAPIC pin 2, every other line n to pin n.
 */
export class Interrupts implements Saveable<InterruptsState> {
  readonly bus = new ApicBus();
  readonly pic = new Pic();
  readonly ioApic: IoApic;
  readonly localApics: readonly LocalApic[];
  /** How many sources assert each input now: a line that several share is their OR. */
  readonly #picSources = new Uint16Array(ISA_LINES);
  readonly #pinSources = new Uint16Array(LINES);

  constructor(options: InterruptsOptions) {
    const { clock, processors = 1, ioApicId, ...apicOptions } = options;
    this.ioApic = new IoApic(this.bus, ioApicId);
    this.localApics = Array.from(
      { length: processors },
      (_, id) =>
        new LocalApic({
          ...apicOptions,
          id,
          bootstrap: id === 0,
          bus: this.bus,
          clock,
          acknowledgeExternal: () => this.pic.acknowledge(),
        }),
    );
    this.bus.onEndOfInterrupt = (vector) => this.ioApic.endOfInterrupt(vector);
    this.pic.onOutput = (level) => {
      this.localApics[0]?.setLint(0, level);
      this.ioApic.setPin(0, level);
    };
  }

  /**
   * A source on line 0..23 (not 2, which is the cascade): each call gives one more, for a line may be shared. Throws
   * RangeError for a line that does not exist, while the machine is built.
   */
  line(line: number): IrqLine {
    if (!(line >= 0 && line < LINES) || line === CASCADE_LINE)
      throw new RangeError(`there is no interrupt line ${line}`);
    return this.#source(line < ISA_LINES ? line : -1, line === 0 ? 2 : line);
  }

  /** A source on IOAPIC pin 0..23 that the PIC does not see (HPET timers choose their pin). */
  pin(pin: number): IrqLine {
    if (!(pin >= 0 && pin < LINES)) throw new RangeError(`there is no IOAPIC pin ${pin}`);
    return this.#source(-1, pin);
  }

  /** A message-signalled interrupt: a 4-byte write of `data` to `address`. */
  deliverMsi(address: number, data: number): void {
    this.bus.sendMsi(address, data);
  }

  reset(): void {
    this.pic.reset();
    this.ioApic.reset();
    for (const apic of this.localApics) apic.reset();
  }

  save(): InterruptsState {
    return {
      pic: this.pic.save(),
      ioApic: this.ioApic.save(),
      localApics: this.localApics.map((apic) => apic.save()),
    };
  }

  /** To be called after the devices that drive the lines have loaded: what the controllers saw of them counts. */
  load(state: InterruptsState): void {
    this.pic.load(state.pic);
    this.ioApic.load(state.ioApic);
    this.localApics.forEach((apic, i) => {
      const saved = state.localApics[i];
      if (saved !== undefined) apic.load(saved);
    });
  }

  #source(picInput: number, pin: number): IrqLine {
    let asserted = false;
    return {
      set: (level) => {
        if (level === asserted) return;
        asserted = level;
        const step = level ? 1 : -1;
        this.#pinSources[pin]! += step;
        this.ioApic.setPin(pin, this.#pinSources[pin]! > 0);
        if (picInput < 0) return;
        this.#picSources[picInput]! += step;
        this.pic.setIrq(picInput, this.#picSources[picInput]! > 0);
      },
    };
  }
}
