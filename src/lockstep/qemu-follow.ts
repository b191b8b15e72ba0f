/**
 * Follows a run of QEMU with our processor, by QEMU's log (qemu-log.ts). QEMU leads: what it read from ports and devices is what we
 * read, its interrupts are delivered where it delivered them, its time-stamp counter and CPUID are ours. Registers are compared at
 * the start of every translation block that it executes.
 */

import { Cpu } from '../cpu/cpu.ts';
import type { CpuidResult } from '../cpu/cpuid.ts';
import { createDecoder, isFailure } from '../cpu/decode/decoder.ts';
import type { CodeMode } from '../cpu/decode/types.ts';
import { instructionText } from '../cpu/jit/dump-guest.ts';
import { STATE, VECTOR } from '../cpu/state.ts';
import { MSR } from '../cpu/system/msr.ts';
import { SEG } from '../cpu/system/processor.ts';
import type { QemuEvent, QemuRegisters } from './qemu-log.ts';

/** Where following begins: all that QEMU's processor and memory hold. */
export interface QemuCheckpoint {
  readonly registers: QemuRegisters;
  readonly ram: Uint8Array;
  /** Answers of CPUID by "leaf.subleaf". */
  readonly cpuid: ReadonlyMap<string, CpuidResult>;
  /** Model-specific registers: our processor's own, and others (MTRRs and the like), which are only kept. */
  readonly msrs: ReadonlyMap<number, bigint>;
}

/** A linear address and the mode it was executed in. */
interface Place {
  readonly at: bigint;
  readonly mode: CodeMode;
}

export interface FollowDifference {
  readonly report: string;
}

const NAMES = 'ax cx dx bx sp bp si di r8 r9 r10 r11 r12 r13 r14 r15'.split(' ');
const SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldt', 'tr'] as const;
/** RFLAGS that are compared; instructions leave the others undefined now and then. */
const CONTROL_FLAGS = 0x24_7700n & ~0x10000n;
/** A translation block is at most 512 instructions; each iteration of a repetition starts one. */
const BLOCK_LIMIT = 4000;
const LISTED = 24;
/** By the low bits of STATE.codeMode. */
const MODES: readonly CodeMode[] = [64, 32, 16];
const PORTS = 0x1_0000;
/** Model-specific registers that are the processor's own: taken from our implementation. */
export const OWN_MSRS: ReadonlySet<number> = new Set<number>([
  ...[MSR.sysenterCs, MSR.sysenterEsp, MSR.sysenterEip, MSR.efer, MSR.star, MSR.lstar, MSR.cstar, MSR.sfmask],
  ...[MSR.fsBase, MSR.gsBase, MSR.kernelGsBase, MSR.tscAux, MSR.xss],
]);
/** QEMU drops what is written to these, as to those it does not know. */
const CONSTANT_MSRS = new Set<number>([MSR.platformId, MSR.biosSignature, 0xce, MSR.mtrrCap, MSR.mcgCap]);
const OSXSAVE = 1 << 27;
const CR4_OSXSAVE = 0x4_0000n;

export class QemuFollower {
  readonly #cpu: Cpu;
  readonly #features: ReadonlySet<string>;
  readonly #ram: Uint8Array;
  /** Reads that QEMU has made and we have not. */
  readonly #reads: Extract<QemuEvent, { kind: 'read' }>[] = [];
  /** Where the last instructions were. */
  readonly #trail: Place[] = [];
  #vector = -1;
  #tscRead = false;
  /** An exception has been taken: the first instruction of its handler has been executed already. */
  #inHandler = false;
  /** Blocks compared. */
  blocks = 0;
  interruptions = 0;
  /** What went wrong in a callback. */
  #problem: string | undefined;

