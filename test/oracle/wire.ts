/** The harness's binary protocol: `struct test_case` and `struct result` of harness.c, byte for byte. */
import { policyOf } from './policy.ts';
import { type CpuCase, type CpuResult, DATA_SIZE, FX_BYTES, LINE, type MemoryPatch, type Outcome } from './types.ts';

export const CASE_BYTES = 856 + 48;
/** Bytes of code a case has room for. */
export const CODE_BYTES = 64;
export const RESULT_BYTES = 872;
export const HELLO_BYTES = 88;

const STEP = 1;
const X87 = 2;

export function encodedSize(test: CpuCase): number {
  let size = CASE_BYTES;
  for (const { bytes } of test.memory) size += 8 + ((bytes.length + 7) & ~7);
  return size;
}

/** Writes one case at `at` (a multiple of 8); returns where the next one goes. */
export function encodeCase(buffer: Uint8Array, view: DataView, at: number, test: CpuCase): number {
  const policy = policyOf(test.code, test.mode);
  if (policy === 'forbidden') throw new Error(`not to be run on the host: ${hex(test.code)}`);
  if (test.code.length > CODE_BYTES) throw new RangeError(`more than ${CODE_BYTES} bytes of code`);
  const size = encodedSize(test);
  view.setUint8(at, (policy === 'step' || test.singleStep ? STEP : 0) | (test.fx === undefined ? 0 : X87));
  view.setUint8(at + 1, test.mode);
  view.setUint8(at + 2, test.code.length);
  view.setUint8(at + 3, test.memory.length);
  view.setUint16(at + 4, test.codeOffset, true);
  view.setUint16(at + 6, 0, true);
  buffer.set(test.code, at + 8);
  view.setUint32(at + 72, test.rflags | 0x202, true);
  view.setUint32(at + 76, 0, true);
  view.setBigUint64(at + 80, test.fsBase, true);
  view.setBigUint64(at + 88, test.gsBase, true);
  view.setUint32(at + 96, test.mxcsr, true);
  view.setUint32(at + 100, size, true);
  buffer.set(new Uint8Array(test.gpr.buffer, test.gpr.byteOffset, 128), at + 104);
  buffer.set(test.ymm, at + 232);
  if (test.fx !== undefined) buffer.set(test.fx, at + 744);
  let cursor = at + CASE_BYTES;
  for (const { offset, bytes } of test.memory) {
    if (offset < 0 || offset + bytes.length > DATA_SIZE) throw new RangeError(`patch at ${offset} leaves the window`);
    view.setUint16(cursor, offset, true);
    view.setUint16(cursor + 2, bytes.length, true);
    buffer.set(bytes, cursor + 8);
    cursor += 8 + ((bytes.length + 7) & ~7);
  }
  return cursor;
}

/** Reads `count` results; they are views of `buffer`, which must start 8-aligned. */
export function decodeResults(buffer: Uint8Array, count: number): CpuResult[] {
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  const results: CpuResult[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const size = view.getUint32(at + 12, true);
    const memory: MemoryPatch[] = [];
    for (let line = at + RESULT_BYTES; line < at + size; line += 8 + LINE) {
      memory.push({ offset: view.getUint32(line, true) * LINE, bytes: buffer.subarray(line + 8, line + 8 + LINE) });
    }
    results.push({
      outcome: decodeOutcome(view, at),
      rip: view.getBigUint64(at + 16, true),
      rflags: view.getUint32(at + 32, true),
      fsBase: view.getBigUint64(at + 40, true),
      gsBase: view.getBigUint64(at + 48, true),
      mxcsr: view.getUint32(at + 8, true),
      gpr: new BigUint64Array(buffer.buffer, buffer.byteOffset + at + 56, 16),
      ymm: buffer.subarray(at + 184, at + 696),
      fx: buffer.subarray(at + 696, at + 696 + FX_BYTES),
      selectors: new Uint16Array(buffer.buffer, buffer.byteOffset + at + 856, 6),
      memory,
    });
    at += size;
  }
  return results;
}

const OK: Outcome = { kind: 'ok' };

function decodeOutcome(view: DataView, at: number): Outcome {
  const kind = view.getUint8(at);
  if (kind === 0) return OK;
  if (kind === 2) return { kind: 'timeout' };
  const vector = view.getUint8(at + 1);
  const errorCode = view.getUint32(at + 4, true);
  return vector === 14
    ? { kind: 'fault', vector, errorCode, cr2: view.getBigUint64(at + 24, true) }
    : { kind: 'fault', vector, errorCode };
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
