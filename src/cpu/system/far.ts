import { STATE, VECTOR } from '../state.ts';
import { stackFromTss } from './interrupts.ts';
import { checkInterruptStack, pushFrame32 } from './interrupts32.ts';
import { ATTRIBUTE, dplOf, EFLAGS, GPR, type GuestFault, isFault, type Processor, SEG } from './processor.ts';
import {
  checkCodeSegment,
  type Descriptor,
  fetchDescriptor,
  fetchUpperHalf,
  markAccessed,
  setCodeSegment,
} from './segments.ts';

const gp = (error: number): GuestFault => ({ vector: VECTOR.gp, error: error & 0xfffc });

/** Linear address of an offset in the code segment just loaded, or #GP(0). */
function goTo(p: Processor, offset: bigint): GuestFault | undefined {
  if (p.code64) {
    if (!p.canonical(offset)) return gp(0);
    p.state.set64(STATE.ip, offset);
  } else p.state.set64(STATE.ip, (p.base(SEG.cs) + offset) & 0xffff_ffffn);
  return undefined;
}
/** Is the offset acceptable in code segment d? */
function offsetFault(p: Processor, d: Descriptor, offset: bigint): GuestFault | undefined {
  if (p.longMode && d.attributes & ATTRIBUTE.long) return p.canonical(offset) ? undefined : gp(0);
  return offset > BigInt(d.limit) ? gp(0) : undefined;
}

const stackMask = (p: Processor): bigint =>
  p.code64 ? 0xffff_ffff_ffff_ffffn : p.attributes(SEG.ss) & ATTRIBUTE.big ? 0xffff_ffffn : 0xffffn;
const stackLinear = (p: Processor, offset: bigint): bigint =>
  p.code64 ? offset : (p.base(SEG.ss) + offset) & 0xffff_ffffn;

/** Reads `count` values of `size` bytes from the stack, `skip` bytes above its top. */
function peek(p: Processor, size: 2 | 4 | 8, count: number, skip = 0): bigint[] | GuestFault {
  const values: bigint[] = [];
  const mask = stackMask(p);
  for (let i = 0; i < count; i++) {
    const offset = (p.gpr(GPR.rsp) + BigInt(skip + i * size)) & mask;
    const value = p.checkSegment(SEG.ss, offset, size, false) ?? p.read(stackLinear(p, offset), size, true);
    if (isFault(value)) return value;
    values.push(value);
  }
  return values;
}
const advanceStack = (p: Processor, bytes: bigint): void => {
  const mask = stackMask(p);
  const rsp = p.gpr(GPR.rsp);
  p.setGpr(GPR.rsp, (rsp & ~mask) | ((rsp + bytes) & mask));
};

/** Where a far jump or call goes: directly, or by a gate. */
interface FarTarget {
  readonly selector: number;
  readonly offset: bigint;
  /** Of a gate: width of what it pushes, and values to copy to an inner stack. */
  readonly gate?: { readonly size: 2 | 4 | 8; readonly parameters: number };
}

/** Real-address mode: CS keeps its limit and attributes (SDM vol. 3, 20.1.1). */
function farReal(p: Processor, selector: number, offset: bigint): GuestFault | undefined {
  if (offset > BigInt(p.limit(SEG.cs))) return gp(0);
  p.setSegment(SEG.cs, selector, BigInt(selector) << 4n, p.limit(SEG.cs), p.attributes(SEG.cs));
  return goTo(p, offset);
}

/** JMP far, direct or through memory (SDM vol. 2). Task switches are not offered: #GP. */
export function farJump(p: Processor, selector: number, offset: bigint): GuestFault | undefined {
  if (!p.protectedMode) return farReal(p, selector, offset);
  const target = resolve(p, selector, offset);
  if (isFault(target)) return target;
  // the privilege in a gate's selector does not count
  const checked = target.gate ? target.selector & ~3 : target.selector;
  const d = checkCodeSegment(p, checked, p.cpl, 'jump');
  if (isFault(d)) return d;
  const bad = gateCodeFault(p, target, d) ?? offsetFault(p, d, target.offset);
  if (bad) return bad;
  return setCodeSegment(p, target.selector, d, p.cpl) ?? goTo(p, target.offset);
}
/** A 64-bit gate leads to 64-bit code only (SDM vol. 3, 5.8.3.1). */
function gateCodeFault(p: Processor, target: FarTarget, d: Descriptor): GuestFault | undefined {
  if (!target.gate || !p.longMode) return undefined;
  return (d.attributes & (ATTRIBUTE.long | ATTRIBUTE.big)) === ATTRIBUTE.long ? undefined : gp(target.selector);
}

