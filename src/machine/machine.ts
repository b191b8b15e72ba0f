import { loadInitrd } from '../loader/initrd.ts';
import { loadKernel } from '../loader/load.ts';
import type { NetApi } from '../net/api.ts';
import { MachineEndedError, OptionError, WaitTimeoutError } from './errors.ts';
import type { MachineExit } from './exit.ts';
import { createDefaultHost } from './host.ts';
import { type CheckedOptions, checkOptions, type MachineOptions } from './options.ts';
import { type Blueprint, type BootFiles, installKernel, type PoweredBoard, powerOn } from './power-on.ts';
import { RunLoop } from './run-loop.ts';
import { SerialConsole, type SerialPort } from './serial-port.ts';
import { type SearchPattern, SerialText, searchPattern } from './serial-text.ts';
import { type BoardStats, boardStats, type MachineStats, type Milestones, machineStats } from './stats.ts';
import { tieredCompiler } from './tiers.ts';

/** Characters of output quoted in errors. */
const TAIL = 200;

interface Waiter {
  readonly pattern: SearchPattern;
  readonly from: number;
  settle(match: RegExpExecArray): void;
  fail(exit: MachineExit): void;
}

/** A whole PC with a kernel in its memory, ready to run. */
export class Machine {
  /** The serial console, COM1. */
  readonly serial: SerialPort;
  readonly #console = new SerialConsole();
  readonly #text = new SerialText();
  readonly #blueprint: Blueprint;
  #files!: BootFiles;
  readonly #exitOn: SearchPattern | undefined;
  readonly #milestones: Milestones;
  readonly #waiters = new Set<Waiter>();
  /** Where the last match of `waitFor` ended. */
  #cursor = 0;
  readonly #earlierBoots: BoardStats[] = [];
  #earlierIdleNs = 0;
  #powered!: PoweredBoard;
  #loop!: RunLoop;
  #paused = false;
  #exit: MachineExit | undefined;
  #run: Promise<MachineExit> | undefined;

