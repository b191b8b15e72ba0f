import { VECTOR } from '../state.ts';
import type { Semantics } from './context.ts';

/** Bytes that decode to nothing, or to an instruction nobody wrote semantics for: counted by name, then #UD. */
export const undefinedOpcode: Semantics = (cx) => cx.system('undefined', [cx.read(0)]);
/** Longer than 15 bytes. */
export const tooLong: Semantics = (cx) => cx.raise(VECTOR.gp, 0);
