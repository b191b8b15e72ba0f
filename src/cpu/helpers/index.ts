import type { HelperDefinition } from './definition.ts';

/** Helpers of the instruction set, compiled into the core. */
export const SEMANTIC_HELPERS: readonly HelperDefinition[] = [];
