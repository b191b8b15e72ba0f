import { type CpuidOptions, cpuid, xcr0Allowed } from '../cpuid.ts';
import { MARKER_LEAF, type Marker, readMarker } from '../marker.ts';
import type { SystemOperation } from '../semantics/system-operations.ts';
import { EXIT, STATE, STEP, VECTOR } from '../state.ts';
import { allowedCr4, updateUnits, writeCr0, writeCr3, writeCr4 } from './control.ts';
import { DR6, DR7_GD, noteDebug, watchData } from './debug.ts';
import { farCall, farJump, farReturn, interruptReturn, loadSystemSegment } from './far.ts';
import { deliver } from './interrupts.ts';
import type { ModelSpecificRegisters } from './msr.ts';
import { ATTRIBUTE, dplOf, EFLAGS, GPR, type GuestFault, isFault, type Processor, SEG } from './processor.ts';
import { fetchDescriptor, loadDataSegment } from './segments.ts';

/** What an operation needs besides the processor. */
export interface SystemContext {
  readonly p: Processor;
  readonly msr: ModelSpecificRegisters;
  readonly cpuid: CpuidOptions;
  readonly features: ReadonlySet<string>;
  /** Task priority (CR8), which lives in the local APIC. */
  taskPriority: number;
  /** An instruction without semantics was executed: number of its name. */
  countUndefined(id: number): void;
  /** The guest marks a region of interest. */
  marked(marker: Marker): void;
}
type Operation = (cx: SystemContext, args: readonly bigint[]) => GuestFault | number | undefined;

const GP: GuestFault = { vector: VECTOR.gp, error: 0 };
const UD: GuestFault = { vector: VECTOR.ud };
const low32 = (value: bigint): bigint => value & 0xffff_ffffn;
/** After a change of modes or mappings the run loop starts afresh at the next instruction. */
function refreshed(p: Processor): number {
  p.state.set64(STATE.ip, p.state.get64(STATE.nextIp));
  return EXIT.refresh;
}
/** A far transfer has set STATE.ip. */
const transferred = (fault: GuestFault | undefined): GuestFault | number => fault ?? EXIT.refresh;
/** After MOV SS and POP SS: neither interrupts nor debug exceptions before the next instruction has retired. */
function shadow(p: Processor): void {
  p.state.set32(STATE.shadow, p.state.get32(STATE.budget));
  p.state.set32(STATE.singleStep, STEP.inhibited);
}
/** DR7.GD: any use of a debug register raises #DB before it (SDM vol. 3, 17.2.4). */
function guarded(p: Processor): GuestFault | undefined {
  if (!(p.state.get64(STATE.dr + 56) & DR7_GD)) return undefined;
  noteDebug(p, DR6.bd);
  return { vector: VECTOR.db };
}

function setNarrow(p: Processor, index: number, size: number, value: bigint): void {
  const mask = size === 2 ? 0xffffn : 0xffff_ffffn;
  p.setGpr(index, size === 8 ? value : size === 4 ? value & mask : (p.gpr(index) & ~mask) | (value & mask));
}
/** ES, SS, DS, FS, GS load; SS starts an interrupt shadow. */
function loadSegment(p: Processor, segment: number, selector: number): GuestFault | undefined {
  const fault = loadDataSegment(p, segment, selector);
  if (!fault && segment === SEG.ss) shadow(p);
  return fault;
}

