import { type CoreExports, type HostFunctions, importHelper } from './core.ts';
import type { CpuidOptions } from './cpuid.ts';
import { createDecoder, type Decode } from './decode/decoder.ts';
import { transcendental } from './helpers/x87-transcendental.ts';
import { CodeCache } from './interpreter/code-cache.ts';
import { FormTable } from './interpreter/form-table.ts';
import { Shapes } from './interpreter/shapes.ts';
import { DEFAULT_JIT, Jit, type JitHost, type JitOptions } from './jit/jit.ts';
import type { Marker } from './marker.ts';
import { prebuilt } from './prebuilt.ts';
import { SEMANTICS } from './semantics/index.ts';
import { SYSTEM_OPERATIONS } from './semantics/system-operations.ts';
import { COUNTER, DYNAMIC_BASE, EXIT, NO_TLB, STATE, STEP, VECTOR } from './state.ts';
import { StateMemory } from './state-memory.ts';
import { updateUnits } from './system/control.ts';
import { breakpointsAt, DR6, noteDebug, watchPorts } from './system/debug.ts';
import { deliver, type Interruption, isDoubleFault } from './system/interrupts.ts';
import { initialMsrs, ModelSpecificRegisters, type MsrDevices } from './system/msr.ts';
import { OPERATIONS, type SystemContext } from './system/operations.ts';
import { EFLAGS, type GuestFault, isFault, Processor, SEG } from './system/processor.ts';

/** What the processor is connected to. Addresses are guest-physical. */
export interface CpuBus {
  mmioRead(address: number, width: number): number;
  mmioWrite(address: number, width: number, value: number): void;
  portIn(port: number, width: number): number;
  portOut(port: number, width: number, value: number): void;
  /** Time-stamp counter, an integer below 2^53. */
  readTsc(): number;
  random(): bigint;
  /** The vector to deliver, taken from the interrupt controller; -1 when it was withdrawn. */
  acknowledgeInterrupt(): number;
  readonly msr: MsrDevices;
  /** CR8. */
  taskPriority: number;
}
/** How a module's functions are compiled: never optimised, as V8 thinks fit, or as suits what is entered from one dispatcher. */
export type Tier = 'baseline' | 'default' | 'region';
export type Compile = (bytes: Uint8Array<ArrayBuffer>, tier: Tier) => WebAssembly.Module;
export interface CpuOptions {
  /** Guest RAM and the bytes of it below the PCI hole. */
  readonly ram: WebAssembly.Memory;
  readonly ramSize: number;
  readonly ramLow: number;
  readonly features: ReadonlySet<string>;
  readonly cpuid: CpuidOptions;
  readonly bus: CpuBus;
  /** 'interpreter' translates nothing. */
  readonly engine?: 'auto' | 'interpreter';
  readonly jit?: Partial<JitOptions>;
  readonly compile?: Compile;
}
/** Why `run` came back. */
export type RunExit =
  | { readonly kind: 'budget' }
  /** HLT retired and nothing is pending. */
  | { readonly kind: 'halt' }
  /** Triple fault. */
  | { readonly kind: 'shutdown'; readonly fault: GuestFault };

const MAX_BUDGET = 0x7fff_ffff;
/** Decoded records may take this much of memory 0 before all are dropped. */
const RECORD_LIMIT = 256 << 20;

/** Compiled once per process. */
let compiled:
  | { helpers: WebAssembly.Module; interpreter: WebAssembly.Module; handlers: WebAssembly.Module | undefined }
  | undefined;
function compileOnce(compile: Compile): NonNullable<typeof compiled> {
  const { helpers, interpreter, handlers } = prebuilt();
  compiled ??= {
    helpers: compile(helpers, 'default'),
    interpreter: compile(interpreter.bytes, 'baseline'),
    handlers: handlers && compile(handlers.bytes, 'default'),
  };
  return compiled;
}

/** State cells of MSRs that are 0 after a reset, and DR0 to DR3. */
const RESET_MSRS = [
  ...[STATE.star, STATE.lstar, STATE.cstar, STATE.sfmask, STATE.kernelGsBase, STATE.tscAux],
  ...[STATE.sysenterCs, STATE.sysenterEsp, STATE.sysenterEip],
  ...[0, 1, 2, 3].map((n) => STATE.dr + n * 8),
];

