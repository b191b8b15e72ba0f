import { unsignedAddress } from '../cpu/linear-view.ts';
import type { GuestSymbol, SymbolTable } from '../loader/symbols.ts';

/**
 * What a piece of code belongs to. `application`: linked into a UKL kernel; `entry`: what stands between a caller and the
 * kernel's own work, at both ends of a system call, exception or interrupt; `kernel`: the rest of ring 0; `user`: ring 3.
 */
export type CodePart = 'user' | 'application' | 'entry' | 'kernel';

export interface CodeLocation {
  readonly part: CodePart;
  /** Function, or the bare address where no symbol holds it. */
  readonly name: string;
  /** Start of the function as a signed linear address; the address itself when there is none. */
  readonly start: number;
}

/** Generic entry code outside .entry.text (kernel/entry/common.c, arch/x86/entry/common.c of Linux), compiler suffixes removed. */
const ENTRY_FUNCTIONS = new Set(
  (
    'do_syscall_64 do_syscall_x64 x64_sys_call x32_sys_call ia32_sys_call do_int80_syscall_32 do_fast_syscall_32 do_SYSENTER_32 ' +
    'syscall_enter_from_user_mode syscall_enter_from_user_mode_prepare syscall_enter_from_user_mode_work syscall_trace_enter ' +
    'syscall_exit_to_user_mode syscall_exit_to_user_mode_prepare syscall_exit_to_user_mode_work syscall_exit_work ' +
    'enter_from_user_mode exit_to_user_mode exit_to_user_mode_prepare exit_to_user_mode_loop ' +
    'irqentry_enter irqentry_exit irqentry_enter_from_user_mode irqentry_exit_to_user_mode irqentry_nmi_enter irqentry_nmi_exit ' +
    'irqentry_exit_cond_resched sync_regs fixup_bad_iret amd_clear_divider error_entry error_return'
  ).split(' '),
);
/** The application's symbols carry this prefix, and it begins and is entered at these (docs of Unikernel Linux). */
const APPLICATION_PREFIX = 'ukl_';
const APPLICATION_STARTS = ['ukl__start', 'ukl_main'];

/** What linker scripts put at the ends of sections: not the name of what begins there. */
const BOUNDARY = /^_text$|^_+(\w+_)?(s|e|start|end|begin)(_?\w*text\w*)?$/;

interface Range {
  readonly from: number;
  readonly to: number;
}

/** One function or label: [start, end), end being where the next one starts when no size is known. */
interface Entry {
  readonly name: string;
  readonly start: number;
  readonly size: number;
}

/** Tells by a kernel's symbols what code an address belongs to. Addresses are signed numbers, as LinearView takes them. */
export class KernelMap {
  /** In ascending order, one for each address. */
  readonly #entries: readonly Entry[];
  readonly #entryText: Range | undefined;
  readonly #application: readonly Range[];
  readonly #known = new Map<number, CodeLocation>();

  constructor(symbols: SymbolTable) {
    const all = symbols.symbols.map(entryOf).sort((a, b) => a.start - b.start);
    this.#entries = nameableEntries(all);
    const [from, to] = [symbols.find('__entry_text_start'), symbols.find('__entry_text_end')];
    this.#entryText = from && to && { from: entryOf(from).start, to: entryOf(to).start };
    this.#application = APPLICATION_STARTS.flatMap((name) => applicationRun(all, name));
  }

  /** `ring3` when CPL is 3. */
  locate(linear: number, ring3: boolean): CodeLocation {
    if (ring3) return { part: 'user', name: hexadecimal(linear), start: linear };
    let location = this.#known.get(linear);
    if (location === undefined) {
      location = this.#look(linear);
      this.#known.set(linear, location);
    }
    return location;
  }

  /** End of the function at or before `linear`: where the next one starts; infinite after the last. */
  endOf(linear: number): number {
    return this.#entries[this.#indexOf(linear) + 1]?.start ?? Number.POSITIVE_INFINITY;
  }

  /** Of the last entry at or below `linear`, -1 when there is none. */
  #indexOf(linear: number): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#entries[middle]!.start <= linear) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #look(linear: number): CodeLocation {
    const entry = this.#entries[this.#indexOf(linear)];
    const isInside = entry !== undefined && (entry.size === 0 || linear < entry.start + entry.size);
    // kernels live in the upper half, and the code before them does not belong to their last symbol below
    if (!isInside || entry.start < 0 !== linear < 0) {
      return { part: 'kernel', name: hexadecimal(linear), start: linear };
    }
    return { part: this.#part(linear, entry.name), name: entry.name, start: entry.start };
  }

  #part(linear: number, name: string): CodePart {
    if (this.#application.some((range) => inside(linear, range))) return 'application';
    if (this.#entryText !== undefined && inside(linear, this.#entryText)) return 'entry';
    return ENTRY_FUNCTIONS.has(plainName(name)) ? 'entry' : 'kernel';
  }
}

/** A function's name without what the compiler appends to its clones. */
export function plainName(name: string): string {
  return name.replace(/\.(constprop|isra|part|cold|localalias)(\.\d+)*(?=\.|$)/g, '');
}

function entryOf({ name, address, size }: GuestSymbol): Entry {
  return { name, start: Number(BigInt.asIntN(64, address)), size };
}

/** Of the symbols at one address the first that is no section boundary, with the largest size that is known. */
function nameableEntries(all: readonly Entry[]): Entry[] {
  const entries: Entry[] = [];
  for (const entry of all) {
    const last = entries.at(-1);
    if (last === undefined || last.start !== entry.start) entries.push(entry);
    else {
      const { name } = BOUNDARY.test(last.name) ? entry : last;
      entries[entries.length - 1] = { name, start: entry.start, size: Math.max(last.size, entry.size) };
    }
  }
  return entries;
}

function hexadecimal(linear: number): string {
  return `0x${unsignedAddress(linear).toString(16)}`;
}

const inside = (linear: number, { from, to }: Range): boolean => linear >= from && linear < to;

/** The run of neighbouring symbols with the application's prefix around `name`: the archive lies in one piece. */
function applicationRun(all: readonly Entry[], name: string): Range[] {
  const at = all.findIndex((entry) => entry.name === name);
  if (at < 0) return [];
  const isOurs = (index: number): boolean => all[index]?.name.startsWith(APPLICATION_PREFIX) === true;
  let first = at;
  while (isOurs(first - 1)) first--;
  let last = at;
  while (isOurs(last + 1)) last++;
  const end = all[last]!;
  return [{ from: all[first]!.start, to: all[last + 1]?.start ?? end.start + end.size }];
}
