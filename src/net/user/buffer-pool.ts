/** Buffers to use again: what is allocated for each write of bulk data costs more in garbage collection than in copying. */

/** Most a frame carries. */
const SIZE = 64 << 10;
const LIMIT = 64;
/** What is smaller is cheaper to allocate, in Node's own slabs. */
const SMALLEST = 512;

const free: Buffer[] = [];
let made = 0;

/** A buffer for `length` bytes, to be given back with `release`; undefined if all are in use, or for a length they are not for. */
export function takeBuffer(length: number): Buffer | undefined {
  if (length < SMALLEST || length > SIZE) return undefined;
  const buffer = free.pop();
  if (buffer !== undefined || made === LIMIT) return buffer;
  made++;
  return Buffer.allocUnsafeSlow(SIZE);
}

export function releaseBuffer(buffer: Buffer): void {
  free.push(buffer);
}
