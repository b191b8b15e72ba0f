/** XSAVE and XRSTOR in all their forms: state components saved, restored and initialised (SDM vol. 1, chapter 13). */
import { ZERO } from '../../wasm/builder.ts';
import { type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import { v128 } from '../../wasm/simd.ts';
import { XSAVE_COMPONENTS } from '../cpuid.ts';
import { XSTATE } from '../helpers/xsave.ts';
import { STATE, VECTOR } from '../state.ts';
import type { Semantics, SemanticsContext } from './context.ts';
import { byStackSegment, RAX } from './shared.ts';
import {
  buildLegacyImage,
  buildSseImage,
  initialize,
  loadImage,
  loadLegacyImage,
  registers,
  storeImage,
} from './x87-state.ts';

const CR0_TS = 8;
const CR4_OSXSAVE = 0x4_0000;
const IMAGE = STATE.image;
/** Offsets in the area and in STATE.image: the legacy region, the header, then the components. */
const MXCSR = 24;
const XMM = 160;
const HEADER = 512;
const COMPONENTS = 576;
const AVX_SIZE = XSAVE_COMPONENTS[2]![0];
const [PKRU_SIZE, PKRU_OFFSET] = XSAVE_COMPONENTS[9]!;
/** PKRU's place in STATE.image. */
const PKRU_IMAGE = COMPONENTS + AVX_SIZE;
const COMPACTED = i64.const(1n << 63n);
const MXCSR_INITIAL = 0x1f80;

const has = (mask: I32, components: number): I32 => i32.and(mask, i32.const(components));

/** The checks all forms share; then the address and the components asked for (XCR0 has none beyond bit 31). */
function begin(cx: SemanticsContext, access: 'read' | 'write'): { linear: I64; requested: I32 } {
  cx.raiseIf(i32.eqz(has(cx.state32(STATE.cr4), CR4_OSXSAVE)), VECTOR.ud);
  cx.raiseIf(has(cx.state32(STATE.cr0), CR0_TS), VECTOR.nm);
  const linear = cx.f.let(cx.linearAddress(0, access));
  cx.raiseIf(i64.ne(i64.and(linear, i64.const(63)), i64.const(0)), VECTOR.gp, 0);
  const requested = cx.f.let(i32.and(i32.wrap(cx.gpr(RAX, 4)), cx.state32(STATE.xcr0)));
  return { linear, requested };
}
const at = (linear: I64, offset: I32 | number): I64 =>
  i64.add(linear, typeof offset === 'number' ? i64.const(offset) : i64.extendU(offset));
/** Where PKRU lies: in the compacted form behind AVX, if `present` has that. */
function pkruOffset(compacted: boolean, present: I32): I32 {
  if (!compacted) return i32.const(PKRU_OFFSET);
  return i32.select(has(present, XSTATE.avx), i32.const(COMPONENTS + AVX_SIZE), i32.const(COMPONENTS));
}

function save(form: 'plain' | 'optimised' | 'compacted'): Semantics {
  return (cx) => {
    const { f } = cx;
    const { linear, requested } = begin(cx, 'write');
    const compacted = form === 'compacted';
    const inUse = f.let(cx.call('i32', 'xstateInUse', []));
    // an MXCSR other than the initial one keeps SSE in use for the compacted form, which has no other place for it
    const mxcsr = i32.select(
      i32.ne(cx.state32(STATE.mxcsr), i32.const(MXCSR_INITIAL)),
      i32.const(XSTATE.sse),
      i32.const(0),
    );
    const present = f.let(i32.and(requested, compacted ? i32.or(inUse, mxcsr) : inUse));
    const saved = form === 'plain' ? requested : present;
    const withMxcsr = compacted ? has(saved, XSTATE.sse) : has(requested, XSTATE.sse | XSTATE.avx);

    const xmmBytes = 16 * registers(cx);
    const pieces: readonly { wanted: I32; image: number; offset: I32; length: number }[] = [
      { wanted: has(saved, XSTATE.x87), image: 0, offset: i32.const(0), length: MXCSR },
      { wanted: withMxcsr, image: MXCSR, offset: i32.const(MXCSR), length: 8 },
      { wanted: has(saved, XSTATE.x87), image: 32, offset: i32.const(32), length: XMM - 32 },
      { wanted: has(saved, XSTATE.sse), image: XMM, offset: i32.const(XMM), length: xmmBytes },
      { wanted: has(saved, XSTATE.avx), image: COMPONENTS, offset: i32.const(COMPONENTS), length: xmmBytes },
      {
        wanted: has(saved, XSTATE.pkru),
        image: PKRU_IMAGE,
        offset: pkruOffset(compacted, requested),
        length: PKRU_SIZE,
      },
    ];
    const probe = (offset: I64): void =>
      byStackSegment(cx, 0, (stack) => cx.probeWrite(8, f.let(i64.add(linear, offset)), stack));
    // the reference CPU meets faults from the start of the area on
    probe(i64.const(0));
    probe(i64.const(HEADER));
    for (const { wanted, offset, length } of pieces)
      f.if(wanted, () => {
        probe(i64.extendU(offset));
        probe(i64.extendU(i32.add(offset, i32.const(length - 8))));
      });

    const old = f.let(compacted ? i64.const(0) : cx.load(8, f.let(at(linear, HEADER))));
    buildLegacyImage(cx);
    f.store32(ZERO, cx.state32(STATE.mxcsr), IMAGE + MXCSR);
    f.store32(ZERO, i32.const(0xffff), IMAGE + MXCSR + 4);
    buildSseImage(cx);
    for (let i = 0; i < registers(cx); i++)
      f.storeV128(ZERO, v128.load(ZERO, STATE.vec + 32 * i + 16), IMAGE + COMPONENTS + 16 * i);
    f.store64(ZERO, i64.extendU(cx.state32(STATE.pkru)), IMAGE + PKRU_IMAGE);
    const kept = i64.and(old, i64.xor(i64.extendU(requested), i64.const(-1)));
    f.store64(ZERO, i64.or(kept, i64.extendU(present)), IMAGE + HEADER);
    f.store64(ZERO, i64.or(i64.extendU(requested), COMPACTED), IMAGE + HEADER + 8);
    for (const { wanted, image, offset, length } of pieces)
      f.if(wanted, () => storeImage(cx, 0, image, length, at(linear, offset)));
    storeImage(cx, 0, HEADER, compacted ? 16 : 8, at(linear, HEADER));
  };
}

function restore(supervisor: boolean): Semantics {
  return (cx) => {
    const { f } = cx;
    const { linear, requested } = begin(cx, 'read');
    // the reference CPU meets faults from the start of the area on
    loadImage(cx, 0, 0, 8, linear);
    loadImage(cx, 0, HEADER, 64, at(linear, HEADER));
    const header = (offset: number): I64 => i64.load(ZERO, IMAGE + HEADER + offset);
    const refuse = (condition: I32): void => cx.raiseIf(condition, VECTOR.gp, 0);
    const stated = f.let(header(0));
    const layout = f.let(header(8));
    const compacted = f.let(i64.ltS(layout, i64.const(0)));
    const foreign = i64.xor(cx.state64(STATE.xcr0), i64.const(-1));
    if (supervisor) refuse(i32.eqz(compacted));
    // the standard form needs bytes 23:8 to be zero, the compacted one all from 16 on
    refuse(i64.ne(i64.and(stated, foreign), i64.const(0)));
    refuse(i64.ne(header(16), i64.const(0)));
    f.if(
      compacted,
      () => {
        const components = f.let(i64.and(layout, i64.const((1n << 63n) - 1n)));
        const absent = i64.and(stated, i64.xor(components, i64.const(-1)));
        refuse(i64.ne(i64.or(i64.and(components, foreign), absent), i64.const(0)));
        let reserved: I64 = header(24);
        for (let offset = 32; offset < 64; offset += 8) reserved = i64.or(reserved, header(offset));
        refuse(i64.ne(reserved, i64.const(0)));
      },
      () => refuse(i64.ne(layout, i64.const(0))),
    );
    const loaded = f.let(i32.and(requested, i32.wrap(stated)));
    const initial = f.let(i32.and(requested, i32.xor(i32.wrap(stated), i32.const(-1))));
    const mxcsrLoaded = f.let(i32.select(compacted, has(loaded, XSTATE.sse), has(requested, XSTATE.sse | XSTATE.avx)));

    // all that can fault: reading what is asked for, and reserved bits of MXCSR
    f.if(mxcsrLoaded, () => {
      loadImage(cx, 0, MXCSR, 8, at(linear, MXCSR));
      refuse(i32.shrU(i32.load(ZERO, IMAGE + MXCSR), i32.const(16)));
    });
    f.if(has(loaded, XSTATE.x87), () => {
      loadImage(cx, 0, 0, MXCSR, linear);
      loadImage(cx, 0, 32, XMM - 32, at(linear, 32));
    });
    const xmmBytes = 16 * registers(cx);
    f.if(has(loaded, XSTATE.sse), () => loadImage(cx, 0, XMM, xmmBytes, at(linear, XMM)));
    f.if(has(loaded, XSTATE.avx), () => loadImage(cx, 0, COMPONENTS, xmmBytes, at(linear, COMPONENTS)));
    f.if(has(loaded, XSTATE.pkru), () => {
      const offset = i32.select(compacted, pkruOffset(true, i32.wrap(layout)), pkruOffset(false, i32.wrap(layout)));
      loadImage(cx, 0, PKRU_IMAGE, PKRU_SIZE, at(linear, offset));
    });

    f.if(has(loaded, XSTATE.x87), () => loadLegacyImage(cx));
    f.if(has(initial, XSTATE.x87), () => {
      initialize(cx);
      f.memoryFill(i32.const(STATE.fpr), i32.const(0), i32.const(8 * 16));
    });
    f.if(mxcsrLoaded, () => cx.setState32(STATE.mxcsr, i32.load(ZERO, IMAGE + MXCSR)));
    f.if(i32.and(compacted, i32.ne(has(initial, XSTATE.sse), i32.const(0))), () =>
      cx.setState32(STATE.mxcsr, i32.const(MXCSR_INITIAL)),
    );
    f.if(has(initial, XSTATE.sse), () => f.memoryFill(i32.const(IMAGE + XMM), i32.const(0), i32.const(xmmBytes)));
    f.if(has(requested, XSTATE.sse), () => {
      for (let i = 0; i < registers(cx); i++) cx.setXmm(i, v128.load(ZERO, IMAGE + XMM + 16 * i));
    });
    f.if(has(initial, XSTATE.avx), () =>
      f.memoryFill(i32.const(IMAGE + COMPONENTS), i32.const(0), i32.const(xmmBytes)),
    );
    f.if(has(requested, XSTATE.avx), () => {
      for (let i = 0; i < registers(cx); i++)
        f.storeV128(ZERO, v128.load(ZERO, IMAGE + COMPONENTS + 16 * i), STATE.vec + 32 * i + 16);
    });
    f.if(has(initial, XSTATE.pkru), () => f.store64(ZERO, i64.const(0), IMAGE + PKRU_IMAGE));
    f.if(has(requested, XSTATE.pkru), () => f.callVoid(cx.helper('writePkru'), [i32.load(ZERO, IMAGE + PKRU_IMAGE)]));
  };
}

export const xsave: Semantics = save('plain');
export const xsaveopt: Semantics = save('optimised');
export const xsavec: Semantics = save('compacted');
/** No supervisor component exists here: IA32_XSS allows none, so these differ in privilege and in the form they take. */
export const xsaves: Semantics = save('compacted');
export const xrstor: Semantics = restore(false);
export const xrstors: Semantics = restore(true);
