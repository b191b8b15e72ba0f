import { HELPERS as ARITHMETIC } from './arith.ts';
import { CRYPTO_HELPERS } from './crypto.ts';
import type { HelperDefinition } from './definition.ts';
import { FLOAT_HELPERS } from './float.ts';
import { FLOAT_CORE_HELPERS } from './float-core.ts';
import { PACKED_FLOAT_HELPERS } from './float-packed.ts';
import { HALF_HELPERS } from './half.ts';
import { STRING_COMPARISON_HELPERS } from './sse42.ts';
import { HELPERS as STRING } from './string.ts';
import { VECTOR_HELPERS } from './vector.ts';
import { X87_ARITH_HELPERS } from './x87-arith.ts';
import { X87_CORE_HELPERS } from './x87-core.ts';
import { X87_FUNCTION_HELPERS } from './x87-function.ts';
import { X87_MOVE_HELPERS } from './x87-move.ts';
import { X87_REMAINDER_HELPERS } from './x87-remainder.ts';
import { X87_STORE_HELPERS } from './x87-store.ts';
import { X87_TRANSCENDENTAL_HELPERS } from './x87-transcendental.ts';
import { XSAVE_HELPERS } from './xsave.ts';

/** Helpers of the instruction set, compiled into the core. */
export const SEMANTIC_HELPERS: readonly HelperDefinition[] = [
  ...ARITHMETIC,
  ...STRING,
  ...VECTOR_HELPERS,
  ...FLOAT_CORE_HELPERS,
  ...FLOAT_HELPERS,
  ...PACKED_FLOAT_HELPERS,
  ...HALF_HELPERS,
  ...CRYPTO_HELPERS,
  ...STRING_COMPARISON_HELPERS,
  ...XSAVE_HELPERS,
  ...X87_CORE_HELPERS,
  ...X87_ARITH_HELPERS,
  ...X87_FUNCTION_HELPERS,
  ...X87_REMAINDER_HELPERS,
  ...X87_MOVE_HELPERS,
  ...X87_STORE_HELPERS,
  ...X87_TRANSCENDENTAL_HELPERS,
];
