import { createDecoder, isFailure } from '../cpu/decode/decoder.ts';
import type { CodeMode } from '../cpu/decode/types.ts';
import { instructionText } from '../cpu/jit/dump-guest.ts';
import { STATE } from '../cpu/state.ts';
import { createDefaultHost } from '../machine/host.ts';
import { loadFiles } from '../machine/machine.ts';
import { checkOptions, type MachineOptions } from '../machine/options.ts';
import { type Blueprint, type BootFiles, installKernel, type PoweredBoard, powerOn } from '../machine/power-on.ts';

/** A machine that can be powered on again and again, with its files read once. */
export interface Recipe {
  readonly blueprint: Blueprint;
  readonly files: BootFiles;
}

/** Always on the instruction clock: nothing else repeats itself. Rejects with OptionError and LoadError. */
export async function prepare(options: MachineOptions): Promise<Recipe> {
  const deterministic: MachineOptions = { ...options, clock: 'instructions' };
  const checked = checkOptions(deterministic);
  const files = await loadFiles(checked, deterministic);
  return { blueprint: { options: deterministic, checked, host: createDefaultHost() }, files };
}

/** A powered-on machine that is run up to exact counts of instructions. */
export class Stepper {
  readonly powered: PoweredBoard;
  /** Why it cannot go on, or undefined. */
  ended: string | undefined;
  /** Everything written to the serial console. */
  readonly serial: Uint8Array[] = [];
  readonly #decode: ReturnType<typeof createDecoder>;
  #halted = false;

  constructor({ blueprint, files }: Recipe) {
    this.#decode = createDecoder({ features: blueprint.checked.features });
    this.powered = powerOn(blueprint, {
      onSerial: (bytes) => this.serial.push(bytes.slice()),
      onPowerOff: () => this.#end('the guest has switched itself off'),
      onReset: () => this.#end('the guest has asked for a reset'),
      onDebugExit: (code) => this.#end(`the guest has ended with code ${code}`),
    });
    const { board, pacing } = this.powered;
    pacing.clock.onNextChanged = () => board.cpu.limitBudget(pacing.untilAlarm());
    installKernel(this.powered, files, blueprint.options.cmdline ?? '');
  }

  get retired(): number {
    return this.powered.board.cpu.retired;
  }

  /** Runs until `count` instructions have been retired in all, or the guest ends. */
  runTo(count: number): void {
    const { board, pacing } = this.powered;
    const { cpu } = board;
    while (this.ended === undefined && cpu.retired < count) {
      pacing.clock.fire();
      if (this.#halted && !board.interruptPending) {
        if (pacing.skipIdle()) continue;
        this.#end('the guest has halted for ever');
        return;
      }
      this.#halted = false;
      const exit = cpu.run(Math.max(1, Math.min(pacing.untilAlarm(), count - cpu.retired)));
      if (exit.kind === 'shutdown') this.#end(`triple fault, first exception ${exit.fault.vector}`);
      else if (exit.kind === 'halt') {
        this.#halted = true;
        if (!cpu.interruptsEnabled) this.#end('the guest has halted with interrupts off');
      }
    }
    board.serial.flush();
  }

  /** The next instruction, disassembled with its bytes. */
  nextInstruction(): string {
    const { cpu, memory } = this.powered.board;
    const ram8 = new Uint8Array(memory.memory.buffer, 0, memory.size);
    const at = cpu.ip;
    const bytes: number[] = [];
    for (let page = -1n, ram = -1; bytes.length < 15; ) {
      const linear = at + BigInt(bytes.length);
      if (linear >> 12n !== page) {
        page = linear >> 12n;
        ram = cpu.processor.core.fetchPage(BigInt.asIntN(64, linear));
        // a page that is not there is no fault yet
        cpu.state.set32(STATE.fault, 0);
        if (ram < 0) break;
      }
      bytes.push(ram8[ram * 4096 + Number(linear & 0xfffn)]!);
    }
    const mode = ([64, 32, 16] as const)[cpu.state.get32(STATE.codeMode) & 3] as CodeMode;
    const d = this.#decode(Uint8Array.from(bytes), 0, bytes.length, mode);
    const hex = (list: readonly number[]): string => list.map((b) => b.toString(16).padStart(2, '0')).join(' ');
    if (isFailure(d)) return `${hex(bytes)}  (${d.kind === 'more' ? 'the next page is not mapped' : d.what})`;
    return `${hex(bytes.slice(0, d.length)).padEnd(30)} ${instructionText(d, at)}`;
  }

  #end(why: string): void {
    this.ended ??= why;
    this.powered.board.cpu.stop();
  }
}
