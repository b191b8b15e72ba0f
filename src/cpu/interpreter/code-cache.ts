import type { CodeMode, DecodedInstruction, DecodeFailure, OpcodeRow } from '../decode/types.ts';
import { CODE_PAGE, COUNTER, JUMP_CACHE, RECORD, STATE } from '../state.ts';
import type { StateMemory } from '../state-memory.ts';
import { ROOM } from './decode-run.ts';
import type { FormTable, StackSize } from './form-table.ts';
import { PSEUDO, PSEUDO_COUNT } from './pseudo.ts';
import { writeRecord } from './records.ts';
import type { Shapes } from './shapes.ts';

export type Decode = (bytes: Uint8Array, at: number, end: number, mode: CodeMode) => DecodedInstruction | DecodeFailure;

/** What the cache needs of the rest of the CPU. */
export interface CodeCacheHost {
  readonly memory: StateMemory;
  /** Guest RAM. */
  readonly ram: Uint8Array;
  /** Address in memory 0 of the table of code-page pointers, one u32 a RAM page. */
  readonly codePages: number;
  readonly forms: Pick<FormTable, 'handlerFor'>;
  readonly decode: Decode;
  /** What decodeRun knows. */
  readonly shapes: Shapes;
  /** The core's decodeRun: makes records for code at `offset` of a RAM page; the first, or 0 when it cannot. */
  decodeRun(page: number, ramPage: number, offset: number): number;
  /** Writes to this RAM page must be noticed from now on. */
  watchPage(ramPage: number): void;
  /** No jump-cache entry made so far may be used. */
  forgetLookups(): void;
}

interface CodePage {
  readonly table: number;
  readonly chunks: number[];
  /** Its page-crossing records and the page that holds their second half. */
  readonly crossings: Map<number, number>;
}

/** STATE.codeMode taken apart. */
const modeOf = (codeMode: number): { mode: CodeMode; stackSize: StackSize } => {
  const kind = codeMode & 3;
  if (kind === 0) return { mode: 64, stackSize: 8 };
  return { mode: kind === 1 ? 32 : 16, stackSize: codeMode & 4 ? 4 : 2 };
};
const PAGE = 4096;
const CHUNK = 4096;
/** CODE_PAGE.open when there is nothing. */
const NO_OFFSET = 0xffff_ffff;
/** No RAM page, nor one of fetchPage's failures (-1, -2). */
const NO_PAGE = 0xffff_fff0;

const undefinedRow: OpcodeRow = { opcode: '', mnemonic: '(undefined)', operands: ['Iz'], ends: true };
const tooLongRow: OpcodeRow = { opcode: '', mnemonic: '(too long)', operands: [], ends: true };

/** An instruction that raises #UD and is counted under names[id]. */
const undefinedInstruction = (row: OpcodeRow, mode: CodeMode, id: number): DecodedInstruction => ({
  row,
  length: 1,
  mode,
  operandSize: 4,
  addressSize: mode === 64 ? 8 : 4,
  lock: false,
  rep: 'none',
  segment: -1,
  operands: row === undefinedRow ? [{ kind: 'imm', width: 4, lo: id, hi: 0 }] : [],
  vex: undefined,
  rexW: false,
});

/** Decoded records by physical page: made on demand in runs of straight code, dropped when their bytes are written. */
export class CodeCache {
  readonly #host: CodeCacheHost;
  readonly #pages = new Map<number, CodePage>();
  readonly #freeTables: number[] = [];
  readonly #freeChunks: number[] = [];
  /** Records (PSEUDO.cross) whose second half lies on a page. */
  readonly #crossings = new Map<number, Set<number>>();
  readonly #undefinedNames = new Map<string, number>();
  /** Name of each undefined instruction by the number its record passes. */
  readonly undefinedNames: string[] = [];
  /** A page's records are dropped. */
  onDrop: ((ramPage: number) => void) | undefined;
  /** The RAM page whose records a chunk holds. */
  readonly #chunkOwners = new Map<number, number>();
  invalidations = 0;
  readonly #shapes: Shapes;
  #decodedInstructions = 0;

  constructor(host: CodeCacheHost) {
    this.#host = host;
    this.#shapes = host.shapes;
  }

  get decodedInstructions(): number {
    return this.#decodedInstructions + this.#host.memory.count(STATE.counters + COUNTER.decoded * 8);
  }

