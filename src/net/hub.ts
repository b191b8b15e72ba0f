import type { FrameOffload, NetBackend } from './backend.ts';

/** An Ethernet hub: what one machine sends, all the others get. */

/** Frames kept for a card that has no room; what comes beyond is lost, as on any wire. */
const MAX_QUEUED = 256;

interface Queued {
  readonly frame: Uint8Array;
  readonly offload: FrameOffload | undefined;
}

export class Hub {
  readonly #ports = new Set<HubPort>();
  readonly #onEmpty: () => void;

  /** @param onEmpty called when the last port has been closed */
  constructor(onEmpty: () => void = () => {}) {
    this.#onEmpty = onEmpty;
  }

  /** A new port, to be plugged into one card. */
  port(): NetBackend {
    const port = new HubPort(
      (frame, offload) => {
        for (const other of this.#ports) if (other !== port) other.deliver(frame, offload);
      },
      () => {
        if (this.#ports.delete(port) && this.#ports.size === 0) this.#onEmpty();
      },
    );
    this.#ports.add(port);
    return port;
  }
}

class HubPort implements NetBackend {
  readonly name = 'hub';
  /** The receiving card finishes what its own driver cannot take unfinished. */
  readonly acceptsOffload = true;
  onFrame: NetBackend['onFrame'];
  readonly send: NetBackend['send'];
  readonly #onClose: () => void;
  #queue: Queued[] = [];

  constructor(send: NetBackend['send'], onClose: () => void) {
    this.send = send;
    this.#onClose = onClose;
  }

  deliver(frame: Uint8Array, offload: FrameOffload | undefined): void {
    if (this.onFrame === undefined) return;
    if (this.#queue.length === 0 && this.onFrame(frame, offload)) return;
    if (this.#queue.length < MAX_QUEUED) this.#queue.push({ frame: frame.slice(), offload });
    else this.onRoom();
  }

  onRoom(): void {
    while (this.#queue.length > 0) {
      const { frame, offload } = this.#queue[0]!;
      if (this.onFrame !== undefined && !this.onFrame(frame, offload)) return;
      this.#queue.shift();
    }
  }

  async close(): Promise<void> {
    this.#queue = [];
    this.#onClose();
  }
}

const hubs = new Map<string, Hub>();

/** A port of this process's hub of that name, which exists as long as it has ports. */
export function joinHub(id: string): NetBackend {
  let hub = hubs.get(id);
  if (hub === undefined) {
    hub = new Hub(() => hubs.delete(id));
    hubs.set(id, hub);
  }
  return hub.port();
}
