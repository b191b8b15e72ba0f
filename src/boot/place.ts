/**
 * Puts a loaded kernel, its initrd, command line and firmware tables into guest memory, and says in which state the CPU
 * starts. Conventional memory is used where the kernel leaves room there, else the top of low memory.
 */

import { BIOS_DATA_AREA, EBDA_BASE, EBDA_SIZE, LOW_RAM_LIMIT } from '../layout.ts';
import type { BootProtocol, LoadedKernel, NamedBytes } from '../loader/load.ts';
import { hex, LoadError } from '../loader/load-error.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { AcpiOptions } from './acpi/tables.ts';
import { DEFAULT_CMDLINE_SIZE, encodeCmdline } from './cmdline.ts';
import { buildE820, type E820Entry } from './e820.ts';
import {
  type EntryState,
  type EntryTables,
  linux32Entry,
  linux64Entry,
  multibootEntry,
  pvhEntry,
} from './entry-state.ts';
import { firmwareTablesSize, RSDP_ADDRESS, writeFirmware } from './firmware.ts';
import { GDT_SIZE, gdtRegister, writeGdt } from './gdt.ts';
import { buildMultibootInfo } from './multiboot-info.ts';
import { pageTablesSize, writePageTables } from './page-tables.ts';
import { buildPvhStartInfo } from './pvh-start-info.ts';
import { type Region, RegionMap } from './regions.ts';
import { buildZeroPage, ZERO_PAGE_SIZE } from './zero-page.ts';

export interface BootOptions {
  /** The kernel command line, without the kernel's name. */
  readonly cmdline: string;
  /** Already unpacked if that was wanted (loader/initrd.ts); a Multiboot kernel gets it as its first module. */
  readonly initrd?: NamedBytes;
  /** Further Multiboot or PVH modules; the name is passed as their command line. */
  readonly modules?: readonly NamedBytes[];
  readonly acpi: AcpiOptions;
  /** The processor has 5-level paging. */
  readonly la57?: boolean;
}

export interface PlacedKernel {
  readonly entry: EntryState;
  readonly e820: readonly E820Entry[];
  /** What lies where, for traces. */
  readonly regions: readonly Region[];
}

/** A module or initrd in guest memory. */
export interface PlacedModule {
  readonly name: string;
  readonly address: number;
  readonly size: number;
}

const PAGE = 0x1000;
const MIB = 0x10_0000;
const BDA_SIZE = 0x100;
/** boot.rst: what initrd_addr_max is before protocol 2.03. */
const OLD_INITRD_ADDR_MAX = 0x37ff_ffff;
/** Linux's COMMAND_LINE_SIZE on x86, NUL not counted, for kernels that do not say. */
const LINUX_CMDLINE_SIZE = 2047;
/** boot.rst: xloadflags bit 6, the kernel is built for 5-level paging. */
const XLF_5LEVEL_ENABLED = 0x40;
/** The BIOS area, scanned by guests that ignore the EBDA. */
const BIOS_AREA_RSDP = 0xf_0000;

/** Places everything in `memory`. Throws LoadError when it does not fit. */
export function placeKernel(kernel: LoadedKernel, memory: GuestMemory, options: BootOptions): PlacedKernel {
  return new Placement(kernel, memory, options).run();
}

class Placement {
  readonly #kernel: LoadedKernel;
  readonly #memory: GuestMemory;
  readonly #options: BootOptions;
  readonly #regions = new RegionMap();
  #e820: readonly E820Entry[] = [];

  constructor(kernel: LoadedKernel, memory: GuestMemory, options: BootOptions) {
    this.#kernel = kernel;
    this.#memory = memory;
    this.#options = options;
  }