  private constructor(blueprint: Blueprint) {
    const { options, host } = blueprint;
    this.serial = this.#console;
    this.#blueprint = blueprint;
    this.#exitOn = options.exitOn && searchPattern(options.exitOn);
    this.#milestones = {
      origin: options.timeOriginNs ?? host.monotonicNs(),
      firstInstruction: undefined,
      firstSerialByte: undefined,
      exit: undefined,
    };
  }

  /**
   * Loads the kernel and builds the machine; nothing runs yet. Rejects with OptionError or LoadError, each of one line, when an
   * option or file cannot be used.
   */
  static async create(options: MachineOptions): Promise<Machine> {
    const host = options.host ?? createDefaultHost();
    const timeOriginNs = options.timeOriginNs ?? host.monotonicNs();
    const checked = checkOptions(options);
    // node:zlib unpacks on another thread, meanwhile the machine is built on this one
    const loading = loadFiles(checked, options);
    loading.catch(() => {});
    const machine = new Machine({ options: { compile: tieredCompiler(), ...options, timeOriginNs }, checked, host });
    machine.#powerOn();
    machine.#files = await loading;
    machine.#install();
    return machine;
  }

  /** Connections with the guest from this program, by way of the first card that has user networking. Throws OptionError without one. */
  get net(): NetApi {
    const api = this.#blueprint.options.net?.find((card) => card.api !== undefined)?.api;
    if (api === undefined) throw new OptionError('net', 'the machine has no user network; create it with one');
    return api;
  }

  /** How the run ended, or undefined. */
  get exit(): MachineExit | undefined {
    return this.#exit;
  }

  /**
   * Runs the guest until something ends it; the event loop gets its turn every millisecond or so. Further calls return the same
   * promise. It rejects only on a defect of the emulator.
   */
  run(): Promise<MachineExit> {
    this.#run ??= this.#runToEnd();
    return this.#run;
  }

  /** Stops the guest's instructions and, with the host clock, its time, until `resume`. */
  pause(): void {
    this.#paused = true;
    this.#loop.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#loop.resume();
  }

  /** Ends the run (`stopped`, unless it has ended already) and closes network backends. */
  async stop(): Promise<MachineExit> {
    this.#loop.end({ kind: 'stopped' });
    return await this.run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /**
   * Resolves with the first match of `pattern` in the serial output after the match of the previous call. Rejects with
   * WaitTimeoutError after `timeoutMs` host milliseconds, with MachineEndedError if the machine ends first.
   */
  waitFor(pattern: RegExp, timeoutMs: number): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        pattern: searchPattern(pattern),
        from: this.#cursor,
        settle: (match) => {
          done();
          this.#cursor = this.#text.endOf(match);
          resolve(match);
        },
        fail: (exit) => {
          done();
          reject(new MachineEndedError(`the serial output matched ${pattern}`, exit, this.#text.tail(TAIL)));
        },
      };
      const cancel = this.#blueprint.host.delay(Math.max(1, Math.ceil(timeoutMs)), () => {
        done();
        reject(new WaitTimeoutError(pattern, timeoutMs, this.#text.tail(TAIL)));
      });
      const done = (): void => {
        cancel();
        this.#waiters.delete(waiter);
      };
      this.#waiters.add(waiter);
      this.#search(waiter);
      if (this.#exit !== undefined && this.#waiters.has(waiter)) waiter.fail(this.#exit);
    });
  }

  /** What the machine has done so far. */
  stats(): MachineStats {
    const boots = [...this.#earlierBoots, boardStats(this.#powered.board, this.#loop.counters)];
    const idleNs = this.#earlierIdleNs + this.#loop.counters.idleNs;
    return machineStats(boots, this.#milestones, this.#blueprint.host.monotonicNs(), idleNs);
  }

  #powerOn(): void {
    const powered = powerOn(this.#blueprint, {
      onSerial: (bytes) => this.#serialOutput(bytes),
      onPowerOff: () => this.#loop.end({ kind: 'power-off' }),
      onReset: () => this.#loop.end({ kind: 'reset' }),
      onDebugExit: (code) => this.#loop.end({ kind: 'debug-exit', code }),
    });
    const { board, pacing } = powered;
    this.#powered = powered;
    this.#loop = new RunLoop(this.#blueprint.host, board, pacing, this.#blueprint.options.observer);
    if (this.#paused) this.#loop.pause();
    board.serial.onRoom = () => this.#console.pump();
    this.#console.connect(board.serial);
  }

  #install(): void {
    installKernel(this.#powered, this.#files, this.#blueprint.options.cmdline ?? '');
  }

  async #runToEnd(): Promise<MachineExit> {
    const { options, host } = this.#blueprint;
    const { timeoutMs } = options;
    const cancelTimeout =
      timeoutMs === undefined ? () => {} : host.delay(timeoutMs, () => this.#loop.end({ kind: 'timeout', timeoutMs }));
    try {
      this.#milestones.firstInstruction = host.monotonicNs();
      let exit = await this.#loop.run();
      while (exit.kind === 'reset' && options.allowReboot === true) {
        this.#earlierBoots.push(boardStats(this.#powered.board, this.#loop.counters));
        this.#earlierIdleNs += this.#loop.counters.idleNs;
        this.#powerOn();
        this.#install();
        exit = await this.#loop.run();
      }
      this.#exit = exit;
      return exit;
    } finally {
      this.#milestones.exit = host.monotonicNs();
      cancelTimeout();
      this.#console.end();
      for (const waiter of [...this.#waiters]) waiter.fail(this.#exit ?? { kind: 'stopped' });
      await Promise.all((options.net ?? []).map(({ backend }) => backend?.close()));
    }
  }

  #serialOutput(bytes: Uint8Array): void {
    this.#milestones.firstSerialByte ??= this.#blueprint.host.monotonicNs();
    this.#text.append(bytes);
    this.#console.deliver(bytes);
    if (this.#exitOn !== undefined) {
      const match = this.#text.find(this.#exitOn, 0);
      if (match) this.#loop.end({ kind: 'matched', match: match[0] });
    }
    for (const waiter of [...this.#waiters]) this.#search(waiter);
  }

  #search(waiter: Waiter): void {
    const match = this.#text.find(waiter.pattern, Math.max(waiter.from, this.#cursor));
    if (match) waiter.settle(match);
  }
}

/** Reads and unpacks what goes into memory. */
export async function loadFiles(
  { kernel, initrd, modules, memory }: CheckedOptions,
  options: MachineOptions,
): Promise<BootFiles> {
  const { unpack = 'host', onProgress } = options;
  const loading = { unpack, maxOutput: memory, ...(onProgress && { onProgress }) };
  return {
    kernel: await loadKernel(kernel, loading),
    initrd: initrd && { name: initrd.name, bytes: await loadInitrd(initrd, loading) },
    modules,
  };
}
