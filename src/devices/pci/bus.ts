import type { IrqLine } from '../device.ts';
import type { Saveable } from '../saveable.ts';
import type { PciAddressSpace } from './address-space.ts';
import { type FunctionState, type PciFunction, PciRegister } from './function.ts';

export const PCI_SLOTS = 32;

/** How the board wires interrupt pins (1 = INTA#) of the slots to interrupt inputs. */
export interface PciInterruptRouting {
  /** Interrupt number for the interrupt line register; several pins may share one. */
  irq(slot: number, pin: number): number;
  /** The input of that number; the bus makes the wired OR of the functions that share it. */
  line(irq: number): IrqLine;
}

/** Function state by slot. */
export type PciBusState = [number, FunctionState][];

/** PCI bus 0: slots with one function each, and their interrupt pins. */
export class PciBus implements Saveable<PciBusState> {
  readonly #space: PciAddressSpace;
  readonly #routing: PciInterruptRouting;
  readonly #slots: (PciFunction | undefined)[] = new Array(PCI_SLOTS).fill(undefined);
  readonly #asserted = new Map<number, number>();

  constructor(space: PciAddressSpace, routing: PciInterruptRouting) {
    this.#space = space;
    this.#routing = routing;
  }

  /** Plugs a function in, into the given slot or the first free one; returns the slot. */
  add(pciFunction: PciFunction, slot = this.#slots.indexOf(undefined)): number {
    if (slot < 0 || slot >= PCI_SLOTS || this.#slots[slot] !== undefined) {
      throw new RangeError(`${pciFunction.name}: no free PCI slot${slot >= 0 ? ` ${slot}` : ''}`);
    }
    this.#slots[slot] = pciFunction;
    pciFunction.connect(this.#space, this.#line(slot, pciFunction.identity.pin ?? 0));
    return slot;
  }

  at(slot: number): PciFunction | undefined {
    return this.#slots[slot];
  }

  /** Every function with its slot, in order. */
  *functions(): Generator<[number, PciFunction]> {
    for (const [slot, pciFunction] of this.#slots.entries()) if (pciFunction !== undefined) yield [slot, pciFunction];
  }

  /** Interrupt number of a slot's pin, as firmware writes it to the interrupt line register. */
  irq(slot: number): number | undefined {
    const pin = this.#slots[slot]?.readConfig(PciRegister.interruptPin, 1) ?? 0;
    return pin === 0 ? undefined : this.#routing.irq(slot, pin);
  }

  reset(): void {
    for (const [, pciFunction] of this.functions()) pciFunction.reset();
  }

  save(): PciBusState {
    return [...this.functions()].map(([slot, pciFunction]) => [slot, pciFunction.save()]);
  }

  /** Throws a RangeError if other slots were filled when it was saved. */
  load(state: PciBusState): void {
    const filled = [...this.functions()].map(([slot]) => slot).join();
    if (state.map(([slot]) => slot).join() !== filled) throw new RangeError('pci: saved slots differ');
    for (const [slot, saved] of state) this.#slots[slot]!.load(saved);
  }

  #line(slot: number, pin: number): IrqLine {
    if (pin === 0) return { set: () => {} };
    const irq = this.#routing.irq(slot, pin);
    const input = this.#routing.line(irq);
    let own = false;
    return {
      set: (level) => {
        if (level === own) return;
        own = level;
        const count = (this.#asserted.get(irq) ?? 0) + (level ? 1 : -1);
        this.#asserted.set(irq, count);
        input.set(count > 0);
      },
    };
  }
}
