import { type FunctionBuilder, type Label, ZERO } from '../../wasm/builder.ts';
import { type Callable, type I32, i32, i64 } from '../../wasm/expr.ts';
import type { ModuleBuilder } from '../../wasm/module.ts';
import { type DecodedInstruction, FLAG, type OpcodeRow, SEGMENT } from '../decode/types.ts';
import type { Semantics } from '../semantics/context.ts';
import { BAIL, EXIT, STATE, VECTOR } from '../state.ts';
import { type RegionFrame, TranslatorContext } from './context.ts';
import { type Block, ENDS_REGION, type RegionPlan } from './discover.ts';
import { elementOf, type LoopNode, layOut } from './layout.ts';
import type { TargetTable } from './target-table.ts';
import { VectorLocals } from './vector-locals.ts';

/** What a region is translated for. */
export interface TranslationMode {
  readonly stackSize: 2 | 4 | 8;
  /** Not 64-bit mode. */
  readonly segmented: boolean;
  /** TLB tables (addresses in memory 0) of the privilege. */
  readonly tlbRead: number;
  readonly tlbWrite: number;
  readonly semantics: ReadonlyMap<string, Semantics>;
  /** See JitOptions. */
  readonly vectorUses: number;
  /** Two i64 cells: the lookup key and the base for which the region's pages were last found to be mapped as planned. */
  readonly validCell: number;
  /** For the plan's continuations and indirect targets, where there are many. */
  readonly tables: readonly [TargetTable | undefined, TargetTable | undefined];
}

const STATUS = FLAG.cf | FLAG.pf | FLAG.af | FLAG.zf | FLAG.sf | FLAG.of;
const PAGE = 4096;

/** (entry number) -> EXIT code: one region as a function of module `m`. */
export function translateRegion(
  m: ModuleBuilder,
  name: string,
  plan: RegionPlan,
  mode: TranslationMode,
  importHelper: (m: ModuleBuilder, name: string) => Callable,
): FunctionBuilder {
  const f = m.function(name, ['i32'], ['i32']);
  const lookup = (helper: string): Callable => importHelper(m, helper);
  const i64s = (n: number): number[] => Array.from({ length: n }, () => f.newLocal('i64'));
  const none: Label = { depth: 0 };
  const layout = layOut(plan);
  const { blocks, positions, paths, root } = layout;
  const frame: RegionFrame = {
    f,
    lookup,
    gpr: i64s(16),
    dirty: new Set(),
    used: new Set(),
    flags: {
      op: f.newLocal('i32'),
      a: f.newLocal('i64'),
      b: f.newLocal('i64'),
      r: f.newLocal('i64'),
      word: f.newLocal('i32'),
    },
    vectors: new VectorLocals(f, layout, mode.vectorUses),
    base: f.newLocal('i64'),
    budget: f.newLocal('i32'),
    ip: f.newLocal('i64'),
    code: f.newLocal('i32'),
    at: f.newLocal('i32'),
    refund: f.newLocal('i32'),
    leave: none,
    fault: none,
    tlbRead: mode.tlbRead,
    tlbWrite: mode.tlbWrite,
    knownFlags: undefined,
    checkedCells: new Set(),
    zeroExtended: new Set(),
    continuations: { offsets: plan.continuations, table: mode.tables[0] },
    indirect: { offsets: plan.indirect, table: mode.tables[1] },
    branchTo: () => {},
  };
  /** Which element a loop's dispatch goes to: a local for each loop that has one. */
  const states = new Map<LoopNode, number>();
  const heads = new Map<LoopNode, Label>();
  const labels = new Map<LoopNode, Label[]>();
  // made now: a local made while an instruction is emitted is the pool's again after it
  const allocateStates = (loop: LoopNode): void => {
    if (loop.dispatch) states.set(loop, f.newLocal('i32'));
    for (const e of loop.elements) if (e.kind === 'loop') allocateStates(e);
  };
  allocateStates(root);
  const stateOf = (loop: LoopNode): number => states.get(loop)!;
  /** Tells the dispatches of `loops` where to go for block `to`. */
  const setStates = (to: number, loops: readonly LoopNode[]): void => {
    for (const loop of loops) if (loop.dispatch) f.set(stateOf(loop), i32.const(elementOf(loop, to)));
  };
  /** Leaves for an address outside the region. */
  const exitTo = (offset: number): void => {
    f.set(frame.ip, i64.add(f.get('i64', frame.base), i64.const(offset)));
    f.set(frame.code, i32.const(EXIT.jump));
    f.br(frame.leave);
  };

  f.block((leave) => {
    frame.leave = leave;
    f.block((fault) => {
      frame.fault = fault;
      const emitLoop = (loop: LoopNode): void => {
        const mine: Label[] = [];
        labels.set(loop, mine);
        const open = (n: number): void => {
          if (n === 0) {
            if (!loop.dispatch) return;
            f.block((fallback) => f.brTable(mine, fallback, f.get('i32', stateOf(loop))));
            f.unreachable();
            return;
          }
          f.block((label) => {
            mine[n - 1] = label;
            open(n - 1);
          });
          const element = loop.elements[n - 1]!;
          if (element.kind === 'loop') {
            f.loop((head) => {
              heads.set(element, head);
              emitLoop(element);
            });
          } else {
            const { position } = element;
            frame.branchTo = (offset) => {
              const target = positions.get(offset);
              if (target === undefined) exitTo(offset);
              else branch(position, target);
            };
            emitBlock(frame, blocks[position]!, mode);
          }
          // every element ends with a branch
          f.unreachable();
        };
        open(loop.elements.length);
      };
      /** From block to block: on within the loop they share, or back to its head. */
      const branch = (from: number, to: number): void => {
        const shared = paths[to]!.filter((loop) => paths[from]!.includes(loop)).at(-1)!;
        setStates(to, paths[to]!.slice(paths[to]!.indexOf(shared) + 1));
        const element = elementOf(shared, to);
        if (to > from) {
          f.br(labels.get(shared)![element]!);
          return;
        }
        if (shared.dispatch) f.set(stateOf(shared), i32.const(element));
        f.br(heads.get(shared)!);
      };
      emitLoop(root);
    });
    // a fault, or something for the interpreter: what is not retired of the block does not count
    f.set(frame.budget, i32.add(f.get('i32', frame.budget), f.get('i32', frame.refund)));
    f.set(frame.ip, i64.add(f.get('i64', frame.base), i64.extendS(f.get('i32', frame.at))));
    f.set(frame.code, i32.const(EXIT.fault));
    f.if(i32.eqz(i32.and(i32.load(ZERO, STATE.fault), i32.const(~BAIL))), () => {
      f.store32(ZERO, i32.const(0), STATE.fault);
      f.set(frame.code, i32.const(EXIT.interpret));
    });
  });
  f.mark('exit');
  emitEpilogue(frame);
  f.prepend(() =>
    emitPrologue(frame, plan, mode, (offset) => setStates(positions.get(offset)!, paths[positions.get(offset)!]!)),
  );
  return f;
}

