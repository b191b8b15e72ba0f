import type { Compile } from '../cpu/cpu.ts';
import type { JitOptions } from '../cpu/jit/options.ts';
import { DEFAULT_MODEL, parseCpu } from '../cpu/models.ts';
import type { BlockStore } from '../devices/virtio/block-store.ts';
import { DEBUG_EXIT_PORT } from '../layout.ts';
import type { NamedBytes, UnpackSide } from '../loader/load.ts';
import type { Plugged } from '../machine.ts';
import { MemorySizeError, parseMemorySize } from '../memory/memory-size.ts';
import type { NetApi } from '../net/api.ts';
import type { NetBackend } from '../net/backend.ts';
import { OptionError } from './errors.ts';
import type { Host } from './host.ts';
import type { Observer } from './observer.ts';

/** How a virtio device is plugged in; `transitional` is the default, as in QEMU. */
export type Transport = Plugged['transport'];

/** A network card: what it is connected to, and how the guest sees it. What `createNet` resolves with is one. */
export interface NetworkCard {
  /** Undefined: there is no card after all. */
  readonly backend: NetBackend | undefined;
  /** Six bytes; default 52:54:00:12:34:56 for the first card, counting up. */
  readonly mac?: Uint8Array | undefined;
  /** What `machine.net` offers. */
  readonly api?: NetApi;
  /** Announced MTU; default 1500. */
  readonly mtu?: number;
  readonly transport?: Transport | undefined;
}

/** A disk. */
export interface Drive {
  readonly store: BlockStore;
  /** What the guest reads as serial number, at most 20 characters of ASCII. */
  readonly id?: string;
  readonly transport?: Transport;
}

/** A file's bytes; the name is for messages only. */
export type File = NamedBytes | Uint8Array;

export interface MachineOptions {
  /** bzImage, ELF (Linux, PVH, Multiboot); told by content. */
  readonly kernel: File;
  readonly initrd?: File;
  /** Modules of a Multiboot or PVH kernel, after the initrd, which is the first; `name` is what it gets as the module's command line. */
  readonly modules?: readonly File[];
  /** Kernel command line. */
  readonly cmdline?: string;
  /** Guest RAM: bytes, or text such as "64M"; a multiple of 4096 from 16M to 4G. Default 512M. */
  readonly memory?: number | string;
  /** `MODEL[,+feature][,-feature]`; default x86-64-v2. */
  readonly cpu?: string;
  /** `host`: guest time is host time. `instructions`: one instruction is one nanosecond, and runs are reproducible. */
  readonly clock?: 'host' | 'instructions';
  /** For every random number the guest gets. Default: the host's entropy, or 0 with the instruction clock. */
  readonly seed?: number;
  /** Who unpacks kernel and initrd; `host` (default) saves most of a small boot. */
  readonly unpack?: UnpackSide;
  /** `interpreter` switches the translator off. Default `auto`. */
  readonly engine?: Engine;
  /** Thresholds and sizes of the translator; see JitOptions. */
  readonly jit?: Partial<JitOptions>;
  readonly net?: readonly NetworkCard[];
  readonly drives?: readonly Drive[];
  /** virtio-rng; default true. */
  readonly rng?: boolean;
  /** The run ends when the serial output (decoded as UTF-8, partial lines included) matches. */
  readonly exitOn?: RegExp;
  /** Host milliseconds after which the run ends. */
  readonly timeoutMs?: number;
  /** A write of v to this port (true: 0xf4) ends the run with code (v << 1) | 1. */
  readonly debugExit?: boolean | number;
  /** A reset by the guest starts the same kernel anew instead of ending the run. */
  readonly allowReboot?: boolean;
  /** Bytes written to port 0xe9. */
  readonly onDebugConsole?: (bytes: Uint8Array) => void;
  /** Bytes unpacked so far, of what takes long. */
  readonly onProgress?: (file: string, produced: number) => void;
  /** Looks on: a profiler, a counter of instructions. */
  readonly observer?: Observer;
  /** Time and entropy; default: those of the JavaScript environment. */
  readonly host?: Host;
  /** Where `stats().milliseconds` count from, in `host.monotonicNs()`; default: the call of `Machine.create`. */
  readonly timeOriginNs?: number;
  /** Compiles the emulator's own wasm modules; default: in V8's tier that suits each, under Node. */
  readonly compile?: Compile;
}

export type Engine = 'auto' | 'interpreter';

/** Options checked, defaults filled in. */
export interface CheckedOptions {
  readonly kernel: NamedBytes;
  readonly initrd: NamedBytes | undefined;
  readonly modules: readonly NamedBytes[];
  readonly memory: number;
  readonly features: ReadonlySet<string>;
  readonly clock: 'host' | 'instructions';
  readonly seed: number | undefined;
  readonly debugExitPort: number | undefined;
}

const MAX_TIMEOUT_MS = 0x7fff_ffff;

/** Throws OptionError for what cannot be. */
export function checkOptions(options: MachineOptions): CheckedOptions {
  const { clock = 'host', seed, timeoutMs, debugExit = false, engine = 'auto', unpack = 'host' } = options;
  oneOf('clock', clock, ['host', 'instructions']);
  oneOf('engine', engine, ['auto', 'interpreter']);
  oneOf('unpack', unpack, ['host', 'guest']);
  if (seed !== undefined && !(Number.isSafeInteger(seed) && seed >= 0)) {
    throw new OptionError('seed', `${seed} is not a whole number from 0 to 2^53 - 1`);
  }
  if (timeoutMs !== undefined && !(timeoutMs > 0 && timeoutMs <= MAX_TIMEOUT_MS)) {
    throw new OptionError('timeout', `${timeoutMs} ms is not between 0 and ${MAX_TIMEOUT_MS} ms (24 days)`);
  }
  for (const { mac } of options.net ?? []) {
    if (mac !== undefined && mac.length !== 6) throw new OptionError('net', 'a MAC address has six bytes');
  }
  const port = typeof debugExit === 'number' ? debugExit : debugExit ? DEBUG_EXIT_PORT : undefined;
  if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port <= 0xfffc)) {
    throw new OptionError('debug-exit', `${port} is not a port from 0 to 0xfffc`);
  }
  return {
    kernel: named(options.kernel, 'kernel'),
    initrd: options.initrd === undefined ? undefined : named(options.initrd, 'initrd'),
    modules: (options.modules ?? []).map((file) => named(file, 'module')),
    memory: memorySize(options.memory ?? '512M'),
    features: cpuFeatures(options.cpu ?? DEFAULT_MODEL),
    clock,
    seed: seed ?? (clock === 'instructions' ? 0 : undefined),
    debugExitPort: port,
  };
}

function oneOf(option: string, value: string, allowed: readonly string[]): void {
  if (!allowed.includes(value)) throw new OptionError(option, `"${value}" is not one of ${allowed.join(', ')}`);
}

function named(file: File, name: string): NamedBytes {
  return file instanceof Uint8Array ? { name, bytes: file } : file;
}

function memorySize(memory: number | string): number {
  try {
    return parseMemorySize(memory);
  } catch (error) {
    if (error instanceof MemorySizeError) throw new OptionError('memory', error.message);
    throw error;
  }
}

function cpuFeatures(cpu: string): ReadonlySet<string> {
  try {
    return parseCpu(cpu);
  } catch (error) {
    if (error instanceof RangeError) throw new OptionError('cpu', error.message.replace(/^--cpu [^:]*: /, ''));
    throw error;
  }
}
