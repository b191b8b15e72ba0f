import type { Callable } from '../../wasm/expr.ts';
import { ModuleBuilder } from '../../wasm/module.ts';
import type { CodeMode, DecodedInstruction, DecodeFailure } from '../decode/types.ts';
import type { CodeCache } from '../interpreter/code-cache.ts';
import type { Semantics } from '../semantics/context.ts';
import { NO_TLB, PROFILE, RECORD, STATE, TLB } from '../state.ts';
import type { StateMemory } from '../state-memory.ts';
import { type DiscoveryHost, discover, type RegionPlan } from './discover.ts';
import { type Edge, EdgeProfile } from './edges.ts';
import { growthOf } from './growth.ts';
import type { JitOptions } from './options.ts';
import { outlineOf, type Region, type TlbTables } from './region.ts';
import { planTable, TABLE_MINIMUM, type TargetTable, tableBytes, writeTable } from './target-table.ts';
import { translateRegion } from './translate.ts';

export { DEFAULT_JIT, type JitOptions } from './options.ts';

export interface JitHost {
  readonly memory: StateMemory;
  readonly ram: Uint8Array;
  readonly cache: CodeCache;
  readonly table: WebAssembly.Table;
  readonly imports: WebAssembly.Imports;
  compile(bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module;
  readonly semantics: ReadonlyMap<string, Semantics>;
  allocateSlot(): number;
  importHelper(m: ModuleBuilder, name: string): Callable;
  decode(bytes: Uint8Array, at: number, end: number, mode: CodeMode): DecodedInstruction | DecodeFailure;
  /** RAM page of a linear address now, or negative. */
  fetchPage(linear: bigint): number;
  /** Instructions since power-on. */
  retired(): number;
}

/** Where a region is to begin: a record, the linear page it was reached in, and the TLB table for reads then. */
export interface Start {
  readonly record: number;
  readonly pageBase: bigint;
  readonly tlbRead: number;
  /** How often a branch to it was sampled; 0 = it is asked for, and all known code it leads to belongs to it. */
  readonly samples: number;
}
const tablesOf = (read: number): TlbTables => ({ read, write: read === NO_TLB.base ? read : read + TLB.tableSize });
/** What is to be translated. */
interface Candidate {
  readonly plan: RegionPlan;
  /** RAM page of one of its pages: tells the mode. */
  readonly ramPage: number;
  readonly tlb: TlbTables;
  /** The smaller region it is to stand for. */
  readonly replaces?: Region;
}
const MAX_GROWTHS = 6;
/**
 * Counts are halved every so many instructions: it is how often something happens in a time that makes it worth translating. Otherwise
 * all code that runs at all would be translated in the end, and memory grow for as long as that takes.
 */
const COOL_SAMPLES = 2 ** 31;
const COOL_EDGES = 2 ** 29;
export interface JitStats {
  regions: number;
  translated: number;
  /** Regions made anew to hold another they often went to. */
  grown: number;
  instructions: number;
  bytes: number;
  translateMs: number;
  compileMs: number;
  invalidated: number;
  evicted: number;
}

/** Chooses hot code from the interpreter's samples, translates it, and takes translations back when their code changes. */
export class Jit {
  readonly #host: JitHost;
  readonly #options: JitOptions;
  readonly #samples = new Map<number, number>();
  readonly #regions = new Set<Region>();
  readonly #byPage = new Map<number, Set<Region>>();
  readonly #freeSlots: number[] = [];
  readonly #freeCells: number[] = [];
  /** Free target tables by size. */
  readonly #freeTables = new Map<number, number[]>();
  /** Region and offset in it of each record that stands for an entry. */
  readonly #entries = new Map<number, { readonly region: Region; readonly offset: number }>();
  readonly #edges = new EdgeProfile();
  #drained = 0;
  #coolSamplesAt = COOL_SAMPLES;
  #coolEdgesAt = COOL_EDGES;
  readonly stats: JitStats = {
    regions: 0,
    translated: 0,
    grown: 0,
    instructions: 0,
    bytes: 0,
    translateMs: 0,
    compileMs: 0,
    invalidated: 0,
    evicted: 0,
  };

