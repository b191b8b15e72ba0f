import type { Callable, ValType } from '../wasm/expr.ts';
import { ModuleBuilder } from '../wasm/module.ts';
import { FLAG_HELPERS } from './flags.ts';
import type { HelperDefinition } from './helpers/definition.ts';
import { SEMANTIC_HELPERS } from './helpers/index.ts';
import { INTERRUPT_HELPERS } from './helpers/interrupt.ts';
import { DECODE_HELPERS } from './interpreter/decode-run.ts';
import { buildRunLoop, type HandlerSource } from './interpreter/handlers.ts';
import { LOOKUP_HELPERS } from './interpreter/lookup.ts';
import { buildDispatcher } from './jit/dispatch.ts';
import { ACCESS_CHECK_HELPERS } from './mmu/access-checks.ts';
import { FLUSH_HELPERS } from './mmu/flush.ts';
import { SEGMENT_HELPERS } from './mmu/segment.ts';
import { MEMORY_HELPERS } from './mmu/slow-path.ts';
import { WALK_HELPERS } from './mmu/walk.ts';

interface Signature {
  readonly params: readonly ValType[];
  readonly results: readonly ValType[];
}
/** What wasm asks of JavaScript. Physical addresses travel as i64, everything else as i32. */
export const HOST_FUNCTIONS = {
  /** (operation) -> EXIT code; arguments in STATE.mailbox, addresses in STATE.ip and STATE.nextIp. */
  system: { params: ['i32'], results: ['i32'] },
  mmioRead: { params: ['i64', 'i32'], results: ['i32'] },
  mmioWrite: { params: ['i64', 'i32', 'i32'], results: [] },
  portIn: { params: ['i32', 'i32'], results: ['i32'] },
  portOut: { params: ['i32', 'i32', 'i32'], results: [] },
  /** May the current privilege use [port, port + width) by the I/O permission bitmap? Only asked when CPL > IOPL. */
  ioAllowed: { params: ['i32', 'i32'], results: ['i32'] },
  /** Bytes [ram, ram + width) were written and hold code. */
  codeWritten: { params: ['i32', 'i32'], results: [] },
  /** Time-stamp counter, as a float64 (exact to 2^53). */
  readTsc: { params: [], results: ['f64'] },
  random: { params: [], results: ['i64'] },
  /** A function of the x87 by number (helpers/x87-transcendental.ts). */
  transcendental: { params: ['i32'], results: [] },
} as const satisfies Record<string, Signature>;
export type HostFunctions = {
  system(operation: number): number;
  mmioRead(address: bigint, width: number): number;
  mmioWrite(address: bigint, width: number, value: number): void;
  portIn(port: number, width: number): number;
  portOut(port: number, width: number, value: number): void;
  ioAllowed(port: number, width: number): number;
  codeWritten(ram: number, width: number): void;
  readTsc(): number;
  random(): bigint;
  transcendental(number: number): void;
};

const HELPERS: readonly HelperDefinition[] = [
  ...WALK_HELPERS,
  ...SEGMENT_HELPERS,
  ...ACCESS_CHECK_HELPERS,
  ...MEMORY_HELPERS,
  ...FLUSH_HELPERS,
  ...FLAG_HELPERS,
  ...DECODE_HELPERS,
  ...LOOKUP_HELPERS,
  ...INTERRUPT_HELPERS,
  ...SEMANTIC_HELPERS,
];
const SIGNATURES: ReadonlyMap<string, Signature> = new Map<string, Signature>([
  ...Object.entries(HOST_FUNCTIONS),
  ...HELPERS.map((h): [string, Signature] => [h.name, h]),
  ['enterRegions', { params: ['i32'], results: ['i32'] }],
]);

/** Imports a core helper or host function into another module. */
export function importHelper(m: ModuleBuilder, name: string): Callable {
  const signature = SIGNATURES.get(name);
  if (!signature) throw new RangeError(`no helper named ${name}`);
  return m.importFunction(name, signature.params, signature.results);
}

function coreModule(): ModuleBuilder {
  const m = new ModuleBuilder();
  m.importMemory({ name: 'state', initial: 1 });
  m.importMemory({ name: 'ram', initial: 0 });
  m.importTable();
  return m;
}

/** Every helper and the dispatcher between regions: hot in any guest, worth optimising. */
export function buildHelpers(): Uint8Array<ArrayBuffer> {
  const m = coreModule();
  const callables = new Map<string, Callable>();
  for (const name of Object.keys(HOST_FUNCTIONS)) callables.set(name, importHelper(m, name));
  const lookup = (name: string): Callable => {
    const found = callables.get(name);
    if (!found) throw new RangeError(`no helper named ${name}`);
    return found;
  };
  const functions = HELPERS.map((h) => {
    const f = m.function(h.name, h.params, h.results);
    if (callables.has(h.name)) throw new RangeError(`two helpers named ${h.name}`);
    callables.set(h.name, f);
    return f;
  });
  HELPERS.forEach((h, i) => {
    h.build(functions[i]!, lookup);
    m.export(functions[i]!);
  });
  m.export(buildDispatcher(m));
  return m.encode();
}

/** The interpreter's run loop with its hot forms: one huge function, which the optimising compiler takes seconds for. */
export function buildInterpreter(hot: readonly HandlerSource[]): Uint8Array<ArrayBuffer> {
  const m = coreModule();
  m.export(buildRunLoop(m, hot, (name) => importHelper(m, name)));
  return m.encode();
}

/** Typed access to the core's exports that JavaScript calls. */
export interface CoreExports {
  run(): number;
  lookup(ip: bigint): number;
  fetchPage(ip: bigint): number;
  decodeRun(page: number, ramPage: number, offset: number): number;
  translate(linear: bigint, access: number, flags: number): bigint;
  physToRam(phys: bigint): bigint;
  loadSlow(linear: bigint, flags: number): bigint;
  storeSlow(linear: bigint, value: bigint, flags: number): void;
  probeWriteSlow(linear: bigint, flags: number): void;
  physLoad(phys: bigint, width: number): bigint;
  physStore(phys: bigint, value: bigint, width: number): void;
  deliverFast(vector: number, hasError: number, error: number, isException: number): number;
  readFlags(): number;
  writeStatusFlags(word: number): void;
  updatePrivilege(): void;
  bumpGeneration(): void;
  flushTlb(): void;
  invalidatePage(linear: bigint): void;
  dropWriteMappings(ramPage: number): void;
  cutBudget(left: number): void;
  isCanonical(linear: bigint): number;
  checkSegment(segment: number, offset: bigint, flags: number): void;
}
