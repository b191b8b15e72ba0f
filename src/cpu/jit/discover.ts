import type { CodeMode, DecodedInstruction, DecodeFailure } from '../decode/types.ts';
import type { Semantics } from '../semantics/context.ts';

/** One instruction of a block. */
export interface BlockInstruction {
  readonly d: DecodedInstruction;
  /** From the start of the linear page the region was entered in; may be negative or beyond 4096. */
  readonly offset: number;
}
export interface Block {
  readonly offset: number;
  readonly instructions: readonly BlockInstruction[];
  /** Offset after the last instruction. */
  readonly end: number;
  /** How control leaves: by the last instruction, by falling through to `end`, or because the interpreter must go on at `end`. */
  readonly exit: 'transfer' | 'fall' | 'interpret';
}
/** Blocks that will become one wasm function. */
export interface RegionPlan {
  readonly blocks: readonly Block[];
  /** Offsets where the region can be entered; the first is the one it was asked for. */
  readonly entries: readonly number[];
  /** Where the region's calls come back to: a RET looks here before it leaves. */
  readonly continuations: readonly number[];
  /** Where the region's other indirect branches have been seen to go: they look here before they leave. */
  readonly indirect: readonly number[];
  /** RAM page of each linear page the region spans, by page number relative to the entry's. */
  readonly pages: ReadonlyMap<number, number>;
  /** There was more than the limits allow. */
  readonly truncated: boolean;
}

/** Why a region is made anew, larger than it was: offsets are from its own page. */
export interface Growth {
  /** Entries of the region it replaces. */
  readonly entries: readonly number[];
  /** Blocks that belong in it although other regions begin there. */
  readonly blocks: ReadonlySet<number>;
  /** Where its indirect branches go. */
  readonly indirect: readonly number[];
}

/** How much a region may hold. */
export interface RegionLimits {
  /** Blocks: optimising compilation time explodes beyond 300. */
  readonly maxBlocks: number;
  readonly maxInstructions: number;
  /** Instructions of a block: one that does not fit the budget to the next event is interpreted. */
  readonly maxBlockLength: number;
}

/** What discovery needs of the rest of the CPU. */
export interface DiscoveryHost {
  readonly ram: Uint8Array;
  readonly mode: CodeMode;
  decode(bytes: Uint8Array, at: number, end: number, mode: CodeMode): DecodedInstruction | DecodeFailure;
  semantics(mnemonic: string): Semantics | undefined;
  readonly limits: RegionLimits;
  /** RAM page of the linear page `delta` pages from the entry's, or a negative number. */
  ramPage(delta: number): number;
  /** Has the interpreter decoded, and so executed, an instruction here? */
  isKnown(ramPage: number, offset: number): boolean;
  /** Does another region begin here? */
  isEntry(ramPage: number, offset: number): boolean;
  /** How often the interpreter was seen to branch here, as a share of what made the entry hot; 1 where a region begins. */
  heat(ramPage: number, offset: number): number;
}

const PAGE = 4096;
/** Share of the entry's samples from which a branch is followed, and a call (by where it comes back to). */
const WARM_BRANCH = 1 / 32;
const HOT_CALL = 1 / 4;
/** Offsets of instructions stay 32-bit numbers. */
const FARTHEST = 2 ** 30;

/** Instructions that are left to the interpreter: they end a slice, change modes or mappings, or work through JavaScript. */
const INTERPRETED = new Set(
  (
    'mov_cr mov_dr clts lmsw smsw rdmsr wrmsr cpuid invlpg invpcid wbinvd invd lgdt lidt sgdt sidt lldt ltr sldt str verr verw lar lsl ' +
    'mov_seg push_seg pop_seg les lss lds lfs lgs hlt int int3 int1 into iret jmp_far call_far ret_far ' +
    'sysenter sysexit rdpmc rdrand rdseed xgetbv xsetbv ' +
    'in out ins outs fxsave fxrstor xsave xsavec xsaveopt xsaves xrstor xrstors enter bound monitor mwait rdpkru wrpkru ' +
    'pusha popa ud0 ud1 ud2 maskmovdqu maskmovq'
  ).split(' '),
);
/** Translated, but the region ends there: interrupts, privilege or the TLB tables may be others afterwards. */
export const ENDS_REGION = new Set(['sti', 'popf', 'stac', 'clac', 'syscall', 'sysret']);
/** Repeated in place; outside 64-bit mode a segment may have to be asked about every element. */
const STRING = new Set(['movs', 'stos', 'lods', 'cmps', 'scas']);
/** Privileged, and translated with the check. */
const PRIVILEGED = new Set(['swapgs', 'sysret']);
export const isTranslatable = (d: DecodedInstruction, host: Pick<DiscoveryHost, 'semantics'>): boolean =>
  !INTERPRETED.has(d.row.mnemonic) &&
  // EIP cut to 16 bits by an operand-size prefix
  !(d.mode !== 64 && d.operandSize === 2 && d.operands[0]?.kind === 'rel') &&
  (!d.row.cpl0 || PRIVILEGED.has(d.row.mnemonic)) &&
  (d.rep === 'none' || (STRING.has(d.row.mnemonic) && d.mode === 64)) &&
  host.semantics(d.row.mnemonic) !== undefined;

