import { placeKernel } from '../boot/place.ts';
import type { Clock } from '../devices/clock.ts';
import { VirtioBlk } from '../devices/virtio/blk.ts';
import type { VirtioDevice } from '../devices/virtio/device.ts';
import { VirtioNet } from '../devices/virtio/net.ts';
import { VirtioRng } from '../devices/virtio/rng.ts';
import type { LoadedKernel, NamedBytes } from '../loader/load.ts';
import { Board, type Plugged } from '../machine.ts';
import { GuestMemory } from '../memory/guest-memory.ts';
import { OptionError } from './errors.ts';
import type { Host } from './host.ts';
import type { CheckedOptions, MachineOptions } from './options.ts';
import { HostPacing, InstructionPacing, type Pacing } from './pacing.ts';
import { hostRandom, type RandomSource, seededRandom } from './random.ts';

/** What is the same at every power-on. */
export interface Blueprint {
  readonly options: MachineOptions;
  readonly checked: CheckedOptions;
  readonly host: Host;
}

/** What is put into memory. */
export interface BootFiles {
  readonly kernel: LoadedKernel;
  /** As the guest gets it: unpacked if the host does that. */
  readonly initrd: NamedBytes | undefined;
  readonly modules: readonly NamedBytes[];
}

/** What the board tells the machine. */
export interface BoardEvents {
  onSerial(bytes: Uint8Array): void;
  onPowerOff(): void;
  onReset(): void;
  onDebugExit(code: number): void;
}

export interface PoweredBoard {
  readonly board: Board;
  /** Of its processor. */
  readonly features: ReadonlySet<string>;
  readonly pacing: Pacing;
}

/** Random streams of one seed. */
const CPU_STREAM = 1;
const RNG_STREAM = 2;

/** Fresh memory, clock and devices. */
export function powerOn(blueprint: Blueprint, events: BoardEvents): PoweredBoard {
  const { options, checked, host } = blueprint;
  const memory = allocate(checked.memory);
  const random = (stream: number): RandomSource =>
    checked.seed === undefined ? hostRandom(host) : seededRandom(checked.seed, stream);
  const cpuRandom = random(CPU_STREAM);
  // the clock of a deterministic run counts what the processor, built later, retires
  const built: { board?: Board } = {};
  const pacing =
    checked.clock === 'host' ? new HostPacing(host) : new InstructionPacing(() => built.board?.cpu.retired ?? 0);
  const board = new Board({
    memory,
    clock: pacing.clock,
    features: checked.features,
    virtio: plug(options, random(RNG_STREAM), pacing.clock),
    random: () => cpuRandom.next64(),
    onSerial: (bytes) => events.onSerial(bytes),
    onDebugConsole: options.onDebugConsole ?? (() => {}),
    onPowerOff: () => events.onPowerOff(),
    onReset: () => events.onReset(),
    debugExit:
      checked.debugExitPort === undefined
        ? undefined
        : { port: checked.debugExitPort, onExit: (code) => events.onDebugExit(code) },
    engine: options.engine ?? 'auto',
    ...(options.jit && { jit: options.jit }),
    ...(options.compile && { compile: options.compile }),
  });
  built.board = board;
  return { board, features: checked.features, pacing };
}

/** Puts the kernel where the first instruction can be executed. Throws LoadError when it does not fit. */
export function installKernel(powered: PoweredBoard, { kernel, initrd, modules }: BootFiles, cmdline: string): void {
  const { board, features } = powered;
  const { entry } = placeKernel(kernel, board.memory, {
    cmdline,
    ...(initrd && { initrd }),
    modules,
    acpi: { cpus: 1, hpet: true },
    la57: features.has('la57'),
  });
  board.enter(entry);
}

function allocate(size: number): GuestMemory {
  try {
    return GuestMemory.allocate(size);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new OptionError('memory', `the host cannot reserve ${size} bytes for the guest; ask for less`);
  }
}

/** Cards first, so that adding a disk does not move them to another slot. */
function plug(options: MachineOptions, entropy: RandomSource, clock: Clock): Plugged[] {
  const plugged: Plugged[] = [];
  const add = (device: VirtioDevice, transport: Plugged['transport'] = 'transitional'): void => {
    plugged.push({ device, transport });
  };
  (options.net ?? []).forEach(({ backend, mac, mtu, transport }, index) => {
    if (backend === undefined) return;
    const card = { backend, mac: mac ?? defaultMac(index), clock, ...(mtu !== undefined && { mtu }) };
    add(new VirtioNet(card), transport);
  });
  for (const { store, id, transport } of options.drives ?? []) {
    add(new VirtioBlk({ store, ...(id !== undefined && { id }) }), transport);
  }
  if (options.rng ?? true) add(new VirtioRng((into) => entropy.fill(into)));
  return plugged;
}

/** QEMU's first address, counting up. */
export function defaultMac(index: number): Uint8Array {
  return Uint8Array.of(0x52, 0x54, 0x00, 0x12, 0x34, 0x56 + index);
}
