/** Guest RAM as a bus master sees it: guest-physical addresses, bounds-checked, never touching emulator state. */
export interface DmaMemory {
  /** True when [address, address + length) lies wholly in guest RAM. */
  contains(address: number, length: number): boolean;
  /**
   * The bytes of [address, address + length) as a view of guest RAM (no copy), or undefined if any byte is outside RAM.
   * The view is valid until control returns to the guest.
   */
  view(address: number, length: number): Uint8Array | undefined;
  /** As `view`, and tells the CPU that those bytes are about to change (translated code on those pages is dropped). */
  writable(address: number, length: number): Uint8Array | undefined;
}
