import { STATE, VECTOR } from '../state.ts';
import { DR7_GD } from './debug.ts';
import { checkInterruptStack, type InterruptFrame, pushFrame32 } from './interrupts32.ts';
import { ATTRIBUTE, dplOf, EFLAGS, GPR, type GuestFault, isFault, type Processor, SEG } from './processor.ts';
import { fetchDescriptor, setCodeSegment } from './segments.ts';

/** What is being delivered (SDM vol. 3, 6.12 and 6.14). */
export interface Interruption {
  readonly vector: number;
  readonly error?: number | undefined;
  /** 'external': INTR or NMI; 'software': INT n, INT3, INTO (gate DPL is checked); 'exception': a fault or trap. */
  readonly kind: 'external' | 'software' | 'exception';
  /** Return address to push. */
  readonly returnIp: bigint;
}

const CONTRIBUTORY = new Set<number>([VECTOR.de, VECTOR.ts, VECTOR.np, VECTOR.ss, VECTOR.gp]);
/** Exceptions that are faults: the saved RFLAGS has RF set (SDM vol. 3, 17.3.1.1). */
const FAULTS = new Set<number>([0, 1, 5, 6, 7, 10, 11, 12, 13, 14, 16, 17, 19]);

/** Does a second fault while delivering a first make a double fault (SDM vol. 3, table 6-5)? */
export function isDoubleFault(first: number, second: number): boolean {
  if (first === VECTOR.pf) return second === VECTOR.pf || CONTRIBUTORY.has(second);
  return CONTRIBUTORY.has(first) && CONTRIBUTORY.has(second);
}

/** Delivers through the IDT. A returned fault came up on the way; registers are then as before. */
export function deliver(p: Processor, what: Interruption): GuestFault | undefined {
  p.state.set32(STATE.monitorArmed, 0);
  const fault = p.longMode ? deliverLong(p, what) : deliverLegacy(p, what);
  if (!fault && what.vector === VECTOR.db) {
    // the handler may use the debug registers (SDM vol. 3, 17.2.4, GD)
    p.state.set64(STATE.dr + 56, p.state.get64(STATE.dr + 56) & ~DR7_GD);
  }
  return fault;
}

function deliverLong(p: Processor, what: Interruption): GuestFault | undefined {
  const { state } = p;
  const { vector } = what;
  const ext = what.kind === 'software' ? 0 : 1;
  const gateFault = (v: number): GuestFault => ({ vector: v, error: vector * 8 + 2 + ext });
  if (vector * 16 + 15 > state.get32(STATE.idtrLimit)) return gateFault(VECTOR.gp);
  const at = state.get64(STATE.idtrBase) + BigInt(vector * 16);
  const low = p.readSystem(at, 8);
  if (isFault(low)) return low;
  const high = p.readSystem(at + 8n, 8);
  if (isFault(high)) return high;
  const attributes = Number((low >> 40n) & 0xffn);
  const type = attributes & 0x1f;
  if (type !== 0xe && type !== 0xf) return gateFault(VECTOR.gp);
  const { cpl } = p;
  if (what.kind === 'software' && dplOf(attributes) < cpl) return gateFault(VECTOR.gp);
  if (!(attributes & ATTRIBUTE.present)) return gateFault(VECTOR.np);
  const selector = Number((low >> 16n) & 0xffffn);
  const target = (low & 0xffffn) | ((low >> 32n) & 0xffff_0000n) | ((high & 0xffff_ffffn) << 32n);
  const code = interruptCodeSegment(p, selector, cpl, ext);
  if (isFault(code)) return code;
  if ((code.d.attributes & (ATTRIBUTE.long | ATTRIBUTE.big)) !== ATTRIBUTE.long) {
    return { vector: VECTOR.gp, error: (selector & 0xfffc) + ext };
  }
  const newCpl = code.cpl;
  const ist = Number((low >> 32n) & 7n);
  let rsp = p.gpr(GPR.rsp);
  if (ist > 0 || newCpl < cpl) {
    const stack = stackFromTss(p, ist > 0 ? 0x24 + (ist - 1) * 8 : 4 + newCpl * 8, ext);
    if (isFault(stack)) return stack;
    rsp = stack;
    if (!p.canonical(rsp)) return { vector: VECTOR.ss, error: ext };
  }
  rsp &= ~0xfn;
  if (!p.canonical(target)) return { vector: VECTOR.gp, error: ext };
  const flags = p.eflags;
  const saved = what.kind === 'exception' && FAULTS.has(vector) ? flags | EFLAGS.rf : flags;
  const frame = [BigInt(p.selector(SEG.ss)), p.gpr(GPR.rsp), BigInt(saved), BigInt(p.selector(SEG.cs)), what.returnIp];
  if (what.error !== undefined) frame.push(BigInt(what.error));
  for (const value of frame) {
    rsp -= 8n;
    const fault = newCpl === 3 ? p.write(rsp, value, 8, true) : p.writeSystem(rsp, value, 8, true);
    if (fault) return fault.vector === VECTOR.ss ? { vector: VECTOR.ss, error: ext } : fault;
  }
  const fault = setCodeSegment(p, selector, code.d, newCpl);
  if (fault) return fault;
  if (newCpl < cpl) {
    const nullStack = (newCpl << 5) | ATTRIBUTE.present | ATTRIBUTE.notSystem | ATTRIBUTE.writable | ATTRIBUTE.big;
    p.setSegment(SEG.ss, newCpl, 0n, 0, nullStack);
  }
  p.setGpr(GPR.rsp, rsp);
  state.set64(STATE.ip, target);
  enterHandler(p, flags, type === 0xe);
  return undefined;
}

