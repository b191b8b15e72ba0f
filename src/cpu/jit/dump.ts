import type { Block, RegionPlan } from './discover.ts';
import { instructionText } from './dump-guest.ts';
import { disassembleWasm, type WasmNote, type WasmPiece } from './dump-wasm.ts';
import type { TranslatedModule } from './options.ts';

/** One region for people: what the guest has there, then the wasm made of it, instruction by instruction. */
export interface RegionText {
  /** RAM page and offset of its entry, hexadecimal, and how often it has grown. */
  readonly name: string;
  readonly instructions: number;
  /** Of the function's body. */
  readonly bytes: number;
  readonly text: string;
  /** The wasm by guest instruction: notes are `offset  instruction`, `block`, `branch`, `exit`. */
  readonly pieces: readonly WasmPiece[];
}

export function regionTexts({ bytes, regions }: TranslatedModule): RegionText[] {
  const notes = new Map(
    regions.map(({ name, plan, marks }) => {
      const texts = guestTexts(plan);
      const note = (mark: number | string): string =>
        typeof mark === 'string' ? mark : `${offsetText(mark)}  ${texts.get(mark) ?? ''}`;
      return [name, marks.map((m): WasmNote => ({ offset: m.offset, text: note(m.note) }))];
    }),
  );
  const functions = new Map(disassembleWasm(bytes, notes).map((f) => [f.name, f]));
  return regions.map(({ name, plan, growths }) => {
    const f = functions.get(name)!;
    const instructions = plan.blocks.reduce((sum, block) => sum + block.instructions.length, 0);
    return {
      name: `${entryName(plan)}${growths > 0 ? `-${growths}` : ''}`,
      instructions,
      bytes: f.size,
      pieces: f.pieces,
      text: [header(plan, instructions, f.size), ...plan.blocks.map(blockText), 'wasm', f.text, ''].join('\n\n'),
    };
  });
}

/** `ram page-offset` of the first entry. */
function entryName({ entries, pages }: RegionPlan): string {
  const entry = entries[0]!;
  const page = pages.get(Math.floor(entry / 4096)) ?? 0;
  return `${page.toString(16)}-${(entry & 0xfff).toString(16).padStart(3, '0')}`;
}

function header(plan: RegionPlan, instructions: number, bytes: number): string {
  const pages = [...plan.pages].map(([delta, page]) => `page ${delta} is RAM page 0x${page.toString(16)}`);
  const places = (title: string, offsets: readonly number[]): string[] =>
    offsets.length === 0 ? [] : [`${title}: ${offsets.map(offsetText).join(' ')}`];
  return [
    `${plan.blocks.length} blocks, ${instructions} instructions, ${bytes} bytes of wasm`,
    `offsets are from the page it is entered in: ${pages.join(', ')}`,
    ...places('entries', plan.entries),
    ...places('calls come back to', plan.continuations),
    ...places('indirect branches go to', plan.indirect),
  ].join('\n');
}

function blockText(block: Block): string {
  const lines = block.instructions.map(
    ({ d, offset }) => `  ${offsetText(offset)}  ${instructionText(d, BigInt(offset))}`,
  );
  const exit = {
    transfer: '',
    fall: `  falls through to ${offsetText(block.end)}`,
    interpret: '  the interpreter goes on',
  };
  return [`block ${offsetText(block.offset)}`, ...lines, exit[block.exit]].filter((line) => line !== '').join('\n');
}

const guestTexts = (plan: RegionPlan): Map<number, string> =>
  new Map(
    plan.blocks.flatMap((block) =>
      block.instructions.map(({ d, offset }) => [offset, instructionText(d, BigInt(offset))] as const),
    ),
  );

const offsetText = (offset: number): string =>
  offset < 0 ? `-0x${(-offset).toString(16)}` : `0x${offset.toString(16).padStart(3, '0')}`;