  /**
   * Makes records for code at `offset` of a RAM page, for STATE.codeMode `codeMode`. `nextPage` yields the RAM page that follows in linear addresses,
   * or a negative number when there is none now.
   */
  decode(ramPage: number, offset: number, codeMode: number, nextPage: () => number): void {
    const { mode, stackSize } = modeOf(codeMode);
    const page = this.#page(ramPage, codeMode);
    const { memory } = this.#host;
    const slot = (page.table + CODE_PAGE.map) / 4 + offset;
    const existing = memory.u32[slot]!;
    if (existing !== 0) {
      // only a page-crossing instruction whose second page has changed comes here again
      this.#writeCrossing(existing, ramPage, offset, mode, stackSize, nextPage());
      return;
    }
    this.#makeRoom(ramPage, page, ROOM.toBegin);
    const { decodeRun, ram } = this.#host;
    if (decodeRun(page.table, ramPage, offset) !== 0) return;
    const decoded = this.#decodeOne(ram, ramPage * PAGE + offset, (ramPage + 1) * PAGE, mode, stackSize);
    if (decoded === undefined) {
      const record = this.#take(page, offset, 3);
      memory.u32[slot] = record;
      this.#writeCrossing(record, ramPage, offset, mode, stackSize, nextPage());
      return;
    }
    const { d, handler } = decoded;
    if (d.row !== undefinedRow && d.row !== tooLongRow) this.#shapes.learn(d, handler);
    const record = this.#take(page, offset, 1);
    writeRecord(memory, record, d, handler, offset);
    memory.u32[slot] = record;
    this.#markGranules(page, offset, d.length);
    this.#decodedInstructions++;
    const after = offset + d.length;
    this.#writePseudo(memory.get32(page.table + CODE_PAGE.next), PSEUDO.fall, after, 0);
    memory.set32(page.table + CODE_PAGE.open, after);
  }

  /** Bytes [ram, ram + length) are about to change or have changed. Returns whether code was dropped. */
  written(ram: number, length: number): boolean {
    let dropped = false;
    for (let page = Math.floor(ram / PAGE); page * PAGE < ram + length; page++) {
      const info = this.#pages.get(page);
      if (!info) continue;
      const from = Math.max(ram, page * PAGE) & 0xfff;
      const to = Math.min(ram + length, (page + 1) * PAGE) - page * PAGE;
      if (this.#holdsCode(info, from, to)) {
        this.#drop(page, info);
        dropped = true;
      }
    }
    if (dropped) this.#host.forgetLookups();
    return dropped;
  }

