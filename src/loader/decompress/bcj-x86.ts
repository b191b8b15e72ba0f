/**
 * The x86 branch filter of xz (xz-file-format.txt section 5.3.2): before compression the relative targets of CALL (E8) and
 * JMP (E9) were made absolute; this makes them relative again.
 */

/** For each pattern of opcode bytes close before, the byte of the operand that was suspect; undefined: not converted. */
const SUSPECT_BYTE: readonly (number | undefined)[] = [0, 1, 2, undefined, 3];

/** Undoes the filter in place. `bytes` is one whole block; `start` is the filter's start offset. */
export function undoX86Branches(bytes: Uint8Array, start: number): void {
  const end = bytes.length - 5;
  let mask = 0;
  let previous = -5;
  for (let at = 0; at <= end; at++) {
    const opcode = bytes[at]!;
    if ((opcode & 0xfe) !== 0xe8) continue;
    const distance = at - previous;
    previous = at;
    mask = distance > 5 ? 0 : shiftMask(mask, distance);
    const top = bytes[at + 4]!;
    const suspect = SUSPECT_BYTE[mask >> 1];
    if (!isSignByte(top) || suspect === undefined) {
      mask |= 1;
      if (isSignByte(top)) mask |= 0x10;
      continue;
    }
    let source = bytes[at + 1]! | (bytes[at + 2]! << 8) | (bytes[at + 3]! << 16) | (top << 24);
    let target = 0;
    for (;;) {
      target = (source - (start + at + 5)) | 0;
      if (mask === 0) break;
      const shift = suspect * 8;
      if (!isSignByte((target >>> (24 - shift)) & 0xff)) break;
      source = target ^ (2 ** (32 - shift) - 1);
    }
    bytes[at + 1] = target;
    bytes[at + 2] = target >> 8;
    bytes[at + 3] = target >> 16;
    bytes[at + 4] = (target >> 24) & 1 ? 0xff : 0;
    at += 4;
    mask = 0;
  }
}

function shiftMask(mask: number, distance: number): number {
  let shifted = mask;
  for (let step = 0; step < distance; step++) shifted = (shifted & 0x77) << 1;
  return shifted;
}

/** Branch targets lie within 16 MiB: their top byte only extends the sign. */
function isSignByte(byte: number): boolean {
  return byte === 0 || byte === 0xff;
}