/**
 * Follows hot code from `entry` along fall-through and direct branches, where the interpreter has been and, for conditional branches and
 * calls, often enough (see WARM_BRANCH). Other regions' code is taken in only where `growth` asks for it.
 */
export function discover(host: DiscoveryHost, entry: number, growth?: Growth): RegionPlan | undefined {
  const pages = new Map<number, number>();
  const pageOf = (offset: number): number => {
    const delta = Math.floor(offset / PAGE);
    let page = pages.get(delta);
    if (page === undefined) {
      page = host.ramPage(delta);
      pages.set(delta, page);
    }
    return page;
  };
  const known = (offset: number): boolean => {
    const page = pageOf(offset);
    return page >= 0 && host.isKnown(page, offset & (PAGE - 1));
  };
  const decodeAt = (offset: number): DecodedInstruction | undefined => {
    const page = pageOf(offset);
    if (page < 0) return undefined;
    const inPage = offset & (PAGE - 1);
    let decoded = host.decode(host.ram, page * PAGE + inPage, (page + 1) * PAGE, host.mode);
    if ('kind' in decoded && decoded.kind === 'more') {
      const next = pageOf(offset + 16);
      if (next < 0) return undefined;
      const bytes = new Uint8Array(16);
      const first = PAGE - inPage;
      bytes.set(host.ram.subarray(page * PAGE + inPage, (page + 1) * PAGE));
      bytes.set(host.ram.subarray(next * PAGE, next * PAGE + 16 - first), first);
      decoded = host.decode(bytes, 0, 16, host.mode);
    }
    return 'row' in decoded ? decoded : undefined;
  };

  const { limits } = host;
  const instructions = new Map<number, DecodedInstruction>();
  const leaders = new Set<number>([entry]);
  const entries = new Set<number>([entry]);
  /** Offsets the interpreter must execute. */
  const interpreted = new Set<number>();
  const work = [entry];
  let truncated = false;
  const isWanted = (offset: number): boolean => growth?.blocks.has(offset) ?? false;
  const heat = (offset: number): number => (known(offset) ? host.heat(pageOf(offset), offset & (PAGE - 1)) : 0);
  const lead = (offset: number, isEntry: boolean, wanted = isWanted(offset)): void => {
    if (Math.abs(offset) > FARTHEST || !known(offset)) return;
    // what has been translated already is entered rather than translated again
    if (!wanted && host.isEntry(pageOf(offset), offset & (PAGE - 1))) return;
    if (isEntry) entries.add(offset);
    if (leaders.has(offset)) return;
    if (leaders.size >= limits.maxBlocks) {
      truncated = true;
      return;
    }
    leaders.add(offset);
    work.push(offset);
  };
  for (const offset of growth?.indirect ?? []) lead(offset, false);
  for (const offset of growth?.entries ?? []) lead(offset, true);
  for (let start = work.shift(); start !== undefined; start = work.shift()) {
    let at = start;
    while (!instructions.has(at)) {
      if (instructions.size >= limits.maxInstructions) {
        truncated = true;
        break;
      }
      const d = decodeAt(at);
      if (d === undefined || !isTranslatable(d, host)) {
        interpreted.add(at);
        // what follows will be reached from the interpreter
        if (d !== undefined && !d.row.ends) lead(at + d.length, true);
        break;
      }
      instructions.set(at, d);
      const next = at + d.length;
      const target = directTarget({ d, offset: at });
      if (d.row.ends || ENDS_REGION.has(d.row.mnemonic)) {
        if (d.row.mnemonic === 'call' || !d.row.ends || d.row.mnemonic === 'syscall') {
          const within =
            target === undefined
              ? isIndirect(d) && (growth?.indirect.length ?? 0) > 0
              : isWanted(target) || (d.row.mnemonic === 'call' && heat(next) >= HOT_CALL);
          if (target !== undefined && within) lead(target, false);
          // a call that stays inside comes back inside
          lead(next, true, within || isWanted(next));
        } else {
          const conditional = isConditional(d);
          if (target !== undefined && (!conditional || isWanted(target) || heat(target) >= WARM_BRANCH))
            lead(target, false);
          if (conditional) lead(next, false);
        }
        break;
      }
      at = next;
    }
  }
  // what is in the region anyway is not left for
  for (const [offset, d] of instructions) {
    const target = d.row.mnemonic === 'call' ? undefined : directTarget({ d, offset });
    if (target !== undefined && instructions.has(target) && leaders.size < limits.maxBlocks && known(target)) {
      leaders.add(target);
    }
  }
  const blocks = cutBlocks(leaders, instructions, interpreted, limits.maxBlockLength);
  const starts = new Set(blocks.map((b) => b.offset));
  if (!starts.has(entry)) return undefined;
  for (const [delta, page] of pages) if (page < 0) pages.delete(delta);
  const spanned = new Set<number>();
  for (const b of blocks) {
    for (let p = Math.floor(b.offset / PAGE); p * PAGE < b.end; p++) spanned.add(p);
  }
  for (const delta of pages.keys()) if (!spanned.has(delta)) pages.delete(delta);
  const continuations = blocks
    .filter((b) => b.instructions.at(-1)?.d.row.mnemonic === 'call' && starts.has(b.end))
    .map((b) => b.end);
  const indirect = (growth?.indirect ?? []).filter((offset) => starts.has(offset));
  return { blocks, entries: [...entries].filter((e) => starts.has(e)), continuations, indirect, pages, truncated };
}

