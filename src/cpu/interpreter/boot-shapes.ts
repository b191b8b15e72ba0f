import type { Callable } from '../../wasm/expr.ts';
import { ModuleBuilder } from '../../wasm/module.ts';
import { createDecoder, isFailure } from '../decode/decoder.ts';
import { decoderFeatures } from '../decode/opcodes.ts';
import { CODE_PAGE, DYNAMIC_BASE, OPCODES, SHAPE, STATE } from '../state.ts';
import { StateMemory } from '../state-memory.ts';
import { BOOT_ENCODINGS, instructionBytes } from './boot-encodings.ts';
import { DECODE_HELPERS } from './decode-run.ts';
import { formKey } from './form.ts';
import { Shapes, type ShapesImage } from './shapes.ts';

export type DecodeRun = (page: number, ramPage: number, offset: number) => number;

/** decodeRun in a module of its own, on the given memories. */
export function instantiateDecodeRun(state: WebAssembly.Memory, ram: WebAssembly.Memory): DecodeRun {
  const m = new ModuleBuilder();
  m.importMemory({ name: 'state', initial: 1 });
  m.importMemory({ name: 'ram', initial: 0 });
  const functions = new Map<string, Callable>();
  for (const helper of DECODE_HELPERS) {
    const f = m.function(helper.name, helper.params, helper.results);
    functions.set(helper.name, f);
    helper.build(f, (name) => functions.get(name)!);
    m.export(f);
  }
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(m.encode()), { env: { state, ram } });
  return exports['decodeRun'] as DecodeRun;
}

/** The shapes of BOOT_ENCODINGS, as a decoder with every feature finds them. */
export function bootShapes(): ShapesImage {
  const state = new StateMemory(DYNAMIC_BASE);
  const ram = new WebAssembly.Memory({ initial: 1 });
  const bytes = new Uint8Array(ram.buffer);
  const decodeRun = instantiateDecodeRun(state.memory, ram);
  const decode = createDecoder({ features: decoderFeatures() });
  const shapes = new Shapes(state);
  const page = state.allocate(CODE_PAGE.size);
  const records = state.allocate(4096);
  state.i32[(page + CODE_PAGE.open) >> 2] = -1;
  state.set32(page + CODE_PAGE.next, records);
  state.set32(page + CODE_PAGE.end, records + 4096);
  const found = new Map<number, { form: string; features: string }>();
  for (const hex of BOOT_ENCODINGS) {
    const instruction = instructionBytes(hex);
    bytes.set(instruction);
    // an instruction whose shape is known leaves a run behind, which is not wanted
    const before = { next: state.get32(page + CODE_PAGE.next), open: state.get32(page + CODE_PAGE.open) };
    if (decodeRun(page, 0, 0) !== 0) {
      state.u8.fill(0, page + CODE_PAGE.map, page + CODE_PAGE.size);
      state.set32(page + CODE_PAGE.next, before.next);
      state.set32(page + CODE_PAGE.open, before.open);
      continue;
    }
    const d = decode(instruction, 0, instruction.length, 64);
    if (isFailure(d)) throw new RangeError(`${hex} is no instruction`);
    if (!shapes.learn(d, 0)) continue;
    found.set(state.i32[STATE.shapeKey >> 2]!, { form: formKey(d, 8), features: d.row.feature ?? '' });
  }
  const entries: Uint8Array[] = [];
  const forms: string[] = [];
  const features: string[] = [];
  for (let at = SHAPE.base; at < SHAPE.base + (SHAPE.size << SHAPE.bits); at += SHAPE.size) {
    const shape = found.get(state.i32[(at + SHAPE.key) >> 2]!);
    if (!shape) continue;
    entries.push(state.u8.slice(at, at + SHAPE.size));
    forms.push(shape.form);
    features.push(shape.features);
  }
  const image = new Uint8Array(entries.length * SHAPE.size);
  entries.forEach((entry, i) => {
    image.set(entry, i * SHAPE.size);
  });
  return { traits: state.u8.slice(OPCODES.base, OPCODES.base + OPCODES.size), entries: image, forms, features };
}