/** VERR VERW LAR LSL: 0..3 (SDM vol. 2). Sets ZF; the last two a register too. */
function verify(
  p: Processor,
  kind: number,
  selector: number,
  destination: number,
  size: number,
): GuestFault | undefined {
  if (!p.protectedMode) return UD;
  const flags = p.eflags;
  const answer = (ok: boolean): undefined => {
    p.core.writeStatusFlags(ok ? flags | 0x40 : flags & ~0x40);
  };
  if ((selector & 0xfffc) === 0) return answer(false);
  const d = fetchDescriptor(p, selector);
  if (isFault(d)) return d.vector === VECTOR.pf ? d : answer(false);
  const a = d.attributes;
  const isCode = (a & ATTRIBUTE.notSystem) !== 0 && (a & ATTRIBUTE.code) !== 0;
  const conforming = isCode && (a & ATTRIBUTE.conforming) !== 0;
  const visible = conforming || (dplOf(a) >= p.cpl && dplOf(a) >= (selector & 3));
  if (!visible) return answer(false);
  if (kind < 2) {
    if (!(a & ATTRIBUTE.notSystem)) return answer(false);
    return answer(kind === 0 ? !isCode || (a & ATTRIBUTE.writable) !== 0 : !isCode && (a & ATTRIBUTE.writable) !== 0);
  }
  if (!(a & ATTRIBUTE.notSystem)) {
    const type = a & 0xf;
    const forLar = p.longMode ? [2, 9, 0xb, 0xc] : [1, 2, 3, 4, 5, 9, 0xb, 0xc];
    const forLsl = p.longMode ? [2, 9, 0xb] : [1, 2, 3, 9, 0xb];
    if (!(kind === 2 ? forLar : forLsl).includes(type)) return answer(false);
  }
  const value = kind === 2 ? BigInt(Number(d.raw >> 32n) & 0x00ff_ff00) : BigInt(d.limit);
  setNarrow(p, destination, size, value);
  return answer(true);
}

/** SYSENTER and SYSEXIT (SDM vol. 2): flat segments derived from IA32_SYSENTER_CS. */
function fastTransfer(p: Processor, cs: number, ss: number, cpl: number, to64: boolean, ip: bigint, sp: bigint): void {
  const user = cpl === 3 ? 0x60 : 0;
  p.setSegment(SEG.cs, cs, 0n, 0xffff_ffff, (to64 ? 0xa09b : 0xc09b) | user);
  p.setSegment(SEG.ss, ss, 0n, 0xffff_ffff, 0xc093 | user);
  p.state.set32(STATE.cpl, cpl);
  p.setGpr(GPR.rsp, sp);
  p.state.set64(STATE.ip, ip);
  p.modeChanged();
}

