import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const text = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');

test('the example test of the README is the one that is run', () => {
  const run = text('test/guest/readme.test.ts').replace('../../src/testing.ts', 'ukl-emu/testing');
  const shown = [...text('README.md').matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, code]) => code);
  expect(shown).toContain(run);
});