  constructor(checkpoint: QemuCheckpoint, features: ReadonlySet<string>) {
    const { ram } = checkpoint;
    this.#features = features;
    const memory = new WebAssembly.Memory({ initial: Math.ceil(ram.length / 0x1_0000) });
    this.#ram = new Uint8Array(memory.buffer, 0, ram.length);
    this.#ram.set(ram);
    const msrs = new Map(checkpoint.msrs);
    this.#cpu = new Cpu({
      ram: memory,
      ramSize: ram.length,
      ramLow: ram.length,
      features,
      engine: 'interpreter',
      cpuid: {
        features,
        tscFrequency: 1e9,
        physicalBits: 40,
        cpus: 1,
        apicId: 0,
        override: (leaf, subleaf, { cr4 }) => {
          const { cpuid } = checkpoint;
          const highest = cpuid.get(`${leaf >= 0x8000_0000 ? 0x8000_0000 : 0}.0`)?.eax ?? 0;
          const hypervisor = leaf >= 0x4000_0000 && leaf < 0x8000_0000;
          const effective = leaf > highest && !hypervisor ? (cpuid.get('0.0')?.eax ?? 0) : leaf;
          // a leaf without subleaves ignores their number; others have nothing beyond their last
          const asked = cpuid.has(`${effective}.1`) ? subleaf : 0;
          const found = cpuid.get(`${effective}.${asked}`);
          if (found === undefined) return { eax: 0, ebx: 0, ecx: 0, edx: 0 };
          if (leaf !== 1) return found;
          const osxsave = cr4 & CR4_OSXSAVE ? OSXSAVE : 0;
          return { ...found, ecx: ((found.ecx & ~OSXSAVE) | osxsave) >>> 0 };
        },
      },
      bus: {
        mmioRead: (address, width) => Number(this.#read(address, width)),
        mmioWrite: () => {},
        portIn: (port, width) => Number(this.#read(port, width)),
        portOut: () => {},
        readTsc: () => {
          this.#tscRead = true;
          return this.#cpu.retired;
        },
        random: () => 0n,
        acknowledgeInterrupt: () => {
          const vector = this.#vector;
          this.#vector = -1;
          this.#cpu.setInterruptPending(false);
          return vector;
        },
        taskPriority: 0,
        msr: {
          apicBase: 0n,
          writeApicBase: () => true,
          readTsc: () => 0n,
          writeTsc: () => {},
          readTscDeadline: () => 0n,
          writeTscDeadline: () => {},
          readX2apic: () => undefined,
          writeX2apic: () => false,
        },
      },
    });
    const { msr } = this.#cpu;
    const own = { read: msr.read.bind(msr), write: msr.write.bind(msr) };
    msr.read = (index) => (OWN_MSRS.has(index) ? own.read(index) : (msrs.get(index) ?? 0n));
    msr.write = (index, value) => {
      if (OWN_MSRS.has(index)) return own.write(index, value);
      if (msrs.has(index) && !CONSTANT_MSRS.has(index)) msrs.set(index, value);
      return undefined;
    };
    this.#restore(checkpoint.registers);
    for (const [index, value] of msrs) if (OWN_MSRS.has(index) && index !== MSR.efer) own.write(index, value);
  }

  get retired(): number {
    return this.#cpu.retired;
  }

