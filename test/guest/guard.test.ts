import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { changes, type Figures, guardFigures } from './guard-figures.ts';

const BASELINE = new URL('guard.json', import.meta.url);

test('counts of fixed boots and sizes of translated code are within 2 % of what is kept', async () => {
  const kept: Figures = JSON.parse(readFileSync(BASELINE, 'utf8'));
  const changed = changes(kept, await guardFigures());
  expect(changed, 'if that is meant: npm run guard -- --update, and say why in the commit').toEqual([]);
});

test('a change beyond 2 % is named with both numbers, a smaller one is not', () => {
  expect(changes({ 'region a: bytes of wasm': 1000 }, { 'region a: bytes of wasm': 1021 })).toEqual([
    'region a: bytes of wasm: 1000 kept, 1021 now (+2.1 %)',
  ]);
  expect(changes({ 'region a: bytes of wasm': 1000 }, { 'region a: bytes of wasm': 980 })).toEqual([]);
  expect(changes({ 'boot b: exits, halt': 5 }, { 'boot b: exits, halt': 25 })).toEqual([]);
  expect(changes({ 'boot b: exits, halt': 5 }, {})).toEqual([]);
  expect(changes({}, { 'boot b: exits, decode': 400 })).toEqual(['boot b: exits, decode: 0 kept, 400 now']);
});
