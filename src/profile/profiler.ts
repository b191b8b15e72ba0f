import type { Cpu } from '../cpu/cpu.ts';
import { LinearView } from '../cpu/linear-view.ts';
import type { Marker } from '../cpu/marker.ts';
import { STATE } from '../cpu/state.ts';
import type { SymbolTable } from '../loader/symbols.ts';
import type { ObservedBoard, Observer } from '../machine/observer.ts';

import { type CodeLocation, KernelMap } from './kernel-map.ts';
import { LinuxTask } from './linux-task.ts';
import { addSample, newProfile, type Profile, type ProfileFrame } from './profile.ts';
import { StackWalker } from './stack-walker.ts';

export interface ProfilerOptions {
  readonly symbols: SymbolTable;
  /** Mean distance of two samples in guest instructions; each iteration of a REP instruction counts as one. */
  readonly interval: number;
  /** Samples are taken only while this marked region is open (docs/markers.md); default: always. */
  readonly region?: string;
}

const NAME_LIMIT = 64;
/** Names for code without a symbol: one for all of it, since an address alone tells nobody anything. */
const NAMELESS = { user: '[user]', low: '[low memory]', unknown: '[unknown]' } as const;

/** Samples where the guest is and who called it, every so many instructions. */
export class Profiler implements Observer {
  readonly profile: Profile;
  readonly #map: KernelMap;
  readonly #options: ProfilerOptions;
  readonly #frames = new Map<CodeLocation, ProfileFrame>();
  readonly #tasks = new Map<string, ProfileFrame>();
  #cpu!: Cpu;
  #view!: LinearView;
  #walker!: StackWalker;
  #task!: LinuxTask;
  #next = 0;
  #open: boolean;
  /** xorshift32; the same in every run. */
  #random = 0x9e37_79b9;

  constructor(options: ProfilerOptions) {
    this.#options = options;
    this.#map = new KernelMap(options.symbols);
    this.profile = newProfile(options.interval);
    this.#open = options.region === undefined;
  }

  attach({ cpu, memory }: ObservedBoard): void {
    this.#cpu = cpu;
    this.#view = new LinearView(cpu.state, memory);
    this.#walker = new StackWalker(cpu.state, this.#view, this.#map);
    this.#task = new LinuxTask(cpu.state, this.#view, this.#options.symbols);
    this.#next = this.#distance();
    if (this.#options.region !== undefined) cpu.onMarker = (marker) => this.#onMarker(marker);
  }

  limit(retired: number): number {
    return this.#open ? Math.max(1, this.#next - retired) : Number.POSITIVE_INFINITY;
  }

  ran(retired: number): void {
    if (!this.#open || retired < this.#next) return;
    this.#next = retired + this.#distance();
    const locations = this.#walker.walk();
    const frames = locations.map((location) => this.#frame(location));
    frames.push(this.#taskFrame(locations[0]!));
    addSample(this.profile, frames);
  }

  /** Between half of the interval and one and a half, so that no loop of the guest keeps step with the samples. */
  #distance(): number {
    this.#random ^= this.#random << 13;
    this.#random ^= this.#random >>> 17;
    this.#random ^= this.#random << 5;
    const { interval } = this.#options;
    return Math.max(1, Math.round(interval * (0.5 + (this.#random >>> 0) / 2 ** 32)));
  }

  #onMarker({ kind, name }: Marker): void {
    if (this.#view.text(Number(BigInt.asIntN(64, name)), NAME_LIMIT) !== this.#options.region) return;
    this.#open = kind === 'begin';
    this.#next = this.#cpu.retired + this.#distance();
    this.#cpu.stop();
  }

  #frame(location: CodeLocation): ProfileFrame {
    let frame = this.#frames.get(location);
    if (frame === undefined) {
      const { part, name, start } = location;
      const named = part !== 'user' && !name.startsWith('0x');
      const nameless = part === 'user' ? NAMELESS.user : start >= 0 ? NAMELESS.low : NAMELESS.unknown;
      frame = { part, name: named ? name : nameless, address: named ? start : 0 };
      // locations of ring 3 are made anew each time
      if (part !== 'user') this.#frames.set(location, frame);
    }
    return frame;
  }

  /** The task's name; of code in ring 3 without one, its address space. */
  #taskFrame({ part }: CodeLocation): ProfileFrame {
    const { state } = this.#cpu;
    const name = this.#task.name ?? (part === 'user' ? `cr3 0x${state.get64(STATE.cr3).toString(16)}` : 'kernel');
    let frame = this.#tasks.get(name);
    if (frame === undefined) {
      frame = { part: 'task', name, address: 0 };
      this.#tasks.set(name, frame);
    }
    return frame;
  }
}
