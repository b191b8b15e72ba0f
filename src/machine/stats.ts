import { STATE } from '../cpu/state.ts';
import type { Board } from '../machine.ts';
import type { RunCounters } from './run-loop.ts';

export type JitFigure = number | Readonly<Record<string, number>>;

/** What a machine has done so far; written by `--stats`. Times in milliseconds of host time unless said otherwise. */
export interface MachineStats {
  /** Version of this shape. */
  readonly schema: 1;
  /** Guest instructions retired; each iteration of a REP instruction counts as one. */
  readonly instructions: number;
  /** Of these, REP iterations beyond the first of each instruction. */
  readonly repIterations: number;
  /** Million instructions per second of busy time, REP iterations not counted. */
  readonly mips: number;
  /** Instructions by the tier that executed them. */
  readonly tiers: Readonly<Record<string, number>>;
  readonly tlb: { readonly misses: number; readonly pageWalks: number; readonly flushes: number };
  /** Times the wasm core came back to JavaScript, by reason. */
  readonly exits: Readonly<Record<string, number>>;
  readonly interrupts: number;
  readonly exceptions: number;
  readonly halts: number;
  readonly mmioAccesses: number;
  /** Figures of the translator (`JitStats`); empty without one. */
  readonly jit: Readonly<Record<string, JitFigure>>;
  /** Decoded code. */
  readonly blocks: {
    /** Instructions decoded, and instruction forms that have a handler. */
    readonly decodedInstructions: number;
    readonly forms: number;
    /** Jump-cache misses. */
    readonly lookups: number;
  };
  /** Pages of code dropped because they were written to. */
  readonly invalidations: number;
  /** Undefined or unimplemented instructions that were executed, by name. */
  readonly unimplemented: Readonly<Record<string, number>>;
  readonly serial: { readonly sent: number; readonly received: number };
  readonly reboots: number;
  /** Guest time since power-on, nanoseconds. */
  readonly guestNs: number;
  /** From process start (the CLI) or `Machine.create` (the API); null if it has not happened. */
  readonly milliseconds: {
    readonly firstInstruction: number | null;
    readonly firstSerialByte: number | null;
    readonly exit: number | null;
    /** Spent running the guest, and spent asleep because it was idle. */
    readonly busy: number;
    readonly idle: number;
  };
}

/** Moments of a run: host nanoseconds, undefined until they come. */
export interface Milestones {
  readonly origin: number;
  firstInstruction: number | undefined;
  firstSerialByte: number | undefined;
  exit: number | undefined;
}

/** Figures of the boots before the present one, which count towards the whole. */
export type BoardStats = Omit<MachineStats, 'schema' | 'mips' | 'milliseconds' | 'reboots'>;

export function boardStats(board: Board, counters: RunCounters): BoardStats {
  const { cpu, serial, clock } = board;
  const instructions = cpu.retired;
  const translated = cpu.counter('regionInstructions');
  return {
    instructions,
    repIterations: cpu.repIterations,
    tiers: { interpreter: instructions - translated, translated },
    tlb: {
      misses: cpu.counter('tlbMisses'),
      pageWalks: cpu.counter('pageWalks'),
      flushes: cpu.state.get32(STATE.flushes),
    },
    exits: { ...cpu.exits },
    interrupts: cpu.interrupts,
    exceptions: cpu.exceptions + cpu.counter('fastExceptions'),
    halts: counters.halts,
    mmioAccesses: cpu.counter('mmio'),
    jit: cpu.jit
      ? {
          ...cpu.jit.stats,
          entries: cpu.counter('regionEntries'),
          interpretedInstructions: cpu.counter('regionInterprets'),
        }
      : {},
    blocks: {
      decodedInstructions: cpu.codeCache.decodedInstructions,
      forms: cpu.forms,
      lookups: cpu.counter('lookups'),
    },
    invalidations: cpu.codeCache.invalidations,
    unimplemented: Object.fromEntries(cpu.undefinedInstructions),
    serial: { sent: serial.bytesSent, received: serial.bytesReceived },
    guestNs: clock.now(),
  };
}

const NO_STATS: BoardStats = {
  instructions: 0,
  repIterations: 0,
  tiers: {},
  tlb: { misses: 0, pageWalks: 0, flushes: 0 },
  exits: {},
  interrupts: 0,
  exceptions: 0,
  halts: 0,
  mmioAccesses: 0,
  jit: {},
  blocks: { decodedInstructions: 0, forms: 0, lookups: 0 },
  invalidations: 0,
  unimplemented: {},
  serial: { sent: 0, received: 0 },
  guestNs: 0,
};

/** The sum of the figures of several boots; guest time is that of the last. */
export function sumStats(boots: readonly BoardStats[]): BoardStats {
  const sum = boots.reduce((a, b) => addNumbers(a, b) as BoardStats, NO_STATS);
  return { ...sum, guestNs: boots.at(-1)?.guestNs ?? 0 };
}

type Figures = number | { readonly [name: string]: Figures };

function addNumbers(a: unknown, b: unknown): Figures {
  if (typeof a === 'number' || typeof b === 'number') return Number(a ?? 0) + Number(b ?? 0);
  const left = (a ?? {}) as Record<string, unknown>;
  const right = (b ?? {}) as Record<string, unknown>;
  const names = new Set([...Object.keys(left), ...Object.keys(right)]);
  return Object.fromEntries([...names].map((name) => [name, addNumbers(left[name], right[name])]));
}

/** The figures of all boots with what only the whole run knows. */
export function machineStats(
  boots: readonly BoardStats[],
  milestones: Milestones,
  now: number,
  idleNs: number,
): MachineStats {
  const sum = sumStats(boots);
  const { origin, firstInstruction, firstSerialByte, exit } = milestones;
  const since = (at: number | undefined): number | null => (at === undefined ? null : round((at - origin) / 1e6, 3));
  const busyNs = firstInstruction === undefined ? 0 : Math.max(0, (exit ?? now) - firstInstruction - idleNs);
  const plain = sum.instructions - sum.repIterations;
  return {
    schema: 1,
    ...sum,
    mips: busyNs === 0 ? 0 : round((plain * 1000) / busyNs, 1),
    reboots: Math.max(0, boots.length - 1),
    milliseconds: {
      firstInstruction: since(firstInstruction),
      firstSerialByte: since(firstSerialByte),
      exit: since(exit),
      busy: round(busyNs / 1e6, 3),
      idle: round(idleNs / 1e6, 3),
    },
  };
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