  run(): PlacedKernel {
    this.#takeKernel();
    const tables = this.#takeFirmware();
    this.#writeSegments();
    const rsdp = writeFirmware(this.#memory, tables, this.#options.acpi);
    if (this.#kernel.protocol !== 'pvh') this.#copyRsdp(rsdp);
    const entry = this.#entry(this.#kernel.protocol);
    return { entry, e820: this.#e820, regions: this.#regions.regions };
  }

  #takeKernel(): void {
    const { file, segments, workspace } = this.#kernel;
    this.#regions.take('BIOS data area', 0, BIOS_DATA_AREA + BDA_SIZE);
    this.#regions.take('extended BIOS data area', EBDA_BASE, EBDA_BASE + EBDA_SIZE);
    const pieces = segments.map(({ address, memorySize }) => ({ start: address, end: address + memorySize }));
    for (const { start, end } of workspace === undefined ? pieces : [workspace]) {
      if (!this.#memory.contains(start, end - start)) {
        throw new LoadError({
          file,
          field: workspace === undefined ? 'PT_LOAD' : 'init_size',
          problem: `the kernel needs [${hex(start)}, ${hex(end)}), guest RAM is ${this.#memory.size / MIB} MiB`,
          remedy:
            end <= LOW_RAM_LIMIT
              ? `use --memory ${Math.ceil(end / MIB / 16) * 16}M or more`
              : `link the kernel to addresses below ${hex(LOW_RAM_LIMIT)}, where RAM can be`,
        });
      }
      const taken = this.#regions.take('kernel', start, end);
      if (taken !== undefined) {
        throw new LoadError({
          file,
          field: 'load address',
          problem: `[${hex(start)}, ${hex(end)}) overlaps the ${taken.name} at ${hex(taken.start)}`,
          remedy: 'link the kernel to other physical addresses',
        });
      }
    }
  }

  #takeFirmware(): number {
    const size = firmwareTablesSize(this.#options.acpi);
    const tables = this.#allocateHigh('firmware tables', size, this.#memory.lowSize);
    this.#e820 = buildE820(this.#memory.lowSize, this.#memory.highSize, { start: tables, end: tables + size });
    return tables;
  }

  #writeSegments(): void {
    for (const { address, data, memorySize } of this.#kernel.segments) {
      this.#memory.copyIn(address, data);
      this.#memory.fill(address + data.length, memorySize - data.length);
    }
  }

  #copyRsdp(rsdp: Uint8Array): void {
    const taken = this.#regions.take('ACPI root pointer', BIOS_AREA_RSDP, BIOS_AREA_RSDP + rsdp.length);
    if (taken === undefined) this.#memory.copyIn(BIOS_AREA_RSDP, rsdp);
  }

