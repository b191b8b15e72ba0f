/** Everything a program may use of the emulator. */

export type { BlockStore } from './devices/virtio/block-store.ts';
export { MemoryBlockStore } from './devices/virtio/block-store.ts';
export { inspectKernel, type KernelReport } from './loader/inspect.ts';
export type { NamedBytes } from './loader/load.ts';
export { LoadError } from './loader/load-error.ts';
export { MachineEndedError, OptionError, SerialOverflowError, WaitTimeoutError } from './machine/errors.ts';
export { describeExit, type MachineExit } from './machine/exit.ts';
export { createDefaultHost, type Host } from './machine/host.ts';
export { Machine } from './machine/machine.ts';
export type { ObservedBoard, Observer } from './machine/observer.ts';
export type { Drive, Engine, File, MachineOptions, NetworkCard, Transport } from './machine/options.ts';
export type { SerialPort } from './machine/serial-port.ts';
export type { MachineStats } from './machine/stats.ts';
export type { Forward, GuestListener, NetApi } from './net/api.ts';
export type { FrameOffload, NetBackend } from './net/backend.ts';
export { createNet, type Net } from './net/create.ts';
export { NetError } from './net/errors.ts';
export { captureToFile } from './net/pcap-file.ts';
