/** What XSAVE and XRSTOR ask about the state components (SDM vol. 1, 13.6). */
import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type I32, i32, i64 } from '../../wasm/expr.ts';
import { v128 } from '../../wasm/simd.ts';
import { STATE } from '../state.ts';
import type { HelperDefinition } from './definition.ts';

/** Bits of XCR0, XSTATE_BV and XCOMP_BV. */
export const XSTATE = { x87: 1, sse: 2, avx: 4, pkru: 0x200 } as const;
const FCW_INITIAL = 0x37f;

/** 1 when one of `count` 16-byte values, `stride` apart from `at`, is not zero. */
function anySet(f: FunctionBuilder, at: number, stride: number, count: number): I32 {
  const all = f.newLocal('v128');
  f.set(all, v128.load(ZERO, at));
  for (let i = 1; i < count; i++) f.set(all, v128.or(f.get('v128', all), v128.load(ZERO, at + i * stride)));
  return v128.anyTrue(f.get('v128', all));
}

/** () -> XINUSE: the components that are not in their initial configuration. MXCSR is not looked at. */
const xstateInUse: HelperDefinition = {
  name: 'xstateInUse',
  params: [],
  results: ['i32'],
  build(f) {
    const cells = [STATE.fpuStatus, STATE.fpuTag, STATE.fpuTop, STATE.fpuOpcode, STATE.fpuCs, STATE.fpuDs];
    let control = i32.xor(i32.load(ZERO, STATE.fpuControl), i32.const(FCW_INITIAL));
    for (const cell of cells) control = i32.or(control, i32.load(ZERO, cell));
    const pointers = i64.ne(i64.or(i64.load(ZERO, STATE.fpuIp), i64.load(ZERO, STATE.fpuDp)), i64.const(0));
    const x87 = f.let(i32.or(i32.or(control, pointers), anySet(f, STATE.fpr, 16, 8)));
    const bit = (condition: I32, component: number): I32 => i32.select(condition, i32.const(component), i32.const(0));
    const sse = f.let(bit(anySet(f, STATE.vec, 32, 16), XSTATE.sse));
    const avx = f.let(bit(anySet(f, STATE.vec + 16, 32, 16), XSTATE.avx));
    const pkru = bit(i32.load(ZERO, STATE.pkru), XSTATE.pkru);
    f.result(i32.or(i32.or(bit(x87, XSTATE.x87), pkru), i32.or(sse, avx)));
  },
};

export const XSAVE_HELPERS: readonly HelperDefinition[] = [xstateInUse];
