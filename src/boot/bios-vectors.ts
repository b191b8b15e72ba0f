/**
 * Real-mode interrupt vectors for kernels that call a BIOS before they look whether there is one (Xen and GRUB's boot code
 * do). There is none: every service answers "not supported" (CF = 1, AH = 0x86), apart from the two that only read the BIOS
 * data area (IBM PS/2 and PC BIOS Interface Technical Reference, section 2).
 */

import type { GuestMemory } from '../memory/guest-memory.ts';

const VECTORS = 256;
const VECTOR_SIZE = 4;

/** push bp; mov bp, sp; or byte [bp + 6], 1; pop bp; mov ah, 0x86; iret: CF is set in the caller's flags. */
const UNSUPPORTED = [0x55, 0x89, 0xe5, 0x80, 0x4e, 0x06, 0x01, 0x5d, 0xb4, 0x86, 0xcf];
/** iret */
const RETURN = [0xcf];
/** cli; hlt: a fault would come back for ever, a stop can be reported. */
const STOP = [0xfa, 0xf4];
/** push ax; mov al, 0x20; out 0x20, al; pop ax; iret: end of interrupt. */
const END_OF_MASTER = [0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf];
/** The same for both controllers. */
const END_OF_SLAVE = [0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58, 0xcf];
/** push ds; mov ax, 0x40; mov ds, ax; mov ax, [offset]; pop ds; iret: a word of the BIOS data area. */
const dataWord = (offset: number): number[] => [0x1e, 0xb8, 0x40, 0, 0x8e, 0xd8, 0xa1, offset, 0, 0x1f, 0xcf];

const EQUIPMENT = dataWord(0x10);
const BASE_MEMORY = dataWord(0x13);
const HANDLERS = [UNSUPPORTED, RETURN, STOP, END_OF_MASTER, END_OF_SLAVE, EQUIPMENT, BASE_MEMORY];

/** Bytes of the handlers. */
export const BIOS_HANDLERS_SIZE = HANDLERS.reduce((sum, code) => sum + code.length, 0);

function handlerOf(vector: number): readonly number[] {
  if (vector === 0 || vector === 6) return STOP;
  if (vector < 8) return RETURN;
  if (vector < 0x10) return END_OF_MASTER;
  if (vector === 0x11) return EQUIPMENT;
  if (vector === 0x12) return BASE_MEMORY;
  return vector >= 0x70 && vector < 0x78 ? END_OF_SLAVE : UNSUPPORTED;
}

/** Writes the handlers to `address` (16-byte aligned, below 1 MiB, BIOS_HANDLERS_SIZE bytes) and all 256 vectors. */
export function writeBiosVectors(memory: GuestMemory, address: number): void {
  const offsets = new Map<readonly number[], number>();
  let offset = 0;
  for (const code of HANDLERS) {
    memory.copyIn(address + offset, Uint8Array.from(code));
    offsets.set(code, offset);
    offset += code.length;
  }
  const segment = address >> 4;
  for (let vector = 0; vector < VECTORS; vector++) {
    memory.write16(vector * VECTOR_SIZE, offsets.get(handlerOf(vector))!);
    memory.write16(vector * VECTOR_SIZE + 2, segment);
  }
}
