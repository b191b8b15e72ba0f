import type { Transition } from './code-sites.ts';
import type { RegionCount, RegionEvents } from './region-counter.ts';
import type { GuestTiming, Spread } from './syscall-lines.ts';

/** How an operation's system calls are made. */
export const VARIANTS = ['syscall', 'call', 'bypass'] as const;
export type Variant = (typeof VARIANTS)[number];

/** Figures of one operation made in one way; all counts are for one operation, and identical on every run. */
export interface VariantResult {
  readonly variant: Variant;
  /** Operations that were counted. */
  readonly operations: number;
  /** Null when instructions have not been counted. */
  readonly instructions: {
    readonly total: number;
    readonly user: number;
    readonly entryExit: number;
    readonly kernel: number;
  } | null;
  readonly transitions: Readonly<Record<Transition, number>> | null;
  readonly events: RegionEvents | null;
  /** Null when time has not been measured; nanoseconds of the host for one operation. */
  readonly ns: (Spread & { readonly n: number }) | null;
  /** Against variant `syscall` of the same operation. */
  readonly ratio: { readonly instructions: number | null; readonly ns: number | null };
  /** The kernel's functions with the most instructions, entry code among them. */
  readonly hottest: readonly { readonly function: string; readonly instructions: number; readonly share: number }[];
}

export interface OperationResult {
  readonly name: string;
  readonly variants: readonly VariantResult[];
}

/** A row of the paper beside ours: nanoseconds, 1-byte payloads. */
export interface PaperRow {
  readonly operation: string;
  /** Our operation that it is compared with. */
  readonly compared: string;
  readonly paper: Readonly<Record<Variant, number>>;
  readonly ours: Readonly<Record<Variant, number | null>>;
  readonly ourInstructions: Readonly<Record<Variant, number | null>>;
}

/** EuroSys '23, "Unikernel Linux (UKL)" (arXiv 2206.00789): Linux, UKL and UKL with bypass on bare metal, nanoseconds. */
const PAPER: readonly (readonly [operation: string, compared: string, linux: number, ukl: number, bypass: number])[] = [
  ['getppid', 'getppid', 342.6, 325.3, 56.6],
  ['read', 'read-1', 614.5, 599.8, 311.7],
  ['write', 'write-1', 660.2, 647.5, 391.0],
  ['sendto', 'send-unix-1', 739.2, 706.1, 462.8],
  ['recvfrom', 'recv-unix-1', 649.6, 621.5, 409.0],
];
const HOTTEST = 10;

/** Puts counts and times of the same operations together; either may be empty. */
export function combineResults(regions: readonly RegionCount[], timings: readonly GuestTiming[]): OperationResult[] {
  const names = new Set([...regions.map(({ name }) => name.split('/')[0]!), ...timings.map(({ name }) => name)]);
  return [...names].map((name) => {
    const found = VARIANTS.flatMap((variant) => {
      const region = regions.find((r) => r.name === `${name}/${variant}`);
      const timing = timings.find((t) => t.name === name && t.variant === variant);
      return region || timing ? [variantResult(variant, region, timing)] : [];
    });
    const base = found.find(({ variant }) => variant === 'syscall');
    const variants = found.map((result) => ({
      ...result,
      ratio: {
        instructions: quotient(result.instructions?.total, base?.instructions?.total),
        ns: quotient(result.ns?.median, base?.ns?.median),
      },
    }));
    return { name, variants };
  });
}

function variantResult(
  variant: Variant,
  region: RegionCount | undefined,
  timing: GuestTiming | undefined,
): VariantResult {
  const operations = Math.max(1, region?.operations ?? 1);
  const each = (value: number): number => rounded(value / operations, 3);
  return {
    variant,
    operations: region?.operations ?? 0,
    instructions: region ? perOperation(region.instructions, each) : null,
    transitions: region ? perOperation(region.transitions, each) : null,
    events: region ? perOperation(region.events, each) : null,
    ns: timing ? { ...timing.ns, n: timing.n } : null,
    ratio: { instructions: null, ns: null },
    hottest: (region?.functions ?? []).slice(0, HOTTEST).map(({ name, instructions }) => ({
      function: name,
      instructions: each(instructions),
      share: rounded(instructions / Math.max(1, region?.instructions.total ?? 1), 4),
    })),
  };
}

function perOperation<T extends object>(counts: T, each: (value: number) => number): T {
  return Object.fromEntries(Object.entries(counts).map(([name, value]) => [name, each(Number(value))])) as T;
}

export function paperRows(operations: readonly OperationResult[]): PaperRow[] {
  return PAPER.map(([operation, compared, linux, ukl, bypass]) => {
    const ours = operations.find(({ name }) => name === compared);
    const of = (pick: (result: VariantResult) => number | undefined): Record<Variant, number | null> => {
      const value = (variant: Variant): number | null => {
        const result = ours?.variants.find((v) => v.variant === variant);
        return (result && pick(result)) ?? null;
      };
      return { syscall: value('syscall'), call: value('call'), bypass: value('bypass') };
    };
    return {
      operation,
      compared,
      paper: { syscall: linux, call: ukl, bypass },
      ours: of((result) => result.ns?.median),
      ourInstructions: of((result) => result.instructions?.total),
    };
  });
}

function quotient(value: number | undefined, base: number | undefined): number | null {
  return value === undefined || !base ? null : rounded(value / base, 3);
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

/** What `ukl-emu bench syscall --json` writes; docs/syscall-bench.md describes it. Names never change their meaning within one schema. */
export interface SyscallBench {
  readonly schema: 1;
  readonly program: { readonly name: 'ukl-emu'; readonly version: string };
  readonly guest: {
    readonly kernel: string;
    readonly kernelSha256: string;
    readonly initrd: string;
    readonly initrdSha256: string;
    readonly symbols: string;
    readonly cpu: string;
    readonly memory: string;
    readonly commandLine: string;
  };
  /** Of the counting runs: instructions of both whole runs; null when nothing was counted. */
  readonly instructionClock: { readonly retired: number } | null;
  /** Of the timing runs; null when no time was measured. */
  readonly hostClock: {
    readonly engine: string;
    readonly runs: number;
    readonly warmUpMs: number;
    readonly processor: string;
    readonly node: string;
    readonly date: string;
  } | null;
  readonly operations: readonly OperationResult[];
  readonly paper: readonly PaperRow[];
}