/** Follows a call gate; anything else stays as given (SDM vol. 3, 5.8.3). */
function resolve(p: Processor, selector: number, offset: bigint): FarTarget | GuestFault {
  if ((selector & 0xfffc) === 0) return gp(0);
  const d = fetchDescriptor(p, selector);
  if (isFault(d)) return d;
  if (d.attributes & ATTRIBUTE.notSystem) return { selector, offset };
  const type = d.attributes & 0xf;
  const isGate = type === 0xc || (type === 4 && !p.longMode);
  if (!isGate || dplOf(d.attributes) < p.cpl || dplOf(d.attributes) < (selector & 3)) return gp(selector);
  if (!(d.attributes & ATTRIBUTE.present)) return { vector: VECTOR.np, error: selector & 0xfffc };
  let high = 0n;
  if (p.longMode) {
    const upper = fetchUpperHalf(p, selector, d);
    if (isFault(upper)) return upper;
    // the type field of the upper half must be 0
    if ((upper >> 40n) & 0x1fn) return gp(selector);
    high = (upper & 0xffff_ffffn) << 32n;
  }
  const target = Number((d.raw >> 16n) & 0xffffn);
  if ((target & 0xfffc) === 0) return gp(0);
  const low = type === 4 ? d.raw & 0xffffn : ((d.raw >> 32n) & 0xffff_0000n) | (d.raw & 0xffffn);
  return {
    selector: target,
    offset: high | low,
    gate: { size: p.longMode ? 8 : type === 4 ? 2 : 4, parameters: p.longMode ? 0 : Number((d.raw >> 32n) & 0x1fn) },
  };
}

export function farCall(
  p: Processor,
  selector: number,
  offset: bigint,
  size: 2 | 4 | 8,
  returnIp: bigint,
): GuestFault | undefined {
  const push = [BigInt(p.selector(SEG.cs)), returnIp];
  if (!p.protectedMode) {
    if (offset > BigInt(p.limit(SEG.cs))) return gp(0);
    return pushAll(p, size, push) ?? farReal(p, selector, offset);
  }
  const target = resolve(p, selector, offset);
  if (isFault(target)) return target;
  const { gate } = target;
  const d = gate ? checkGateCode(p, target.selector) : checkCodeSegment(p, target.selector, p.cpl, 'jump');
  if (isFault(d)) return d;
  const wrong = gateCodeFault(p, target, d);
  if (wrong) return wrong;
  const inner = gate && !(d.attributes & ATTRIBUTE.conforming) && dplOf(d.attributes) < p.cpl;
  if (gate && inner) return callInward(p, target, gate, d, push);
  const bad = offsetFault(p, d, target.offset);
  if (bad) return bad;
  const before = p.gpr(GPR.rsp);
  const fault = pushAll(p, gate?.size ?? size, push) ?? setCodeSegment(p, target.selector, d, p.cpl);
  if (fault) {
    p.setGpr(GPR.rsp, before);
    return fault;
  }
  return goTo(p, target.offset);
}

/** Pushes on the current stack; RSP is as before after a fault. */
function pushAll(p: Processor, size: 2 | 4 | 8, values: readonly bigint[]): GuestFault | undefined {
  const mask = stackMask(p);
  let rsp = p.gpr(GPR.rsp);
  for (const value of values) {
    rsp = (rsp & ~mask) | ((rsp - BigInt(size)) & mask);
    const offset = rsp & mask;
    const fault = p.checkSegment(SEG.ss, offset, size, true) ?? p.write(stackLinear(p, offset), value, size, true);
    if (fault) return fault;
  }
  p.setGpr(GPR.rsp, rsp);
  return undefined;
}

/** The code segment that a call gate names: as privileged as CPL, or more. */
function checkGateCode(p: Processor, selector: number): Descriptor | GuestFault {
  const d = fetchDescriptor(p, selector);
  if (isFault(d)) return d;
  const a = d.attributes;
  if ((a & (ATTRIBUTE.notSystem | ATTRIBUTE.code)) !== (ATTRIBUTE.notSystem | ATTRIBUTE.code)) return gp(selector);
  if (dplOf(a) > p.cpl) return gp(selector);
  if (!(a & ATTRIBUTE.present)) return { vector: VECTOR.np, error: selector & 0xfffc };
  return d;
}

