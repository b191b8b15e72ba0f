/** The x87 register stack (SDM vol. 1, 8.1.2 and 8.5.1). */
import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type I32, i32, i64 } from '../../wasm/expr.ts';
import { STATE } from '../state.ts';
import type { HelperDefinition } from './definition.ts';

const c32 = i32.const;
/** Status word: invalid, stack fault, C1, error summary with busy. */
export const FSW = { invalid: 1, denormal: 2, stackFault: 0x40, c1: 0x200, summary: 0x8080 } as const;
const cell = (at: number): I32 => i32.load(ZERO, at);

/** Sets exception and condition bits; ES and B when one of the exceptions is unmasked: 1 then. */
const x87Raise: HelperDefinition = {
  name: 'x87Raise',
  params: ['i32'],
  results: ['i32'],
  build(f) {
    const flags = f.param('i32', 0);
    const open = f.let(i32.and(i32.and(flags, c32(0x3f)), i32.xor(cell(STATE.fpuControl), c32(0x3f))));
    const summary = i32.select(open, c32(FSW.summary), c32(0));
    f.store32(ZERO, i32.or(i32.or(cell(STATE.fpuStatus), flags), summary), STATE.fpuStatus);
    f.result(i32.ne(open, c32(0)));
  },
};

function clearC1(f: FunctionBuilder): void {
  f.store32(ZERO, i32.and(cell(STATE.fpuStatus), c32(~FSW.c1)), STATE.fpuStatus);
}

/** Pushes (sign and exponent, mantissa). A full stack gives the indefinite, or nothing when that is unmasked. */
const x87Push: HelperDefinition = {
  name: 'x87Push',
  params: ['i32', 'i64'],
  results: [],
  build(f, h) {
    const top = f.let(i32.and(i32.sub(cell(STATE.fpuTop), c32(1)), c32(7)));
    const bit = f.let(i32.shl(c32(1), top));
    const at = f.let(i32.shl(top, c32(4)));
    const [exponent, mantissa] = [f.newLocal('i32'), f.newLocal('i64')];
    f.set(exponent, f.param('i32', 0));
    f.set(mantissa, f.param('i64', 1));
    f.if(
      i32.and(cell(STATE.fpuTag), bit),
      () => {
        const unmasked = f.call('i32', h('x87Raise'), [c32(FSW.invalid | FSW.stackFault | FSW.c1)]);
        f.if(unmasked, () => f.return());
        f.set(exponent, c32(0xffff));
        f.set(mantissa, i64.const(0xc000_0000_0000_0000n));
      },
      () => clearC1(f),
    );
    f.store64(at, f.get('i64', mantissa), STATE.fpr);
    f.store64(at, i64.extendU(f.get('i32', exponent)), STATE.fpr + 8);
    f.store32(ZERO, top, STATE.fpuTop);
    f.store32(ZERO, i32.or(cell(STATE.fpuTag), bit), STATE.fpuTag);
  },
};

export const X87_HELPERS: readonly HelperDefinition[] = [x87Raise, x87Push];
