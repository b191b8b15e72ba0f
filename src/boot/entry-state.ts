/** The state a CPU has when the guest's first instruction runs: plain data, one function for each boot protocol. */

/** CR0: protection enable, extension type (reads as one on every modern CPU), numeric error, paging. */
const CR0_PE = 0x1;
const CR0_ET = 0x10;
const CR0_NE = 0x20;
const CR0_PG = 0x8000_0000;
const CR4_PAE = 0x20;
const CR4_LA57 = 0x1000;
/** EFER: long mode enable and active. */
const EFER_LME = 0x100;
const EFER_LMA = 0x400;

/** Multiboot specification section 3.2: what EAX holds. */
const MULTIBOOT_BOOTLOADER_MAGIC = 0x2badb002;

/** A segment register with its hidden part. `attributes` are descriptor bits 40-47 and 52-55 (SDM volume 3, figure 3-8): type, S, DPL, P in bits 0-7, AVL, L, D/B, G in bits 12-15. */
export interface SegmentState {
  readonly selector: number;
  readonly base: number;
  /** Last valid offset in bytes, granularity applied. */
  readonly limit: number;
  readonly attributes: number;
}

export interface DescriptorTableState {
  readonly base: number;
  readonly limit: number;
}

export type GeneralRegister = 'rax' | 'rcx' | 'rdx' | 'rbx' | 'rsp' | 'rbp' | 'rsi' | 'rdi';

/** General registers not named are zero; RFLAGS is 2 (interrupts off); FPU and all else as after reset. */
export interface EntryState {
  readonly mode: 'long' | 'protected32';
  readonly rip: number;
  readonly gpr: Readonly<Partial<Record<GeneralRegister, number>>>;
  readonly cr0: number;
  readonly cr3: number;
  readonly cr4: number;
  readonly efer: number;
  readonly gdtr: DescriptorTableState;
  readonly idtr: DescriptorTableState;
  readonly segments: Readonly<Record<'cs' | 'ds' | 'es' | 'fs' | 'gs' | 'ss' | 'tr' | 'ldtr', SegmentState>>;
}

/** Where the structures an entry refers to have been put. */
export interface EntryTables {
  readonly gdt: DescriptorTableState;
  /** The highest page table, for entries with paging, and the levels. */
  readonly pageTable: number;
  readonly levels: 4 | 5;
}

/** Selectors of boot.rst: __BOOT_CS 0x10, __BOOT_DS 0x18. */
export const BOOT_CS = 0x10;
export const BOOT_DS = 0x18;
export const BOOT_TSS = 0x20;

const EMPTY_IDT: DescriptorTableState = { base: 0, limit: 0 };
const FLAT_LIMIT = 0xffff_ffff;

const CODE_64: SegmentState = { selector: BOOT_CS, base: 0, limit: FLAT_LIMIT, attributes: 0xa09b };
const CODE_32: SegmentState = { selector: BOOT_CS, base: 0, limit: FLAT_LIMIT, attributes: 0xc09b };
const DATA: SegmentState = { selector: BOOT_DS, base: 0, limit: FLAT_LIMIT, attributes: 0xc093 };
/** PVH asks for a TSS of base 0 and limit 0x67; a busy 32-bit TSS suits all protocols. */
const TASK: SegmentState = { selector: BOOT_TSS, base: 0, limit: 0x67, attributes: 0x008b };
/** LDTR after reset: SDM volume 3, table 10-1. */
const LOCAL_TABLE: SegmentState = { selector: 0, base: 0, limit: 0xffff, attributes: 0x0082 };

/** boot.rst, "64-bit Boot Protocol": long mode, everything identity-mapped, RSI = boot_params. */
export function linux64Entry(rip: number, bootParams: number, tables: EntryTables): EntryState {
  return {
    mode: 'long',
    rip,
    gpr: { rsi: bootParams },
    cr0: (CR0_PG | CR0_NE | CR0_ET | CR0_PE) >>> 0,
    cr3: tables.pageTable,
    cr4: CR4_PAE | (tables.levels === 5 ? CR4_LA57 : 0),
    efer: EFER_LME | EFER_LMA,
    gdtr: tables.gdt,
    idtr: EMPTY_IDT,
    segments: segments(CODE_64),
  };
}

/** boot.rst, "32-bit Boot Protocol": flat protected mode, paging off, ESI = boot_params, EBP = EDI = EBX = 0. */
export function linux32Entry(rip: number, bootParams: number, tables: EntryTables): EntryState {
  return protected32(rip, { rsi: bootParams }, tables);
}

/** Xen docs/misc/pvh.pandoc: as the 32-bit protocol, with EBX = hvm_start_info. */
export function pvhEntry(rip: number, startInfo: number, tables: EntryTables): EntryState {
  return protected32(rip, { rbx: startInfo }, tables);
}

/** Multiboot specification section 3.2: EAX = magic, EBX = information structure. */
export function multibootEntry(rip: number, information: number, tables: EntryTables): EntryState {
  return protected32(rip, { rax: MULTIBOOT_BOOTLOADER_MAGIC, rbx: information }, tables);
}

function protected32(rip: number, gpr: EntryState['gpr'], tables: EntryTables): EntryState {
  return {
    mode: 'protected32',
    rip,
    gpr,
    cr0: CR0_ET | CR0_PE,
    cr3: 0,
    cr4: 0,
    efer: 0,
    gdtr: tables.gdt,
    idtr: EMPTY_IDT,
    segments: segments(CODE_32),
  };
}

function segments(cs: SegmentState): EntryState['segments'] {
  return { cs, ds: DATA, es: DATA, fs: DATA, gs: DATA, ss: DATA, tr: TASK, ldtr: LOCAL_TABLE };
}