/** A call to an inner privilege: the stack comes from the task segment (SDM vol. 3, 5.8.5). */
function callInward(
  p: Processor,
  target: FarTarget,
  gate: NonNullable<FarTarget['gate']>,
  d: Descriptor,
  push: readonly bigint[],
): GuestFault | undefined {
  const cpl = dplOf(d.attributes);
  const old = [BigInt(p.selector(SEG.ss)), p.gpr(GPR.rsp)];
  if (p.longMode) {
    const stack = stackFromTss(p, 4 + cpl * 8, 0);
    if (isFault(stack)) return stack;
    if (!p.canonical(target.offset)) return gp(0);
    let rsp = stack;
    for (const value of [...old, ...push]) {
      rsp = BigInt.asUintN(64, rsp - 8n);
      const fault = p.writeSystem(rsp, value, 8, true);
      if (fault) return fault;
    }
    const fault = setCodeSegment(p, target.selector, d, cpl);
    if (fault) return fault;
    const nullStack = (cpl << 5) | ATTRIBUTE.present | ATTRIBUTE.notSystem | ATTRIBUTE.writable | ATTRIBUTE.big;
    p.setSegment(SEG.ss, cpl, 0n, 0, nullStack);
    p.setGpr(GPR.rsp, rsp);
    p.modeChanged();
    return goTo(p, target.offset);
  }
  const stack = checkInterruptStack(p, cpl, 0);
  if (isFault(stack)) return stack;
  const bad = offsetFault(p, d, target.offset);
  if (bad) return bad;
  const size = gate.size === 2 ? 2 : 4;
  const parameters = peek(p, size, gate.parameters);
  if (isFault(parameters)) return parameters;
  const values = [...old, ...parameters.toReversed(), ...push].map((v) => Number(v & 0xffff_ffffn));
  const fault =
    pushFrame32(p, { size, ss: SEG.ss, esp: stack.esp, values, stack }) ?? setCodeSegment(p, target.selector, d, cpl);
  if (fault) return fault;
  p.modeChanged();
  return goTo(p, target.offset);
}

/** RETF (with `release` bytes of parameters) and IRET share their second half. */
export function farReturn(p: Processor, size: 2 | 4 | 8, release: number): GuestFault | undefined {
  const top = peek(p, size, 2);
  if (isFault(top)) return top;
  const [offset, rawSelector] = top as [bigint, bigint];
  const selector = Number(rawSelector & 0xffffn);
  if (!p.protectedMode) {
    if (offset > BigInt(p.limit(SEG.cs))) return gp(0);
    advanceStack(p, BigInt(2 * size + release));
    return farReal(p, selector, offset);
  }
  const { cpl } = p;
  const d = checkCodeSegment(p, selector, cpl, 'return');
  if (isFault(d)) return d;
  const bad = offsetFault(p, d, offset);
  if (bad) return bad;
  const newCpl = selector & 3;
  if (newCpl === cpl) {
    const fault = setCodeSegment(p, selector, d, cpl);
    if (fault) return fault;
    advanceStack(p, BigInt(2 * size + release));
    return goTo(p, offset);
  }
  const outer = peek(p, size, 2, 2 * size + release);
  if (isFault(outer)) return outer;
  const [rsp, ss] = outer as [bigint, bigint];
  const fault = returnOutward(p, selector, d, newCpl, Number(ss & 0xffffn));
  if (fault) return fault;
  setStackPointer(p, rsp + BigInt(release));
  return goTo(p, offset);
}
function setStackPointer(p: Processor, rsp: bigint): void {
  const mask = stackMask(p);
  p.setGpr(GPR.rsp, mask === 0xffffn ? (p.gpr(GPR.rsp) & ~mask) | (rsp & mask) : rsp & mask);
}

/** A return to an outer privilege: CS, SS and the data segments that the new privilege may not keep. */
function returnOutward(
  p: Processor,
  selector: number,
  d: Descriptor,
  newCpl: number,
  ss: number,
): GuestFault | undefined {
  const stack = checkReturnStack(p, ss, newCpl, (d.attributes & ATTRIBUTE.long) !== 0);
  if (isFault(stack)) return stack;
  const fault = setCodeSegment(p, selector, d, newCpl);
  if (fault) return fault;
  if (stack === undefined) {
    p.setSegment(
      SEG.ss,
      ss,
      0n,
      0,
      (newCpl << 5) | ATTRIBUTE.present | ATTRIBUTE.notSystem | ATTRIBUTE.writable | ATTRIBUTE.big,
    );
  } else {
    const failed = markAccessed(p, stack);
    if (failed) return failed;
    p.setSegment(SEG.ss, ss, stack.base, stack.limit, stack.attributes | ATTRIBUTE.accessed);
  }
  for (const seg of [SEG.es, SEG.ds, SEG.fs, SEG.gs]) {
    const a = p.attributes(seg);
    const conforming = (a & (ATTRIBUTE.code | ATTRIBUTE.conforming)) === (ATTRIBUTE.code | ATTRIBUTE.conforming);
    if (p.selector(seg) & 0xfffc && !conforming && dplOf(a) < newCpl) p.setSegment(seg, 0, 0n, 0, 0);
  }
  p.modeChanged();
  return undefined;
}
/** The stack segment of a return; undefined = a null selector that 64-bit code may have. */
function checkReturnStack(p: Processor, ss: number, cpl: number, to64: boolean): Descriptor | undefined | GuestFault {
  if ((ss & 0xfffc) === 0) return to64 && cpl < 3 && (ss & 3) === cpl ? undefined : gp(0);
  const d = fetchDescriptor(p, ss);
  if (isFault(d)) return d;
  const a = d.attributes;
  const writable =
    (a & (ATTRIBUTE.notSystem | ATTRIBUTE.code | ATTRIBUTE.writable)) === (ATTRIBUTE.notSystem | ATTRIBUTE.writable);
  if ((ss & 3) !== cpl || !writable || dplOf(a) !== cpl) return gp(ss);
  if (!(a & ATTRIBUTE.present)) return { vector: VECTOR.ss, error: ss & 0xfffc };
  return d;
}

