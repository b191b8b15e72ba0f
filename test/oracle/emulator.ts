import { Cpu, type CpuBus } from '../../src/cpu/cpu.ts';
import type { Start } from '../../src/cpu/jit/jit.ts';
import { parseCpu } from '../../src/cpu/models.ts';
import { CODE_PAGE, STATE, VECTOR } from '../../src/cpu/state.ts';
import { writeCr0, writeCr4 } from '../../src/cpu/system/control.ts';
import { SEG } from '../../src/cpu/system/processor.ts';
import { policyOf } from './policy.ts';
import {
  background,
  CODE_BASE,
  CODE_SIZE,
  type CpuCase,
  type CpuResult,
  DATA_BASE,
  DATA_SIZE,
  DataWindow,
  type Engine,
  FX_BYTES,
  GDT,
  GDT_LIMIT,
  initialFx,
  type Outcome,
  READONLY_BASE,
  READONLY_SIZE,
  SELECTOR,
} from './types.ts';

/** Where things lie in the test machine's RAM. */
const AT = {
  pml4: 0x1000,
  gdt: 0x8000,
  idt: 0x9000,
  tss: 0xa000,
  stack: 0xc000,
  handlers: 0xd000,
  data: 0x2_0000,
  readonly: 0x3_0000,
  tables: 0x4_0000,
  /** Two pages for each case in hand; the last of all. */
  code: 0x10_0000,
} as const;
const KERNEL_CODE = 0x10;
const TSS_LIMIT = 0x67;
/** Page fault error code: instruction fetch. */
const PF_FETCH = 0x10;
const PTE = { present: 1n, write: 2n, user: 4n, nx: 1n << 63n } as const;
/** Linear addresses of the supervisor's own structures: the top 2 MiB, as the CPU sees them, map RAM 0... */
const SUPERVISOR = 0xffff_ffff_ffe0_0000n;

const noDevices: CpuBus = {
  mmioRead: () => 0xffff_ffff,
  mmioWrite: () => {},
  portIn: () => 0xffff_ffff,
  portOut: () => {},
  readTsc: () => 0,
  random: () => 0n,
  acknowledgeInterrupt: () => -1,
  taskPriority: 0,
  msr: {
    apicBase: 0n,
    writeApicBase: () => false,
    readTsc: () => 0n,
    writeTsc: () => {},
    readTscDeadline: () => 0n,
    writeTscDeadline: () => {},
    readX2apic: () => undefined,
    writeX2apic: () => false,
  },
};

/** What must not go back to an earlier value with the rest of the state: counts, and what makes cached lookups stale. */
const KEPT = [STATE.budget, STATE.budgetTotal, STATE.generation, STATE.profileCount, STATE.rmwHost] as const;
const TRANSLATED_TOGETHER = 64;
const FPU_AT_REST = initialFx();
/** General registers, vectors, x87 image. */
const RESULT_BYTES = 128 + 512 + FX_BYTES;

export type Driver = 'interpreter' | 'translator';

/** The emulator's CPU as an engine: ring 3 over real page tables, exceptions taken through a real IDT. */
export class Emulator implements Engine {
  readonly name: string;
  readonly cpu: Cpu;
  readonly #bytes: Uint8Array;
  readonly #data: DataView;
  readonly #window: DataWindow;
  readonly #images = new Map<64 | 32, Uint8Array>();
  /** Cases whose code is in RAM at a time: the translator makes one module of them. */
  readonly #slots: number;

