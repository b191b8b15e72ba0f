import { type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import { STATE, VECTOR } from '../state.ts';
import type { Bytes, Semantics, SemanticsContext } from './context.ts';
import { stackLinear } from './shared.ts';

/** Privileged and system instructions. What needs descriptor tables is handed to JavaScript (cx.system). */
const EFLAGS_IF = 0x200;
const EFLAGS_AC = 0x4_0000;
const CR4 = { tsd: 4, fsgsbase: 0x1_0000, osxsave: 0x4_0000, pke: 0x40_0000, umip: 0x800 } as const;
/** 64-bit code and flat data as SYSCALL and SYSRET leave them (SDM vol. 2, SYSCALL). */
const FLAT = { code64: 0xa09b, code64User: 0xa0fb, code32User: 0xc0fb, data: 0xc093, dataUser: 0xc0f3 } as const;

const cpl = (cx: SemanticsContext): I32 => cx.state32(STATE.cpl);
const iopl = (cx: SemanticsContext): I32 => i32.and(i32.shrU(cx.state32(STATE.eflags), i32.const(12)), i32.const(3));
const outsideIopl = (cx: SemanticsContext): I32 => i32.gtU(cpl(cx), iopl(cx));
const bits32 = (cell: I32, mask: number): I32 => i32.ne(i32.and(cell, i32.const(mask)), i32.const(0));
const i64of = (x: I32): I64 => i64.extendU(x);
/** UMIP: descriptor-table and machine-status reads are for the kernel only. */
const refuseUnderUmip = (cx: SemanticsContext): void =>
  cx.raiseIf(i32.and(bits32(cx.state32(STATE.cr4), CR4.umip), i32.ne(cpl(cx), i32.const(0))), VECTOR.gp, 0);

export const mov_cr: Semantics = (cx) => {
  const { f } = cx;
  if (cx.kind(0) === 'cr') {
    cx.system('writeCr', [i64of(cx.registerNumber(0)), cx.read(1)]);
    return;
  }
  const n = f.let(cx.registerNumber(1));
  const is = (index: number): I32 => i32.eq(n, i32.const(index));
  f.if(is(8), () => cx.system('readCr', [i64of(n), i64of(cx.registerNumber(0))]), undefined, 'unlikely');
  cx.raiseIf(i32.or(i32.gtU(n, i32.const(4)), is(1)), VECTOR.ud);
  const low = i64.select(is(0), cx.state64(STATE.cr0), cx.state64(STATE.cr2));
  const high = i64.select(is(3), cx.state64(STATE.cr3), cx.state64(STATE.cr4));
  cx.write(0, i64.select(i32.ltU(n, i32.const(3)), low, high));
};
export const mov_dr: Semantics = (cx) => {
  if (cx.kind(0) === 'dr') cx.system('writeDr', [i64of(cx.registerNumber(0)), cx.read(1)]);
  else cx.system('readDr', [i64of(cx.registerNumber(1)), i64of(cx.registerNumber(0))]);
};
export const clts: Semantics = (cx) =>
  cx.system('writeCr', [i64.const(0), i64.and(cx.state64(STATE.cr0), i64.const(~8))]);
export const lmsw: Semantics = (cx) => cx.system('lmsw', [cx.read(0)]);
export const smsw: Semantics = (cx) => {
  refuseUnderUmip(cx);
  cx.write(0, cx.state64(STATE.cr0));
};
export const rdmsr: Semantics = (cx) => cx.system('rdmsr');
export const wrmsr: Semantics = (cx) => cx.system('wrmsr');
export const cpuid: Semantics = (cx) => cx.system('cpuid');
export const invlpg: Semantics = (cx) => cx.system('invlpg', [cx.linearAddress(0, 'unchecked')]);
export const invpcid: Semantics = (cx) => {
  const at = cx.linearAddress(1);
  const pcid = cx.f.let(cx.load(8, at));
  cx.system('invpcid', [cx.read(0), pcid, cx.load(8, i64.add(at, i64.const(8)))]);
};
export const wbinvd: Semantics = () => {
  // no caches are modelled
};
export const invd: Semantics = wbinvd;

// ---- descriptor tables
const loadTable =
  (operation: 'lgdt' | 'lidt'): Semantics =>
  (cx) => {
    const at = cx.linearAddress(0);
    const limit = cx.f.let(cx.load(2, at));
    const from = i64.add(at, i64.const(2));
    const base = cx.facts.mode === 64 ? cx.load(8, from) : cx.load(4, from);
    const narrow = cx.facts.mode !== 64 && cx.facts.operandSize === 2;
    cx.system(operation, [limit, narrow ? i64.and(base, i64.const(0xff_ffff)) : base]);
  };
const storeTable =
  (limit: number, base: number): Semantics =>
  (cx) => {
    refuseUnderUmip(cx);
    const at = cx.linearAddress(0, 'write');
    const width: Bytes = cx.facts.mode === 64 ? 8 : 4;
    cx.probeWrite(2 + width, at);
    cx.store(2, at, i64of(cx.state32(limit)));
    cx.store(width, i64.add(at, i64.const(2)), cx.state64(base));
  };
export const lgdt = loadTable('lgdt');
export const lidt = loadTable('lidt');
export const sgdt = storeTable(STATE.gdtrLimit, STATE.gdtrBase);
export const sidt = storeTable(STATE.idtrLimit, STATE.idtrBase);
export const lldt: Semantics = (cx) => cx.system('lldt', [cx.read(0)]);
export const ltr: Semantics = (cx) => cx.system('ltr', [cx.read(0)]);
const storeSelector =
  (segment: number): Semantics =>
  (cx) => {
    refuseUnderUmip(cx);
    cx.write(0, i64of(cx.state32(STATE.selector + segment * 4)));
  };
export const sldt = storeSelector(6);
export const str = storeSelector(7);
const verify =
  (kind: number): Semantics =>
  (cx) =>
    kind < 2
      ? cx.system('verify', [i64.const(kind), cx.read(0)])
      : cx.system('verify', [
          i64.const(kind),
          cx.kind(1) === 'mem' ? cx.readMemory(1, 2) : i64.and(cx.read(1), i64.const(0xffff)),
          i64of(cx.registerNumber(0)),
          i64.const(cx.facts.operandSize),
        ]);
export const verr = verify(0);
export const verw = verify(1);
export const lar = verify(2);
export const lsl = verify(3);

// ---- segment registers
export const mov_seg: Semantics = (cx) => {
  if (cx.kind(0) !== 'seg') {
    cx.write(0, i64of(i32.load(i32.shl(cx.registerNumber(1), i32.const(2)), STATE.selector)));
    return;
  }
  const selector = cx.kind(1) === 'mem' ? cx.readMemory(1, 2) : cx.read(1);
  cx.system('loadSegment', [i64of(cx.registerNumber(0)), i64.and(selector, i64.const(0xffff))]);
};
const stackPointer = (cx: SemanticsContext): I64 => cx.gpr(4, cx.facts.stackSize);
const wrapStack = (cx: SemanticsContext, offset: I64): I64 =>
  cx.facts.stackSize === 8 ? offset : i64.and(offset, i64.const(cx.facts.stackSize === 4 ? 0xffff_ffff : 0xffff));
/** Pushes one value of the operand size. */
function push(cx: SemanticsContext, value: I64, storedWidth: Bytes = cx.facts.operandSize): void {
  const { f } = cx;
  const v = f.let(value);
  const rsp = f.let(wrapStack(cx, i64.sub(stackPointer(cx), i64.const(cx.facts.operandSize))));
  cx.store(storedWidth, stackLinear(cx, rsp, storedWidth, 'write'), v, true);
  cx.setGpr(4, rsp, cx.facts.stackSize);
}
// a wide push of a selector writes only its two bytes (SDM vol. 2, PUSH)
export const push_seg: Semantics = (cx) =>
  push(
    cx,
    i64of(i32.load(i32.shl(cx.registerNumber(0), i32.const(2)), STATE.selector)),
    cx.facts.operandSize === 2 ? 2 : cx.facts.operandSize,
  );
export const pop_seg: Semantics = (cx) => {
  const selector = cx.load(2, stackLinear(cx, stackPointer(cx), 2, 'read'), true);
  cx.system('popSegment', [i64of(cx.registerNumber(0)), selector, i64.const(cx.facts.operandSize)]);
};
const loadFar =
  (segment: number): Semantics =>
  (cx) => {
    const { selector, offset } = cx.farPointer(1);
    const sel = cx.f.let(selector);
    cx.system('loadFarPointer', [
      i64.const(segment),
      sel,
      offset,
      i64.or(i64of(cx.registerNumber(0)), i64.const(cx.facts.operandSize << 8)),
    ]);
  };
export const les = loadFar(0);
export const lss = loadFar(2);
export const lds = loadFar(3);
export const lfs = loadFar(4);
export const lgs = loadFar(5);

// ---- flags and interrupts
export const cli: Semantics = (cx) => {
  cx.raiseIf(outsideIopl(cx), VECTOR.gp, 0);
  cx.setState32(STATE.eflags, i32.and(cx.state32(STATE.eflags), i32.const(~EFLAGS_IF)));
};
export const sti: Semantics = (cx) => {
  cx.raiseIf(outsideIopl(cx), VECTOR.gp, 0);
  const old = cx.f.let(cx.state32(STATE.eflags));
  cx.setState32(STATE.eflags, i32.or(old, i32.const(EFLAGS_IF)));
  cx.f.if(i32.eqz(i32.and(old, i32.const(EFLAGS_IF))), () => {
    // the shadow is known by what is left of the budget, which this may lower
    cx.recheckInterrupts(1);
    cx.interruptShadow();
  });
};
export const pushf: Semantics = (cx) => {
  // VM and RF read as zero
  push(cx, i64of(i32.and(i32.or(cx.flagsWord(), cx.state32(STATE.eflags)), i32.const(0xfc_ffff))));
};
export const popf: Semantics = (cx) => {
  const { f } = cx;
  const size = cx.facts.operandSize;
  const rsp = f.let(stackPointer(cx));
  const value = f.let(i32.wrap(cx.load(size, stackLinear(cx, rsp, size, 'read'), true)));
  const kernel = i32.eqz(cpl(cx));
  const old = f.let(cx.state32(STATE.eflags));
  // TF DF NT always (and AC ID in a wide form); IF within IOPL, IOPL in the kernel
  const always = 0x4500 | (size > 2 ? 0x24_0000 : 0);
  const changeable = f.let(
    i32.or(
      i32.const(always),
      i32.or(
        i32.select(outsideIopl(cx), i32.const(0), i32.const(EFLAGS_IF)),
        i32.select(kernel, i32.const(0x3000), i32.const(0)),
      ),
    ),
  );
  const next = f.let(i32.or(i32.and(old, i32.xor(changeable, i32.const(-1))), i32.and(value, changeable)));
  cx.setGpr(4, wrapStack(cx, i64.add(rsp, i64.const(size))), cx.facts.stackSize);
  cx.setState32(STATE.eflags, next);
  cx.flagsFromWord(value);
  const changed = f.let(i32.and(i32.xor(old, next), i32.const(EFLAGS_AC | EFLAGS_IF | 0x100)));
  f.if(
    changed,
    () => {
      f.if(i32.and(changed, i32.const(EFLAGS_AC)), () => f.callVoid(cx.helper('updatePrivilege'), []));
      f.if(i32.and(next, i32.const(EFLAGS_IF)), () => cx.recheckInterrupts(0));
      // single stepping is the run loop's business
      f.if(i32.and(next, i32.const(0x100)), () => cx.endSlice());
    },
    undefined,
    'unlikely',
  );
};
const setAc =
  (on: boolean): Semantics =>
  (cx) => {
    cx.raiseIf(cpl(cx), VECTOR.ud);
    const flags = cx.state32(STATE.eflags);
    cx.setState32(STATE.eflags, on ? i32.or(flags, i32.const(EFLAGS_AC)) : i32.and(flags, i32.const(~EFLAGS_AC)));
    cx.f.callVoid(cx.helper('updatePrivilege'), []);
  };
export const stac = setAc(true);
export const clac = setAc(false);
export const hlt: Semantics = (cx) => cx.halt();
const softwareInterrupt = (cx: SemanticsContext, vector: I64, privileged = false): void =>
  cx.system('softwareInterrupt', [vector, i64.const(privileged ? 1 : 0)]);
export const int: Semantics = (cx) => softwareInterrupt(cx, cx.read(0));
export const int3: Semantics = (cx) => softwareInterrupt(cx, i64.const(VECTOR.bp));
/** Any privilege may use it, whatever the gate's DPL (SDM vol. 2, INT1). */
export const int1: Semantics = (cx) => softwareInterrupt(cx, i64.const(VECTOR.db), true);
export const iret: Semantics = (cx) => {
  if (cx.facts.mode === 64 && cx.facts.operandSize === 8) {
    cx.f.if(cx.call('i32', 'iretFast', []), () => {
      cx.f.if(i32.and(cx.state32(STATE.eflags), i32.const(EFLAGS_IF)), () => cx.recheckInterrupts(0));
      cx.jumpAnywhere(cx.state64(STATE.ip));
    });
  }
  cx.system('iret', [i64.const(cx.facts.operandSize)]);
};

// ---- far control transfers
export const jmp_far: Semantics = (cx) => {
  const { selector, offset } = cx.farPointer(0);
  cx.system('farJump', [selector, offset]);
};
export const call_far: Semantics = (cx) => {
  const { selector, offset } = cx.farPointer(0);
  cx.system('farCall', [selector, offset, i64.const(cx.facts.operandSize)]);
};
export const ret_far: Semantics = (cx) =>
  cx.system('farReturn', [i64.const(cx.facts.operandSize), cx.facts.operands.length > 0 ? cx.read(0) : i64.const(0)]);

// ---- fast system calls
const setFlat = (cx: SemanticsContext, segment: number, selector: I32, attributes: number): void => {
  cx.setState32(STATE.selector + segment * 4, selector);
  cx.setState64(STATE.segBase + segment * 8, i64.const(0));
  cx.setState32(STATE.segLimit + segment * 4, i32.const(-1));
  cx.setState32(STATE.segAccess + segment * 4, i32.const(attributes));
  cx.setState32(STATE.segmentCheck + segment * 4, i32.const(segment === 1 ? 1 : 0));
};
const needSyscallEnable = (cx: SemanticsContext): void =>
  cx.raiseIf(i64.eqz(i64.and(cx.state64(STATE.efer), i64.const(1))), VECTOR.ud);
export const syscall: Semantics = (cx) => {
  const { f } = cx;
  needSyscallEnable(cx);
  const flags = f.let(i32.or(cx.state32(STATE.eflags), cx.flagsWord()));
  cx.setGpr(1, cx.nextIp());
  cx.setGpr(11, i64of(i32.and(flags, i32.const(~0x1_0000))));
  const kept = f.let(
    i32.and(flags, i32.xor(i32.or(i32.wrap(cx.state64(STATE.sfmask)), i32.const(0x1_0000)), i32.const(-1))),
  );
  cx.setState32(STATE.eflags, i32.or(i32.and(kept, i32.const(0x3f_7700)), i32.const(2)));
  cx.flagsFromWord(kept);
  const selector = f.let(i32.and(i32.wrap(i64.shrU(cx.state64(STATE.star), i64.const(32))), i32.const(0xfffc)));
  setFlat(cx, 1, selector, FLAT.code64);
  setFlat(cx, 2, i32.and(i32.add(selector, i32.const(8)), i32.const(0xffff)), FLAT.data);
  cx.setState32(STATE.cpl, i32.const(0));
  cx.setState32(STATE.codeMode, i32.const(0));
  f.callVoid(cx.helper('updatePrivilege'), []);
  // a single-step trap follows only if IA32_FMASK has left TF set
  cx.setState32(STATE.singleStep, i32.and(i32.shrU(kept, i32.const(8)), i32.const(1)));
  cx.jumpAnywhere(cx.state64(STATE.lstar));
};
export const sysret: Semantics = (cx) => {
  const { f } = cx;
  needSyscallEnable(cx);
  const to64 = cx.facts.operandSize === 8;
  const target = f.let(to64 ? cx.gpr(1) : cx.gpr(1, 4));
  if (to64) cx.raiseIf(i32.eqz(cx.call('i32', 'isCanonical', [target])), VECTOR.gp, 0);
  const flags = f.let(i32.or(i32.and(i32.wrap(cx.gpr(11)), i32.const(0x3c_7fd7)), i32.const(2)));
  cx.setState32(STATE.eflags, i32.and(flags, i32.const(0x3f_7702)));
  cx.flagsFromWord(flags);
  const selector = f.let(i32.wrap(i64.shrU(cx.state64(STATE.star), i64.const(48))));
  const user = (offset: number): I32 =>
    i32.and(i32.or(i32.add(selector, i32.const(offset)), i32.const(3)), i32.const(0xffff));
  setFlat(cx, 1, user(to64 ? 16 : 0), to64 ? FLAT.code64User : FLAT.code32User);
  setFlat(cx, 2, user(8), FLAT.dataUser);
  cx.setState32(STATE.cpl, i32.const(3));
  cx.setState32(STATE.codeMode, i32.const(to64 ? 0 : 5));
  f.callVoid(cx.helper('updatePrivilege'), []);
  f.if(i32.and(flags, i32.const(EFLAGS_IF)), () => cx.recheckInterrupts(0));
  f.if(i32.and(flags, i32.const(0x100)), () => cx.endSlice(), undefined, 'unlikely');
  cx.jumpAnywhere(target);
};
export const sysenter: Semantics = (cx) => cx.system('sysenter');
export const sysexit: Semantics = (cx) => cx.system('sysexit', [i64.const(cx.facts.operandSize)]);
export const swapgs: Semantics = (cx) => {
  const gs = STATE.segBase + 5 * 8;
  const old = cx.f.let(cx.state64(gs));
  cx.setState64(gs, cx.state64(STATE.kernelGsBase));
  cx.setState64(STATE.kernelGsBase, old);
};
const needFsGsBase = (cx: SemanticsContext): void =>
  cx.raiseIf(i32.eqz(bits32(cx.state32(STATE.cr4), CR4.fsgsbase)), VECTOR.ud);
const readBase =
  (segment: number): Semantics =>
  (cx) => {
    needFsGsBase(cx);
    cx.write(0, cx.state64(STATE.segBase + segment * 8));
  };
const writeBase =
  (segment: number): Semantics =>
  (cx) => {
    needFsGsBase(cx);
    const value = cx.f.let(cx.read(0));
    if (cx.facts.operandSize === 8) cx.raiseIf(i32.eqz(cx.call('i32', 'isCanonical', [value])), VECTOR.gp, 0);
    cx.setState64(STATE.segBase + segment * 8, value);
  };
export const rdfsbase = readBase(4);
export const rdgsbase = readBase(5);
export const wrfsbase = writeBase(4);
export const wrgsbase = writeBase(5);

// ---- time and randomness
const timeStamp = (cx: SemanticsContext): void => {
  const { f } = cx;
  const restricted = bits32(cx.state32(STATE.cr4), CR4.tsd);
  cx.raiseIf(i32.and(restricted, i32.ne(cpl(cx), i32.const(0))), VECTOR.gp, 0);
  const tsc = f.let(i64.truncF64S(cx.call('f64', 'readTsc', [])));
  cx.setGpr(0, i64.and(tsc, i64.const(0xffff_ffff)));
  cx.setGpr(2, i64.shrU(tsc, i64.const(32)));
};
export const rdtsc: Semantics = timeStamp;
export const rdtscp: Semantics = (cx) => {
  timeStamp(cx);
  cx.setGpr(1, i64.and(cx.state64(STATE.tscAux), i64.const(0xffff_ffff)));
};
export const rdpid: Semantics = (cx) => cx.write(0, i64.and(cx.state64(STATE.tscAux), i64.const(0xffff_ffff)));
export const rdpmc: Semantics = (cx) => cx.raise(VECTOR.gp, 0);
const random: Semantics = (cx) => {
  cx.write(0, cx.call('i64', 'random', []));
  cx.flagsFromWord(i32.const(1));
};
export const rdrand = random;
export const rdseed = random;

// ---- extended state
export const xgetbv: Semantics = (cx) => {
  cx.raiseIf(i32.eqz(bits32(cx.state32(STATE.cr4), CR4.osxsave)), VECTOR.ud);
  const { f } = cx;
  const index = f.let(cx.gpr(1, 4));
  cx.raiseIf(i64.gtU(index, i64.const(1)), VECTOR.gp, 0);
  const value = f.let(cx.state64(STATE.xcr0));
  cx.setGpr(0, i64.and(value, i64.const(0xffff_ffff)));
  cx.setGpr(2, i64.shrU(value, i64.const(32)));
};
/** Protection-key rights of user pages (SDM vol. 3, 4.6.2). */
const needPke = (cx: SemanticsContext): void => {
  cx.raiseIf(i32.eqz(bits32(cx.state32(STATE.cr4), CR4.pke)), VECTOR.ud);
  cx.raiseIf(i64.ne(cx.gpr(1, 4), i64.const(0)), VECTOR.gp, 0);
};
export const rdpkru: Semantics = (cx) => {
  needPke(cx);
  cx.setGpr(0, i64of(cx.state32(STATE.pkru)));
  cx.setGpr(2, i64.const(0));
};
export const wrpkru: Semantics = (cx) => {
  needPke(cx);
  cx.raiseIf(i64.ne(cx.gpr(2, 4), i64.const(0)), VECTOR.gp, 0);
  cx.f.callVoid(cx.helper('writePkru'), [i32.wrap(cx.gpr(0))]);
};
export const xsetbv: Semantics = (cx) => cx.system('xsetbv');

// ---- ports
const portOf = (cx: SemanticsContext, i: number): I32 => i32.wrap(cx.read(i));
function checkPort(cx: SemanticsContext, port: I32, width: number): void {
  const { f } = cx;
  f.if(
    outsideIopl(cx),
    () => {
      const allowed = f.let(cx.call('i32', 'ioAllowed', [port, i32.const(width)]));
      cx.checkFault();
      cx.raiseIf(i32.eqz(allowed), VECTOR.gp, 0);
    },
    undefined,
    'unlikely',
  );
}
export const in_: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(0);
  const port = f.let(i32.and(portOf(cx, 1), i32.const(cx.width(1) === 1 ? 0xff : 0xffff)));
  checkPort(cx, port, width);
  cx.write(0, i64of(cx.call('i32', 'portIn', [port, i32.const(width)])));
};
export const out: Semantics = (cx) => {
  const { f } = cx;
  const width = cx.width(1);
  const port = f.let(i32.and(portOf(cx, 0), i32.const(cx.width(0) === 1 ? 0xff : 0xffff)));
  checkPort(cx, port, width);
  f.callVoid(cx.helper('portOut'), [port, i32.const(width), i32.wrap(cx.read(1))]);
};
/** One iteration of INS or OUTS; REP comes back to the same instruction until the count is zero. */
const stringPort =
  (input: boolean): Semantics =>
  (cx) => {
    const { f, facts } = cx;
    const memory = input ? 0 : 1;
    const width = cx.width(memory) as Bytes;
    const pointer = input ? 7 : 6;
    // the permission is asked for even when the count is 0 (reference CPU)
    const port = f.let(i32.wrap(cx.gpr(2, 2)));
    checkPort(cx, port, width);
    const body = (): void => {
      const at = cx.linearAddress(memory, input ? 'write' : 'read');
      if (input) {
        cx.probeWrite(width, at);
        cx.store(width, at, i64of(cx.call('i32', 'portIn', [port, i32.const(width)])));
      } else {
        f.callVoid(cx.helper('portOut'), [port, i32.const(width), i32.wrap(cx.load(width, at))]);
      }
      const step = i64.select(bits32(cx.state32(STATE.eflags), 0x400), i64.const(-width), i64.const(width));
      cx.setGpr(pointer, i64.add(cx.gpr(pointer, facts.addressSize), step), facts.addressSize);
    };
    if (facts.rep === 'none') {
      body();
      return;
    }
    f.if(i64.ne(cx.gpr(1, facts.addressSize), i64.const(0)), () => {
      body();
      const left = f.let(i64.sub(cx.gpr(1, facts.addressSize), i64.const(1)));
      cx.setGpr(1, left, facts.addressSize);
      const more =
        facts.addressSize === 8 ? left : i64.and(left, i64.const(facts.addressSize === 4 ? 0xffff_ffff : 0xffff));
      f.if(i64.ne(more, i64.const(0)), () => cx.budget.repeat());
    });
  };
export const ins = stringPort(true);
export const outs = stringPort(false);
