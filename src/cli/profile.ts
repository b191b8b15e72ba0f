import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SymbolTable } from '../loader/symbols.ts';
import { collapsedStacks } from '../profile/collapsed.ts';
import { flameGraph } from '../profile/flame-graph.ts';
import { pprofFile } from '../profile/pprof.ts';
import type { Profile } from '../profile/profile.ts';
import { Profiler } from '../profile/profiler.ts';
import { topTable } from '../profile/top-table.ts';
import { boot } from './boot.ts';
import { UsageError } from './errors.ts';
import type { ProfileRequest } from './profile-options.ts';
import { findSymbolFile, readSymbolFile, readSymbolsIfElf } from './symbol-files.ts';

/** `ukl-emu profile`: boots as `boot` does and writes where the guest was; returns the exit code of `boot`. */
export async function profile(request: ProfileRequest): Promise<number> {
  const { interval, region, top } = request;
  const note = (text: string): void => void process.stderr.write(`ukl-emu: ${text}\n`);
  const outputs = await outputFiles(request);
  const symbols = await kernelSymbols(request);
  if (symbols === undefined) note('no symbols found beside the kernel: functions have no names; see --symbols');
  const profiler = new Profiler({
    symbols: symbols ?? new SymbolTable([]),
    interval,
    ...(region !== undefined && { region }),
  });
  const code = await boot(request.boot, profiler);
  if (region !== undefined && profiler.profile.root.total === 0)
    note(`--region ${region}: the guest was never sampled in it`);
  for (const { path, content } of outputs) await writeFile(path, await content(profiler.profile));
  if (top > 0) process.stderr.write(topTable(profiler.profile, top));
  return code;
}

async function kernelSymbols({ symbols, boot: { kernel } }: ProfileRequest): Promise<SymbolTable | undefined> {
  if (symbols !== undefined) return await readSymbolFile(symbols);
  const own = await readSymbolsIfElf(kernel);
  if (own !== undefined) return own;
  const found = await findSymbolFile(kernel);
  return found === undefined ? undefined : await readSymbolFile(found);
}

interface Output {
  readonly path: string;
  readonly content: (profile: Profile) => string | Uint8Array | Promise<Uint8Array>;
}

/** What is to be written, each file made at once, so that a bad path does not cost a run. */
async function outputFiles({ boot: { kernel }, top, out, pprof, collapsed, svg }: ProfileRequest): Promise<Output[]> {
  const wanted: (Output & { readonly option: string })[] = [];
  const want = (option: string, path: string | undefined, content: Output['content']): void => {
    if (path !== undefined) wanted.push({ option, path, content });
  };
  const inDirectory = (name: string): string | undefined => (out === undefined ? undefined : join(out, name));
  const graph = (profile: Profile): string => flameGraph(profile, kernel);
  if (out !== undefined) await attempt('out', out, () => mkdir(out, { recursive: true }));
  want('pprof', pprof, pprofFile);
  want('collapsed', collapsed, collapsedStacks);
  want('svg', svg, graph);
  want('out', inDirectory('profile.pb.gz'), pprofFile);
  want('out', inDirectory('profile.collapsed'), collapsedStacks);
  want('out', inDirectory('profile.svg'), graph);
  want('out', inDirectory('profile.txt'), (profile) => topTable(profile, Math.max(top, 100)));
  for (const { option, path } of wanted) await attempt(option, path, () => writeFile(path, ''));
  return wanted;
}

async function attempt(option: string, path: string, action: () => Promise<unknown>): Promise<void> {
  try {
    await action();
  } catch (error) {
    throw new UsageError(`--${option} ${path}: cannot be written: ${(error as Error).message}; name another`);
  }
}
