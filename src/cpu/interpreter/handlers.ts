import { type FunctionBuilder, type Label, ZERO } from '../../wasm/builder.ts';
import { type Callable, type I32, type I64, i32, i64 } from '../../wasm/expr.ts';
import { ModuleBuilder } from '../../wasm/module.ts';
import type { DecodedInstruction } from '../decode/types.ts';
import { count } from '../mmu/walk.ts';
import type { Semantics } from '../semantics/context.ts';
import { COUNTER, EXIT, FAULT, JUMP_CACHE, PROFILE, RECORD, STATE, VECTOR } from '../state.ts';
import { type HandlerExits, InterpreterContext } from './context.ts';
import { jumpCacheEntry } from './lookup.ts';
import { emitSample, untilNextSample } from './profile.ts';
import { PSEUDO } from './pseudo.ts';

/** One form to be made into code: an example of it and its meaning. */
export interface HandlerSource {
  readonly example: DecodedInstruction;
  readonly stackSize: 2 | 4 | 8;
  readonly semantics: Semantics;
}

/** Privileged instructions that raise #UD, not #GP, outside ring 0. */
const CHECKS_PRIVILEGE = new Set(['stac', 'clac']);

function emitInstruction(
  f: FunctionBuilder,
  record: I32,
  source: HandlerSource,
  lookup: (name: string) => Callable,
  exits: HandlerExits,
): void {
  f.scope(() => {
    const cx = new InterpreterContext(f, record, source.example, source.stackSize, lookup, exits);
    const { cpl0, mnemonic } = source.example.row;
    if (cpl0 && !CHECKS_PRIVILEGE.has(mnemonic)) cx.raiseIf(i32.load(ZERO, STATE.cpl), VECTOR.gp, 0);
    source.semantics(cx);
  });
}

/** Handlers as functions, (record) -> EXIT code, exported by their places: '0', '1' and so on. */
export function buildHandlersModule(
  sources: readonly HandlerSource[],
  importHelper: (m: ModuleBuilder, name: string) => Callable,
): Uint8Array<ArrayBuffer> {
  const m = new ModuleBuilder();
  m.importMemory({ name: 'state', initial: 1 });
  m.importMemory({ name: 'ram', initial: 0 });
  sources.forEach((source, i) => {
    const f = m.function(String(i), ['i32'], ['i32']);
    emitHandler(f, source, (name) => importHelper(m, name));
    m.export(f);
  });
  return m.encode();
}

function emitHandler(f: FunctionBuilder, source: HandlerSource, lookup: (name: string) => Callable): void {
  emitInstruction(f, f.param('i32', 0), source, lookup, {
    exit(code, condition) {
      if (condition === undefined) f.return(i32.const(code));
      else f.if(condition, () => f.return(i32.const(code)), undefined, 'unlikely');
    },
    exitWith: (code) => f.return(code),
    branch(target, condition) {
      const take = (): void => {
        f.store64(ZERO, target(), STATE.ip);
        f.return(i32.const(EXIT.jump));
      };
      if (condition === undefined) take();
      else f.if(condition, take);
    },
  });
  f.result(i32.const(EXIT.next));
}

/**
 * The run loop: `run() -> EXIT code`. Pseudo records and the hot forms are cases of one br_table; everything else goes
 * through the table. The budget is decremented before each record's instruction.
 */