  constructor(features: ReadonlySet<string>, driver: Driver = 'interpreter') {
    this.name = driver;
    this.#slots = driver === 'translator' ? TRANSLATED_TOGETHER : 1;
    const ramSize = (AT.code + this.#slots * CODE_SIZE + 0xffff) & ~0xffff;
    const ram = new WebAssembly.Memory({ initial: ramSize / 65536 });
    this.#bytes = new Uint8Array(ram.buffer);
    this.#data = new DataView(ram.buffer);
    this.cpu = new Cpu({
      ram,
      ramSize,
      ramLow: ramSize,
      features,
      cpuid: { features, tscFrequency: 1e9, physicalBits: 40, cpus: 1, apicId: 0 },
      bus: noDevices,
      engine: driver === 'translator' ? 'auto' : 'interpreter',
      // every vector register in a local: most programs here have no loops
      jit: { vectorUses: 0 },
    });
    this.#layOut();
    const { data, readonly } = background();
    this.#bytes.set(data, AT.data);
    this.#bytes.set(readonly, AT.readonly);
    this.#bytes.fill(0xcc, AT.code);
    this.#window = new DataWindow(this.#bytes.subarray(AT.data, AT.data + DATA_SIZE));
  }

  run(cases: readonly CpuCase[]): CpuResult[] {
    const results: CpuResult[] = [];
    const registers = new ArrayBuffer(cases.length * RESULT_BYTES);
    for (let start = 0; start < cases.length; start += this.#slots) {
      const some = cases.slice(start, start + this.#slots);
      for (const [slot, c] of some.entries()) this.#place(c, slot);
      if (this.cpu.jit !== undefined) this.#translateAll(some);
      for (const [slot, c] of some.entries())
        results.push(this.#one(c, slot, registers, results.length * RESULT_BYTES));
      for (const [slot, c] of some.entries()) {
        const { length } = codeInPages(c);
        const at = codeAddress(c, slot);
        this.#bytes.fill(0xcc, at, at + length);
        this.cpu.ramWritten(at, length);
      }
    }
    return results;
  }

  /** What ran before may have had the filling decoded here. */
  #place(c: CpuCase, slot: number): void {
    const bytes = codeInPages(c);
    const at = codeAddress(c, slot);
    this.#bytes.set(bytes, at);
    this.cpu.ramWritten(at, bytes.length);
  }

  /** Lets the code pages of a case show at CODE_BASE. */
  #show(slot: number): void {
    if (this.#slots === 1) return;
    for (let o = 0; o < CODE_SIZE; o += 4096) {
      this.#map(BigInt(CODE_BASE + o), AT.code + slot * CODE_SIZE + o, PTE.present | PTE.user);
      this.cpu.processor.core.invalidatePage(BigInt(CODE_BASE + o));
    }
  }

  /** Cases that cross a page are translated when they are run: the translator looks at the mapping. */
  #translateAll(cases: readonly CpuCase[]): void {
    for (const mode of [64, 32] as const) {
      const first = cases.find((c) => c.mode === mode);
      if (first === undefined) continue;
      this.#enter(first);
      const inPage = [...cases.entries()].filter(([, c]) => c.mode === mode && !crossesPage(c));
      this.cpu.jit?.translate(inPage.map(([slot, c]) => this.#candidate(c, slot)));
    }
  }

  /** The case's first record, decoded if need be. */
  #candidate(c: CpuCase, slot: number): Start {
    const { codeCache, state } = this.cpu;
    const at = codeAddress(c, slot);
    const page = at >> 12;
    const offset = at & 0xfff;
    const next = c.codeOffset < CODE_SIZE / 2 ? page + 1 : -1;
    if (!codeCache.isKnown(page, offset)) codeCache.decode(page, offset, state.get32(STATE.codeMode), () => next);
    const records = state.get32(state.get32(STATE.codePages) + page * 4) + CODE_PAGE.map;
    const pageBase = BigInt(CODE_BASE + c.codeOffset - offset);
    return { record: state.get32(records + offset * 4), pageBase, tlbRead: state.get32(STATE.tlbRead), samples: 0 };
  }

  #set64(at: number, value: bigint): void {
    this.#data.setBigUint64(at, value, true);
  }
  #nextTable: number = AT.tables;
  #map(linear: bigint, phys: number, flags: bigint): void {
    let table: number = AT.pml4;
    for (const shift of [39n, 30n, 21n]) {
      const slot = table + Number((linear >> shift) & 511n) * 8;
      let entry = this.#data.getBigUint64(slot, true);
      if (entry === 0n) {
        entry = BigInt(this.#nextTable) | PTE.present | PTE.write | PTE.user;
        this.#nextTable += 4096;
        this.#set64(slot, entry);
      }
      table = Number(entry & 0xf_f000n);
    }
    this.#set64(table + Number((linear >> 12n) & 511n) * 8, BigInt(phys) | flags);
  }
  #layOut(): void {
    const pages = (base: number, size: number, phys: number, flags: bigint): void => {
      for (let o = 0; o < size; o += 4096) this.#map(BigInt(base + o), phys + o, flags);
    };
    pages(CODE_BASE, CODE_SIZE, AT.code, PTE.present | PTE.user);
    pages(DATA_BASE, DATA_SIZE, AT.data, PTE.present | PTE.write | PTE.user | PTE.nx);
    pages(READONLY_BASE, READONLY_SIZE, AT.readonly, PTE.present | PTE.user | PTE.nx);
    for (let o = 0; o < 0x1_0000; o += 4096) this.#map(SUPERVISOR + BigInt(o), o, PTE.present | PTE.write);
    for (const [selector, descriptor] of GDT) this.#set64(AT.gdt + selector, descriptor);
    this.#set64(AT.tss + 4, SUPERVISOR + BigInt(AT.stack));
    this.#data.setUint16(AT.tss + 0x66, TSS_LIMIT + 1, true); // no I/O permission bitmap
    for (let vector = 0; vector < 256; vector++) {
      const target = SUPERVISOR + BigInt(AT.handlers + vector * 16);
      const dpl = vector === 3 || vector === 4 ? 0xeen : 0x8en;
      this.#set64(
        AT.idt + vector * 16,
        (target & 0xffffn) | (BigInt(KERNEL_CODE) << 16n) | (dpl << 40n) | (((target >> 16n) & 0xffffn) << 48n),
      );
      this.#set64(AT.idt + vector * 16 + 8, target >> 32n);
    }
    // every handler is a HLT: where it stopped tells the vector
    this.#bytes.fill(0xf4, AT.handlers, AT.handlers + 4096);
  }

  /** Everything a case does not choose, for code of one mode; afterwards kept as an image of the state. */
  #prepare(mode: 64 | 32): void {
    const { cpu } = this;
    const { state, processor: p } = cpu;
    cpu.reset();
    state.set64(STATE.efer, 0xd01n);
    state.set64(STATE.cr3, BigInt(AT.pml4));
    const fsgsbase = 0x1_0000n;
    const xsave = 0x4_0000n;
    writeCr4(p, 0x6a0n | fsgsbase | xsave, ~0n);
    state.set64(STATE.xcr0, 7n);
    writeCr0(p, 0x8005_0033n);
    state.set64(STATE.gdtrBase, SUPERVISOR + BigInt(AT.gdt));
    state.set32(STATE.gdtrLimit, GDT_LIMIT);
    state.set64(STATE.idtrBase, SUPERVISOR + BigInt(AT.idt));
    state.set32(STATE.idtrLimit, 0xfff);
    p.setSegment(SEG.ldtr, 0, 0n, 0, 0);
    p.setSegment(SEG.tr, 0x40, SUPERVISOR + BigInt(AT.tss), TSS_LIMIT, 0x8b);
    const flat = (seg: number, selector: number): void => p.setSegment(seg, selector, 0n, 0xffff_ffff, 0xc0f3);
    flat(SEG.ss, SELECTOR.data);
    if (mode === 64) {
      p.setSegment(SEG.cs, SELECTOR.code64, 0n, 0xffff_ffff, 0xa0fb);
      for (const seg of [SEG.ds, SEG.es, SEG.fs, SEG.gs]) p.setSegment(seg, 0, 0n, 0, 0);
    } else {
      p.setSegment(SEG.cs, SELECTOR.code32, 0n, 0xffff_ffff, 0xc0fb);
      flat(SEG.ds, SELECTOR.data);
      flat(SEG.es, SELECTOR.data);
      flat(SEG.fs, SELECTOR.thread);
      flat(SEG.gs, SELECTOR.thread);
    }
    state.set32(STATE.cpl, 3);
    p.modeChanged();
    this.#images.set(mode, state.u8.slice(0, STATE.end));
  }
  #enter(c: CpuCase): void {
    const { cpu } = this;
    const { state, processor: p } = cpu;
    if (!this.#images.has(c.mode)) this.#prepare(c.mode);
    const kept = KEPT.map((cell) => state.get32(cell));
    state.u8.set(this.#images.get(c.mode)!);
    for (const [i, cell] of KEPT.entries()) state.set32(cell, kept[i]!);
    state.u8.set(new Uint8Array(c.gpr.buffer, c.gpr.byteOffset, 128), STATE.gpr);
    state.u8.set(c.ymm, STATE.vec);
    state.set32(STATE.mxcsr, c.mxcsr);
    state.set64(STATE.segBase + SEG.fs * 8, c.fsBase);
    state.set64(STATE.segBase + SEG.gs * 8, c.gsBase);
    this.#enterFpu(c.fx ?? FPU_AT_REST);
    p.setEflags((c.rflags & ~0x100) | 0x202);
    p.modeChanged();
    cpu.ip = BigInt(CODE_BASE + c.codeOffset);
  }
  #enterFpu(fx: Uint8Array): void {
    const { state } = this.cpu;
    const view = new DataView(fx.buffer, fx.byteOffset, fx.length);
    state.set32(STATE.fpuControl, view.getUint16(0, true));
    const status = view.getUint16(2, true);
    const top = (status >> 11) & 7;
    state.set32(STATE.fpuStatus, status & ~0x3800);
    state.set32(STATE.fpuTop, top);
    state.set32(STATE.fpuTag, fx[4]!);
    state.set32(STATE.fpuOpcode, view.getUint16(6, true));
    state.set64(STATE.fpuIp, view.getBigUint64(8, true));
    state.set64(STATE.fpuDp, view.getBigUint64(16, true));
    for (let i = 0; i < 8; i++) {
      const at = STATE.fpr + ((top + i) & 7) * 16;
      state.u8.set(fx.subarray(32 + i * 16, 32 + i * 16 + 10), at);
    }
  }
  #leaveFpu(fx: Uint8Array): void {
    const { state } = this.cpu;
    const view = new DataView(fx.buffer, fx.byteOffset, fx.length);
    const top = state.get32(STATE.fpuTop) & 7;
    view.setUint16(0, state.get32(STATE.fpuControl), true);
    view.setUint16(2, (state.get32(STATE.fpuStatus) & ~0x3800) | (top << 11), true);
    fx[4] = state.get32(STATE.fpuTag);
    view.setUint16(6, state.get32(STATE.fpuOpcode), true);
    view.setBigUint64(8, state.get64(STATE.fpuIp), true);
    view.setBigUint64(16, state.get64(STATE.fpuDp), true);
    for (let i = 0; i < 8; i++) {
      const at = STATE.fpr + ((top + i) & 7) * 16;
      fx.set(state.u8.subarray(at, at + 10), 32 + i * 16);
    }
  }

  /** Until control has left the case's code or an exception was taken. A REP instruction counts each iteration. */
  #execute(start: bigint, c: CpuCase): void {
    const { cpu } = this;
    const { state } = cpu;
    const end = start + BigInt(c.code.length);
    cpu.run(c.lengths?.length ?? 1);
    for (let i = 0; i < 100_000 && state.get32(STATE.cpl) !== 0 && cpu.ip >= start && cpu.ip < end; i++) {
      if (c.lengths === undefined && (cpu.ip !== start || !isRepeated(c.code, c.mode))) break;
      cpu.run(1);
    }
  }

  /** The result's registers are views of `results` from `at`. */
  #one(c: CpuCase, slot: number, results: ArrayBuffer, at: number): CpuResult {
    const { cpu } = this;
    const { state, processor: p } = cpu;
    this.#show(slot);
    this.#window.enter(c.memory);
    this.#enter(c);
    if (cpu.jit !== undefined && crossesPage(c)) {
      cpu.jit.translate([this.#candidate(c, slot)]);
    }
    let outcome: Outcome = { kind: 'ok' };
    const start = cpu.ip;
    this.#execute(start, c);
    let rip = cpu.ip;
    let rflags = p.eflags;
    let rsp = p.gpr(4);
    const selectors = Uint16Array.from([SEG.es, SEG.cs, SEG.ss, SEG.ds, SEG.fs, SEG.gs], (seg) => p.selector(seg));
    if (state.get32(STATE.cpl) === 0) {
      const vector = (Number((rip - SUPERVISOR) & 0xffffn) - AT.handlers) >> 4;
      const withError = [8, 10, 11, 12, 13, 14, 17].includes(vector);
      let sp = Number(rsp - SUPERVISOR);
      const errorCode = withError ? Number(this.#data.getBigUint64(sp, true)) : 0;
      if (withError) sp += 8;
      rip = this.#data.getBigUint64(sp, true);
      rflags = Number(this.#data.getBigUint64(sp + 16, true));
      rsp = this.#data.getBigUint64(sp + 24, true);
      selectors[1] = this.#data.getUint16(sp + 8, true);
      selectors[2] = this.#data.getUint16(sp + 32, true);
      // A branch into unmapped memory has ended; what faulted is the next fetch.
      const fetched = vector === VECTOR.pf && (errorCode & PF_FETCH) !== 0 && rip !== start;
      if (!fetched) {
        outcome =
          vector === VECTOR.pf
            ? { kind: 'fault', vector, errorCode, cr2: state.get64(STATE.cr2) }
            : { kind: 'fault', vector, errorCode };
      }
    }
    const gpr = new BigUint64Array(results, at, 16);
    gpr.set(state.u64.subarray(STATE.gpr / 8, STATE.gpr / 8 + 16));
    gpr[4] = rsp;
    const ymm = new Uint8Array(results, at + 128, 512);
    ymm.set(state.u8.subarray(STATE.vec, STATE.vec + 512));
    const fx = new Uint8Array(results, at + 640, FX_BYTES);
    this.#leaveFpu(fx);
    return {
      outcome,
      rip,
      gpr,
      // The host is single-stepped through these, so its TF says nothing.
      rflags: rflags & ~(policyOf(c.code, c.mode) === 'step' ? 0x1_0100 : 0x1_0000),
      fsBase: p.base(SEG.fs),
      gsBase: p.base(SEG.gs),
      ymm,
      mxcsr: state.get32(STATE.mxcsr),
      fx,
      selectors,
      memory: this.#window.leave(),
    };
  }
}

/** The part of the code that lies in the code pages. */
function codeInPages(c: CpuCase): Uint8Array {
  return c.code.subarray(0, CODE_SIZE - c.codeOffset);
}

/** Where the code lies in RAM. */
function codeAddress(c: CpuCase, slot: number): number {
  return AT.code + slot * CODE_SIZE + c.codeOffset;
}

function crossesPage({ codeOffset, code }: CpuCase): boolean {
  return codeOffset >> 12 !== (codeOffset + code.length) >> 12;
}

const LEGACY_PREFIXES = [0x66, 0x67, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0xf0];
/** INS, OUTS, MOVS, CMPS, STOS, LODS, SCAS: one-byte opcodes. */
const isString = (opcode: number): boolean =>
  (opcode >= 0x6c && opcode <= 0x6f) || (opcode >= 0xa4 && opcode <= 0xa7) || (opcode >= 0xaa && opcode <= 0xaf);

/** Is it a string instruction with a repeat prefix? Others may come back to themselves without being unfinished. */
const isRepeated = (code: Uint8Array, mode: 64 | 32): boolean => {
  let repeated = false;
  for (const b of code) {
    if (b === 0xf2 || b === 0xf3) repeated = true;
    else if (!LEGACY_PREFIXES.includes(b) && (mode === 32 || (b & 0xf0) !== 0x40)) return repeated && isString(b);
  }
  return false;
};

export async function openEmulator(driver: Driver): Promise<Engine> {
  return new Emulator(parseCpu('max'), driver);
}