function interruptCodeSegment(p: Processor, selector: number, cpl: number, ext: number) {
  if ((selector & 0xfffc) === 0) return { vector: VECTOR.gp, error: ext } satisfies GuestFault;
  const d = fetchDescriptor(p, selector);
  if (isFault(d)) return d.vector === VECTOR.gp ? { vector: VECTOR.gp, error: (selector & 0xfffc) + ext } : d;
  const a = d.attributes;
  if ((a & (ATTRIBUTE.notSystem | ATTRIBUTE.code)) !== (ATTRIBUTE.notSystem | ATTRIBUTE.code) || dplOf(a) > cpl) {
    return { vector: VECTOR.gp, error: (selector & 0xfffc) + ext } satisfies GuestFault;
  }
  if (!(a & ATTRIBUTE.present)) return { vector: VECTOR.np, error: (selector & 0xfffc) + ext } satisfies GuestFault;
  return { d, cpl: a & ATTRIBUTE.conforming ? cpl : dplOf(a) };
}

/** RSPn or ISTn of the 64-bit task segment. */
export function stackFromTss(p: Processor, offset: number, ext: number): bigint | GuestFault {
  if (offset + 7 > p.limit(SEG.tr)) return { vector: VECTOR.ts, error: (p.selector(SEG.tr) & 0xfffc) + ext };
  return p.readSystem(p.base(SEG.tr) + BigInt(offset), 8);
}

function enterHandler(p: Processor, flags: number, disable: boolean): void {
  const cleared = EFLAGS.tf | EFLAGS.nt | EFLAGS.rf | EFLAGS.vm | (disable ? EFLAGS.if : 0);
  p.setEflags(flags & ~cleared);
  p.modeChanged();
}

/** Protected mode without long mode, and real mode (SDM vol. 3, 6.12 and 20.1.4). */
function deliverLegacy(p: Processor, what: Interruption): GuestFault | undefined {
  const { state } = p;
  const { vector } = what;
  const flags = p.eflags;
  if (!p.protectedMode) {
    // a vector beyond the table is #GP, as a double fault does not exist here other than by that
    if (vector * 4 + 3 > state.get32(STATE.idtrLimit)) return { vector: VECTOR.gp };
    const entry = p.readSystem(state.get64(STATE.idtrBase) + BigInt(vector * 4), 4);
    if (isFault(entry)) return entry;
    const fault = pushFrame32(p, {
      size: 2,
      ss: SEG.ss,
      esp: p.gpr(GPR.rsp),
      values: [flags, p.selector(SEG.cs), Number(what.returnIp)],
    });
    if (fault) return fault;
    const selector = Number(entry >> 16n);
    p.setSegment(SEG.cs, selector, BigInt(selector) << 4n, p.limit(SEG.cs), p.attributes(SEG.cs));
    state.set64(STATE.ip, (BigInt(selector) << 4n) + (entry & 0xffffn));
    enterHandler(p, flags & ~EFLAGS.ac, true);
    return undefined;
  }
  const ext = what.kind === 'software' ? 0 : 1;
  const gateFault = (v: number): GuestFault => ({ vector: v, error: vector * 8 + 2 + ext });
  if (vector * 8 + 7 > state.get32(STATE.idtrLimit)) return gateFault(VECTOR.gp);
  const gate = p.readSystem(state.get64(STATE.idtrBase) + BigInt(vector * 8), 8);
  if (isFault(gate)) return gate;
  const attributes = Number((gate >> 40n) & 0xffn);
  const type = attributes & 0x1f;
  const { cpl } = p;
  if (type !== 6 && type !== 7 && type !== 0xe && type !== 0xf) return gateFault(VECTOR.gp);
  if (what.kind === 'software' && dplOf(attributes) < cpl) return gateFault(VECTOR.gp);
  if (!(attributes & ATTRIBUTE.present)) return gateFault(VECTOR.np);
  const selector = Number((gate >> 16n) & 0xffffn);
  const wide = type >= 0xe;
  const target = wide ? (gate & 0xffffn) | ((gate >> 32n) & 0xffff_0000n) : gate & 0xffffn;
  const code = interruptCodeSegment(p, selector, cpl, ext);
  if (isFault(code)) return code;
  const saved = what.kind === 'exception' && FAULTS.has(vector) ? flags | EFLAGS.rf : flags;
  const values = [saved, p.selector(SEG.cs), Number(what.returnIp)];
  if (what.error !== undefined) values.push(what.error);
  const frame: InterruptFrame = { size: wide ? 4 : 2, ss: SEG.ss, esp: p.gpr(GPR.rsp), values, ext };
  const beyond = target > BigInt(code.d.limit);
  if (code.cpl < cpl) {
    const stack = checkInterruptStack(p, code.cpl, ext);
    if (isFault(stack)) return stack;
    if (beyond) return { vector: VECTOR.gp, error: ext };
    const old = [p.selector(SEG.ss), Number(p.gpr(GPR.rsp) & 0xffff_ffffn)];
    const fault = pushFrame32(p, { ...frame, esp: stack.esp, values: [...old, ...values], stack });
    if (fault) return fault;
  } else {
    if (beyond) return { vector: VECTOR.gp, error: ext };
    const fault = pushFrame32(p, frame);
    if (fault) return fault;
  }
  const fault = setCodeSegment(p, selector, code.d, code.cpl);
  if (fault) return fault;
  state.set64(STATE.ip, (code.d.base + target) & 0xffff_ffffn);
  enterHandler(p, flags, (type & 1) === 0);
  return undefined;
}
