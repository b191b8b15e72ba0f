import type { Cpu } from '../cpu/cpu.ts';
import { LinearView, signedAddress } from '../cpu/linear-view.ts';
import type { Marker } from '../cpu/marker.ts';
import { STATE, VECTOR } from '../cpu/state.ts';
import type { ObservedBoard, Observer } from '../machine/observer.ts';

import type { KernelMap } from '../profile/kernel-map.ts';
import { type CodeSite, CodeSites, TRANSITIONS, type Transition } from './code-sites.ts';
import { HandlerTable } from './handlers.ts';

/** What the guest did in one marked region, summed over its visits. Each iteration of a REP instruction counts as one. */
export interface RegionCount {
  readonly name: string;
  /** As the guest says. */
  readonly operations: number;
  readonly instructions: {
    /** All but those of interrupts. */
    readonly total: number;
    /** Of the program: ring 3, or the application linked into the kernel. */
    readonly user: number;
    readonly entryExit: number;
    readonly kernel: number;
  };
  readonly transitions: Readonly<Record<Transition, number>>;
  readonly events: RegionEvents;
  /** Instructions of kernel and entry code by function, most first. */
  readonly functions: readonly { readonly name: string; readonly instructions: number }[];
}

export interface RegionEvents {
  readonly pageFaults: number;
  readonly doubleFaults: number;
  readonly otherExceptions: number;
  /** Misses of the emulator's TLB. */
  readonly tlbMisses: number;
  readonly cr3Writes: number;
  /** REP iterations beyond the first of each instruction. */
  readonly repIterations: number;
  /** External interrupts, and all that was executed until each had returned. */
  readonly interrupts: number;
  readonly interruptInstructions: number;
}

type Tally = { -readonly [K in keyof Omit<RegionEvents, 'cr3Writes'>]: RegionEvents[K] };

interface OpenRegion {
  readonly name: string;
  operations: number;
  /** Times each code site was executed, by its number. */
  counts: Uint32Array;
  readonly tally: Tally;
}

/** Where an interrupted computation goes on. */
interface Resumption {
  readonly ip: number;
  readonly sp: number;
  readonly cpl: number;
}

const RSP = STATE.gpr + 4 * 8;
const NAME_LIMIT = 64;

/**
 * Counts what the guest executes inside its marked regions, instruction by instruction; everything else runs at full speed.
 * Regions do not nest: while one is open, others are passed over.
 */
export class RegionCounter implements Observer {
  readonly #map: KernelMap;
  readonly #regions = new Map<string, OpenRegion>();
  #cpu!: Cpu;
  #view!: LinearView;
  #sites!: CodeSites;
  #handlers!: HandlerTable;
  #open: OpenRegion | undefined;
  #interrupted: Resumption | undefined;
  /** Before the instruction in hand. */
  #stepping = false;
  #ip = 0;
  #sp = 0;
  #cpl = 0;
  #retired = 0;
  /** The processor's counters when they were last looked at. */
  #exceptions = 0;
  #interrupts = 0;
  #tlbMisses = 0;

  constructor(map: KernelMap) {
    this.#map = map;
  }

  attach(board: ObservedBoard): void {
    this.#cpu = board.cpu;
    this.#view = new LinearView(board.cpu.state, board.memory);
    this.#sites = new CodeSites(this.#map, this.#view);
    this.#handlers = new HandlerTable(board.cpu.state, this.#view);
    board.cpu.onMarker = (marker) => this.#onMarker(marker);
  }

  limit(retired: number): number {
    if (this.#open === undefined) return Number.POSITIVE_INFINITY;
    const { state } = this.#cpu;
    this.#stepping = true;
    this.#ip = signedAddress(state, STATE.ip);
    this.#sp = signedAddress(state, RSP);
    this.#cpl = state.get32(STATE.cpl);
    this.#retired = retired;
    return 1;
  }

  ran(retired: number): void {
    const open = this.#open;
    const counted = this.#stepping && open !== undefined && retired !== this.#retired;
    this.#stepping = false;
    if (!counted) return;
    const cpu = this.#cpu;
    const exceptions = cpu.exceptions + cpu.counter('fastExceptions');
    const interrupts = cpu.interrupts - this.#interrupts;
    if (interrupts === 0 && exceptions === this.#exceptions) {
      this.#count(open, this.#ip, this.#cpl === 3);
    } else {
      const { vector, entry, begun } = this.#handlers.entered(signedAddress(cpu.state, STATE.ip));
      if (interrupts === 0 && this.#interrupted === undefined) countException(open.tally, vector);
      // delivered before the instruction, which is then the handler's first, or when it had set IF
      if (!begun) this.#count(open, this.#ip, this.#cpl === 3);
      if (interrupts > 0) this.#interruptBegins(open, begun);
      if (begun) this.#count(open, entry, false);
      this.#exceptions = exceptions;
      this.#interrupts = cpu.interrupts;
    }
    if (this.#interrupted !== undefined && this.#isAt(this.#interrupted)) {
      this.#interrupted = undefined;
      this.#noteCounters();
    }
  }

  /** The instruction at `address` has retired. */
  #count(open: OpenRegion, address: number, ring3: boolean): void {
    if (this.#interrupted !== undefined) {
      open.tally.interruptInstructions++;
      return;
    }
    const number = this.#sites.number(address, ring3);
    if (number >= open.counts.length) open.counts = grown(open.counts, number);
    open.counts[number]!++;
    // all iterations but the last of a repeated instruction end where they began
    if (this.#sites.sites[number]!.repeats && signedAddress(this.#cpu.state, STATE.ip) === address) {
      open.tally.repIterations++;
    }
  }

  #isAt({ ip, sp, cpl }: Resumption): boolean {
    const { state } = this.#cpu;
    return signedAddress(state, STATE.ip) === ip && signedAddress(state, RSP) === sp && state.get32(STATE.cpl) === cpl;
  }

