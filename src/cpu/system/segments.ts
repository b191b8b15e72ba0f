import { STATE, VECTOR } from '../state.ts';
import { ATTRIBUTE, dplOf, type GuestFault, isFault, type Processor, SEG } from './processor.ts';

/** A segment or gate descriptor, first eight bytes (SDM vol. 3, 3.4.5). */
export interface Descriptor {
  readonly raw: bigint;
  readonly base: bigint;
  /** In bytes, granularity applied. */
  readonly limit: number;
  readonly attributes: number;
  /** Linear address it was read from. */
  readonly at: bigint;
}
const gp = (selector: number): GuestFault => ({ vector: VECTOR.gp, error: selector & 0xfffc });

export function parseDescriptor(raw: bigint, at: bigint): Descriptor {
  const lo = Number(raw & 0xffff_ffffn);
  const hi = Number(raw >> 32n);
  const attributes = (hi >>> 8) & 0xf0ff;
  const limit = (lo & 0xffff) | (hi & 0xf_0000);
  return {
    raw,
    base: BigInt(((lo >>> 16) | ((hi & 0xff) << 16) | (hi & 0xff00_0000)) >>> 0),
    limit: attributes & ATTRIBUTE.granular ? ((limit << 12) | 0xfff) >>> 0 : limit,
    attributes,
    at,
  };
}

/** Reads the descriptor a selector names; #GP(selector) beyond the table. */
export function fetchDescriptor(
  p: Processor,
  selector: number,
  faultVector: number = VECTOR.gp,
): Descriptor | GuestFault {
  const { state } = p;
  const local = (selector & 4) !== 0;
  const base = state.get64(local ? STATE.ldtrBase : STATE.gdtrBase);
  const limit = local ? p.limit(SEG.ldtr) : state.get32(STATE.gdtrLimit);
  const fault: GuestFault = { vector: faultVector, error: selector & 0xfffc };
  if (local && (p.selector(SEG.ldtr) & 0xfffc) === 0) return fault;
  if ((selector & 0xfff8) + 7 > limit) return fault;
  const at = base + BigInt(selector & 0xfff8);
  const raw = p.readSystem(at, 8);
  return isFault(raw) ? raw : parseDescriptor(raw, at);
}
/** The upper half of a 16-byte system descriptor (long mode); #GP(selector) beyond the table. */
export function fetchUpperHalf(p: Processor, selector: number, d: Descriptor): bigint | GuestFault {
  const limit = selector & 4 ? p.limit(SEG.ldtr) : p.state.get32(STATE.gdtrLimit);
  if ((selector & 0xfff8) + 15 > limit) return gp(selector);
  return p.readSystem(d.at + 8n, 8);
}
/** Sets the accessed bit in memory when it is clear. */
export function markAccessed(p: Processor, d: Descriptor): GuestFault | undefined {
  if (d.attributes & ATTRIBUTE.accessed) return undefined;
  return p.writeSystem(d.at + 5n, BigInt((d.attributes & 0xff) | ATTRIBUTE.accessed), 1);
}

/** MOV/POP to ES SS DS FS GS (SDM vol. 2, MOV). Nothing is changed on a fault. */
export function loadDataSegment(p: Processor, seg: number, selector: number): GuestFault | undefined {
  if (!p.protectedMode || p.eflags & 0x2_0000) {
    p.setSegment(seg, selector, BigInt(selector) << 4n, p.limit(seg), p.attributes(seg));
    return undefined;
  }
  const rpl = selector & 3;
  const { cpl } = p;
  if ((selector & 0xfffc) === 0) {
    if (seg === SEG.ss && !(p.code64 && cpl < 3 && rpl === cpl)) return gp(0);
    // a null selector in 64-bit SS keeps the privilege in its DPL
    p.setSegment(
      seg,
      selector,
      0n,
      0,
      seg === SEG.ss ? (cpl << 5) | ATTRIBUTE.present | ATTRIBUTE.notSystem | ATTRIBUTE.writable | ATTRIBUTE.big : 0,
    );
    if (seg === SEG.ss) p.modeChanged();
    return undefined;
  }
  const d = fetchDescriptor(p, selector);
  if (isFault(d)) return d;
  const a = d.attributes;
  if (!(a & ATTRIBUTE.notSystem)) return gp(selector);
  if (seg === SEG.ss) {
    const writableData = (a & (ATTRIBUTE.code | ATTRIBUTE.writable)) === ATTRIBUTE.writable;
    if (!writableData || rpl !== cpl || dplOf(a) !== cpl) return gp(selector);
    if (!(a & ATTRIBUTE.present)) return { vector: VECTOR.ss, error: selector & 0xfffc };
  } else {
    const readable = !(a & ATTRIBUTE.code) || (a & ATTRIBUTE.writable) !== 0;
    const conforming = (a & ATTRIBUTE.code) !== 0 && (a & ATTRIBUTE.conforming) !== 0;
    if (!readable || (!conforming && (rpl > dplOf(a) || cpl > dplOf(a)))) return gp(selector);
    if (!(a & ATTRIBUTE.present)) return { vector: VECTOR.np, error: selector & 0xfffc };
  }
  const fault = markAccessed(p, d);
  if (fault) return fault;
  p.setSegment(seg, selector, d.base, d.limit, a | ATTRIBUTE.accessed);
  if (seg === SEG.ss) p.modeChanged();
  return undefined;
}

/** What a far transfer to a code segment needs checked: returns the descriptor, or the fault. */
export function checkCodeSegment(
  p: Processor,
  selector: number,
  cpl: number,
  kind: 'jump' | 'return',
): Descriptor | GuestFault {
  if ((selector & 0xfffc) === 0) return gp(0);
  const d = fetchDescriptor(p, selector);
  if (isFault(d)) return d;
  const a = d.attributes;
  if ((a & (ATTRIBUTE.notSystem | ATTRIBUTE.code)) !== (ATTRIBUTE.notSystem | ATTRIBUTE.code)) return gp(selector);
  const rpl = selector & 3;
  const conforming = (a & ATTRIBUTE.conforming) !== 0;
  if (kind === 'jump') {
    if (conforming ? dplOf(a) > cpl : rpl > cpl || dplOf(a) !== cpl) return gp(selector);
  } else if (rpl < cpl || (conforming ? dplOf(a) > rpl : dplOf(a) !== rpl)) return gp(selector);
  // L and D together are reserved
  if (p.longMode && (a & ATTRIBUTE.long) !== 0 && (a & ATTRIBUTE.big) !== 0) return gp(selector);
  if (!(a & ATTRIBUTE.present)) return { vector: VECTOR.np, error: selector & 0xfffc };
  return d;
}

/** Puts a checked code segment into CS with privilege `cpl`. */
export function setCodeSegment(p: Processor, selector: number, d: Descriptor, cpl: number): GuestFault | undefined {
  const fault = markAccessed(p, d);
  if (fault) return fault;
  p.setSegment(SEG.cs, (selector & 0xfffc) | cpl, d.base, d.limit, d.attributes | ATTRIBUTE.accessed);
  p.state.set32(STATE.cpl, cpl);
  p.modeChanged();
  return undefined;
}