/** One virtual CPU. */
export class Cpu {
  readonly processor: Processor;
  readonly msr: ModelSpecificRegisters;
  readonly state: StateMemory;
  readonly codeCache: CodeCache;
  /** Times each undefined or unimplemented instruction was executed, by name. */
  readonly undefinedInstructions = new Map<string, number>();
  readonly exits: Record<string, number> = {};
  interrupts = 0;
  exceptions = 0;
  /** Called when the guest marks a region of interest, while the marker's instruction is executed; `retired` counts it. */
  onMarker: ((marker: Marker) => void) | undefined;
  readonly #core: CoreExports;
  readonly #bus: CpuBus;
  readonly #system: SystemContext;
  readonly #ramSize: number;
  readonly #forms: FormTable;
  readonly jit: Jit | undefined;
  #retired = 0;
  #nmi = false;
  /** What the interrupt controller last said. */
  #interrupt = false;
  #stop = false;

  constructor(options: CpuOptions) {
    const { bus } = options;
    this.#bus = bus;
    this.#ramSize = options.ramSize;
    const state = new StateMemory(DYNAMIC_BASE);
    this.state = state;
    const codePages = state.allocate(Math.ceil(options.ramSize / 4096) * 4);
    const table = new WebAssembly.Table({ initial: 2048, element: 'anyfunc' });
    let decoder: Decode | undefined;
    const decode: Decode = (bytes, at, end, mode) => {
      // made when it is first needed: the package knows the shapes of what ordinary guests execute
      decoder ??= createDecoder({ features: options.features });
      return decoder(bytes, at, end, mode);
    };
    const host: HostFunctions = {
      system: (operation) => this.#systemOperation(operation),
      mmioRead: (address, width) => {
        this.onSlowPath?.();
        return bus.mmioRead(Number(address), width);
      },
      mmioWrite: (address, width, value) => {
        bus.mmioWrite(Number(address), width, value >>> 0);
        this.onSlowPath?.();
      },
      portIn: (port, width) => {
        watchPorts(state, port, width);
        this.onSlowPath?.();
        return bus.portIn(port, width);
      },
      portOut: (port, width, value) => {
        watchPorts(state, port, width);
        bus.portOut(port, width, value >>> 0);
        this.onSlowPath?.();
      },
      ioAllowed: (port, width) => (this.#ioAllowed(port, width) ? 1 : 0),
      codeWritten: (ram, width) => this.#codeWritten(ram >>> 0, width),
      readTsc: () => bus.readTsc(),
      random: () => BigInt.asIntN(64, bus.random()),
      transcendental: (number) => transcendental(state, number),
    };
    const env = { ...host, state: state.memory, ram: options.ram, table };
    const compile: Compile = options.compile ?? ((bytes) => new WebAssembly.Module(bytes));
    const modules = compileOnce(compile);
    const { interpreter: hot, handlers, shapes: shapesImage } = prebuilt();
    const { exports } = new WebAssembly.Instance(modules.helpers, { env });
    const interpreter = new WebAssembly.Instance(modules.interpreter, { env: { ...env, ...exports } });
    this.#core = { ...exports, ...interpreter.exports } as unknown as CoreExports;
    const imports = { env: { ...env, ...exports } };
    const forms = new FormTable(
      hot.forms,
      table,
      SEMANTICS,
      (bytes) => new WebAssembly.Instance(compile(bytes, 'default'), imports).exports,
      importHelper,
    );
    this.#forms = forms;
    if (modules.handlers) forms.adopt(handlers!.forms, new WebAssembly.Instance(modules.handlers, imports).exports);
    const shapes = new Shapes(state, shapesImage);
    if (shapesImage) shapes.adopt(shapesImage, options.features, (form) => forms.numberOf(form));
    this.processor = new Processor(state, this.#core);
    this.msr = new ModelSpecificRegisters(this.processor, bus.msr, options.features);
    const count = (id: number): void => {
      const name = this.codeCache.undefinedNames[id] ?? '?';
      this.undefinedInstructions.set(name, (this.undefinedInstructions.get(name) ?? 0) + 1);
    };
    this.#system = {
      p: this.processor,
      msr: this.msr,
      cpuid: options.cpuid,
      features: options.features,
      countUndefined: count,
      marked: (marker) => this.onMarker?.(marker),
      get taskPriority() {
        return bus.taskPriority;
      },
      set taskPriority(value) {
        bus.taskPriority = value;
      },
    };
    this.codeCache = new CodeCache({
      memory: state,
      ram: new Uint8Array(options.ram.buffer, 0, options.ramSize),
      codePages,
      forms,
      decode,
      shapes,
      decodeRun: (page, ramPage, offset) => this.#core.decodeRun(page, ramPage, offset),
      watchPage: (page) => this.#core.dropWriteMappings(page),
      forgetLookups: () => this.#core.bumpGeneration(),
    });
    if (options.engine !== 'interpreter') {
      const host: JitHost = {
        memory: state,
        ram: new Uint8Array(options.ram.buffer, 0, options.ramSize),
        cache: this.codeCache,
        table,
        imports,
        compile: (bytes) => compile(bytes, 'region'),
        semantics: SEMANTICS,
        allocateSlot: () => forms.allocateSlot(),
        importHelper,
        decode,
        fetchPage: (linear) => this.#core.fetchPage(linear),
        retired: () => this.retired,
      };
      this.jit = new Jit(host, { ...DEFAULT_JIT, ...options.jit });
    }
    state.u8.fill(0xff, NO_TLB.base, NO_TLB.base + NO_TLB.size);
    state.set32(STATE.codePages, codePages);
    state.set32(STATE.largestPage, options.features.has('pdpe1gb') ? 30 : 21);
    state.set64(STATE.ramLow, BigInt(options.ramLow));
    state.set64(STATE.ramSize, BigInt(options.ramSize));
    state.set64(STATE.physMask, (1n << BigInt(options.cpuid.physicalBits)) - 1n);
    this.reset();
  }

  /** Power-on state (SDM vol. 3, 9.1.1), apart from the entry point, which the boot code sets. */
  reset(): void {
    const { state, processor: p } = this;
    for (let i = 0; i < 16; i++) p.setGpr(i, 0n);
    state.set64(STATE.cr0, 0x6000_0010n);
    for (const cell of [STATE.cr2, STATE.cr3, STATE.cr4, STATE.efer, ...RESET_MSRS]) state.set64(cell, 0n);
    state.set64(STATE.dr + 48, 0xffff_0ff0n);
    state.set64(STATE.dr + 56, 0x400n);
    state.set64(STATE.xcr0, 1n);
    state.set32(STATE.mxcsr, 0x1f80);
    state.set32(STATE.fpuControl, 0x37f);
    state.set32(STATE.cpl, 0);
    state.set32(STATE.monitorArmed, 0);
    for (const seg of [SEG.es, SEG.cs, SEG.ss, SEG.ds, SEG.fs, SEG.gs]) {
      p.setSegment(seg, 0, 0n, 0xffff, seg === SEG.cs ? 0x9b : 0x93);
    }
    p.setSegment(SEG.ldtr, 0, 0n, 0xffff, 0x82);
    p.setSegment(SEG.tr, 0, 0n, 0xffff, 0x8b);
    p.setEflags(2);
    state.set32(STATE.nmiBlocked, 0);
    this.msr.state = initialMsrs();
    state.set32(STATE.pkru, 0);
    state.set32(STATE.watching, 0);
    state.set32(STATE.watchHits, 0);
    state.i32[STATE.shadow >> 2] = -1;
    updateUnits(p);
    this.#core.flushTlb();
    p.modeChanged();
  }

  /** Instructions retired since power-on, exact at any moment. */
  get retired(): number {
    return this.#retired + this.state.i32[STATE.budgetTotal >> 2]! - this.state.i32[STATE.budget >> 2]!;
  }
  /** Of these, the rounds of REP instructions beyond the first. */
  get repIterations(): number {
    return this.state.count(STATE.repIterations);
  }
  get ip(): bigint {
    return this.state.get64(STATE.ip);
  }
  set ip(linear: bigint) {
    this.state.set64(STATE.ip, linear);
  }
  get interruptsEnabled(): boolean {
    return (this.state.get32(STATE.eflags) & EFLAGS.if) !== 0;
  }
  /** Handlers made so far, hot forms included. */
  get forms(): number {
    return this.#forms.size;
  }
  counter(name: keyof typeof COUNTER): number {
    return this.state.count(STATE.counters + COUNTER[name] * 8);
  }

  /** The interrupt controller's output has changed. */
  setInterruptPending(pending: boolean): void {
    this.#interrupt = pending;
    this.#updatePending();
    if (pending && this.interruptsEnabled) this.#core.cutBudget(0);
  }
  raiseNmi(): void {
    this.#nmi = true;
    this.#updatePending();
    this.#core.cutBudget(0);
  }
  /** An NMI that may be delivered: none is between the delivery of one and IRET (SDM vol. 3, 6.7.1). */
  get #nmiReady(): boolean {
    return this.#nmi && this.state.get32(STATE.nmiBlocked) === 0;
  }
  #updatePending(): void {
    this.state.set32(STATE.pending, this.#interrupt || this.#nmiReady ? 1 : 0);
  }
  /** Makes `run` return after the instruction in hand. */
  stop(): void {
    this.#stop = true;
    this.#core.cutBudget(0);
  }
  /** Leaves at most `instructions` of the running budget (a timer was set earlier than expected). */
  limitBudget(instructions: number): void {
    this.#core.cutBudget(Math.max(0, Math.min(instructions, MAX_BUDGET)));
    this.#limit = Math.min(this.#limit, this.retired + Math.max(0, instructions));
  }
  #limit = 0;

