import type { FrameOffload, NetBackend } from '../backend.ts';
import { Alarm, type Timers } from './timers.ts';

/** A card that refused a frame is asked again after this long, should its driver have been reset without a word. */
const RETRY_MS = 100;
/** Frames kept for a card without room; what comes beyond is lost, as on any wire. */
const MAX_QUEUED = 256;

/**
 * The wire to the guest's card. TCP asks `transmit` and keeps what is refused in its own send queues; everything else is handed over
 * with `post` and waits here, within bounds.
 */
export class Link {
  readonly #queue: Uint8Array[] = [];
  readonly #retry: Alarm;
  readonly #onRoom: () => void;
  #onFrame: NetBackend['onFrame'];
  #blocked = false;
  #isSending = false;
  /** Frames lost because the card had no room for too long. */
  dropped = 0;

  /** @param onRoom called when frames can be sent again after a refusal */
  constructor(timers: Timers, onRoom: () => void) {
    this.#retry = new Alarm(timers, () => this.room());
    this.#onRoom = onRoom;
  }

  get onFrame(): NetBackend['onFrame'] {
    return this.#onFrame;
  }

  set onFrame(onFrame: NetBackend['onFrame']) {
    this.#onFrame = onFrame;
    this.#blocked = false;
  }

  /** The card has refused a frame and has not had room since. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /** A frame is being handed to the card. */
  get isSending(): boolean {
    return this.#isSending;
  }

  /** Sends a frame now, or returns false: the caller keeps it and is told by `onRoom`. `frame` may be reused after return. */
  transmit(frame: Uint8Array, offload?: FrameOffload): boolean {
    if (this.#blocked) return false;
    if (this.#onFrame === undefined) return true;
    this.#isSending = true;
    const isTaken = this.#onFrame(frame, offload);
    this.#isSending = false;
    if (isTaken) return true;
    this.#blocked = true;
    this.#retry.arm(RETRY_MS);
    return false;
  }

  /** Sends a frame now or as soon as there is room; the frame is not to be touched any more. */
  post(frame: Uint8Array): void {
    if (this.transmit(frame)) return;
    if (this.#queue.length < MAX_QUEUED) this.#queue.push(frame);
    else this.dropped++;
  }

  /** The card has room again. */
  room(): void {
    this.#retry.cancel();
    this.#blocked = false;
    while (this.#queue.length > 0) {
      if (!this.transmit(this.#queue[0]!)) return;
      this.#queue.shift();
    }
    this.#onRoom();
  }

  close(): void {
    this.#onFrame = undefined;
    this.#queue.length = 0;
    this.#retry.cancel();
  }
}
