/**
 * Counts of fixed boots and sizes of translated code, compared with test/guest/guard.json: `npm run guard`; `npm run guard -- --update`
 * accepts what they are now.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { changes, type Figures, guardFigures } from '../test/guest/guard-figures.ts';

const BASELINE = join(import.meta.dirname, '../test/guest/guard.json');

const { values } = parseArgs({ options: { update: { type: 'boolean', default: false } } });
const now = await guardFigures();
const kept: Figures = existsSync(BASELINE) ? JSON.parse(readFileSync(BASELINE, 'utf8')) : {};
const changed = changes(kept, now);
for (const line of changed) console.log(line);
if (values.update) writeFileSync(BASELINE, `${JSON.stringify(now, undefined, 2)}\n`);
else {
  console.log(changed.length === 0 ? 'all within 2 %' : 'npm run guard -- --update accepts these');
  process.exitCode = changed.length === 0 ? 0 : 1;
}