  /** Drops everything: the records' memory had grown too large, or the CPU model changed. */
  clear(): void {
    for (const [page, info] of this.#pages) this.#drop(page, info);
    this.#host.forgetLookups();
  }

  // ---- for the JIT

  /** The RAM page a record belongs to, or undefined when it was dropped. */
  pageOfRecord(record: number): number | undefined {
    return this.#chunkOwners.get(record & -CHUNK);
  }
  isPseudo(record: number): boolean {
    return this.#host.memory.u16[(record + RECORD.handler) >> 1]! < PSEUDO_COUNT;
  }
  /** Has an instruction been decoded at this offset of a RAM page? */
  isKnown(ramPage: number, offset: number): boolean {
    const page = this.#pages.get(ramPage);
    return page !== undefined && this.#host.memory.u32[(page.table + CODE_PAGE.map) / 4 + offset]! !== 0;
  }
  /** The record at an offset of a RAM page, or 0. */
  recordAt(ramPage: number, offset: number): number {
    const page = this.#pages.get(ramPage);
    return page ? this.#host.memory.u32[(page.table + CODE_PAGE.map) / 4 + offset]! : 0;
  }
  isEntry(ramPage: number, offset: number): boolean {
    const record = this.recordAt(ramPage, offset);
    return record !== 0 && this.#host.memory.u16[(record + RECORD.handler) >> 1] === PSEUDO.enter;
  }
  modeOfPage(ramPage: number): { mode: CodeMode; stackSize: StackSize } {
    return modeOf(this.#host.memory.get32(this.#pages.get(ramPage)!.table + CODE_PAGE.mode));
  }
  /** Bytes whose change must be noticed. */
  watch(ramPage: number, offset: number, length: number): void {
    const page = this.#pages.get(ramPage);
    if (page) this.#markGranules(page, offset, length);
  }
  /**
   * Lets the record at `offset` enter a region: it becomes PSEUDO.enter, its instruction moves to a new record followed by
   * a link back. Returns the record, or undefined when it cannot.
   */
  installEntry(ramPage: number, offset: number, slot: number, entry: number): number | undefined {
    const page = this.#pages.get(ramPage);
    if (!page) return undefined;
    const { memory } = this.#host;
    const record = memory.u32[(page.table + CODE_PAGE.map) / 4 + offset]!;
    if (record === 0 || this.isPseudo(record)) return undefined;
    this.#makeRoom(ramPage, page, ROOM.least);
    const copy = this.#take(page, NO_OFFSET, 2);
    this.#moveRecord(record, copy);
    const following = memory.u16[(record + RECORD.size + RECORD.ipOffset) >> 1]!;
    this.#writePseudo(copy + RECORD.size, PSEUDO.link, following, record + RECORD.size);
    this.#writePseudo(record, PSEUDO.enter, offset, slot);
    memory.set32(record + RECORD.c, entry);
    memory.set32(record + RECORD.a, copy);
    return record;
  }
  /** Undoes installEntry; the copy stays behind, for pointers to it may be in use. */
  removeEntry(record: number): void {
    const { memory } = this.#host;
    if (memory.u16[(record + RECORD.handler) >> 1] !== PSEUDO.enter) return;
    this.#moveRecord(memory.get32(record + RECORD.a), record);
  }
  /** No jump leads to this slot of the table of functions any more. */
  forgetSlot(slot: number): void {
    const { u32 } = this.#host.memory;
    const { base, entries, entrySize } = JUMP_CACHE;
    for (let n = 0; n < entries; n++) {
      const at = (base + n * entrySize + JUMP_CACHE.slot) >> 2;
      if (u32[at] === slot) u32[at] = 0xffff_ffff;
    }
  }
  /** Copies a record; pointers to its own immediate follow it. */
  #moveRecord(from: number, to: number): void {
    const { memory } = this.#host;
    memory.u8.copyWithin(to, from, from + RECORD.size);
    for (const field of [RECORD.a, RECORD.b]) {
      const pointer = memory.get32(to + field);
      if (pointer >= from && pointer < from + RECORD.size) memory.set32(to + field, pointer - from + to);
    }
  }

  #decodeOne(
    bytes: Uint8Array,
    at: number,
    end: number,
    mode: CodeMode,
    stackSize: StackSize,
  ): { d: DecodedInstruction; handler: number } | undefined {
    const decoded = this.#host.decode(bytes, at, end, mode);
    if ('row' in decoded) {
      const handler = this.#host.forms.handlerFor(decoded, stackSize);
      if (handler !== undefined) return { d: decoded, handler };
      return this.#undefined(undefinedRow, mode, stackSize, decoded.row.mnemonic);
    }
    if (decoded.kind === 'more') return undefined;
    return this.#undefined(decoded.kind === 'ud' ? undefinedRow : tooLongRow, mode, stackSize, decoded.what);
  }
  #undefined(
    row: OpcodeRow,
    mode: CodeMode,
    stackSize: StackSize,
    name: string,
  ): { d: DecodedInstruction; handler: number } {
    let id = this.#undefinedNames.get(name);
    if (id === undefined) {
      id = this.undefinedNames.push(name) - 1;
      this.#undefinedNames.set(name, id);
    }
    const d = undefinedInstruction(row, mode, id);
    const handler = this.#host.forms.handlerFor(d, stackSize);
    if (handler === undefined) throw new RangeError(`no semantics for ${row.mnemonic}`);
    return { d, handler };
  }

  /** cross, instruction, fall: rewritten in place whenever the second page has changed. */
  #writeCrossing(
    record: number,
    ramPage: number,
    offset: number,
    mode: CodeMode,
    stackSize: StackSize,
    second: number,
  ): void {
    const { memory, ram } = this.#host;
    const page = this.#pages.get(ramPage)!;
    if (second < 0) {
      // nothing there: executing it must fault, which the check itself does
      this.#writePseudo(record, PSEUDO.cross, offset, NO_PAGE);
      this.#markGranules(page, offset, PAGE - offset);
      return;
    }
    const bytes = new Uint8Array(16);
    const first = PAGE - offset;
    bytes.set(ram.subarray(ramPage * PAGE + offset, (ramPage + 1) * PAGE));
    bytes.set(ram.subarray(second * PAGE, second * PAGE + 16 - first), first);
    const decoded = this.#decodeOne(bytes, 0, 16, mode, stackSize);
    if (!decoded) throw new RangeError('an instruction longer than 16 bytes was not refused by the decoder');
    this.#writePseudo(record, PSEUDO.cross, offset, second);
    writeRecord(memory, record + RECORD.size, decoded.d, decoded.handler, offset);
    this.#writePseudo(record + 2 * RECORD.size, PSEUDO.fall, offset + decoded.d.length, 0);
    this.#markGranules(page, offset, first);
    const secondPage = this.#page(second, this.#host.memory.get32(page.table + CODE_PAGE.mode));
    this.#markGranules(secondPage, 0, Math.max(1, decoded.d.length - first));
    let records = this.#crossings.get(second);
    if (!records) this.#crossings.set(second, (records = new Set()));
    records.add(record);
    page.crossings.set(record, second);
  }

  #writePseudo(at: number, handler: number, ipOffset: number, value: number): void {
    const { u16, u32 } = this.#host.memory;
    for (let i = at >> 2; i < (at + RECORD.size) >> 2; i++) u32[i] = 0;
    u16[(at + RECORD.handler) >> 1] = handler;
    u16[(at + RECORD.ipOffset) >> 1] = ipOffset;
    u32[(at + RECORD.imm) >> 2] = value;
  }

  #page(ramPage: number, codeMode: number): CodePage {
    let page = this.#pages.get(ramPage);
    if (page && this.#host.memory.get32(page.table + CODE_PAGE.mode) !== codeMode) {
      // the same bytes are run in another mode now: records of two modes cannot share a map
      this.#drop(ramPage, page);
      this.#host.forgetLookups();
      page = undefined;
    }
    if (!page) {
      const { memory, codePages } = this.#host;
      const used = this.#freeTables.pop();
      const table = used ?? memory.allocate(CODE_PAGE.size);
      if (used !== undefined) memory.u8.fill(0, table, table + CODE_PAGE.size);
      memory.set32(table + CODE_PAGE.open, NO_OFFSET);
      memory.set32(table + CODE_PAGE.mode, codeMode);
      page = { table, chunks: [], crossings: new Map() };
      this.#pages.set(ramPage, page);
      memory.set32(codePages + ramPage * 4, table);
      this.#host.watchPage(ramPage);
    }
    return page;
  }
  /** Sees to it that at least `bytes` are left for records. */
  #makeRoom(ramPage: number, page: CodePage, bytes: number): void {
    const { memory } = this.#host;
    const { table } = page;
    // what is open at `next` may have to be passed over
    const left = memory.get32(table + CODE_PAGE.end) - memory.get32(table + CODE_PAGE.next) - RECORD.size;
    if (left >= bytes) return;
    const chunk = this.#takeChunk(page, ramPage);
    let end = chunk + CHUNK;
    // where there is more than a little code, so that decodeRun need not ask as often: as much again, if it lies behind
    for (let more = page.chunks.length - 1; more > 0 && memory.used === end && this.#freeChunks.length === 0; more--) {
      this.#takeChunk(page, ramPage);
      end += CHUNK;
    }
    memory.set32(table + CODE_PAGE.next, chunk);
    memory.set32(table + CODE_PAGE.end, end);
    memory.set32(table + CODE_PAGE.open, NO_OFFSET);
  }
  #takeChunk(page: CodePage, ramPage: number): number {
    const chunk = this.#freeChunks.pop() ?? this.#host.memory.allocate(CHUNK, CHUNK);
    page.chunks.push(chunk);
    this.#chunkOwners.set(chunk, ramPage);
    return chunk;
  }
  /** Space for `count` records, the first of which is at `offset`: right after a run that ends there. */
  #take(page: CodePage, offset: number, count: number): number {
    const { memory } = this.#host;
    const { table } = page;
    const open = memory.get32(table + CODE_PAGE.open);
    const next = memory.get32(table + CODE_PAGE.next);
    const record = open === NO_OFFSET || open === offset ? next : next + RECORD.size;
    memory.set32(table + CODE_PAGE.next, record + count * RECORD.size);
    memory.set32(table + CODE_PAGE.open, NO_OFFSET);
    return record;
  }
  #markGranules(page: CodePage, offset: number, length: number): void {
    const last = Math.min(offset + length, PAGE) - 1;
    for (let g = offset >> 6; g <= last >> 6; g++) {
      this.#host.memory.u8[page.table + CODE_PAGE.granules + (g >> 3)]! |= 1 << (g & 7);
    }
  }
  #holdsCode(page: CodePage, from: number, to: number): boolean {
    for (let g = from >> 6; g <= (to - 1) >> 6; g++) {
      if (this.#host.memory.u8[page.table + CODE_PAGE.granules + (g >> 3)]! & (1 << (g & 7))) return true;
    }
    return false;
  }
  #drop(ramPage: number, page: CodePage): void {
    const { memory, codePages } = this.#host;
    this.invalidations++;
    this.onDrop?.(ramPage);
    this.#pages.delete(ramPage);
    for (const chunk of page.chunks) this.#chunkOwners.delete(chunk);
    memory.set32(codePages + ramPage * 4, 0);
    this.#freeTables.push(page.table);
    this.#freeChunks.push(...page.chunks);
    for (const record of this.#crossings.get(ramPage) ?? []) memory.set32(record + RECORD.imm, NO_PAGE);
    this.#crossings.delete(ramPage);
    for (const [record, second] of page.crossings) this.#crossings.get(second)?.delete(record);
  }
}
