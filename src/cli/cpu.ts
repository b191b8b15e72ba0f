import { DEFAULT_MODEL, FEATURE_BITS, MODEL_NAMES, parseCpu } from '../cpu/models.ts';
import { OptionError } from '../machine/errors.ts';
import { EXIT_CODE } from './exit-codes.ts';

/** `ukl-emu cpu list`: the models, and every feature that can be named. */
export function cpuList(): number {
  const models = MODEL_NAMES.map((name) => `${name}${name === DEFAULT_MODEL ? ' (default)' : ''}`);
  const features = Object.keys(FEATURE_BITS).filter(isImplemented);
  process.stdout.write(`models:\n  ${models.join('\n  ')}\nfeatures:\n${wrap(features)}`);
  return EXIT_CODE.ok;
}

/** `ukl-emu cpu show NAME[,+f][,-f]`: the features a guest sees, and where CPUID has them. */
export function cpuShow(text: string): number {
  let features: ReadonlySet<string>;
  try {
    features = parseCpu(text);
  } catch (error) {
    if (error instanceof RangeError) throw new OptionError('cpu', error.message.replace(/^--cpu [^:]*: /, ''));
    throw error;
  }
  const byRegister = new Map<string, string[]>();
  for (const name of features) {
    const bit = FEATURE_BITS[name];
    if (bit === undefined) continue;
    const register = `CPUID 0x${bit.leaf.toString(16)}.${bit.subleaf ?? 0} ${bit.register}`;
    byRegister.set(register, [...(byRegister.get(register) ?? []), name]);
  }
  for (const [register, names] of [...byRegister].sort()) process.stdout.write(`${register}:\n${wrap(names)}`);
  return EXIT_CODE.ok;
}

function isImplemented(feature: string): boolean {
  try {
    parseCpu(`${DEFAULT_MODEL},+${feature}`);
    return true;
  } catch {
    return false;
  }
}

function wrap(names: readonly string[]): string {
  const lines: string[] = [];
  let line = ' ';
  for (const name of names) {
    if (line.length + name.length > 98) {
      lines.push(line);
      line = ' ';
    }
    line += ` ${name}`;
  }
  return `${[...lines, line].join('\n')}\n`;
}
