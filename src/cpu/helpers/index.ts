import { HELPERS as ARITHMETIC } from './arith.ts';
import type { HelperDefinition } from './definition.ts';
import { HELPERS as STRING } from './string.ts';
import { VECTOR_HELPERS } from './vector.ts';

/** Helpers of the instruction set, compiled into the core. */
export const SEMANTIC_HELPERS: readonly HelperDefinition[] = [...ARITHMETIC, ...STRING, ...VECTOR_HELPERS];