/** A JMP or CALL whose target is computed. */
export const isIndirect = (d: DecodedInstruction): boolean =>
  (d.row.mnemonic === 'jmp' || d.row.mnemonic === 'call') && d.operands[0]?.kind !== 'rel';

/** Where a relative branch goes, as an offset like its own; undefined for any other instruction. */
export function directTarget({ d, offset }: BlockInstruction): number | undefined {
  const operand = d.operands[0];
  return operand?.kind === 'rel' ? offset + d.length + operand.displacement : undefined;
}

const isConditional = (d: DecodedInstruction): boolean =>
  d.row.condition !== undefined || d.row.mnemonic.startsWith('loop') || /^j[er]?cxz$/.test(d.row.mnemonic);

/** Straight pieces between leaders, in address order. */
function cutBlocks(
  leaders: ReadonlySet<number>,
  instructions: ReadonlyMap<number, DecodedInstruction>,
  interpreted: ReadonlySet<number>,
  maxBlockLength: number,
): Block[] {
  const blocks: Block[] = [];
  const pending = [...leaders];
  const done = new Set<number>();
  for (let start = pending.shift(); start !== undefined; start = pending.shift()) {
    if (done.has(start) || !instructions.has(start)) continue;
    done.add(start);
    const list: BlockInstruction[] = [];
    let at = start;
    let exit: Block['exit'] = 'fall';
    for (;;) {
      const d = instructions.get(at);
      if (d === undefined) {
        exit = interpreted.has(at) ? 'interpret' : 'fall';
        break;
      }
      if (at !== start && leaders.has(at)) break;
      if (list.length === maxBlockLength) {
        // a very long block would seldom fit the budget: go on in another
        pending.push(at);
        break;
      }
      list.push({ d, offset: at });
      at += d.length;
      if (d.row.ends || ENDS_REGION.has(d.row.mnemonic)) {
        exit = 'transfer';
        break;
      }
    }
    blocks.push({ offset: start, instructions: list, end: at, exit });
  }
  return blocks.sort((a, b) => a.offset - b.offset);
}
