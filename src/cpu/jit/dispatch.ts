import { type FunctionBuilder, ZERO } from '../../wasm/builder.ts';
import { type I32, i32, i64 } from '../../wasm/expr.ts';
import type { ModuleBuilder } from '../../wasm/module.ts';
import { jumpCacheEntry } from '../interpreter/lookup.ts';
import { emitSample, untilNextSample } from '../interpreter/profile.ts';
import { PSEUDO } from '../interpreter/pseudo.ts';
import { count } from '../mmu/walk.ts';
import { COUNTER, EXIT, JUMP_CACHE, PROFILE, RECORD, STATE } from '../state.ts';

/**
 * `enterRegions(record of an entry) -> EXIT code`: runs the region, and every region after it as long as the jump cache knows
 * where control went and a region begins there. EXIT.jump: STATE.ip is for the interpreter.
 */
export function buildDispatcher(m: ModuleBuilder): FunctionBuilder {
  const f = m.function('enterRegions', ['i32'], ['i32']);
  const regionType = m.type(['i32'], ['i32']);
  const record = f.newLocal('i32');
  const slot = f.newLocal('i32');
  const number = f.newLocal('i32');
  const base = f.newLocal('i64');
  const before = f.newLocal('i32');
  const code = f.newLocal('i32');
  f.set(record, f.param('i32', 0));
  const rec = f.get('i32', record);
  const takeRecord = (): void => {
    f.set(slot, i32.load(rec, RECORD.imm));
    f.set(number, i32.load(rec, RECORD.c));
  };
  takeRecord();
  /** Instructions executed in this run of the CPU, whatever has cut the budget meanwhile. */
  const executed = (): I32 => i32.sub(i32.load(ZERO, STATE.budgetTotal), i32.load(ZERO, STATE.budget));
  f.loop((again) => {
    f.set(base, i64.load(ZERO, STATE.pageBase));
    f.set(before, executed());
    f.set(code, f.callIndirect('i32', regionType, f.get('i32', slot), [f.get('i32', number)]));
    count(f, COUNTER.regionEntries);
    count(f, COUNTER.regionInstructions, i64.extendU(i32.sub(executed(), f.get('i32', before))));
    const returned = i32.eq(f.get('i32', code), i32.const(EXIT.return));
    f.if(i32.or(i32.eq(f.get('i32', code), i32.const(EXIT.jump)), returned), () => {
      const ip = f.let(i64.load(ZERO, STATE.ip));
      const { entry, hit } = jumpCacheEntry(f, ip);
      f.block((unknown) => {
        f.brIf(unknown, i32.eqz(hit));
        const from = f.let(rec);
        f.set(record, i32.load(entry, JUMP_CACHE.record));
        f.set(slot, i32.load(entry, JUMP_CACHE.slot));
        f.set(number, i32.load(entry, JUMP_CACHE.number));
        f.if(
          i32.ltS(f.get('i32', slot), i32.const(0)),
          () => {
            f.brIf(unknown, i32.ne(i32.load16U(rec, RECORD.handler), i32.const(PSEUDO.enter)));
            takeRecord();
            f.store32(entry, f.get('i32', slot), JUMP_CACHE.slot);
            f.store32(entry, f.get('i32', number), JUMP_CACHE.number);
          },
          undefined,
          'unlikely',
        );
        f.store64(ZERO, i64.and(ip, i64.const(-4096)), STATE.pageBase);
        // a RET says less than the CALL of what its region should hold: it may go to any caller
        const step = i32.select(returned, i32.const(1), i32.const(PROFILE.jumpWeight));
        const left = f.let(i32.sub(i32.load(ZERO, STATE.edgeCountdown), step));
        f.store32(ZERO, left, STATE.edgeCountdown);
        f.if(
          i32.leS(left, i32.const(0)),
          () => {
            f.store32(ZERO, untilNextSample(PROFILE.edgePeriod * PROFILE.jumpWeight), STATE.edgeCountdown);
            emitSample(f, rec, from, f.get('i64', base));
          },
          undefined,
          'unlikely',
        );
        f.br(again);
      });
      f.set(code, i32.const(EXIT.jump));
    });
  });
  f.result(f.get('i32', code));
  return f;
}
