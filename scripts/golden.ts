/**
 * Wasm emitted for single instructions and whole regions, beside what is kept in test/cpu/golden:
 *
 *     npm run golden                 # sizes, kept and now
 *     npm run golden -- --update     # accepts what is emitted now
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { goldenFiles } from '../test/cpu/golden/render.ts';

const DIRECTORY = join(import.meta.dirname, '../test/cpu/golden');
const SIZES = join(DIRECTORY, 'sizes.json');

const { values } = parseArgs({ options: { update: { type: 'boolean', default: false } } });
const files = goldenFiles();
const kept: Readonly<Record<string, number>> = existsSync(SIZES) ? JSON.parse(readFileSync(SIZES, 'utf8')) : {};
const now: Readonly<Record<string, number>> = Object.assign({}, ...files.map(({ bytes }) => bytes));
let [before, after] = [0, 0];
for (const [name, bytes] of Object.entries(now)) {
  const old = kept[name];
  if (old !== bytes) console.log(`${name}: ${old === undefined ? 'new' : `${old} bytes`} -> ${bytes} bytes`);
  before += old ?? bytes;
  after += bytes;
}
console.log(`in all ${before} bytes kept, ${after} bytes now`);
if (values.update) {
  for (const { name, text } of files) writeFileSync(join(DIRECTORY, name), text);
  writeFileSync(SIZES, `${JSON.stringify(now, undefined, 2)}\n`);
} else {
  const changed = files.filter(({ name, text }) => {
    const path = join(DIRECTORY, name);
    return !existsSync(path) || readFileSync(path, 'utf8') !== text;
  });
  if (changed.length > 0) console.log(`code differs in ${changed.map(({ name }) => name).join(', ')}`);
}
