import { VECTOR } from '../state.ts';
import { ATTRIBUTE, dplOf, GPR, type GuestFault, isFault, type Processor, SEG } from './processor.ts';
import { type Descriptor, fetchDescriptor, markAccessed } from './segments.ts';

/** A stack that an interrupt switches to (32-bit TSS). */
export interface NewStack {
  readonly selector: number;
  readonly esp: bigint;
  readonly d: Descriptor;
  readonly cpl: number;
}
export interface InterruptFrame {
  /** Bytes of each pushed value: 2 or 4. */
  readonly size: 2 | 4;
  readonly ss: number;
  readonly esp: bigint;
  readonly values: readonly number[];
  readonly stack?: NewStack;
  /** The EXT bit of error codes. */
  readonly ext?: number;
}

/** SSn:ESPn of the current 32-bit or 16-bit task segment, checked (SDM vol. 3, 6.12.1). */
export function checkInterruptStack(p: Processor, cpl: number, ext: number): NewStack | GuestFault {
  const wide = (p.attributes(SEG.tr) & 8) !== 0;
  const offset = wide ? 4 + cpl * 8 : 2 + cpl * 4;
  const tsFault: GuestFault = { vector: VECTOR.ts, error: (p.selector(SEG.tr) & 0xfffc) + ext };
  if (offset + (wide ? 5 : 3) > p.limit(SEG.tr)) return tsFault;
  const at = p.base(SEG.tr) + BigInt(offset);
  const esp = p.readSystem(at, wide ? 4 : 2);
  if (isFault(esp)) return esp;
  const raw = p.readSystem(at + (wide ? 4n : 2n), 2);
  if (isFault(raw)) return raw;
  const selector = Number(raw);
  const fault: GuestFault = { vector: VECTOR.ts, error: (selector & 0xfffc) + ext };
  if ((selector & 0xfffc) === 0) return { vector: VECTOR.ts, error: ext };
  const d = fetchDescriptor(p, selector, VECTOR.ts);
  if (isFault(d)) return d.vector === VECTOR.ts ? fault : d;
  const a = d.attributes;
  const writable =
    (a & (ATTRIBUTE.notSystem | ATTRIBUTE.code | ATTRIBUTE.writable)) === (ATTRIBUTE.notSystem | ATTRIBUTE.writable);
  if (!writable || (selector & 3) !== cpl || dplOf(a) !== cpl) return fault;
  if (!(a & ATTRIBUTE.present)) return { vector: VECTOR.ss, error: (selector & 0xfffc) + ext };
  return { selector, esp, d, cpl };
}

/** Does a write of `size` bytes at an offset leave a stack segment (SDM vol. 3, 5.3)? */
function outside(attributes: number, limit: number, offset: bigint, size: number): boolean {
  const last = offset + BigInt(size - 1);
  if (!(attributes & ATTRIBUTE.conforming)) return last > BigInt(limit);
  return offset <= BigInt(limit) || last > (attributes & ATTRIBUTE.big ? 0xffff_ffffn : 0xffffn);
}

/** Pushes a frame and moves the stack there; #SS beyond the limit, with the new stack's selector if there is one. */
export function pushFrame32(p: Processor, frame: InterruptFrame): GuestFault | undefined {
  const attributes = frame.stack?.d.attributes ?? p.attributes(SEG.ss);
  const mask = attributes & ATTRIBUTE.big ? 0xffff_ffffn : 0xffffn;
  const base = frame.stack?.d.base ?? p.base(SEG.ss);
  const limit = frame.stack?.d.limit ?? p.limit(SEG.ss);
  const ext = frame.ext ?? 0;
  let esp = frame.esp;
  for (const value of frame.values) {
    esp = (esp & ~mask) | ((esp - BigInt(frame.size)) & mask);
    if (outside(attributes, limit, esp & mask, frame.size)) {
      return { vector: VECTOR.ss, error: frame.stack ? (frame.stack.selector & 0xfffc) + ext : ext };
    }
    const linear = (base + (esp & mask)) & 0xffff_ffffn;
    const fault =
      frame.stack && frame.stack.cpl < 3
        ? p.writeSystem(linear, BigInt(value), frame.size)
        : p.write(linear, BigInt(value), frame.size, true);
    if (fault) return fault;
  }
  if (frame.stack) {
    const fault = markAccessed(p, frame.stack.d);
    if (fault) return fault;
    p.setSegment(
      SEG.ss,
      frame.stack.selector,
      frame.stack.d.base,
      frame.stack.d.limit,
      frame.stack.d.attributes | ATTRIBUTE.accessed,
    );
  }
  p.setGpr(GPR.rsp, esp);
  return undefined;
}
