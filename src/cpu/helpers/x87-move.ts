/** x87 registers moved as they are: nothing but the stack can fault (SDM vol. 1, 8.5.1). */
import type { FunctionBuilder } from '../../wasm/builder.ts';
import { type I32, i32, i64 } from '../../wasm/expr.ts';
import type { HelperDefinition } from './definition.ts';
import { c32, c64 } from './float-core.ts';
import {
  INDEFINITE,
  indefinite,
  isEmpty,
  KEEP_C1,
  type Lookup,
  pop,
  push,
  record,
  STACK_FAULT,
  setResult80,
  setStack,
  stack,
  type Value,
} from './x87-core.ts';

const nothing = (f: FunctionBuilder, h: Lookup): void => f.drop(f.call('i32', h('x87Finish'), [c32(0), c32(0)]));

/** (register): FLD ST(i). */
const pushRegister: HelperDefinition = {
  name: 'x87PushRegister',
  params: ['i32'],
  results: [],
  build(f, h) {
    const i = f.param('i32', 0);
    f.if(isEmpty(i), () => {
      f.if(f.call('i32', h('x87Finish'), [c32(STACK_FAULT), c32(0)]), () =>
        push(f, c32(INDEFINITE.top), c64(INDEFINITE.mantissa)),
      );
      f.return();
    });
    const v = stack(f, i);
    f.callVoid(h('x87Push'), [v.top, v.mantissa, c32(0)]);
  },
};
/** (register, pops): FST ST(i). */
const copy: HelperDefinition = {
  name: 'x87Copy',
  params: ['i32', 'i32'],
  results: [],
  build(f, h) {
    const v = stack(f, c32(0));
    f.if(isEmpty(c32(0)), () => {
      f.callVoid(h('x87Underflow'), [f.param('i32', 0), f.param('i32', 1)]);
      f.return();
    });
    record(f, c32(0), c32(0));
    setStack(f, f.param('i32', 0), v.top, v.mantissa);
    f.if(f.param('i32', 1), () => pop(f));
  },
};
/** () -> 1 when ST(0), now in RESULT, may be stored. */
const take: HelperDefinition = {
  name: 'x87Take',
  params: [],
  results: ['i32'],
  build(f, h) {
    const v = stack(f, c32(0));
    f.if(isEmpty(c32(0)), () => {
      indefinite(f);
      f.return(f.call('i32', h('x87Finish'), [c32(STACK_FAULT), c32(0)]));
    });
    setResult80(f, v.top, v.mantissa);
    f.result(f.call('i32', h('x87Finish'), [c32(0), c32(0)]));
  },
};
/** Rewrites the sign of ST(0). */
const sign = (name: string, change: (top: I32) => I32): HelperDefinition => ({
  name,
  params: [],
  results: [],
  build(f, h) {
    f.if(isEmpty(c32(0)), () => {
      f.callVoid(h('x87Underflow'), [c32(0), c32(0)]);
      f.return();
    });
    const v = stack(f, c32(0));
    nothing(f, h);
    setStack(f, c32(0), change(v.top), v.mantissa);
  },
});
/** (register): FXCH; an empty register counts as the indefinite. */
const exchange: HelperDefinition = {
  name: 'x87Exchange',
  params: ['i32'],
  results: [],
  build(f, h) {
    const i = f.param('i32', 0);
    const filled = (empty: I32, v: Value): Value => ({
      top: f.let(i32.select(empty, c32(INDEFINITE.top), v.top)),
      mantissa: f.let(i64.select(empty, c64(INDEFINITE.mantissa), v.mantissa)),
    });
    const [noFirst, noSecond] = [f.let(isEmpty(c32(0))), f.let(isEmpty(i))];
    const [a, b] = [filled(noFirst, stack(f, c32(0))), filled(noSecond, stack(f, i))];
    const flags = i32.select(i32.or(noFirst, noSecond), c32(STACK_FAULT), c32(0));
    f.if(f.call('i32', h('x87Finish'), [flags, c32(0)]), () => {
      setStack(f, c32(0), b.top, b.mantissa);
      setStack(f, i, a.top, a.mantissa);
    });
  },
};
/** (register, condition): FCMOVcc. An empty register gives the indefinite whatever the condition. */
const moveIf: HelperDefinition = {
  name: 'x87MoveIf',
  params: ['i32', 'i32'],
  results: [],
  build(f, h) {
    const i = f.param('i32', 0);
    f.if(i32.or(isEmpty(c32(0)), isEmpty(i)), () => {
      f.if(f.call('i32', h('x87Finish'), [c32(STACK_FAULT), c32(0)]), () =>
        setStack(f, c32(0), c32(INDEFINITE.top), c64(INDEFINITE.mantissa)),
      );
      f.return();
    });
    f.drop(f.call('i32', h('x87Finish'), [c32(0), KEEP_C1]));
    f.if(f.param('i32', 1), () => {
      const v = stack(f, i);
      setStack(f, c32(0), v.top, v.mantissa);
    });
  },
};
export const X87_MOVE_HELPERS: readonly HelperDefinition[] = [
  pushRegister,
  copy,
  take,
  sign('x87ChangeSign', (top) => i32.xor(top, c32(0x8000))),
  sign('x87Absolute', (top) => i32.and(top, c32(0x7fff))),
  exchange,
  moveIf,
];