  constructor(host: JitHost, options: JitOptions) {
    this.#host = host;
    this.#options = options;
    host.cache.onDrop = (page) => this.#dropPage(page);
  }

  /** Looks at the samples taken since the last call and translates what has become hot. */
  poll(): void {
    const { memory } = this.#host;
    const count = memory.get32(STATE.profileCount);
    const from = Math.max(this.#drained, count - PROFILE.entries);
    this.#drained = count;
    let ready: Start[] | undefined;
    let hot: Edge[] | undefined;
    const key = memory.get32(STATE.lookupKey);
    for (let n = from; n < count; n++) {
      const at = PROFILE.base + (n & (PROFILE.entries - 1)) * PROFILE.entrySize;
      const record = memory.get32(at + PROFILE.record);
      const pageBase = memory.i64[(at + PROFILE.pageBase) >> 3]!;
      const tlbRead = memory.get32(at + PROFILE.tlbRead);
      // a sample of another mode or mapping than now cannot be translated now
      const isCurrent = memory.get32(at + PROFILE.key) === key;
      const source = memory.get32(at + PROFILE.from);
      if (source !== 0) {
        const region = this.#entries.get(source)?.region;
        // a change of privilege is no way for a region to grow
        if (!region || region.tlb.read !== tlbRead || region.growths >= MAX_GROWTHS) continue;
        const seen = this.#edges.count(source, record);
        if (seen >= this.#options.growth << region.growths && isCurrent) {
          hot ??= [];
          hot.push({
            source,
            sourceBase: memory.i64[(at + PROFILE.fromBase) >> 3]!,
            target: record,
            targetBase: pageBase,
          });
        }
        continue;
      }
      const seen = (this.#samples.get(record) ?? 0) + 1;
      this.#samples.set(record, seen);
      if (seen >= this.#options.threshold && isCurrent) {
        this.#samples.delete(record);
        ready ??= [];
        ready.push({ record, pageBase, tlbRead, samples: seen });
      }
    }
    if (ready) this.translate(ready);
    if (hot) this.#grow(hot);
    if (this.#samples.size > 50_000) this.#samples.clear();
    this.#cool();
  }

  #cool(): void {
    const retired = this.#host.retired();
    if (retired >= this.#coolSamplesAt) {
      this.#coolSamplesAt = retired + COOL_SAMPLES;
      for (const [record, seen] of this.#samples) {
        if (seen === 1) this.#samples.delete(record);
        else this.#samples.set(record, seen >> 1);
      }
    }
    if (retired >= this.#coolEdgesAt) {
      this.#coolEdgesAt = retired + COOL_EDGES;
      this.#edges.cool();
    }
  }

  /** Translates the regions that begin at these records, in one module. */
  translate(starts: readonly Start[]): void {
    const { memory, cache } = this.#host;
    const began = performance.now();
    const candidates: Candidate[] = [];
    for (const { record, pageBase, tlbRead, samples } of starts) {
      const ramPage = cache.pageOfRecord(record);
      if (ramPage === undefined || cache.isPseudo(record)) continue;
      const offset = memory.u16[(record + RECORD.ipOffset) >> 1]!;
      const plan = discover(this.#discoveryHost(ramPage, pageBase, samples), offset);
      if (plan) candidates.push({ plan, ramPage, tlb: tablesOf(tlbRead) });
    }
    this.#build(candidates, began);
  }

  /** Makes regions anew that keep going to others, with these others' blocks in them. */
  #grow(hot: readonly Edge[]): void {
    const began = performance.now();
    const groups = new Map<Region, Edge[]>();
    for (const edge of hot) {
      const region = this.#entries.get(edge.source)?.region;
      if (!region) continue;
      const group = groups.get(region);
      if (group) group.push(edge);
      else groups.set(region, [edge]);
    }
    const candidates: Candidate[] = [];
    for (const [region, edges] of groups) {
      const { outline } = region;
      const ramPage = outline.pages.get(Math.floor(outline.entries[0]! / 4096))!;
      const { base, growth } = growthOf(region, edges, (record) => this.#entries.get(record));
      const plan = discover(this.#discoveryHost(ramPage, base, this.#options.threshold), outline.entries[0]!, growth);
      this.#edges.forget(region.records);
      for (const { target } of edges) this.#edges.forget([target]);
      // cut off at the limits it would be left more often than the regions it is made of; what cannot grow now will not be asked again
      const grew =
        plan &&
        !plan.truncated &&
        (plan.blocks.length > outline.starts.length || plan.indirect.length > outline.indirect.length);
      if (grew) candidates.push({ plan, ramPage, tlb: region.tlb, replaces: region });
      else for (const { source, target } of edges) this.#edges.ignore(source, target);
    }
    this.stats.grown += candidates.length;
    this.#build(candidates, began);
  }

  /** `samples`: what a branch's samples are compared with. */
  #discoveryHost(ramPage: number, pageBase: bigint, samples: number): DiscoveryHost {
    const { cache, ram, decode, semantics } = this.#host;
    return {
      ram,
      mode: cache.modeOfPage(ramPage).mode,
      decode,
      semantics: (mnemonic) => semantics.get(mnemonic),
      limits: this.#options,
      ramPage: (delta) => this.#host.fetchPage(pageBase + BigInt(delta * 4096)),
      isKnown: (page, at) => cache.isKnown(page, at),
      isEntry: (page, at) => cache.isEntry(page, at),
      heat: (page, at) =>
        samples === 0 || cache.isEntry(page, at) ? 1 : (this.#samples.get(cache.recordAt(page, at)) ?? 0) / samples,
    };
  }

  /** Translates plans, in one module. */
  #build(candidates: readonly Candidate[], began: number): void {
    const { memory, cache, imports, table } = this.#host;
    // looking for neighbouring pages may have left a fault behind
    memory.set32(STATE.fault, 0);
    if (candidates.length === 0) return;
    const m = new ModuleBuilder();
    m.importMemory({ name: 'state', initial: 1 });
    m.importMemory({ name: 'ram', initial: 0 });
    const made = candidates.map(({ plan, ramPage, tlb, replaces }, n) => {
      const { mode, stackSize } = cache.modeOfPage(ramPage);
      const validCell = this.#freeCells.pop() ?? memory.allocate(16);
      memory.set32(validCell, 0xffff_ffff);
      const region: Region = {
        outline: outlineOf(plan),
        slot: this.#freeSlots.pop() ?? this.#host.allocateSlot(),
        validCell,
        tlb,
        tables: [this.#targetTable(plan.continuations), this.#targetTable(plan.indirect)],
        growths: replaces ? replaces.growths + 1 : 0,
        records: [],
      };
      const name = `r${n}`;
      const f = translateRegion(
        m,
        name,
        plan,
        {
          stackSize,
          segmented: mode !== 64,
          tlbRead: tlb.read,
          tlbWrite: tlb.write,
          semantics: this.#host.semantics,
          vectorUses: this.#options.vectorUses,
          validCell,
          tables: region.tables,
        },
        (module, helper) => this.#host.importHelper(module, helper),
      );
      m.export(f);
      this.stats.instructions += plan.blocks.reduce((sum, b) => sum + b.instructions.length, 0);
      return { region, plan, name, replaces, marks: f.marks };
    });
    const bytes = m.encode();
    const translated = performance.now();
    this.#options.onModule?.({
      bytes,
      regions: made.map(({ name, plan, region, marks }) => ({ name, marks, plan, growths: region.growths })),
    });
    const { exports } = new WebAssembly.Instance(this.#host.compile(bytes), imports);
    for (const { region, name, replaces } of made) {
      table.set(region.slot, exports[name]);
      if (replaces && this.#regions.has(replaces)) this.#remove(replaces);
      this.#install(region);
    }
    this.stats.translated += made.length;
    this.stats.bytes += bytes.length;
    this.stats.translateMs += translated - began;
    this.stats.compileMs += performance.now() - translated;
    this.#evict();
  }

  #targetTable(offsets: readonly number[]): TargetTable | undefined {
    const plan = offsets.length < TABLE_MINIMUM ? undefined : planTable(offsets);
    if (!plan) return undefined;
    const bytes = tableBytes(plan);
    const table = { ...plan, address: this.#freeTables.get(bytes)?.pop() ?? this.#host.memory.allocate(bytes) };
    writeTable(this.#host.memory, table);
    return table;
  }

  #install(region: Region): void {
    const { cache } = this.#host;
    this.#regions.add(region);
    const { pages, entries, starts, ends } = region.outline;
    for (const [delta, page] of pages) {
      let set = this.#byPage.get(page);
      if (!set) this.#byPage.set(page, (set = new Set()));
      set.add(region);
      starts.forEach((start, n) => {
        // every byte of the region must be watched, executed by the interpreter or not
        const from = Math.max(start, delta * 4096);
        const to = Math.min(ends[n]!, (delta + 1) * 4096);
        if (to > from) cache.watch(page, from - delta * 4096, to - from);
      });
    }
    entries.forEach((offset, n) => {
      const page = pages.get(Math.floor(offset / 4096))!;
      // places another region comes back to are better in the larger one, which may hold what they return to
      const owner = this.#entryAt(page, offset & 0xfff);
      if (owner && region.growths > 0 && owner.region.outline.entries[0] !== owner.offset)
        this.#giveUp(owner.region, owner.record);
      const record = cache.installEntry(page, offset & 0xfff, region.slot, n);
      if (record === undefined) return;
      region.records.push(record);
      this.#entries.set(record, { region, offset });
    });
    this.stats.regions = this.#regions.size;
  }

  #entryAt(ramPage: number, offset: number): { record: number; region: Region; offset: number } | undefined {
    const record = this.#host.cache.recordAt(ramPage, offset);
    const entry = this.#entries.get(record);
    return entry && { record, ...entry };
  }
  /** One of a region's entries belongs to it no more. */
  #giveUp(region: Region, record: number): void {
    this.#host.cache.removeEntry(record);
    this.#entries.delete(record);
    region.records.splice(region.records.indexOf(record), 1);
  }

  /** A page's code has changed: no region that spans it may run again. */
  #dropPage(ramPage: number): void {
    const regions = this.#byPage.get(ramPage);
    if (!regions) return;
    for (const region of regions) {
      this.#remove(region, ramPage);
      this.stats.invalidated++;
    }
    this.#byPage.delete(ramPage);
  }
  #remove(region: Region, droppedPage?: number): void {
    const { cache, table } = this.#host;
    this.#regions.delete(region);
    for (const record of region.records) {
      this.#entries.delete(record);
      // records of the dropped page itself are gone already
      if (cache.pageOfRecord(record) !== droppedPage) cache.removeEntry(record);
    }
    for (const page of region.outline.pages.values()) {
      if (page !== droppedPage) this.#byPage.get(page)?.delete(region);
    }
    cache.forgetSlot(region.slot);
    table.set(region.slot, null);
    this.#freeSlots.push(region.slot);
    this.#freeCells.push(region.validCell);
    for (const used of region.tables) {
      if (!used) continue;
      const free = this.#freeTables.get(tableBytes(used));
      if (free) free.push(used.address);
      else this.#freeTables.set(tableBytes(used), [used.address]);
    }
    this.stats.regions = this.#regions.size;
  }
  /** Oldest first; one at a time, never wholesale. */
  #evict(): void {
    for (const region of this.#regions) {
      if (this.#regions.size <= this.#options.maxRegions) return;
      this.#remove(region);
      this.stats.evicted++;
    }
  }
}