  /** The regions in the order in which they were first entered. */
  results(): RegionCount[] {
    return [...this.#regions.values()].map((region) => summarise(region, this.#sites.sites));
  }

  #onMarker(marker: Marker): void {
    const name = this.#view.text(Number(BigInt.asIntN(64, marker.name)), NAME_LIMIT);
    if (marker.kind === 'begin') {
      if (this.#open !== undefined) return;
      this.#open = this.#region(name);
      this.#open.operations += marker.operations;
      this.#interrupted = undefined;
      this.#noteCounters();
      this.#exceptions = this.#cpu.exceptions + this.#cpu.counter('fastExceptions');
      this.#interrupts = this.#cpu.interrupts;
      // from the next instruction on, one at a time
      this.#cpu.stop();
    } else if (this.#open?.name === name) {
      if (this.#interrupted === undefined) this.#addCounters(this.#open.tally);
      this.#open = undefined;
    }
  }

  #region(name: string): OpenRegion {
    let region = this.#regions.get(name);
    if (region === undefined) {
      const tally = {
        pageFaults: 0,
        doubleFaults: 0,
        otherExceptions: 0,
        tlbMisses: 0,
        repIterations: 0,
        interrupts: 0,
        interruptInstructions: 0,
      };
      region = { name, operations: 0, counts: new Uint32Array(1024), tally };
      this.#regions.set(name, region);
    }
    return region;
  }

  #interruptBegins({ tally }: OpenRegion, begun: boolean): void {
    tally.interrupts++;
    if (this.#interrupted !== undefined) return;
    this.#interrupted = begun ? { ip: this.#ip, sp: this.#sp, cpl: this.#cpl } : this.#frame();
    this.#addCounters(tally);
  }

  /** Where the frame of a 64-bit interrupt without error code on top of the stack leads back to (SDM vol. 3, 6.14.2). */
  #frame(): Resumption {
    const top = signedAddress(this.#cpu.state, RSP);
    const quad = (n: number): number => this.#view.quad(top + n * 8) ?? 0;
    return { ip: quad(0), sp: quad(3), cpl: quad(1) & 3 };
  }

  #noteCounters(): void {
    this.#tlbMisses = this.#cpu.counter('tlbMisses');
  }

  #addCounters(tally: Tally): void {
    tally.tlbMisses += this.#cpu.counter('tlbMisses') - this.#tlbMisses;
  }
}

function countException(tally: Tally, vector: number): void {
  if (vector === VECTOR.pf) tally.pageFaults++;
  else if (vector === VECTOR.df) tally.doubleFaults++;
  else tally.otherExceptions++;
}

function grown(counts: Uint32Array, index: number): Uint32Array {
  const larger = new Uint32Array(Math.max(counts.length * 2, index + 1));
  larger.set(counts);
  return larger;
}

function summarise({ name, operations, counts, tally }: OpenRegion, sites: readonly CodeSite[]): RegionCount {
  const parts = { user: 0, application: 0, entry: 0, kernel: 0 };
  const transitions = Object.fromEntries(TRANSITIONS.map((mnemonic) => [mnemonic, 0])) as Record<Transition, number>;
  const functions = new Map<string, number>();
  let cr3Writes = 0;
  counts.forEach((count, number) => {
    const site = sites[number];
    if (count === 0 || site === undefined) return;
    const { location, transition } = site;
    parts[location.part] += count;
    if (transition !== undefined) transitions[transition] += count;
    if (site.writesCr3) cr3Writes += count;
    if (location.part === 'kernel' || location.part === 'entry') {
      functions.set(location.name, (functions.get(location.name) ?? 0) + count);
    }
  });
  const user = parts.user + parts.application;
  return {
    name,
    operations,
    instructions: { total: user + parts.entry + parts.kernel, user, entryExit: parts.entry, kernel: parts.kernel },
    transitions,
    events: { ...tally, cr3Writes },
    functions: [...functions]
      .map(([functionName, instructions]) => ({ name: functionName, instructions }))
      .sort((a, b) => b.instructions - a.instructions || (a.name < b.name ? -1 : 1)),
  };
}