export const OPERATIONS: Readonly<Record<SystemOperation, Operation>> = {
  readCr({ p, taskPriority }, [n, destination]) {
    if (n !== 8n) return UD;
    p.setGpr(Number(destination), BigInt(taskPriority));
    return undefined;
  },
  writeCr(cx, [n, value]) {
    const { p } = cx;
    let fault: GuestFault | undefined;
    switch (Number(n)) {
      case 0:
        fault = writeCr0(p, value!);
        break;
      case 2:
        p.state.set64(STATE.cr2, value!);
        return undefined;
      case 3:
        fault = writeCr3(p, value!);
        break;
      case 4:
        fault = writeCr4(p, value!, allowedCr4(cx.features));
        break;
      case 8:
        if (value! >> 4n) return GP;
        cx.taskPriority = Number(value);
        return refreshed(p);
      default:
        return UD;
    }
    return fault ?? refreshed(p);
  },
  readDr({ p }, [n, destination]) {
    const i = Number(n);
    if (p.state.get64(STATE.cr4) & 8n && (i === 4 || i === 5)) return UD;
    const guard = guarded(p);
    if (guard) return guard;
    const value = p.state.get64(STATE.dr + (i === 4 ? 6 : i === 5 ? 7 : i) * 8);
    p.setGpr(Number(destination), value);
    return undefined;
  },
  writeDr({ p }, [n, value]) {
    const i = Number(n);
    if (p.state.get64(STATE.cr4) & 8n && (i === 4 || i === 5)) return UD;
    const guard = guarded(p);
    if (guard) return guard;
    const index = i === 4 ? 6 : i === 5 ? 7 : i;
    if (index >= 6 && value! >> 32n) return GP;
    if (index < 4 && !p.canonical(value!)) return GP;
    const fixed =
      index === 6 ? (value! & 0xe00fn) | 0xffff_0ff0n : index === 7 ? (value! & 0xffff_23ffn) | 0x400n : value!;
    p.state.set64(STATE.dr + index * 8, fixed);
    watchData(p);
    return refreshed(p);
  },
  rdmsr({ p, msr }) {
    const value = msr.read(Number(low32(p.gpr(GPR.rcx))));
    if (isFault(value)) return value;
    p.setGpr(GPR.rax, low32(value));
    p.setGpr(GPR.rdx, low32(value >> 32n));
    return undefined;
  },
  wrmsr({ p, msr }) {
    const value = (low32(p.gpr(GPR.rdx)) << 32n) | low32(p.gpr(GPR.rax));
    return msr.write(Number(low32(p.gpr(GPR.rcx))), value) ?? refreshed(p);
  },
  cpuid({ p, cpuid: options, marked }) {
    const state = { cr4: p.state.get64(STATE.cr4), xcr0: p.state.get64(STATE.xcr0) };
    const leaf = Number(low32(p.gpr(GPR.rax)));
    if (leaf === MARKER_LEAF) {
      const marker = readMarker(p.gpr(GPR.rcx), p.gpr(GPR.rbx), p.gpr(GPR.rdx));
      if (marker) marked(marker);
    }
    const r = cpuid(leaf, Number(low32(p.gpr(GPR.rcx))), options, state);
    p.setGpr(GPR.rax, BigInt(r.eax));
    p.setGpr(GPR.rbx, BigInt(r.ebx));
    p.setGpr(GPR.rcx, BigInt(r.ecx));
    p.setGpr(GPR.rdx, BigInt(r.edx));
    return undefined;
  },
  lgdt({ p }, [limit, base]) {
    if (!p.canonical(base!)) return GP;
    p.state.set32(STATE.gdtrLimit, Number(limit));
    p.state.set64(STATE.gdtrBase, base!);
    return undefined;
  },
  lidt({ p }, [limit, base]) {
    if (!p.canonical(base!)) return GP;
    p.state.set32(STATE.idtrLimit, Number(limit));
    p.state.set64(STATE.idtrBase, base!);
    return undefined;
  },
  lldt: ({ p }, [selector]) => (p.protectedMode ? loadSystemSegment(p, SEG.ldtr, Number(selector) & 0xffff) : UD),
  ltr: ({ p }, [selector]) => (p.protectedMode ? loadSystemSegment(p, SEG.tr, Number(selector) & 0xffff) : UD),
  lmsw({ p }, [value]) {
    // PE can be set but not cleared
    const old = p.state.get64(STATE.cr0);
    return writeCr0(p, (old & ~0xen) | (value! & 0xfn)) ?? refreshed(p);
  },
  invlpg({ p }, [linear]) {
    p.core.invalidatePage(BigInt.asIntN(64, linear!));
    return refreshed(p);
  },
  invpcid(cx, [type, pcid, linear]) {
    const { p } = cx;
    if (type! > 3n || pcid! >> 12n) return GP;
    const identifiers = (p.state.get64(STATE.cr4) & 0x2_0000n) !== 0n;
    if (type! < 2n && pcid !== 0n && !identifiers) return GP;
    if (type === 0n && !p.canonical(linear!)) return GP;
    // nothing is kept for other identifiers
    p.core.flushTlb();
    return refreshed(cx.p);
  },
  xsetbv({ p, features }) {
    if (!(p.state.get64(STATE.cr4) & 0x4_0000n)) return UD;
    const value = (low32(p.gpr(GPR.rdx)) << 32n) | low32(p.gpr(GPR.rax));
    if (low32(p.gpr(GPR.rcx)) !== 0n || !(value & 1n) || value & ~xcr0Allowed(features)) return GP;
    if (value & 4n && !(value & 2n)) return GP;
    p.state.set64(STATE.xcr0, value);
    updateUnits(p);
    return refreshed(p);
  },
  loadSegment: ({ p }, [segment, selector]) => loadSegment(p, Number(segment), Number(selector)) ?? refreshed(p),
  popSegment({ p }, [segment, selector, size]) {
    const fault = loadSegment(p, Number(segment), Number(selector));
    if (fault) return fault;
    const mask = p.code64 ? 0xffff_ffff_ffff_ffffn : p.attributes(SEG.ss) & ATTRIBUTE.big ? 0xffff_ffffn : 0xffffn;
    const rsp = p.gpr(GPR.rsp);
    p.setGpr(GPR.rsp, (rsp & ~mask) | ((rsp + size!) & mask));
    return refreshed(p);
  },
  loadFarPointer({ p }, [segment, selector, offset, destination]) {
    const fault = loadSegment(p, Number(segment), Number(selector));
    if (fault) return fault;
    setNarrow(p, Number(destination! & 0xffn), Number(destination! >> 8n), offset!);
    return refreshed(p);
  },
  farJump: ({ p }, [selector, offset]) => transferred(farJump(p, Number(selector), offset!)),
  farCall({ p }, [selector, offset, size]) {
    const returnIp = p.code64 ? p.state.get64(STATE.nextIp) : low32(p.state.get64(STATE.nextIp) - p.base(SEG.cs));
    return transferred(farCall(p, Number(selector), offset!, Number(size) as 2 | 4 | 8, returnIp));
  },
  farReturn: ({ p }, [size, release]) => transferred(farReturn(p, Number(size) as 2 | 4 | 8, Number(release))),
  iret({ p }, [size]) {
    // NMIs are unblocked even if IRET faults (SDM vol. 3, 6.7.1)
    p.state.set32(STATE.nmiBlocked, 0);
    return transferred(interruptReturn(p, Number(size) as 2 | 4 | 8));
  },
  softwareInterrupt({ p }, [vector, privileged]) {
    const next = p.state.get64(STATE.nextIp);
    const returnIp = p.code64 ? next : low32(next - p.base(SEG.cs));
    // the handler's TF is clear: an interrupt instruction is not followed by a single-step trap
    p.state.set32(STATE.singleStep, STEP.none);
    const kind = privileged === 1n ? 'external' : 'software';
    return transferred(deliver(p, { vector: Number(vector) & 0xff, kind, returnIp }));
  },
  sysenter({ p }) {
    const cs = Number(p.state.get64(STATE.sysenterCs)) & 0xfffc;
    if (!p.protectedMode || cs === 0) return GP;
    p.setEflags(p.eflags & ~(EFLAGS.vm | EFLAGS.if));
    const sp = p.state.get64(STATE.sysenterEsp);
    fastTransfer(p, cs, cs + 8, 0, p.longMode, p.state.get64(STATE.sysenterEip), p.longMode ? sp : low32(sp));
    return EXIT.refresh;
  },
  sysexit({ p }, [size]) {
    const cs = Number(p.state.get64(STATE.sysenterCs)) & 0xfffc;
    if (!p.protectedMode || cs === 0 || p.cpl !== 0) return GP;
    const to64 = size === 8n;
    const ip = to64 ? p.gpr(GPR.rdx) : low32(p.gpr(GPR.rdx));
    const sp = to64 ? p.gpr(GPR.rcx) : low32(p.gpr(GPR.rcx));
    if (to64 && (!p.canonical(ip) || !p.canonical(sp))) return GP;
    fastTransfer(p, (cs + (to64 ? 32 : 16)) | 3, (cs + (to64 ? 40 : 24)) | 3, 3, to64, ip, sp);
    return EXIT.refresh;
  },
  verify: ({ p }, [kind, selector, destination, size]) =>
    verify(p, Number(kind), Number(selector! & 0xffffn), Number(destination ?? 0n), Number(size ?? 0n)),
  undefined(cx, [id]) {
    cx.countUndefined(Number(id));
    return UD;
  },
};
