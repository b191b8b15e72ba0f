import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { goldenFiles } from './render.ts';

const ACCEPT = 'npm run golden -- --update accepts the new code; look at the difference first';

test.each(goldenFiles().map((file) => [file.name, file] as const))('emitted code of %s', (name, { text }) => {
  const kept = readFileSync(join(import.meta.dirname, name), 'utf8');
  if (text !== kept) expect.soft(text, ACCEPT).toBe(kept);
});