function emitBlock(frame: RegionFrame, block: Block, mode: TranslationMode): void {
  const { f } = frame;
  f.mark('block');
  const count = block.instructions.length;
  const interpret = (at: number, refund: number): void => {
    f.set(frame.at, i32.const(at));
    f.set(frame.refund, i32.const(refund));
    f.br(frame.fault);
  };
  frame.knownFlags = undefined;
  frame.zeroExtended.clear();
  frame.checkedCells.clear();
  if (count > 0) {
    const left = f.tee(frame.budget, i32.sub(f.get('i32', frame.budget), i32.const(count)));
    f.if(i32.ltS(left, i32.const(0)), () => interpret(block.offset, count), undefined, 'unlikely');
  }
  let ended = false;
  block.instructions.forEach(({ d, offset }, n) => {
    f.mark(offset);
    f.scope(() => {
      const cx = new TranslatorContext(frame, d, {
        offset,
        unretired: count - n,
        flagsDead: flagsDeadAfter(block, n),
        stackSize: mode.stackSize,
        setsCode: ENDS_REGION.has(d.row.mnemonic),
      });
      if (d.row.cpl0) cx.raiseIf(i32.load(ZERO, STATE.cpl), VECTOR.gp, 0);
      mode.semantics.get(d.row.mnemonic)!(cx);
      if (!cx.ended && ENDS_REGION.has(d.row.mnemonic)) {
        cx.leaveAfter(mustLeaveAfter(d.row.mnemonic, mode));
      }
      ended = cx.ended;
    });
  });
  if (ended) return;
  f.mark('branch');
  if (block.exit === 'interpret') interpret(block.end, 0);
  else frame.branchTo(block.end);
}

/** When the region cannot go on after an instruction of ENDS_REGION; undefined: it never does. */
function mustLeaveAfter(mnemonic: string, mode: TranslationMode): I32 | undefined {
  const pending = i32.load(ZERO, STATE.pending);
  if (mnemonic === 'sti') return pending;
  if (mnemonic !== 'popf') return undefined;
  const stepping = i32.and(i32.load(ZERO, STATE.eflags), i32.const(FLAG.tf));
  const otherTables = i32.ne(i32.load(ZERO, STATE.tlbRead), i32.const(mode.tlbRead));
  return i32.or(pending, i32.or(stepping, otherTables));
}

/** Are all flags that instruction n sets overwritten by the next one that looks at flags, with no way out before it? */
function flagsDeadAfter(block: Block, n: number): boolean {
  for (let i = n + 1; i < block.instructions.length; i++) {
    const { d } = block.instructions[i]!;
    if (d.row.ends || mayLeave(d)) return false;
    if (readsFlags(d.row)) return false;
    if (overwritesAll(d.row)) return true;
  }
  return false;
}
/** What cannot leave the region half-way when its operands are registers and immediates: nothing here ever faults. */
const NEVER_LEAVES = new Set(
  (
    'add or adc sbb and sub xor cmp test inc dec neg not mov movzx movsx movsxd lea xchg xadd cmpxchg bswap cbw cwd setcc cmovcc ' +
    'shl shr sar rol ror rcl rcr shld shrd mul imul bt bts btr btc bsf bsr tzcnt lzcnt popcnt andn bextr blsi blsmsk blsr bzhi ' +
    'mulx pdep pext rorx sarx shlx shrx adcx adox nop clc stc cmc cld std lahf sahf'
  ).split(' '),
);
const mayLeave = (d: DecodedInstruction): boolean =>
  !NEVER_LEAVES.has(d.row.mnemonic) ||
  (d.row.mnemonic !== 'lea' && d.operands.some((o) => o.kind !== 'gpr' && o.kind !== 'imm'));
