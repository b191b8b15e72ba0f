import { placeKernel } from '../src/boot/place.ts';
import { parseCpu } from '../src/cpu/models.ts';
import { type AlarmClock, HostClock, InstructionClock } from '../src/devices/clock.ts';
import { loadKernel } from '../src/loader/load.ts';
import { Board } from '../src/machine.ts';
import { GuestMemory } from '../src/memory/guest-memory.ts';

const RAM = 64 << 20;
const BASE = 0x10_0000;

/**
 * 32-bit code for the PVH entry: all of 4 GiB mapped one to one in pages of 4 MiB but for 0x40000000, where an access faults; the
 * handler skips the instruction, which must have 5 bytes. What follows it here is an endless loop.
 *
 *     mov esp, 0x180000        ; page directory at 0x200000
 *     mov edi, 0x200000; mov ecx, 1024; mov eax, 0x83
 *  1: mov [edi], eax; add edi, 4; add eax, 0x400000; dec ecx; jnz 1b
 *     mov dword [0x200400], 0
 *     mov eax, 0x200000; mov cr3, eax; mov eax, cr4; or eax, 0x10; mov cr4, eax
 *     mov eax, cr0; or eax, 0x80000000; mov cr0, eax
 *     ; gate 14 at 0x201070, lidt, jmp over the handler
 *     handler: add dword [esp+4], 5; add esp, 4; iretd
 */
const PROLOGUE =
  'bc00001800bf00002000b900040000b883000000890783c70405000040004975f3c7050004200000000000b8000020000f22d80f20e083' +
  'c8100f22e00f20c00d000000800f22c0b88000100089c325ffff00008cc9c1e11009c8a37010200081e30000ffff81cb008e0000891d74' +
  '1020000f011d7a001000eb0fff0700102000834424040583c404cf';

export interface GuestLoop {
  readonly name: string;
  readonly code: string;
  /** Instructions retired for one operation. */
  readonly instructions: number;
  readonly clock: 'host' | 'instructions';
}
export const LOOPS: readonly GuestLoop[] = [
  {
    name: 'TLB miss: a load and its page walk',
    // 2: mov edi, 0x400000; mov ecx, 4096; 1: mov eax, [edi]; add edi, 4096; dec ecx; jnz 1b; jmp 2b
    code: 'bf00004000b9001000008b0781c7001000004975f5ebe9',
    instructions: (4 * 4096 + 3) / 4096,
    clock: 'instructions',
  },
  // 1: mov eax, [0x40000000]; jmp 1b
  { name: 'page fault and IRET, 32-bit guest', code: 'a100000040ebf9', instructions: 4, clock: 'instructions' },
  // 1: in al, 0x80; jmp 1b
  { name: 'port read', code: 'e480ebfc', instructions: 2, clock: 'instructions' },
  // 1: mov eax, [0xfee00020]; nop; jmp 1b
  { name: 'MMIO read (local APIC)', code: 'a12000e0fe90ebf8', instructions: 3, clock: 'instructions' },
  // 1: rdtsc; jmp 1b
  { name: 'RDTSC on the host clock', code: '0f31ebfc', instructions: 2, clock: 'host' },
];

/** A board that runs one of them; call it with a number of operations. */
export async function startLoop(loop: GuestLoop): Promise<(operations: number) => void> {
  const memory = GuestMemory.allocate(RAM);
  const kernel = await loadKernel(
    { name: loop.name, bytes: pvhElf(PROLOGUE + loop.code) },
    { unpack: 'host', maxOutput: RAM },
  );
  const built: { board?: Board } = {};
  const clock: AlarmClock =
    loop.clock === 'host'
      ? new HostClock(() => performance.now() * 1e6, Date.now())
      : new InstructionClock(() => built.board?.cpu.retired ?? 0);
  const board = new Board({
    memory,
    clock,
    features: parseCpu('x86-64-v2'),
    virtio: [],
    random: () => 0n,
    onSerial: () => {},
    onDebugConsole: () => {},
    onPowerOff: () => {},
    onReset: () => {},
    debugExit: undefined,
  });
  built.board = board;
  board.enter(placeKernel(kernel, memory, { cmdline: '', acpi: { cpus: 1, hpet: false } }).entry);
  return (operations) => {
    const exit = board.cpu.run(Math.round(operations * loop.instructions));
    if (exit.kind !== 'budget') throw new Error(`${loop.name}: the guest ended with ${exit.kind}`);
  };
}

/** ELF32 with one loaded segment and the note that names its start as PVH entry (Xen's elfnote 18). */
function pvhElf(hex: string): Uint8Array {
  const code = Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  const [headers, note] = [52 + 2 * 32, 20];
  const file = new Uint8Array(headers + note + code.length);
  const view = new DataView(file.buffer);
  const put = (at: number, ...words: number[]): void => {
    for (const [n, word] of words.entries()) view.setUint32(at + 4 * n, word, true);
  };
  file.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 3, true);
  put(20, 1, BASE, 52);
  view.setUint16(40, 52, true);
  view.setUint16(42, 32, true);
  view.setUint16(44, 2, true);
  put(52, 1, headers + note, BASE, BASE, code.length, code.length, 7, 4);
  put(84, 4, headers, 0, 0, note, note, 4, 4);
  put(headers, 4, 4, 18, 0x6e_6558, BASE);
  file.set(code, headers + note);
  return file;
}
