import { inspectKernel, type KernelReport } from '../loader/inspect.ts';
import { EXIT_CODE } from './exit-codes.ts';
import { readInput } from './files.ts';

/** `ukl-emu inspect`: what a kernel file holds. */
export async function inspect(path: string, json: boolean): Promise<number> {
  const { name, bytes } = await readInput(path);
  const report = inspectKernel(bytes, name);
  process.stdout.write(json ? `${JSON.stringify(report, undefined, 2)}\n` : inspectText(report));
  return EXIT_CODE.ok;
}

/** Indented lines of "name: value". */
export function inspectText(report: KernelReport): string {
  return describe({ ...report }, '').join('');
}

function describe(values: Readonly<Record<string, unknown>>, indent: string): string[] {
  return Object.entries(values).flatMap(([name, value]) => {
    if (Array.isArray(value)) {
      const items = value.map((item) => `${indent}  - ${inline(item)}\n`);
      return [`${indent}${name}:${items.length === 0 ? ' none' : ''}\n`, ...items];
    }
    if (isRecord(value)) return [`${indent}${name}:\n`, ...describe(value, `${indent}  `)];
    return [`${indent}${name}: ${value === null ? 'none' : String(value)}\n`];
  });
}

function inline(value: unknown): string {
  if (!isRecord(value)) return String(value);
  return Object.entries(value)
    .map(([name, item]) => `${name} ${String(item)}`)
    .join(', ');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
