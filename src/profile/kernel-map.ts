import { unsignedAddress } from '../cpu/linear-view.ts';
import { type GuestSymbol, SymbolTable } from '../loader/symbols.ts';

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
  readonly from: bigint;
  readonly to: bigint;
}

/** Tells by a kernel's symbols what code an address belongs to. */
export class KernelMap {
  readonly #symbols: SymbolTable;
  readonly #entry: Range | undefined;
  readonly #application: readonly Range[];
  readonly #known = new Map<number, CodeLocation>();

  constructor(symbols: SymbolTable) {
    this.#symbols = new SymbolTable(withoutBoundaries(symbols.symbols));
    const from = symbols.find('__entry_text_start')?.address;
    const to = symbols.find('__entry_text_end')?.address;
    this.#entry = from !== undefined && to !== undefined ? { from, to } : undefined;
    this.#application = APPLICATION_STARTS.flatMap((name) => applicationRun(symbols.symbols, name));
  }

  /** `linear` as a signed number; `ring3` when CPL is 3. */
  locate(linear: number, ring3: boolean): CodeLocation {
    if (ring3) return { part: 'user', name: hexadecimal(linear), start: linear };
    let location = this.#known.get(linear);
    if (location === undefined) {
      location = this.#look(linear);
      this.#known.set(linear, location);
    }
    return location;
  }

  #look(linear: number): CodeLocation {
    const address = unsignedAddress(linear);
    const found = this.#symbols.locate(address);
    if (found === undefined) return { part: 'kernel', name: hexadecimal(linear), start: linear };
    const { symbol, offset } = found;
    return { part: this.#part(address, symbol.name), name: symbol.name, start: linear - offset };
  }

  #part(address: bigint, name: string): CodePart {
    if (this.#application.some((range) => inside(address, range))) return 'application';
    if (this.#entry !== undefined && inside(address, this.#entry)) return 'entry';
    return ENTRY_FUNCTIONS.has(plainName(name)) ? 'entry' : 'kernel';
  }
}

/** A function's name without what the compiler appends to its clones. */
export function plainName(name: string): string {
  return name.replace(/\.(constprop|isra|part|cold|localalias)(\.\d+)*(?=\.|$)/g, '');
}

/** Symbols in ascending order without section boundaries where something else has the same address. */
function withoutBoundaries(symbols: readonly GuestSymbol[]): GuestSymbol[] {
  return symbols.filter(({ name, address }, index) => {
    if (!BOUNDARY.test(name)) return true;
    const isBetter = (other: GuestSymbol | undefined): boolean =>
      other !== undefined && other.address === address && !BOUNDARY.test(other.name);
    let first = index;
    while (symbols[first - 1]?.address === address) first--;
    for (let at = first; symbols[at]?.address === address; at++) if (isBetter(symbols[at])) return false;
    return true;
  });
}

function hexadecimal(linear: number): string {
  return `0x${unsignedAddress(linear).toString(16)}`;
}

const inside = (address: bigint, { from, to }: Range): boolean => address >= from && address < to;

/** The run of neighbouring symbols with the application's prefix around `name`: the archive lies in one piece. */
function applicationRun(symbols: readonly GuestSymbol[], name: string): Range[] {
  const at = symbols.findIndex((symbol) => symbol.name === name);
  if (at < 0) return [];
  const isOurs = (index: number): boolean => symbols[index]?.name.startsWith(APPLICATION_PREFIX) === true;
  let first = at;
  while (isOurs(first - 1)) first--;
  let last = at;
  while (isOurs(last + 1)) last++;
  const from = symbols[first]!.address;
  const end = symbols[last]!;
  return [{ from, to: symbols[last + 1]?.address ?? end.address + BigInt(end.size) }];
}
