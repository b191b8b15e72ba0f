import { type LinearView, signedAddress } from '../cpu/linear-view.ts';
import { STATE } from '../cpu/state.ts';
import type { StateMemory } from '../cpu/state-memory.ts';
import { CallSites } from './call-site.ts';
import { type CodeLocation, type KernelMap, plainName } from './kernel-map.ts';
import { StackDepths } from './stack-depth.ts';

const WORD = 8;
const MAX_FRAMES = 96;
/** Linux gives 64-bit kernel and interrupt stacks this size and alignment. */
const KERNEL_STACK = 0x4000;
/** How far is searched for a return address when a function's depth is not known: of a call to it, of any other call. */
const SEARCH_BYTES = 0x1000;
const SEARCH_INDIRECT_BYTES = 0x300;
/** Of struct pt_regs of 64-bit Linux. */
const PT_REGS = { ip: 0x80, cs: 0x88, sp: 0x98, size: 0xa8 } as const;
/** Ring 0; ring 0 as UKL marks its application; ring 3, 64-bit and compatibility. */
const KERNEL_CS = [0x10, 0xc3];
const USER_CS = [0x33, 0x23];
/** Assembly that calls C with a pt_regs on top of the stack. */
const REGISTERS_ON_STACK = /^(asm_|entry_(SYSCALL|SYSENTER|INT80)|ukl_entry_SYSCALL_64)/;
/** Assembly that only system calls from ring 3 execute. */
const FROM_USER = /^(entry_SYSCALL_64|syscall_return_via_sysret)/;
const FROM_APPLICATION = /^ukl_(entry_SYSCALL_64|bypass)$/;
/** The way into a UKL kernel that leaves most of pt_regs empty: only the application's stack pointer counts. */
const BYPASS = 'ukl_bypass';
const BOTTOMS =
  /^(ret_from_fork(_asm)?|secondary_startup_64(_no_verify)?|x86_64_start_(kernel|reservations)|start_kernel|ukl__start)$/;

const RSP = STATE.gpr + 4 * 8;

/** Where a computation goes on. */
interface Point {
  readonly ip: number;
  readonly sp: number;
  /** `ip` follows a call: the function is that of the byte before it. */
  readonly returned: boolean;
}

/** Finds the callers of the code in hand in a kernel without frame pointers: good guesses, not proof. */
export class StackWalker {
  readonly #state: StateMemory;
  readonly #view: LinearView;
  readonly #map: KernelMap;
  readonly #calls: CallSites;
  readonly #depths: StackDepths;

  constructor(state: StateMemory, view: LinearView, map: KernelMap) {
    this.#state = state;
    this.#view = view;
    this.#map = map;
    this.#calls = new CallSites(view);
    this.#depths = new StackDepths(view, map);
  }

  /** Code locations from the present one outwards, through interrupts and system calls; of ring 3 one only. */
  walk(): CodeLocation[] {
    const ip = signedAddress(this.#state, STATE.ip);
    const ring3 = this.#state.get32(STATE.cpl) === 3;
    const locations = [this.#map.locate(ip, ring3)];
    if (ring3 || this.#state.get32(STATE.codeMode) !== 0) return locations;
    if (FROM_USER.test(locations[0]!.name)) return [...locations, this.#map.locate(0, true)];
    const sp = signedAddress(this.#state, RSP);
    let point: Point | undefined = { ip, sp, returned: false };
    if (FROM_APPLICATION.test(locations[0]!.name) && sp < 0) {
      // a system call's pt_regs is the first thing on the kernel's stack
      const top = (Math.floor(sp / KERNEL_STACK) + 1) * KERNEL_STACK;
      point = this.#throughEntry({ ip, sp: top - PT_REGS.size, returned: false }, locations[0]!, locations);
    }
    while (point !== undefined && locations.length < MAX_FRAMES) {
      const caller = this.#caller(point);
      if (caller === undefined) break;
      const location = this.#location(caller);
      locations.push(location);
      if (BOTTOMS.test(plainName(location.name))) break;
      point = location.part === 'entry' ? this.#throughEntry(caller, location, locations) : caller;
    }
    return locations;
  }

  #location({ ip, returned }: Point): CodeLocation {
    return this.#map.locate(returned ? ip - 1 : ip, false);
  }

  /** The point that the function in hand returns to. */
  #caller(point: Point): Point | undefined {
    const location = this.#location(point);
    const sp = this.#beforeStackSwitch(point.sp);
    const depth = this.#depths.at(location.start, point.ip);
    if (depth !== undefined) {
      const ip = this.#view.quad(sp + depth);
      if (ip !== undefined && this.#calls.before(ip) !== undefined)
        return { ip, sp: sp + depth + WORD, returned: true };
    }
    return this.#search(location, sp);
  }

  /** At the top of an interrupt stack lies the stack pointer from before it. */
  #beforeStackSwitch(sp: number): number {
    if ((sp + WORD) % KERNEL_STACK !== 0) return sp;
    const saved = this.#view.quad(sp);
    return saved !== undefined && saved < 0 && saved % WORD === 0 && Math.abs(saved - sp) > WORD ? saved : sp;
  }

  /** The nearest return address of a call to the function, or else the nearest of a call to who knows where. */
  #search({ start }: CodeLocation, sp: number): Point | undefined {
    const toEnd = KERNEL_STACK - (((sp % KERNEL_STACK) + KERNEL_STACK) % KERNEL_STACK);
    const stack = this.#view.read(sp, Math.min(SEARCH_BYTES, toEnd));
    const words = new DataView(stack.buffer, stack.byteOffset, stack.byteLength);
    let indirect: Point | undefined;
    for (let at = 0; at + WORD <= stack.length; at += WORD) {
      // a return address lies in the half of the address space where the function is
      const high = words.getInt32(at + 4, true);
      if (high < 0 !== start < 0 || high === 0) continue;
      const ip = high * 0x1_0000_0000 + words.getUint32(at, true);
      const call = this.#calls.before(ip);
      if (call === undefined) continue;
      const point = { ip, sp: sp + at + WORD, returned: true };
      if (call.target !== undefined) {
        if (this.#map.locate(call.target, false).start === start) return point;
      } else if (at < SEARCH_INDIRECT_BYTES) indirect ??= point;
    }
    return indirect;
  }

  /** From entry code, whose caller was interrupted or made a system call, to that; `locations` gets what is not walked further. */
  #throughEntry(point: Point, { name }: CodeLocation, locations: CodeLocation[]): Point | undefined {
    const quad = (offset: number): number | undefined => this.#view.quad(point.sp + offset);
    if (name === BYPASS) {
      const sp = quad(PT_REGS.sp);
      const ip = sp === undefined ? undefined : this.#view.quad(sp);
      if (sp === undefined || ip === undefined || this.#calls.before(ip) === undefined) return undefined;
      const caller = { ip, sp: sp + WORD, returned: true };
      locations.push(this.#location(caller));
      return caller;
    }
    if (!REGISTERS_ON_STACK.test(name)) return point;
    const [ip, cs, sp] = [quad(PT_REGS.ip), quad(PT_REGS.cs), quad(PT_REGS.sp)];
    if (ip === undefined || cs === undefined || sp === undefined) return undefined;
    const ring3 = USER_CS.includes(cs);
    if (!ring3 && !KERNEL_CS.includes(cs)) return undefined;
    const interrupted = { ip, sp, returned: !ring3 && this.#calls.before(ip) !== undefined };
    locations.push(this.#map.locate(interrupted.returned ? ip - 1 : ip, ring3));
    return ring3 ? undefined : interrupted;
  }
}