/** IRET, IRETD, IRETQ (SDM vol. 2); a return to virtual-8086 mode and nested tasks are not offered: #GP(0). */
export function interruptReturn(p: Processor, size: 2 | 4 | 8): GuestFault | undefined {
  const { cpl } = p;
  const in64 = p.code64;
  const flagsNow = p.eflags;
  if (p.protectedMode && flagsNow & EFLAGS.nt) return gp(0);
  const top = peek(p, size, in64 ? 5 : 3);
  if (isFault(top)) return top;
  const [offset, rawSelector, rawFlags] = top as [bigint, bigint, bigint];
  const selector = Number(rawSelector & 0xffffn);
  // what may change depends on the privilege and operand size
  let changeable: number = EFLAGS.status | EFLAGS.tf | EFLAGS.df | EFLAGS.nt;
  if (size > 2) changeable |= EFLAGS.rf | EFLAGS.ac | EFLAGS.id;
  const iopl = (flagsNow & EFLAGS.iopl) >> 12;
  if (cpl <= iopl || !p.protectedMode) changeable |= EFLAGS.if;
  if (cpl === 0) changeable |= EFLAGS.iopl | (size > 2 ? EFLAGS.vif | EFLAGS.vip : 0);
  const flags = (flagsNow & ~changeable) | (Number(rawFlags & 0xffff_ffffn) & changeable);
  if (!p.protectedMode) {
    if (offset > BigInt(p.limit(SEG.cs))) return gp(0);
    advanceStack(p, BigInt(3 * size));
    p.setEflags(flags);
    return farReal(p, selector, offset);
  }
  if (!in64 && Number(rawFlags & 0xffff_ffffn) & EFLAGS.vm && cpl === 0) return gp(0);
  const d = checkCodeSegment(p, selector, cpl, 'return');
  if (isFault(d)) return d;
  const bad = offsetFault(p, d, offset);
  if (bad) return bad;
  const newCpl = selector & 3;
  if (newCpl === cpl && !in64) {
    const fault = setCodeSegment(p, selector, d, cpl);
    if (fault) return fault;
    advanceStack(p, BigInt(3 * size));
    p.setEflags(flags);
    p.modeChanged();
    return goTo(p, offset);
  }
  const outer = in64 ? top.slice(3) : peek(p, size, 2, 3 * size);
  if (isFault(outer)) return outer;
  const [rsp, rawSs] = outer as [bigint, bigint];
  const ss = Number(rawSs & 0xffffn);
  const fault = returnOutward(p, selector, d, newCpl, ss);
  if (fault) return fault;
  setStackPointer(p, rsp);
  p.setEflags(flags);
  p.modeChanged();
  return goTo(p, offset);
}

/** LLDT and LTR. */
export function loadSystemSegment(
  p: Processor,
  seg: typeof SEG.ldtr | typeof SEG.tr,
  selector: number,
): GuestFault | undefined {
  if ((selector & 0xfffc) === 0) {
    if (seg === SEG.tr) return gp(0);
    p.setSegment(SEG.ldtr, selector, 0n, 0, 0);
    return undefined;
  }
  if (selector & 4) return gp(selector);
  const d = fetchDescriptor(p, selector);
  if (isFault(d)) return d;
  const type = d.attributes & 0x1f;
  const fits = seg === SEG.ldtr ? type === 2 : p.longMode ? type === 9 : type === 1 || type === 9;
  if (!fits) return gp(selector);
  if (!(d.attributes & ATTRIBUTE.present)) return { vector: VECTOR.np, error: selector & 0xfffc };
  let base = d.base;
  if (p.longMode) {
    const upper = fetchUpperHalf(p, selector, d);
    if (isFault(upper)) return upper;
    base |= (upper & 0xffff_ffffn) << 32n;
    if (!p.canonical(base)) return gp(selector);
  }
  if (seg === SEG.tr) {
    // the task becomes busy
    const fault = p.writeSystem(d.at + 5n, BigInt((d.attributes & 0xff) | 2), 1);
    if (fault) return fault;
  }
  p.setSegment(seg, selector, base, d.limit, seg === SEG.tr ? d.attributes | 2 : d.attributes);
  return undefined;
}