  /**
   * Called during `run` wherever JavaScript works for the guest, which may take a hundred times as long as an instruction: the place
   * to look at the clock and cut the budget.
   */
  onSlowPath: (() => void) | undefined;

  /** A bus master is about to write RAM bytes. */
  ramWritten(offset: number, length: number): void {
    this.codeCache.written(offset, length);
  }

  /** Executes up to `budget` instructions, delivering interrupts and exceptions on the way. */
  run(budget: number): RunExit {
    const { state } = this;
    this.#limit = this.retired + budget;
    this.#stop = false;
    let shadow = state.i32[STATE.shadow >> 2] === -2;
    // the last instruction of the run before may have been MOV SS
    let inhibited = shadow && state.get32(STATE.singleStep) === STEP.inhibited;
    for (;;) {
      if (this.#nmi) this.#updatePending();
      if (!shadow && state.get32(STATE.pending)) {
        const fatal = this.#deliverPending();
        if (fatal) return fatal;
      }
      // a clock's estimate need not be whole
      const left = Math.min(Math.floor(this.#limit - this.retired), MAX_BUDGET);
      if (left <= 0 || this.#stop) {
        // carried over to the next run: an STI may have been the last instruction
        state.i32[STATE.shadow >> 2] = shadow ? -2 : -1;
        return { kind: 'budget' };
      }
      this.jit?.poll();
      const flags = state.get32(STATE.eflags);
      const stepping = (flags & EFLAGS.tf) !== 0;
      // breakpoints cost a look at every instruction, and nothing while none is set
      const debugging = (state.get32(STATE.dr + 56) & 0xff) !== 0;
      if (debugging && !inhibited && !(flags & EFLAGS.rf)) {
        const hit = breakpointsAt(state);
        if (hit !== 0n) {
          // with what MOV SS has held back: it must not come up in the handler
          noteDebug(this.processor, hit | this.#takeWatchHits());
          const fatal = this.#raise({ vector: VECTOR.db });
          if (fatal) return fatal;
          continue;
        }
      }
      // RF holds for one instruction (SDM vol. 3, 17.3.1.1)
      if (flags & EFLAGS.rf) state.set32(STATE.eflags, flags & ~EFLAGS.rf);
      const slice = shadow || stepping || debugging ? 1 : left;
      state.set32(STATE.singleStep, STEP.due);
      this.#retired = this.retired;
      state.set32(STATE.budget, slice);
      state.set32(STATE.budgetTotal, slice);
      state.i32[STATE.shadow >> 2] = -1;
      const code = this.#core.run();
      const before = this.#retired;
      const remaining = state.i32[STATE.budget >> 2]!;
      const step = state.get32(STATE.singleStep);
      if (code === EXIT.decode && this.retired === before) {
        // nothing has been executed: what held for the next instruction still does
        if (flags & EFLAGS.rf) state.set32(STATE.eflags, flags);
      } else {
        shadow = state.i32[STATE.shadow >> 2] === remaining && this.retired > before;
        inhibited = slice === 1 && step === STEP.inhibited;
        // the rest of a repetition is the same instruction still (SDM vol. 3, 17.3.1.1)
        if (code === EXIT.repeat) state.set32(STATE.eflags, state.get32(STATE.eflags) | EFLAGS.rf);
      }
      this.#countExit(code);
      // one instruction at a time: the host's time need not be read after each
      if (slice > 1 || (this.#retired & 63) === 0) this.onSlowPath?.();
      switch (code) {
        case EXIT.fault: {
          const fault = this.processor.takeFault();
          if (!fault) throw new Error('internal: a fault exit without a fault');
          const fatal = this.#raise(fault);
          if (fatal) return fatal;
          break;
        }
        case EXIT.decode: {
          const fault = this.#decode();
          if (fault) {
            const fatal = this.#raise(fault);
            if (fatal) return fatal;
          }
          break;
        }
        case EXIT.halt:
          if (!stepping && (!state.get32(STATE.pending) || !(this.interruptsEnabled || this.#nmiReady))) {
            this.#retired = this.retired;
            state.set32(STATE.budget, 0);
            state.set32(STATE.budgetTotal, 0);
            return { kind: 'halt' };
          }
          break;
        default:
      }
      let debug = stepping && step === STEP.due && this.retired > before && code !== EXIT.fault ? DR6.bs : 0n;
      if (debugging && step !== STEP.inhibited) {
        // dropped when the instruction has faulted (SDM vol. 3, 17.3.1.2)
        const hits = this.#takeWatchHits();
        if (code !== EXIT.fault) debug |= hits;
      }
      if (debug !== 0n) {
        noteDebug(this.processor, debug);
        const fatal = this.#raise({ vector: VECTOR.db }, 'trap');
        if (fatal) return fatal;
      }
    }
  }

  /** Translates the code at the current address at once (tests); false when it is left to the interpreter. */
  translateHere(): boolean {
    const ip = this.state.i64[STATE.ip >> 3]!;
    if (this.#core.lookup(ip) === 0 && (this.processor.takeFault() || this.#decode())) return false;
    const record = this.#core.lookup(ip);
    const before = this.jit?.stats.translated ?? 0;
    this.jit?.translate([{ record, pageBase: ip & ~0xfffn, tlbRead: this.state.get32(STATE.tlbRead), samples: 0 }]);
    return (this.jit?.stats.translated ?? 0) > before;
  }

  /** Data breakpoints that have been met and not reported. */
  #takeWatchHits(): bigint {
    const hits = this.state.get32(STATE.watchHits);
    this.state.set32(STATE.watchHits, 0);
    return BigInt(hits);
  }

  #countExit(code: number): void {
    const name = EXIT_NAMES[code] ?? String(code);
    this.exits[name] = (this.exits[name] ?? 0) + 1;
  }

  #decode(): GuestFault | undefined {
    const { state, processor: p } = this;
    const ip = state.i64[STATE.ip >> 3]!;
    // the limit of CS, for code that is decoded now (docs/system.md)
    if (!p.code64 && ip - p.base(SEG.cs) > BigInt(p.limit(SEG.cs))) return { vector: VECTOR.gp, error: 0 };
    const page = this.#core.fetchPage(ip);
    // instruction bytes outside RAM read as ones, which is no instruction
    if (page < 0) return p.takeFault() ?? { vector: VECTOR.ud };
    if (state.used > RECORD_LIMIT) this.codeCache.clear();
    this.codeCache.decode(page, Number(ip & 0xfffn), state.get32(STATE.codeMode), () => {
      const next = this.#core.fetchPage((ip & ~0xfffn) + 4096n);
      p.takeFault();
      return next;
    });
    return undefined;
  }

  #deliverPending(): RunExit | undefined {
    const p = this.processor;
    let vector = -1;
    if (this.#nmiReady) {
      this.#nmi = false;
      this.state.set32(STATE.nmiBlocked, 1);
      this.#updatePending();
      vector = VECTOR.nmi;
    } else if (this.interruptsEnabled) vector = this.#bus.acknowledgeInterrupt();
    if (vector < 0) return undefined;
    this.interrupts++;
    if (this.#core.deliverFast(vector, 0, 0, 0)) return undefined;
    const what: Interruption = { vector, kind: 'external', returnIp: this.#architecturalIp() };
    const fault = deliver(p, what);
    return fault ? this.#raise(fault) : undefined;
  }

  #architecturalIp(): bigint {
    const ip = this.state.get64(STATE.ip);
    return this.processor.code64 ? ip : (ip - this.processor.base(SEG.cs)) & 0xffff_ffffn;
  }

  /** Delivers an exception; faults on the way make a double fault or a shutdown (SDM vol. 3, 6.15). */
  #raise(first: GuestFault, kind: 'fault' | 'trap' = 'fault'): RunExit | undefined {
    const { state, processor: p } = this;
    const returnIp = this.#architecturalIp();
    let fault: GuestFault = first;
    for (;;) {
      this.exceptions++;
      if (fault.address !== undefined) state.set64(STATE.cr2, fault.address);
      const external = kind === 'trap' ? 'external' : 'exception';
      const nested = deliver(p, { vector: fault.vector, error: fault.error, kind: external, returnIp });
      if (!nested) return undefined;
      if (nested.address !== undefined) state.set64(STATE.cr2, nested.address);
      if (fault.vector === VECTOR.df) return { kind: 'shutdown', fault: first };
      fault = isDoubleFault(fault.vector, nested.vector) ? { vector: VECTOR.df, error: 0 } : nested;
    }
  }

  #systemOperation(operation: number): number {
    const { state } = this;
    this.onSlowPath?.();
    const name = SYSTEM_OPERATIONS[operation]!;
    const at = STATE.mailbox >> 3;
    const args = [state.u64[at]!, state.u64[at + 1]!, state.u64[at + 2]!, state.u64[at + 3]!];
    const result = OPERATIONS[name](this.#system, args);
    if (isFault(result)) {
      this.#storeFault(result);
      return EXIT.fault;
    }
    return result ?? EXIT.next;
  }
  /** Hands a fault found by JavaScript to the run loop in the shape wasm uses. */
  #storeFault(fault: GuestFault): void {
    const { state } = this;
    state.set32(STATE.fault, fault.vector | 0x100 | (fault.error === undefined ? 0 : 0x200));
    state.set32(STATE.faultError, fault.error ?? 0);
    if (fault.address !== undefined) state.set64(STATE.faultAddress, fault.address);
  }

  /** The I/O permission bitmap of the task segment (SDM vol. 1, 19.5.2). A fault on the way is left in the state. */
  #ioAllowed(port: number, width: number): boolean {
    const p = this.processor;
    const limit = p.limit(SEG.tr);
    if (!(p.attributes(SEG.tr) & 8) || limit < 0x67) return false;
    const offset = p.readSystem(p.base(SEG.tr) + 0x66n, 2);
    if (isFault(offset)) {
      this.#storeFault(offset);
      return false;
    }
    const at = Number(offset) + (port >> 3);
    if (at + 1 > limit) return false;
    const bits = p.readSystem(p.base(SEG.tr) + BigInt(at), 2);
    if (isFault(bits)) {
      this.#storeFault(bits);
      return false;
    }
    return ((Number(bits) >> (port & 7)) & ((1 << width) - 1)) === 0;
  }

  #codeWritten(ram: number, width: number): void {
    // the records in use are stale from the next instruction on
    if (this.codeCache.written(ram, Math.min(width, this.#ramSize - ram))) this.#core.cutBudget(0);
  }
}

const EXIT_NAMES: readonly string[] = Object.entries(EXIT)
  .sort((a, b) => a[1] - b[1])
  .map(([name]) => name);
