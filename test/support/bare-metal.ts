import { Cpu, type CpuBus, type RunExit } from '../../src/cpu/cpu.ts';
import type { JitOptions } from '../../src/cpu/jit/options.ts';
import { parseCpu } from '../../src/cpu/models.ts';
import { STATE } from '../../src/cpu/state.ts';
import { writeCr0, writeCr4 } from '../../src/cpu/system/control.ts';
import { SEG } from '../../src/cpu/system/processor.ts';

/**
 * A processor with 2 MiB of RAM and no devices, put into any mode with tables of its own, for short programs whose
 * exceptions are the result: every handler is a HLT, so where the processor stops tells the vector.
 */
export type Mode = 'real' | 'protected' | 'protected3' | 'protected16' | 'paged' | 'long' | 'user' | 'compat';
export type Driver = 'interpreter' | 'translator';
export const DRIVERS: readonly Driver[] = ['interpreter', 'translator'];

/** Physical, and in every mode linear, addresses; the first 2 MiB are mapped one to one for the supervisor. */
export const AT = {
  pml4: 0x1000,
  tables: 0x2000,
  gdt: 0x8000,
  ldt: 0x8800,
  idt: 0x9000,
  tss: 0xa000,
  ist1: 0xb800,
  stack0: 0xc800,
  handlers: 0xd000,
  code: 0x1_0000,
  data: 0x2_0000,
  stack: 0x3_0800,
  /** What user pages map. */
  userCode: 0x4_0000,
  userData: 0x5_0000,
  pml5: 0x6_0000,
} as const;
/** Linear addresses of the pages that user code has in long mode. */
export const USER = { code: 0x40_0000, data: 0x50_0000, stack: 0x50_0800 } as const;
export const GDT = {
  code64: 0x08,
  data: 0x10,
  code32User: 0x18,
  dataUser: 0x20,
  code64User: 0x28,
  code32: 0x30,
  tss: 0x40,
  code16: 0x50,
  data16: 0x58,
  ldt: 0x60,
  /** Free for tests. */
  free: 0x80,
} as const;
export const PTE = { present: 1n, write: 2n, user: 4n, accessed: 0x20n, dirty: 0x40n, large: 0x80n, nx: 1n << 63n };
const RAM_SIZE = 0x20_0000;
const WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17]);
const TSS_LIMIT = 0x67;

export interface Outcome {
  readonly exit: RunExit['kind'];
  /** Exception or interrupt taken; undefined when the program came to its own HLT. */
  readonly vector: number | undefined;
  readonly error: number | undefined;
  readonly cr2: bigint;
  /** What was pushed. */
  readonly ip: number;
  readonly cs: number;
  readonly flags: number;
  /** Pushed stack pointer and segment, where the frame has them. */
  readonly sp: number | undefined;
  readonly ss: number | undefined;
  /** General registers in the handler. */
  readonly gpr: readonly bigint[];
  /** Registers other than RSP that differ from what the program started with. */
  readonly changed: readonly number[];
}

export const bytesOf = (hex: string): number[] => (hex.match(/[0-9a-f]{2}/gi) ?? []).map((x) => Number.parseInt(x, 16));

/** Everything is translated, and every vector register kept in a local. */
export const EAGER_JIT: Partial<JitOptions> = { threshold: 1, vectorUses: 0 };

export class BareMetal {
  readonly cpu: Cpu;
  readonly driver: Driver;
  readonly ram: Uint8Array;
  readonly view: DataView;
  /** Vectors the interrupt controller has to offer. */
  readonly interrupts: number[] = [];
  readonly ports: { port: number; width: number; value?: number }[] = [];
  taskPriority = 0;
  #mode: Mode = 'long';
  #start: bigint[] = [];
  #nextTable: number = AT.tables;

  constructor(driver: Driver = 'interpreter', cpuName = 'max', jit: Partial<JitOptions> = EAGER_JIT) {
    this.driver = driver;
    const features = parseCpu(cpuName);
    const ram = new WebAssembly.Memory({ initial: RAM_SIZE / 65536 });
    this.ram = new Uint8Array(ram.buffer);
    this.view = new DataView(ram.buffer);
    this.cpu = new Cpu({
      ram,
      ramSize: RAM_SIZE,
      ramLow: RAM_SIZE,
      features,
      cpuid: { features, tscFrequency: 1e9, physicalBits: 40, cpus: 1, apicId: 0 },
      bus: this.#bus(),
      ...(driver === 'translator' ? { jit } : { engine: 'interpreter' }),
    });
  }