export function buildRunLoop(
  m: ModuleBuilder,
  hot: readonly HandlerSource[],
  lookup: (name: string) => Callable,
): FunctionBuilder {
  const f = m.function('run', [], ['i32']);
  const handlerType = m.type(['i32'], ['i32']);
  const record = f.newLocal('i32');
  const code = f.newLocal('i32');
  const sample = f.newLocal('i32');
  f.set(sample, i32.load(ZERO, STATE.branchCountdown));
  const rec = f.get('i32', record);
  const budget = i32.load(ZERO, STATE.budget);
  const recordIp = (): I64 => i64.add(i64.load(ZERO, STATE.pageBase), i64.extendU(i32.load16U(rec, RECORD.ipOffset)));
  f.store32(ZERO, i32.const(0), STATE.fault);
  f.block((left) => {
    const leave = (exitCode: number): void => {
      f.set(code, i32.const(exitCode));
      f.br(left);
    };
    /** Now and then notes where a taken branch went, for the choice of what to translate. */
    const profile = (): void => {
      f.set(sample, i32.sub(f.get('i32', sample), i32.const(1)));
      f.if(
        i32.leS(f.get('i32', sample), i32.const(0)),
        () => {
          f.set(sample, untilNextSample(PROFILE.period));
          emitSample(f, rec, i32.const(0), i64.const(0));
        },
        undefined,
        'unlikely',
      );
    };
    /** Sets `record` for STATE.ip, or leaves. */
    const enter = (next: Label, deliver?: Label): void => {
      // calls, returns and jumps to other pages mostly go where they have gone before
      f.scope(() => {
        const ip = f.let(i64.load(ZERO, STATE.ip));
        const { entry, hit } = jumpCacheEntry(f, ip);
        const cached = (): void => {
          f.store64(ZERO, i64.and(ip, i64.const(-4096)), STATE.pageBase);
          f.set(record, i32.load(entry, JUMP_CACHE.record));
          f.br(next);
        };
        f.if(hit, cached, undefined, 'likely');
      });
      f.set(record, f.call('i32', lookup('lookup'), [i64.load(ZERO, STATE.ip)]));
      f.brIf(next, rec, 'likely');
      if (deliver) f.brIf(deliver, i32.load(ZERO, STATE.fault));
      else f.if(i32.load(ZERO, STATE.fault), () => leave(EXIT.fault));
      leave(EXIT.decode);
    };
    f.block((start) => enter(start));
    f.loop((next) => {
      f.block((deliver) => {
        /** Goes on at STATE.ip; `remember` may keep in the record that led there which one follows: both are on one page. */
        const resolve = (remember: (from: I32) => void): void =>
          f.scope(() => {
            const from = f.let(rec);
            const page = f.let(i64.load(ZERO, STATE.pageBase));
            f.block((found) => enter(found, deliver));
            f.if(i64.eq(i64.load(ZERO, STATE.pageBase), page), () => remember(from));
            f.br(next);
          });
        f.block((faulted) => {
          f.block((jumped) => {
            f.block((branchMissed) => {
              f.block((fell) => {
                f.if(
                  i32.leS(budget, i32.const(0)),
                  () => {
                    f.store64(ZERO, recordIp(), STATE.ip);
                    leave(EXIT.budget);
                  },
                  undefined,
                  'unlikely',
                );
                f.store32(ZERO, i32.sub(budget, i32.const(1)), STATE.budget);
                const advance = (): void => {
                  f.set(record, i32.add(rec, i32.const(RECORD.size)));
                  f.br(next);
                };
                const exits: HandlerExits = {
                  exit(exitCode, condition) {
                    const target = exitCode === EXIT.fault ? faulted : exitCode === EXIT.jump ? jumped : undefined;
                    if (target) {
                      if (condition === undefined) f.br(target);
                      else f.brIf(target, condition, 'unlikely');
                    } else if (condition === undefined) leave(exitCode);
                    else f.if(condition, () => leave(exitCode), undefined, 'unlikely');
                  },
                  exitWith(value) {
                    f.set(code, value);
                    dispatchCode();
                  },
                  branch(target, condition) {
                    const take = (): void => {
                      const known = f.let(i32.load(rec, RECORD.target));
                      f.if(
                        known,
                        () => {
                          f.set(record, known);
                          profile();
                          f.br(next);
                        },
                        undefined,
                        'likely',
                      );
                      f.store64(ZERO, target(), STATE.ip);
                      f.br(branchMissed);
                    };
                    if (condition === undefined) take();
                    else f.if(condition, take);
                  },
                };
                /** What to do with a handler's code in `code`. */
                const dispatchCode = (): void => {
                  const value = f.get('i32', code);
                  f.if(i32.eqz(value), advance, undefined, 'likely');
                  f.brIf(jumped, i32.eq(value, i32.const(EXIT.jump)), 'likely');
                  f.brIf(faulted, i32.eq(value, i32.const(EXIT.fault)));
                  f.br(left);
                };
                const handler = i32.load16U(rec, RECORD.handler);
                const cases: (() => void)[] = [
                  () => {
                    f.store32(ZERO, i32.add(budget, i32.const(1)), STATE.budget);
                    f.store64(ZERO, recordIp(), STATE.ip);
                    f.br(fell);
                  },
                  () => {
                    f.store32(ZERO, i32.add(budget, i32.const(1)), STATE.budget);
                    f.set(record, i32.load(rec, RECORD.imm));
                    f.br(next);
                  },
                  () => {
                    f.store32(ZERO, i32.add(budget, i32.const(1)), STATE.budget);
                    f.scope(() => {
                      const nextPage = i64.add(i64.load(ZERO, STATE.pageBase), i64.const(4096));
                      const found = f.let(f.call('i32', lookup('fetchPage'), [nextPage]));
                      f.if(i32.eq(found, i32.load(rec, RECORD.imm)), advance, undefined, 'likely');
                      f.store64(ZERO, recordIp(), STATE.ip);
                      // a fault on the second page is the instruction's own; -2 or another page: decode again
                      f.if(i32.load(ZERO, STATE.fault), () => leave(EXIT.fault));
                      leave(EXIT.decode);
                    });
                  },
                  () => {
                    f.store32(ZERO, i32.add(budget, i32.const(1)), STATE.budget);
                    f.set(code, f.call('i32', lookup('enterRegions'), [rec]));
                    f.brIf(jumped, i32.eq(f.get('i32', code), i32.const(EXIT.jump)), 'likely');
                    f.brIf(deliver, i32.eq(f.get('i32', code), i32.const(EXIT.fault)));
                    f.if(i32.ne(f.get('i32', code), i32.const(EXIT.interpret)), () => f.br(left));
                    count(f, COUNTER.regionInterprets);
                    // one instruction for the interpreter: its own record, not the entry that stands in for it
                    f.block((found) => enter(found, deliver));
                    f.if(i32.eq(i32.load16U(rec, RECORD.handler), i32.const(PSEUDO.enter)), () =>
                      f.set(record, i32.load(rec, RECORD.a)),
                    );
                    f.br(next);
                  },
                  ...hot.map((source) => () => {
                    emitInstruction(f, rec, source, lookup, exits);
                    advance();
                  }),
                ];
                f.switch(handler, cases, () => {
                  f.set(code, f.callIndirect('i32', handlerType, handler, [rec]));
                  dispatchCode();
                });
              });
              // the end of a run: linked to what follows, unless that lies on another page or has just taken the record's place
              resolve((from) => {
                f.if(i32.ne(from, rec), () => {
                  f.store16(from, i32.const(PSEUDO.link), RECORD.handler);
                  f.store32(from, rec, RECORD.imm);
                });
              });
            });
            // a direct branch whose target record is not known yet: remember it when it lies on the same page
            resolve((branch) => f.store32(branch, rec, RECORD.target));
          });
          f.block((entered) => enter(entered, deliver));
          profile();
          f.br(next);
        });
        // nothing was changed: the instruction is not counted
        f.store32(ZERO, i32.add(budget, i32.const(1)), STATE.budget);
        f.store64(ZERO, recordIp(), STATE.ip);
      });
      f.scope(() => {
        const fault = f.let(i32.load(ZERO, STATE.fault));
        const vector = f.let(i32.and(fault, i32.const(0xff)));
        f.if(i32.eq(vector, i32.const(VECTOR.pf)), () =>
          f.store64(ZERO, i64.load(ZERO, STATE.faultAddress), STATE.cr2),
        );
        f.store32(ZERO, i32.const(0), STATE.fault);
        const hasError = i32.ne(i32.and(fault, i32.const(FAULT.hasError)), i32.const(0));
        const args = [vector, hasError, i32.load(ZERO, STATE.faultError), i32.const(1)];
        f.if(f.call('i32', lookup('deliverFast'), args), () => {
          count(f, COUNTER.fastExceptions);
          f.block((entered) => enter(entered));
          f.br(next);
        });
        f.store32(ZERO, fault, STATE.fault);
      });
      leave(EXIT.fault);
    });
  });
  f.store32(ZERO, rec, STATE.record);
  f.store32(ZERO, f.get('i32', sample), STATE.branchCountdown);
  f.result(f.get('i32', code));
  return f;
}
