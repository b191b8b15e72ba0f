/**
 * The messages between interrupt controllers: from the IOAPIC, MSIs and inter-processor interrupts to local APICs, and end
 * of interrupt back (SDM volume 3, chapter 11: "Advanced Programmable Interrupt Controller").
 */

/** Delivery modes (SDM volume 3, 11.5.1; the IOAPIC and MSI use the same codes). */
export const DELIVER_FIXED = 0;
export const DELIVER_LOWEST_PRIORITY = 1;
export const DELIVER_SMI = 2;
export const DELIVER_NMI = 4;
export const DELIVER_INIT = 5;
export const DELIVER_STARTUP = 6;
export const DELIVER_EXT_INT = 7;

/** Addresses everyone (xAPIC; in x2APIC mode all 32 bits set). */
export const BROADCAST_8 = 0xff;
export const BROADCAST_32 = 0xffffffff;

/** What the bus asks of a local APIC. */
export interface ApicBusMember {
  /** Whether a message with this destination is for it. */
  matches(destination: number, logical: boolean): boolean;
  /** Processor priority, for lowest-priority arbitration; -1 while it accepts no fixed interrupts. */
  readonly arbitrationPriority: number;
  deliver(mode: number, vector: number, level: boolean): void;
}

export class ApicBus {
  /** Local APICs in order of their processors. */
  readonly members: ApicBusMember[] = [];
  /** Takes the vector of a level-triggered interrupt that a local APIC has ended: the IOAPIC's end. */
  onEndOfInterrupt: ((vector: number) => void) | undefined;
  /** Where lowest-priority arbitration starts among equals, so that they take turns. */
  nextMember = 0;

  /**
   * Sends a message to all members it is for.
   * @param destination APIC ID, or logical destination; BROADCAST_8 or BROADCAST_32 for everyone
   * @param level level-triggered: its end will be broadcast
   */
  send(destination: number, logical: boolean, mode: number, vector: number, level: boolean): void {
    if (mode === DELIVER_LOWEST_PRIORITY) {
      this.#arbitrate(destination, logical)?.deliver(DELIVER_FIXED, vector, level);
      return;
    }
    for (const member of this.members) {
      if (member.matches(destination, logical)) member.deliver(mode, vector, level);
    }
  }

  /** Sends a message to every member, or to all but one (the ICR's shorthands). */
  sendToAll(mode: number, vector: number, level: boolean, except?: ApicBusMember): void {
    for (const member of this.members) if (member !== except) member.deliver(mode, vector, level);
  }

  /**
   * A message-signalled interrupt: a 4-byte write of `data` to an `address` in 0xFEExxxxx (SDM volume 3, 11.11).
   * Anything else is no interrupt and is dropped.
   */
  sendMsi(address: number, data: number): void {
    if (address >>> 20 !== 0xfee || address > 0xffffffff) return;
    const logical = (address & 0x4) !== 0;
    // Level-triggered with level "deassert" says nothing.
    const level = (data & 0x8000) !== 0;
    if (level && (data & 0x4000) === 0) return;
    this.send((address >>> 12) & 0xff, logical, (data >>> 8) & 7, data & 0xff, level);
  }

  #arbitrate(destination: number, logical: boolean): ApicBusMember | undefined {
    let best: ApicBusMember | undefined;
    let bestIndex = 0;
    const count = this.members.length;
    for (let i = 0; i < count; i++) {
      const index = (this.nextMember + i) % count;
      const member = this.members[index]!;
      if (member.arbitrationPriority < 0 || !member.matches(destination, logical)) continue;
      if (best === undefined || member.arbitrationPriority < best.arbitrationPriority) {
        best = member;
        bestIndex = index;
      }
    }
    if (best !== undefined) this.nextMember = (bestIndex + 1) % count;
    return best;
  }
}
