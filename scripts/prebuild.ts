// Writes into the built package what start-up would otherwise make of the sources (docs/architecture.md, "Start-up").
import { writeFileSync } from 'node:fs';
import { bootShapes } from '../src/cpu/interpreter/boot-shapes.ts';
import { buildBootHandlers, buildCore } from '../src/cpu/prebuilt.ts';
import type { PrebuiltImage } from '../src/cpu/prebuilt-types.ts';

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
const { helpers, interpreter } = buildCore();
const handlers = buildBootHandlers();
const shapes = bootShapes();
const image: PrebuiltImage = {
  helpers: base64(helpers),
  interpreter: base64(interpreter.bytes),
  interpreterForms: interpreter.forms.join('\n'),
  handlers: base64(handlers.bytes),
  handlerForms: handlers.forms.join('\n'),
  traits: base64(shapes.traits),
  shapes: base64(shapes.entries),
  shapeForms: shapes.forms.join('\n'),
  shapeFeatures: shapes.features.join('\n'),
};
const target = new URL('../dist/src/cpu/prebuilt-image.js', import.meta.url);
writeFileSync(target, `export const PREBUILT_IMAGE = ${JSON.stringify(image, undefined, 2)};\n`);
const kib = (bytes: Uint8Array): string => `${Math.round(bytes.length / 1024)} KiB`;
process.stdout.write(
  `prebuilt: helpers ${kib(helpers)}, interpreter ${kib(interpreter.bytes)} of ${interpreter.forms.length} forms, ` +
    `handlers ${kib(handlers.bytes)} of ${handlers.forms.length} forms, ${shapes.forms.length} shapes\n`,
);
