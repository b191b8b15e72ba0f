/** Vector operations too long to emit in place: masked memory accesses and transfers of saved images. */
import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type Callable, type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import { STATE } from '../state.ts';
import type { HelperDefinition } from './definition.ts';

const faulted = (): I32 => i32.load(ZERO, STATE.fault);

/** Runs `body(index)` for each set bit of `chosen`, lowest first. */
export function eachChosen(f: FunctionBuilder, chosen: I32, body: (index: I32) => void): void {
  const left = f.newLocal('i32');
  f.set(left, chosen);
  const rest = f.get('i32', left);
  f.block((done) =>
    f.loop((again) => {
      f.brIf(done, i32.eqz(rest));
      body(f.let(i32.ctz(rest)));
      f.set(left, i32.and(rest, i32.sub(rest, i32.const(1))));
      f.br(again);
    }),
  );
}

const elementAddress = (linear: I64, index: I32, size: I32): I64 => i64.add(linear, i64.extendU(i32.mul(index, size)));
const cellOf = (index: I32, size: I32): I32 => i32.mul(index, size);

/** An element of 1, 4 or 8 bytes of the image, zero-extended. */
function loadCell(f: FunctionBuilder, at: I32, size: I32): I64 {
  const value = f.newLocal('i64');
  f.set(value, i64.load8U(at, STATE.image));
  f.if(i32.eq(size, i32.const(4)), () => f.set(value, i64.load32U(at, STATE.image)));
  f.if(i32.eq(size, i32.const(8)), () => f.set(value, i64.load(at, STATE.image)));
  return f.get('i64', value);
}
function storeCell(f: FunctionBuilder, at: I32, size: I32, value: I64): void {
  f.if(i32.eq(size, i32.const(1)), () => f.store8(at, i32.wrap(value), STATE.image));
  f.if(i32.eq(size, i32.const(4)), () => f.store32(at, i32.wrap(value), STATE.image));
  f.if(i32.eq(size, i32.const(8)), () => f.store64(at, value, STATE.image));
}

/** (linear, element size, chosen elements, access flags): writes them from STATE.image; faults before the first write. */
const maskedStore: HelperDefinition = {
  name: 'maskedStore',
  params: ['i64', 'i32', 'i32', 'i32'],
  results: [],
  build(f, h: (name: string) => Callable) {
    const linear = f.param('i64', 0);
    const size = f.param('i32', 1);
    const chosen = f.param('i32', 2);
    const flags = f.let(i32.or(f.param('i32', 3), size));
    eachChosen(f, chosen, (index) => {
      f.callVoid(h('probeWriteSlow'), [elementAddress(linear, index, size), flags]);
      f.if(faulted(), () => f.return());
    });
    eachChosen(f, chosen, (index) =>
      f.callVoid(h('storeSlow'), [
        elementAddress(linear, index, size),
        loadCell(f, f.let(cellOf(index, size)), size),
        flags,
      ]),
    );
  },
};

/** (linear, element size, chosen elements, access flags): reads them into STATE.image. */
const maskedLoad: HelperDefinition = {
  name: 'maskedLoad',
  params: ['i64', 'i32', 'i32', 'i32'],
  results: [],
  build(f, h) {
    const linear = f.param('i64', 0);
    const size = f.param('i32', 1);
    const flags = f.let(i32.or(f.param('i32', 3), size));
    eachChosen(f, f.param('i32', 2), (index) => {
      const value = f.let(f.call('i64', h('loadSlow'), [elementAddress(linear, index, size), flags]));
      f.if(faulted(), () => f.return());
      storeCell(f, f.let(cellOf(index, size)), size, value);
    });
  },
};

/** Runs `body(offset)` for each multiple of 8 below `length`. */
function eachWord(f: FunctionBuilder, length: I32, body: (offset: I32) => void): void {
  const at = f.newLocal('i32');
  f.set(at, i32.const(0));
  f.loop((again) => {
    body(f.get('i32', at));
    f.set(at, i32.add(f.get('i32', at), i32.const(8)));
    f.brIf(again, i32.ltU(f.get('i32', at), length));
  });
}

/** (linear, offset in the image, length, access flags): copies a multiple of 8 bytes out of STATE.image; probes all first. */
const storeImage: HelperDefinition = {
  name: 'storeImage',
  params: ['i64', 'i32', 'i32', 'i32'],
  results: [],
  build(f, h) {
    const linear = f.param('i64', 0);
    const from = f.param('i32', 1);
    const length = f.param('i32', 2);
    const flags = f.let(i32.or(f.param('i32', 3), i32.const(8)));
    for (const offset of [i32.const(0), i32.sub(length, i32.const(8))]) {
      f.callVoid(h('probeWriteSlow'), [i64.add(linear, i64.extendU(offset)), flags]);
      f.if(faulted(), () => f.return());
    }
    eachWord(f, length, (offset) =>
      f.callVoid(h('storeSlow'), [
        i64.add(linear, i64.extendU(offset)),
        i64.load(i32.add(from, offset), STATE.image),
        flags,
      ]),
    );
  },
};

/** (linear, offset in the image, length, access flags): copies a multiple of 8 bytes into STATE.image. */
const loadImage: HelperDefinition = {
  name: 'loadImage',
  params: ['i64', 'i32', 'i32', 'i32'],
  results: [],
  build(f, h) {
    const linear = f.param('i64', 0);
    const to = f.param('i32', 1);
    const flags = f.let(i32.or(f.param('i32', 3), i32.const(8)));
    eachWord(f, f.param('i32', 2), (offset) => {
      const value = f.let(f.call('i64', h('loadSlow'), [i64.add(linear, i64.extendU(offset)), flags]));
      f.if(faulted(), () => f.return());
      f.store64(i32.add(to, offset), value, STATE.image);
    });
  },
};

export const VECTOR_HELPERS: readonly HelperDefinition[] = [maskedStore, maskedLoad, storeImage, loadImage];