  #bus(): CpuBus {
    const bench = this;
    return {
      mmioRead: () => 0xffff_ffff,
      mmioWrite: () => {},
      portIn(port, width) {
        bench.ports.push({ port, width });
        return 0x55;
      },
      portOut(port, width, value) {
        bench.ports.push({ port, width, value });
      },
      readTsc: () => 1000,
      random: () => 0n,
      acknowledgeInterrupt: () => bench.interrupts.shift() ?? -1,
      get taskPriority() {
        return bench.taskPriority;
      },
      set taskPriority(value) {
        bench.taskPriority = value;
      },
      msr: {
        apicBase: 0xfee0_0900n,
        writeApicBase: (value) => (value & 0xffn) === 0n,
        readTsc: () => 1000n,
        writeTsc: () => {},
        readTscDeadline: () => 0n,
        writeTscDeadline: () => {},
        readX2apic: () => undefined,
        writeX2apic: () => false,
      },
    };
  }

  // ---- tables
  set64(at: number, value: bigint): void {
    this.view.setBigUint64(at, BigInt.asUintN(64, value), true);
    this.cpu.ramWritten(at, 8);
  }
  set32(at: number, value: number): void {
    this.view.setUint32(at, value >>> 0, true);
    this.cpu.ramWritten(at, 4);
  }
  /** Address of the page-table entry of level 1 (4 KiB) to 4 for a linear address; tables are made on the way. */
  entryAt(linear: bigint, level = 1): number {
    let table: number = AT.pml4;
    for (let l = 4; ; l--) {
      const slot = table + Number((linear >> BigInt(12 + 9 * (l - 1))) & 511n) * 8;
      if (l === level) return slot;
      let entry = this.view.getBigUint64(slot, true);
      if (entry === 0n) {
        entry = BigInt(this.#nextTable) | PTE.present | PTE.write | PTE.user;
        this.#nextTable += 4096;
        this.set64(slot, entry);
      }
      table = Number(entry & 0xff_f000n);
    }
  }
  map(linear: number | bigint, physical: number, flags: bigint): void {
    this.set64(this.entryAt(BigInt(linear)), BigInt(physical) | flags);
    this.cpu.processor.core.flushTlb();
  }
  /** A descriptor by selector: base, limit field, access byte, and G D/B L AVL. */
  descriptor(
    selector: number,
    base: number,
    limit: number,
    access: number,
    flags: number,
    table: number = AT.gdt,
  ): void {
    const b = BigInt(base);
    const l = BigInt(limit);
    const low = (l & 0xffffn) | ((b & 0xff_ffffn) << 16n) | (BigInt(access) << 40n);
    const high = ((l >> 16n) << 48n) | (BigInt(flags) << 52n) | ((b >> 24n) << 56n);
    this.set64(table + (selector & ~7), low | high);
  }
  /** A gate: in the IDT (`at` = vector * 8 or 16), GDT or LDT. `access`: type, DPL, P. */
  gate(at: number, selector: number, target: number, access: number, parameters = 0): void {
    const t = BigInt(target);
    this.set64(
      at,
      (t & 0xffffn) |
        (BigInt(selector) << 16n) |
        (BigInt(parameters) << 32n) |
        (BigInt(access) << 40n) |
        (((t >> 16n) & 0xffffn) << 48n),
    );
  }
  get #wideTables(): boolean {
    return this.#mode === 'long' || this.#mode === 'user' || this.#mode === 'compat';
  }
  idtGate(vector: number, options: { selector?: number; target?: number; access?: number; ist?: number } = {}): void {
    const target = options.target ?? AT.handlers + vector * 16;
    const size = this.#wideTables ? 16 : 8;
    const at = AT.idt + vector * size;
    const selector = options.selector ?? (this.#wideTables ? GDT.code64 : GDT.code32);
    this.gate(
      at,
      selector,
      target,
      options.access ?? (vector === 3 || vector === 4 || vector === 0x80 ? 0xee : 0x8e),
      options.ist,
    );
    if (size === 16) this.set64(at + 8, 0n);
  }

  #layOut(): void {
    this.ram.fill(0);
    this.#nextTable = AT.tables;
    for (let at = 0; at < RAM_SIZE; at += 4096)
      this.set64(this.entryAt(BigInt(at)), BigInt(at) | PTE.present | PTE.write);
    for (let o = 0; o < 0x2000; o += 4096) {
      this.map(USER.code + o, AT.userCode + o, PTE.present | PTE.user);
      this.map(USER.data + o, AT.userData + o, PTE.present | PTE.user | PTE.write | PTE.nx);
    }
    this.descriptor(GDT.code64, 0, 0xf_ffff, 0x9b, 0xa);
    this.descriptor(GDT.data, 0, 0xf_ffff, 0x93, 0xc);
    this.descriptor(GDT.code32User, 0, 0xf_ffff, 0xfb, 0xc);
    this.descriptor(GDT.dataUser, 0, 0xf_ffff, 0xf3, 0xc);
    this.descriptor(GDT.code64User, 0, 0xf_ffff, 0xfb, 0xa);
    this.descriptor(GDT.code32, 0, 0xf_ffff, 0x9b, 0xc);
    this.descriptor(GDT.code16, 0, 0xffff, 0x9b, 0);
    this.descriptor(GDT.data16, 0, 0xffff, 0x93, 0);
    this.descriptor(GDT.tss, AT.tss, TSS_LIMIT, 0x8b, 0);
    this.descriptor(GDT.ldt, AT.ldt, 0xff, 0x82, 0);
    if (this.#wideTables) {
      this.set64(AT.tss + 4, BigInt(AT.stack0));
      this.set64(AT.tss + 0x24, BigInt(AT.ist1));
    } else {
      this.set32(AT.tss + 4, AT.stack0);
      this.set32(AT.tss + 8, GDT.data);
    }
    this.view.setUint16(AT.tss + 0x66, TSS_LIMIT + 1, true);
    this.ram.fill(0xf4, AT.handlers, AT.handlers + 4096);
    for (let vector = 0; vector < 256; vector++) {
      if (this.#mode === 'real') this.set32(vector * 4, AT.handlers + vector * 16);
      else this.idtGate(vector);
    }
  }

  /** Tables as new and the registers of `mode`; code is expected at `codeAt`. */
  enter(mode: Mode): void {
    const { cpu } = this;
    const { state, processor: p } = cpu;
    this.#mode = mode;
    this.interrupts.length = 0;
    this.ports.length = 0;
    cpu.reset();
    this.#layOut();
    const long = this.#wideTables;
    if (mode !== 'real') {
      state.set64(STATE.gdtrBase, BigInt(AT.gdt));
      state.set32(STATE.gdtrLimit, 0xff);
      state.set32(STATE.idtrLimit, long ? 0xfff : 0x7ff);
      state.set64(STATE.idtrBase, BigInt(AT.idt));
    } else {
      state.set64(STATE.idtrBase, 0n);
      state.set32(STATE.idtrLimit, 0x3ff);
    }
    state.set64(STATE.efer, long ? 0xd01n : 0x801n);
    state.set64(STATE.cr3, BigInt(AT.pml4));
    writeCr4(p, long ? 0x6a0n : 0x680n, ~0n);
    if (mode === 'paged') this.#pageLegacy();
    writeCr0(p, mode === 'real' ? 0x30n : long || mode === 'paged' ? 0x8001_0033n : 0x33n);
    p.setSegment(SEG.tr, GDT.tss, BigInt(AT.tss), TSS_LIMIT, 0x8b);
    const user = mode === 'user' || mode === 'compat' || mode === 'protected3';
    const code: Readonly<Record<Mode, readonly [number, number, number]>> = {
      real: [0, 0xffff, 0x9b],
      protected: [GDT.code32, 0xffff_ffff, 0xc09b],
      paged: [GDT.code32, 0xffff_ffff, 0xc09b],
      protected3: [GDT.code32User | 3, 0xffff_ffff, 0xc0fb],
      protected16: [GDT.code16, 0xffff, 0x9b],
      long: [GDT.code64, 0xffff_ffff, 0xa09b],
      user: [GDT.code64User | 3, 0xffff_ffff, 0xa0fb],
      compat: [GDT.code32User | 3, 0xffff_ffff, 0xc0fb],
    };
    const [selector, limit, attributes] = code[mode];
    const base = 0n;
    p.setSegment(SEG.cs, selector, base, limit, attributes);
    for (const seg of [SEG.es, SEG.ss, SEG.ds, SEG.fs, SEG.gs]) {
      if (mode === 'real') p.setSegment(seg, 0, 0n, 0xffff, 0x93);
      else if (mode === 'protected16') p.setSegment(seg, GDT.data16, 0n, 0xffff, 0x93);
      else if (user) p.setSegment(seg, GDT.dataUser | 3, 0n, 0xffff_ffff, 0xc0f3);
      else p.setSegment(seg, GDT.data, 0n, 0xffff_ffff, 0xc093);
    }
    // 16-bit code must fit its segments
    for (let i = 0; i < 16; i++) p.setGpr(i, 0x1100n + BigInt(i));
    p.setGpr(4, BigInt(this.stackAt));
    state.set32(STATE.cpl, user ? 3 : 0);
    p.setEflags(2);
    p.modeChanged();
    cpu.ip = BigInt(this.codeAt);
  }
  /** 32-bit paging without PAE: the low 2 MiB and the user pages, one to one. */
  #pageLegacy(): void {
    const { state, processor: p } = this.cpu;
    state.set64(STATE.cr4, state.get64(STATE.cr4) & ~0x20n);
    state.set64(STATE.cr3, BigInt(AT.pml5));
    this.set32(AT.pml5, (AT.pml5 + 0x1000) | 7);
    for (let i = 0; i < 512; i++) this.set32(AT.pml5 + 0x1000 + i * 4, (i << 12) | 3);
    p.core.flushTlb();
  }
  get codeAt(): number {
    const low = this.#mode === 'real' || this.#mode === 'protected16';
    return low ? 0x5000 : this.#mode === 'user' || this.#mode === 'compat' ? USER.code : AT.code;
  }
  get stackAt(): number {
    if (this.#mode === 'real' || this.#mode === 'protected16') return 0x7800;
    return this.#mode === 'user' || this.#mode === 'compat' ? USER.stack : AT.stack;
  }
  /** RAM address of the code. */
  get codeRam(): number {
    return this.codeAt === USER.code ? AT.userCode : this.codeAt;
  }

  /** Puts hexadecimal code in place, a HLT after it, and runs it until HLT, shutdown or `budget` instructions. */
  run(hex: string, budget = 1000): Outcome {
    this.place(`${hex}f4`);
    return this.resume(budget);
  }
  /** Puts hexadecimal code in place and makes it next. */
  place(hex: string): void {
    const code = bytesOf(hex);
    this.ram.set(code, this.codeRam);
    this.cpu.ramWritten(this.codeRam, code.length);
    this.cpu.ip = BigInt(this.codeAt);
  }
  /** Goes on from the present state. */
  resume(budget = 1000): Outcome {
    const { cpu } = this;
    const p = cpu.processor;
    this.#start = Array.from({ length: 16 }, (_, i) => p.gpr(i));
    if (this.driver === 'translator') cpu.translateHere();
    const exit = cpu.run(budget);
    return this.#outcome(exit);
  }
  #outcome(exit: RunExit): Outcome {
    const { cpu, view } = this;
    const p = cpu.processor;
    const gpr = Array.from({ length: 16 }, (_, i) => p.gpr(i));
    const at = Number(BigInt.asUintN(32, cpu.ip)) - 1;
    const inHandler = exit.kind === 'halt' && at >= AT.handlers && at < AT.handlers + 0x1000;
    const vector = inHandler ? (at - AT.handlers) >> 4 : undefined;
    const changed = gpr.flatMap((value, i) => (i !== 4 && value !== this.#start[i] ? [i] : []));
    const base = { exit: exit.kind, vector, cr2: cpu.state.get64(STATE.cr2), gpr, changed };
    if (vector === undefined) {
      return {
        ...base,
        error: undefined,
        ip: Number(cpu.ip),
        cs: p.selector(SEG.cs),
        flags: p.eflags,
        sp: undefined,
        ss: undefined,
      };
    }
    const width = this.#wideTables ? 8 : this.#mode === 'real' ? 2 : 4;
    let sp = Number(BigInt.asUintN(32, gpr[4]!));
    const pop = (): number => {
      const value =
        width === 2
          ? view.getUint16(sp, true)
          : width === 4
            ? view.getUint32(sp, true)
            : Number(view.getBigUint64(sp, true));
      sp += width;
      return value;
    };
    const error = WITH_ERROR.has(vector) && this.#mode !== 'real' ? pop() : undefined;
    const [ip, cs, flags] = [pop(), pop(), pop()];
    const outer = width === 8 || (width === 4 && (cs & 3) !== p.cpl);
    return {
      ...base,
      error,
      ip,
      cs: cs & 0xffff,
      flags,
      sp: outer ? pop() : undefined,
      ss: outer ? pop() & 0xffff : undefined,
    };
  }
}