  #entry(protocol: BootProtocol): EntryState {
    switch (protocol) {
      case 'linux64':
      case 'linux32':
        return this.#linuxEntry(protocol);
      case 'pvh':
        return this.#pvhEntry();
      case 'multiboot':
        return this.#multibootEntry();
    }
  }

  #linuxEntry(protocol: 'linux64' | 'linux32'): EntryState {
    const { file, setup, entry, segments } = this.#kernel;
    if (this.#options.modules?.length) {
      throw new LoadError({
        file,
        field: 'modules',
        problem: 'a kernel that is entered by the Linux boot protocol takes none',
        remedy: 'pass an --initrd, or name a Multiboot or PVH kernel',
      });
    }
    const header = setup?.header;
    const limit = header === undefined ? LINUX_CMDLINE_SIZE : (header.cmdlineSize ?? DEFAULT_CMDLINE_SIZE);
    const cmdlineAddress = this.#store('command line', encodeCmdline(this.#options.cmdline, limit, file));
    const initrdTop = header === undefined ? this.#memory.lowSize : (header.initrdAddrMax ?? OLD_INITRD_ADDR_MAX) + 1;
    const initrd = this.#options.initrd === undefined ? undefined : this.#placeModule(this.#options.initrd, initrdTop);
    const zeroPage = buildZeroPage({
      headerBytes: setup?.headerBytes,
      cmdlineAddress,
      initrd,
      e820: this.#e820,
      rsdpAddress: RSDP_ADDRESS,
      loadAddress: segments[0]!.address,
    });
    const bootParams = this.#allocateLow('boot_params', ZERO_PAGE_SIZE, PAGE);
    this.#memory.copyIn(bootParams, zeroPage);
    const state = protocol === 'linux64' ? linux64Entry : linux32Entry;
    return this.#finish((tables) => state(entry, bootParams, tables));
  }

  #pvhEntry(): EntryState {
    const { file, entry } = this.#kernel;
    const cmdlineAddress = this.#store('command line', encodeCmdline(this.#options.cmdline, LINUX_CMDLINE_SIZE, file));
    const modules = this.#placeModules();
    const input = { cmdlineAddress, modules, rsdpAddress: RSDP_ADDRESS, e820: this.#e820 };
    const address = this.#allocateLow('PVH start info', buildPvhStartInfo(0, input).length, 8);
    this.#memory.copyIn(address, buildPvhStartInfo(address, input));
    return this.#finish((tables) => pvhEntry(entry, address, tables));
  }

  #multibootEntry(): EntryState {
    const { file, entry } = this.#kernel;
    const cmdline = encodeCmdline(this.#options.cmdline, LINUX_CMDLINE_SIZE, file);
    const modules = this.#placeModules();
    const input = { file, cmdline, modules, e820: this.#e820 };
    const size = buildMultibootInfo(0, input).length;
    const address = this.#allocateLow('Multiboot information', size, 16);
    this.#memory.copyIn(address, buildMultibootInfo(address, input));
    return this.#finish((tables) => multibootEntry(entry, address, tables));
  }

  /** Page tables and GDT, which the entry state refers to. */
  #finish(makeState: (tables: EntryTables) => EntryState): EntryState {
    const gdt = this.#allocateLow('GDT', GDT_SIZE, 16);
    const paging = this.#kernel.protocol === 'linux64';
    const levels = this.#fiveLevels() ? 5 : 4;
    const pageTable = paging ? this.#allocateLow('page tables', pageTablesSize(this.#memory, levels), PAGE) : 0;
    const state = makeState({ gdt: gdtRegister(gdt), pageTable, levels });
    writeGdt(this.#memory, gdt, state.segments);
    if (paging) writePageTables(this.#memory, pageTable, levels);
    return state;
  }

  /**
   * A kernel that we have unpacked gets the paging that its own decompressor would have switched to (arch/x86/boot/compressed/
   * pgtable_64.c): five levels if it was built for them, the processor has them and the command line does not refuse them.
   */
  #fiveLevels(): boolean {
    const { setup, unpacked } = this.#kernel;
    const built = ((setup?.header.xloadflags ?? 0) & XLF_5LEVEL_ENABLED) !== 0;
    const refused = this.#options.cmdline.split(/\s+/).includes('no5lvl');
    return unpacked !== undefined && built && this.#options.la57 === true && !refused;
  }

  #placeModules(): PlacedModule[] {
    const { initrd, modules = [] } = this.#options;
    return [...(initrd === undefined ? [] : [initrd]), ...modules].map((module) =>
      this.#placeModule(module, this.#memory.lowSize),
    );
  }

  /** As high as `top` and RAM allow, on a page boundary, clear of everything else. */
  #placeModule({ name, bytes }: NamedBytes, top: number): PlacedModule {
    const room = Math.min(top, this.#memory.lowSize);
    const address = this.#regions.allocate(name, bytes.length, { from: MIB, to: room, align: PAGE, direction: 'down' });
    if (address === undefined) {
      throw new LoadError({
        file: name,
        field: 'initrd',
        problem: `${bytes.length} bytes do not fit between the kernel and ${hex(room)}`,
        remedy:
          room < this.#memory.lowSize
            ? 'the kernel (initrd_addr_max) takes no initrd above that: use a smaller one'
            : 'give the guest more --memory or use a smaller initrd',
      });
    }
    this.#memory.copyIn(address, bytes);
    return { name, address, size: bytes.length };
  }

  #store(name: string, bytes: Uint8Array): number {
    const address = this.#allocateLow(name, bytes.length, 16);
    this.#memory.copyIn(address, bytes);
    return address;
  }

  /** From 4 KiB up to the EBDA, else at the top of low memory; never in the BIOS area. */
  #allocateLow(name: string, size: number, align: number): number {
    const low = this.#regions.allocate(name, size, { from: PAGE, to: EBDA_BASE, align, direction: 'up' });
    return low ?? this.#allocateHigh(name, size, this.#memory.lowSize);
  }

  #allocateHigh(name: string, size: number, top: number): number {
    const address = this.#regions.allocate(name, size, { from: MIB, to: top, align: PAGE, direction: 'down' });
    if (address !== undefined) return address;
    throw new LoadError({
      file: this.#kernel.file,
      field: 'memory',
      problem: `the kernel leaves no ${size} bytes for the ${name} in ${this.#memory.size / MIB} MiB`,
      remedy: 'give the guest more --memory',
    });
  }
}
