import { buildHelpers, buildInterpreter, importHelper } from './core.ts';
import { createDecoder, isFailure } from './decode/decoder.ts';
import { decoderFeatures } from './decode/opcodes.ts';
import { BOOT_ENCODINGS, instructionBytes } from './interpreter/boot-encodings.ts';
import { formKey } from './interpreter/form.ts';
import { buildHandlersModule, type HandlerSource } from './interpreter/handlers.ts';
import { HOT_ENCODINGS } from './interpreter/hot-forms.ts';
import type { ShapesImage } from './interpreter/shapes.ts';
import { PREBUILT_IMAGE } from './prebuilt-image.ts';
import type { PrebuiltImage } from './prebuilt-types.ts';
import { SEMANTICS } from './semantics/index.ts';

/** A wasm module that executes forms: by their place in `forms`. */
export interface FormsModule {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Keys as of formKey. */
  readonly forms: readonly string[];
}
/** The emulator's own wasm code, the same for every CPU model: what a form does depends on the form only. */
export interface Prebuilt {
  readonly helpers: Uint8Array<ArrayBuffer>;
  readonly interpreter: FormsModule;
  /** Handlers in exports named by their place; made in the package only. */
  readonly handlers: FormsModule | undefined;
  /** Entries of the table of shapes; in the package only. */
  readonly shapes: ShapesImage | undefined;
}
let cached: Prebuilt | undefined;

/** From the package, or made now. */
export function prebuilt(): Prebuilt {
  cached ??= PREBUILT_IMAGE ? unpackImage(PREBUILT_IMAGE) : { ...buildCore(), handlers: undefined, shapes: undefined };
  return cached;
}

export function buildCore(): { helpers: Uint8Array<ArrayBuffer>; interpreter: FormsModule } {
  const sources = handlerSources(HOT_ENCODINGS);
  return {
    helpers: buildHelpers(),
    interpreter: { bytes: buildInterpreter([...sources.values()]), forms: [...sources.keys()] },
  };
}

/** Handlers of the forms of boots that are not cases of the run loop. */
export function buildBootHandlers(): FormsModule {
  const sources = handlerSources(BOOT_ENCODINGS);
  for (const hot of handlerSources(HOT_ENCODINGS).keys()) sources.delete(hot);
  return { bytes: buildHandlersModule([...sources.values()], importHelper), forms: [...sources.keys()] };
}

/** A source for each form among instructions given as hexadecimal digits. */
function handlerSources(encodings: readonly string[]): Map<string, HandlerSource> {
  const decode = createDecoder({ features: decoderFeatures() });
  const sources = new Map<string, HandlerSource>();
  for (const hex of encodings) {
    const bytes = instructionBytes(hex);
    const example = decode(bytes, 0, bytes.length, 64);
    const semantics = isFailure(example) ? undefined : SEMANTICS.get(example.row.mnemonic);
    if (isFailure(example) || !semantics) throw new RangeError(`${hex} is no instruction with semantics`);
    const key = formKey(example, 8);
    if (!sources.has(key)) sources.set(key, { example, stackSize: 8, semantics });
  }
  return sources;
}

function unpackImage(image: PrebuiltImage): Prebuilt {
  return {
    helpers: fromBase64(image.helpers),
    interpreter: { bytes: fromBase64(image.interpreter), forms: image.interpreterForms.split('\n') },
    handlers: { bytes: fromBase64(image.handlers), forms: image.handlerForms.split('\n') },
    shapes: {
      traits: fromBase64(image.traits),
      entries: fromBase64(image.shapes),
      forms: image.shapeForms.split('\n'),
      features: image.shapeFeatures.split('\n'),
    },
  };
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  // newer engines do it a good deal faster than a loop over atob's string
  if ('fromBase64' in Uint8Array) return (Uint8Array as unknown as Base64Decoder).fromBase64(text);
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}
interface Base64Decoder {
  fromBase64(text: string): Uint8Array<ArrayBuffer>;
}
