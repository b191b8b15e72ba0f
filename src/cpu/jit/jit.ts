import type { Callable } from '../../wasm/expr.ts';
import { ModuleBuilder } from '../../wasm/module.ts';
import type { CodeMode, DecodedInstruction, DecodeFailure } from '../decode/types.ts';
import type { CodeCache } from '../interpreter/code-cache.ts';
import type { Semantics } from '../semantics/context.ts';
import { PROFILE, RECORD, STATE } from '../state.ts';
import type { StateMemory } from '../state-memory.ts';
import { discover, type RegionPlan } from './discover.ts';
import { translateRegion } from './translate.ts';

/** Thresholds; the defaults are justified in docs/architecture.md. */
export interface JitOptions {
  /** Samples of a branch target (one in PROFILE.period taken branches) before its region is translated. */
  readonly threshold: number;
  /** Regions kept before the oldest are evicted. */
  readonly maxRegions: number;
}
export const DEFAULT_JIT: JitOptions = { threshold: 128, maxRegions: 20_000 };

export interface JitHost {
  readonly memory: StateMemory;
  readonly ram: Uint8Array;
  readonly cache: CodeCache;
  readonly table: WebAssembly.Table;
  readonly imports: WebAssembly.Imports;
  readonly semantics: ReadonlyMap<string, Semantics>;
  allocateSlot(): number;
  importHelper(m: ModuleBuilder, name: string): Callable;
  decode(bytes: Uint8Array, at: number, end: number, mode: CodeMode): DecodedInstruction | DecodeFailure;
  /** RAM page of a linear address now, or negative. */
  fetchPage(linear: bigint): number;
}

/** One translated region, as far as it must be found again. */
interface Region {
  readonly plan: RegionPlan;
  readonly slot: number;
  readonly validCell: number;
  /** Records that stand for its entries. */
  readonly records: number[];
}
export interface JitStats {
  regions: number;
  translated: number;
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
  #drained = 0;
  readonly stats: JitStats = {
    regions: 0,
    translated: 0,
    instructions: 0,
    bytes: 0,
    translateMs: 0,
    compileMs: 0,
    invalidated: 0,
    evicted: 0,
  };

  constructor(host: JitHost, options: JitOptions = DEFAULT_JIT) {
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
    let ready: { record: number; pageBase: bigint }[] | undefined;
    const key = memory.get32(STATE.lookupKey);
    for (let n = from; n < count; n++) {
      const at = PROFILE.base + (n & (PROFILE.entries - 1)) * PROFILE.entrySize;
      const record = memory.get32(at);
      const seen = (this.#samples.get(record) ?? 0) + 1;
      this.#samples.set(record, seen);
      // a sample of another mode or mapping than now cannot be translated now
      if (seen >= this.#options.threshold && memory.get32(at + 4) === key) {
        this.#samples.delete(record);
        ready ??= [];
        ready.push({ record, pageBase: memory.i64[(at + 8) >> 3]! });
      }
    }
    if (ready) this.translate(ready);
    if (this.#samples.size > 50_000) this.#samples.clear();
  }

  /** Translates the regions that begin at these records, in one module. */
  translate(candidates: readonly { record: number; pageBase: bigint }[]): void {
    const { memory, cache, imports, table } = this.#host;
    const started = performance.now();
    const m = new ModuleBuilder();
    m.importMemory({ name: 'state', initial: 1 });
    m.importMemory({ name: 'ram', initial: 0 });
    const made: { region: Region; name: string }[] = [];
    for (const { record, pageBase } of candidates) {
      const ramPage = cache.pageOfRecord(record);
      if (ramPage === undefined || cache.isPseudo(record)) continue;
      const offset = memory.u16[(record + RECORD.ipOffset) >> 1]!;
      const { mode, stackSize } = cache.modeOfPage(ramPage);
      const plan = discover(
        {
          ram: this.#host.ram,
          mode,
          decode: this.#host.decode,
          semantics: (mnemonic) => this.#host.semantics.get(mnemonic),
          ramPage: (delta) => (delta === 0 ? ramPage : this.#host.fetchPage(pageBase + BigInt(delta * 4096))),
          isKnown: (page, at) => cache.isKnown(page, at),
          isEntry: (page, at) => cache.isEntry(page, at),
        },
        offset,
      );
      if (!plan) continue;
      const validCell = this.#freeCells.pop() ?? memory.allocate(16);
      memory.set32(validCell, 0xffff_ffff);
      const region: Region = { plan, slot: this.#freeSlots.pop() ?? this.#host.allocateSlot(), validCell, records: [] };
      const name = `r${made.length}`;
      const f = translateRegion(
        m,
        name,
        plan,
        {
          stackSize,
          segmented: mode !== 64,
          tlbRead: memory.get32(STATE.tlbRead),
          tlbWrite: memory.get32(STATE.tlbWrite),
          semantics: this.#host.semantics,
          validCell,
        },
        (module, helper) => this.#host.importHelper(module, helper),
      );
      m.export(f);
      made.push({ region, name });
      this.stats.instructions += plan.blocks.reduce((sum, b) => sum + b.instructions.length, 0);
    }
    // looking for neighbouring pages may have left a fault behind
    memory.set32(STATE.fault, 0);
    if (made.length === 0) return;
    const bytes = m.encode();
    const translated = performance.now();
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), imports);
    for (const { region, name } of made) {
      table.set(region.slot, exports[name]);
      this.#install(region);
    }
    this.stats.translated += made.length;
    this.stats.bytes += bytes.length;
    this.stats.translateMs += translated - started;
    this.stats.compileMs += performance.now() - translated;
    this.#evict();
  }

  #install(region: Region): void {
    const { cache } = this.#host;
    this.#regions.add(region);
    for (const [delta, page] of region.plan.pages) {
      let set = this.#byPage.get(page);
      if (!set) this.#byPage.set(page, (set = new Set()));
      set.add(region);
      for (const b of region.plan.blocks) {
        // every byte of the region must be watched, executed by the interpreter or not
        const from = Math.max(b.offset, delta * 4096);
        const to = Math.min(b.end, (delta + 1) * 4096);
        if (to > from) cache.watch(page, from - delta * 4096, to - from);
      }
    }
    region.plan.entries.forEach((offset, n) => {
      const page = region.plan.pages.get(Math.floor(offset / 4096))!;
      const record = cache.installEntry(page, offset & 0xfff, region.slot, n);
      if (record !== undefined) region.records.push(record);
    });
    this.stats.regions = this.#regions.size;
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
      // records of the dropped page itself are gone already
      if (cache.pageOfRecord(record) !== droppedPage) cache.removeEntry(record);
    }
    for (const page of region.plan.pages.values()) {
      if (page !== droppedPage) this.#byPage.get(page)?.delete(region);
    }
    table.set(region.slot, null);
    this.#freeSlots.push(region.slot);
    this.#freeCells.push(region.validCell);
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
