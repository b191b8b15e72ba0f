import { type RegionText, regionTexts } from '../../../src/cpu/jit/dump.ts';
import type { TranslatedModule } from '../../../src/cpu/jit/options.ts';
import { BareMetal } from '../../support/bare-metal.ts';
import { INSTRUCTIONS, REGIONS, type RegionCase } from './cases.ts';

/** Nothing is translated before it is asked for. */
const NEVER = 1_000_000;
/** More than any of the programs takes. */
const RUN = 2000;

/** jmp $: where a program ends. */
const END = 'ebfe';

/** What the translator makes of code in user mode, of which the interpreter has run `budget` instructions. */
function translate(code: string, budget: number): RegionText {
  let module: TranslatedModule | undefined;
  const machine = new BareMetal('translator', 'x86-64-v3', {
    threshold: NEVER,
    onModule: (made) => {
      module = made;
    },
  });
  machine.enter('user');
  machine.place(code + END);
  if (budget > 0) machine.cpu.run(budget);
  machine.cpu.ip = BigInt(machine.codeAt);
  if (!machine.cpu.translateHere() || !module) throw new Error(`golden: ${code} is not translated`);
  return regionTexts(module)[0]!;
}

export interface GoldenFile {
  readonly name: string;
  readonly text: string;
  /** Bytes of wasm by what they are for. */
  readonly bytes: Readonly<Record<string, number>>;
}

/** The wasm of one instruction, without what every region has around it. */
function instructionText(code: string): { text: string; title: string; bytes: number } {
  const { text, pieces } = translate(code, 0);
  const piece = pieces.find(({ note }) => note.startsWith('0x000 '));
  if (!piece) throw new Error(`golden: ${code} has left no mark\n${text}`);
  const title = piece.note.replace(/^\S+ +/, '');
  const lines = piece.lines.map((line) =>
    line.replace(/^ {4,}/, (spaces) => ' '.repeat(Math.max(2, spaces.length - 4))),
  );
  return { title, bytes: piece.bytes, text: [`${title}  (${piece.bytes} bytes)`, ...lines].join('\n') };
}

export function goldenFiles(): GoldenFile[] {
  const instructions = INSTRUCTIONS.map(instructionText);
  return [
    {
      name: 'instructions.txt',
      text: `${instructions.map(({ text }) => text).join('\n\n')}\n`,
      bytes: Object.fromEntries(instructions.map(({ title, bytes }) => [title, bytes])),
    },
    ...REGIONS.map(goldenRegion),
  ];
}

function goldenRegion({ name, purpose, code }: RegionCase): GoldenFile {
  const region = translate(code, RUN);
  return { name: `region-${name}.txt`, text: `${purpose}\n${region.text}`, bytes: { [name]: region.bytes } };
}