  #restore(from: QemuRegisters): void {
    const { state, processor: p } = this.#cpu;
    this.#cpu.reset();
    for (const [i, name] of NAMES.entries()) p.setGpr(i, from.get(name));
    for (const [i, name] of SEGMENTS.entries()) {
      const attributes = Number((from.get(`${name}.attributes`) >> 8n) & 0xf0ffn);
      p.setSegment(i, Number(from.get(name)), from.get(`${name}.base`), Number(from.get(`${name}.limit`)), attributes);
    }
    state.set64(STATE.gdtrBase, from.get('gdt.base'));
    state.set32(STATE.gdtrLimit, Number(from.get('gdt.limit')));
    state.set64(STATE.idtrBase, from.get('idt.base'));
    state.set32(STATE.idtrLimit, Number(from.get('idt.limit')));
    state.set64(STATE.efer, from.get('efer'));
    state.set64(STATE.cr2, from.get('cr2'));
    state.set64(STATE.cr3, from.get('cr3'));
    state.set64(STATE.cr4, from.get('cr4'));
    state.set64(STATE.cr0, from.get('cr0'));
    state.set32(STATE.cpl, Number(from.get('cs') & 3n));
    p.setEflags(Number(from.get('flags')));
    for (let n = 0; n < 16; n++) {
      state.set64(STATE.vec + n * 32, from.get(`xmm${n}`));
      state.set64(STATE.vec + n * 32 + 8, from.get(`xmm${n}.high`));
    }
    state.set32(STATE.mxcsr, Number(from.get('mxcsr')));
    p.core.flushTlb();
    p.modeChanged();
    this.#cpu.ip = p.code64 ? from.ip : p.base(SEG.cs) + from.ip;
  }

  /** What the log says next; undefined while we agree. */
  take(event: QemuEvent): FollowDifference | undefined {
    switch (event.kind) {
      case 'read':
        this.#reads.push(event);
        return undefined;
      case 'block':
        if (this.#inHandler) {
          // QEMU is about to execute what we have executed
          this.#inHandler = false;
          return undefined;
        }
        this.blocks++;
        return this.#advance(event.registers, 'block');
      case 'interruption': {
        // a fault on the way to the handler: our processor has gone all that way
        if (this.#inHandler) return undefined;
        // a page fault's dump has the new CR2 already
        if (event.vector === VECTOR.pf) this.#cpu.state.set64(STATE.cr2, event.registers.get('cr2'));
        const before = this.#exceptions;
        const difference = this.#advance(event.registers, 'interruption');
        if (difference) return difference;
        this.interruptions++;
        if (!event.software && (event.vector >= 32 || event.vector === 2)) return this.#interrupt(event.vector);
        // a fault of fetching, which our processor meets at the end of the instruction before
        const early = this.#exceptions !== before;
        // delivered, and the first instruction of the handler executed with it
        if (!early) this.#step();
        if (!event.software && this.#exceptions === before) {
          return this.#different(`QEMU raises exception ${event.vector} at ${text(event.registers.ip)}, we do not`);
        }
        const cr2 = this.#cpu.state.get64(STATE.cr2);
        if (cr2 !== event.registers.get('cr2')) return this.#different(`the page fault's address is ${text(cr2)} here`);
        this.#inHandler = !early;
        return undefined;
      }
    }
  }

  get #exceptions(): number {
    return this.#cpu.exceptions + this.#cpu.counter('fastExceptions');
  }

  #interrupt(vector: number): FollowDifference | undefined {
    const cpu = this.#cpu;
    if (!cpu.interruptsEnabled) return this.#different(`QEMU delivers interrupt ${vector}, ours are disabled`);
    this.#vector = vector;
    cpu.setInterruptPending(true);
    cpu.run(0);
    if (this.#vector !== -1) return this.#different(`interrupt ${vector} is not accepted here`);
    return undefined;
  }

  /** Steps until our registers are those of the dump. */
  #advance(wanted: QemuRegisters, what: QemuEvent['kind']): FollowDifference | undefined {
    let first: { readonly differences: string[]; readonly trail: readonly Place[] } | undefined;
    const before = this.#exceptions;
    for (let steps = 0; steps <= BLOCK_LIMIT; steps++) {
      if (this.#exceptions !== before) {
        if (what === 'interruption') return undefined;
        this.#problem ??= 'we raise an exception at the last instruction, QEMU does not';
        break;
      }
      if (this.#endOfRepetition(wanted)) return undefined;
      if (this.#offset() === wanted.ip && this.#reads.length === 0) {
        if (this.#tscRead) this.#takeTsc(wanted);
        const differences = this.#differences(wanted);
        if (differences.length === 0) return undefined;
        // before anything has been executed it is where the last block has left us
        if (steps > 0 || this.blocks === 1) first ??= { differences, trail: [...this.#trail] };
      }
      const exit = this.#step();
      // HLT waits for the interruption that comes next
      const stuck = exit === 'shutdown' || (exit === 'halt' && this.#offset() !== wanted.ip);
      if (this.#problem !== undefined || stuck) break;
    }
    if (first) return this.#different(`registers differ at the ${what}:\n${first.differences.join('\n')}`, first.trail);
    const far = `QEMU comes to ${text(wanted.ip)} (${what})`;
    return this.#different(
      this.#problem === undefined ? `${far}, we do not within ${BLOCK_LIMIT} instructions` : `${far}; ${this.#problem}`,
    );
  }

  /** QEMU comes back to a repeated instruction once more to find its count used up: for us that was the last iteration. */
  #endOfRepetition(wanted: QemuRegisters): boolean {
    const p = this.#cpu.processor;
    const linear = p.code64 ? wanted.ip : p.base(SEG.cs) + wanted.ip;
    if (this.#trail.at(-1)?.at !== linear || this.#cpu.ip === linear) return false;
    return wanted.get('cx') === 0n && this.#reads.length === 0 && this.#differences(wanted).length === 0;
  }

  #step(): string {
    const { state, ip } = this.#cpu;
    this.#trail.push({ at: ip, mode: MODES[state.get32(STATE.codeMode) & 3]! });
    if (this.#trail.length > LISTED) this.#trail.shift();
    return this.#cpu.run(1).kind;
  }

  #offset(): bigint {
    const p = this.#cpu.processor;
    const { ip } = this.#cpu;
    return BigInt.asUintN(64, p.code64 ? ip : (ip - p.base(SEG.cs)) & 0xffff_ffffn);
  }

  /** RDTSC and RDTSCP end a block: what they gave is in the next dump. */
  #takeTsc(from: QemuRegisters): void {
    this.#tscRead = false;
    for (const i of [0, 2]) this.#cpu.processor.setGpr(i, from.get(NAMES[i]!));
  }

  #differences(wanted: QemuRegisters): string[] {
    const { processor: p, state } = this.#cpu;
    if (this.#generalLines(wanted.wide).every((line, i) => wanted.lines[i] === line) && this.#rare(wanted)) return [];
    const found: string[] = [];
    const compare = (name: string, ours: bigint, theirs: bigint): void => {
      if (ours !== theirs) found.push(`  ${name.padEnd(8)} QEMU ${text(theirs)}  ours ${text(ours)}`);
    };
    const mask = wanted.wide ? 0xffff_ffff_ffff_ffffn : 0xffff_ffffn;
    const count = wanted.wide ? 16 : 8;
    for (let i = 0; i < count; i++) compare(NAMES[i]!, p.gpr(i) & mask, wanted.get(NAMES[i]!));
    compare('flags', BigInt(p.eflags) & CONTROL_FLAGS, wanted.get('flags') & CONTROL_FLAGS);
    for (const [i, name] of SEGMENTS.entries()) compare(name, BigInt(p.selector(i)), wanted.get(name));
    for (const [name, cell] of [
      ['cr0', STATE.cr0],
      ['cr2', STATE.cr2],
      ['cr3', STATE.cr3],
      ['cr4', STATE.cr4],
      ['efer', STATE.efer],
    ] as const) {
      compare(name, state.get64(cell), wanted.get(name));
    }
    return found;
  }

  /** The general registers as QEMU writes them. */
  #generalLines(wide: boolean): string[] {
    const p = this.#cpu.processor;
    const value = (i: number): string =>
      wide ? p.gpr(i).toString(16).padStart(16, '0') : (p.gpr(i) & 0xffff_ffffn).toString(16).padStart(8, '0');
    const x = wide ? 'R' : 'E';
    const lines = [
      `${x}AX=${value(0)} ${x}BX=${value(3)} ${x}CX=${value(1)} ${x}DX=${value(2)}`,
      `${x}SI=${value(6)} ${x}DI=${value(7)} ${x}BP=${value(5)} ${x}SP=${value(4)}`,
    ];
    if (!wide) return lines;
    return [
      ...lines,
      `R8 =${value(8)} R9 =${value(9)} R10=${value(10)} R11=${value(11)}`,
      `R12=${value(12)} R13=${value(13)} R14=${value(14)} R15=${value(15)}`,
    ];
  }

  /** Flags, selectors and control registers, which change rarely: compared as text where that is enough. */
  #rare(wanted: QemuRegisters): boolean {
    const { processor: p, state } = this.#cpu;
    const at = wanted.wide ? 4 : 2;
    const { lines } = wanted;
    const flags = Number.parseInt(/FL=([0-9a-f]+)/.exec(lines[at] ?? '')?.[1] ?? '0', 16);
    if ((BigInt(p.eflags ^ flags) & CONTROL_FLAGS) !== 0n) return false;
    for (let i = 0; i < 8; i++) {
      if (Number.parseInt(lines[at + 1 + i]?.slice(4, 8) ?? '', 16) !== p.selector(i)) return false;
    }
    const control = /^CR0=([0-9a-f]+) CR2=([0-9a-f]+) CR3=([0-9a-f]+) CR4=([0-9a-f]+)/.exec(lines[at + 11] ?? '');
    if (control === null) return false;
    return [STATE.cr0, STATE.cr2, STATE.cr3, STATE.cr4].every(
      (cell, i) => state.get64(cell) === BigInt(`0x${control[i + 1]}`),
    );
  }

  #read(address: number, width: number): bigint {
    let value = 0n;
    // a device may be read in smaller pieces
    for (let done = 0; done < width; ) {
      const next = this.#reads[0];
      if (next === undefined || next.address !== address + done) {
        // memory where there is nothing is not in the log, and reads as zero
        if (address >= PORTS && done === 0) return 0n;
        const theirs = next === undefined ? 'reads nothing' : `reads ${text(BigInt(next.address))}`;
        this.#problem ??= `we read ${width} bytes at ${text(BigInt(address))}, QEMU ${theirs}`;
        return 0n;
      }
      this.#reads.shift();
      value |= next.value << BigInt(8 * done);
      done += next.size;
    }
    return BigInt.asUintN(8 * width, value);
  }

  #different(what: string, trail: readonly Place[] = this.#trail): FollowDifference {
    const lines = [
      `QEMU and ukl-emu differ after ${this.#cpu.retired} instructions, ${this.blocks} blocks and ${this.interruptions} interruptions:`,
      what,
      '',
      'our last instructions:',
      ...trail.map((place) => `  ${text(place.at)}  ${this.#disassemble(place)}`),
    ];
    return { report: lines.join('\n') };
  }

  #disassemble({ at, mode }: Place): string {
    const { processor: p } = this.#cpu;
    const bytes: number[] = [];
    for (let i = 0n; i < 15n; i++) {
      const byte = p.readSystem(at + i, 1);
      if (typeof byte !== 'bigint') break;
      bytes.push(Number(byte));
    }
    const d = createDecoder({ features: this.#features })(Uint8Array.from(bytes), 0, bytes.length, mode);
    return isFailure(d) ? `(${d.kind})` : instructionText(d, at);
  }
}

const text = (value: bigint): string => `0x${value.toString(16)}`;