const readsFlags = (row: OpcodeRow): boolean => ((row.reads ?? 0) | (row.maybe ?? 0)) !== 0;
const overwritesAll = (row: OpcodeRow): boolean =>
  (((row.writes ?? 0) | (row.undefined ?? 0)) & STATUS) === STATUS && (row.maybe ?? 0) === 0;

function emitPrologue(
  frame: RegionFrame,
  plan: RegionPlan,
  mode: TranslationMode,
  setStates: (offset: number) => void,
): void {
  const { f } = frame;
  // the entry number tells the block; the page being executed tells the base
  const entry = f.param('i32', 0);
  const begin = (offset: number): void => {
    setStates(offset);
    f.set(frame.base, i64.sub(i64.load(ZERO, STATE.pageBase), i64.const(Math.floor(offset / PAGE) * PAGE)));
    f.set(frame.ip, i64.const(offset));
  };
  begin(plan.entries[0]!);
  plan.entries.slice(1).forEach((offset, n) => {
    f.if(i32.eq(entry, i32.const(n + 1)), () => begin(offset));
  });
  const refuse = (): void => {
    f.store64(ZERO, i64.add(f.get('i64', frame.base), f.get('i64', frame.ip)), STATE.ip);
    f.return(i32.const(EXIT.interpret));
  };
  f.if(i32.ne(i32.load(ZERO, STATE.tlbRead), i32.const(mode.tlbRead)), refuse, undefined, 'unlikely');
  if (mode.segmented) {
    // translated code relies on flat ES, SS and DS, and on a CS without a limit
    const check = (segment: number): I32 => i32.load(ZERO, STATE.segmentCheck + segment * 4);
    const flat = i32.or(check(SEGMENT.es), i32.or(check(SEGMENT.ss), check(SEGMENT.ds)));
    const codeLimit = i32.ne(i32.load(ZERO, STATE.segLimit + SEGMENT.cs * 4), i32.const(-1));
    f.if(i32.or(flat, codeLimit), refuse, undefined, 'unlikely');
  }
  if (plan.pages.size > 1) {
    const key = i32.load(ZERO, STATE.lookupKey);
    const stale = i32.or(
      i32.ne(i32.load(ZERO, mode.validCell), key),
      i64.ne(i64.load(ZERO, mode.validCell + 8), f.get('i64', frame.base)),
    );
    f.if(
      stale,
      () => {
        for (const [delta, page] of plan.pages) {
          const at = i64.add(f.get('i64', frame.base), i64.const(delta * PAGE));
          f.if(i32.ne(f.call('i32', frame.lookup('fetchPage'), [at]), i32.const(page)), () => {
            f.store32(ZERO, i32.const(0), STATE.fault);
            refuse();
          });
        }
        f.store32(ZERO, key, mode.validCell);
        f.store64(ZERO, f.get('i64', frame.base), mode.validCell + 8);
      },
      undefined,
      'unlikely',
    );
  }
  f.set(frame.budget, i32.load(ZERO, STATE.budget));
  for (const n of frame.used) f.set(frame.gpr[n]!, i64.load(ZERO, STATE.gpr + n * 8));
  frame.vectors.load();
  f.set(frame.flags.a, i64.load(ZERO, STATE.flagA));
  f.set(frame.flags.b, i64.load(ZERO, STATE.flagB));
  f.set(frame.flags.r, i64.load(ZERO, STATE.flagR));
  f.set(frame.flags.op, i32.load(ZERO, STATE.flagOp));
  f.set(frame.flags.word, i32.load(ZERO, STATE.flagWord));
}

function emitEpilogue(frame: RegionFrame): void {
  const { f } = frame;
  for (const n of frame.dirty) f.store64(ZERO, f.get('i64', frame.gpr[n]!), STATE.gpr + n * 8);
  frame.vectors.store();
  f.store64(ZERO, f.get('i64', frame.flags.a), STATE.flagA);
  f.store64(ZERO, f.get('i64', frame.flags.b), STATE.flagB);
  f.store64(ZERO, f.get('i64', frame.flags.r), STATE.flagR);
  f.store32(ZERO, f.get('i32', frame.flags.op), STATE.flagOp);
  f.store32(ZERO, f.get('i32', frame.flags.word), STATE.flagWord);
  f.store32(ZERO, f.get('i32', frame.budget), STATE.budget);
  f.store64(ZERO, f.get('i64', frame.ip), STATE.ip);
  f.result(f.get('i32', frame.code));
}
