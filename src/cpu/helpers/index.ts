import { HELPERS as ARITHMETIC } from './arith.ts';
import { CRYPTO_HELPERS } from './crypto.ts';
import type { HelperDefinition } from './definition.ts';
import { FLOAT_HELPERS } from './float.ts';
import { FLOAT_CORE_HELPERS } from './float-core.ts';
import { STRING_COMPARISON_HELPERS } from './sse42.ts';
import { HELPERS as STRING } from './string.ts';
import { VECTOR_HELPERS } from './vector.ts';
import { X87_HELPERS } from './x87.ts';
import { XSAVE_HELPERS } from './xsave.ts';

/** Helpers of the instruction set, compiled into the core. */
export const SEMANTIC_HELPERS: readonly HelperDefinition[] = [
  ...ARITHMETIC,
  ...STRING,
  ...VECTOR_HELPERS,
  ...FLOAT_CORE_HELPERS,
  ...FLOAT_HELPERS,
  ...CRYPTO_HELPERS,
  ...STRING_COMPARISON_HELPERS,
  ...XSAVE_HELPERS,
  ...X87_HELPERS,
];
